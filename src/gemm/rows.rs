//! A block of rows of activations, in the orders in which kernels read them.

use std::cell::Cell;
use std::ops::{Deref, DerefMut, Range};

use super::activations::Activations;
use super::kernel::{MicroKernel, RealRow, Row, STRIP, SUMS, SumRow, Task};
use super::pack::{Block, COLUMNS, DEPTHS};
use crate::elementwise;
use crate::error::Result;

/// Up to so many rows, remainders are added one by one.
const FEW_ROWS: usize = 4;

/// Memory that a thread keeps from one product to the next, so that small ones need not ask for it.
#[derive(Default)]
pub(super) struct Room {
    pub(super) rows: RowRoom,
    pub(super) sums: Sums,
}

/// The part of it that holds the sums of a block of rows.
#[derive(Default)]
pub(super) struct Sums {
    integers: Vec<SumRow>,
    reals: Vec<RealRow>,
    /// A panel of unpacked weights.
    blocks: Vec<Block>,
}

impl Sums {
    /// Integer sums for so many rows, unspecified.
    pub(super) fn integers(&mut self, rows: usize) -> &mut [SumRow] {
        self.integers.resize(rows, Row([0; SUMS]));
        &mut self.integers
    }

    /// The same, and real sums, and so many blocks.
    pub(super) fn with_reals(
        &mut self,
        rows: usize,
        blocks: usize,
    ) -> (&mut [SumRow], &mut [RealRow], &mut [Block]) {
        self.integers.resize(rows, Row([0; SUMS]));
        self.reals.resize(rows, Row([0.0; SUMS]));
        self.blocks.resize(blocks, Block([0; COLUMNS * DEPTHS]));
        (&mut self.integers, &mut self.reals, &mut self.blocks)
    }
}

/// What of the activations is to be prepared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// The depth of the product.
    pub(super) depth: usize,
    /// Whether there are remainders to be multiplied.
    pub(super) strips: bool,
    /// Whether the sums of the rows are needed.
    pub(super) row_sums: bool,
}

/// The part of it that holds a block of rows.
#[derive(Default)]
pub(super) struct RowRoom {
    /// Row by row; each is filled up with zeros to the stride, a multiple of
    /// [`MicroKernel::ROW_ALIGNMENT`].
    bytes: Bytes,
    /// For each depth, the bytes of all rows, in as many strips as that takes. Only for the
    /// remainders of more than a few rows.
    strips: Vec<[u8; STRIP]>,
}

/// Bytes that begin at a cache line.
#[derive(Default)]
struct Bytes {
    room: Vec<u8>,
    /// How many come before that.
    start: usize,
}

impl Bytes {
    const LINE: usize = 64;

    /// Forgets all, and makes room for up to `most` bytes.
    fn clear(&mut self, most: usize) {
        if self.room.capacity() < most + Self::LINE {
            self.room = Vec::with_capacity(most + Self::LINE);
        }
        self.room.clear();
        self.start = self.room.as_ptr().align_offset(Self::LINE) % Self::LINE;
        self.resize(0);
    }

    /// Fills up with zeros, or leaves out what is behind `count` bytes, which there must be room for.
    fn resize(&mut self, count: usize) {
        self.room.resize(self.start + count, 0);
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.room[self.start..]
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.room[self.start..]
    }
}

thread_local! {
    static ROOM: Cell<Option<Room>> = const { Cell::new(None) };
}

impl Room {
    /// This thread's, or a new one.
    pub(super) fn take() -> Self {
        ROOM.take().unwrap_or_default()
    }

    /// Keeps it for the next product.
    pub(super) fn put_back(self) {
        ROOM.set(Some(self));
    }
}

/// A block of rows of activations.
pub(super) struct PackedRows<'a, K: MicroKernel> {
    kernel: K,
    needs: Needs,
    room: &'a mut RowRoom,
    stride: usize,
    zero_points: Vec<i32>,
    /// [`MicroKernel::shortfall`] of each row.
    shortfalls: Vec<i32>,
    /// Only for weights that have zero points.
    row_sums: Vec<i32>,
}

impl<'a, K: MicroKernel> PackedRows<'a, K> {
    /// Room for up to `most` rows of a depth at a time.
    pub(super) fn new(kernel: K, needs: Needs, most: usize, room: &'a mut RowRoom) -> Self {
        let stride = stride_for(needs.depth, K::ROW_ALIGNMENT);
        room.bytes.clear(most.next_multiple_of(STRIP) * stride);
        Self {
            kernel,
            needs,
            room,
            stride,
            zero_points: Vec::new(),
            shortfalls: Vec::new(),
            row_sums: Vec::new(),
        }
    }

    /// Reads `rows` of `activations` and brings them in order.
    ///
    /// # Errors
    /// [`Error::NotANumber`](crate::Error::NotANumber) if a row is quantized and holds a NaN.
    pub(super) fn pack(
        &mut self,
        activations: &Activations<'_>,
        rows: Range<usize>,
        quantizer: elementwise::Kernel,
    ) -> Result<()> {
        self.room.bytes.resize(rows.len() * self.stride);
        let bytes = &mut self.room.bytes;
        activations.write_rows(rows.clone(), self.stride, quantizer, bytes)?;
        self.zero_points.clear();
        let zero_points = rows
            .clone()
            .map(|row| activations.zero_point(row) - K::OFFSET);
        self.zero_points.extend(zero_points);
        self.kernel.enter(Arrange { rows: self });
        Ok(())
    }

    /// The rows' codes, as unsigned bytes, filled up with zeros.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.room.bytes
    }

    /// The bytes from one row to the next.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// The number of rows.
    pub(super) fn count(&self) -> usize {
        self.zero_points.len()
    }

    /// The strips, if there are any, and how many there are for each depth.
    pub(super) fn strips(&self) -> Option<(&[[u8; STRIP]], usize)> {
        let across = self.count().div_ceil(STRIP);
        (!self.room.strips.is_empty()).then_some((&self.room.strips, across))
    }

    /// The zero point of each row, less [`MicroKernel::OFFSET`].
    pub(super) fn zero_points(&self) -> &[i32] {
        &self.zero_points
    }

    /// [`MicroKernel::shortfall`] of each row.
    pub(super) fn shortfalls(&self) -> &[i32] {
        &self.shortfalls
    }

    /// The sum of each row's activations, each less [`MicroKernel::OFFSET`], if the weights have zero
    /// points; none otherwise.
    pub(super) fn row_sums(&self) -> &[i32] {
        &self.row_sums
    }

    #[inline(always)]
    fn arrange_strips(&mut self) {
        let (count, stride) = (self.count(), self.stride);
        let across = count.div_ceil(STRIP);
        self.room.bytes.resize(across * STRIP * stride);
        let depth = self.needs.depth.next_multiple_of(16);
        self.room.strips.resize(across * depth, [0; STRIP]);
        for (half, rows) in self.room.bytes.chunks_exact(16 * stride).enumerate() {
            for (at, strips) in self.room.strips.chunks_exact_mut(16 * across).enumerate() {
                let columns = self.kernel.transpose(&rows[16 * at..], stride);
                let strips = strips[half / 2..].iter_mut().step_by(across);
                for (strip, column) in strips.zip(columns) {
                    strip.as_chunks_mut::<16>().0[half % 2] = column;
                }
            }
        }
        self.room.bytes.resize(count * stride);
    }
}

/// The bytes from one row to the next: a multiple of `alignment`, and not of 1024, lest rows of a tile fall on
/// the same cache sets. At least 15 bytes more than the depth, for a group of weights may begin at
/// any depth and is read up to 16 depths at a time.
fn stride_for(depth: usize, alignment: usize) -> usize {
    match (depth + 15).next_multiple_of(alignment) {
        _ if depth == 0 => 0,
        stride if stride % 1024 == 0 => stride + 64,
        stride => stride,
    }
}

/// Brings the bytes of rows into the orders in which they are read.
struct Arrange<'a, 'r, K: MicroKernel> {
    rows: &'a mut PackedRows<'r, K>,
}

impl<K: MicroKernel> Task for Arrange<'_, '_, K> {
    #[inline(always)]
    fn run(self) {
        let rows = self.rows;
        rows.room.strips.clear();
        if rows.needs.strips && rows.count() > FEW_ROWS {
            rows.arrange_strips();
        }
        let (kernel, read) = (rows.kernel, rows.needs.depth.next_multiple_of(DEPTHS));
        let bytes = rows.room.bytes.chunks_exact(rows.stride.max(1));
        rows.shortfalls.clear();
        let shortfalls = bytes.map(|row| kernel.shortfall(&row[..read]));
        rows.shortfalls.extend(shortfalls);
        rows.shortfalls.resize(rows.count(), 0); // without depths there are no bytes
        rows.row_sums.clear();
        if rows.needs.row_sums {
            let bytes = rows.room.bytes.chunks_exact(rows.stride.max(1));
            let offset = rows.needs.depth as i32 * K::OFFSET;
            let sums = bytes.map(|row| row.iter().map(|&v| i32::from(v)).sum::<i32>() - offset);
            rows.row_sums.extend(sums);
        }
    }
}

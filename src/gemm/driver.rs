//! The loops around a micro-kernel: divide among threads, pack, multiply, finish.

use std::ops::Range;

use ndarray::{ArrayViewMut2, Axis};

use super::activations::Activations;
use super::epilogue::Epilogue;
use super::kernel::{MicroKernel, STRIP, add_row_remainders, panel_columns};
use super::pack::{DEPTHS, PackedWeights};
use super::{Chosen, with_micro_kernel};
use crate::elementwise;
use crate::error::Result;

/// Rows that are packed at a time, to stay in the second-level cache: three strips.
const BLOCK_ROWS: usize = 3 * STRIP;
/// Groups of 4 depths that are multiplied at a time: a panel's blocks stay in the first-level cache.
const CHUNK_GROUPS: usize = 256;
/// Up to so many rows, remainders are added one by one.
const FEW_ROWS: usize = 4;
/// Below so many products, a second thread costs more than it brings.
const PARALLEL_PRODUCTS: usize = 1 << 20;

/// One call's operands, and the part of the result that is to be computed.
struct Job<'a, 'v, E> {
    weights: &'a PackedWeights,
    activations: &'a Activations<'v>,
    epilogue: &'a E,
    quantizer: elementwise::Kernel,
    first_row: usize,
    first_column: usize,
}

impl<E> Clone for Job<'_, '_, E> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<E> Copy for Job<'_, '_, E> {}

pub(super) fn multiply<E: Epilogue>(
    weights: &PackedWeights,
    activations: &Activations<'_>,
    epilogue: &E,
    out: ArrayViewMut2<'_, E::Out>,
) -> Result<()> {
    let job = Job {
        weights,
        activations,
        epilogue,
        quantizer: elementwise::Kernel::best(),
        first_row: 0,
        first_column: 0,
    };
    let products = out.len().saturating_mul(weights.depth());
    let threads = match products < PARALLEL_PRODUCTS {
        true => 1,
        false => rayon::current_num_threads(),
    };
    with_micro_kernel!(weights.kernel.0, kernel => divide(kernel, job, out, threads))
}

/// Halves the result until there is a part for each thread. No sum is divided, so the result does
/// not depend on their number.
fn divide<K: MicroKernel, E: Epilogue>(
    kernel: K,
    job: Job<'_, '_, E>,
    out: ArrayViewMut2<'_, E::Out>,
    threads: usize,
) -> Result<()> {
    let (rows, columns) = out.dim();
    let (axis, unit) = match rows >= 2 * STRIP {
        true => (0, STRIP),
        false => (1, panel_columns::<K>()),
    };
    let units = [rows, columns][axis].div_ceil(unit);
    if threads < 2 || units < 2 {
        return multiply_part(kernel, job, out);
    }
    let middle = unit
        * (units * (threads / 2))
            .div_ceil(threads)
            .clamp(1, units - 1);
    let (first, second) = out.split_at(Axis(axis), middle);
    let mut rest = job;
    match axis {
        0 => rest.first_row += middle,
        _ => rest.first_column += middle,
    }
    let (a, b) = rayon::join(
        || divide(kernel, job, first, threads / 2),
        || divide(kernel, rest, second, threads - threads / 2),
    );
    a.and(b)
}

/// Multiplies block of rows by block of rows.
fn multiply_part<K: MicroKernel, E: Epilogue>(
    kernel: K,
    mut job: Job<'_, '_, E>,
    mut out: ArrayViewMut2<'_, E::Out>,
) -> Result<()> {
    let blocks = out.nrows().div_ceil(BLOCK_ROWS).max(1);
    let block_rows = out
        .nrows()
        .div_ceil(blocks)
        .next_multiple_of(STRIP)
        .max(STRIP);
    let mut packed = PackedRows::default();
    for mut out in out.axis_chunks_iter_mut(Axis(0), block_rows) {
        packed.pack(kernel, &job, out.nrows())?;
        kernel.enter(|| multiply_block(kernel, job, &packed, &mut out));
        job.first_row += out.nrows();
    }
    Ok(())
}

/// A block of rows of activations, in the orders in which they are read.
#[derive(Default)]
struct PackedRows {
    /// Row by row; each is filled up with zeros to a multiple of 16 bytes, the stride.
    rows: Vec<u8>,
    stride: usize,
    groups: usize,
    /// Tile by tile; within a tile, for each group of 4 depths, the 4 bytes of each row.
    tiles: Vec<[u8; DEPTHS]>,
    /// Strip by strip; within a strip, for each depth, the bytes of its rows. Only for remainders.
    strips: Vec<[u8; STRIP]>,
    zero_points: Vec<i32>,
    /// Only for weights that have zero points.
    row_sums: Vec<i32>,
}

impl PackedRows {
    #[inline(always)]
    fn pack<K: MicroKernel, E: Epilogue>(
        &mut self,
        kernel: K,
        job: &Job<'_, '_, E>,
        count: usize,
    ) -> Result<()> {
        let depth = job.weights.depth();
        self.stride = depth.next_multiple_of(16);
        self.groups = depth.div_ceil(DEPTHS);
        self.rows.resize(count * self.stride, 0);
        self.zero_points.clear();
        let job_rows = job.first_row..job.first_row + count;
        for (row, bytes) in job_rows.zip(self.rows.chunks_exact_mut(self.stride.max(1))) {
            job.activations
                .write_row(row, job.quantizer, &mut bytes[..depth])?;
        }
        for row in job.first_row..job.first_row + count {
            self.zero_points.push(job.activations.zero_point(row));
        }
        kernel.enter(|| {
            self.pack_tiles::<K>(count);
            self.strips.clear();
            if count > FEW_ROWS && !job.weights.remainders().is_empty() {
                self.pack_strips(kernel, count);
            }
            self.row_sums.clear();
            if job.weights.has_zero_points() {
                let rows = self.rows.chunks_exact(self.stride.max(1));
                let sums = rows.map(|row| row.iter().map(|&v| i32::from(v)).sum::<i32>());
                self.row_sums.extend(sums);
            }
        });
        Ok(())
    }

    #[inline(always)]
    fn pack_tiles<K: MicroKernel>(&mut self, count: usize) {
        self.tiles.resize(count * self.groups, [0; DEPTHS]);
        for tile in tiles::<K>(count) {
            let packed = &mut self.tiles[tile.start * self.groups..tile.end * self.groups];
            for (i, row) in tile.clone().enumerate() {
                let row = self.rows[row * self.stride..][..self.stride]
                    .as_chunks::<DEPTHS>()
                    .0;
                let places = packed.iter_mut().skip(i).step_by(tile.len());
                for (place, four) in places.zip(row) {
                    *place = *four;
                }
            }
        }
    }

    #[inline(always)]
    fn pack_strips<K: MicroKernel>(&mut self, kernel: K, count: usize) {
        let rows = count.next_multiple_of(STRIP);
        self.rows.resize(rows * self.stride, 0);
        self.strips.resize(rows / STRIP * self.stride, [0; STRIP]);
        for (strip, columns) in self.strips.chunks_exact_mut(self.stride).enumerate() {
            for half in 0..STRIP / 16 {
                let rows = &self.rows[(strip * STRIP + half * 16) * self.stride..];
                for (at, columns) in columns.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                    kernel.transpose(&rows[16 * at..], self.stride, columns, half);
                }
            }
        }
        self.rows.truncate(count * self.stride);
    }
}

/// Cuts `count` rows into tiles of nearly equal height.
fn tiles<K: MicroKernel>(count: usize) -> impl Iterator<Item = Range<usize>> {
    let tiles = count.div_ceil(K::ROWS).max(1);
    (0..tiles).map(move |i| count * i / tiles..count * (i + 1) / tiles)
}

#[inline(always)]
fn multiply_block<K: MicroKernel, E: Epilogue>(
    kernel: K,
    job: Job<'_, '_, E>,
    packed: &PackedRows,
    out: &mut ArrayViewMut2<'_, E::Out>,
) {
    let width = panel_columns::<K>();
    let (rows, columns) = out.dim();
    let mut sums = vec![0i32; rows * width];
    for first in (0..columns).step_by(width) {
        let panel = job.first_column + first;
        start_with_zero_points(job.weights, packed, panel, width, &mut sums);
        add_remainders(kernel, job.weights, packed, panel, &mut sums);
        add_products(kernel, job.weights, packed, panel, &mut sums);
        let count = width.min(columns - first);
        for (row, sums) in sums.chunks_exact(width).enumerate() {
            let (row, mut out) = (job.first_row + row, out.row_mut(row));
            match out.as_slice_mut() {
                Some(out) => {
                    let out = &mut out[first..first + count];
                    job.epilogue.finish(row, panel, &sums[..count], out);
                }
                None => {
                    let mut finished = vec![E::Out::default(); count];
                    job.epilogue
                        .finish(row, panel, &sums[..count], &mut finished);
                    for (column, finished) in finished.into_iter().enumerate() {
                        out[first + column] = finished;
                    }
                }
            }
        }
    }
}

/// Σ (a − zᵢ)(w − zⱼ) = Σ a·w − zᵢ·Σ w − zⱼ·(Σ a − K·zᵢ): all but the first term.
#[inline(always)]
fn start_with_zero_points(
    weights: &PackedWeights,
    packed: &PackedRows,
    panel: usize,
    width: usize,
    sums: &mut [i32],
) {
    let column_sums = weights.sums_of(panel, width);
    for (sums, zero_point) in sums.chunks_exact_mut(width).zip(&packed.zero_points) {
        for (sum, column_sum) in sums.iter_mut().zip(column_sums) {
            *sum = zero_point.wrapping_mul(*column_sum).wrapping_neg();
        }
    }
    let rows = packed.zero_points.iter().zip(&packed.row_sums);
    for (sums, (zero_point, row_sum)) in sums.chunks_exact_mut(width).zip(rows) {
        let row_sum = row_sum - weights.depth() as i32 * zero_point;
        for (sum, zero_point) in sums.iter_mut().zip(weights.zero_points_of(panel, width)) {
            *sum = sum.wrapping_sub(zero_point.wrapping_mul(row_sum));
        }
    }
}

#[inline(always)]
fn add_remainders<K: MicroKernel>(
    kernel: K,
    weights: &PackedWeights,
    packed: &PackedRows,
    panel: usize,
    sums: &mut [i32],
) {
    let (remainders, width) = (weights.remainders(), panel_columns::<K>());
    if remainders.is_empty() {
        return;
    }
    if packed.strips.is_empty() {
        let rows = packed.rows.chunks_exact(packed.stride);
        for (row, sums) in rows.zip(sums.chunks_exact_mut(width)) {
            add_row_remainders(remainders, panel, sums, |depth| row[depth]);
        }
    } else {
        let strips = packed.strips.chunks_exact(packed.stride);
        for (strip, sums) in strips.zip(sums.chunks_mut(STRIP * width)) {
            kernel.add_remainders(strip, remainders, panel, sums);
        }
    }
}

#[inline(always)]
fn add_products<K: MicroKernel>(
    kernel: K,
    weights: &PackedWeights,
    packed: &PackedRows,
    panel: usize,
    sums: &mut [i32],
) {
    let blocks = weights.panel(panel).chunks(CHUNK_GROUPS * K::BLOCKS);
    for (chunk, blocks) in blocks.enumerate() {
        for tile in tiles::<K>(packed.zero_points.len()) {
            let a = &packed.tiles[tile.start * packed.groups..tile.end * packed.groups];
            let a = &a[chunk * CHUNK_GROUPS * tile.len()..];
            let width = panel_columns::<K>();
            let sums = &mut sums[tile.start * width..tile.end * width];
            kernel.multiply(tile.len(), a, blocks, sums);
        }
    }
}

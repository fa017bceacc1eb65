//! What an instruction set contributes: a micro-kernel.
//!
//! To add one: write `kernel/NAME.rs` with a token type that only its `detect` can make, implement
//! [`MicroKernel`] for it, and name it in [`Kernel`](super::Kernel). Packing, blocking, tails, zero
//! points, threads and epilogues come from above; the laws in `tests/kernels` find it by its
//! [`Isa`](crate::Isa).

#[cfg(target_arch = "x86_64")]
pub(super) mod amx;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx2_masked;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512vnni;
#[cfg(target_arch = "x86_64")]
pub(super) mod avxvnni;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", test))]
pub(super) mod dot;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
pub(super) mod portable;

use std::ops::{Deref, DerefMut, Range};

use super::pack::{Block, COLUMNS, DEPTHS, HalfBlock};
use super::pairs::Part;
use super::split::Remainders;

/// The unit of rows for remainders: one vector of bytes.
pub(super) const STRIP: usize = 32;

/// The most strips in a block of rows.
pub(super) const MAX_STRIPS: usize = 3;

/// Columns whose sums are held at a time: whole cache lines of a row are finished at once.
pub(super) const SUMS: usize = 64;

/// The sums of one row, in several panels. They begin at a cache line, for no vector of them to lie
/// in two.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Row<T>(pub(super) [T; SUMS]);

/// Sums of products.
pub(super) type SumRow = Row<i32>;

/// The same as real numbers.
pub(super) type RealRow = Row<f32>;

impl<T> Deref for Row<T> {
    type Target = [T; SUMS];

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> DerefMut for Row<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// Some depths of a panel of 4-bit weights: Σ (a − z)·w counts steps of its column's scale.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    /// The zero point z of each row.
    pub(super) zero_points: &'a [i32],
    /// Whether they are all the same. (Only x86 kernels ask.)
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub(super) one_zero_point: bool,
    /// Σ w of each column.
    pub(super) column_sums: &'a [i32],
    /// The scale of each column.
    pub(super) scales: &'a [f32],
}

/// A panel of 4-bit weights, for some rows.
#[derive(Clone, Copy)]
pub(super) struct Panel4<'a> {
    /// The weights, group by group, two to a byte.
    pub(super) halves: &'a [HalfBlock],
    /// The same, unpacked; none where they are to be unpacked on the way.
    pub(super) blocks: &'a [Block],
    /// The depths of a group, but for the last, which may have fewer.
    pub(super) group_size: usize,
    /// How many blocks those take.
    pub(super) group_blocks: usize,
    /// The zero point of each row.
    pub(super) zero_points: &'a [i32],
    /// Σ w of each column, group by group.
    pub(super) column_sums: &'a [i32],
    /// The scale of each column, group by group.
    pub(super) scales: &'a [f32],
    /// The columns of the panel.
    pub(super) width: usize,
}

impl<'a> Panel4<'a> {
    /// Each group: its first depth, which blocks its weights are, and what they are worth.
    #[inline(always)]
    pub(super) fn groups(self) -> impl Iterator<Item = (usize, Range<usize>, Group<'a>)> {
        let groups = self.halves.len().div_ceil(self.group_blocks.max(1));
        let first = self.zero_points.first();
        let one_zero_point = self.zero_points.iter().all(|z| Some(z) == first);
        (0..groups).map(move |i| {
            let first = i * self.group_blocks;
            let end = self.halves.len().min(first + self.group_blocks);
            let group = Group {
                zero_points: self.zero_points,
                one_zero_point,
                column_sums: &self.column_sums[i * self.width..][..self.width],
                scales: &self.scales[i * self.width..][..self.width],
            };
            (i * self.group_size, first..end, group)
        })
    }
}

/// Plain Rust that is to be compiled for an instruction set. (A closure would do, could it be marked
/// `#[inline(always)]`.)
pub(super) trait Task {
    /// Must be `#[inline(always)]`, for only what is inlined is compiled for the instruction set.
    fn run(self);
}

/// The product of a tile of rows and a panel of columns.
pub(super) trait MicroKernel: Copy + Send + Sync {
    /// The most rows of a tile.
    const ROWS: usize;
    /// The same for [`multiply_panel`](Self::multiply_panel).
    const PANEL_ROWS: usize = Self::ROWS;
    /// The same if the panel is unpacked on the way, as it is for so few rows.
    const PACKED_ROWS: usize = Self::PANEL_ROWS;
    /// The width of a panel, in blocks of 16 columns.
    const BLOCKS: usize;
    /// The most rows that are packed at a time, to stay in the second-level cache.
    const BLOCK_ROWS: usize = MAX_STRIPS * STRIP;
    /// The most of them whose sums are held at a time: whole strips.
    const SUM_ROWS: usize = Self::BLOCK_ROWS;
    /// Groups of 4 depths that are multiplied at a time: a panel's blocks stay in the first-level cache.
    const CHUNK_GROUPS: usize = 256;
    /// Whether depths come in pairs, [`CHUNK_GROUPS`](Self::CHUNK_GROUPS) at a time.
    const PAIRS: bool = false;
    /// Whether there is [`multiply_from`](Self::multiply_from), and it is faster than to write each row's start.
    const STARTS_IN_REGISTERS: bool = false;
    /// What the address of a row is a multiple of.
    const ROW_ALIGNMENT: usize = 16;
    /// What [`activations`](Self::activations) takes from each unsigned byte.
    const OFFSET: i32 = 0;
    /// An activation, as [`multiply`](Self::multiply) reads it.
    type Activation: Copy + Default + Send + Sync;

    /// The activations that are `bytes`, less [`OFFSET`](Self::OFFSET); if these are none, written
    /// to `room`.
    fn activations<'a>(
        self,
        bytes: &'a [u8],
        room: &'a mut Vec<Self::Activation>,
    ) -> &'a [Self::Activation];

    /// What its sums of products with a row of `bytes` lack, the same in every column.
    #[inline(always)]
    fn shortfall(self, _bytes: &[u8]) -> i32 {
        0
    }

    /// Runs `task` compiled for this instruction set, so that the compiler may use it in the plain
    /// Rust around the kernel.
    fn enter<T: Task>(self, task: T);

    /// Adds the product of `a` and `part` to `sums`, of which there is one for each row of the tile,
    /// from column `at` on. Rows of `a` begin `stride` activations apart; the part holds, for each group
    /// of 4 depths, [`BLOCKS`](Self::BLOCKS) blocks.
    fn multiply(
        self,
        a: &[Self::Activation],
        stride: usize,
        part: Part<'_>,
        sums: &mut [SumRow],
        at: usize,
    );

    /// Writes the product of `a` and `part` to `sums`, plus `start`, which is the same for each row: a
    /// number for each column of the panel.
    #[inline(always)]
    fn multiply_from(
        self,
        _start: &[i32],
        _a: &[Self::Activation],
        _stride: usize,
        _part: Part<'_>,
        _sums: (&mut [SumRow], usize),
    ) {
        unreachable!("only where STARTS_IN_REGISTERS is true");
    }

    /// Is told what will be written soon.
    #[inline(always)]
    fn fetch<T>(self, _place: &[T]) {}

    /// Unpacks 4-bit weights.
    #[inline(always)]
    fn unpack(self, halves: &[HalfBlock], blocks: &mut [Block]) {
        for (Block(block), HalfBlock(half)) in blocks.iter_mut().zip(halves) {
            let (low, high) = block.split_at_mut(half.len());
            for ((low, high), byte) in low.iter_mut().zip(high).zip(half) {
                *low = (byte & 0xF) as i8 - 8;
                *high = (byte >> 4) as i8 - 8;
            }
        }
    }

    /// Multiplies the rows of `a` with a panel of 4-bit weights, group by group, and writes what the
    /// sums are worth to `reals`, from column `at` on. Writes over `sums`.
    #[inline(always)]
    fn multiply_panel(
        self,
        a: &[Self::Activation],
        stride: usize,
        panel: Panel4<'_>,
        (sums, reals): (&mut [SumRow], &mut [RealRow]),
        at: usize,
    ) {
        let mut some = [Block([0; COLUMNS * DEPTHS]); 16];
        for reals in reals.iter_mut() {
            reals[at..at + panel.width].fill(0.0);
        }
        for (depth, blocks, group) in panel.groups() {
            for sums in sums.iter_mut() {
                sums[at..at + panel.width].fill(0);
            }
            let mut a = &a[depth..];
            match panel.blocks {
                [] => {
                    for halves in panel.halves[blocks].chunks(some.len()) {
                        let blocks = &mut some[..halves.len()];
                        self.unpack(halves, blocks);
                        self.multiply(a, stride, Part::in_order(blocks), sums, at);
                        a = &a[halves.len() / Self::BLOCKS * DEPTHS..];
                    }
                }
                unpacked => {
                    let part = Part::in_order(&unpacked[blocks]);
                    self.multiply(a, stride, part, sums, at);
                }
            }
            for (row, (sums, reals)) in sums.iter().zip(reals.iter_mut()).enumerate() {
                let columns = group.column_sums.iter().zip(group.scales);
                let sums = sums[at..].iter().zip(columns);
                for (real, (sum, (column_sum, scale))) in reals[at..].iter_mut().zip(sums) {
                    let sum = sum - group.zero_points[row] * column_sum;
                    *real += sum as f32 * scale;
                }
            }
        }
    }

    /// Adds the product of a single row `a` and all panels of `sums`, which lie one after the other
    /// in `b`. Weights are then read but once, so what counts is to read them as fast as memory
    /// can.
    #[inline(always)]
    fn multiply_row(self, a: &[Self::Activation], b: &[Block], sums: &mut SumRow) {
        let panels = SUMS / panel_columns::<Self>();
        let sums = std::slice::from_mut(sums);
        for (panel, b) in b.chunks_exact((b.len() / panels).max(1)).enumerate() {
            let at = panel * panel_columns::<Self>();
            self.multiply(a, a.len(), Part::in_order(b), sums, at);
        }
    }

    /// Adds the product with the remainders of the panel that begins at column `first` to `sums`,
    /// from column `at` on. `strips` holds the activations: for each depth, `across` strips.
    fn add_remainders(
        self,
        strips: &[[u8; STRIP]],
        across: usize,
        remainders: &Remainders,
        first: usize,
        sums: &mut [SumRow],
        at: usize,
    ) {
        for (row, sums) in sums.iter_mut().enumerate() {
            let sums = &mut sums[at..at + panel_columns::<Self>()];
            let (strip, place) = (row / STRIP, row % STRIP);
            add_row_remainders(remainders, first, sums, |depth| {
                strips[depth * across + strip][place]
            });
        }
    }

    /// The columns of 16 rows of 16 bytes, which begin `stride` bytes apart.
    fn transpose(self, rows: &[u8], stride: usize) -> [[u8; 16]; 16] {
        std::array::from_fn(|depth| std::array::from_fn(|row| rows[row * stride + depth]))
    }
}

/// Adds to one row's `sums`, for the columns from `first` on, the product with their remainders.
#[inline(always)]
pub(super) fn add_row_remainders(
    remainders: &Remainders,
    first: usize,
    sums: &mut [i32],
    activation: impl Fn(usize) -> u8,
) {
    for (lane, sum) in sums.iter_mut().enumerate() {
        let mut products = 0i32;
        for pair in remainders.pairs(first + lane) {
            let [a0, a1] = pair.depth.map(|depth| i32::from(activation(depth.into())));
            let [w0, w1] = pair.weight.map(i32::from);
            products = products.wrapping_add(a0 * w0 + a1 * w1);
        }
        *sum = sum.wrapping_add(products);
    }
}

/// Whether `a` holds `depth` elements of each of so many rows, at least one, which begin `stride` elements
/// apart.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn holds_rows<T>(a: &[T], rows: usize, stride: usize, depth: usize) -> bool {
    let end = (rows - 1)
        .checked_mul(stride)
        .and_then(|last| last.checked_add(depth));
    end.is_some_and(|end| end <= a.len())
}

/// The columns of a panel.
pub(super) const fn panel_columns<K: MicroKernel>() -> usize {
    K::BLOCKS * COLUMNS
}

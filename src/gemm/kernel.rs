//! What an instruction set contributes: a micro-kernel.
//!
//! To add one: write `kernel/NAME.rs` with a token type that only its `detect` can make, implement
//! [`MicroKernel`] for it, and name it in [`Kernel`](super::Kernel). Packing, blocking, tails, zero
//! points, threads and epilogues come from above; the laws in `tests/gemm` find it by its [`Isa`].

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512vnni;
pub(super) mod portable;

use super::pack::{Block, COLUMNS, DEPTHS};
use super::split::Remainders;

/// Rows that the remainders of a saturating kernel are multiplied with at a time.
pub(super) const STRIP: usize = 32;

/// The product of a tile of rows and a panel of columns.
pub(super) trait MicroKernel: Copy + Send + Sync {
    /// The most rows of a tile.
    const ROWS: usize;
    /// The width of a panel, in blocks of 16 columns.
    const BLOCKS: usize;
    /// Whether pairs of weights must be made safe, and the remainders be added.
    const SATURATES: bool;

    /// Runs `job` compiled for this instruction set, so that the compiler may use it in the plain
    /// Rust around the kernel.
    fn enter<R>(self, job: impl FnOnce() -> R) -> R;

    /// Adds to `tile`, row by row, the product of `a` (for each group of 4 depths, 4 bytes for each
    /// of `rows` rows) and `b` (for each group, [`BLOCKS`](Self::BLOCKS) blocks).
    fn multiply(self, rows: usize, a: &[[u8; DEPTHS]], b: &[Block], tile: &mut [i32]);

    /// Adds the product with the remainders of the columns from `first` on to `tile`, as
    /// [`multiply`](Self::multiply) has it. `strip` holds the activations of its rows, depth by
    /// depth.
    fn add_remainders(
        self,
        strip: &[[u8; STRIP]],
        remainders: &Remainders,
        first: usize,
        tile: &mut [i32],
    ) {
        for (row, sums) in tile.chunks_exact_mut(panel_columns::<Self>()).enumerate() {
            add_row_remainders(remainders, first, sums, |depth| strip[depth][row]);
        }
    }

    /// Writes 16 rows of 16 bytes, which begin `stride` bytes apart, column by column.
    fn transpose(self, rows: &[u8], stride: usize, columns: &mut [[u8; STRIP]], half: usize) {
        for (depth, column) in columns.iter_mut().enumerate() {
            for row in 0..16 {
                column[16 * half + row] = rows[row * stride + depth];
            }
        }
    }
}

/// Adds to one row's `sums`, for the columns from `first` on, the product with their remainders.
pub(super) fn add_row_remainders(
    remainders: &Remainders,
    first: usize,
    sums: &mut [i32],
    activation: impl Fn(usize) -> u8,
) {
    for (lane, sum) in sums.iter_mut().enumerate() {
        for quad in remainders.column(first + lane) {
            for (depth, weight) in quad.depth.iter().zip(quad.weight) {
                let product = i32::from(activation(*depth as usize)) * i32::from(weight);
                *sum = sum.wrapping_add(product);
            }
        }
    }
}

/// The columns of a panel.
pub(super) const fn panel_columns<K: MicroKernel>() -> usize {
    K::BLOCKS * COLUMNS
}

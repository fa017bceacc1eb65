//! The loops around a tile whose multiplication is chosen, and what remains beside it.
//!
//! As in `plain`, all are `#[inline(always)]`.

use super::plain::add;
use super::{COLUMNS, ROWS, Shape};
use crate::gemm::split::Remainders;

/// What an instruction contributes: a tile of 4 rows and 16 columns.
pub(super) trait MultiplyTile: Copy {
    /// Depths in a block.
    const DEPTHS: usize;
    /// An activation.
    type Code;
    /// 16 columns of weights, so many depths.
    type Block;

    /// Adds the product of a tile's activations, whose rows begin `stride` apart, and a
    /// panel's blocks to sums whose rows begin `columns` apart.
    fn add(
        self,
        a: &[Self::Code],
        stride: usize,
        w: &[Self::Block],
        sums: &mut [i32],
        columns: usize,
    );
}

/// All tiles of some rows, each with all panels.
#[inline(always)]
pub(super) fn tiles<T: MultiplyTile>(
    tile: T,
    a: &[T::Code],
    w: &[T::Block],
    sums: &mut [i32],
    shape: Shape,
) {
    let [rows, depth, columns] = shape;
    for i in (0..rows).step_by(ROWS) {
        for (panel, w) in w.chunks_exact(depth / T::DEPTHS).enumerate() {
            let sums = &mut sums[i * columns + panel * COLUMNS..];
            tile.add(&a[i * depth..], depth, w, sums, columns);
        }
    }
}

/// Rows in a block.
const BLOCK_ROWS: usize = 48;
/// Depths in a block.
const BLOCK_DEPTHS: usize = 512;

/// A part of a panel at a time, which is used for all tiles of some rows before the next.
#[inline(always)]
pub(super) fn blocks<T: MultiplyTile>(
    tile: T,
    a: &[T::Code],
    w: &[T::Block],
    sums: &mut [i32],
    shape: Shape,
) {
    let [rows, depth, columns] = shape;
    for i0 in (0..rows).step_by(BLOCK_ROWS) {
        for k0 in (0..depth).step_by(BLOCK_DEPTHS) {
            let depths = BLOCK_DEPTHS.min(depth - k0);
            for (panel, w) in w.chunks_exact(depth / T::DEPTHS).enumerate() {
                let w = &w[k0 / T::DEPTHS..][..depths / T::DEPTHS];
                for i in (i0..rows.min(i0 + BLOCK_ROWS)).step_by(ROWS) {
                    let sums = &mut sums[i * columns + panel * COLUMNS..];
                    tile.add(&a[i * depth + k0..], depth, w, sums, columns);
                }
            }
        }
    }
}

/// The product with what was taken from the weights, of activations that are transposed, \[K, M\].
#[inline(always)]
pub(super) fn add_remainders(a: &[u8], rest: &Remainders, sums: &mut [i32], shape: Shape) {
    let [rows, _, columns] = shape;
    let mut column = vec![0i32; rows];
    for j in 0..columns {
        column.fill(0);
        for pair in rest.pairs(j) {
            for (depth, w) in pair.depth.into_iter().zip(pair.weight) {
                let a = &a[usize::from(depth) * rows..][..rows];
                for (sum, &a) in column.iter_mut().zip(a) {
                    *sum += i32::from(a) * i32::from(w);
                }
            }
        }
        for (i, &sum) in column.iter().enumerate() {
            add(sum, &mut sums[i * columns + j]);
        }
    }
}

/// \[K, M\] of \[M, K\].
#[inline(always)]
pub(super) fn transposed(a: &[u8], [rows, depth, _]: Shape) -> Vec<u8> {
    let mut columns = vec![0; rows * depth];
    for (i, row) in a.chunks_exact(depth).enumerate() {
        for (k, &a) in row.iter().enumerate() {
            columns[k * rows + i] = a;
        }
    }
    columns
}

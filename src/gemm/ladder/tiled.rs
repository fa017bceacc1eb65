//! The loops around a tile whose multiplication is chosen, and what remains beside it.
//!
//! As in `plain`, all are `#[inline(always)]`.
#![allow(clippy::needless_range_loop)] // see `plain`

use super::avx2::{Bytes, Longs, Words};
use super::packing::{Weights, codes_of};
use super::{COLUMNS, ROWS, Shape, Step, plain};
use crate::gemm::kernel::avx2::Avx2;
use crate::gemm::split::{Pair, Remainders};

/// The steps that multiply by tiles, on AVX2.
#[inline(always)]
pub(super) fn add(
    avx2: Avx2,
    step: Step,
    weights: &Weights,
    a: &[u8],
    sums: &mut [i32],
    shape: Shape,
) {
    match (step, weights) {
        (_, Weights::Rows(w)) => plain::tile(Longs(avx2), a, w, sums, shape),
        (_, Weights::Panels(w)) => plain::panels(Longs(avx2), a, w, sums, shape),
        (Step::Words, Weights::Words(w)) => {
            tiles(Words(avx2), &codes_of(a, shape), w, sums, shape);
        }
        (_, Weights::Words(w)) => blocks(Words(avx2), &codes_of(a, shape), w, sums, shape),
        (_, Weights::Split(w, remainders)) => {
            blocks(Bytes(avx2), &codes_of(a, shape), w, sums, shape);
            add_remainders(&strips_of(a, shape), remainders, sums, shape);
        }
        (_, Weights::Library(_)) => {}
    }
}

/// What an instruction contributes: a tile of 4 rows and 16 columns.
pub(super) trait MultiplyTile: Copy {
    /// Depths that are added up at a time.
    const DEPTHS: usize;
    /// 4 rows of activations, so many depths.
    type Codes;
    /// 16 columns of weights, so many depths.
    type Weights;

    /// Adds the product of two panels to a tile of sums, whose rows begin `columns` apart.
    fn add(self, a: &[Self::Codes], w: &[Self::Weights], sums: &mut [i32], columns: usize);
}

/// Every panel of activations with every panel of weights.
#[inline(always)]
pub(super) fn tiles<T: MultiplyTile>(
    tile: T,
    a: &[T::Codes],
    w: &[T::Weights],
    sums: &mut [i32],
    shape: Shape,
) {
    let [_, depth, columns] = shape;
    for (i, a) in a.chunks_exact(depth / T::DEPTHS).enumerate() {
        for (j, w) in w.chunks_exact(depth / T::DEPTHS).enumerate() {
            let first = i * ROWS * columns + j * COLUMNS;
            tile.add(a, w, &mut sums[first..], columns);
        }
    }
}

/// Tiles of rows in a block.
const BLOCK_TILES: usize = 12;
/// Depths in a block.
const BLOCK_DEPTHS: usize = 512;

/// A part of a panel of weights at a time, which is used for all tiles of a block before the next.
// ANCHOR: blocks
#[inline(always)]
pub(super) fn blocks<T: MultiplyTile>(
    tile: T,
    a: &[T::Codes],
    w: &[T::Weights],
    sums: &mut [i32],
    shape: Shape,
) {
    let [_, depth, columns] = shape;
    let groups = depth / T::DEPTHS;
    for (block, a) in a.chunks(BLOCK_TILES * groups).enumerate() {
        for k in (0..groups).step_by(BLOCK_DEPTHS / T::DEPTHS) {
            let part = k..groups.min(k + BLOCK_DEPTHS / T::DEPTHS);
            for (j, w) in w.chunks_exact(groups).enumerate() {
                for (i, a) in a.chunks_exact(groups).enumerate() {
                    let row = (block * BLOCK_TILES + i) * ROWS;
                    let sums = &mut sums[row * columns + j * COLUMNS..];
                    tile.add(&a[part.clone()], &w[part.clone()], sums, columns);
                }
            }
        }
    }
}
// ANCHOR_END: blocks

/// Rows whose activations of one depth lie side by side.
pub(super) const STRIP: usize = 64;

/// The remainders of one column, times a strip of rows.
// ANCHOR: strip_times_column
#[inline(always)]
fn strip_times_column(a: &[[u8; STRIP]], remainders: &[Pair]) -> [i32; STRIP] {
    let mut sums = [0; STRIP];
    for pair in remainders {
        for (k, w) in pair.depth.into_iter().zip(pair.weight) {
            for (sum, &a) in sums.iter_mut().zip(&a[usize::from(k)]) {
                *sum += i32::from(a) * i32::from(w);
            }
        }
    }
    sums
}
// ANCHOR_END: strip_times_column

/// Adds the product with what was taken from the weights. `a` has, for each strip of rows, all depths.
// ANCHOR: add_remainders
#[inline(always)]
pub(super) fn add_remainders(
    a: &[[u8; STRIP]],
    remainders: &Remainders,
    sums: &mut [i32],
    [_, depth, columns]: Shape,
) {
    let strips = sums.chunks_mut(STRIP * columns).zip(a.chunks_exact(depth));
    for (sums, a) in strips {
        for j in (0..columns).step_by(COLUMNS) {
            let mut tile = [[0; STRIP]; COLUMNS];
            for c in 0..COLUMNS {
                tile[c] = strip_times_column(a, remainders.pairs(j + c));
            }
            for (r, sums) in sums.chunks_exact_mut(columns).enumerate() {
                for c in 0..COLUMNS {
                    plain::add(tile[c][r], &mut sums[j + c]);
                }
            }
        }
    }
}
// ANCHOR_END: add_remainders

/// The activations in strips; a square of them at a time, as its lines then stay in the cache.
#[inline(always)]
pub(super) fn strips_of(a: &[u8], [rows, depth, _]: Shape) -> Vec<[u8; STRIP]> {
    let mut strips = vec![[0; STRIP]; rows.div_ceil(STRIP) * depth];
    for (a, strip) in a.chunks(STRIP * depth).zip(strips.chunks_exact_mut(depth)) {
        for k in (0..depth).step_by(STRIP) {
            let last = depth.min(k + STRIP);
            for (r, row) in a.chunks_exact(depth).enumerate() {
                for (column, &a) in strip[k..last].iter_mut().zip(&row[k..last]) {
                    column[r] = a;
                }
            }
        }
    }
    strips
}

//! The steps in plain Rust. Each adds the product of `a`, \[M, K\], and `w`, \[K, N\], to `sums`,
//! \[M, N\], all of them row by row.
//!
//! All are `#[inline(always)]`, so that they are compiled for the instruction set of their caller.
#![allow(clippy::needless_range_loop)] // an index says more than a chain of iterators here

use std::array::from_fn;

use super::{COLUMNS, ROWS, Shape};

/// Each sum by itself.
// ANCHOR: three_loops
#[inline(always)]
pub(super) fn three_loops(a: &[u8], w: &[i8], sums: &mut [i32], shape: Shape) {
    let [rows, depth, columns] = shape;
    for i in 0..rows {
        for j in 0..columns {
            let mut sum = 0;
            for k in 0..depth {
                sum += i32::from(a[i * depth + k]) * i32::from(w[k * columns + j]);
            }
            add(sum, &mut sums[i * columns + j]);
        }
    }
}
// ANCHOR_END: three_loops

/// A row of weights at a time, to all sums of a row.
// ANCHOR: loop_order
#[inline(always)]
pub(super) fn loop_order(a: &[u8], w: &[i8], sums: &mut [i32], shape: Shape) {
    let [rows, depth, columns] = shape;
    for i in 0..rows {
        let sums = &mut sums[i * columns..][..columns];
        for k in 0..depth {
            let a = i32::from(a[i * depth + k]);
            for (sum, &w) in sums.iter_mut().zip(&w[k * columns..]) {
                add(a * i32::from(w), sum);
            }
        }
    }
}
// ANCHOR_END: loop_order

/// 4 rows by 16 columns of sums, in bytes widened to 32 bits.
pub(super) trait MultiplyWidenedTile: Copy {
    /// Adds the product of 4 rows and 16 columns of weights, whose rows begin `stride` apart, to sums
    /// whose rows begin `columns` apart.
    fn add(self, a: [&[u8]; ROWS], w: &[i8], stride: usize, sums: &mut [i32], columns: usize);
}

/// A tile at a time.
// ANCHOR: tile
#[inline(always)]
pub(super) fn tile<T: MultiplyWidenedTile>(
    t: T,
    a: &[u8],
    w: &[i8],
    sums: &mut [i32],
    shape: Shape,
) {
    let [rows, depth, columns] = shape;
    for i in (0..rows).step_by(ROWS) {
        let a = from_fn(|r| &a[(i + r) * depth..][..depth]);
        for j in (0..columns).step_by(COLUMNS) {
            t.add(a, &w[j..], columns, &mut sums[i * columns + j..], columns);
        }
    }
}
// ANCHOR_END: tile

/// The same with weights in panels: their rows begin 16 apart.
// ANCHOR: panels
#[inline(always)]
pub(super) fn panels<T: MultiplyWidenedTile>(
    t: T,
    a: &[u8],
    w: &[i8],
    sums: &mut [i32],
    shape: Shape,
) {
    let [rows, depth, columns] = shape;
    for i in (0..rows).step_by(ROWS) {
        let a = from_fn(|r| &a[(i + r) * depth..][..depth]);
        for (j, w) in w.chunks_exact(depth * COLUMNS).enumerate() {
            let sums = &mut sums[i * columns + j * COLUMNS..];
            t.add(a, w, COLUMNS, sums, columns);
        }
    }
}
// ANCHOR_END: panels

/// The tile for any CPU.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain;

impl MultiplyWidenedTile for Plain {
    #[inline(always)]
    fn add(self, a: [&[u8]; ROWS], w: &[i8], stride: usize, sums: &mut [i32], columns: usize) {
        let mut tile = [[0; COLUMNS]; ROWS];
        for k in 0..a[0].len() {
            let w: [i32; COLUMNS] = from_fn(|c| w[k * stride + c].into());
            for r in 0..ROWS {
                let a = i32::from(a[r][k]);
                for c in 0..COLUMNS {
                    tile[r][c] += a * w[c];
                }
            }
        }
        for r in 0..ROWS {
            for c in 0..COLUMNS {
                add(tile[r][c], &mut sums[r * columns + c]);
            }
        }
    }
}

/// Modulo 2³²: with a zero point, a sum may leave the range on its way to a result that fits.
#[inline(always)]
pub(super) fn add(term: i32, sum: &mut i32) {
    *sum = sum.wrapping_add(term);
}

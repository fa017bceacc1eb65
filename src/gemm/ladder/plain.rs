//! The steps in plain Rust. Each adds the product of `a`, \[M, K\], and `w`, \[K, N\], to `sums`,
//! \[M, N\], all of them row by row.
//!
//! All are `#[inline(always)]`, so that they are compiled for the instruction set of their caller.

use super::{COLUMNS, ROWS, Shape};

/// Each sum by itself.
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

/// A row of weights at a time, to all sums of a row.
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

/// The sums of 4 rows and 16 columns.
type Tile = [[i32; COLUMNS]; ROWS];

/// A tile of sums at a time, to which each depth adds the products of 4 activations and 16 weights.
#[inline(always)]
pub(super) fn tile(a: &[u8], w: &[i8], sums: &mut [i32], shape: Shape) {
    let [rows, depth, columns] = shape;
    for i in (0..rows).step_by(ROWS) {
        for j in (0..columns).step_by(COLUMNS) {
            let mut tile: Tile = [[0; COLUMNS]; ROWS];
            for k in 0..depth {
                let w = &w[k * columns + j..][..COLUMNS];
                for r in 0..ROWS {
                    let a = i32::from(a[(i + r) * depth + k]);
                    for (sum, &w) in tile[r].iter_mut().zip(w) {
                        *sum += a * i32::from(w);
                    }
                }
            }
            add_tile(&tile, &mut sums[i * columns + j..], columns);
        }
    }
}

/// The same with weights in panels.
#[inline(always)]
pub(super) fn panels(a: &[u8], w: &[[i8; COLUMNS]], sums: &mut [i32], shape: Shape) {
    let [rows, depth, columns] = shape;
    for i in (0..rows).step_by(ROWS) {
        for (panel, w) in w.chunks_exact(depth).enumerate() {
            let mut tile: Tile = [[0; COLUMNS]; ROWS];
            for (k, w) in w.iter().enumerate() {
                for r in 0..ROWS {
                    let a = i32::from(a[(i + r) * depth + k]);
                    for (sum, &w) in tile[r].iter_mut().zip(w) {
                        *sum += a * i32::from(w);
                    }
                }
            }
            add_tile(&tile, &mut sums[i * columns + panel * COLUMNS..], columns);
        }
    }
}

#[inline(always)]
fn add_tile(tile: &Tile, sums: &mut [i32], columns: usize) {
    for (r, tile) in tile.iter().enumerate() {
        for (sum, &t) in sums[r * columns..].iter_mut().zip(tile) {
            add(t, sum);
        }
    }
}

/// Modulo 2³²: with a zero point, a sum may leave the range on its way to a result that fits.
#[inline(always)]
pub(super) fn add(term: i32, sum: &mut i32) {
    *sum = sum.wrapping_add(term);
}

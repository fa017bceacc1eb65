//! What becomes of the sums, while they are still in the cache.
//!
//! The one idea: an epilogue sees a few columns of one row at a time and writes what the next layer
//! reads. Chapters 6 and 18.

/// Calls `f::<N>(at, …)` for the columns from `at` on, N of them, until there were `$count`: 64, 16, 8 or 1 at a
/// time, so that the compiler knows N and makes vectors of them.
macro_rules! piece_by_piece {
    ($count:expr, |$at:ident| $this:ident.$f:ident($($argument:expr),*)) => {
        let mut $at = 0;
        while $at < $count {
            $at += match $count - $at {
                64.. => { $this.$f::<64>($($argument),*); 64 }
                16.. => { $this.$f::<16>($($argument),*); 16 }
                8.. => { $this.$f::<8>($($argument),*); 8 }
                _ => { $this.$f::<1>($($argument),*); 1 }
            };
        }
    };
}
pub(super) use piece_by_piece;

mod fixed_point;
mod requantize;

pub use fixed_point::FixedPoint;
pub(crate) use requantize::multiplier;
pub use requantize::{Codes, Multiplier, Requantize};

use crate::error::{Result, same_length};

/// Turns sums of products into outputs.
// ANCHOR: Epilogue
pub trait Epilogue: Sync {
    /// What is written.
    type Out: Copy + Default + Send + Sync;

    /// Whether there is a parameter for each row and column.
    ///
    /// # Errors
    /// [`LengthMismatch`](crate::Error::LengthMismatch), naming the parameter.
    fn check(&self, rows: usize, columns: usize) -> Result<()>;

    /// Writes the outputs of row `row`, columns `column..column + sums.len()`.
    ///
    /// # Panics
    /// Perhaps, if `out` is longer than `sums`, or [`check`](Self::check) refuses the
    /// row or a column.
    fn finish(&self, row: usize, column: usize, sums: &[i32], out: &mut [Self::Out]);
}
// ANCHOR_END: Epilogue

/// The sums themselves.
#[derive(Debug, Clone, Copy)]
pub struct Sums;

impl Epilogue for Sums {
    type Out = i32;

    fn check(&self, _rows: usize, _columns: usize) -> Result<()> {
        Ok(())
    }

    #[inline(always)]
    fn finish(&self, _row: usize, _column: usize, sums: &[i32], out: &mut [i32]) {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = *sum;
        }
    }
}

/// Real numbers: y = sum·(sᵢ·sⱼ) + bias, and max(y, 0) if asked for. Three roundings to f32: of
/// the product of the scales, of its product with the sum, and of the sum with the bias. (A sum
/// beyond 2²⁴ is rounded before.)
#[derive(Debug, Clone, Copy)]
pub struct Dequantize<'a> {
    /// The scale of the activations: one, or one a row.
    pub row_scales: &'a [f32],
    /// The scale of the weights: one, or one a column.
    pub column_scales: &'a [f32],
    /// What is added: nothing, or one number a column.
    pub bias: &'a [f32],
    /// Whether negative results become 0 (and NaN, which a bias may be, stays NaN).
    pub relu: bool,
}

impl Epilogue for Dequantize<'_> {
    type Out = f32;

    fn check(&self, rows: usize, columns: usize) -> Result<()> {
        one_or("row scales", rows, self.row_scales.len())?;
        one_or("column scales", columns, self.column_scales.len())?;
        none_or("bias", columns, self.bias.len())
    }

    #[inline(always)]
    fn finish(&self, row: usize, column: usize, sums: &[i32], out: &mut [f32]) {
        let row_scale = at(self.row_scales, row);
        piece_by_piece!(out.len(), |at| self.write_reals(
            row_scale,
            column + at,
            &sums[at..],
            &mut out[at..]
        ));
    }
}

impl Dequantize<'_> {
    /// Writes `N` columns from `column` on.
    #[inline(always)]
    fn write_reals<const N: usize>(
        &self,
        row_scale: f32,
        column: usize,
        sums: &[i32],
        out: &mut [f32],
    ) {
        let scales = match self.column_scales {
            [scale] => [*scale; N],
            each => some(each, column),
        };
        let sums: [i32; N] = some(sums, 0);
        let mut reals = [0.0; N];
        for i in 0..N {
            reals[i] = sums[i] as f32 * (row_scale * scales[i]);
        }
        write_reals(reals, self.bias, column, self.relu, out);
    }
}

/// Adds the bias of `N` columns from `column` on, if there is one, replaces negative numbers by 0 if
/// asked for, and writes them.
#[inline(always)]
pub(super) fn write_reals<const N: usize>(
    mut reals: [f32; N],
    bias: &[f32],
    column: usize,
    relu_too: bool,
    out: &mut [f32],
) {
    if !bias.is_empty() {
        let bias: [f32; N] = some(bias, column);
        for i in 0..N {
            reals[i] += bias[i];
        }
    }
    if relu_too {
        reals = reals.map(relu);
    }
    out[..N].copy_from_slice(&reals);
}

/// max(y, 0), but NaN stays NaN, which `f32::max` would hide, and −0 stays −0, for which it may return
/// either zero.
#[inline(always)]
fn relu(y: f32) -> f32 {
    if y < 0.0 { 0.0 } else { y }
}

/// `N` values from the one at `first` on.
#[inline(always)]
pub(super) fn some<T: Copy, const N: usize>(values: &[T], first: usize) -> [T; N] {
    let some = values[first..].first_chunk();
    *some.expect("a value for each column: that has been checked")
}

/// The only element, or the one at `index`.
#[inline(always)]
pub(super) fn at<T: Copy>(values: &[T], index: usize) -> T {
    match values {
        [one] => *one,
        each => each[index],
    }
}

fn one_or(what: &'static str, count: usize, actual: usize) -> Result<()> {
    if actual == 1 {
        return Ok(());
    }
    same_length(what, count, actual)
}

fn none_or(what: &'static str, count: usize, actual: usize) -> Result<()> {
    if actual == 0 {
        return Ok(());
    }
    same_length(what, count, actual)
}

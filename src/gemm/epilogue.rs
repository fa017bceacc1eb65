//! What becomes of the sums, while they are still in the cache.
//!
//! The one idea: an epilogue sees a few columns of one row at a time and writes what the next layer
//! reads. Chapters 6 and 18.

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
        match self.column_scales {
            [scale] => {
                let scale = row_scale * scale;
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = *sum as f32 * scale;
                }
            }
            scales => {
                for ((out, sum), scale) in out.iter_mut().zip(sums).zip(&scales[column..]) {
                    *out = *sum as f32 * (row_scale * scale);
                }
            }
        }
        if let Some(bias) = self.bias.get(column..) {
            for (out, bias) in out.iter_mut().zip(bias) {
                *out += bias;
            }
        }
        if self.relu {
            for out in out {
                // NaN stays NaN, which max(y, 0) would hide.
                *out = if *out < 0.0 { 0.0 } else { *out };
            }
        }
    }
}

/// The only element, or the one at `index`.
#[inline(always)]
fn at<T: Copy>(values: &[T], index: usize) -> T {
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

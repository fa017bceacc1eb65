//! From the sums of one layer to the codes of the next, in the arithmetic that was chosen.

use crate::error::Result;
use crate::gemm::Epilogue;
use crate::gemm::epilogue::{self, FixedPoint};
use crate::qparams::QParams;

/// The arithmetic of requantization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rounding {
    /// The sum becomes an f32, is multiplied by an f32, and rounds half to even: what ONNX's
    /// `QLinearMatMul` means.
    #[default]
    Float,
    /// Integers only: a multiplier of 31 bits and a shift, and ties go up.
    FixedPoint,
}

/// [`epilogue::Requantize`] in either arithmetic, to unsigned bytes.
// ANCHOR: Requantize
#[derive(Debug, Clone)]
pub enum Requantize {
    /// [`Rounding::Float`].
    Float(epilogue::Requantize<u8>),
    /// [`Rounding::FixedPoint`].
    FixedPoint(epilogue::Requantize<u8, FixedPoint>),
}
// ANCHOR_END: Requantize

impl Requantize {
    /// As [`epilogue::Requantize::new`].
    ///
    /// # Errors
    /// The same.
    pub fn new(
        rounding: Rounding,
        x_scale: f32,
        w_scales: &[f32],
        y: QParams,
        bias: &[i32],
    ) -> Result<Self> {
        Ok(match rounding {
            Rounding::Float => Self::Float(epilogue::Requantize::new(x_scale, w_scales, y, bias)?),
            Rounding::FixedPoint => {
                Self::FixedPoint(epilogue::Requantize::new(x_scale, w_scales, y, bias)?)
            }
        })
    }
}

impl Epilogue for Requantize {
    type Out = u8;

    fn check(&self, rows: usize, columns: usize) -> Result<()> {
        match self {
            Self::Float(epilogue) => epilogue.check(rows, columns),
            Self::FixedPoint(epilogue) => epilogue.check(rows, columns),
        }
    }

    #[inline(always)]
    fn finish(&self, row: usize, column: usize, sums: &[i32], out: &mut [u8]) {
        match self {
            Self::Float(epilogue) => epilogue.finish(row, column, sums, out),
            Self::FixedPoint(epilogue) => epilogue.finish(row, column, sums, out),
        }
    }
}

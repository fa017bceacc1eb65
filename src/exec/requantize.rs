//! From the sums of one layer to the codes of the next.

use crate::error::{Result, same_length};
use crate::gemm::Epilogue;
use crate::qparams::QParams;

/// A positive factor as an integer of 31 bits and a shift: `mantissa`·2^−`shift`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedPoint {
    mantissa: i32,
    shift: u32,
}

impl FixedPoint {
    /// The nearest such number to `factor`, a relative 2⁻³¹ away at most. Factors of 2³⁰ and more
    /// become 2³⁰ − 2⁻¹, which takes every sum but 0 beyond all codes just as well.
    pub fn new(factor: f64) -> Self {
        let (fraction, exponent) = libm::frexp(factor); // fraction in [1/2, 1)
        let mantissa = (fraction * f64::from(1u32 << 31)).round() as i64;
        let (mantissa, exponent) = match mantissa {
            0x8000_0000 => (1 << 30, exponent + 1),
            mantissa => (mantissa as i32, exponent),
        };
        match 31 - exponent {
            shift if shift < 1 => Self {
                mantissa: i32::MAX,
                shift: 1,
            },
            shift => Self {
                mantissa,
                shift: shift as u32,
            },
        }
    }

    /// `sum` times the factor, rounded once to the nearest integer, ties upwards.
    ///
    /// |`sum`·`mantissa`| ≤ 2⁶², so from a shift of 63 on the result is 0.
    #[inline]
    pub fn times(self, sum: i32) -> i64 {
        if self.shift > 62 {
            return 0;
        }
        let product = i64::from(sum) * i64::from(self.mantissa);
        (product + (1 << (self.shift - 1))) >> self.shift
    }
}

/// The arithmetic of requantization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rounding {
    /// The sum becomes an f32, is multiplied by an f32, and rounds half to even: what ONNX's
    /// `QLinearMatMul` means.
    #[default]
    Float,
    /// Integers only: [`FixedPoint`].
    FixedPoint,
}

/// One factor for each column.
#[derive(Debug, Clone, PartialEq)]
pub enum Multipliers {
    /// For [`Rounding::Float`].
    Float(Vec<f32>),
    /// For [`Rounding::FixedPoint`].
    FixedPoint(Vec<FixedPoint>),
}

impl Multipliers {
    /// The factors in the form that `rounding` needs.
    pub fn new(rounding: Rounding, factors: impl Iterator<Item = f64>) -> Self {
        match rounding {
            Rounding::Float => Self::Float(factors.map(|f| f as f32).collect()),
            Rounding::FixedPoint => Self::FixedPoint(factors.map(FixedPoint::new).collect()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Float(factors) => factors.len(),
            Self::FixedPoint(factors) => factors.len(),
        }
    }
}

/// Codes: q = clamp(round((sum + biasⱼ)·multiplierⱼ) + zero point). The clamp to the smallest and
/// largest code of the output is a ReLU, too, where the range begins at 0.
#[derive(Debug, Clone, Copy)]
pub struct Requantize<'a> {
    /// Added to the sums, one a column, in their scale. The addition saturates.
    pub bias: &'a [i32],
    /// s_x·s_w/s_y of each column.
    pub multipliers: &'a Multipliers,
    /// The pair of the output, whose codes are unsigned bytes.
    pub output: QParams,
}

impl Epilogue for Requantize<'_> {
    type Out = u8;

    fn check(&self, _rows: usize, columns: usize) -> Result<()> {
        same_length("bias", columns, self.bias.len())?;
        same_length("multipliers", columns, self.multipliers.len())?;
        self.output.range().check_fits::<u8>()
    }

    #[inline(always)]
    fn finish(&self, _row: usize, column: usize, sums: &[i32], out: &mut [u8]) {
        let (range, zero_point) = (self.output.range(), self.output.zero_point());
        let sums = sums.iter().zip(&self.bias[column..]);
        let sums = out
            .iter_mut()
            .zip(sums.map(|(sum, b)| sum.saturating_add(*b)));
        match self.multipliers {
            Multipliers::Float(factors) => {
                let (lo, hi) = (range.min() - zero_point, range.max() - zero_point);
                for ((out, sum), factor) in sums.zip(&factors[column..]) {
                    let steps = (sum as f32 * factor).round_ties_even();
                    let steps = steps.clamp(lo as f32, hi as f32) as i32;
                    *out = (steps + zero_point) as u8;
                }
            }
            Multipliers::FixedPoint(factors) => {
                let (lo, hi) = (range.min().into(), range.max().into());
                for ((out, sum), factor) in sums.zip(&factors[column..]) {
                    *out = (factor.times(sum) + i64::from(zero_point)).clamp(lo, hi) as u8;
                }
            }
        }
    }
}

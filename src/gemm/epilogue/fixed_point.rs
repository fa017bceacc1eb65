//! Multipliers without floats: an integer of 31 bits and a shift.

use super::requantize::{Codes, Multiplier, sealed};
use crate::error::{Error, Result};

/// A real number m between 0 and 2³⁰ as q·2^−shift, with 2³⁰ ≤ q < 2³¹: q has 31 significant bits, so
/// it differs from m by at most a 2³¹st part of m.
///
/// Below 2⁻³², where each product with an i32 rounds to 0, q is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedPoint {
    q: i32,
    /// 1 to 62.
    shift: u32,
}

impl FixedPoint {
    /// The nearest to `m`.
    ///
    /// ```
    /// use fewer_bits::gemm::epilogue::FixedPoint;
    /// let m = FixedPoint::new(0.1)?;
    /// assert_eq!((m.q(), m.shift()), (1_717_986_918, 34));
    /// assert_eq!([14, 15, 16, -14, -15, -16].map(|sum| m.times(sum)), [1, 1, 2, -1, -1, -2]);
    /// # Ok::<(), fewer_bits::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidMultiplier`] unless 0 < `m` < 2³⁰.
    pub fn new(m: f64) -> Result<Self> {
        const LIMIT: f64 = (1u64 << 30) as f64;
        let refused = Err(Error::InvalidMultiplier { multiplier: m });
        if !(m > 0.0 && m < LIMIT) {
            return refused;
        }
        let (mut mantissa, mut shift) = (m, 0);
        while mantissa < LIMIT {
            if shift == 62 {
                return Ok(Self { q: 0, shift: 1 });
            }
            mantissa *= 2.0;
            shift += 1;
        }
        // Rounding up may give 2³¹, which is 2³⁰ with one place less.
        match (mantissa.round_ties_even() as i64, shift) {
            (0x8000_0000, 1) => refused,
            (0x8000_0000, _) => Ok(Self {
                q: 1 << 30,
                shift: shift - 1,
            }),
            (q, _) => Ok(Self { q: q as i32, shift }),
        }
    }

    /// The integer q.
    pub fn q(self) -> i32 {
        self.q
    }

    /// By how many bits the product with q is shifted to the right.
    pub fn shift(self) -> u32 {
        self.shift
    }

    /// round(`sum`·q·2^−shift), rounded once, a tie upwards: ⌊`sum`·q·2^−shift + ½⌋ exactly.
    ///
    /// No product overflows: |sum·q| ≤ 2⁶² and the half is at most 2⁶¹.
    // ANCHOR: times
    #[inline(always)]
    pub fn times(self, sum: i32) -> i64 {
        let product = i64::from(sum) * i64::from(self.q);
        let half = 1i64 << (self.shift - 1);
        (product + half) >> self.shift
    }
    // ANCHOR_END: times

    /// What gemmlowp computes, and TensorFlow Lite unless it is built otherwise: the product is rounded to a multiple of
    /// 2³¹ (a tie upwards), and then again to the final place (a tie away from zero).
    ///
    /// Twice rounded is not once rounded: 0.5 − ε may become 0.5 and then 1. The steps are those of
    /// gemmlowp's `SaturatingRoundingDoublingHighMul` and `RoundingDivideByPOT`; for m ≥ 1 the sum
    /// is shifted to the left before, here with saturation.
    // ANCHOR: times_rounding_twice
    pub fn times_rounding_twice(self, sum: i32) -> i32 {
        let left = 31u32.saturating_sub(self.shift);
        let right = self.shift.saturating_sub(31);
        let ends = (i64::from(i32::MIN), i64::from(i32::MAX));
        let sum = (i64::from(sum) << left).clamp(ends.0, ends.1);
        let high = (sum * i64::from(self.q) + (1 << 30)) >> 31;
        let (magnitude, sign) = (high.abs(), high.signum());
        let half = (1i64 << right) >> 1;
        (sign * ((magnitude + half) >> right)) as i32
    }
    // ANCHOR_END: times_rounding_twice
}

impl sealed::Sealed for FixedPoint {}

impl Multiplier for FixedPoint {
    fn from_scales(x: f32, w: f32, y: f32) -> Result<Self> {
        // The product of two f32 is exact in f64.
        Self::new(f64::from(x) * f64::from(w) / f64::from(y))
    }

    #[inline(always)]
    fn code(self, sum: i32, codes: Codes) -> i32 {
        codes.at(self.times(sum))
    }
}

//! One scale, one zero point, and the law that they obey: x ≈ s·(q − z).
//!
//! Everything else in this crate is a question about such a pair: who shares it
//! ([`scheme`](crate::scheme)), who chooses it, and who computes with it. Chapters 3 and 4 of the
//! book derive the formulas; the numeric contract is ONNX's `QuantizeLinear` and
//! `DequantizeLinear` (operator set 21).

use crate::error::{Error, Result};

/// The integers that a code may be: `min..=max`.
///
/// ```
/// use fewer_bits::QRange;
/// assert_eq!((QRange::U8.min(), QRange::U8.max()), (0, 255));
/// assert_eq!(QRange::signed(4)?, QRange::I4);
/// assert_eq!(QRange::I4.to_string(), "-8..=7");
/// # Ok::<(), fewer_bits::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QRange {
    min: i32,
    max: i32,
}

impl QRange {
    /// 0..=255, the usual range of activations.
    pub const U8: Self = Self { min: 0, max: 255 };
    /// −128..=127.
    pub const I8: Self = Self {
        min: -128,
        max: 127,
    };
    /// −127..=127, the usual range of weights: it is its own mirror image.
    pub const I8_NARROW: Self = Self {
        min: -127,
        max: 127,
    };
    /// 0..=15.
    pub const U4: Self = Self { min: 0, max: 15 };
    /// −8..=7.
    pub const I4: Self = Self { min: -8, max: 7 };
    /// 0..=65 535.
    pub const U16: Self = Self {
        min: 0,
        max: 65_535,
    };
    /// −32 768..=32 767.
    pub const I16: Self = Self {
        min: -32_768,
        max: 32_767,
    };

    /// All codes of `bits` bits in two's complement: −2^(bits−1) ..= 2^(bits−1) − 1.
    ///
    /// # Errors
    /// [`Error::UnsupportedBits`] unless `bits` is 2 to 8, or 16.
    pub fn signed(bits: u32) -> Result<Self> {
        match bits {
            2..=8 | 16 => Ok(Self {
                min: -(1 << (bits - 1)),
                max: (1 << (bits - 1)) - 1,
            }),
            _ => Err(Error::UnsupportedBits { bits }),
        }
    }

    /// [`signed`](Self::signed) without its lowest code, so that −q is a code whenever q is.
    ///
    /// # Errors
    /// [`Error::UnsupportedBits`] unless `bits` is 2 to 8, or 16.
    pub fn narrow(bits: u32) -> Result<Self> {
        let signed = Self::signed(bits)?;
        Ok(Self {
            min: -signed.max,
            max: signed.max,
        })
    }

    /// All codes of `bits` bits without a sign: 0 ..= 2^bits − 1.
    ///
    /// # Errors
    /// [`Error::UnsupportedBits`] unless `bits` is 2 to 8, or 16.
    pub fn unsigned(bits: u32) -> Result<Self> {
        match bits {
            2..=8 | 16 => Ok(Self {
                min: 0,
                max: (1 << bits) - 1,
            }),
            _ => Err(Error::UnsupportedBits { bits }),
        }
    }

    /// The smallest code.
    pub const fn min(self) -> i32 {
        self.min
    }

    /// The largest code.
    pub const fn max(self) -> i32 {
        self.max
    }

    /// The number of steps from the smallest code to the largest: one less than there are codes.
    pub const fn steps(self) -> i32 {
        self.max - self.min
    }

    /// Whether `code` is one of the range's codes.
    pub const fn contains(self, code: i32) -> bool {
        self.min <= code && code <= self.max
    }

    /// The code that stands for 0 when positive and negative numbers matter alike: 0 in a signed
    /// range, 128 in [`U8`](Self::U8), 8 in [`U4`](Self::U4).
    pub const fn center(self) -> i32 {
        (self.min + self.max + 1) / 2
    }
}

/// Writes the range as Rust would: `-128..=127`.
impl std::fmt::Display for QRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..={}", self.min, self.max)
    }
}

/// A scale, a zero point, and the integer range that they belong to.
///
/// A value of this type is always usable: the scale is positive and normal, the zero point is a
/// code of the range, real 0 has the exact code `zero_point`, and every code dequantizes to a
/// finite number.
///
/// ```
/// use fewer_bits::{QParams, QRange};
/// let p = QParams::affine(-1.0, 1.5, QRange::I8)?;
/// assert_eq!(p.zero_point(), -26);
/// assert_eq!(p.quantize(0.3)?, 5);
/// assert!((p.dequantize(5) - 0.3).abs() <= p.scale() / 2.0);
/// # Ok::<(), fewer_bits::Error>(())
/// ```
// ANCHOR: QParams
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QParams {
    scale: f32,
    zero_point: i32,
    range: QRange,
}
// ANCHOR_END: QParams

impl QParams {
    /// The pair (`scale`, `zero_point`), checked.
    ///
    /// # Errors
    /// [`Error::InvalidScale`] if `scale` is zero, negative, subnormal, infinite or NaN, or so
    /// large that a code of `range` dequantizes to infinity;
    /// [`Error::ZeroPointOutOfRange`] if `zero_point` is not a code of `range`.
    // ANCHOR: new
    pub fn new(scale: f32, zero_point: i32, range: QRange) -> Result<Self> {
        if !range.contains(zero_point) {
            return Err(Error::ZeroPointOutOfRange {
                zero_point: zero_point.into(),
                min: range.min,
                max: range.max,
            });
        }
        let params = Self {
            scale,
            zero_point,
            range,
        };
        let (lo, hi) = params.representable();
        let finite = lo.is_finite() && hi.is_finite();
        if scale.is_normal() && scale > 0.0 && finite {
            Ok(params)
        } else {
            Err(Error::InvalidScale { scale })
        }
    }
    // ANCHOR_END: new

    /// The pair that spreads `range` over the real interval \[`lo`, `hi`\], widened to contain 0.
    ///
    /// s = (hi − lo) / (q_max − q_min) and z = q_min − round(lo / s), in f32 as ONNX's
    /// `DynamicQuantizeLinear` computes them. Then |x − x̂| ≤ s/2 for each x of the interval, up
    /// to rounding in f32 (the laws in `tests/laws` derive how much). And z is a code without being
    /// clamped: |lo| / s is at most n(1 + 3·2⁻²⁴) for n = q_max − q_min < 2¹⁶, which rounds to n.
    ///
    /// If `lo` and `hi` are 0, the scale is 1. If s would be subnormal, it is
    /// [`f32::MIN_POSITIVE`] instead, which covers more than was asked for.
    ///
    /// # Errors
    /// [`Error::InvalidRange`] if an end is NaN or infinite, or `lo > hi`;
    /// [`Error::RangeTooWide`] if `hi − lo`, or the real number of a code, overflows f32.
    // ANCHOR: affine
    pub fn affine(lo: f32, hi: f32, range: QRange) -> Result<Self> {
        if !(lo.is_finite() && hi.is_finite() && lo <= hi) {
            return Err(Error::InvalidRange { lo, hi });
        }
        let (lo, hi) = (lo.min(0.0), hi.max(0.0));
        if !(hi - lo).is_finite() {
            return Err(Error::RangeTooWide { lo, hi });
        }
        let scale = usable_scale(hi - lo, range.steps());
        let zero_point = range.min - (lo / scale).round_ties_even() as i32;
        Self::new(scale, zero_point, range).map_err(|_| Error::RangeTooWide { lo, hi })
    }
    // ANCHOR_END: affine

    /// The pair whose zero point is the range's [`center`](QRange::center) and whose codes reach
    /// ±`absmax` on both sides: s = absmax / (q_max − z).
    ///
    /// If `absmax` is 0, the scale is 1; if s would be subnormal, it is [`f32::MIN_POSITIVE`].
    ///
    /// # Errors
    /// [`Error::InvalidRange`] if `absmax` is negative, NaN or infinite;
    /// [`Error::RangeTooWide`] if the real number of a code overflows f32.
    // ANCHOR: symmetric
    pub fn symmetric(absmax: f32, range: QRange) -> Result<Self> {
        let (lo, hi) = (-absmax, absmax);
        if !(absmax.is_finite() && absmax >= 0.0) {
            return Err(Error::InvalidRange { lo, hi });
        }
        let zero_point = range.center();
        let scale = usable_scale(absmax, range.max - zero_point);
        Self::new(scale, zero_point, range).map_err(|_| Error::RangeTooWide { lo, hi })
    }
    // ANCHOR_END: symmetric

    /// The same real numbers under codes that are larger by `offset`.
    ///
    /// # Errors
    /// [`Error::RangeDoesNotFit`] if the codes are then no unsigned bytes.
    pub(crate) fn shifted_to_u8(self, offset: i32) -> Result<Self> {
        let (min, max) = (self.range.min + offset, self.range.max + offset);
        match QRange::U8.contains(min) && QRange::U8.contains(max) {
            true => Ok(Self {
                range: QRange { min, max },
                zero_point: self.zero_point + offset,
                ..self
            }),
            false => Err(Error::RangeDoesNotFit {
                min: self.range.min,
                max: self.range.max,
                storage_min: QRange::U8.min - offset,
                storage_max: QRange::U8.max - offset,
            }),
        }
    }

    /// The width of one step, in units of the real values. Positive and normal.
    pub fn scale(self) -> f32 {
        self.scale
    }

    /// The code of real 0.
    pub fn zero_point(self) -> i32 {
        self.zero_point
    }

    /// The integer range that the codes lie in.
    pub fn range(self) -> QRange {
        self.range
    }

    /// The real numbers that the smallest and the largest code stand for. Values between them are
    /// rounded; values outside saturate.
    pub fn representable(self) -> (f32, f32) {
        (
            self.dequantize(self.range.min),
            self.dequantize(self.range.max),
        )
    }

    /// The code of `x`: divide by the scale, round half to even, add the zero point, saturate.
    ///
    /// Infinities saturate like any other value outside the range.
    ///
    /// # Errors
    /// [`Error::NotANumber`] (index 0) if `x` is NaN.
    pub fn quantize(self, x: f32) -> Result<i32> {
        if x.is_nan() {
            return Err(Error::NotANumber { index: 0 });
        }
        Ok(self.code(x))
    }

    /// The code of a value that is known not to be NaN.
    ///
    /// The division is a true division: multiplying by 1/s gives other codes now and then.
    /// A quotient beyond ±2²³ saturates before the zero point is added, so the sum cannot overflow.
    // ANCHOR: code
    #[inline]
    pub(crate) fn code(self, x: f32) -> i32 {
        let steps_from_zero = (x / self.scale).round_ties_even();
        let clamped = steps_from_zero.clamp(-8_388_608.0, 8_388_608.0) as i32;
        (clamped + self.zero_point).clamp(self.range.min, self.range.max)
    }
    // ANCHOR_END: code

    /// The real number that `code` stands for: s·(q − z), rounded once to f32.
    ///
    /// Codes of the range give finite numbers. Any other integer is accepted, as in ONNX; beyond
    /// 2²⁴ steps the difference q − z is itself rounded to f32 first.
    // ANCHOR: dequantize
    #[inline]
    pub fn dequantize(self, code: i32) -> f32 {
        (i64::from(code) - i64::from(self.zero_point)) as f32 * self.scale
    }
    // ANCHOR_END: dequantize

    /// Quantizes and dequantizes: the real number nearest to `x` that has a code.
    ///
    /// # Errors
    /// [`Error::NotANumber`] (index 0) if `x` is NaN.
    pub fn fake_quantize(self, x: f32) -> Result<f32> {
        self.quantize(x).map(|code| self.dequantize(code))
    }
}

/// The scale that spreads `steps` steps over `width`. It must be able to divide, so it is 1 where
/// the width is 0 (all values are 0), and never subnormal.
fn usable_scale(width: f32, steps: i32) -> f32 {
    if width == 0.0 {
        1.0
    } else {
        (width / steps as f32).max(f32::MIN_POSITIVE)
    }
}

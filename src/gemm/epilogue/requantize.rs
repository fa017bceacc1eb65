//! From sums to codes: the next layer's input, without a detour over real numbers.

use std::marker::PhantomData;

use super::{Epilogue, none_or, one_or, some};
use crate::elementwise::Code;
use crate::error::{Error, Result};
use crate::qparams::QParams;

/// Codes of the next layer: y = saturate(round((sum + bias)·m) + zero point).
///
/// A sum counts steps of s_x·s_w, a code counts steps of s_y, so m = s_x·s_w / s_y. The bias is
/// counted in steps of s_x·s_w, too, with the zero point 0; its sum with the sum of products
/// saturates at the ends of i32. The kind `M` of the multiplier says how m is represented and how
/// the product is rounded: [`f32`], or [`FixedPoint`](super::FixedPoint) where there are no floats.
///
/// ```
/// use fewer_bits::gemm::{Activations, Kernel, PackedWeights, epilogue::{FixedPoint, Requantize}};
/// use fewer_bits::{QParams, QRange};
/// use ndarray::{Array2, array};
///
/// let weights = array![[1i8, -2], [3, 4]];
/// let packed = PackedWeights::new(Kernel::best(), weights.view())?;
/// let a = array![[130u8, 140]];
/// let x = Activations::u8(a.view(), 128); // real 0.2 and 1.2 at the scale 0.1
/// let y = QParams::new(0.5, 128, QRange::U8)?;
/// let (w_scales, bias) = ([0.25, 0.5], [-8, 0]); // the bias is −8 · 0.1 · 0.25 = −0.2
///
/// let in_f32 = Requantize::<u8>::new(0.1, &w_scales, y, &bias)?;
/// let mut codes = Array2::zeros((1, 2));
/// packed.multiply(&x, &in_f32, codes.view_mut())?;
/// assert_eq!(codes, array![[130, 132]]); // (2 + 36 − 8)·0.05 = 1.5 → 2, (−4 + 48)·0.1 = 4.4 → 4
///
/// let in_integers = Requantize::<u8, FixedPoint>::new(0.1, &w_scales, y, &bias)?;
/// packed.multiply(&x, &in_integers, codes.view_mut())?;
/// assert_eq!(codes, array![[130, 132]]);
/// # Ok::<(), fewer_bits::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Requantize<T, M = f32> {
    multipliers: Vec<M>,
    bias: Vec<i32>,
    codes: Codes,
    out: PhantomData<fn() -> T>,
}

/// Which codes may come out.
#[derive(Debug, Clone, Copy)]
pub struct Codes {
    zero_point: i32,
    lowest: i32,
    highest: i32,
}

/// m = `x`·`w` / the scale of `y`, for scales that are ones.
///
/// # Errors
/// As [`Requantize::new`].
pub(crate) fn multiplier<M: Multiplier>(x: f32, w: f32, y: QParams) -> Result<M> {
    for scale in [x, w] {
        if !(scale.is_normal() && scale > 0.0) {
            return Err(Error::InvalidScale { scale });
        }
    }
    M::from_scales(x, w, y.scale())
}

/// How a sum is multiplied by a real number m > 0 and rounded to a code.
///
/// f32: m = s_x·s_w / s_y with each operation rounded to f32, the sum rounded to f32, their product
/// rounded to f32, and that to the nearest integer, half to even, as ONNX Runtime does it.
pub trait Multiplier: Copy + Send + Sync + sealed::Sealed {
    /// m = `x`·`w` / `y`.
    ///
    /// # Errors
    /// [`Error::InvalidMultiplier`] if this kind cannot represent it, or not the product of the two.
    fn from_scales(x: f32, w: f32, y: f32) -> Result<Self>;

    /// saturate(round(`sum`·m) + zero point).
    fn code(self, sum: i32, codes: Codes) -> i32;
}

pub(super) mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
}

impl<T: Code, M: Multiplier> Requantize<T, M> {
    /// Multipliers for activations of the scale `x_scale`, weights of the scales `w_scales` (one, or
    /// one a column), and results quantized by `y`; `bias` is empty or has one integer a column.
    ///
    /// # Errors
    /// [`Error::RangeDoesNotFit`] if `T` does not hold the range of `y`; [`Error::InvalidScale`] for a
    /// scale that is not positive and normal; [`Error::InvalidMultiplier`] with the first m that
    /// `M` cannot represent.
    pub fn new(x_scale: f32, w_scales: &[f32], y: QParams, bias: &[i32]) -> Result<Self> {
        y.range().check_fits::<T>()?;
        let multiplier = |&w: &f32| multiplier(x_scale, w, y);
        Ok(Self {
            multipliers: w_scales.iter().map(multiplier).collect::<Result<_>>()?,
            bias: bias.to_vec(),
            codes: Codes::of(y),
            out: PhantomData,
        })
    }

    /// The same followed by max(·, 0): codes below the zero point become the zero point, which costs
    /// nothing, for saturation is there anyway.
    pub fn with_relu(mut self) -> Self {
        self.codes.lowest = self.codes.zero_point;
        self
    }
}

impl Codes {
    /// All of the range of `y`, around its zero point.
    pub fn of(y: QParams) -> Self {
        Self {
            zero_point: y.zero_point(),
            lowest: y.range().min(),
            highest: y.range().max(),
        }
    }

    /// The code that lies `steps` steps from the zero point, or the nearest that there is.
    #[inline(always)]
    pub(super) fn at(self, steps: i64) -> i32 {
        let lowest = i64::from(self.lowest - self.zero_point);
        let highest = i64::from(self.highest - self.zero_point);
        steps.clamp(lowest, highest) as i32 + self.zero_point
    }
}

impl Multiplier for f32 {
    fn from_scales(x: f32, w: f32, y: f32) -> Result<Self> {
        let (product, m) = (x * w, x * w / y);
        // A product that is not normal has lost digits.
        match product.is_normal() && m.is_normal() && m > 0.0 {
            true => Ok(m),
            false => Err(Error::InvalidMultiplier {
                multiplier: f64::from(m),
            }),
        }
    }

    // ANCHOR: code
    #[inline(always)]
    fn code(self, sum: i32, codes: Codes) -> i32 {
        /// Its neighbours in f32 are whole numbers, so adding it rounds to a whole
        /// number, half to even, and leaves that number in the lowest bits.
        const WHOLE: f32 = (3 << 22) as f32;
        let lowest = (codes.lowest - codes.zero_point) as f32;
        let highest = (codes.highest - codes.zero_point) as f32;
        let steps = sum as f32 * self;
        let steps = if steps > lowest { steps } else { lowest };
        let steps = if steps < highest { steps } else { highest };
        let rounded = (steps + WHOLE).to_bits() as i32 - WHOLE.to_bits() as i32;
        rounded + codes.zero_point
    }
    // ANCHOR_END: code
}

impl<T: Code + Send + Sync, M: Multiplier> Epilogue for Requantize<T, M> {
    type Out = T;

    fn check(&self, _rows: usize, columns: usize) -> Result<()> {
        one_or("column scales", columns, self.multipliers.len())?;
        none_or("bias", columns, self.bias.len())
    }

    #[inline(always)]
    fn finish(&self, _row: usize, column: usize, sums: &[i32], out: &mut [T]) {
        piece_by_piece!(out.len(), |at| self.write_codes(
            column + at,
            &sums[at..],
            &mut out[at..]
        ));
    }
}

impl<T: Code, M: Multiplier> Requantize<T, M> {
    /// Writes the codes of `N` columns from `column` on.
    #[inline(always)]
    fn write_codes<const N: usize>(&self, column: usize, sums: &[i32], out: &mut [T]) {
        let m = match self.multipliers.as_slice() {
            [m] => [*m; N],
            each => some(each, column),
        };
        let bias = match self.bias.as_slice() {
            [] => [0; N],
            each => some(each, column),
        };
        let sums: [i32; N] = some(sums, 0);
        let mut codes = [T::default(); N];
        for i in 0..N {
            let code = m[i].code(sums[i].saturating_add(bias[i]), self.codes);
            codes[i] = T::from_code(code);
        }
        out[..N].copy_from_slice(&codes);
    }
}

//! ONNX's operators on quantized tensors, as functions: `QuantizeLinear`, `DequantizeLinear`,
//! `DynamicQuantizeLinear`, `MatMulInteger`, `ConvInteger`, `QLinearMatMul` and `QLinearConv`.
//!
//! The one idea: ONNX says in which *type* the codes live and with which *shape* of scales; both
//! translate into this crate's [`QRange`] and [`Granularity`], and the rest is
//! [`QTensor`] and [`elementwise`](crate::elementwise). The answers are those of operator
//! versions 21 to 25 (`DynamicQuantizeLinear`: 11; the integer products: 10 and 21), for `x` and
//! scales in f32 and codes in integers. Chapter 3 derives the formulas.
//!
//! The order of the steps is ONNX's: divide by the scale in f32, round half to even, add the zero
//! point, saturate. Where ONNX leaves an input undefined, or answers it with infinity, these
//! functions give an [`Error`] with the value: NaN, a scale that is not positive and normal, and a
//! scale at which a code would dequantize to infinity.

mod conv;
mod integer;

pub use conv::{Attributes, AutoPad, conv_integer, qlinear_conv};
pub use integer::{Byte, Quantized, mat_mul_integer, qlinear_mat_mul};

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use crate::elementwise::Code;
use crate::error::{Error, Result};
use crate::qparams::{QParams, QRange};
use crate::qtensor::{QTensor, dequantize_codes};
use crate::scheme::{Granularity, Scheme};

/// What `QuantizeLinear` and `DequantizeLinear` have in common: scales, zero points, attributes.
///
/// The shape of the scales decides who shares one, as in ONNX. For `x` of shape (D₀ … Dₙ):
///
/// | scales | `block_size` | |
/// |:--|:--|:--|
/// | a scalar | any | per tensor |
/// | shape \[1\] | 0 | per tensor, as runtimes read it |
/// | shape \[D_axis\] | 0 | per axis |
/// | shape (D₀ … ⌈D_axis / `block_size`⌉ … Dₙ) | ≥ 1 | blocked; the last block may be short |
#[derive(Debug, Clone)]
pub struct Linear<'a> {
    /// `y_scale` or `x_scale`.
    pub scale: ArrayViewD<'a, f32>,
    /// The zero points, in the shape of the scales; all 0 if there are none.
    pub zero_point: Option<ArrayViewD<'a, i32>>,
    /// The codes of the ONNX type: uint8 is [`QRange::U8`], int8 [`QRange::I8`], uint16
    /// [`QRange::U16`], int16 [`QRange::I16`], uint4 [`QRange::U4`], int4 [`QRange::I4`], uint2
    /// `QRange::unsigned(2)`, int2 `QRange::signed(2)`. Other ranges work alike, beyond ONNX.
    pub range: QRange,
    /// The axis of per-axis and blocked scales; a negative one counts from the back.
    pub axis: isize,
    /// How many elements along the axis share a scale; 0 if the scales are not blocked.
    pub block_size: usize,
}

impl<'a> Linear<'a> {
    /// No zero points, and ONNX's default attributes: axis 1, not blocked.
    pub fn new(scale: ArrayViewD<'a, f32>, range: QRange) -> Self {
        Self {
            scale,
            zero_point: None,
            range,
            axis: 1,
            block_size: 0,
        }
    }

    /// Which elements of a tensor of `shape` share a pair, and the pairs.
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`] or [`Error::NegativeAxisOutOfRange`];
    /// [`Error::ShapeMismatch`] if the scales do not suit `shape`, or the zero points the scales;
    /// what [`QParams::new`] refuses.
    pub fn params(&self, shape: &[usize]) -> Result<(Granularity, Vec<QParams>)> {
        let granularity = self.granularity(shape)?;
        let scales = self.scale.shape();
        if granularity != Granularity::PerTensor {
            same_shape("scales", &granularity.params_shape(shape)?, scales)?;
        }
        let pair =
            |(&scale, &zero_point): (&f32, &i32)| QParams::new(scale, zero_point, self.range);
        let params: Result<_> = match &self.zero_point {
            Some(zero_points) => {
                same_shape("zero points", scales, zero_points.shape())?;
                self.scale.iter().zip(zero_points).map(pair).collect()
            }
            None => self.scale.iter().map(|scale| pair((scale, &0))).collect(),
        };
        Ok((granularity, params?))
    }

    fn granularity(&self, shape: &[usize]) -> Result<Granularity> {
        Ok(match (self.scale.shape(), self.block_size) {
            ([], _) | ([1], 0) => Granularity::PerTensor,
            (_, 0) => Granularity::PerChannel {
                axis: self.axis_of(shape)?,
            },
            (_, size) => Granularity::PerGroup {
                axis: self.axis_of(shape)?,
                size,
            },
        })
    }

    /// The axis counted from the front. One that is too large is refused by
    /// [`Granularity::params_shape`].
    fn axis_of(&self, shape: &[usize]) -> Result<usize> {
        let axis = match usize::try_from(self.axis) {
            Ok(axis) => Some(axis),
            Err(_) => shape.len().checked_sub(self.axis.unsigned_abs()),
        };
        axis.ok_or_else(|| Error::NegativeAxisOutOfRange {
            axis: self.axis,
            shape: shape.to_vec(),
        })
    }
}

/// `QuantizeLinear`: saturate(round(x / scale) + zero point), rounding half to even.
///
/// The codes are [`QTensor::codes`] of the result; infinities saturate.
///
/// ```
/// use fewer_bits::QRange;
/// use fewer_bits::onnx::{Linear, quantize_linear};
/// use ndarray::{arr0, array};
/// let (x, scale, zero_point) = (array![-1.0, 0.25, 0.75, 9.0].into_dyn(), arr0(0.5), arr0(3));
/// let linear = Linear {
///     zero_point: Some(zero_point.view().into_dyn()),
///     ..Linear::new(scale.view().into_dyn(), QRange::U4)
/// };
/// assert_eq!(quantize_linear(x.view(), &linear)?.to_codes(), [1, 3, 5, 15]);
/// # Ok::<(), fewer_bits::Error>(())
/// ```
///
/// # Errors
/// As [`Linear::params`]; [`Error::NotANumber`] with the row-major index of the first NaN.
// ANCHOR: quantize_linear
pub fn quantize_linear(x: ArrayViewD<'_, f32>, linear: &Linear<'_>) -> Result<QTensor> {
    let (granularity, params) = linear.params(x.shape())?;
    QTensor::quantize_with(x, granularity, params)
}
// ANCHOR_END: quantize_linear

/// `DequantizeLinear`: (x − zero point) · scale, for the codes `x` of `linear.range`.
///
/// Codes of fewer than 8 bits come one to an element, as `i8` or `u8`. A code that `T` holds but
/// `linear.range` does not is dequantized all the same; what then exceeds f32 is infinite.
///
/// ```
/// use fewer_bits::QRange;
/// use fewer_bits::onnx::{Linear, dequantize_linear};
/// use ndarray::array;
/// let (codes, scales) = (array![[2i8, -128], [4, 1]].into_dyn(), array![0.5, 10.0].into_dyn());
/// let per_row = Linear { axis: 0, ..Linear::new(scales.view(), QRange::I8) };
/// let values = dequantize_linear(codes.view(), &per_row)?;
/// assert_eq!(values, array![[1.0, -64.0], [40.0, 10.0]].into_dyn());
/// # Ok::<(), fewer_bits::Error>(())
/// ```
///
/// # Errors
/// As [`Linear::params`]; [`Error::RangeDoesNotFit`] if `linear.range` is not of the type `T`.
pub fn dequantize_linear<T: Code>(
    x: ArrayViewD<'_, T>,
    linear: &Linear<'_>,
) -> Result<ArrayD<f32>> {
    linear.range.check_fits::<T>()?;
    let (granularity, params) = linear.params(x.shape())?;
    let x = x.as_standard_layout();
    let codes = x.as_slice().unwrap_or_default();
    let values = dequantize_codes(codes, x.shape(), granularity, &params);
    Ok(in_shape(x.shape(), values))
}

/// `DequantizeLinear` of int32, such as a bias or a product's sums: x · scale, without zero points.
///
/// Beyond 2²⁴ the code is itself rounded to f32 first, as in ONNX; what exceeds f32 is infinite.
///
/// # Errors
/// As [`Linear::params`].
pub fn dequantize_linear_i32(
    x: ArrayViewD<'_, i32>,
    scale: ArrayViewD<'_, f32>,
    axis: isize,
    block_size: usize,
) -> Result<ArrayD<f32>> {
    let linear = Linear {
        axis,
        block_size,
        ..Linear::new(scale, QRange::I8) // any range: the zero point is 0
    };
    let (granularity, params) = linear.params(x.shape())?;
    let mut codes = x.iter();
    let mut values = Vec::with_capacity(x.len());
    for run in granularity.runs(x.shape()) {
        for (index, &code) in codes.by_ref().take(run.len).enumerate() {
            let pair = if run.shared {
                run.pair
            } else {
                run.pair + index
            };
            values.push(params[pair].dequantize(code));
        }
    }
    Ok(in_shape(x.shape(), values))
}

/// `DynamicQuantizeLinear`: a uint8 pair from the values themselves, then `QuantizeLinear`.
///
/// scale = (max(0, max x) − min(0, min x)) / 255, zero point = round(saturate(0 − min(0, min x) /
/// scale)). ONNX's outputs are [`QTensor::codes`], and scale and zero point of the only pair in
/// [`QTensor::params`].
///
/// If all values are 0 the formula gives 0/0, and implementations differ ([ONNX issue
/// 8437](https://github.com/onnx/onnx/issues/8437)); the scale is then 1, as in ONNX Runtime. A
/// scale that would be subnormal is [`f32::MIN_POSITIVE`].
///
/// ```
/// use fewer_bits::{Codes, onnx::dynamic_quantize_linear};
/// use ndarray::array;
/// let y = dynamic_quantize_linear(array![0.0, 2.0, -3.0, 1.34].into_dyn().view())?;
/// assert_eq!(*y.codes(), Codes::U8(vec![153, 255, 0, 221]));
/// assert_eq!((y.params()[0].scale(), y.params()[0].zero_point()), (5.0 / 255.0, 153));
/// # Ok::<(), fewer_bits::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`]; [`Error::NotFinite`] with the row-major index of the first NaN or infinity;
/// [`Error::RangeTooWide`] if the width of the range overflows f32.
// ANCHOR: dynamic_quantize_linear
pub fn dynamic_quantize_linear(x: ArrayViewD<'_, f32>) -> Result<QTensor> {
    QTensor::quantize(x, Scheme::activations())
}
// ANCHOR_END: dynamic_quantize_linear

fn same_shape(what: &'static str, expected: &[usize], actual: &[usize]) -> Result<()> {
    (expected == actual)
        .then_some(())
        .ok_or_else(|| Error::ShapeMismatch {
            what,
            expected: expected.to_vec(),
            actual: actual.to_vec(),
        })
}

fn in_shape<T>(shape: &[usize], values: Vec<T>) -> ArrayD<T> {
    ArrayD::from_shape_vec(IxDyn(shape), values).expect("as many values as the shape says")
}

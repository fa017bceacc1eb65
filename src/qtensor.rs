//! A tensor of codes, with the pairs that give them their meaning.
//!
//! [`QTensor::quantize`] reads the range of each group of elements that shares a pair, chooses the
//! pair, and stores the codes in the smallest type that holds them; 4-bit codes are packed two to a
//! byte. Chapters 4 and 12.

mod codes;
mod packed4;
mod runs;

pub use codes::Codes;
pub use packed4::Packed4;
pub(crate) use runs::dequantize as dequantize_codes;

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use crate::elementwise::Code;
use crate::error::{Error, Result};
use crate::qparams::{QParams, QRange};
use crate::scheme::{Granularity, Scheme};

/// A quantized tensor: codes, shape, and one [`QParams`] for each group of elements that shares
/// one.
///
/// ```
/// use fewer_bits::{Granularity, QTensor, Scheme};
/// use ndarray::array;
/// let w = array![[0.5, -1.0], [0.02, 0.005]].into_dyn();
/// let q = QTensor::quantize(w.view(), Scheme::weights(0))?;
/// assert_eq!(q.to_codes(), [64, -127, 127, 32]); // each row fills its own range
/// assert_eq!(q.params().len(), 2);
/// # Ok::<(), fewer_bits::Error>(())
/// ```
// ANCHOR: QTensor
#[derive(Debug, Clone, PartialEq)]
pub struct QTensor {
    codes: Codes,
    shape: Vec<usize>,
    granularity: Granularity,
    params: Vec<QParams>,
}
// ANCHOR_END: QTensor

impl QTensor {
    /// Chooses each pair from the smallest and largest value that shares it, then quantizes.
    ///
    /// A tensor that is not in row-major order is copied first.
    ///
    /// # Errors
    /// As [`choose_params`].
    // ANCHOR: quantize
    pub fn quantize(x: ArrayViewD<'_, f32>, scheme: Scheme) -> Result<Self> {
        let x = x.as_standard_layout();
        let params = choose_params(x.view(), scheme)?;
        Self::quantize_with(x.view(), scheme.granularity, params)
    }
    // ANCHOR_END: quantize

    /// Quantizes with pairs that were chosen before, in the order of
    /// [`Granularity::params_shape`]. Values beyond the ends of a range saturate, infinities too.
    ///
    /// A tensor without elements gives a tensor without codes.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`] if the number of pairs is wrong; [`Error::MixedRanges`] if the
    /// pairs are not all of one integer range; [`Error::NotANumber`] with the row-major index of
    /// the first NaN; and what [`Granularity::params_shape`] refuses.
    pub fn quantize_with(
        x: ArrayViewD<'_, f32>,
        granularity: Granularity,
        params: Vec<QParams>,
    ) -> Result<Self> {
        let shape = x.shape().to_vec();
        let range = check_params(granularity, &shape, &params)?;
        let x = x.as_standard_layout();
        let source = runs::Values {
            values: x.as_slice().unwrap_or_default(),
            shape: &shape,
            granularity,
            params: &params,
        };
        Ok(Self {
            codes: Codes::store(range, source)?,
            shape,
            granularity,
            params,
        })
    }

    /// The real numbers that the codes stand for, in the tensor's shape.
    pub fn dequantize(&self) -> ArrayD<f32> {
        let values = match &self.codes {
            Codes::I8(codes) => self.dequantize_runs(codes),
            Codes::U8(codes) => self.dequantize_runs(codes),
            Codes::I16(codes) => self.dequantize_runs(codes),
            Codes::U16(codes) => self.dequantize_runs(codes),
            Codes::Packed4(packed) => {
                let codes: Vec<i8> = packed.codes().map(|code| code as i8).collect();
                self.dequantize_runs(&codes)
            }
        };
        ArrayD::from_shape_vec(IxDyn(&self.shape), values)
            .expect("a QTensor has as many codes as its shape says")
    }

    /// The stored codes.
    pub fn codes(&self) -> &Codes {
        &self.codes
    }

    /// The codes as plain integers, in row-major order.
    pub fn to_codes(&self) -> Vec<i32> {
        self.codes.to_vec()
    }

    /// The tensor's shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Which elements share a pair.
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// The pairs, in the order of [`Granularity::params_shape`].
    pub fn params(&self) -> &[QParams] {
        &self.params
    }

    /// Bytes that the codes take in memory, without the pairs.
    pub fn code_bytes(&self) -> usize {
        self.codes.bytes()
    }

    fn dequantize_runs<T: Code>(&self, codes: &[T]) -> Vec<f32> {
        runs::dequantize(codes, &self.shape, self.granularity, &self.params)
    }
}

/// The pair of each group of elements that shares one, from its smallest and largest value, in the
/// order of [`Granularity::params_shape`].
///
/// # Errors
/// [`Error::Empty`] if `x` has no elements; [`Error::NotFinite`] with the row-major index of the
/// first NaN or infinity; and what [`Granularity::params_shape`] and [`Scheme::params`] refuse.
// ANCHOR: choose_params
pub fn choose_params(x: ArrayViewD<'_, f32>, scheme: Scheme) -> Result<Vec<QParams>> {
    scheme.granularity.params_shape(x.shape())?;
    if x.is_empty() {
        return Err(Error::Empty);
    }
    let x = x.as_standard_layout();
    let values = x.as_slice().unwrap_or_default();
    runs::ends(values, x.shape(), scheme.granularity)?
        .into_iter()
        .map(|(lo, hi)| scheme.params(lo, hi))
        .collect()
}
// ANCHOR_END: choose_params

/// The integer range of all pairs; −128..=127 if there are none.
fn check_params(granularity: Granularity, shape: &[usize], params: &[QParams]) -> Result<QRange> {
    let expected: usize = granularity.params_shape(shape)?.iter().product();
    if params.len() != expected {
        return Err(Error::LengthMismatch {
            what: "scale and zero-point pairs",
            expected,
            actual: params.len(),
        });
    }
    let range = params.first().map_or(QRange::I8, |pair| pair.range());
    match params.iter().find(|pair| pair.range() != range) {
        None => Ok(range),
        Some(other) => Err(Error::MixedRanges {
            first: range.to_string(),
            other: other.range().to_string(),
        }),
    }
}

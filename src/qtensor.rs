//! A tensor of codes, with the pairs that give them their meaning.
//!
//! [`QTensor::quantize`] reads the range of each group of elements that shares a pair, chooses the
//! pair, and stores the codes in the smallest type that holds them; 4-bit codes are packed two to a
//! byte. Chapters 4 and 12.

mod packed4;

pub use packed4::Packed4;

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use crate::elementwise::{Code, Kernel};
use crate::error::{Error, Result};
use crate::qparams::{QParams, QRange};
use crate::scheme::{Granularity, Scheme};

/// The stored codes, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum Codes {
    /// Signed codes of up to 8 bits.
    I8(Vec<i8>),
    /// Unsigned codes of up to 8 bits.
    U8(Vec<u8>),
    /// Signed 16-bit codes.
    I16(Vec<i16>),
    /// Unsigned 16-bit codes.
    U16(Vec<u16>),
    /// 4-bit codes, two to a byte.
    Packed4(Packed4),
}

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
#[derive(Debug, Clone, PartialEq)]
pub struct QTensor {
    codes: Codes,
    shape: Vec<usize>,
    granularity: Granularity,
    params: Vec<QParams>,
}

impl QTensor {
    /// Chooses each pair from the smallest and largest value that shares it, then quantizes.
    ///
    /// A tensor that is not in row-major order is copied first.
    ///
    /// # Errors
    /// [`Error::Empty`] if `x` has no elements; [`Error::NotFinite`] with the first NaN or infinity
    /// of the first group that has one, by its row-major index in `x`; and what
    /// [`Granularity::params_shape`] and [`Scheme::params`] refuse.
    pub fn quantize(x: ArrayViewD<'_, f32>, scheme: Scheme) -> Result<Self> {
        let params = choose_params(x.view(), scheme)?;
        Self::quantize_with(x, scheme.granularity, params)
    }

    /// Quantizes with pairs that were chosen before, in the order of
    /// [`Granularity::params_shape`].
    ///
    /// # Errors
    /// [`Error::LengthMismatch`] if the number of pairs is wrong; [`Error::MixedRanges`] if the
    /// pairs are not all of one integer range; [`Error::NotANumber`] with the first NaN.
    pub fn quantize_with(
        x: ArrayViewD<'_, f32>,
        granularity: Granularity,
        params: Vec<QParams>,
    ) -> Result<Self> {
        let shape = x.shape().to_vec();
        check_params(granularity, &shape, &params)?;
        let x = x.as_standard_layout();
        let values = x.as_slice().unwrap_or_default();
        let range = params.first().map_or(QRange::I8, |p| p.range());
        let codes = match range {
            _ if is_four_bit(range) => {
                let packed = if range.min() < 0 {
                    let codes: Vec<i8> = quantize_runs(values, &shape, granularity, &params)?;
                    Packed4::from_codes(range, codes.iter().map(|&c| c.into()))?
                } else {
                    let codes: Vec<u8> = quantize_runs(values, &shape, granularity, &params)?;
                    Packed4::from_codes(range, codes.iter().map(|&c| c.into()))?
                };
                Codes::Packed4(packed)
            }
            _ if fits::<i8>(range) => {
                Codes::I8(quantize_runs(values, &shape, granularity, &params)?)
            }
            _ if fits::<u8>(range) => {
                Codes::U8(quantize_runs(values, &shape, granularity, &params)?)
            }
            _ if fits::<i16>(range) => {
                Codes::I16(quantize_runs(values, &shape, granularity, &params)?)
            }
            _ => Codes::U16(quantize_runs(values, &shape, granularity, &params)?),
        };
        Ok(Self {
            codes,
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
        match &self.codes {
            Codes::I8(codes) => codes.iter().map(|c| c.code()).collect(),
            Codes::U8(codes) => codes.iter().map(|c| c.code()).collect(),
            Codes::I16(codes) => codes.iter().map(|c| c.code()).collect(),
            Codes::U16(codes) => codes.iter().map(|c| c.code()).collect(),
            Codes::Packed4(packed) => packed.codes().collect(),
        }
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
        match &self.codes {
            Codes::I8(codes) => codes.len(),
            Codes::U8(codes) => codes.len(),
            Codes::I16(codes) => 2 * codes.len(),
            Codes::U16(codes) => 2 * codes.len(),
            Codes::Packed4(packed) => packed.bytes().len(),
        }
    }

    fn dequantize_runs<T: Code>(&self, codes: &[T]) -> Vec<f32> {
        let kernel = Kernel::best();
        let mut values = vec![0.0; codes.len()];
        let mut start = 0;
        for run in self.granularity.runs(&self.shape) {
            let span = start..start + run.len;
            kernel
                .dequantize(
                    self.params[run.pair],
                    &codes[span.clone()],
                    &mut values[span],
                )
                .expect("a run's codes and values have one length");
            start += run.len;
        }
        values
    }
}

/// The pair of each group, from its smallest and largest value.
///
/// # Errors
/// As [`QTensor::quantize`].
pub fn choose_params(x: ArrayViewD<'_, f32>, scheme: Scheme) -> Result<Vec<QParams>> {
    let pairs: usize = scheme.granularity.params_shape(x.shape())?.iter().product();
    if x.is_empty() {
        return Err(Error::Empty);
    }
    let x = x.as_standard_layout();
    let values = x.as_slice().unwrap_or_default();
    let kernel = Kernel::best();
    let mut ends = vec![(0.0f32, 0.0f32); pairs]; // every range contains 0
    let mut start = 0;
    for run in scheme.granularity.runs(x.shape()) {
        let (lo, hi) = kernel
            .min_max(&values[start..start + run.len])
            .map_err(|error| offset(error, start))?;
        let (pair_lo, pair_hi) = &mut ends[run.pair];
        (*pair_lo, *pair_hi) = (pair_lo.min(lo), pair_hi.max(hi));
        start += run.len;
    }
    ends.into_iter()
        .map(|(lo, hi)| scheme.params(lo, hi))
        .collect()
}

fn check_params(granularity: Granularity, shape: &[usize], params: &[QParams]) -> Result<()> {
    let expected: usize = granularity.params_shape(shape)?.iter().product();
    if params.len() != expected {
        return Err(Error::LengthMismatch {
            what: "scale and zero-point pairs",
            expected,
            actual: params.len(),
        });
    }
    match params.iter().find(|p| p.range() != params[0].range()) {
        None => Ok(()),
        Some(other) => Err(Error::MixedRanges {
            first: params[0].range().to_string(),
            other: other.range().to_string(),
        }),
    }
}

fn quantize_runs<T: Code>(
    values: &[f32],
    shape: &[usize],
    granularity: Granularity,
    params: &[QParams],
) -> Result<Vec<T>> {
    let kernel = Kernel::best();
    let mut codes = vec![T::default(); values.len()];
    let mut start = 0;
    for run in granularity.runs(shape) {
        let span = start..start + run.len;
        kernel
            .quantize(params[run.pair], &values[span.clone()], &mut codes[span])
            .map_err(|error| offset(error, start))?;
        start += run.len;
    }
    Ok(codes)
}

/// Whether the codes need four bits: fewer than four are stored one to a byte.
fn is_four_bit(range: QRange) -> bool {
    (8..=15).contains(&range.steps())
}

fn fits<T: Code>(range: QRange) -> bool {
    T::STORAGE.contains(range.min()) && T::STORAGE.contains(range.max())
}

/// An error inside a run, told with its index in the whole tensor.
fn offset(error: Error, start: usize) -> Error {
    match error {
        Error::NotANumber { index } => Error::NotANumber {
            index: start + index,
        },
        Error::NotFinite { index, value } => Error::NotFinite {
            index: start + index,
            value,
        },
        other => other,
    }
}

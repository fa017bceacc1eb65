//! Who shares a scale and a zero point.
//!
//! A scheme says which codes are used, whether 0 sits in their middle, and which elements of a
//! tensor share one [`QParams`]. Chapter 2 maps the choices, chapter 12 measures them.

use crate::error::{Error, Result};
use crate::qparams::{QParams, QRange};

/// Where real 0 lies among the codes.
// ANCHOR: symmetry
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Symmetry {
    /// 0 is the middle code and both signs reach equally far: [`QParams::symmetric`].
    Symmetric,
    /// 0 is wherever the data put it: [`QParams::affine`].
    Asymmetric,
}
// ANCHOR_END: symmetry

/// Which elements of a tensor share a scale and a zero point.
///
/// For a weight matrix of shape \[out, in\] = \[64, 256\]: `PerTensor` has 1 pair,
/// `PerChannel { axis: 0 }` has 64, `PerGroup { axis: 1, size: 32 }` has 64 × 8.
// ANCHOR: granularity
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// One pair for all.
    PerTensor,
    /// One pair for each index along `axis` (ONNX: per-axis).
    PerChannel {
        /// The axis whose indices have a pair each.
        axis: usize,
    },
    /// One pair for each run of `size` elements along `axis` (ONNX: blocked). The last
    /// group of a row is shorter where `size` does not divide the axis.
    PerGroup {
        /// The axis that is cut into groups.
        axis: usize,
        /// Elements in a group, at least 1.
        size: usize,
    },
}
// ANCHOR_END: granularity

impl Granularity {
    /// The shape of the array of pairs that a tensor of `shape` needs, in row-major order; the
    /// product of its lengths is the number of pairs.
    ///
    /// ```
    /// use fewer_bits::Granularity;
    /// let weights = [64, 250];
    /// let pairs = |granularity: Granularity| granularity.params_shape(&weights);
    /// assert!(pairs(Granularity::PerTensor)?.is_empty()); // a single pair
    /// assert_eq!(pairs(Granularity::PerChannel { axis: 0 })?, [64]);
    /// assert_eq!(pairs(Granularity::PerGroup { axis: 1, size: 32 })?, [64, 8]);
    /// # Ok::<(), fewer_bits::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`] if `shape` has no such axis; [`Error::InvalidGroupSize`] if the
    /// size of the groups is 0.
    // ANCHOR: params_shape
    pub fn params_shape(self, shape: &[usize]) -> Result<Vec<usize>> {
        let on_axis = |axis: usize| match shape.get(axis) {
            Some(&len) => Ok(len),
            None => Err(Error::AxisOutOfRange {
                axis,
                shape: shape.to_vec(),
            }),
        };
        match self {
            Self::PerTensor => Ok(vec![]),
            Self::PerChannel { axis } => Ok(vec![on_axis(axis)?]),
            Self::PerGroup { size: 0, .. } => Err(Error::InvalidGroupSize { size: 0 }),
            Self::PerGroup { axis, size } => {
                let groups = on_axis(axis)?.div_ceil(size);
                let mut pairs = shape.to_vec();
                pairs[axis] = groups;
                Ok(pairs)
            }
        }
    }
    // ANCHOR_END: params_shape

    /// Cuts a tensor of `shape`, in row-major order, into runs of consecutive elements, each with
    /// the pairs of its elements.
    ///
    /// `shape` must have passed [`params_shape`](Self::params_shape).
    pub(crate) fn runs(self, shape: &[usize]) -> impl Iterator<Item = Run> + use<> {
        let count: usize = shape.iter().product();
        // One step along the axis passes `inner` elements.
        let (along, inner) = match self {
            Self::PerTensor => (1, count),
            Self::PerChannel { axis } | Self::PerGroup { axis, .. } => {
                (shape[axis], shape[axis + 1..].iter().product())
            }
        };
        let groups = match self {
            Self::PerGroup { size, .. } => along.div_ceil(size),
            _ => along,
        };
        let run = move |number: usize| match self {
            Self::PerTensor => Run::shared(count, 0),
            Self::PerChannel { .. } if inner == 1 => Run::each(along, 0),
            Self::PerChannel { .. } => Run::shared(inner, number % along),
            Self::PerGroup { size, .. } if inner == 1 => {
                let group = number % groups;
                Run::shared(size.min(along - group * size), number)
            }
            Self::PerGroup { size, .. } => {
                let (block, index) = (number / along, number % along);
                Run::each(inner, (block * groups + index / size) * inner)
            }
        };
        let number = match self {
            _ if count == 0 => 0,
            Self::PerChannel { .. } if inner == 1 => count / along,
            Self::PerGroup { .. } if inner == 1 => count / along * groups,
            _ => count / inner,
        };
        (0..number).map(run)
    }
}

/// Consecutive elements of a tensor, and the numbers of their pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) len: usize,
    /// The pair of the first element.
    pub(crate) pair: usize,
    /// Whether all elements share that pair; else each next element has the next pair.
    pub(crate) shared: bool,
}

impl Run {
    fn shared(len: usize, pair: usize) -> Self {
        Self {
            len,
            pair,
            shared: true,
        }
    }

    fn each(len: usize, first_pair: usize) -> Self {
        Self {
            len,
            pair: first_pair,
            shared: false,
        }
    }
}

/// Codes, symmetry and granularity: all that is decided before the data is seen.
///
/// ```
/// use fewer_bits::{Granularity, QRange, Scheme, Symmetry};
/// // Weights as every INT8 runtime wants them.
/// assert_eq!(
///     Scheme::weights(0),
///     Scheme {
///         range: QRange::I8_NARROW,
///         symmetry: Symmetry::Symmetric,
///         granularity: Granularity::PerChannel { axis: 0 },
///     }
/// );
/// ```
// ANCHOR: scheme
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scheme {
    /// The codes.
    pub range: QRange,
    /// Where 0 lies among them.
    pub symmetry: Symmetry,
    /// Which elements share a pair.
    pub granularity: Granularity,
}
// ANCHOR_END: scheme

impl Scheme {
    /// INT8 weights: −127..=127, symmetric, one scale for each index along `axis`.
    pub const fn weights(axis: usize) -> Self {
        Self {
            range: QRange::I8_NARROW,
            symmetry: Symmetry::Symmetric,
            granularity: Granularity::PerChannel { axis },
        }
    }

    /// INT8 activations: 0..=255, asymmetric, one pair for the tensor.
    pub const fn activations() -> Self {
        Self {
            range: QRange::U8,
            symmetry: Symmetry::Asymmetric,
            granularity: Granularity::PerTensor,
        }
    }

    /// The pair for values that lie in \[`lo`, `hi`\].
    ///
    /// # Errors
    /// As [`QParams::affine`], for either symmetry.
    // ANCHOR: params
    pub fn params(self, lo: f32, hi: f32) -> Result<QParams> {
        match self.symmetry {
            Symmetry::Asymmetric => QParams::affine(lo, hi, self.range),
            Symmetry::Symmetric if lo.is_finite() && hi.is_finite() && lo <= hi => {
                QParams::symmetric(lo.abs().max(hi.abs()), self.range)
            }
            Symmetry::Symmetric => Err(Error::InvalidRange { lo, hi }),
        }
    }
    // ANCHOR_END: params
}

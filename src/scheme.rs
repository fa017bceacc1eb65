//! Who shares a scale and a zero point.
//!
//! A scheme says which codes are used, whether 0 sits in their middle, and which elements of a
//! tensor share one [`QParams`]. Chapter 2 maps the choices, chapter 12 measures them.

use crate::error::{Error, Result};
use crate::qparams::{QParams, QRange};

/// Where real 0 lies among the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Symmetry {
    /// 0 is the middle code and both signs reach equally far: [`QParams::symmetric`].
    Symmetric,
    /// 0 is wherever the data put it: [`QParams::affine`].
    Asymmetric,
}

/// Which elements of a tensor share a scale and a zero point.
///
/// For a weight matrix of shape \[out, in\] = \[64, 256\]: `PerTensor` has 1 pair,
/// `PerChannel { axis: 0 }` has 64, `PerGroup { axis: 1, size: 32 }` has 64 × 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// One pair for all.
    PerTensor,
    /// One pair for each index along `axis` (ONNX: per-axis).
    PerChannel {
        /// The axis whose indices have a pair each.
        axis: usize,
    },
    /// One pair for each run of `size` elements along `axis` (ONNX: blocked). The last group of a
    /// row is shorter where `size` does not divide the axis.
    PerGroup {
        /// The axis that is cut into groups.
        axis: usize,
        /// Elements in a group, at least 1.
        size: usize,
    },
}

impl Granularity {
    /// The shape of the array of pairs that a tensor of `shape` needs; its product is their number.
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`], [`Error::InvalidGroupSize`].
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
                let mut groups = shape.to_vec();
                groups[axis] = on_axis(axis)?.div_ceil(size);
                Ok(groups)
            }
        }
    }

    /// The lengths of the runs that share a pair, in row-major order of a tensor of `shape`, each
    /// with the index of its pair.
    ///
    /// `shape` must have passed [`params_shape`](Self::params_shape).
    pub(crate) fn runs(self, shape: &[usize]) -> Vec<Run> {
        let count: usize = shape.iter().product();
        if count == 0 {
            return Vec::new();
        }
        let inner = |axis: usize| shape[axis + 1..].iter().product::<usize>();
        match self {
            Self::PerTensor => vec![Run {
                len: count,
                pair: 0,
            }],
            Self::PerChannel { axis } => (0..count / inner(axis))
                .map(|row| Run {
                    len: inner(axis),
                    pair: row % shape[axis],
                })
                .collect(),
            Self::PerGroup { axis, size } => grouped_runs(shape[axis], inner(axis), size, count),
        }
    }
}

/// Consecutive elements that share the pair number `pair`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) len: usize,
    pub(crate) pair: usize,
}

/// Runs of a tensor whose axis of length `along` is cut into groups of `size`, where one step along
/// that axis passes `inner` elements. With the axis last (`inner` = 1) a run is a whole group.
fn grouped_runs(along: usize, inner: usize, size: usize, count: usize) -> Vec<Run> {
    let groups = along.div_ceil(size);
    let outer = count / (along * inner);
    let mut runs = Vec::new();
    for block in 0..outer {
        if inner == 1 {
            for group in 0..groups {
                runs.push(Run {
                    len: size.min(along - group * size),
                    pair: block * groups + group,
                });
            }
        } else {
            for index in 0..along {
                let first = (block * groups + index / size) * inner;
                runs.extend((0..inner).map(|i| Run {
                    len: 1,
                    pair: first + i,
                }));
            }
        }
    }
    runs
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scheme {
    /// The codes.
    pub range: QRange,
    /// Where 0 lies among them.
    pub symmetry: Symmetry,
    /// Which elements share a pair.
    pub granularity: Granularity,
}

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
    /// As [`QParams::affine`] and [`QParams::symmetric`].
    pub fn params(self, lo: f32, hi: f32) -> Result<QParams> {
        match self.symmetry {
            Symmetry::Asymmetric => QParams::affine(lo, hi, self.range),
            Symmetry::Symmetric if lo <= hi => {
                QParams::symmetric(lo.abs().max(hi.abs()), self.range)
            }
            Symmetry::Symmetric => Err(Error::InvalidRange { lo, hi }),
        }
    }
}

//! The left operand: rows of 8-bit activations, wherever they come from.
//!
//! The one idea: kernels read rows of unsigned bytes, so a source only has to write one such row. A
//! signed byte is moved up by 128, and so is its zero point, which changes no product. Real numbers
//! are quantized on the way, so that a fused layer never stores their codes.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2};

use super::conv::Patches;
use crate::elementwise;
use crate::error::{Error, Result, same_length};
use crate::qparams::{QParams, QRange};

/// Rows of 8-bit activations, and their zero points.
#[derive(Debug, Clone)]
pub struct Activations<'a> {
    source: Source<'a>,
    zero_points: ZeroPoints<'a>,
}

#[derive(Debug, Clone)]
enum Source<'a> {
    U8(ArrayView2<'a, u8>),
    I8(ArrayView2<'a, i8>),
    /// Quantized when they are read: all rows by the one pair, or each by its own.
    F32(ArrayView2<'a, f32>, &'a [QParams]),
    Patches(Patches<'a>),
}

/// Whose zero point it is.
#[derive(Debug, Clone, Copy)]
enum ZeroPoints<'a> {
    Tensor(i32),
    Rows(&'a [i32]),
    Params(&'a [QParams]),
}

impl<'a> Activations<'a> {
    /// Unsigned codes of shape \[M, K\] that share a zero point.
    pub fn u8(codes: ArrayView2<'a, u8>, zero_point: u8) -> Self {
        Self {
            source: Source::U8(codes),
            zero_points: ZeroPoints::Tensor(zero_point.into()),
        }
    }

    /// Signed codes of shape \[M, K\] that share a zero point.
    pub fn i8(codes: ArrayView2<'a, i8>, zero_point: i8) -> Self {
        Self {
            source: Source::I8(codes),
            zero_points: ZeroPoints::Tensor(zero_point.into()),
        }
    }

    /// The same codes with a zero point for each row.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`] unless there are as many as rows; [`Error::ZeroPointOutOfRange`]
    /// if one is not a value of the codes' type.
    pub fn with_row_zero_points(mut self, zero_points: &'a [i32]) -> Result<Self> {
        same_length("zero points of the rows", self.rows(), zero_points.len())?;
        let range = match self.source {
            Source::I8(_) => QRange::I8,
            _ => QRange::U8,
        };
        zero_points.iter().try_for_each(|&z| is_code(z, range))?;
        self.zero_points = ZeroPoints::Rows(zero_points);
        Ok(self)
    }

    /// Real numbers of shape \[M, K\], quantized row by row while they are packed: by the one pair
    /// of `params`, or row i by pair i.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`] unless there is one pair, or one a row;
    /// [`Error::RangeDoesNotFit`] if a pair's codes fit neither u8 nor i8.
    pub fn quantizing(x: ArrayView2<'a, f32>, params: &'a [QParams]) -> Result<Self> {
        if params.len() != 1 {
            same_length("pairs of the rows", x.nrows(), params.len())?;
        }
        params.iter().try_for_each(|p| unsigned(*p).map(drop))?;
        Ok(Self {
            source: Source::F32(x, params),
            zero_points: ZeroPoints::Params(params),
        })
    }

    /// The patches under a window that slides over images.
    pub(super) fn patches(patches: Patches<'a>) -> Self {
        Self {
            zero_points: ZeroPoints::Tensor(patches.zero_point().into()),
            source: Source::Patches(patches),
        }
    }

    /// The number of rows M.
    pub fn rows(&self) -> usize {
        match &self.source {
            Source::U8(a) => a.nrows(),
            Source::I8(a) => a.nrows(),
            Source::F32(a, _) => a.nrows(),
            Source::Patches(patches) => patches.rows(),
        }
    }

    /// The depth K.
    pub fn depth(&self) -> usize {
        match &self.source {
            Source::U8(a) => a.ncols(),
            Source::I8(a) => a.ncols(),
            Source::F32(a, _) => a.ncols(),
            Source::Patches(patches) => patches.depth(),
        }
    }

    /// The zero point of row `row`, in unsigned codes.
    pub(super) fn zero_point(&self, row: usize) -> i32 {
        let zero_point = match self.zero_points {
            ZeroPoints::Tensor(zero_point) => zero_point,
            ZeroPoints::Rows(zero_points) => zero_points[row],
            ZeroPoints::Params(params) => {
                let params = of_row(params, row);
                return params.zero_point() + offset(params);
            }
        };
        match self.source {
            Source::I8(_) => zero_point + 128,
            _ => zero_point,
        }
    }

    /// Writes the codes of `rows`, as unsigned bytes. Rows of `out` begin `stride` bytes apart, at least
    /// 15 more than the depth; what is behind a row is not written, or zero.
    ///
    /// # Errors
    /// [`Error::NotANumber`] with the index of the first NaN of a row.
    pub(super) fn write_rows(
        &self,
        rows: Range<usize>,
        stride: usize,
        kernel: elementwise::Kernel,
        out: &mut [u8],
    ) -> Result<()> {
        if stride == 0 {
            return Ok(()); // no depth
        }
        if let Source::Patches(patches) = &self.source {
            patches.write_rows(rows, stride, out);
            return Ok(());
        }
        let depth = self.depth();
        let mut each = rows.zip(out.chunks_exact_mut(stride));
        each.try_for_each(|(row, out)| self.write_row(row, kernel, &mut out[..depth]))
    }

    fn write_row(&self, row: usize, kernel: elementwise::Kernel, out: &mut [u8]) -> Result<()> {
        match &self.source {
            Source::U8(a) => copy(a.row(row), out, |v| v),
            Source::I8(a) => copy(a.row(row), out, |v| (v as u8) ^ 0x80),
            Source::Patches(_) => {} // written before
            Source::F32(x, params) => {
                let params = unsigned(of_row(params, row))?;
                let quantized = match x.row(row).as_slice() {
                    Some(x) => kernel.quantize(params, x, out),
                    None => kernel.quantize(params, &x.row(row).to_vec(), out),
                };
                return quantized.map_err(|error| match error {
                    Error::NotANumber { index } => Error::NotANumber {
                        index: row * x.ncols() + index,
                    },
                    error => error,
                });
            }
        }
        Ok(())
    }
}

fn copy<T: Copy>(row: ArrayView1<'_, T>, out: &mut [u8], to_unsigned: impl Fn(T) -> u8) {
    match row.as_slice() {
        Some(row) => {
            for (out, value) in out.iter_mut().zip(row) {
                *out = to_unsigned(*value);
            }
        }
        None => {
            for (out, value) in out.iter_mut().zip(row) {
                *out = to_unsigned(*value);
            }
        }
    }
}

fn of_row(params: &[QParams], row: usize) -> QParams {
    match params {
        [one] => *one,
        each => each[row],
    }
}

/// The same pair for unsigned codes.
fn unsigned(params: QParams) -> Result<QParams> {
    params.shifted_to_u8(offset(params))
}

fn offset(params: QParams) -> i32 {
    if params.range().fits::<u8>() { 0 } else { 128 }
}

/// # Errors
/// [`Error::ZeroPointOutOfRange`] unless `zero_point` is a code of `range`.
pub(super) fn is_code(zero_point: i32, range: QRange) -> Result<()> {
    match range.contains(zero_point) {
        true => Ok(()),
        false => Err(Error::ZeroPointOutOfRange {
            zero_point: zero_point.into(),
            min: range.min(),
            max: range.max(),
        }),
    }
}

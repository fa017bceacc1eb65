//! Convolutions in 8 bits, exact: a product whose rows are the patches under a window.
//!
//! The one idea: the patch under a window is a row of activations, written when a block of rows is
//! packed, so the matrix of all patches never lies in memory. What a window sees outside the image
//! is the zero point, the code of the real number 0. A depthwise convolution, one filter a channel,
//! has no matrix product in it; it runs over channels instead, eight or more at a time.
//!
//! Images are `[batch, height, width, channels]`, filters `[outputs, kernel height, kernel width,
//! channels of a group]`, as in [`nn`](crate::nn). [`onnx`](crate::onnx) takes channels first.

mod direct;
mod padded;
mod patches;
mod sliding;

use ndarray::{Array2, Array4, ArrayView4, ArrayViewMut2, ArrayViewMut4, s};

use super::activations::Activations;
use super::epilogue::{Epilogue, Sums};
use super::{Kernel, PackedWeights};
use crate::error::{Error, Result, addressable, same_length};
use direct::Direct;
pub(super) use patches::Patches;
use patches::Pixels;
pub use sliding::Sliding;

/// A batch of images in 8 bits, with their zero point.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a>(Bytes<'a>);

#[derive(Debug, Clone, Copy)]
enum Bytes<'a> {
    U8(ArrayView4<'a, u8>, u8),
    I8(ArrayView4<'a, i8>, i8),
}

impl<'a> Images<'a> {
    /// Unsigned codes of shape \[batch, height, width, channels\].
    pub fn u8(codes: ArrayView4<'a, u8>, zero_point: u8) -> Self {
        Self(Bytes::U8(codes, zero_point))
    }

    /// Signed codes of shape \[batch, height, width, channels\].
    pub fn i8(codes: ArrayView4<'a, i8>, zero_point: i8) -> Self {
        Self(Bytes::I8(codes, zero_point))
    }

    /// \[batch, height, width, channels\].
    pub fn shape(&self) -> [usize; 4] {
        match self.0 {
            Bytes::U8(codes, _) => codes.dim().into(),
            Bytes::I8(codes, _) => codes.dim().into(),
        }
    }
}

/// The filters of a convolution in the order that a kernel reads.
#[derive(Debug, Clone)]
pub struct PackedFilters {
    kernel_size: [usize; 2],
    sliding: Sliding,
    groups: usize,
    outputs: usize,
    group_channels: usize,
    packed: Packed,
}

/// Windows of so many codes or fewer are not written down as rows of a product.
const SHALLOW: usize = 16;

#[derive(Debug, Clone)]
enum Packed {
    Groups(Vec<PackedWeights>),
    Direct(Direct),
}

impl PackedFilters {
    /// Packs `filters` of shape \[outputs, kernel height, kernel width, channels / groups\].
    ///
    /// Output channels are divided evenly among the groups, and the first group sees the first
    /// channels. With as many groups as channels and outputs the convolution is depthwise.
    ///
    /// ```
    /// use fewer_bits::gemm::{Kernel, conv::{Images, PackedFilters, Sliding}};
    /// use ndarray::{Array4, array};
    /// let image = array![[[[1u8], [2]], [[3], [4]]]];
    /// let filters = Array4::from_elem((1, 2, 2, 1), 1i8);
    /// let sliding = Sliding { padding: [[0, 0], [1, 0]], ..Sliding::default() };
    /// let packed = PackedFilters::new(Kernel::best(), filters.view(), &[], sliding, 1)?;
    /// // On the left, the window sees the zero point 1 twice: nothing.
    /// let sums = packed.sums(&Images::u8(image.view(), 1))?;
    /// assert_eq!(sums, array![[[[2], [6]]]]); // (1 − 1) + (3 − 1), (1 + 2 + 3 + 4) − 4·1
    /// # Ok::<(), fewer_bits::Error>(())
    /// ```
    ///
    /// `zero_points` is empty, or has the zero point of each output's filter.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] for settings that [`Sliding::output_size`] refuses, or if the
    /// outputs cannot be divided among the groups; as [`PackedWeights::with_zero_points`].
    pub fn new(
        kernel: Kernel,
        filters: ArrayView4<'_, i8>,
        zero_points: &[i32],
        sliding: Sliding,
        groups: usize,
    ) -> Result<Self> {
        sliding.check()?;
        let (outputs, height, width, group_channels) = filters.dim();
        // Every number divides 0 outputs: there is at most one group of none.
        if groups == 0 || groups > outputs.max(1) || outputs % groups != 0 {
            return Err(Error::InvalidSetting {
                what: "the number of groups",
                value: groups.to_string(),
                allowed: "it must be at least 1 and divide the outputs",
            });
        }
        if !zero_points.is_empty() {
            same_length("zero points of the filters", outputs, zero_points.len())?;
        }
        let depthwise = groups > 1 && groups == outputs && group_channels == 1;
        let codes = height.saturating_mul(width).saturating_mul(group_channels);
        let shallow = groups == 1 && (1..=SHALLOW).contains(&codes);
        let packed = if depthwise || shallow {
            Packed::Direct(Direct::new(kernel, filters, zero_points, depthwise)?)
        } else {
            let count = outputs / groups;
            let depth = height * width * group_channels;
            let pack = |group| {
                let range = group * count..(group + 1) * count;
                let filters = filters.slice(s![range.clone(), .., .., ..]);
                let filters = filters.to_shape((count, depth));
                let filters = filters.expect("as many elements");
                match zero_points.get(range) {
                    Some(z) if !z.is_empty() => {
                        PackedWeights::with_zero_points(kernel, filters.t(), z)
                    }
                    _ => PackedWeights::new(kernel, filters.t()),
                }
            };
            Packed::Groups((0..groups).map(pack).collect::<Result<_>>()?)
        };
        Ok(Self {
            kernel_size: [height, width],
            sliding,
            groups,
            outputs,
            group_channels,
            packed,
        })
    }

    /// The shape of the result for images of `shape`: \[batch, height, width, outputs\].
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] if `shape` does not have the filters' channels;
    /// [`Error::TooManyElements`]; and as [`Sliding::output_size`].
    pub fn output_shape(&self, shape: [usize; 4]) -> Result<[usize; 4]> {
        let [batch, height, width, _] = shape;
        let channels = self.groups * self.group_channels;
        same_shape("images", [batch, height, width, channels], shape)?;
        let [height, width] = self
            .sliding
            .output_size(self.kernel_size, [height, width])?;
        let shape = [batch, height, width, self.outputs];
        addressable("the convolution", &shape)?;
        Ok(shape)
    }

    /// The sums Σ (x − z_x)·(w − z_w) of each window, `[batch, height, width, outputs]`.
    ///
    /// # Errors
    /// As [`output_shape`](Self::output_shape).
    pub fn sums(&self, images: &Images<'_>) -> Result<Array4<i32>> {
        let mut sums = Array4::zeros(self.output_shape(images.shape())?);
        self.convolve(images, &Sums, sums.view_mut())?;
        Ok(sums)
    }

    /// Convolves, hands the sums to `epilogue`, for which a pixel of the output is a row and an
    /// output channel a column, and has it write `out`, `[batch, height, width, outputs]`.
    ///
    /// # Errors
    /// As [`output_shape`](Self::output_shape); [`Error::ShapeMismatch`] if that is not the shape of
    /// `out`; what [`Epilogue::check`] says.
    pub fn convolve<E: Epilogue>(
        &self,
        images: &Images<'_>,
        epilogue: &E,
        mut out: ArrayViewMut4<'_, E::Out>,
    ) -> Result<()> {
        let shape = self.output_shape(images.shape())?;
        same_shape("the convolution", shape, out.dim().into())?;
        let [batch, height, width, outputs] = shape;
        let rows = batch * height * width;
        epilogue.check(rows, outputs)?;
        if rows == 0 || outputs == 0 {
            return Ok(());
        }
        let out_size = [height, width];
        images.in_order(|pixels| {
            if let Ok(out) = out.view_mut().into_shape_with_order((rows, outputs)) {
                return self.convolve_rows(&pixels, out_size, epilogue, out);
            }
            let mut results = Array2::default((rows, outputs));
            self.convolve_rows(&pixels, out_size, epilogue, results.view_mut())?;
            for (out, result) in out.iter_mut().zip(results) {
                *out = result;
            }
            Ok(())
        })
    }

    /// `out` has a row for each pixel.
    fn convolve_rows<E: Epilogue>(
        &self,
        pixels: &Pixels<'_>,
        out_size: [usize; 2],
        epilogue: &E,
        mut out: ArrayViewMut2<'_, E::Out>,
    ) -> Result<()> {
        let patches = |channels| {
            let pixels = Pixels {
                channels,
                ..pixels.clone()
            };
            Patches::new(pixels, self.kernel_size, self.sliding, out_size)
        };
        let groups = match &self.packed {
            Packed::Direct(filters) => {
                let channels = 0..self.groups * self.group_channels;
                filters.convolve(&patches(channels), epilogue, out);
                return Ok(());
            }
            Packed::Groups(groups) => groups,
        };
        let count = self.outputs / self.groups;
        for (group, weights) in groups.iter().enumerate() {
            let channels = group * self.group_channels..(group + 1) * self.group_channels;
            let patches = Activations::patches(patches(channels));
            let first = group * count;
            let out = out.slice_mut(s![.., first..first + count]);
            let epilogue = FromColumn { epilogue, first };
            weights.multiply(&patches, &epilogue, out)?;
        }
        Ok(())
    }
}

/// An epilogue for the columns from `first` on, which has been checked for all of them.
struct FromColumn<'a, E> {
    epilogue: &'a E,
    first: usize,
}

impl<E: Epilogue> Epilogue for FromColumn<'_, E> {
    type Out = E::Out;

    fn check(&self, _rows: usize, _columns: usize) -> Result<()> {
        Ok(())
    }

    #[inline(always)]
    fn finish(&self, row: usize, column: usize, sums: &[i32], out: &mut [E::Out]) {
        self.epilogue.finish(row, self.first + column, sums, out);
    }
}

fn same_shape(what: &'static str, expected: [usize; 4], actual: [usize; 4]) -> Result<()> {
    match expected == actual {
        true => Ok(()),
        false => Err(Error::ShapeMismatch {
            what,
            expected: expected.to_vec(),
            actual: actual.to_vec(),
        }),
    }
}

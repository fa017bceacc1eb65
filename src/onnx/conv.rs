//! ONNX's `ConvInteger` and `QLinearConv`, in one and two dimensions.

use ndarray::{Array4, ArrayD, ArrayView4, ArrayViewD, Axis, Ix4};

use super::integer::{Byte, Quantized};
use super::same_shape;
use crate::error::{Error, Result};
use crate::gemm::Kernel;
use crate::gemm::conv::{PackedFilters, Sliding};
use crate::gemm::epilogue::Requantize;
use crate::qparams::QParams;

/// The attributes of a convolution; an empty list stands for ONNX's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// How far the window moves along each axis; 1 by default.
    pub strides: Vec<usize>,
    /// What is added before the image along each axis, then what is added after it; 0 by default.
    pub pads: Vec<usize>,
    /// Whether the padding follows from the sizes instead.
    pub auto_pad: AutoPad,
    /// The distance of the pixels that a window sees, for each axis; 1 by default.
    pub dilations: Vec<usize>,
    /// The number of groups.
    pub group: usize,
}

/// ONNX's `auto_pad`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AutoPad {
    /// The padding is [`Attributes::pads`].
    #[default]
    NotSet,
    /// So much padding that the output has ⌈size / stride⌉ pixels along each axis, half of it on
    /// either side; an odd one goes to the end.
    SameUpper,
    /// The same, but an odd one goes to the beginning.
    SameLower,
    /// No padding.
    Valid,
}

impl AutoPad {
    /// The padding along one axis, for a window that covers `window` pixels; none if it is not set.
    fn padding(self, size: usize, window: usize, stride: usize) -> Option<[usize; 2]> {
        let stride = stride.max(1); // 0 is refused later
        let steps = size.div_ceil(stride).saturating_sub(1);
        let total = match size {
            0 => 0, // no padding makes an output of no pixels
            size => (steps * stride).saturating_add(window).saturating_sub(size),
        };
        match self {
            Self::NotSet => None,
            Self::Valid => Some([0, 0]),
            Self::SameUpper => Some([total / 2, total.div_ceil(2)]),
            Self::SameLower => Some([total.div_ceil(2), total / 2]),
        }
    }
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            strides: Vec::new(),
            pads: Vec::new(),
            auto_pad: AutoPad::NotSet,
            dilations: Vec::new(),
            group: 1,
        }
    }
}

impl Attributes {
    /// The same for images of `axes` = 1 or 2 axes. A missing height is 1.
    fn sliding(&self, axes: usize, size: [usize; 2], kernel: [usize; 2]) -> Result<Sliding> {
        let both = |what, values: &[usize]| {
            if !values.is_empty() {
                same_shape(what, &[axes], &[values.len()])?;
            }
            Ok(match values {
                [height, width] => [*height, *width],
                [width] => [1, *width],
                _ => [1, 1],
            })
        };
        let mut padding = match self.pads.as_slice() {
            [] => [[0, 0], [0, 0]],
            [left, right] if axes == 1 => [[0, 0], [*left, *right]],
            [top, left, bottom, right] if axes == 2 => [[*top, *bottom], [*left, *right]],
            pads => {
                return same_shape("pads", &[2 * axes], &[pads.len()]).map(|()| Sliding::default());
            }
        };
        if self.auto_pad != AutoPad::NotSet && padding != [[0, 0], [0, 0]] {
            return Err(Error::InvalidSetting {
                what: "the padding",
                value: format!("{:?}", self.pads),
                allowed: "auto_pad decides it",
            });
        }
        let stride = both("strides", &self.strides)?;
        let dilation = both("dilations", &self.dilations)?;
        for axis in [0, 1] {
            let steps = kernel[axis].saturating_sub(1);
            let window = steps.saturating_mul(dilation[axis]).saturating_add(1);
            let auto = self.auto_pad.padding(size[axis], window, stride[axis]);
            padding[axis] = auto.unwrap_or(padding[axis]);
        }
        Ok(Sliding {
            stride,
            dilation,
            padding,
        })
    }
}

/// `ConvInteger`: Σ (x − x_zero)·(w − w_zero) under each window, in i32.
///
/// `x` is \[batch, channels, height, width\] or \[batch, channels, width\], `w` \[outputs, channels /
/// group, …\], the result \[batch, outputs, …\]. `w_zero_points` is empty, or has one element, or one
/// an output. The padding stands for 0: it is `x_zero_point`.
///
/// ```
/// use fewer_bits::onnx::{Attributes, conv_integer};
/// use ndarray::array;
/// let x = array![[[[2u8, 3, 4], [5, 6, 7], [8, 9, 10]]]].into_dyn();
/// let w = array![[[[1u8, 1], [1, 1]]]].into_dyn();
/// let y = conv_integer(x.view(), w.view(), 1, &[], &Attributes::default())?;
/// assert_eq!(y, array![[[[12, 16], [24, 28]]]].into_dyn());
/// # Ok::<(), fewer_bits::Error>(())
/// ```
///
/// # Errors
/// [`Error::ShapeMismatch`] if shapes or attributes do not go together, and as
/// [`PackedFilters::new`] and [`PackedFilters::output_shape`].
pub fn conv_integer<X: Byte, W: Byte>(
    x: ArrayViewD<'_, X>,
    w: ArrayViewD<'_, W>,
    x_zero_point: X,
    w_zero_points: &[W],
    attributes: &Attributes,
) -> Result<ArrayD<i32>> {
    let filters = pack(x.shape(), w, w_zero_points, attributes)?;
    let axes = x.ndim();
    let images = channels_last(x)?;
    let sums = filters.sums(&X::images(images.view(), x_zero_point))?;
    Ok(channels_first(sums, axes))
}

/// `QLinearConv`: the convolution of the real numbers, as codes of `y`: saturate(round((sum + bias) ·
/// (x_scale·w_scale / y_scale)) + y_zero_point), rounding half to even.
///
/// Shapes are those of [`conv_integer`]. The scale of `x` is a scalar, that of `w` a scalar or one an
/// output; `bias` is empty or has one integer an output, counted in steps of x_scale·w_scale. On
/// the precision see [`qlinear_mat_mul`](super::qlinear_mat_mul).
///
/// # Errors
/// As [`conv_integer`]; [`Error::LengthMismatch`] for scales or a bias that do not fit the outputs;
/// [`Error::InvalidScale`] for a scale that is not positive and normal, and
/// [`Error::InvalidMultiplier`] if the factor overflows or vanishes.
pub fn qlinear_conv<X: Byte, W: Byte, Y: Byte>(
    x: &Quantized<'_, X>,
    w: &Quantized<'_, W>,
    y_scale: f32,
    y_zero_point: Y,
    bias: &[i32],
    attributes: &Attributes,
) -> Result<ArrayD<Y>> {
    let w_scales: Vec<f32> = w.scale.iter().copied().collect();
    let w_zero_points: Vec<W> = w.zero_point.iter().copied().collect();
    let filters = pack(x.codes.shape(), w.codes.view(), &w_zero_points, attributes)?;
    let y = QParams::new(y_scale, y_zero_point.code(), Y::STORAGE)?;
    let epilogue = Requantize::<Y>::new(scalar("scale of x", &x.scale)?, &w_scales, y, bias)?;
    let axes = x.codes.ndim();
    let images = channels_last(x.codes.view())?;
    let images = X::images(images.view(), scalar("zero point of x", &x.zero_point)?);
    let mut codes = Array4::default(filters.output_shape(images.shape())?);
    filters.convolve(&images, &epilogue, codes.view_mut())?;
    Ok(channels_first(codes, axes))
}

fn scalar<T: Copy>(what: &'static str, value: &ArrayViewD<'_, T>) -> Result<T> {
    match value.first() {
        Some(first) if value.len() == 1 => Ok(*first),
        _ => Err(Error::LengthMismatch {
            what,
            expected: 1,
            actual: value.len(),
        }),
    }
}

fn pack<W: Byte>(
    x: &[usize],
    w: ArrayViewD<'_, W>,
    zero_points: &[W],
    attributes: &Attributes,
) -> Result<PackedFilters> {
    let axes = w.ndim().saturating_sub(2);
    let w = channels_last(w)?;
    same_shape("axes of the images", &[axes + 2], &[x.len()])?;
    let outputs = w.shape()[0];
    let mut zeros: Vec<i32> = zero_points.iter().map(|z| z.code() - W::OFFSET).collect();
    match zeros.as_slice() {
        [] => zeros.resize(outputs, -W::OFFSET),
        [one] => zeros = vec![*one; outputs],
        _ => (),
    }
    let size = match x {
        [_, _, height, width] => [*height, *width],
        [.., width] => [1, *width],
        [] => [1, 1], // cannot be: `w` has three axes or four, and `x` as many
    };
    let kernel = [w.shape()[1], w.shape()[2]];
    let sliding = attributes.sliding(axes, size, kernel)?;
    let w = w.mapv(Byte::to_i8);
    PackedFilters::new(Kernel::best(), w.view(), &zeros, sliding, attributes.group)
}

/// \[n, c, h, w\] or \[n, c, w\] as \[n, h, w, c\], in row-major order.
fn channels_last<T: Byte>(mut x: ArrayViewD<'_, T>) -> Result<Array4<T>> {
    if x.ndim() == 3 {
        x.insert_axis_inplace(Axis(2));
    }
    let shape = x.shape().to_vec();
    let x: ArrayView4<'_, T> =
        x.into_dimensionality::<Ix4>()
            .map_err(|_| Error::ShapeMismatch {
                what: "axes",
                expected: vec![4],
                actual: vec![shape.len()],
            })?;
    let (n, c, height, width) = x.dim();
    let mut last = Array4::default((n, height, width, c));
    last.assign(&x.permuted_axes([0, 2, 3, 1]));
    Ok(last)
}

/// The way back, to as many axes as there were.
fn channels_first<T: Copy + Default>(y: Array4<T>, axes: usize) -> ArrayD<T> {
    let y = y.permuted_axes([0, 3, 1, 2]);
    let y = y.as_standard_layout().into_owned().into_dyn();
    match axes {
        3 => y.remove_axis(Axis(2)),
        _ => y,
    }
}

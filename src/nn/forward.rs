//! The forward pass of each layer, in f32.
//!
//! Convolutions work through a batch in chunks of a fixed number of images, on as many threads as
//! rayon has; each output is computed by one thread in one order, so the result does not depend on
//! their number.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayD, ArrayView2, ArrayViewMut2, CowArray, Ix2, IxDyn};
use rayon::prelude::*;

use super::executor::{Executor, Shapes, into_row_major, into_shape};
use super::image::{Window, im2col};
use super::layers::*;
use super::runs;
use crate::error::Result;

/// How many images one thread takes at a time: their unrolled windows stay in the cache.
pub(super) const IMAGES: usize = 8;

impl Activation {
    /// The function of each element.
    pub(super) fn apply_all(self, x: ArrayD<f32>) -> ArrayD<f32> {
        let shape = x.shape().to_vec();
        let mut y = into_row_major(x);
        runs::each(&mut y, 1, |run| match self {
            Self::Relu => run.iter_mut().for_each(|x| *x = Self::Relu.apply(*x)),
            Self::Relu6 => run.iter_mut().for_each(|x| *x = Self::Relu6.apply(*x)),
            other => run.iter_mut().for_each(|x| *x = other.apply(*x)),
        });
        from_values(&shape, y)
    }

    /// The function at one point.
    #[inline]
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::Relu if x < 0.0 => 0.0,
            Self::Relu => x, // NaN stays NaN, which max(x, 0) would hide
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::Gelu => x * normal_distribution(x),
        }
    }
}

/// Φ(x) = (1 + erf(x/√2))/2.
pub(super) fn normal_distribution(x: f32) -> f32 {
    0.5 * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))
}

pub(super) fn linear(layer: &Linear, x: &ArrayD<f32>) -> Result<ArrayD<f32>> {
    let shape = Shapes.linear("", layer, x.shape().to_vec())?;
    let rows = x.len() / layer.weight.ncols();
    let x = x.as_standard_layout();
    let values = x.as_slice().unwrap_or_default();
    let x = ArrayView2::from_shape((rows, layer.weight.ncols()), values).expect("whole rows");
    let mut y = Array2::zeros((rows, layer.bias.len()));
    y += &layer.bias;
    general_mat_mul(1.0, &x, &layer.weight.t(), 1.0, &mut y);
    Ok(into_shape(y.into_dyn(), &shape))
}

pub(super) fn conv2d(layer: &Conv2d, x: &ArrayD<f32>) -> Result<ArrayD<f32>> {
    let shape = Shapes.conv2d("", layer, x.shape().to_vec())?;
    let images = Images::of(x.shape());
    let x = x.as_standard_layout();
    let x = x.as_slice().unwrap_or_default();
    let (outputs, pixels) = (shape[3], shape[1] * shape[2]);
    let weight = flat_weight(layer);
    let bias = layer.bias.to_vec();
    let mut y = vec![0.0; shape.iter().product()];
    y.par_chunks_mut(IMAGES * pixels * outputs)
        .zip(images.chunks(x))
        .try_for_each_init(Vec::new, |columns, (y, x)| {
            let rows = y.len() / outputs;
            let columns = unrolled(layer.window, x, &images, columns)?;
            let columns = matrix(columns, rows);
            for y in y.chunks_exact_mut(outputs) {
                y.copy_from_slice(&bias);
            }
            general_mat_mul(1.0, &columns, &weight.t(), 1.0, &mut matrix_mut(y, rows));
            Ok(())
        })?;
    Ok(from_values(&shape, y))
}

/// The unrolled windows of one chunk of images. A 1×1 convolution needs no copy.
pub(super) fn unrolled<'a>(
    window: Window,
    x: &'a [f32],
    images: &Images,
    columns: &'a mut Vec<f32>,
) -> Result<&'a [f32]> {
    if window.is_pointwise() {
        return Ok(x);
    }
    columns.clear();
    let shape = [
        x.len() / images.len(),
        images.height,
        images.width,
        images.channels,
    ];
    im2col(x, shape, window, 0.0, columns)?;
    Ok(columns)
}

pub(super) fn depthwise_conv2d(layer: &DepthwiseConv2d, x: &ArrayD<f32>) -> Result<ArrayD<f32>> {
    let shape = Shapes.depthwise_conv2d("", layer, x.shape().to_vec())?;
    let images = Images::of(x.shape());
    let x = x.as_standard_layout();
    let x = x.as_slice().unwrap_or_default();
    let taps = channels_last(layer);
    let bias = layer.bias.as_slice().unwrap_or_default();
    let channels = images.channels;
    let mut y = vec![0.0; shape.iter().product()];
    y.par_chunks_mut(shape[1] * shape[2] * channels)
        .zip(x.par_chunks(images.len()))
        .for_each(|(y, x)| {
            for (at, y) in y.chunks_exact_mut(channels).enumerate() {
                y.copy_from_slice(bias);
                for (tap, start) in images.under(layer.window, at / shape[2], at % shape[2]) {
                    let taps = &taps[tap * channels..][..channels];
                    let x = &x[start..start + channels];
                    for ((y, w), x) in y.iter_mut().zip(taps).zip(x) {
                        *y += w * x;
                    }
                }
            }
        });
    Ok(from_values(&shape, y))
}

/// The weights as `[kernel height·kernel width, channels]`.
pub(super) fn channels_last(layer: &DepthwiseConv2d) -> Vec<f32> {
    let order = layer.weight.view().permuted_axes([1, 2, 0]);
    order.iter().copied().collect()
}

/// y = factor·x + shift, for each channel (the last axis).
pub(super) fn scale_and_shift(
    factor: &Array1<f32>,
    shift: &Array1<f32>,
    x: ArrayD<f32>,
) -> Result<ArrayD<f32>> {
    let layer = BatchNorm::identity(factor.len());
    Shapes.batch_norm("", &layer, x.shape().to_vec())?;
    let shape = x.shape().to_vec();
    let mut y = into_row_major(x);
    let (factor, shift) = (factor.to_vec(), shift.to_vec());
    runs::each(&mut y, factor.len(), |run| {
        for row in run.chunks_exact_mut(factor.len().max(1)) {
            for ((y, f), s) in row.iter_mut().zip(&factor).zip(&shift) {
                *y = *y * f + s;
            }
        }
    });
    Ok(from_values(&shape, y))
}

pub(super) fn pool(layer: Pool, x: &ArrayD<f32>) -> Result<ArrayD<f32>> {
    let shape = Shapes.pool("", layer, x.shape().to_vec())?;
    let images = Images::of(x.shape());
    let x = x.as_standard_layout();
    let x = x.as_slice().unwrap_or_default();
    let channels = images.channels;
    let (window, out) = images.pooling(layer, &shape);
    let start = if matches!(layer, Pool::Max(_)) {
        f32::NEG_INFINITY
    } else {
        0.0
    };
    let mut y = vec![start; shape.iter().product()];
    y.par_chunks_mut(out[0] * out[1] * channels)
        .zip(x.par_chunks(images.len()))
        .for_each(|(y, x)| {
            for (at, y) in y.chunks_exact_mut(channels).enumerate() {
                let mut count = 0;
                for (_, start) in images.under(window, at / out[1], at % out[1]) {
                    let x = &x[start..start + channels];
                    match layer {
                        Pool::Max(_) => y.iter_mut().zip(x).for_each(|(y, &x)| *y = larger(*y, x)),
                        _ => y.iter_mut().zip(x).for_each(|(y, x)| *y += x),
                    }
                    count += 1;
                }
                if !matches!(layer, Pool::Max(_)) {
                    y.iter_mut().for_each(|y| *y /= count as f32);
                }
            }
        });
    Ok(from_values(&shape, y))
}

/// The larger of two numbers; NaN, if there is one.
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

/// The size of each image of a batch.
pub(super) struct Images {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
}

impl Images {
    /// Of a shape `[batch, height, width, channels]`.
    pub(super) fn of(shape: &[usize]) -> Self {
        let axis = |i: usize| shape.get(i).copied().unwrap_or(1);
        Self {
            height: axis(1),
            width: axis(2),
            channels: axis(3),
        }
    }

    /// Elements of one image.
    pub(super) fn len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The window of a pool, and height and width of its output of this shape.
    pub(super) fn pooling(&self, layer: Pool, output: &[usize]) -> (Window, [usize; 2]) {
        match layer {
            Pool::Max(window) | Pool::Average(window) => (window, [output[1], output[2]]),
            Pool::GlobalAverage => {
                let whole = Window::new([self.height, self.width], [1, 1], [0, 0]);
                (whole.unwrap_or(Window::POINT), [1, 1])
            }
        }
    }

    /// The batch in chunks of [`IMAGES`] images.
    pub(super) fn chunks<'a>(&self, x: &'a [f32]) -> rayon::slice::Chunks<'a, f32> {
        x.par_chunks(IMAGES * self.len())
    }

    /// The pixels under the window at output position (oy, ox): each one's place in the window, and
    /// where its first channel stands in the image.
    pub(super) fn under(
        &self,
        window: Window,
        oy: usize,
        ox: usize,
    ) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (ys, top) = window.inside(0, oy, self.height);
        let (xs, left) = window.inside(1, ox, self.width);
        let (width, channels, kernel_width) = (self.width, self.channels, window.kernel()[1]);
        ys.flat_map(move |ky| {
            let line = (top + ky as isize) as usize * width;
            xs.clone().map(move |kx| {
                let start = (line as isize + left + kx as isize) as usize * channels;
                (ky * kernel_width + kx, start)
            })
        })
    }
}

/// Values as an array of a shape that holds as many.
pub(super) fn from_values(shape: &[usize], values: Vec<f32>) -> ArrayD<f32> {
    ArrayD::from_shape_vec(IxDyn(shape), values).expect("as many values as the shape says")
}

/// A slice as a matrix of so many rows.
pub(super) fn matrix(values: &[f32], rows: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, values.len() / rows.max(1)), values).expect("whole rows")
}

/// The same, to be written to.
pub(super) fn matrix_mut(values: &mut [f32], rows: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, values.len() / rows.max(1)), values).expect("whole rows")
}

/// The weights of a convolution as `[outputs, kernel height·kernel width·inputs]`.
pub(super) fn flat_weight(layer: &Conv2d) -> CowArray<'_, f32, Ix2> {
    let outputs = layer.weight.dim().0;
    let columns = layer.weight.len() / outputs;
    let flat = layer.weight.to_shape((outputs, columns));
    flat.expect("as many elements")
}

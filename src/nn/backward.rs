//! The way back through each layer: from the gradient with respect to its outputs to those with
//! respect to its weights, bias and inputs.
//!
//! As in the forward pass, a batch is split into chunks of a fixed size, and the chunks' sums are
//! added in order: the result does not depend on the number of threads.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayD, Axis};
use rayon::prelude::*;

use super::executor::{Executor, Shapes, into_row_major};
use super::forward::{self, IMAGES, Images, from_values, matrix, matrix_mut};
use super::image::Window;
use super::layers::*;
use super::runs::{self, channel_sums};
use super::tape::{Normalized, same_shape};
use crate::error::Result;

/// The gradients of weights, bias and inputs.
type Three = (ArrayD<f32>, Array1<f32>, ArrayD<f32>);

/// dW = dYᵀ·X, db = Σ dY over the rows, dX = dY·W.
// ANCHOR: linear
pub(super) fn linear(l: &Linear, x: &ArrayD<f32>, dy: &ArrayD<f32>) -> Result<Three> {
    let shape = Shapes.linear("", l, x.shape().to_vec())?;
    same_shape("the gradient", &shape, dy.shape())?;
    let rows = x.len() / l.weight.ncols();
    let (x_values, dy) = (x.as_standard_layout(), dy.as_standard_layout());
    let inputs = matrix(x_values.as_slice().unwrap_or_default(), rows);
    let dy = matrix(dy.as_slice().unwrap_or_default(), rows);
    let dx = dy.dot(&l.weight).into_raw_vec_and_offset().0;
    let dw = dy.t().dot(&inputs).into_dyn();
    Ok((dw, dy.sum_axis(Axis(0)), from_values(x.shape(), dx)))
}
// ANCHOR_END: linear

/// As [`linear`] for the rows of unrolled windows; `further` says whether dX is wanted.
pub(super) fn conv2d(
    layer: &Conv2d,
    x: &ArrayD<f32>,
    dy: &ArrayD<f32>,
    further: bool,
) -> Result<Three> {
    let shape = Shapes.conv2d("", layer, x.shape().to_vec())?;
    same_shape("the gradient", &shape, dy.shape())?;
    let images = Images::of(x.shape());
    let x_values = x.as_standard_layout();
    let x_values = x_values.as_slice().unwrap_or_default();
    let dy = dy.as_standard_layout();
    let dy = dy.as_slice().unwrap_or_default();
    let weight = forward::flat_weight(layer);
    let (pixels, outputs) = (shape[1] * shape[2], shape[3]);
    let mut dx = vec![0.0; if further { x.len() } else { 0 }];

    let one_chunk = |(chunk, dy): (&[f32], &[f32]), dx: &mut [f32]| {
        let rows = dy.len() / outputs;
        let dy = matrix(dy, rows);
        let mut columns = Vec::new();
        let columns = matrix(
            forward::unrolled(layer.window, chunk, &images, &mut columns)?,
            rows,
        );
        let dw = dy.t().dot(&columns);
        if further && layer.window.is_pointwise() {
            general_mat_mul(1.0, &dy, &weight, 0.0, &mut matrix_mut(dx, rows));
        } else if further {
            let columns = dy.dot(&weight);
            let columns = columns.as_slice().unwrap_or_default();
            add_columns(columns, layer.window, &images, [shape[1], shape[2]], dx);
        }
        Ok((dw, dy.sum_axis(Axis(0))))
    };
    let chunks = images
        .chunks(x_values)
        .zip(dy.par_chunks(IMAGES * pixels * outputs));
    let parts: Result<Vec<_>> = if further {
        let dx = dx.par_chunks_mut(IMAGES * images.len());
        chunks
            .zip(dx)
            .map(|(chunk, dx)| one_chunk(chunk, dx))
            .collect()
    } else {
        chunks.map(|chunk| one_chunk(chunk, &mut [])).collect()
    };

    let mut dw = Array2::zeros(weight.dim());
    let mut db = Array1::zeros(outputs);
    for (w, b) in parts? {
        dw += &w;
        db += &b;
    }
    let dw = dw.into_raw_vec_and_offset().0;
    let dx_shape = if further { x.shape() } else { &[0][..] };
    Ok((
        from_values(layer.weight.shape(), dw),
        db,
        from_values(dx_shape, dx),
    ))
}

/// The way back of [`im2col`](super::im2col): adds each row to the pixels that it came from.
fn add_columns(columns: &[f32], window: Window, images: &Images, out: [usize; 2], dx: &mut [f32]) {
    let channels = images.channels;
    let row = window.area() * channels;
    let columns = columns.chunks_exact(out[0] * out[1] * row);
    for (columns, dx) in columns.zip(dx.chunks_exact_mut(images.len())) {
        for (at, row) in columns.chunks_exact(row).enumerate() {
            for (tap, start) in images.under(window, at / out[1], at % out[1]) {
                let row = &row[tap * channels..][..channels];
                let dx = &mut dx[start..start + channels];
                dx.iter_mut().zip(row).for_each(|(dx, r)| *dx += r);
            }
        }
    }
}

pub(super) fn depthwise_conv2d(
    layer: &DepthwiseConv2d,
    x: &ArrayD<f32>,
    dy: &ArrayD<f32>,
) -> Result<Three> {
    let shape = Shapes.depthwise_conv2d("", layer, x.shape().to_vec())?;
    same_shape("the gradient", &shape, dy.shape())?;
    let images = Images::of(x.shape());
    let channels = images.channels;
    let x_values = x.as_standard_layout();
    let dy = dy.as_standard_layout();
    let dy = dy.as_slice().unwrap_or_default();
    let taps = forward::channels_last(layer);
    let mut dx = vec![0.0; x.len()];
    let one_image = |((x, dy), dx): ((&[f32], &[f32]), &mut [f32])| {
        let (mut dw, mut db) = (vec![0.0f32; taps.len()], Array1::<f32>::zeros(channels));
        for (at, dy) in dy.chunks_exact(channels).enumerate() {
            db.iter_mut().zip(dy).for_each(|(db, dy)| *db += dy);
            for (tap, start) in images.under(layer.window, at / shape[2], at % shape[2]) {
                let taps = &taps[tap * channels..][..channels];
                let dw = &mut dw[tap * channels..][..channels];
                let x = &x[start..start + channels];
                let dx = &mut dx[start..start + channels];
                for c in 0..channels {
                    dw[c] += dy[c] * x[c];
                    dx[c] += dy[c] * taps[c];
                }
            }
        }
        (Array1::from(dw), db)
    };
    let parts: Vec<_> = x_values
        .as_slice()
        .unwrap_or_default()
        .par_chunks(images.len())
        .zip(dy.par_chunks(shape[1] * shape[2] * channels))
        .zip(dx.par_chunks_mut(images.len()))
        .map(one_image)
        .collect();
    let (mut dw, mut db) = (Array1::zeros(taps.len()), Array1::zeros(channels));
    for (w, b) in &parts {
        dw += w;
        db += b;
    }
    let [kh, kw] = layer.window.kernel();
    let dw = from_values(&[kh, kw, channels], dw.into_raw_vec_and_offset().0);
    let dw = dw.permuted_axes(vec![2, 0, 1]);
    Ok((dw, db, from_values(x.shape(), dx)))
}

/// With x̂ the normalized input of n rows and d its deviation: db = Σ dy, dw = Σ dy·x̂, and
/// dx = w/(n·d)·(n·dy − db − x̂·dw). (Ioffe and Szegedy 2015, section 3, put together.)
pub(super) fn batch_norm(layer: &BatchNorm, x: &Normalized, dy: ArrayD<f32>) -> Result<Three> {
    same_shape("the gradient", x.values.shape(), dy.shape())?;
    let channels = layer.channels();
    let values = x.values.as_standard_layout();
    let values = values.as_slice().unwrap_or_default();
    let mut dy = into_row_major(dy);
    let narrow = |sums: Vec<f64>| -> Vec<f32> { sums.into_iter().map(|sum| sum as f32).collect() };
    let db = narrow(channel_sums(dy.len(), channels, |sums, row| {
        for (sum, dy) in sums.iter_mut().zip(&dy[row]) {
            *sum += f64::from(*dy);
        }
    }));
    let dw = narrow(channel_sums(dy.len(), channels, |sums, row| {
        for ((sum, x), dy) in sums.iter_mut().zip(&values[row.clone()]).zip(&dy[row]) {
            *sum += f64::from(*x) * f64::from(*dy);
        }
    }));
    let rows = (values.len() / channels) as f32;
    let factor: Vec<f32> = (&layer.weight / &x.deviation).to_vec();
    let [mean_dw, mean_db] = [&dw, &db].map(|d| d.iter().map(|d| d / rows).collect::<Vec<f32>>());
    runs::each_with(&mut dy, values, channels, |dx, x| {
        for (dx, x) in dx.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            let means = mean_dw.iter().zip(&mean_db);
            for (((dx, x), f), (mean_dw, mean_db)) in dx.iter_mut().zip(x).zip(&factor).zip(means) {
                *dx = f * (*dx - mean_db - x * mean_dw);
            }
        }
    });
    let (dw, db) = (Array1::from(dw), Array1::from(db));
    Ok((dw.into_dyn(), db, from_values(x.values.shape(), dy)))
}

impl Activation {
    /// The function's derivative at one point. At the kinks of ReLU and ReLU6, where there is none,
    /// 0.
    #[inline]
    pub fn derivative(self, x: f32) -> f32 {
        match self {
            Self::Relu => f32::from(u8::from(x > 0.0)),
            Self::Relu6 => f32::from(u8::from(x > 0.0 && x < 6.0)),
            Self::Gelu => {
                let density = (-0.5 * x * x).exp() / (2.0 * std::f32::consts::PI).sqrt();
                forward::normal_distribution(x) + x * density
            }
        }
    }
}

pub(super) fn activation(
    layer: Activation,
    x: ArrayD<f32>,
    dy: ArrayD<f32>,
) -> Result<ArrayD<f32>> {
    same_shape("the gradient", x.shape(), dy.shape())?;
    let shape = x.shape().to_vec();
    let (mut dx, x) = (into_row_major(dy), into_row_major(x));
    runs::each_with(&mut dx, &x, 1, |dx, x| match layer {
        Activation::Relu => times(dx, x, |x| Activation::Relu.derivative(x)),
        Activation::Relu6 => times(dx, x, |x| Activation::Relu6.derivative(x)),
        other => times(dx, x, |x| other.derivative(x)),
    });
    Ok(from_values(&shape, dx))
}

fn times(dx: &mut [f32], x: &[f32], slope: impl Fn(f32) -> f32) {
    dx.iter_mut().zip(x).for_each(|(dx, x)| *dx *= slope(*x));
}

/// The largest value of a window, the first of several, gets the whole gradient; the mean spreads
/// it evenly.
pub(super) fn pool(layer: Pool, x: &ArrayD<f32>, dy: &ArrayD<f32>) -> Result<ArrayD<f32>> {
    let shape = Shapes.pool("", layer, x.shape().to_vec())?;
    same_shape("the gradient", &shape, dy.shape())?;
    let images = Images::of(x.shape());
    let (window, out) = images.pooling(layer, &shape);
    let channels = images.channels;
    let x_values = x.as_standard_layout();
    let x_values = x_values.as_slice().unwrap_or_default();
    let dy = dy.as_standard_layout();
    let dy = dy.as_slice().unwrap_or_default();
    let mut dx = vec![0.0; x.len()];
    dx.par_chunks_mut(images.len())
        .zip(x_values.par_chunks(images.len()))
        .zip(dy.par_chunks(out[0] * out[1] * channels))
        .for_each(|((dx, x), dy)| {
            let mut under = Vec::new();
            let mut largest = (vec![0.0; channels], vec![0; channels]);
            for (at, dy) in dy.chunks_exact(channels).enumerate() {
                under.clear();
                let pixels = images.under(window, at / out[1], at % out[1]);
                under.extend(pixels.map(|(_, start)| start));
                match layer {
                    Pool::Max(_) => to_the_largest(x, &under, &mut largest, dy, dx),
                    _ => {
                        let count = under.len() as f32;
                        for &start in &under {
                            let dx = &mut dx[start..start + channels];
                            dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy / count);
                        }
                    }
                }
            }
        });
    Ok(from_values(x.shape(), dx))
}

/// Finds each channel's first largest of the pixels that begin at `under`, and adds the channel's
/// `dy` there; `largest` is a place to note value and pixel.
fn to_the_largest(
    x: &[f32],
    under: &[usize],
    largest: &mut (Vec<f32>, Vec<u32>),
    dy: &[f32],
    dx: &mut [f32],
) {
    let (values, pixels) = largest;
    for (pixel, &start) in (0u32..).zip(under) {
        for ((value, at), &x) in values.iter_mut().zip(&mut *pixels).zip(&x[start..]) {
            let first = pixel == 0 || x > *value;
            *value = if first { x } else { *value };
            *at = if first { pixel } else { *at };
        }
    }
    for (c, (&pixel, dy)) in pixels.iter().zip(dy).enumerate() {
        dx[under[pixel as usize] + c] += dy;
    }
}

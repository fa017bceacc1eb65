//! Pooling of codes.

use rayon::prelude::*;

use super::requantize::{Requantize, Rounding};
use crate::error::Result;
use crate::gemm::Epilogue;
use crate::nn::{Pool, Window};
use crate::qparams::QParams;

/// A window that slides over images.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pooling {
    window: Window,
    /// Height, width and channels of an image.
    size: [usize; 3],
    /// Height and width of the output.
    out: [usize; 2],
}

impl Pooling {
    /// Of images `[batch, height, width, channels]` to an output of `shape`.
    pub(super) fn new(layer: Pool, images: [usize; 4], shape: &[usize]) -> Result<Self> {
        let [_, height, width, channels] = images;
        let (window, out) = match layer {
            Pool::Max(window) | Pool::Average(window) => (window, [shape[1], shape[2]]),
            Pool::GlobalAverage => (Window::new([height, width], [1, 1], [0, 0])?, [1, 1]),
        };
        let size = [height, width, channels];
        Ok(Self { window, size, out })
    }

    /// What makes a code of a sum of n codes, for each n up to the pixels of the window: the mean
    /// has the multiplier s_x/(n·s_y).
    // ANCHOR: means
    pub(super) fn means(
        &self,
        rounding: Rounding,
        x_scale: f32,
        y: QParams,
    ) -> Result<Vec<Requantize>> {
        let [height, width] = self.window.kernel();
        let mean = |n| Requantize::new(rounding, x_scale, &[1.0 / n as f32], y, &[]);
        (1..=height * width).map(mean).collect()
    }
    // ANCHOR_END: means
}

/// The largest code under each window; or, with a zero point and [`Pooling::means`], the mean.
pub(super) fn pool(of: Pooling, x: &[u8], means: Option<(i32, &[Requantize])>, y: &mut [u8]) {
    let [height, width, channels] = of.size;
    let pixels = of.out[0] * of.out[1] * channels;
    let images = y.par_chunks_mut(pixels.max(1));
    let images = images.zip(x.par_chunks((height * width * channels).max(1)));
    images.for_each_init(Vec::new, |sums, (y, x)| {
        let lines = y.chunks_exact_mut((of.out[1] * channels).max(1));
        for (at, y) in lines.enumerate() {
            let (ys, top) = of.window.inside(0, at, height);
            for (at, y) in y.chunks_exact_mut(channels).enumerate() {
                let (xs, left) = of.window.inside(1, at, width);
                let count = ys.len() * xs.len();
                if let Some((zero_point, _)) = means {
                    sums.clear();
                    sums.resize(channels, -(count as i32) * zero_point);
                }
                for ky in ys.clone() {
                    let line = (top + ky as isize) * width as isize + left;
                    for kx in xs.clone() {
                        let start = (line + kx as isize) as usize * channels;
                        let x = &x[start..start + channels];
                        match means {
                            None => keep_larger(y, x),
                            Some(_) => sums
                                .iter_mut()
                                .zip(x)
                                .for_each(|(s, x)| *s += i32::from(*x)),
                        }
                    }
                }
                let mean = means.and_then(|(_, means)| means.get(count.wrapping_sub(1)));
                if let Some(mean) = mean {
                    mean.finish(0, 0, sums, y);
                }
            }
        }
    });
}

/// The larger of two codes, for each channel. Of sixteen at a time the compiler makes a vector.
#[inline]
fn keep_larger(y: &mut [u8], x: &[u8]) {
    let ((ys, y_rest), (xs, x_rest)) = (y.as_chunks_mut::<16>(), x.as_chunks::<16>());
    for (y, x) in ys.iter_mut().zip(xs) {
        let mut larger = *y;
        for i in 0..16 {
            larger[i] = larger[i].max(x[i]);
        }
        *y = larger;
    }
    for (y, x) in y_rest.iter_mut().zip(x_rest) {
        *y = (*y).max(*x);
    }
}

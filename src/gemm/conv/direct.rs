//! Convolutions without a product of matrices: the same few steps for many outputs at once.
//!
//! For depthwise ones, whose outputs see a channel each, and for those whose windows hold so few codes
//! that to write them down as rows would take longer than to multiply them.

use ndarray::{ArrayView4, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::Kernel;
use super::padded::Padded;
use super::patches::Patches;
use crate::error::{Error, Result};
use crate::gemm::activations::is_code;
use crate::gemm::epilogue::Epilogue;
use crate::gemm::kernel::{MicroKernel, Task};
use crate::gemm::{Chosen, MAX_DEPTH_WITH_ZERO_POINTS, with_micro_kernel};
use crate::qparams::QRange;

/// Below so many products, a second thread costs more than it brings.
const PARALLEL_PRODUCTS: usize = 1 << 18;

/// Neighbouring pixels of the output that are computed together, so that a weight is read once.
const PIXELS: usize = 4;

/// Filters, tap by tap.
#[derive(Debug, Clone)]
pub(super) struct Direct {
    kernel: Kernel,
    outputs: usize,
    /// The channels that each output adds up: all, or one of its own.
    channels: Channels,
    /// Pixel of the window by pixel, channel by channel, and for each output: w − z_w. Of outputs
    /// that have channels of their own, as many times as pixels are computed together.
    weights: Vec<i32>,
}

#[derive(Debug, Clone, Copy)]
enum Channels {
    Own,
    All(usize),
}

impl Direct {
    /// For `filters` of shape \[outputs, height, width, channels\]. If outputs have channels of
    /// their `own`, that is one.
    ///
    /// # Errors
    /// As those of [`PackedFilters::new`](super::PackedFilters::new).
    pub(super) fn new(
        kernel: Kernel,
        filters: ArrayView4<'_, i8>,
        zero_points: &[i32],
        own: bool,
    ) -> Result<Self> {
        let (outputs, height, width, channels) = filters.dim();
        let depth = height.saturating_mul(width).saturating_mul(channels);
        if depth > MAX_DEPTH_WITH_ZERO_POINTS {
            let max = MAX_DEPTH_WITH_ZERO_POINTS;
            return Err(Error::DepthTooLarge { depth, max });
        }
        zero_points
            .iter()
            .try_for_each(|&z| is_code(z, QRange::I8))?;
        let mut weights = Vec::new();
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            for channel in 0..channels {
                for (output, &w) in filters.slice(s![.., y, x, channel]).iter().enumerate() {
                    let zero_point = zero_points.get(output).copied().unwrap_or(0);
                    weights.push(i32::from(w) - zero_point);
                }
                if own {
                    // The same for each of the pixels that are computed together.
                    let start = weights.len() - outputs;
                    (1..PIXELS).for_each(|_| weights.extend_from_within(start..start + outputs));
                }
            }
        }
        Ok(Self {
            kernel,
            outputs,
            channels: match own {
                true => Channels::Own,
                false => Channels::All(channels),
            },
            weights,
        })
    }

    /// Writes `out`, one row for each patch, on all threads.
    pub(super) fn convolve<E: Epilogue>(
        &self,
        patches: &Patches<'_>,
        epilogue: &E,
        mut out: ArrayViewMut2<'_, E::Out>,
    ) {
        let threads = match out.nrows().saturating_mul(self.weights.len()) < PARALLEL_PRODUCTS {
            true => 1,
            false => rayon::current_num_threads(),
        };
        // Whole lines of the output.
        let width = patches.out_size[1].max(1);
        let rows = (out.nrows() / width).div_ceil(threads).max(1) * width;
        let parts: Vec<_> = out.axis_chunks_iter_mut(Axis(0), rows).collect();
        parts.into_par_iter().enumerate().for_each(|(part, out)| {
            let part = Part {
                filters: self,
                patches,
                epilogue,
                first: part * rows,
                out,
            };
            with_micro_kernel!(self.kernel.0, kernel => kernel.enter(part));
        });
    }
}

/// Some rows of the result.
struct Part<'a, 'v, E: Epilogue> {
    filters: &'a Direct,
    patches: &'a Patches<'v>,
    epilogue: &'a E,
    first: usize,
    out: ArrayViewMut2<'a, E::Out>,
}

impl<E: Epilogue> Task for Part<'_, '_, E> {
    #[inline(always)]
    fn run(mut self) {
        let (filters, outputs) = (self.filters, self.filters.outputs);
        let mut padded = Padded::new(self.patches);
        let taps = filters.taps(&padded.taps);
        let mut sums = vec![0; PIXELS * outputs];
        let mut row = 0;
        while row < self.out.nrows() {
            let end = row + padded.read(self.first + row..self.first + self.out.nrows());
            let mut window = 0;
            while row < end {
                let left = padded.left_in_line(window).min(end - row);
                let pixels = filters.at_once(left, padded.right);
                let sums = &mut sums[..pixels * outputs];
                let values = &padded.values[padded.start(window)..];
                filters.sum(&taps, values, padded.right, sums);
                for sums in sums.chunks_exact(outputs) {
                    // It cannot be none: the pixels of an output lie in one piece.
                    if let Some(out) = self.out.row_mut(row).into_slice() {
                        self.epilogue.finish(self.first + row, 0, sums, out);
                    }
                    row += 1;
                }
                window += pixels;
            }
        }
    }
}

impl Direct {
    /// Where the values and the weights begin of everything that is multiplied.
    fn taps(&self, pixels: &[usize]) -> Vec<(usize, usize)> {
        let (channels, weights) = match self.channels {
            Channels::Own => (1, PIXELS * self.outputs),
            Channels::All(channels) => (channels, self.outputs),
        };
        let each = pixels
            .iter()
            .flat_map(|x| (0..channels).map(move |c| x + c));
        each.enumerate().map(|(i, x)| (x, i * weights)).collect()
    }

    /// How many of `left` neighbouring pixels of the output are computed together, if what they see
    /// begins `right` values apart.
    #[inline(always)]
    fn at_once(&self, left: usize, right: usize) -> usize {
        match self.channels {
            // Their channels, too, are neighbours.
            Channels::Own if right == self.outputs => left.min(PIXELS),
            Channels::All(_) if left >= PIXELS => PIXELS,
            _ => 1,
        }
    }

    /// Computes the sums of as many pixels as are computed together.
    #[inline(always)]
    fn sum(&self, taps: &[(usize, usize)], values: &[i32], right: usize, sums: &mut [i32]) {
        let many = sums.len() > self.outputs;
        match self.channels {
            Channels::Own => sum_own(taps, values, &self.weights, sums),
            Channels::All(_) if many => {
                sum_all::<PIXELS>(taps, values, right, &self.weights, sums);
            }
            Channels::All(_) => sum_all::<1>(taps, values, right, &self.weights, sums),
        }
    }
}

/// The sums of outputs that see a channel each, all neighbours, as many as are held in registers at a
/// time.
#[inline(always)]
fn sum_own(taps: &[(usize, usize)], values: &[i32], weights: &[i32], sums: &mut [i32]) {
    let mut at = 0;
    while at < sums.len() {
        let (values, weights, sums) = (&values[at..], &weights[at..], &mut sums[at..]);
        at += match sums.len() {
            64.. => sum_lanes::<64>(taps, values, weights, sums),
            32.. => sum_lanes::<32>(taps, values, weights, sums),
            16.. => sum_lanes::<16>(taps, values, weights, sums),
            8.. => sum_lanes::<8>(taps, values, weights, sums),
            _ => sum_lanes::<1>(taps, values, weights, sums),
        };
    }
}

/// Computes `HELD` sums, and returns `HELD`.
// ANCHOR: sum_lanes
#[inline(always)]
fn sum_lanes<const HELD: usize>(
    taps: &[(usize, usize)],
    values: &[i32],
    weights: &[i32],
    sums: &mut [i32],
) -> usize {
    let mut held = [0; HELD];
    for &(x, w) in taps {
        let (x, w) = (values[x..].first_chunk(), weights[w..].first_chunk());
        if let (Some::<&[_; HELD]>(x), Some::<&[_; HELD]>(w)) = (x, w) {
            for lane in 0..HELD {
                held[lane] += x[lane] * w[lane];
            }
        }
    }
    sums[..HELD].copy_from_slice(&held);
    HELD
}
// ANCHOR_END: sum_lanes

/// The sums of `P` pixels whose outputs see all channels: each value meets the weights of all
/// outputs, and a weight meets what `P` pixels see, which begins `right` values apart.
#[inline(always)]
fn sum_all<const P: usize>(
    taps: &[(usize, usize)],
    values: &[i32],
    right: usize,
    weights: &[i32],
    sums: &mut [i32],
) {
    let outputs = sums.len() / P;
    let mut at = 0;
    while at < outputs {
        let (weights, sums) = (&weights[at..], &mut sums[at..]);
        at += match outputs - at {
            16.. => sum_outputs::<P, 16>(taps, values, right, weights, outputs, sums),
            8.. => sum_outputs::<P, 8>(taps, values, right, weights, outputs, sums),
            _ => sum_outputs::<P, 1>(taps, values, right, weights, outputs, sums),
        };
    }
}

/// Computes `HELD` sums of each pixel, which lie `outputs` apart, and returns `HELD`.
#[inline(always)]
fn sum_outputs<const P: usize, const HELD: usize>(
    taps: &[(usize, usize)],
    values: &[i32],
    right: usize,
    weights: &[i32],
    outputs: usize,
    sums: &mut [i32],
) -> usize {
    let mut held = [[0; HELD]; P];
    for &(x, w) in taps {
        let (values, w) = (&values[x..], weights[w..].first_chunk::<HELD>());
        for (pixel, held) in held.iter_mut().enumerate() {
            if let (Some(x), Some(w)) = (values.get(pixel * right), w) {
                for output in 0..HELD {
                    held[output] += x * w[output];
                }
            }
        }
    }
    for (pixel, held) in held.iter().enumerate() {
        sums[pixel * outputs..][..HELD].copy_from_slice(held);
    }
    HELD
}

//! One filter a channel: no product of matrices, but the same few steps for all channels at once.

use ndarray::{ArrayView1, ArrayView4, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::patches::Patches;
use super::{Bytes, Kernel};
use crate::error::{Error, Result};
use crate::gemm::activations::is_code;
use crate::gemm::epilogue::Epilogue;
use crate::gemm::kernel::{MicroKernel, SUMS, Task};
use crate::gemm::{Chosen, MAX_DEPTH_WITH_ZERO_POINTS, with_micro_kernel};
use crate::qparams::QRange;

/// Below so many products, a second thread costs more than it brings.
const PARALLEL_PRODUCTS: usize = 1 << 18;

/// One filter for each channel.
#[derive(Debug, Clone)]
pub(super) struct Depthwise {
    kernel: Kernel,
    channels: usize,
    /// Pixel of the window by pixel, and within a pixel for each channel: w − z_w.
    taps: Vec<i16>,
}

impl Depthwise {
    /// # Errors
    /// As those of [`PackedFilters::new`](super::PackedFilters::new).
    pub(super) fn new(
        kernel: Kernel,
        filters: ArrayView4<'_, i8>,
        zero_points: &[i32],
    ) -> Result<Self> {
        let (channels, height, width, _) = filters.dim();
        let depth = height.saturating_mul(width);
        if depth > MAX_DEPTH_WITH_ZERO_POINTS {
            let max = MAX_DEPTH_WITH_ZERO_POINTS;
            return Err(Error::DepthTooLarge { depth, max });
        }
        zero_points
            .iter()
            .try_for_each(|&z| is_code(z, QRange::I8))?;
        let mut taps = Vec::with_capacity(filters.len());
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            for (channel, &w) in filters.slice(s![.., y, x, 0]).iter().enumerate() {
                let zero_point = zero_points.get(channel).copied().unwrap_or(0);
                taps.push(i16::from(w) - zero_point as i16);
            }
        }
        Ok(Self {
            kernel,
            channels,
            taps,
        })
    }

    /// Writes `out`, one row for each patch, on all threads.
    pub(super) fn convolve<E: Epilogue>(
        &self,
        patches: &Patches<'_>,
        epilogue: &E,
        mut out: ArrayViewMut2<'_, E::Out>,
    ) {
        let threads = match out.nrows().saturating_mul(self.taps.len()) < PARALLEL_PRODUCTS {
            true => 1,
            false => rayon::current_num_threads(),
        };
        let rows = out.nrows().div_ceil(threads).max(1);
        let parts: Vec<_> = out.axis_chunks_iter_mut(Axis(0), rows).collect();
        parts.into_par_iter().enumerate().for_each(|(part, out)| {
            let filters = self;
            let first = part * rows;
            let part = Part {
                filters,
                patches,
                epilogue,
                first,
                out,
            };
            with_micro_kernel!(self.kernel.0, kernel => kernel.enter(part));
        });
    }
}

/// Some rows of the result.
struct Part<'a, 'v, E: Epilogue> {
    filters: &'a Depthwise,
    patches: &'a Patches<'v>,
    epilogue: &'a E,
    first: usize,
    out: ArrayViewMut2<'a, E::Out>,
}

impl<E: Epilogue> Task for Part<'_, '_, E> {
    #[inline(always)]
    fn run(mut self) {
        let mut sums = [0i32; SUMS];
        let (first_row, filters) = (self.first, self.filters);
        for (row, mut out) in self.out.rows_mut().into_iter().enumerate() {
            let row = first_row + row;
            let Some(out) = out.as_slice_mut() else {
                continue; // cannot be: the rows of a product are contiguous
            };
            for (block, out) in out.chunks_mut(SUMS).enumerate() {
                let (first, sums) = (block * SUMS, &mut sums[..out.len()]);
                filters.sum(self.patches, row, first, sums);
                self.epilogue.finish(row, first, sums, out);
            }
        }
    }
}

impl Depthwise {
    /// The sums at `row` for the channels from `first` on. A pixel outside the image, being the zero
    /// point, adds nothing.
    #[inline(always)]
    fn sum(&self, patches: &Patches<'_>, row: usize, first: usize, sums: &mut [i32]) {
        sums.fill(0);
        let (place, last) = (patches.place(row), first + sums.len());
        for (tap, weights) in self.taps.chunks_exact(self.channels).enumerate() {
            let Some([y, x]) = patches.pixel(&place, tap) else {
                continue;
            };
            let (weights, at) = (&weights[first..last], s![place.image, y, x, first..last]);
            match patches.images().0 {
                Bytes::U8(images, z) => add(images.slice(at), i16::from(z), weights, sums),
                Bytes::I8(images, z) => add(images.slice(at), i16::from(z), weights, sums),
            }
        }
    }
}

/// Adds (x − zero point)·w to the sum of each channel.
#[inline(always)]
fn add<T: Copy + Into<i16>>(
    pixel: ArrayView1<'_, T>,
    zero_point: i16,
    weights: &[i16],
    sums: &mut [i32],
) {
    let steps = |x: T| i32::from(x.into() - zero_point);
    match pixel.as_slice() {
        Some(pixel) => {
            for ((sum, &x), &w) in sums.iter_mut().zip(pixel).zip(weights) {
                *sum += steps(x) * i32::from(w);
            }
        }
        None => {
            for ((sum, &x), &w) in sums.iter_mut().zip(pixel).zip(weights) {
                *sum += steps(x) * i32::from(w);
            }
        }
    }
}

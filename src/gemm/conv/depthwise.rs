//! One filter a channel: no product of matrices, but the same few steps for all channels at once.

use ndarray::{ArrayView4, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::Kernel;
use super::patches::{Codes, Patches};
use crate::error::{Error, Result};
use crate::gemm::activations::is_code;
use crate::gemm::epilogue::Epilogue;
use crate::gemm::kernel::{MicroKernel, SUMS, Task};
use crate::gemm::{Chosen, MAX_DEPTH_WITH_ZERO_POINTS, with_micro_kernel};
use crate::qparams::QRange;

/// Below so many products, a second thread costs more than it brings.
const PARALLEL_PRODUCTS: usize = 1 << 18;

/// Channels whose sums are held in registers.
const LANES: usize = 32;

/// One filter for each channel.
#[derive(Debug, Clone)]
pub(super) struct Depthwise {
    kernel: Kernel,
    channels: usize,
    /// Pixel of the window by pixel, and within a pixel for each channel: w − z_w.
    taps: Vec<i16>,
    /// Whether all of them lie between −128 and 128, so that 16 bits hold their products with
    /// x − z_x, which lies between −255 and 255: 255·128 = 32 640.
    narrow: bool,
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
            narrow: taps.iter().all(|tap| (-128..=128).contains(tap)),
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
    fn run(self) {
        match self.patches.codes() {
            Codes::U8(codes, zero_point) => self.of_type(codes, zero_point.into()),
            Codes::I8(codes, zero_point) => self.of_type(codes, zero_point.into()),
        }
    }
}

impl<E: Epilogue> Part<'_, '_, E> {
    #[inline(always)]
    fn of_type<T: Copy + Into<i16>>(self, codes: &[T], zero_point: i16) {
        let steps = move |x: T| x.into() - zero_point;
        match self.filters.narrow {
            true => self.convolve(codes, move |x, w| i32::from(steps(x) * w)),
            false => self.convolve(codes, move |x, w| i32::from(steps(x)) * i32::from(w)),
        }
    }

    #[inline(always)]
    fn convolve<T: Copy>(mut self, codes: &[T], product: impl Fn(T, i16) -> i32 + Copy) {
        let (mut sums, mut taps) = ([0i32; SUMS], Vec::new());
        for (row, mut out) in self.out.rows_mut().into_iter().enumerate() {
            let row = self.first + row;
            let Some(out) = out.as_slice_mut() else {
                continue; // cannot be: the rows of a product are contiguous
            };
            self.patches.taps(row, self.filters.channels, &mut taps);
            for (block, out) in out.chunks_mut(SUMS).enumerate() {
                let (first, sums) = (block * SUMS, &mut sums[..out.len()]);
                let weights = &self.filters.taps;
                sum_taps(&taps, codes, weights, product, first, sums);
                self.epilogue.finish(row, first, sums, out);
            }
        }
    }
}

/// The sums of the channels from `first` on. Of each pixel that the window sees, `taps` says where
/// its codes and its weights begin. One outside the image is the zero point and would add nothing.
// ANCHOR: sum_taps
#[inline(always)]
fn sum_taps<T: Copy>(
    taps: &[(usize, usize)],
    codes: &[T],
    weights: &[i16],
    product: impl Fn(T, i16) -> i32,
    first: usize,
    sums: &mut [i32],
) {
    let (lanes, rest) = sums.as_chunks_mut::<LANES>();
    let done = first + lanes.len() * LANES;
    for (i, sums) in lanes.iter_mut().enumerate() {
        let mut held = [0; LANES]; // in registers
        for (code, weight) in taps {
            let at = first + i * LANES;
            let codes = codes[code + at..].first_chunk::<LANES>();
            let weights = weights[weight + at..].first_chunk::<LANES>();
            if let (Some(x), Some(w)) = (codes, weights) {
                for lane in 0..LANES {
                    held[lane] += product(x[lane], w[lane]);
                }
            }
        }
        *sums = held;
    }
    if rest.is_empty() {
        return;
    }
    rest.fill(0);
    for (code, weight) in taps {
        let operands = codes[code + done..].iter().zip(&weights[weight + done..]);
        for (sum, (&x, &w)) in rest.iter_mut().zip(operands) {
            *sum += product(x, w);
        }
    }
}
// ANCHOR_END: sum_taps

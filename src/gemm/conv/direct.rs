//! Convolutions without a product of matrices: the same few steps for many outputs at once.
//!
//! For depthwise ones, whose outputs see a channel each, and for those whose windows hold so few codes
//! that to write them down as rows would take longer than to multiply them.

use ndarray::{ArrayView4, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::Kernel;
use super::patches::{Codes, Patches, View};
use crate::error::{Error, Result};
use crate::gemm::activations::is_code;
use crate::gemm::epilogue::Epilogue;
use crate::gemm::kernel::{MicroKernel, SUMS, Task};
use crate::gemm::{Chosen, MAX_DEPTH_WITH_ZERO_POINTS, with_micro_kernel};
use crate::qparams::QRange;

/// Below so many products, a second thread costs more than it brings.
const PARALLEL_PRODUCTS: usize = 1 << 18;

/// Filters, tap by tap.
#[derive(Debug, Clone)]
pub(super) struct Direct {
    kernel: Kernel,
    outputs: usize,
    /// The channels that each output adds up: all, or one of its own.
    channels: Channels,
    /// Pixel of the window by pixel, channel by channel, and for each output: w − z_w.
    taps: Vec<i16>,
    /// Whether all of them lie between −128 and 128, so that 16 bits hold their products with
    /// x − z_x, which lies between −255 and 255: 255·128 = 32 640.
    narrow: bool,
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
        let mut taps = Vec::with_capacity(filters.len());
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            for channel in 0..channels {
                for (output, &w) in filters.slice(s![.., y, x, channel]).iter().enumerate() {
                    let zero_point = zero_points.get(output).copied().unwrap_or(0);
                    taps.push(i16::from(w) - zero_point as i16);
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
    filters: &'a Direct,
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
        let mut seen: Option<View> = None;
        let rows = self.first..self.first + self.out.nrows();
        let views = self.patches.views(rows.clone());
        for ((row, view), mut out) in rows.zip(views).zip(self.out.rows_mut()) {
            let Some(out) = out.as_slice_mut() else {
                continue; // cannot be: the rows of a product are contiguous
            };
            // Most windows see what the one before saw, some pixels farther to the right.
            let moved = seen.as_ref().and_then(|seen| view.moved_from(seen));
            let from = self.patches.offset(moved.unwrap_or(0));
            let codes = codes.get(from..).unwrap_or_default(); // some windows see nothing
            if moved.is_none() {
                let each = match self.filters.channels {
                    Channels::Own => self.filters.outputs,
                    Channels::All(channels) => channels * self.filters.outputs,
                };
                self.patches.taps(&view, each, &mut taps);
                seen = Some(view);
            }
            for (block, out) in out.chunks_mut(SUMS).enumerate() {
                let (first, sums) = (block * SUMS, &mut sums[..out.len()]);
                let filters = self.filters;
                let rest = filters.sums::<_, 32>(&taps, codes, product, first, sums);
                let at = first + out.len() - rest.len();
                let rest = filters.sums::<_, 16>(&taps, codes, product, at, rest);
                let at = first + out.len() - rest.len();
                let rest = filters.sums::<_, 8>(&taps, codes, product, at, rest);
                let at = first + out.len() - rest.len();
                filters.sums::<_, 1>(&taps, codes, product, at, rest);
                self.epilogue.finish(row, first, sums, out);
            }
        }
    }
}

impl Direct {
    /// The sums of the outputs from `first` on, as many at a time as are held in registers; returns
    /// those that are left. Of each pixel that the window sees, `taps` says where its codes and its
    /// weights begin. One outside the image is the zero point and would add nothing.
    #[inline(always)]
    fn sums<'a, T: Copy, const HELD: usize>(
        &self,
        taps: &[(usize, usize)],
        codes: &[T],
        product: impl Fn(T, i16) -> i32,
        first: usize,
        sums: &'a mut [i32],
    ) -> &'a mut [i32] {
        let (blocks, rest) = sums.as_chunks_mut::<HELD>();
        for (i, sums) in blocks.iter_mut().enumerate() {
            let at = first + i * HELD;
            *sums = match self.channels {
                Channels::Own => {
                    let codes = codes.get(at..).unwrap_or_default();
                    sum_taps(taps, codes, &self.taps[at..], &product)
                }
                Channels::All(channels) => {
                    let weights = &self.taps[at..];
                    let each = (channels, self.outputs);
                    sum_channels(taps, each, codes, weights, &product)
                }
            };
        }
        rest
    }
}

/// The sums of some neighbouring outputs, each of which sees a channel of its own. They stay in
/// registers.
// ANCHOR: sum_taps
#[inline(always)]
fn sum_taps<T: Copy, const HELD: usize>(
    taps: &[(usize, usize)],
    codes: &[T],
    weights: &[i16],
    product: impl Fn(T, i16) -> i32,
) -> [i32; HELD] {
    let mut held = [0; HELD];
    for (code, weight) in taps {
        let codes = codes[*code..].first_chunk::<HELD>();
        let weights = weights[*weight..].first_chunk::<HELD>();
        if let (Some(x), Some(w)) = (codes, weights) {
            for output in 0..HELD {
                held[output] += product(x[output], w[output]);
            }
        }
    }
    held
}
// ANCHOR_END: sum_taps

/// The same for outputs that see all channels: each code meets the weights of all outputs.
#[inline(always)]
fn sum_channels<T: Copy, const HELD: usize>(
    taps: &[(usize, usize)],
    (channels, outputs): (usize, usize),
    codes: &[T],
    weights: &[i16],
    product: impl Fn(T, i16) -> i32,
) -> [i32; HELD] {
    let mut held = [0; HELD];
    for (code, weight) in taps {
        for (channel, &x) in codes[*code..*code + channels].iter().enumerate() {
            if let Some(w) = weights[weight + channel * outputs..].first_chunk::<HELD>() {
                for output in 0..HELD {
                    held[output] += product(x, w[output]);
                }
            }
        }
    }
    held
}

//! The loops around a micro-kernel: divide among threads, pack, multiply, finish.

use std::ops::Range;

use ndarray::{Array2, ArrayViewMut2, Axis};

use super::activations::Activations;
use super::epilogue::Epilogue;
use super::kernel::{
    MAX_STRIPS, MicroKernel, STRIP, SUMS, SumRow, Task, add_row_remainders, panel_columns,
};
use super::pack::{DEPTHS, PackedWeights};
use super::rows::{PackedRows, Room};
use super::{Chosen, with_micro_kernel};
use crate::elementwise;
use crate::error::Result;

/// Rows that are packed at a time, to stay in the second-level cache.
const BLOCK_ROWS: usize = MAX_STRIPS * STRIP;
/// Groups of 4 depths that are multiplied at a time: a panel's blocks stay in the first-level cache.
const CHUNK_GROUPS: usize = 256;
/// Below so many products, a second thread costs more than it brings.
const PARALLEL_PRODUCTS: usize = 1 << 20;

/// One call's operands, and where the part of the result begins that is to be computed.
struct Job<'a, 'v, E> {
    weights: &'a PackedWeights,
    activations: &'a Activations<'v>,
    epilogue: &'a E,
    quantizer: elementwise::Kernel,
    first_row: usize,
    first_column: usize,
}

impl<E> Clone for Job<'_, '_, E> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<E> Copy for Job<'_, '_, E> {}

/// Multiplies operands whose shapes have been checked.
pub(super) fn multiply<E: Epilogue>(
    weights: &PackedWeights,
    activations: &Activations<'_>,
    epilogue: &E,
    mut out: ArrayViewMut2<'_, E::Out>,
) -> Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    if out.ncols() > 1 && out.strides()[1] != 1 {
        let mut rows = Array2::default(out.dim());
        multiply(weights, activations, epilogue, rows.view_mut())?;
        out.assign(&rows);
        return Ok(());
    }
    let job = Job {
        weights,
        activations,
        epilogue,
        quantizer: elementwise::Kernel::best(),
        first_row: 0,
        first_column: 0,
    };
    let products = out.len().saturating_mul(weights.depth());
    let threads = match products < PARALLEL_PRODUCTS {
        true => 1,
        false => rayon::current_num_threads(),
    };
    with_micro_kernel!(weights.chosen(), kernel => divide(kernel, job, out, threads))
}

/// Halves the result until there is a part for each thread. No sum is divided, so the result does
/// not depend on their number.
fn divide<K: MicroKernel, E: Epilogue>(
    kernel: K,
    job: Job<'_, '_, E>,
    out: ArrayViewMut2<'_, E::Out>,
    threads: usize,
) -> Result<()> {
    let (rows, columns) = out.dim();
    let (axis, unit) = match rows >= 2 * STRIP {
        true => (0, STRIP),
        false => (1, panel_columns::<K>()),
    };
    let units = [rows, columns][axis].div_ceil(unit);
    if threads < 2 || units < 2 {
        return multiply_part(kernel, job, out);
    }
    let half = (units * (threads / 2)).div_ceil(threads);
    let middle = unit * half.clamp(1, units - 1);
    let (first, second) = out.split_at(Axis(axis), middle);
    let mut rest = job;
    match axis {
        0 => rest.first_row += middle,
        _ => rest.first_column += middle,
    }
    let (a, b) = rayon::join(
        || divide(kernel, job, first, threads / 2),
        || divide(kernel, rest, second, threads - threads / 2),
    );
    a.and(b)
}

/// Multiplies block of rows by block of rows.
fn multiply_part<K: MicroKernel, E: Epilogue>(
    kernel: K,
    mut job: Job<'_, '_, E>,
    mut out: ArrayViewMut2<'_, E::Out>,
) -> Result<()> {
    let blocks = out.nrows().div_ceil(BLOCK_ROWS).max(1);
    let block_rows = out.nrows().div_ceil(blocks).next_multiple_of(STRIP);
    let mut room = Room::take();
    let mut rows = PackedRows::new(kernel, job.weights.depth(), &mut room.rows);
    for mut out in out.axis_chunks_iter_mut(Axis(0), block_rows.max(STRIP)) {
        let range = job.first_row..job.first_row + out.nrows();
        rows.pack(job.activations, range, job.weights, job.quantizer)?;
        let out = out.rows_mut().into_iter();
        let out: Vec<_> = out.filter_map(|row| row.into_slice()).collect();
        let rows = &rows;
        kernel.enter(MultiplyBlock {
            kernel,
            job,
            rows,
            out,
            sums: &mut room.sums,
        });
        job.first_row += rows.count();
    }
    room.put_back();
    Ok(())
}

/// The product of a block of rows with all columns of a job.
struct MultiplyBlock<'a, 'v, K: MicroKernel, E: Epilogue> {
    kernel: K,
    job: Job<'a, 'v, E>,
    rows: &'a PackedRows<'a, K>,
    out: Vec<&'a mut [E::Out]>,
    sums: &'a mut Vec<SumRow>,
}

impl<K: MicroKernel, E: Epilogue> Task for MultiplyBlock<'_, '_, K, E> {
    #[inline(always)]
    fn run(mut self) {
        let columns = self.out.first().map_or(0, |row| row.len());
        let mut room = Vec::new();
        let activations = K::activations(self.rows.bytes(), &mut room);
        let mut sums = std::mem::take(self.sums);
        sums.resize(self.rows.count(), [0; SUMS]);
        for first in (0..columns).step_by(SUMS) {
            let count = SUMS.min(columns - first);
            for at in (0..count).step_by(panel_columns::<K>()) {
                let panel = self.job.first_column + first + at;
                self.start_with_zero_points(panel, &mut sums, at);
                self.add_remainders(panel, &mut sums, at);
                if sums.len() > 1 || count < SUMS {
                    self.add_products(activations, panel, &mut sums, at);
                }
            }
            if sums.len() == 1 && count == SUMS {
                let panels = self.job.weights.panels(self.job.first_column + first, SUMS);
                self.kernel.multiply_row(activations, panels, &mut sums[0]);
            }
            self.finish(first..first + count, &sums);
        }
        *self.sums = sums;
    }
}

impl<K: MicroKernel, E: Epilogue> MultiplyBlock<'_, '_, K, E> {
    /// Σ (a − zᵢ)(w − zⱼ) = Σ a·w − zᵢ·Σ w − zⱼ·(Σ a − K·zᵢ): all but the first term.
    #[inline(always)]
    fn start_with_zero_points(&self, panel: usize, sums: &mut [SumRow], at: usize) {
        let (weights, width) = (self.job.weights, panel_columns::<K>());
        let column_sums = weights.sums_of(panel, width);
        for (sums, zero_point) in sums.iter_mut().zip(self.rows.zero_points()) {
            for (sum, column_sum) in sums[at..at + width].iter_mut().zip(column_sums) {
                *sum = zero_point.wrapping_mul(*column_sum).wrapping_neg();
            }
        }
        let rows = self.rows.zero_points().iter().zip(self.rows.row_sums());
        for (sums, (zero_point, row_sum)) in sums.iter_mut().zip(rows) {
            let row_sum = row_sum - weights.depth() as i32 * zero_point;
            let zero_points = weights.zero_points_of(panel, width);
            for (sum, zero_point) in sums[at..at + width].iter_mut().zip(zero_points) {
                *sum = sum.wrapping_sub(zero_point.wrapping_mul(row_sum));
            }
        }
    }

    #[inline(always)]
    fn add_remainders(&self, panel: usize, sums: &mut [SumRow], at: usize) {
        let remainders = self.job.weights.remainders();
        if remainders.is_empty() {
            return;
        }
        match self.rows.strips() {
            Some((strips, across)) => {
                let kernel = self.kernel;
                kernel.add_remainders(strips, across, remainders, panel, sums, at);
            }
            None => {
                let rows = self.rows.bytes().chunks_exact(self.rows.stride().max(1));
                for (row, sums) in rows.zip(sums) {
                    let sums = &mut sums[at..at + panel_columns::<K>()];
                    add_row_remainders(remainders, panel, sums, |depth| row[depth]);
                }
            }
        }
    }

    #[inline(always)]
    fn add_products(&self, a: &[K::Activation], panel: usize, sums: &mut [SumRow], at: usize) {
        let stride = self.rows.stride();
        let blocks = self
            .job
            .weights
            .panels(panel, panel_columns::<K>())
            .chunks(CHUNK_GROUPS * K::BLOCKS);
        for (chunk, blocks) in blocks.enumerate() {
            let chunk = chunk * CHUNK_GROUPS * DEPTHS;
            for tile in tiles(self.rows.count(), K::ROWS) {
                let a = &a[tile.start * stride + chunk..];
                self.kernel.multiply(a, stride, blocks, &mut sums[tile], at);
            }
        }
    }

    #[inline(always)]
    fn finish(&mut self, columns: Range<usize>, sums: &[SumRow]) {
        let column = self.job.first_column + columns.start;
        for (i, (out, sums)) in self.out.iter_mut().zip(sums).enumerate() {
            let out = &mut out[columns.clone()];
            let row = self.job.first_row + i;
            self.job
                .epilogue
                .finish(row, column, &sums[..out.len()], out);
        }
    }
}

/// Cuts `count` rows into tiles of nearly equal height, at most `height`.
fn tiles(count: usize, height: usize) -> impl Iterator<Item = Range<usize>> {
    let tiles = count.div_ceil(height);
    (0..tiles).map(move |i| count * i / tiles..count * (i + 1) / tiles)
}

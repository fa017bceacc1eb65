//! The product of 8-bit activations and 8-bit weights, block by block.

use std::ops::Range;
use std::slice;

use super::driver::{Product, tiles};
use super::epilogue::Epilogue;
use super::kernel::{MicroKernel, Row, STRIP, SUMS, SumRow, add_row_remainders, panel_columns};
use super::pack::{DEPTHS, PackedWeights};
use super::rows::{Needs, PackedRows, Sums};

/// Weights, and what becomes of the sums of products with them.
pub(super) struct Int8<'a, E> {
    pub(super) weights: &'a PackedWeights,
    pub(super) epilogue: &'a E,
}

impl<E> Clone for Int8<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<E> Copy for Int8<'_, E> {}

impl<E: Epilogue> Product for Int8<'_, E> {
    type Out = E::Out;

    fn needs(&self) -> Needs {
        Needs {
            depth: self.weights.depth(),
            strips: !self.weights.remainders().is_empty(),
            row_sums: self.weights.has_zero_points(),
        }
    }

    #[inline(always)]
    fn multiply_block<K: MicroKernel>(
        self,
        kernel: K,
        rows: &PackedRows<'_, K>,
        (first_row, first_column): (usize, usize),
        out: &mut [&mut [E::Out]],
        sums: &mut Sums,
    ) {
        let columns = out.first().map_or(0, |row| row.len());
        let mut room = Vec::new();
        let activations = kernel.activations(rows.bytes(), &mut room);
        let weights = self.weights;
        let multiplication = Multiplication {
            kernel,
            weights,
            rows,
        };
        let sums = sums.integers(rows.count().min(K::SUM_ROWS));
        let alike = multiplication.starts_alike();
        for first in (0..columns).step_by(SUMS) {
            let count = SUMS.min(columns - first);
            let padded = count.next_multiple_of(panel_columns::<K>());
            let column = first_column + first;
            for start in (0..rows.count()).step_by(K::SUM_ROWS) {
                let some = start..rows.count().min(start + K::SUM_ROWS);
                let sums = &mut sums[..some.len()];
                for out in &out[some.clone()] {
                    kernel.fetch(&out[first..first + count]);
                }
                if rows.count() == 1 && count == SUMS && !K::PAIRS {
                    multiplication.start(column, padded, some.clone(), sums);
                    let panels = weights.panels(column, SUMS);
                    kernel.multiply_row(activations, panels, &mut sums[0]);
                } else {
                    let common = match alike {
                        true => Some(multiplication.common_start(column, padded)),
                        false => {
                            multiplication.start(column, padded, some.clone(), sums);
                            None
                        }
                    };
                    let common = common.as_ref();
                    multiplication.add_products(common, activations, (column, padded), start, sums);
                }
                for ((row, out), sums) in some.clone().zip(&mut out[some]).zip(sums.iter()) {
                    let out = &mut out[first..first + count];
                    let row = first_row + row;
                    self.epilogue.finish(row, column, &sums[..count], out);
                }
            }
        }
    }
}

/// A block of rows and all weights.
struct Multiplication<'a, K: MicroKernel> {
    kernel: K,
    weights: &'a PackedWeights,
    rows: &'a PackedRows<'a, K>,
}

impl<K: MicroKernel> Multiplication<'_, K> {
    /// Whether the sums of all rows begin with the same, and can do so in registers.
    #[inline(always)]
    fn starts_alike(&self) -> bool {
        let (weights, rows) = (self.weights, self.rows);
        let first = rows.zero_points().first();
        K::STARTS_IN_REGISTERS
            && weights.depth() > 0 // or nothing would be added, nor written
            && weights.remainders().is_empty()
            && rows.row_sums().is_empty()
            && rows.shortfalls().iter().all(|&shortfall| shortfall == 0)
            && rows.zero_points().iter().all(|z| Some(z) == first)
    }

    /// What the sums of all rows begin with.
    #[inline(always)]
    fn common_start(&self, first: usize, count: usize) -> SumRow {
        let mut common = Row([0; SUMS]);
        self.start_with_zero_points(first, count, 0..1, slice::from_mut(&mut common));
        common
    }

    /// Writes what the sums of each row begin with.
    #[inline(always)]
    fn start(&self, first: usize, count: usize, rows: Range<usize>, sums: &mut [SumRow]) {
        self.start_with_zero_points(first, count, rows.clone(), sums);
        self.add_remainders(first, count, rows.start, sums);
    }

    /// Σ (a − zᵢ)(w − zⱼ) = Σ a·w − zᵢ·Σ w − zⱼ·(Σ a − K·zᵢ): all but the first term, and what the
    /// kernel's sums lack of that.
    ///
    /// For all panels at once, so that the compiler does not know `count`. If it does, it unrolls the
    /// loop over columns and makes vectors of rows, whose parts it then scatters over memory.
    // ANCHOR: start_with_zero_points
    #[inline(always)]
    fn start_with_zero_points(
        &self,
        first: usize,
        count: usize,
        rows: Range<usize>,
        sums: &mut [SumRow],
    ) {
        let weights = self.weights;
        let column_sums = weights.sums_of(first, count);
        let zero_points = &self.rows.zero_points()[rows.clone()];
        let shortfalls = &self.rows.shortfalls()[rows.clone()];
        let rows_start = zero_points.iter().zip(shortfalls);
        for (sums, (zero_point, shortfall)) in sums.iter_mut().zip(rows_start) {
            for (sum, column_sum) in sums.iter_mut().zip(column_sums) {
                *sum = shortfall.wrapping_sub(zero_point.wrapping_mul(*column_sum));
            }
        }
        let row_sums = self.rows.row_sums().get(rows).unwrap_or_default();
        let rows = zero_points.iter().zip(row_sums);
        for (sums, (zero_point, row_sum)) in sums.iter_mut().zip(rows) {
            let row_sum = row_sum - weights.depth() as i32 * zero_point;
            let zero_points = weights.zero_points_of(first, count);
            for (sum, zero_point) in sums.iter_mut().zip(zero_points) {
                *sum = sum.wrapping_sub(zero_point.wrapping_mul(row_sum));
            }
        }
    }
    // ANCHOR_END: start_with_zero_points

    /// Adds the products of the rows from `start` on with the remainders of `count` columns.
    #[inline(always)]
    fn add_remainders(&self, first: usize, count: usize, start: usize, sums: &mut [SumRow]) {
        let remainders = self.weights.remainders();
        if remainders.is_empty() {
            return;
        }
        for at in (0..count).step_by(panel_columns::<K>()) {
            let panel = first + at;
            match self.rows.strips() {
                Some((strips, across)) => {
                    let strips = &strips[start / STRIP..];
                    let kernel = self.kernel;
                    kernel.add_remainders(strips, across, remainders, panel, sums, at);
                }
                None => {
                    let stride = self.rows.stride().max(1);
                    let rows = self.rows.bytes().chunks_exact(stride).skip(start);
                    for (row, sums) in rows.zip(sums.iter_mut()) {
                        let sums = &mut sums[at..at + panel_columns::<K>()];
                        add_row_remainders(remainders, panel, sums, |depth| row[depth]);
                    }
                }
            }
        }
    }

    /// Adds the products of the rows from `start` on with the weights of `count` columns to `sums`, or
    /// writes them there, plus what is common to all rows.
    #[inline(always)]
    fn add_products(
        &self,
        common: Option<&SumRow>,
        a: &[K::Activation],
        (first, count): (usize, usize),
        start: usize,
        sums: &mut [SumRow],
    ) {
        let (stride, groups) = (self.rows.stride(), self.weights.depth().div_ceil(DEPTHS));
        let width = panel_columns::<K>();
        // What is multiplied with one tile only need not stay in a cache, and is read as it lies in memory.
        let once = self.rows.count() <= K::ROWS;
        let chunk_groups = match once && !K::PAIRS {
            true => groups.max(1),
            false => K::CHUNK_GROUPS,
        };
        let (chunks, panels) = (groups.div_ceil(chunk_groups), count.div_ceil(width));
        for i in 0..chunks * panels {
            let (chunk, panel) = match once {
                true => (i % chunks, i / chunks),
                false => (i / panels, i % panels),
            };
            let (chunk, at) = (chunk * chunk_groups, panel * width);
            let depths = chunk..groups.min(chunk + chunk_groups);
            let part = self.weights.part(first + at, width, depths);
            for tile in tiles(sums.len(), K::ROWS) {
                let a = &a[(start + tile.start) * stride + chunk * DEPTHS..];
                let sums = &mut sums[tile];
                match common.filter(|_| chunk == 0) {
                    Some(row) => {
                        let start = &row[at..at + width];
                        self.kernel
                            .multiply_from(start, a, stride, part, (sums, at));
                    }
                    None => self.kernel.multiply(a, stride, part, sums, at),
                }
            }
        }
    }
}

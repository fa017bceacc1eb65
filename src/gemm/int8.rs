//! The product of 8-bit activations and 8-bit weights, block by block.

use super::driver::{Product, tiles};
use super::epilogue::Epilogue;
use super::kernel::{MicroKernel, SUMS, SumRow, add_row_remainders, panel_columns};
use super::pack::{DEPTHS, PackedWeights};
use super::rows::{Needs, PackedRows, Sums};

/// Groups of 4 depths that are multiplied at a time: a panel's blocks stay in the first-level cache.
const CHUNK_GROUPS: usize = 256;

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
        let activations = K::activations(rows.bytes(), &mut room);
        let weights = self.weights;
        let multiplication = Multiplication {
            kernel,
            weights,
            rows,
        };
        let sums = sums.integers(rows.count());
        for first in (0..columns).step_by(SUMS) {
            let count = SUMS.min(columns - first);
            let all_at_once = sums.len() == 1 && count == SUMS;
            let padded = count.next_multiple_of(panel_columns::<K>());
            multiplication.start_with_zero_points(first_column + first, padded, sums);
            for at in (0..count).step_by(panel_columns::<K>()) {
                let panel = first_column + first + at;
                multiplication.add_remainders(panel, sums, at);
                if !all_at_once {
                    multiplication.add_products(activations, panel, sums, at);
                }
            }
            if all_at_once {
                let panels = weights.panels(first_column + first, SUMS);
                kernel.multiply_row(activations, panels, &mut sums[0]);
            }
            for (row, (out, sums)) in out.iter_mut().zip(sums.iter()).enumerate() {
                let out = &mut out[first..first + count];
                let (row, column) = (first_row + row, first_column + first);
                self.epilogue.finish(row, column, &sums[..count], out);
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
    /// Σ (a − zᵢ)(w − zⱼ) = Σ a·w − zᵢ·Σ w − zⱼ·(Σ a − K·zᵢ): all but the first term.
    ///
    /// For all panels at once, so that the compiler does not know `count`. If it does, it unrolls the
    /// loop over columns and makes vectors of rows, whose parts it then scatters over memory.
    // ANCHOR: start_with_zero_points
    #[inline(always)]
    fn start_with_zero_points(&self, first: usize, count: usize, sums: &mut [SumRow]) {
        let weights = self.weights;
        let column_sums = weights.sums_of(first, count);
        for (sums, zero_point) in sums.iter_mut().zip(self.rows.zero_points()) {
            for (sum, column_sum) in sums.iter_mut().zip(column_sums) {
                *sum = zero_point.wrapping_mul(*column_sum).wrapping_neg();
            }
        }
        let rows = self.rows.zero_points().iter().zip(self.rows.row_sums());
        for (sums, (zero_point, row_sum)) in sums.iter_mut().zip(rows) {
            let row_sum = row_sum - weights.depth() as i32 * zero_point;
            let zero_points = weights.zero_points_of(first, count);
            for (sum, zero_point) in sums.iter_mut().zip(zero_points) {
                *sum = sum.wrapping_sub(zero_point.wrapping_mul(row_sum));
            }
        }
    }
    // ANCHOR_END: start_with_zero_points

    #[inline(always)]
    fn add_remainders(&self, panel: usize, sums: &mut [SumRow], at: usize) {
        let remainders = self.weights.remainders();
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
}

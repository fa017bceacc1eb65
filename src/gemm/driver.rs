//! The loops around a micro-kernel: divide among threads, pack, multiply, finish.

use std::ops::Range;

use ndarray::{Array2, ArrayViewMut2, Axis};

use super::activations::Activations;
use super::kernel::{MicroKernel, STRIP, Task, panel_columns};
use super::rows::{Needs, PackedRows, Room, Sums};
use super::{Chosen, with_micro_kernel};
use crate::elementwise;
use crate::error::Result;

/// Below so many products, a second thread costs more than it brings.
const PARALLEL_PRODUCTS: usize = 1 << 20;

/// A right operand, and what becomes of the sums.
pub(super) trait Product: Copy + Sync {
    /// What is written.
    type Out: Copy + Default + Send + Sync;

    /// What of the activations is to be prepared.
    fn needs(&self) -> Needs;

    /// Multiplies a block of rows, the first of which is `first.0`, with the columns from `first.1`
    /// on, and writes `out`. Must be `#[inline(always)]`, as it runs as a [`Task`].
    fn multiply_block<K: MicroKernel>(
        self,
        kernel: K,
        rows: &PackedRows<'_, K>,
        first: (usize, usize),
        out: &mut [&mut [Self::Out]],
        sums: &mut Sums,
    );
}

/// Computes a product whose operands' shapes have been checked, on all threads.
pub(super) fn multiply<P: Product>(
    chosen: Chosen,
    activations: &Activations<'_>,
    product: P,
    mut out: ArrayViewMut2<'_, P::Out>,
) -> Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    if out.ncols() > 1 && out.strides()[1] != 1 {
        let mut rows = Array2::default(out.dim());
        multiply(chosen, activations, product, rows.view_mut())?;
        out.assign(&rows);
        return Ok(());
    }
    let products = out.len().saturating_mul(product.needs().depth);
    let threads = match products < PARALLEL_PRODUCTS {
        true => 1,
        false => rayon::current_num_threads(),
    };
    with_micro_kernel!(chosen, kernel => divide(kernel, activations, product, (0, 0), out, threads))
}

/// Halves the result until there is a part for each thread. No sum is divided, so the result does
/// not depend on their number.
// ANCHOR: divide
fn divide<K: MicroKernel, P: Product>(
    kernel: K,
    activations: &Activations<'_>,
    product: P,
    first: (usize, usize),
    out: ArrayViewMut2<'_, P::Out>,
    threads: usize,
) -> Result<()> {
    let (rows, columns) = out.dim();
    let (axis, unit) = match rows >= 2 * STRIP {
        true => (0, STRIP),
        false => (1, panel_columns::<K>()),
    };
    let units = [rows, columns][axis].div_ceil(unit);
    if threads < 2 || units < 2 {
        return multiply_part(kernel, activations, product, first, out);
    }
    let half = (units * (threads / 2)).div_ceil(threads);
    let middle = unit * half.clamp(1, units - 1);
    let (here, there) = out.split_at(Axis(axis), middle);
    let second = match axis {
        0 => (first.0 + middle, first.1),
        _ => (first.0, first.1 + middle),
    };
    let (a, b) = rayon::join(
        || divide(kernel, activations, product, first, here, threads / 2),
        || {
            divide(
                kernel,
                activations,
                product,
                second,
                there,
                threads - threads / 2,
            )
        },
    );
    a.and(b)
}
// ANCHOR_END: divide

/// Multiplies block of rows by block of rows.
fn multiply_part<K: MicroKernel, P: Product>(
    kernel: K,
    activations: &Activations<'_>,
    product: P,
    mut first: (usize, usize),
    mut out: ArrayViewMut2<'_, P::Out>,
) -> Result<()> {
    let blocks = out.nrows().div_ceil(K::BLOCK_ROWS).max(1);
    let block_rows = out.nrows().div_ceil(blocks).next_multiple_of(STRIP);
    let mut room = Room::take();
    let quantizer = elementwise::Kernel::best();
    let most = block_rows.max(STRIP);
    let mut rows = PackedRows::new(kernel, product.needs(), most, &mut room.rows);
    for mut out in out.axis_chunks_iter_mut(Axis(0), most) {
        let range = first.0..first.0 + out.nrows();
        rows.pack(activations, range, quantizer)?;
        let out = out.rows_mut().into_iter();
        kernel.enter(Block {
            kernel,
            product,
            rows: &rows,
            first,
            out: out.filter_map(|row| row.into_slice()).collect(),
            sums: &mut room.sums,
        });
        first.0 += rows.count();
    }
    room.put_back();
    Ok(())
}

/// The product of a block of rows with some columns.
struct Block<'a, K: MicroKernel, P: Product> {
    kernel: K,
    product: P,
    rows: &'a PackedRows<'a, K>,
    first: (usize, usize),
    out: Vec<&'a mut [P::Out]>,
    sums: &'a mut Sums,
}

impl<K: MicroKernel, P: Product> Task for Block<'_, K, P> {
    #[inline(always)]
    fn run(mut self) {
        let (kernel, rows, first) = (self.kernel, self.rows, self.first);
        self.product
            .multiply_block(kernel, rows, first, &mut self.out, self.sums);
    }
}

/// Cuts `count` rows into tiles of nearly equal height, at most `height`.
#[inline(always)]
pub(super) fn tiles(count: usize, height: usize) -> impl Iterator<Item = Range<usize>> {
    let tiles = count.div_ceil(height);
    (0..tiles).map(move |i| count * i / tiles..count * (i + 1) / tiles)
}

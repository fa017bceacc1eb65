//! The tile of every instruction set with a dot-product instruction: one that multiplies groups of
//! four bytes and adds each group's products to a 32-bit sum, exactly.
//!
//! The one idea: the loops are written once, in safe Rust, over [`DotProduct`], which says what the
//! instructions do. An instruction that a machine lacks is replaced in its tests by a model, plain
//! Rust that does what the manual says; packing, tails and the loops below stay the same.

use super::{MicroKernel, SumRow, Task};
use crate::gemm::pack::{Block, COLUMNS};
use crate::gemm::pairs::Part;

/// The instructions of one instruction set, and the tile that its registers hold. A value is the
/// proof that the CPU has them. All methods are `#[inline(always)]`, so that they are compiled for
/// what [`enter`](Self::enter) enables.
pub(in crate::gemm) trait DotProduct: Copy + Send + Sync {
    /// The most rows of a tile.
    const ROWS: usize;
    /// The width of a panel, in blocks of 16 columns.
    const BLOCKS: usize;
    /// The sums in a vector.
    const LANES: usize;
    /// The groups of 4 depths in a vector of activations, at most 4.
    const GROUPS: usize;
    /// Whether activations are multiplied as signed bytes, 128 less than the unsigned ones.
    const SIGNED: bool;

    /// The bytes that are loaded as a vector of activations: 4·[`GROUPS`](Self::GROUPS).
    type Chunk;
    /// Activations of one row.
    type Activations: Copy;
    /// Weights of one group, for as many columns as there are lanes.
    type Weights: Copy;
    /// Sums of one row.
    type Sums: Copy;

    /// As [`MicroKernel::enter`].
    fn enter<T: Task>(self, task: T);

    /// The whole chunks of a row.
    fn chunks(bytes: &[u8]) -> &[Self::Chunk];
    /// Loads activations.
    fn load_activations(self, chunk: &Self::Chunk) -> Self::Activations;
    /// Loads the weights of columns [`LANES`](Self::LANES)·`part` and following.
    fn load_weights(self, block: &Block, part: usize) -> Self::Weights;
    /// Sums that are 0.
    fn zero(self) -> Self::Sums;
    /// Loads sums from column `at` on.
    fn load_sums(self, row: &SumRow, at: usize) -> Self::Sums;
    /// Stores sums from column `at` on.
    fn store_sums(self, sums: Self::Sums, row: &mut SumRow, at: usize);
    /// Adds to each sum the four products of its column's weights with group `GROUP` of the
    /// activations, modulo 2³².
    fn add_products<const GROUP: usize>(
        self,
        sums: Self::Sums,
        activations: Self::Activations,
        weights: Self::Weights,
    ) -> Self::Sums;
}

impl<D: DotProduct> MicroKernel for D {
    const ROWS: usize = D::ROWS;
    const BLOCKS: usize = D::BLOCKS;
    const OFFSET: i32 = if D::SIGNED { 128 } else { 0 };
    type Activation = u8;

    #[inline(always)]
    fn activations<'a>(self, bytes: &'a [u8], room: &'a mut Vec<u8>) -> &'a [u8] {
        if !D::SIGNED {
            return bytes;
        }
        room.clear();
        room.extend(bytes.iter().map(|byte| byte ^ 0x80)); // − 128, as a signed byte
        room
    }

    #[inline(always)]
    fn enter<T: Task>(self, task: T) {
        DotProduct::enter(self, task);
    }

    #[inline(always)]
    fn multiply(self, a: &[u8], stride: usize, part: Part<'_>, sums: &mut [SumRow], at: usize) {
        let operands = Operands {
            a,
            stride,
            b: part.blocks,
            sums,
            at,
        };
        match operands.sums.len() {
            0 => {}
            1 => operands.multiply::<D, 1>(self),
            2 => operands.multiply::<D, 2>(self),
            3 => operands.multiply::<D, 3>(self),
            4 => operands.multiply::<D, 4>(self),
            5 => operands.multiply::<D, 5>(self),
            6 => operands.multiply::<D, 6>(self),
            7 => operands.multiply::<D, 7>(self),
            8 => operands.multiply::<D, 8>(self),
            9 => operands.multiply::<D, 9>(self),
            10 => operands.multiply::<D, 10>(self),
            11 => operands.multiply::<D, 11>(self),
            _ => operands.multiply::<D, 12>(self),
        }
    }
}

/// What [`MicroKernel::multiply`] is given.
struct Operands<'a> {
    a: &'a [u8],
    stride: usize,
    b: &'a [Block],
    sums: &'a mut [SumRow],
    at: usize,
}

impl Operands<'_> {
    #[inline(always)]
    fn multiply<D: DotProduct, const R: usize>(self, kernel: D) {
        // No code is made for tiles that are too high for the registers.
        if R <= <D as DotProduct>::ROWS {
            let operands = self;
            DotProduct::enter(kernel, Tile::<D, R> { kernel, operands });
        }
    }
}

/// The product of R rows with a panel.
struct Tile<'a, D, const R: usize> {
    kernel: D,
    operands: Operands<'a>,
}

/// The most vectors across a panel.
const MOST: usize = 4;

impl<D: DotProduct, const R: usize> Task for Tile<'_, D, R> {
    #[inline(always)]
    fn run(self) {
        let (kernel, blocks) = (self.kernel, <D as DotProduct>::BLOCKS);
        let Operands {
            a,
            stride,
            b,
            sums: rows,
            at,
        } = self.operands;
        let b = b.chunks(D::GROUPS * blocks);
        let a: [_; R] = std::array::from_fn(|r| &D::chunks(&a[r * stride..])[..b.len()]);
        let mut sums = [[kernel.zero(); MOST]; R];
        for (row, sums) in rows.iter().zip(&mut sums) {
            for (v, sums) in sums.iter_mut().enumerate().take(vectors::<D>()) {
                *sums = kernel.load_sums(row, at + v * D::LANES);
            }
        }
        for (chunk, b) in b.enumerate() {
            if D::GROUPS == 1 {
                // Row by row, so that activations take one register at a time.
                let weights = load_weights(kernel, b);
                for (a, sums) in a.iter().zip(&mut sums) {
                    let activations = kernel.load_activations(&a[chunk]);
                    add_row::<D, 0>(kernel, activations, &weights, sums);
                }
                continue;
            }
            let mut activations = [kernel.load_activations(&a[0][chunk]); R];
            for r in 1..R {
                activations[r] = kernel.load_activations(&a[r][chunk]);
            }
            let mut groups = b.chunks_exact(blocks);
            add_group::<D, R, 0>(kernel, &activations, groups.next(), &mut sums);
            add_group::<D, R, 1>(kernel, &activations, groups.next(), &mut sums);
            add_group::<D, R, 2>(kernel, &activations, groups.next(), &mut sums);
            add_group::<D, R, 3>(kernel, &activations, groups.next(), &mut sums);
        }
        for (row, sums) in rows.iter_mut().zip(sums) {
            for (v, sums) in sums.into_iter().enumerate().take(vectors::<D>()) {
                kernel.store_sums(sums, row, at + v * D::LANES);
            }
        }
    }
}

/// The vectors across a panel.
const fn vectors<D: DotProduct>() -> usize {
    D::BLOCKS * COLUMNS / D::LANES
}

/// Adds the products of one group, whose weights are in as many blocks as there are across a panel.
#[inline(always)]
fn add_group<D: DotProduct, const R: usize, const GROUP: usize>(
    kernel: D,
    activations: &[D::Activations; R],
    blocks: Option<&[Block]>,
    sums: &mut [[D::Sums; MOST]; R],
) {
    let Some(blocks) = blocks else { return };
    let weights = load_weights(kernel, blocks);
    for (sums, activations) in sums.iter_mut().zip(activations) {
        add_row::<D, GROUP>(kernel, *activations, &weights, sums);
    }
}

/// The weights of one group, vector by vector.
#[inline(always)]
fn load_weights<D: DotProduct>(kernel: D, blocks: &[Block]) -> [D::Weights; MOST] {
    let parts = COLUMNS / D::LANES;
    let mut weights = [kernel.load_weights(&blocks[0], 0); MOST];
    for (v, weights) in weights.iter_mut().enumerate().take(vectors::<D>()) {
        *weights = kernel.load_weights(&blocks[v / parts], v % parts);
    }
    weights
}

/// Adds the products of one row with them.
#[inline(always)]
fn add_row<D: DotProduct, const GROUP: usize>(
    kernel: D,
    activations: D::Activations,
    weights: &[D::Weights; MOST],
    sums: &mut [D::Sums; MOST],
) {
    for (sums, weights) in sums.iter_mut().zip(weights).take(vectors::<D>()) {
        *sums = kernel.add_products::<GROUP>(*sums, activations, *weights);
    }
}

#[cfg(test)]
pub(in crate::gemm) mod model;
#[cfg(test)]
pub(in crate::gemm) mod tests;

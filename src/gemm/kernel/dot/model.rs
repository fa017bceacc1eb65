//! Models of dot-product instructions: what the manuals say that they do, in plain Rust over arrays.

use std::marker::PhantomData;

use super::DotProduct;
use crate::gemm::kernel::{SumRow, Task};
use crate::gemm::pack::Block;

/// An instruction, and the tile of the kernel that uses it.
pub(super) trait Model: Copy + Send + Sync {
    const ROWS: usize;
    const SIGNED: bool;
    /// Adds the products of four bytes of activations and four of weights to a sum.
    fn add_four(sum: i32, activations: [u8; 4], weights: [i8; 4]) -> i32;
}

/// `vpdpbusd` (Intel's Software Developer's Manual, volume 2): the activations are extended with zeros, the weights with
/// their signs, and the products added without saturation, so modulo 2³².
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Vpdpbusd;

impl Model for Vpdpbusd {
    const ROWS: usize = 6;
    const SIGNED: bool = false;

    fn add_four(sum: i32, activations: [u8; 4], weights: [i8; 4]) -> i32 {
        let products = (0..4).map(|i| i32::from(activations[i]) * i32::from(weights[i]));
        products.fold(sum, i32::wrapping_add)
    }
}

/// `sdot` by element (Arm's Architecture Reference Manual): both are extended with their signs, and the products
/// added modulo 2³².
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Sdot;

impl Model for Sdot {
    const ROWS: usize = 6;
    const SIGNED: bool = true;

    fn add_four(sum: i32, activations: [u8; 4], weights: [i8; 4]) -> i32 {
        let products = (0..4).map(|i| i32::from(activations[i] as i8) * i32::from(weights[i]));
        products.fold(sum, i32::wrapping_add)
    }
}

/// A kernel on vectors of `LANES` sums, whose instruction picks one of `GROUPS` groups of activations
/// for all of them.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Modelled<M, const LANES: usize, const GROUPS: usize>(
    pub(super) PhantomData<M>,
);

impl<M: Model, const LANES: usize, const GROUPS: usize> DotProduct for Modelled<M, LANES, GROUPS> {
    const ROWS: usize = M::ROWS;
    const BLOCKS: usize = 1;
    const LANES: usize = LANES;
    const GROUPS: usize = GROUPS;
    const SIGNED: bool = M::SIGNED;
    type Chunk = [[u8; 4]; GROUPS];
    type Activations = [[u8; 4]; GROUPS];
    type Weights = [[i8; 4]; LANES];
    type Sums = [i32; LANES];

    #[inline(always)]
    fn enter<T: Task>(self, task: T) {
        task.run();
    }

    fn chunks(bytes: &[u8]) -> &[Self::Chunk] {
        bytes.as_chunks().0.as_chunks().0
    }

    fn load_activations(self, chunk: &Self::Chunk) -> Self::Activations {
        *chunk
    }

    fn load_weights(self, block: &Block, part: usize) -> Self::Weights {
        block.0.as_chunks().0.as_chunks().0[part]
    }

    fn zero(self) -> Self::Sums {
        [0; LANES]
    }

    fn load_sums(self, row: &SumRow, at: usize) -> Self::Sums {
        std::array::from_fn(|lane| row[at + lane])
    }

    fn store_sums(self, sums: Self::Sums, row: &mut SumRow, at: usize) {
        row[at..at + LANES].copy_from_slice(&sums);
    }

    fn add_products<const GROUP: usize>(
        self,
        sums: Self::Sums,
        activations: Self::Activations,
        weights: Self::Weights,
    ) -> Self::Sums {
        std::array::from_fn(|lane| M::add_four(sums[lane], activations[GROUP], weights[lane]))
    }
}

//! AArch64 with the dot-product extension: `sdot` multiplies 16 signed bytes by 16 signed ones, of
//! which four are picked by an index and serve for all columns.
//!
//! Written as assembly, because the intrinsic is not stable.
#![allow(unsafe_code)]

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use super::dot::DotProduct;
use super::{SumRow, Task};
use crate::gemm::pack::Block;

/// The proof that this CPU has the dot product: only [`detect`](Self::detect) makes one.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct NeonDotprod(());

impl NeonDotprod {
    pub(in crate::gemm) fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("dotprod").then_some(Self(()))
    }
}

#[target_feature(enable = "neon,dotprod")]
fn enter<T: Task>(task: T) {
    task.run();
}

impl DotProduct for NeonDotprod {
    // 24 vectors of sums, 6 of activations and 2 of weights: all 32 registers.
    const ROWS: usize = 6;
    const BLOCKS: usize = 1;
    const LANES: usize = 4;
    const GROUPS: usize = 4;
    const SIGNED: bool = true;
    type Chunk = [u8; 16];
    type Activations = uint8x16_t;
    type Weights = int8x16_t;
    type Sums = int32x4_t;

    #[inline(always)]
    fn enter<T: Task>(self, task: T) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { enter(task) }
    }

    #[inline(always)]
    fn chunks(bytes: &[u8]) -> &[Self::Chunk] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn load_activations(self, chunk: &Self::Chunk) -> uint8x16_t {
        // SAFETY: 16 readable bytes.
        unsafe { vld1q_u8(chunk.as_ptr()) }
    }

    #[inline(always)]
    fn load_weights(self, block: &Block, part: usize) -> int8x16_t {
        let bytes = &block.0.as_chunks::<16>().0[part];
        // SAFETY: 16 readable bytes.
        unsafe { vld1q_s8(bytes.as_ptr()) }
    }

    #[inline(always)]
    fn zero(self) -> int32x4_t {
        // SAFETY: every AArch64 CPU with `std` has NEON.
        unsafe { vdupq_n_s32(0) }
    }

    #[inline(always)]
    fn load_sums(self, row: &SumRow, at: usize) -> int32x4_t {
        let sums = &row[at..at + 4];
        // SAFETY: 4 readable numbers of 32 bits.
        unsafe { vld1q_s32(sums.as_ptr()) }
    }

    #[inline(always)]
    fn store_sums(self, sums: int32x4_t, row: &mut SumRow, at: usize) {
        let place = &mut row[at..at + 4];
        // SAFETY: 4 writable numbers of 32 bits.
        unsafe { vst1q_s32(place.as_mut_ptr(), sums) }
    }

    #[inline(always)]
    fn add_products<const GROUP: usize>(
        self,
        mut sums: int32x4_t,
        activations: uint8x16_t,
        weights: int8x16_t,
    ) -> int32x4_t {
        // SAFETY: `self` proves that the CPU has the instruction. It reads and writes the registers
        // named, and nothing else. `GROUP` is 0 to 3.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sums:v}.4s, {weights:v}.16b, {activations:v}.4b[{group}]",
                sums = inout(vreg) sums,
                weights = in(vreg) weights,
                activations = in(vreg) activations,
                group = const GROUP,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sums
    }
}

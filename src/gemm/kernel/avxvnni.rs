//! AVX-VNNI: `vpdpbusd` on 32 bytes, for CPUs that have no AVX-512.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::avx2::Avx2;
use super::dot::DotProduct;
use super::{SumRow, Task, avx2};
use crate::gemm::pack::{Block, DEPTHS};

/// The proof that this CPU has AVX2, FMA and AVX-VNNI: only [`detect`](Self::detect) makes one.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct AvxVnni(Avx2);

impl AvxVnni {
    pub(in crate::gemm) fn detect() -> Option<Self> {
        let avx2 = Avx2::detect().filter(|_| is_x86_feature_detected!("avxvnni"));
        avx2.map(Self)
    }

    /// The kernel for 4-bit weights: AVX2's adds up their products in 16 bits, and is faster than to
    /// unpack them for the tile of `vpdpbusd`.
    pub(in crate::gemm) fn for_4_bit_weights(self) -> Avx2 {
        self.0
    }
}

/// `vpdpbusd` on 32 bytes, in one of its two encodings. A value is the proof that the CPU has it, and
/// AVX2.
pub(super) trait Vpdpbusd: Copy + Send + Sync {
    /// As [`MicroKernel::enter`](super::MicroKernel::enter).
    fn enter<T: Task>(self, task: T);
    /// To each sum, adds the products of four unsigned bytes of `a` and four signed ones of `w`.
    fn vpdpbusd(self, sums: __m256i, a: __m256i, w: __m256i) -> __m256i;
}

impl Vpdpbusd for AvxVnni {
    #[inline(always)]
    fn enter<T: Task>(self, task: T) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { enter(task) }
    }

    #[inline(always)]
    fn vpdpbusd(self, sums: __m256i, a: __m256i, w: __m256i) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX-VNNI.
        unsafe { _mm256_dpbusd_avx_epi32(sums, a, w) }
    }
}

#[target_feature(enable = "avx2,fma,avxvnni")]
fn enter<T: Task>(task: T) {
    task.run();
}

impl<V: Vpdpbusd> DotProduct for V {
    const ROWS: usize = 6;
    const BLOCKS: usize = 1;
    const LANES: usize = 8;
    const GROUPS: usize = 1;
    const SIGNED: bool = false;
    type Chunk = [u8; DEPTHS];
    type Activations = __m256i;
    type Weights = __m256i;
    type Sums = __m256i;

    #[inline(always)]
    fn enter<T: Task>(self, task: T) {
        Vpdpbusd::enter(self, task);
    }

    #[inline(always)]
    fn chunks(bytes: &[u8]) -> &[Self::Chunk] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn load_activations(self, chunk: &Self::Chunk) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { _mm256_set1_epi32(i32::from_ne_bytes(*chunk)) }
    }

    #[inline(always)]
    fn load_weights(self, block: &Block, part: usize) -> __m256i {
        let bytes = &block.0.as_chunks::<32>().0[part];
        // SAFETY: 32 readable bytes, and `self` proves that the CPU has AVX2.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn zero(self) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn load_sums(self, row: &SumRow, at: usize) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { avx2::load_sums(row, at) }
    }

    #[inline(always)]
    fn store_sums(self, sums: __m256i, row: &mut SumRow, at: usize) {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { avx2::store_sums(sums, row, at) }
    }

    #[inline(always)]
    fn add_products<const GROUP: usize>(self, sums: __m256i, a: __m256i, w: __m256i) -> __m256i {
        self.vpdpbusd(sums, a, w)
    }
}

//! AVX-512 VNNI: `vpdpbusd` multiplies 64 unsigned bytes by 64 signed ones and adds groups of four
//! products to 32-bit sums, without saturating on the way. Exact by nature.
#![allow(unsafe_code)]
// Loops over arrays of vectors index them: see `avx2`.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::MicroKernel;
use crate::gemm::pack::{Block, COLUMNS, DEPTHS};

/// The proof that this CPU has AVX-512 F, BW, VL and VNNI: only [`detect`](Self::detect) makes one.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Avx512Vnni(());

impl Avx512Vnni {
    pub(in crate::gemm) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma");
        found.then_some(Self(()))
    }
}

impl MicroKernel for Avx512Vnni {
    const ROWS: usize = 12;
    const BLOCKS: usize = 2;
    const SATURATES: bool = false;

    #[inline(always)]
    fn enter<R>(self, job: impl FnOnce() -> R) -> R {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { enter(job) }
    }

    #[inline(always)]
    fn multiply(self, rows: usize, a: &[[u8; DEPTHS]], b: &[Block], tile: &mut [i32]) {
        let (b, tile) = (b.as_chunks::<2>().0, tile.as_chunks_mut::<32>().0);
        // SAFETY: `self` proves that the CPU has the features that each call needs.
        unsafe {
            match rows {
                1 => multiply::<1>(a, b, tile),
                2 => multiply::<2>(a, b, tile),
                3 => multiply::<3>(a, b, tile),
                4 => multiply::<4>(a, b, tile),
                5 => multiply::<5>(a, b, tile),
                6 => multiply::<6>(a, b, tile),
                7 => multiply::<7>(a, b, tile),
                8 => multiply::<8>(a, b, tile),
                9 => multiply::<9>(a, b, tile),
                10 => multiply::<10>(a, b, tile),
                11 => multiply::<11>(a, b, tile),
                _ => multiply::<12>(a, b, tile),
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn enter<R>(job: impl FnOnce() -> R) -> R {
    job()
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn multiply<const R: usize>(a: &[[u8; DEPTHS]], b: &[[Block; 2]], tile: &mut [[i32; 2 * COLUMNS]]) {
    let mut sums = [[_mm512_setzero_si512(); 2]; R];
    for r in 0..R {
        sums[r] = [load_sums(&tile[r], 0), load_sums(&tile[r], 1)];
    }
    for (a, b) in a.as_chunks::<R>().0.iter().zip(b) {
        let b = [load_block(&b[0]), load_block(&b[1])];
        for r in 0..R {
            let a = _mm512_set1_epi32(i32::from_ne_bytes(a[r]));
            sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], a, b[0]);
            sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], a, b[1]);
        }
    }
    for r in 0..R {
        store_sums(sums[r][0], &mut tile[r], 0);
        store_sums(sums[r][1], &mut tile[r], 1);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_block(block: &Block) -> __m512i {
    // SAFETY: a block is 64 readable bytes.
    unsafe { _mm512_loadu_si512(block.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_sums(row: &[i32; 2 * COLUMNS], half: usize) -> __m512i {
    let sums = &row.as_chunks::<COLUMNS>().0[half];
    // SAFETY: 16 readable numbers of 32 bits, 64 bytes.
    unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_sums(sums: __m512i, row: &mut [i32; 2 * COLUMNS], half: usize) {
    let place = &mut row.as_chunks_mut::<COLUMNS>().0[half];
    // SAFETY: 16 writable numbers of 32 bits, 64 bytes.
    unsafe { _mm512_storeu_si512(place.as_mut_ptr().cast(), sums) }
}

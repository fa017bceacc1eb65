//! AVX-512 VNNI: `vpdpbusd` multiplies 64 unsigned bytes by 64 signed ones and adds groups of four
//! products to 32-bit sums, without saturating on the way. Exact by nature.
#![allow(unsafe_code)]
// Loops over arrays of vectors index them: see `avx2`.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::avx2::unpack;
use super::{MicroKernel, SumRow, Task};
use crate::gemm::pack::{Block, COLUMNS, DEPTHS, HalfBlock};

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
    type Activation = u8;

    #[inline(always)]
    fn activations<'a>(bytes: &'a [u8], _room: &'a mut Vec<u8>) -> &'a [u8] {
        bytes
    }

    #[inline(always)]
    fn enter<T: Task>(self, task: T) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { enter(task) }
    }

    #[inline(always)]
    fn unpack(self, halves: &[HalfBlock], blocks: &mut [Block]) {
        // SAFETY: `self` proves that the CPU has AVX2, too.
        unsafe { unpack(halves, blocks) }
    }

    #[inline(always)]
    fn multiply_row(self, a: &[u8], b: &[Block], sums: &mut SumRow) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { multiply_row(a, b.as_chunks::<2>().0, sums) }
    }

    #[inline(always)]
    fn multiply(self, a: &[u8], stride: usize, b: &[Block], sums: &mut [SumRow], at: usize) {
        let b = b.as_chunks::<2>().0;
        // SAFETY: `self` proves that the CPU has the features that each call needs.
        unsafe {
            match sums.len() {
                0 => {}
                1 => multiply::<1>(a, stride, b, sums, at),
                2 => multiply::<2>(a, stride, b, sums, at),
                3 => multiply::<3>(a, stride, b, sums, at),
                4 => multiply::<4>(a, stride, b, sums, at),
                5 => multiply::<5>(a, stride, b, sums, at),
                6 => multiply::<6>(a, stride, b, sums, at),
                7 => multiply::<7>(a, stride, b, sums, at),
                8 => multiply::<8>(a, stride, b, sums, at),
                9 => multiply::<9>(a, stride, b, sums, at),
                10 => multiply::<10>(a, stride, b, sums, at),
                11 => multiply::<11>(a, stride, b, sums, at),
                _ => multiply::<12>(a, stride, b, sums, at),
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn enter<T: Task>(task: T) {
    task.run();
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn multiply<const R: usize>(
    a: &[u8],
    stride: usize,
    b: &[[Block; 2]],
    rows: &mut [SumRow],
    at: usize,
) {
    assert!(b.is_empty() || a.len() >= (R - 1) * stride + b.len() * DEPTHS);
    let mut sums = [[_mm512_setzero_si512(); 2]; R];
    for r in 0..R {
        sums[r] = [load_sums(&rows[r], at), load_sums(&rows[r], at + COLUMNS)];
    }
    for (group, b) in b.iter().enumerate() {
        let b = [load_block(&b[0]), load_block(&b[1])];
        for r in 0..R {
            // SAFETY: r·stride + 4·(group + 1) ≤ (R − 1)·stride + 4·len(b) ≤ len(a), as asserted.
            let a = unsafe { a.as_ptr().add(r * stride + group * DEPTHS).cast::<i32>() };
            // SAFETY: these are 4 readable bytes.
            let a = _mm512_set1_epi32(unsafe { a.read_unaligned() });
            sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], a, b[0]);
            sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], a, b[1]);
        }
    }
    for r in 0..R {
        store_sums(sums[r][0], &mut rows[r], at);
        store_sums(sums[r][1], &mut rows[r], at + COLUMNS);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn multiply_row(a: &[u8], b: &[[Block; 2]], row: &mut SumRow) {
    let groups = b.len() / 2;
    let mut sums = [_mm512_setzero_si512(); 4];
    for (group, a) in a.as_chunks::<DEPTHS>().0.iter().enumerate().take(groups) {
        let a = _mm512_set1_epi32(i32::from_ne_bytes(*a));
        for panel in 0..2 {
            // SAFETY: panel·groups + group < 2·groups ≤ len(b).
            let b = unsafe { b.get_unchecked(panel * groups + group) };
            sums[2 * panel] = _mm512_dpbusd_epi32(sums[2 * panel], a, load_block(&b[0]));
            sums[2 * panel + 1] = _mm512_dpbusd_epi32(sums[2 * panel + 1], a, load_block(&b[1]));
        }
    }
    for i in 0..4 {
        let sum = _mm512_add_epi32(load_sums(row, COLUMNS * i), sums[i]);
        store_sums(sum, row, COLUMNS * i);
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
fn load_sums(row: &SumRow, at: usize) -> __m512i {
    let sums = &row[at..at + COLUMNS];
    // SAFETY: 16 readable numbers of 32 bits, 64 bytes.
    unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_sums(sums: __m512i, row: &mut SumRow, at: usize) {
    let place = &mut row[at..at + COLUMNS];
    // SAFETY: 16 writable numbers of 32 bits, 64 bytes.
    unsafe { _mm512_storeu_si512(place.as_mut_ptr().cast(), sums) }
}

//! AVX2 for any weights: `vpmaddubsw` on the magnitudes of activations, which their signs mask.
//!
//! An activation a less 128 is a = |a| or −|a| with |a| ≤ 128. Where it is negative, all bits of the weight are
//! flipped instead, which makes −w − 1 of w, and |a|·(−w − 1) = a·w − |a|. So a pair of products lies between
//! −128·128·2 = −32 768 and 128·127·2 = 32 512, which 16 bits hold, and what the sum of a row lacks, Σ |a|
//! over its negative activations, is the same in every column. Chapter 17.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // see `avx2`

use std::arch::x86_64::*;

use super::avx2::{Avx2, PANELS, fetch_ahead, load_block, load_sums, store_sums};
use super::{MicroKernel, Panel4, RealRow, SumRow, Task, holds_rows};
use crate::gemm::pack::{Block, COLUMNS, DEPTHS};

/// Holds the proof that this CPU has AVX2.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Avx2Masked(pub(in crate::gemm) Avx2);

/// Four activations of one row: their magnitudes, then their masks.
type Four = [[u8; DEPTHS]; 2];

impl Avx2Masked {
    /// Whether masks cost nothing on this CPU: AMD's with AVX2 start up to four vector instructions a cycle, and
    /// at most two of them may be multiplications. Of this kernel's, two in four are. (Others start three.)
    pub(in crate::gemm) fn costs_nothing() -> bool {
        let vendor = __cpuid(0);
        let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
        matches!(name.as_flattened(), b"AuthenticAMD" | b"HygonGenuine")
    }
}

impl MicroKernel for Avx2Masked {
    // 10 registers for sums, 2 for weights, 1 for ones, 1 for magnitudes, 1 for masks and 1 for products.
    const ROWS: usize = 5;
    const BLOCKS: usize = 1;
    const OFFSET: i32 = 128;
    type Activation = [u8; 2];

    #[inline(always)]
    fn activations<'a>(self, bytes: &'a [u8], room: &'a mut Vec<[u8; 2]>) -> &'a [[u8; 2]] {
        room.resize(bytes.len(), [0; 2]);
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { split(bytes, room) }
        room
    }

    #[inline(always)]
    fn shortfall(self, bytes: &[u8]) -> i32 {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { sum_of_negative(bytes) }
    }

    #[inline(always)]
    fn enter<T: Task>(self, task: T) {
        self.0.enter(task);
    }

    #[inline(always)]
    fn multiply(self, a: &[[u8; 2]], stride: usize, b: &[Block], sums: &mut [SumRow], at: usize) {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe {
            match sums.len() {
                0 => {}
                1 => multiply::<1>(a, stride, b, sums, at),
                2 => multiply::<2>(a, stride, b, sums, at),
                3 => multiply::<3>(a, stride, b, sums, at),
                4 => multiply::<4>(a, stride, b, sums, at),
                _ => multiply::<5>(a, stride, b, sums, at),
            }
        }
    }

    fn multiply_panel(
        self,
        _a: &[[u8; 2]],
        _stride: usize,
        _panel: Panel4<'_>,
        _sums: (&mut [SumRow], &mut [RealRow]),
        _at: usize,
    ) {
        unreachable!("Kernel::for_4_bit_weights is another one");
    }

    #[inline(always)]
    fn multiply_row(self, a: &[[u8; 2]], b: &[Block], sums: &mut SumRow) {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { multiply_row(a, b, sums) }
    }

    #[inline(always)]
    fn transpose(self, rows: &[u8], stride: usize) -> [[u8; 16]; 16] {
        self.0.transpose(rows, stride)
    }
}

#[target_feature(enable = "avx2")]
fn split(bytes: &[u8], out: &mut [[u8; 2]]) {
    let (bytes, rest) = bytes.as_chunks::<16>();
    assert!(rest.is_empty());
    for (bytes, out) in bytes.iter().zip(out.as_chunks_mut::<16>().0) {
        // SAFETY: 16 readable bytes.
        let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        let a = _mm_xor_si128(bytes, _mm_set1_epi8(i8::MIN));
        let masks = _mm_cmpgt_epi8(_mm_setzero_si128(), a);
        let magnitudes = _mm_abs_epi8(a);
        let [low, high] = [
            _mm_unpacklo_epi32(magnitudes, masks),
            _mm_unpackhi_epi32(magnitudes, masks),
        ];
        let both = _mm256_set_m128i(high, low);
        // SAFETY: 32 writable bytes.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), both) }
    }
}

/// Σ max(128 − byte, 0)
#[target_feature(enable = "avx2")]
fn sum_of_negative(bytes: &[u8]) -> i32 {
    let (thirty_twos, rest) = bytes.as_chunks::<32>();
    let mut sums = _mm256_setzero_si256();
    for bytes in thirty_twos {
        // SAFETY: 32 readable bytes.
        let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
        let below = _mm256_subs_epu8(_mm256_set1_epi8(i8::MIN), bytes);
        sums = _mm256_add_epi64(sums, _mm256_sad_epu8(below, _mm256_setzero_si256()));
    }
    let halves = _mm_add_epi64(
        _mm256_castsi256_si128(sums),
        _mm256_extracti128_si256::<1>(sums),
    );
    let sum = _mm_cvtsi128_si32(halves) + _mm_extract_epi32::<2>(halves);
    let rest = rest
        .iter()
        .map(|&byte| i32::from(128u8.saturating_sub(byte)));
    sum + rest.sum::<i32>()
}

#[inline]
#[target_feature(enable = "avx2")]
fn multiply<const R: usize>(
    a: &[[u8; 2]],
    stride: usize,
    b: &[Block],
    rows: &mut [SumRow],
    at: usize,
) {
    assert!(b.is_empty() || holds_rows(a, R, stride, b.len() * DEPTHS));
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    for r in 0..R {
        sums[r] = [load_sums(&rows[r], at), load_sums(&rows[r], at + 8)];
    }
    for (group, b) in b.iter().enumerate() {
        let b = [load_block(b, 0), load_block(b, 1)];
        for r in 0..R {
            // SAFETY: r·stride + 4·(group + 1) ≤ (R − 1)·stride + 4·len(b) ≤ len(a), as asserted.
            let four = unsafe { a.as_ptr().add(r * stride + group * DEPTHS).cast::<Four>() };
            // SAFETY: so these are 4 readable pairs of bytes.
            add_products(&mut sums[r], unsafe { &*four }, b);
        }
    }
    for r in 0..R {
        store_sums(sums[r][0], &mut rows[r], at);
        store_sums(sums[r][1], &mut rows[r], at + 8);
    }
}

/// Adds the products of 4 depths of one row.
#[inline]
#[target_feature(enable = "avx2")]
fn add_products(sums: &mut [__m256i; 2], [magnitudes, masks]: &Four, b: [__m256i; 2]) {
    let ones = _mm256_set1_epi16(1);
    let magnitudes = _mm256_set1_epi32(i32::from_ne_bytes(*magnitudes));
    let masks = _mm256_set1_epi32(i32::from_ne_bytes(*masks));
    for half in 0..2 {
        let weights = _mm256_xor_si256(b[half], masks);
        let pairs = _mm256_maddubs_epi16(magnitudes, weights); // 16 bits hold any
        let fours = _mm256_madd_epi16(pairs, ones);
        sums[half] = _mm256_add_epi32(sums[half], fours);
    }
}

#[target_feature(enable = "avx2")]
fn multiply_row(a: &[[u8; 2]], b: &[Block], row: &mut SumRow) {
    let groups = b.len() / PANELS;
    let fours = a.as_flattened().as_chunks::<DEPTHS>().0.as_chunks::<2>().0;
    for panel in 0..PANELS {
        let at = panel * COLUMNS;
        let mut sums = [load_sums(row, at), load_sums(row, at + 8)];
        for (four, b) in fours.iter().zip(&b[panel * groups..][..groups]) {
            fetch_ahead(b);
            add_products(&mut sums, four, [load_block(b, 0), load_block(b, 1)]);
        }
        store_sums(sums[0], row, at);
        store_sums(sums[1], row, at + 8);
    }
}

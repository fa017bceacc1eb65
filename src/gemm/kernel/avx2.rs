//! AVX2: `vpmaddubsw` on safe pairs of weights, `vpmaddwd` with ones to widen, and the remainders
//! eight columns at a time.
#![allow(unsafe_code)]
// Loops over arrays of vectors index them: through an iterator's closure, which is compiled without
// AVX2, vectors would pass by memory.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::{MicroKernel, STRIP};
use crate::gemm::pack::{Block, COLUMNS, DEPTHS};
use crate::gemm::split::{Quad, Remainders};

/// The proof that this CPU has AVX2 and FMA: only [`detect`](Self::detect) makes one.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Avx2(());

impl Avx2 {
    pub(in crate::gemm) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        found.then_some(Self(()))
    }
}

impl MicroKernel for Avx2 {
    const ROWS: usize = 6;
    const BLOCKS: usize = 1;
    const SATURATES: bool = true;

    #[inline(always)]
    fn enter<R>(self, job: impl FnOnce() -> R) -> R {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { enter(job) }
    }

    #[inline(always)]
    fn multiply(self, rows: usize, a: &[[u8; DEPTHS]], b: &[Block], tile: &mut [i32]) {
        let tile = tile.as_chunks_mut::<COLUMNS>().0;
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe {
            match rows {
                1 => multiply::<1>(a, b, tile),
                2 => multiply::<2>(a, b, tile),
                3 => multiply::<3>(a, b, tile),
                4 => multiply::<4>(a, b, tile),
                5 => multiply::<5>(a, b, tile),
                _ => multiply::<6>(a, b, tile),
            }
        }
    }

    #[inline(always)]
    fn add_remainders(
        self,
        strip: &[[u8; STRIP]],
        remainders: &Remainders,
        first: usize,
        tile: &mut [i32],
    ) {
        let tile = tile.as_chunks_mut::<COLUMNS>().0;
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { add_remainders(strip, remainders, first, tile) }
    }

    #[inline(always)]
    fn transpose(self, rows: &[u8], stride: usize, columns: &mut [[u8; STRIP]], half: usize) {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { transpose_bytes(rows, stride, columns, half) }
    }
}

#[target_feature(enable = "avx2,fma")]
fn enter<R>(job: impl FnOnce() -> R) -> R {
    job()
}

#[target_feature(enable = "avx2")]
fn multiply<const R: usize>(a: &[[u8; DEPTHS]], b: &[Block], tile: &mut [[i32; COLUMNS]]) {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    for r in 0..R {
        sums[r] = [load_sums(&tile[r], 0), load_sums(&tile[r], 1)];
    }
    for (a, b) in a.as_chunks::<R>().0.iter().zip(b) {
        let b = [load_block(b, 0), load_block(b, 1)];
        for r in 0..R {
            let a = _mm256_set1_epi32(i32::from_ne_bytes(a[r]));
            for half in 0..2 {
                let pairs = _mm256_maddubs_epi16(a, b[half]); // 16 bits: every pair is safe
                let fours = _mm256_madd_epi16(pairs, ones);
                sums[r][half] = _mm256_add_epi32(sums[r][half], fours);
            }
        }
    }
    for r in 0..R {
        store_sums(sums[r][0], &mut tile[r], 0);
        store_sums(sums[r][1], &mut tile[r], 1);
    }
}

#[target_feature(enable = "avx2")]
fn add_remainders(
    strip: &[[u8; STRIP]],
    remainders: &Remainders,
    first: usize,
    tile: &mut [[i32; COLUMNS]],
) {
    for half in 0..2 {
        let mut columns = [[_mm256_setzero_si256(); 8]; 4];
        for lane in 0..8 {
            let quads = remainders.column(first + 8 * half + lane);
            let four = strip_times_quads(strip, quads);
            for part in 0..4 {
                columns[part][lane] = four[part];
            }
        }
        // Part p holds rows 4p..4p + 4 and 16 + 4p..16 + 4p + 4, as unpacking left them.
        for (part, columns) in columns.iter().enumerate() {
            let rows = transpose(columns);
            for lane in 0..8 {
                if let Some(sums) = tile.get_mut(4 * part + lane % 4 + 16 * (lane / 4)) {
                    let sum = _mm256_add_epi32(load_sums(sums, half), rows[lane]);
                    store_sums(sum, sums, half);
                }
            }
        }
    }
}

/// Four perfect shuffles of 16 vectors of 16 bytes transpose them.
#[target_feature(enable = "avx2")]
fn transpose_bytes(rows: &[u8], stride: usize, columns: &mut [[u8; STRIP]], half: usize) {
    let mut v = [_mm_setzero_si128(); 16];
    for (row, v) in v.iter_mut().enumerate() {
        let bytes = &rows[row * stride..][..16];
        // SAFETY: 16 readable bytes.
        *v = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
    }
    for _ in 0..4 {
        let mut shuffled = v;
        for i in 0..8 {
            shuffled[2 * i] = _mm_unpacklo_epi8(v[i], v[i + 8]);
            shuffled[2 * i + 1] = _mm_unpackhi_epi8(v[i], v[i + 8]);
        }
        v = shuffled;
    }
    for (column, v) in columns.iter_mut().zip(v) {
        let bytes = &mut column.as_chunks_mut::<16>().0[half];
        // SAFETY: 16 writable bytes.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), v) }
    }
}

/// The sums of one column's remainders over 32 rows: four vectors of eight rows.
#[inline]
#[target_feature(enable = "avx2")]
fn strip_times_quads(strip: &[[u8; STRIP]], quads: &[Quad]) -> [__m256i; 4] {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); 4];
    for quad in quads {
        let ([d0, d1, d2, d3], [w0, w1, w2, w3]) = (quad.depth, quad.weight);
        let (a0, a1) = (load_strip(strip, d0), load_strip(strip, d1));
        let (a2, a3) = (load_strip(strip, d2), load_strip(strip, d3));
        let (w01, w23) = (pair(w0, w1), pair(w2, w3));
        // 16 bits: remainders of at most 64 are safe in pairs.
        let low01 = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(a0, a1), w01);
        let high01 = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(a0, a1), w01);
        let low23 = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(a2, a3), w23);
        let high23 = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(a2, a3), w23);
        let rows = [
            _mm256_unpacklo_epi16(low01, low23),
            _mm256_unpackhi_epi16(low01, low23),
            _mm256_unpacklo_epi16(high01, high23),
            _mm256_unpackhi_epi16(high01, high23),
        ];
        for part in 0..4 {
            sums[part] = _mm256_add_epi32(sums[part], _mm256_madd_epi16(rows[part], ones));
        }
    }
    sums
}

#[inline]
#[target_feature(enable = "avx2")]
fn pair(w0: i8, w1: i8) -> __m256i {
    _mm256_set1_epi16(i16::from_le_bytes([w0 as u8, w1 as u8]))
}

/// Eight vectors of eight numbers become the vectors of their first, second, … numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(v: &[__m256i; 8]) -> [__m256i; 8] {
    let mut fours = *v; // after the loop: lanes 0..4 of numbers 0 to 3, then of 4 to 7
    for half in [0, 4] {
        let (low0, high0) = interleave(v[half], v[half + 1]);
        let (low1, high1) = interleave(v[half + 2], v[half + 3]);
        fours[half] = _mm256_unpacklo_epi64(low0, low1);
        fours[half + 1] = _mm256_unpackhi_epi64(low0, low1);
        fours[half + 2] = _mm256_unpacklo_epi64(high0, high1);
        fours[half + 3] = _mm256_unpackhi_epi64(high0, high1);
    }
    let mut rows = fours;
    for i in 0..4 {
        rows[i] = _mm256_permute2x128_si256::<0x20>(fours[i], fours[i + 4]);
        rows[i + 4] = _mm256_permute2x128_si256::<0x31>(fours[i], fours[i + 4]);
    }
    rows
}

#[inline]
#[target_feature(enable = "avx2")]
fn interleave(a: __m256i, b: __m256i) -> (__m256i, __m256i) {
    (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_strip(strip: &[[u8; STRIP]], depth: u32) -> __m256i {
    let bytes = &strip[depth as usize];
    // SAFETY: 32 readable bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_block(block: &Block, half: usize) -> __m256i {
    let bytes = &block.0.as_chunks::<32>().0[half];
    // SAFETY: 32 readable bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_sums(row: &[i32; COLUMNS], half: usize) -> __m256i {
    let sums = &row.as_chunks::<8>().0[half];
    // SAFETY: 8 readable numbers of 32 bits, 32 bytes.
    unsafe { _mm256_loadu_si256(sums.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_sums(sums: __m256i, row: &mut [i32; COLUMNS], half: usize) {
    let place = &mut row.as_chunks_mut::<8>().0[half];
    // SAFETY: 8 writable numbers of 32 bits, 32 bytes.
    unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast(), sums) }
}

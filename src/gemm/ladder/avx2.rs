//! The tiles of the steps that choose their multiplication themselves.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // see `kernel::avx2`

use std::arch::x86_64::*;

use super::plain::MultiplyWidenedTile;
use super::tiled::MultiplyTile;
use super::{COLUMNS, ROWS};
use crate::gemm::kernel::avx2::Avx2;
use crate::gemm::pack::Block;

/// 16 columns by 2 depths in 16 bits, column by column.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct WordBlock(pub(super) [[i16; 2]; COLUMNS]);

/// 4 rows of activations, all depths.
type Rows<'a> = [&'a [u8]; ROWS];
/// 4 rows by 2 depths of activations.
type Pairs = [[u16; 2]; ROWS];
/// 4 rows by 4 depths of activations.
type Fours = [[u8; 4]; ROWS];

/// Products of one depth at a time, in 32 bits. Holds the proof that this CPU has AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Longs(pub(super) Avx2);

/// Products of two depths at a time, exact. Holds the proof that this CPU has AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words(pub(super) Avx2);

/// Products of four depths at a time, exact if every pair of weights is safe. Holds the proof that this
/// CPU has AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes(pub(super) Avx2);

impl MultiplyWidenedTile for Longs {
    #[inline(always)]
    fn add(self, a: [&[u8]; ROWS], w: &[i8], stride: usize, sums: &mut [i32], columns: usize) {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { add_longs(a, w, stride, sums, columns) }
    }
}

impl MultiplyTile for Words {
    const DEPTHS: usize = 2;
    type Codes = Pairs;
    type Weights = WordBlock;

    #[inline(always)]
    fn add(self, a: &[Self::Codes], w: &[WordBlock], sums: &mut [i32], columns: usize) {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { add_words(a, w, sums, columns) }
    }
}

impl MultiplyTile for Bytes {
    const DEPTHS: usize = 4;
    type Codes = Fours;
    type Weights = Block;

    #[inline(always)]
    fn add(self, a: &[Self::Codes], w: &[Block], sums: &mut [i32], columns: usize) {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { add_bytes(a, w, sums, columns) }
    }
}

// ANCHOR: add_longs
#[inline]
#[target_feature(enable = "avx2")]
fn add_longs(a: Rows<'_>, w: &[i8], stride: usize, sums: &mut [i32], columns: usize) {
    let mut tile = [[_mm256_setzero_si256(); 2]; ROWS];
    for k in 0..a[0].len() {
        let w = &w[k * stride..][..COLUMNS];
        let w = [load_longs(w, 0), load_longs(w, 1)]; // 8 weights each
        for r in 0..ROWS {
            let a = _mm256_set1_epi32(a[r][k].into()); // the same one eight times
            for half in 0..2 {
                let products = _mm256_mullo_epi32(a, w[half]);
                tile[r][half] = _mm256_add_epi32(tile[r][half], products);
            }
        }
    }
    add_tile(&tile, sums, columns);
}
// ANCHOR_END: add_longs

// ANCHOR: add_words
#[inline]
#[target_feature(enable = "avx2")]
fn add_words(a: &[Pairs], w: &[WordBlock], sums: &mut [i32], columns: usize) {
    let mut tile = [[_mm256_setzero_si256(); 2]; ROWS];
    for (a, w) in a.iter().zip(w) {
        let w = [load_words(w, 0), load_words(w, 1)];
        for r in 0..ROWS {
            let [a0, a1] = a[r].map(i32::from);
            let a = _mm256_set1_epi32(a0 | a1 << 16); // the same pair eight times
            for half in 0..2 {
                let pairs = _mm256_madd_epi16(a, w[half]);
                tile[r][half] = _mm256_add_epi32(tile[r][half], pairs);
            }
        }
    }
    add_tile(&tile, sums, columns);
}
// ANCHOR_END: add_words

// ANCHOR: add_bytes
#[inline]
#[target_feature(enable = "avx2")]
fn add_bytes(a: &[Fours], w: &[Block], sums: &mut [i32], columns: usize) {
    let ones = _mm256_set1_epi16(1);
    let mut tile = [[_mm256_setzero_si256(); 2]; ROWS];
    for (a, w) in a.iter().zip(w) {
        let w = [load_bytes(w, 0), load_bytes(w, 1)];
        for r in 0..ROWS {
            let a = _mm256_set1_epi32(i32::from_le_bytes(a[r]));
            for half in 0..2 {
                let pairs = _mm256_maddubs_epi16(a, w[half]); // exact: they are safe
                let fours = _mm256_madd_epi16(pairs, ones); // in 32 bits
                tile[r][half] = _mm256_add_epi32(tile[r][half], fours);
            }
        }
    }
    add_tile(&tile, sums, columns);
}
// ANCHOR_END: add_bytes

#[inline]
#[target_feature(enable = "avx2")]
fn add_tile(tile: &[[__m256i; 2]; ROWS], sums: &mut [i32], columns: usize) {
    for r in 0..ROWS {
        for half in 0..2 {
            let place = &mut sums[r * columns + 8 * half..][..8];
            // SAFETY: 8 readable numbers of 32 bits, 32 bytes.
            let sum = unsafe { _mm256_loadu_si256(place.as_ptr().cast()) };
            let sum = _mm256_add_epi32(sum, tile[r][half]);
            // SAFETY: 8 writable numbers of 32 bits, 32 bytes.
            unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast(), sum) }
        }
    }
}

/// Columns 8·`half` and following, widened to 32 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn load_longs(w: &[i8], half: usize) -> __m256i {
    let bytes = &w.as_chunks::<8>().0[half];
    // SAFETY: 8 readable bytes.
    _mm256_cvtepi8_epi32(unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) })
}

/// Columns 8·`half` and following.
#[inline]
#[target_feature(enable = "avx2")]
fn load_words(block: &WordBlock, half: usize) -> __m256i {
    let words = &block.0.as_flattened().as_chunks::<16>().0[half];
    // SAFETY: 16 readable numbers of 16 bits, 32 bytes.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

/// Columns 8·`half` and following.
#[inline]
#[target_feature(enable = "avx2")]
fn load_bytes(block: &Block, half: usize) -> __m256i {
    let bytes = &block.0.as_chunks::<32>().0[half];
    // SAFETY: 32 readable bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

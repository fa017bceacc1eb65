//! The tiles of the steps that choose their multiplication themselves.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // see `kernel::avx2`

use std::arch::x86_64::*;
use std::array::from_fn;

use super::tiled::MultiplyTile;
use super::{COLUMNS, ROWS};
use crate::gemm::kernel::avx2::Avx2;
use crate::gemm::pack::Block;

/// 16 columns by 2 depths in 16 bits, column by column.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct WordBlock(pub(super) [[i16; 2]; COLUMNS]);

/// Products of two depths at a time, exact. Holds the proof that this CPU has AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words(pub(super) Avx2);

/// Products of four depths at a time, exact if every pair of weights is safe. Holds the proof that this
/// CPU has AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes(pub(super) Avx2);

impl MultiplyTile for Words {
    const DEPTHS: usize = 2;
    type Code = i16;
    type Block = WordBlock;

    #[inline(always)]
    fn add(self, a: &[i16], stride: usize, w: &[WordBlock], sums: &mut [i32], columns: usize) {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { add_words(a, stride, w, sums, columns) }
    }
}

impl MultiplyTile for Bytes {
    const DEPTHS: usize = 4;
    type Code = u8;
    type Block = Block;

    #[inline(always)]
    fn add(self, a: &[u8], stride: usize, w: &[Block], sums: &mut [i32], columns: usize) {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { add_bytes(a, stride, w, sums, columns) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_words(a: &[i16], stride: usize, w: &[WordBlock], sums: &mut [i32], columns: usize) {
    let rows: [_; ROWS] = from_fn(|r| &a[r * stride..].as_chunks::<2>().0[..w.len()]);
    let mut tile = [[_mm256_setzero_si256(); 2]; ROWS];
    for (group, w) in w.iter().enumerate() {
        let w = [load_words(w, 0), load_words(w, 1)];
        for r in 0..ROWS {
            let [a0, a1] = rows[r][group].map(i32::from);
            let a = _mm256_set1_epi32(a0 | a1 << 16); // the same pair eight times
            for half in 0..2 {
                let pairs = _mm256_madd_epi16(a, w[half]);
                tile[r][half] = _mm256_add_epi32(tile[r][half], pairs);
            }
        }
    }
    add_tile(&tile, sums, columns);
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_bytes(a: &[u8], stride: usize, w: &[Block], sums: &mut [i32], columns: usize) {
    let rows: [_; ROWS] = from_fn(|r| &a[r * stride..].as_chunks::<4>().0[..w.len()]);
    let ones = _mm256_set1_epi16(1);
    let mut tile = [[_mm256_setzero_si256(); 2]; ROWS];
    for (group, w) in w.iter().enumerate() {
        let w = [load_bytes(w, 0), load_bytes(w, 1)];
        for r in 0..ROWS {
            let a = _mm256_set1_epi32(i32::from_le_bytes(rows[r][group]));
            for half in 0..2 {
                let pairs = _mm256_maddubs_epi16(a, w[half]); // exact: the pairs are safe
                let fours = _mm256_madd_epi16(pairs, ones); // in 32 bits
                tile[r][half] = _mm256_add_epi32(tile[r][half], fours);
            }
        }
    }
    add_tile(&tile, sums, columns);
}

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

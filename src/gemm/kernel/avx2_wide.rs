//! AVX2 for weights with so many unsafe pairs that adding the remainders would take longer than to
//! multiply in 16 bits: `vpmaddwd`, which cannot saturate.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // see `avx2`

use std::arch::x86_64::*;

use super::avx2::{Avx2, PANELS, load_sums, store_sums};
use super::{MicroKernel, SumRow, Task, holds_rows};
use crate::gemm::pack::{Block, COLUMNS, DEPTHS};

/// Holds the proof that this CPU has AVX2.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Avx2Wide(pub(in crate::gemm) Avx2);

impl MicroKernel for Avx2Wide {
    const ROWS: usize = 6;
    const BLOCKS: usize = 1;
    type Activation = i16;

    #[inline(always)]
    fn activations<'a>(bytes: &'a [u8], room: &'a mut Vec<i16>) -> &'a [i16] {
        room.clear();
        room.extend(bytes.iter().map(|&byte| i16::from(byte)));
        room
    }

    #[inline(always)]
    fn enter<T: Task>(self, task: T) {
        self.0.enter(task);
    }

    #[inline(always)]
    fn multiply_row(self, a: &[i16], b: &[Block], sums: &mut SumRow) {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { multiply_row(a, b, sums) }
    }

    #[inline(always)]
    fn multiply(self, a: &[i16], stride: usize, b: &[Block], sums: &mut [SumRow], at: usize) {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe {
            match sums.len() {
                0 => {}
                1 => multiply::<1>(a, stride, b, sums, at),
                2 => multiply::<2>(a, stride, b, sums, at),
                3 => multiply::<3>(a, stride, b, sums, at),
                4 => multiply::<4>(a, stride, b, sums, at),
                5 => multiply::<5>(a, stride, b, sums, at),
                _ => multiply::<6>(a, stride, b, sums, at),
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn multiply<const R: usize>(a: &[i16], stride: usize, b: &[Block], rows: &mut [SumRow], at: usize) {
    assert!(b.is_empty() || holds_rows(a, R, stride, b.len() * DEPTHS));
    for half in 0..2 {
        let mut sums = [[_mm256_setzero_si256(); 2]; R];
        for (group, b) in b.iter().enumerate() {
            let b = [load_columns(b, 2 * half), load_columns(b, 2 * half + 1)];
            for r in 0..R {
                // SAFETY: r·stride + 4·(group + 1) ≤ (R − 1)·stride + 4·len(b) ≤ len(a), as asserted.
                let a = unsafe { a.as_ptr().add(r * stride + group * DEPTHS).cast::<i64>() };
                // SAFETY: these are 4 readable numbers of 16 bits, 8 bytes.
                let a = _mm256_set1_epi64x(unsafe { a.read_unaligned() });
                for i in 0..2 {
                    let pairs = _mm256_madd_epi16(a, b[i]); // two sums for each of 4 columns
                    sums[r][i] = _mm256_add_epi32(sums[r][i], pairs);
                }
            }
        }
        for r in 0..R {
            add_columns(sums[r], &mut rows[r], at + 8 * half);
        }
    }
}

/// Adds the sums of eight columns, two for each: those of columns 0 to 3, and of 4 to 7.
#[inline]
#[target_feature(enable = "avx2")]
fn add_columns(sums: [__m256i; 2], row: &mut SumRow, at: usize) {
    let columns = _mm256_hadd_epi32(sums[0], sums[1]); // 0, 1, 4, 5, 2, 3, 6, 7
    let columns = _mm256_permute4x64_epi64::<0b11_01_10_00>(columns);
    store_sums(_mm256_add_epi32(load_sums(row, at), columns), row, at);
}

/// Two panels at a time: more sums than that do not fit the registers.
#[target_feature(enable = "avx2")]
fn multiply_row(a: &[i16], b: &[Block], row: &mut SumRow) {
    let groups = b.len() / PANELS;
    for two in 0..PANELS / 2 {
        let b = &b[2 * two * groups..][..2 * groups];
        let mut sums = [[_mm256_setzero_si256(); 4]; 2];
        for (group, a) in a.as_chunks::<DEPTHS>().0.iter().enumerate().take(groups) {
            let [a0, a1, a2, a3] = a.map(|a| i64::from(a as u16));
            let a = _mm256_set1_epi64x(a0 | a1 << 16 | a2 << 32 | a3 << 48);
            for panel in 0..2 {
                let b = &b[panel * groups + group];
                for quarter in 0..4 {
                    let pairs = _mm256_madd_epi16(a, load_columns(b, quarter));
                    sums[panel][quarter] = _mm256_add_epi32(sums[panel][quarter], pairs);
                }
            }
        }
        for panel in 0..2 {
            let [s0, s1, s2, s3] = sums[panel];
            let at = (2 * two + panel) * COLUMNS;
            add_columns([s0, s1], row, at);
            add_columns([s2, s3], row, at + 8);
        }
    }
}

/// Four columns of a block, widened to 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn load_columns(block: &Block, quarter: usize) -> __m256i {
    let bytes = &block.0.as_chunks::<16>().0[quarter];
    // SAFETY: 16 readable bytes.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

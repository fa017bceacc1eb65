//! AVX2 for any weights: `vpmaddubsw` on the magnitudes of activations, whose signs mask the weights.
//!
//! Less 128, an activation is a = |a| or −|a| with |a| ≤ 128. Where it is negative, all bits of the weight are
//! flipped instead, which makes −w − 1 of w, and |a|·(−w − 1) = a·w − |a|. So two products lie between
//! −128·128·2 = −32 768 and 128·127·2 = 32 512, which 16 bits hold. Of weights as models have them, 16 bits
//! mostly hold even four; `pairs.rs` finds them. What a row's sums lack, Σ |a| over its negative activations,
//! is the same in every column. Chapter 17.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // see `avx2`

use std::arch::x86_64::*;

use super::avx2::{Avx2, fetch_ahead, load_block, load_sums, store_sums};
use super::{MicroKernel, Panel4, RealRow, SumRow, Task, holds_rows};
use crate::gemm::pack::{Block, DEPTHS};
use crate::gemm::pairs::{CHUNK, Part};

/// Holds the proof that this CPU has AVX2.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Avx2Masked(pub(in crate::gemm) Avx2);

/// Four activations of one row: their magnitudes, then their masks.
type Four = [[u8; DEPTHS]; 2];

impl Avx2Masked {
    /// Whether it is preferred to split weights on this CPU. It executes more instructions, but fewer
    /// multiplications, which pays where four vector instructions start in a cycle and two may multiply: on
    /// AMD's, as measured on Zen 5. With three a cycle, as on Intel's, it would lose a seventh, by count.
    pub(in crate::gemm) fn is_preferred() -> bool {
        let vendor = __cpuid(0);
        let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
        matches!(name.as_flattened(), b"AuthenticAMD" | b"HygonGenuine")
    }
}

impl MicroKernel for Avx2Masked {
    // 6 registers for sums, 4 for weights of two groups, 1 for ones, 1 for magnitudes, 1 for masks, 2 for products
    // of one group and 1 for those of the other.
    const ROWS: usize = 3;
    const BLOCKS: usize = 1;
    const CHUNK_GROUPS: usize = CHUNK;
    const PAIRS: bool = true;
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
    fn multiply(
        self,
        a: &[[u8; 2]],
        stride: usize,
        part: Part<'_>,
        sums: &mut [SumRow],
        at: usize,
    ) {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe {
            match sums.len() {
                0 => {}
                1 => multiply::<1>(a, stride, part, sums, at),
                2 => multiply::<2>(a, stride, part, sums, at),
                _ => multiply::<3>(a, stride, part, sums, at),
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

    fn multiply_row(self, _a: &[[u8; 2]], _b: &[Block], _sums: &mut SumRow) {
        unreachable!("one row is multiplied part by part, too: depths have an order");
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
    part: Part<'_>,
    rows: &mut [SumRow],
    at: usize,
) {
    let groups = part.blocks.len();
    assert!(groups == 0 || holds_rows(a, R, stride, groups * DEPTHS));
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    for r in 0..R {
        sums[r] = [load_sums(&rows[r], at), load_sums(&rows[r], at + 8)];
    }
    let four = |r: usize, position: u8| {
        let group = usize::from(position).min(groups - 1);
        // SAFETY: r·stride + 4·(group + 1) ≤ (R − 1)·stride + 4·groups ≤ len(a), as asserted, for r < R and
        // group < groups, which is not 0: this is called for a block. So these are 4 pairs of bytes.
        unsafe { &*a.as_ptr().add(r * stride + group * DEPTHS).cast::<Four>() }
    };
    let (pairs, singles) = part.blocks.split_at(part.paired);
    let (at_pairs, at_singles) = part.positions.split_at(part.paired);
    let (pairs, at_pairs) = (pairs.as_chunks::<2>().0, at_pairs.as_chunks::<2>().0);
    for (b, positions) in pairs.iter().zip(at_pairs) {
        if R == 1 {
            fetch_ahead(&b[0]);
            fetch_ahead(&b[1]);
        }
        for r in 0..R {
            let first = products(four(r, positions[0]), &b[0]);
            let second = products(four(r, positions[1]), &b[1]);
            for half in 0..2 {
                // 16 bits hold the sum, for these weights.
                let pairs = _mm256_add_epi16(first[half], second[half]);
                add_widened(&mut sums[r][half], pairs);
            }
        }
    }
    for (b, position) in singles.iter().zip(at_singles) {
        if R == 1 {
            fetch_ahead(b);
        }
        for r in 0..R {
            let pairs = products(four(r, *position), b);
            for half in 0..2 {
                add_widened(&mut sums[r][half], pairs[half]);
            }
        }
    }
    for r in 0..R {
        store_sums(sums[r][0], &mut rows[r], at);
        store_sums(sums[r][1], &mut rows[r], at + 8);
    }
}

// ANCHOR: products
/// The products of 4 activations, added in pairs. 16 bits hold any.
#[inline]
#[target_feature(enable = "avx2")]
fn products([magnitudes, masks]: &Four, b: &Block) -> [__m256i; 2] {
    let magnitudes = _mm256_set1_epi32(i32::from_ne_bytes(*magnitudes));
    let masks = _mm256_set1_epi32(i32::from_ne_bytes(*masks));
    let mut pairs = [_mm256_setzero_si256(); 2];
    for half in 0..2 {
        let weights = _mm256_xor_si256(load_block(b, half), masks);
        pairs[half] = _mm256_maddubs_epi16(magnitudes, weights);
    }
    pairs
}
// ANCHOR_END: products

#[inline]
#[target_feature(enable = "avx2")]
fn add_widened(sums: &mut __m256i, pairs: __m256i) {
    let fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    *sums = _mm256_add_epi32(*sums, fours);
}

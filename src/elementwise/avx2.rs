//! The element-wise operations in AVX2: 32 elements at a time.
//!
//! Lane by lane these are the portable formulas: a true division, one rounding to the nearest even
//! integer, and saturation, so the codes are the same. `tests/laws/elementwise.rs` holds that.
#![allow(unsafe_code)]

mod blocks;
mod min_max;

use core::arch::x86_64::*;

use super::{Code, portable};
use crate::isa::Isa;
use crate::qparams::QParams;
use blocks::*;
use min_max::min_max;

/// The proof that this CPU has AVX2: only [`detect`](Self::detect) makes one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        Isa::Avx2.runs_here().then_some(Self(()))
    }

    /// As [`portable::quantize`]. With `stream`, most codes go past the caches.
    pub(super) fn quantize<T: Code>(
        self,
        params: QParams,
        x: &[f32],
        out: &mut [T],
        stream: bool,
    ) -> bool {
        // SAFETY: `self` proves that this CPU has AVX2.
        unsafe { quantize(params, x, out, stream) }
    }

    /// As [`portable::dequantize`]. With `stream`, most values go past the caches.
    pub(super) fn dequantize<T: Code>(
        self,
        params: QParams,
        codes: &[T],
        out: &mut [f32],
        stream: bool,
    ) {
        // SAFETY: `self` proves that this CPU has AVX2.
        unsafe { dequantize(params, codes, out, stream) }
    }

    /// As [`portable::min_max`].
    pub(super) fn min_max(self, x: &[f32]) -> Option<(f32, f32)> {
        // SAFETY: `self` proves that this CPU has AVX2.
        unsafe { min_max(x) }
    }
}

/// What turns real numbers into codes, in every lane.
struct Quantizer {
    scale: __m256,
    lowest: __m256,
    highest: __m256,
    zero_point: __m256i,
}

impl Quantizer {
    #[target_feature(enable = "avx2")]
    fn new(params: QParams) -> Self {
        let (range, zero_point) = (params.range(), params.zero_point());
        Self {
            scale: _mm256_set1_ps(params.scale()),
            lowest: _mm256_set1_ps((range.min() - zero_point) as f32),
            highest: _mm256_set1_ps((range.max() - zero_point) as f32),
            zero_point: _mm256_set1_epi32(zero_point),
        }
    }

    /// The codes of 8 values as 32-bit integers; NaN gets some code of the range.
    ///
    /// Saturating before rounding gives the same integer as after, because the limits are
    /// integers. The conversion rounds half to even: Rust code runs in that mode.
    // ANCHOR: codes
    #[inline]
    #[target_feature(enable = "avx2")]
    fn codes(&self, x: __m256) -> __m256i {
        let steps = _mm256_div_ps(x, self.scale);
        let saturated = _mm256_min_ps(_mm256_max_ps(steps, self.lowest), self.highest);
        _mm256_add_epi32(_mm256_cvtps_epi32(saturated), self.zero_point)
    }
    // ANCHOR_END: codes

    /// Quantizes a block, and notes the lanes in which it saw a NaN.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn block<T: Code>(&self, x: &[f32; BLOCK], nan: &mut __m256) -> [__m256i; 2] {
        let [a, b, c, d] = load(x);
        let unordered = _mm256_or_ps(
            _mm256_cmp_ps::<_CMP_UNORD_Q>(a, b),
            _mm256_cmp_ps::<_CMP_UNORD_Q>(c, d),
        );
        *nan = _mm256_or_ps(*nan, unordered);
        narrow::<T>(self.codes(a), self.codes(b), self.codes(c), self.codes(d))
    }
}

#[target_feature(enable = "avx2")]
fn quantize<T: Code>(params: QParams, x: &[f32], out: &mut [T], stream: bool) -> bool {
    let quantizer = Quantizer::new(params);
    let mut nan = _mm256_setzero_ps();
    let (head, blocks, tail) = if stream {
        aligned_blocks(out)
    } else {
        (&mut [][..], &mut [][..], out)
    };
    let (x_head, x) = x.split_at(head.len());
    let (x_blocks, x_tail) = x.split_at(blocks.len() * BLOCK);

    let head_clean = portable::quantize(params, x_head, head);
    for (x, out) in x_blocks.as_chunks().0.iter().zip(blocks) {
        prefetch(x);
        // SAFETY: the fence follows, before anything else touches `blocks`.
        unsafe { store_streaming(quantizer.block::<T>(x, &mut nan), out) };
    }
    if stream {
        _mm_sfence();
    }
    let (x_blocks, x_rest) = x_tail.as_chunks();
    let (blocks, rest) = tail.as_chunks_mut();
    for (x, out) in x_blocks.iter().zip(blocks) {
        store(quantizer.block::<T>(x, &mut nan), out);
    }
    if !rest.is_empty() {
        let (mut x, mut codes) = ([0.0; BLOCK], [T::default(); BLOCK]);
        x[..rest.len()].copy_from_slice(x_rest);
        store(quantizer.block::<T>(&x, &mut nan), &mut codes);
        rest.copy_from_slice(&codes[..rest.len()]);
    }
    head_clean && _mm256_movemask_ps(nan) == 0
}

/// What turns codes into real numbers, in every lane.
struct Dequantizer {
    scale: __m256,
    zero_point: __m256i,
}

impl Dequantizer {
    #[target_feature(enable = "avx2")]
    fn new(params: QParams) -> Self {
        Self {
            scale: _mm256_set1_ps(params.scale()),
            zero_point: _mm256_set1_epi32(params.zero_point()),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn values(&self, codes: __m256i) -> __m256 {
        let steps = _mm256_sub_epi32(codes, self.zero_point);
        _mm256_mul_ps(_mm256_cvtepi32_ps(steps), self.scale)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn block<T: Code>(&self, codes: &[T; BLOCK]) -> [__m256; 4] {
        let [a, b, c, d] = widen(codes);
        [
            self.values(a),
            self.values(b),
            self.values(c),
            self.values(d),
        ]
    }
}

#[target_feature(enable = "avx2")]
fn dequantize<T: Code>(params: QParams, codes: &[T], out: &mut [f32], stream: bool) {
    let dequantizer = Dequantizer::new(params);
    let (head, blocks, tail) = if stream {
        aligned_blocks(out)
    } else {
        (&mut [][..], &mut [][..], out)
    };
    let (head_codes, codes) = codes.split_at(head.len());
    let (block_codes, tail_codes) = codes.split_at(blocks.len() * BLOCK);

    portable::dequantize(params, head_codes, head);
    for (codes, out) in block_codes.as_chunks().0.iter().zip(blocks) {
        // SAFETY: the fence follows, before anything else touches `blocks`.
        unsafe { store_values_streaming(dequantizer.block(codes), out) };
    }
    if stream {
        _mm_sfence();
    }
    let (block_codes, rest_codes) = tail_codes.as_chunks();
    let (blocks, rest) = tail.as_chunks_mut();
    for (codes, out) in block_codes.iter().zip(blocks) {
        store_values(dequantizer.block(codes), out);
    }
    if !rest.is_empty() {
        let (mut codes, mut values) = ([T::default(); BLOCK], [0.0; BLOCK]);
        codes[..rest.len()].copy_from_slice(rest_codes);
        store_values(dequantizer.block(&codes), &mut values);
        rest.copy_from_slice(&values[..rest.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qparams::QRange;

    /// The public functions stream only what is too large for the caches; this is the same code on
    /// all small lengths and alignments.
    #[test]
    fn streaming_stores_write_what_plain_ones_write() {
        let Some(avx2) = Avx2::detect() else { return };
        let x: Vec<f32> = (0..200).map(|i| i as f32 * 0.37 - 30.0).collect();
        let bytes = QParams::new(0.25, 100, QRange::U8).unwrap();
        let words = QParams::new(0.001, -7, QRange::I16).unwrap();
        for start in 0..33 {
            for len in (0..=167).filter(|len| len % 32 < 3 || len % 7 == 0) {
                let span = start..start + len;
                streams_as_plain::<u8>(avx2, bytes, &x[span.clone()], start);
                streams_as_plain::<i16>(avx2, words, &x[span], start);
            }
        }
    }

    fn streams_as_plain<T: Code>(avx2: Avx2, params: QParams, x: &[f32], start: usize) {
        let span = start..start + x.len();
        let (mut plain, mut streamed) = (vec![T::default(); 240], vec![T::default(); 240]);
        assert!(avx2.quantize(params, x, &mut plain[span.clone()], false));
        assert!(avx2.quantize(params, x, &mut streamed[span.clone()], true));
        assert_eq!(plain, streamed);

        let codes = &plain[span.clone()];
        let (mut plain, mut streamed) = (vec![0.0; 240], vec![0.0; 240]);
        avx2.dequantize(params, codes, &mut plain[span.clone()], false);
        avx2.dequantize(params, codes, &mut streamed[span], true);
        assert_eq!(plain, streamed);
    }

    #[test]
    fn streaming_quantization_sees_a_nan_anywhere() {
        let Some(avx2) = Avx2::detect() else { return };
        let params = QParams::new(0.25, 100, QRange::U8).unwrap();
        for nan in 0..150 {
            let mut x = [1.0; 150];
            x[nan] = f32::NAN;
            assert!(!avx2.quantize(params, &x, &mut [0u8; 150], true));
        }
    }
}

//! Blocks of 32 elements: into registers, narrowed, widened, and out again.

use core::arch::x86_64::*;

use crate::elementwise::Code;

/// Elements in a block: 32 one-byte codes fill a register.
pub(super) const BLOCK: usize = 32;

/// A block of 32 elements that starts on a 32-byte boundary, as streaming stores demand.
#[repr(C, align(32))]
pub(super) struct Aligned<T>([T; BLOCK]);

/// Splits `out` into what precedes the first 32-byte boundary, aligned blocks, and the rest.
pub(super) fn aligned_blocks<T: Copy>(out: &mut [T]) -> (&mut [T], &mut [Aligned<T>], &mut [T]) {
    const { assert!(size_of::<Aligned<T>>() == BLOCK * size_of::<T>()) };
    // SAFETY: an `Aligned<T>` is 32 values of `T` without padding (asserted above), so any 32
    // values of `T` are one; `align_to_mut` sees to the alignment.
    unsafe { out.align_to_mut() }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load(x: &[f32; BLOCK]) -> [__m256; 4] {
    let x = x.as_ptr();
    // SAFETY: four times 8 floats are the 32 of the block; no alignment is asked for.
    unsafe {
        [
            _mm256_loadu_ps(x),
            _mm256_loadu_ps(x.add(8)),
            _mm256_loadu_ps(x.add(16)),
            _mm256_loadu_ps(x.add(24)),
        ]
    }
}

/// Asks for what lies half a page behind a block, for a loop that has so much to do for each block
/// that the processor does not fetch far enough ahead by itself. (Of 0.5, 1, 2, 3 and 4 KiB, 2 and 3
/// were the fastest, a quarter faster than none.)
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn prefetch(x: &[f32; BLOCK]) {
    let ahead = x.as_ptr().cast::<i8>().wrapping_add(2048);
    // A hint: it neither faults nor changes anything, whatever the address.
    _mm_prefetch::<_MM_HINT_T0>(ahead);
    _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64));
}

/// The 32 codes of a block as 32-bit integers.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn widen<T: Code>(codes: &[T; BLOCK]) -> [__m256i; 4] {
    let signed = T::STORAGE.min() < 0;
    let codes = codes.as_ptr();
    let eight = |first: usize| {
        // SAFETY: `first` is at most 24, and 8 codes from there, of 1 or 2 bytes each, lie in the
        // block: `Code` is sealed, its types are plain integers. No alignment is asked for.
        unsafe {
            if size_of::<T>() == 1 {
                let bytes = _mm_loadl_epi64(codes.add(first).cast());
                if signed {
                    _mm256_cvtepi8_epi32(bytes)
                } else {
                    _mm256_cvtepu8_epi32(bytes)
                }
            } else {
                let words = _mm_loadu_si128(codes.add(first).cast());
                if signed {
                    _mm256_cvtepi16_epi32(words)
                } else {
                    _mm256_cvtepu16_epi32(words)
                }
            }
        }
    };
    [eight(0), eight(8), eight(16), eight(24)]
}

/// 32 codes of `T` from as many 32-bit integers, which fit. One-byte codes fill the first register.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn narrow<T: Code>(a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> [__m256i; 2] {
    // The packing instructions work within 16-byte halves; the permutations mend the order.
    let signed = T::STORAGE.min() < 0;
    if size_of::<T>() == 1 {
        let (ab, cd) = (_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        let bytes = if signed {
            _mm256_packs_epi16(ab, cd)
        } else {
            _mm256_packus_epi16(ab, cd)
        };
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let bytes = _mm256_permutevar8x32_epi32(bytes, order);
        [bytes, _mm256_setzero_si256()]
    } else {
        let (ab, cd) = if signed {
            (_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d))
        } else {
            (_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d))
        };
        [
            _mm256_permute4x64_epi64::<0b11_01_10_00>(ab),
            _mm256_permute4x64_epi64::<0b11_01_10_00>(cd),
        ]
    }
}

/// Writes what [`narrow`] made.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store<T: Code>([first, second]: [__m256i; 2], out: &mut [T; BLOCK]) {
    let out = out.as_mut_ptr().cast::<__m256i>();
    // SAFETY: 32 codes of 1 byte are one register, of 2 bytes two. No alignment is asked for.
    unsafe {
        _mm256_storeu_si256(out, first);
        if size_of::<T>() == 2 {
            _mm256_storeu_si256(out.add(1), second);
        }
    }
}

/// As [`store`], past the caches.
///
/// # Safety
/// Such a store is outside the order that the language promises: before anything else reads or
/// writes `out`, this thread must execute `_mm_sfence`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn store_streaming<T: Code>([first, second]: [__m256i; 2], out: &mut Aligned<T>) {
    let out = out.0.as_mut_ptr().cast::<__m256i>();
    // SAFETY: 32 codes of 1 byte are one register, of 2 bytes two; `Aligned` starts on a 32-byte
    // boundary; the caller fences.
    unsafe {
        _mm256_stream_si256(out, first);
        if size_of::<T>() == 2 {
            _mm256_stream_si256(out.add(1), second);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_values(values: [__m256; 4], out: &mut [f32; BLOCK]) {
    let out = out.as_mut_ptr();
    for (i, values) in values.into_iter().enumerate() {
        // SAFETY: four times 8 floats are the 32 of the block; no alignment is asked for.
        unsafe { _mm256_storeu_ps(out.add(8 * i), values) }
    }
}

/// As [`store_values`], past the caches.
///
/// # Safety
/// As [`store_streaming`].
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn store_values_streaming(values: [__m256; 4], out: &mut Aligned<f32>) {
    let out = out.0.as_mut_ptr();
    for (i, values) in values.into_iter().enumerate() {
        // SAFETY: four times 8 floats are the 32 of the block, which starts on a 32-byte boundary;
        // the caller fences.
        unsafe { _mm256_stream_ps(out.add(8 * i), values) }
    }
}

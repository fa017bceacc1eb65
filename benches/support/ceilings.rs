//! What one core can move to and from memory: reading alone, and a copy whose stores go past the caches.

/// Reads every value once; the result keeps the compiler from leaving it out.
pub fn read(x: &[f32]) -> u32 {
    x.iter().fold(0, |bits, value| bits ^ value.to_bits())
}

/// Copies `from` to `to` with non-temporal stores; false if this CPU or target has no AVX2.
#[cfg(target_arch = "x86_64")]
pub fn stream_copy(from: &[f32], to: &mut [f32]) -> bool {
    if !is_x86_feature_detected!("avx2") {
        return false;
    }
    // SAFETY: AVX2 was detected above.
    unsafe { copy(from, to) }
    true
}

#[cfg(not(target_arch = "x86_64"))]
pub fn stream_copy(_: &[f32], _: &mut [f32]) -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn copy(from: &[f32], to: &mut [f32]) {
    use std::arch::x86_64::*;
    let head = to.as_ptr().align_offset(32).min(to.len());
    to[..head].copy_from_slice(&from[..head]);
    let (from, to) = (&from[head..], &mut to[head..]);
    let (from_blocks, from_rest) = from.as_chunks::<16>();
    let (to_blocks, to_rest) = to.as_chunks_mut::<16>();
    for (from, to) in from_blocks.iter().zip(to_blocks) {
        // SAFETY: both blocks are 16 floats, two registers; `to` started on a 32-byte boundary and
        // each block is 64 bytes long.
        unsafe {
            let first = _mm256_loadu_ps(from.as_ptr());
            let second = _mm256_loadu_ps(from.as_ptr().add(8));
            _mm256_stream_ps(to.as_mut_ptr(), first);
            _mm256_stream_ps(to.as_mut_ptr().add(8), second);
        }
    }
    _mm_sfence();
    to_rest.copy_from_slice(from_rest);
}

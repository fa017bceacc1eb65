//! What one core can move to and from memory: reading alone, and a copy whose stores go past the caches.

/// Reads every value once; the result keeps the compiler from leaving it out.
pub fn read(x: &[f32]) -> u32 {
    x.iter().fold(0, |bits, value| bits ^ value.to_bits())
}

/// The same as eight streams side by side, each with a prefetch some lines ahead, which keeps more
/// cache lines under way at a time; one stream on a CPU or target without AVX2. Up to 127 values at
/// the end are left out.
pub fn read_eight_streams(x: &[f32]) -> u32 {
    read_streams::<8, 8>(x)
}

/// The same as two streams, left to the prefetcher of the processor.
pub fn read_two_streams(x: &[f32]) -> u32 {
    read_streams::<2, 0>(x)
}

fn read_streams<const STREAMS: usize, const AHEAD: usize>(x: &[f32]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 was detected above.
        return unsafe { streams::<STREAMS, AHEAD>(x) };
    }
    read(x)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn streams<const STREAMS: usize, const AHEAD: usize>(x: &[f32]) -> u32 {
    use std::arch::x86_64::*;
    let (lines, _) = x.as_chunks::<16>();
    let length = lines.len() / STREAMS;
    let mut bits = [_mm256_setzero_si256(); STREAMS];
    for i in 0..length {
        for (stream, bits) in bits.iter_mut().enumerate() {
            let line = lines[stream * length + i].as_ptr();
            // SAFETY: a line is 16 floats, two registers. A prefetch may have any address.
            unsafe {
                if AHEAD > 0 {
                    _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(16 * AHEAD).cast());
                }
                let first = _mm256_loadu_si256(line.cast());
                let second = _mm256_loadu_si256(line.add(8).cast());
                *bits = _mm256_xor_si256(*bits, _mm256_xor_si256(first, second));
            }
        }
    }
    let both = bits
        .into_iter()
        .fold(_mm256_setzero_si256(), |a, b| _mm256_xor_si256(a, b));
    _mm256_extract_epi32::<0>(both) as u32
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

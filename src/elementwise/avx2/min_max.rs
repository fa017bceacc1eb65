//! The smallest and the largest value, 32 at a time.

use core::arch::x86_64::*;

use super::blocks::*;
use super::portable;

/// The ends of what was seen so far, in every lane.
struct Ends {
    lo: [__m256; 4],
    hi: [__m256; 4],
    nan: __m256,
}

impl Ends {
    #[target_feature(enable = "avx2")]
    fn new() -> Self {
        Self {
            lo: [_mm256_set1_ps(f32::INFINITY); 4],
            hi: [_mm256_set1_ps(f32::NEG_INFINITY); 4],
            nan: _mm256_setzero_ps(),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn see(&mut self, x: &[f32; BLOCK]) {
        let x = load(x);
        for (i, &x) in x.iter().enumerate() {
            self.lo[i] = _mm256_min_ps(self.lo[i], x);
            self.hi[i] = _mm256_max_ps(self.hi[i], x);
        }
        let unordered = _mm256_or_ps(
            _mm256_cmp_ps::<_CMP_UNORD_Q>(x[0], x[1]),
            _mm256_cmp_ps::<_CMP_UNORD_Q>(x[2], x[3]),
        );
        self.nan = _mm256_or_ps(self.nan, unordered);
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn min_max(x: &[f32]) -> Option<(f32, f32)> {
    let mut seen = Ends::new();
    let (blocks, rest) = x.as_chunks();
    // Four places are read in turns: each is a stream of its own to the processor, which fetches
    // ahead in all of them.
    let quarter = blocks.len() / 4;
    for block in 0..quarter {
        for stream in 0..4 {
            seen.see(&blocks[stream * quarter + block]);
        }
    }
    for block in &blocks[4 * quarter..] {
        seen.see(block);
    }
    // A NaN may have wiped out what a lane of `lo` and `hi` knew, but then they are not used. An
    // infinity reaches one of them.
    if _mm256_movemask_ps(seen.nan) != 0 {
        return None;
    }
    let (mut lanes, mut ends) = ([0.0; BLOCK], (f32::INFINITY, f32::NEG_INFINITY));
    store_values(seen.lo, &mut lanes);
    ends.0 = lanes.into_iter().fold(ends.0, f32::min);
    store_values(seen.hi, &mut lanes);
    ends.1 = lanes.into_iter().fold(ends.1, f32::max);
    if !rest.is_empty() {
        let (lo, hi) = portable::min_max(rest)?;
        ends = (ends.0.min(lo), ends.1.max(hi));
    }
    (ends.0.is_finite() && ends.1.is_finite()).then_some(ends)
}

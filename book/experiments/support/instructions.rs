//! Models of the instructions that multiply bytes: what their manuals say, over arrays. Chapter 16.
//!
//! A model runs on every machine; where the machine has the instruction, a test compares the two.

use std::array::from_fn;

/// 32 products u8 × i8, added in neighbouring pairs. A sum that does not fit 16 bits saturates.
// ANCHOR: vpmaddubsw
pub fn vpmaddubsw(a: [u8; 32], w: [i8; 32]) -> [i16; 16] {
    from_fn(|i| {
        let product = |j: usize| i32::from(a[j]) * i32::from(w[j]);
        let sum = product(2 * i) + product(2 * i + 1);
        sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16
    })
}
// ANCHOR_END: vpmaddubsw

/// 16 products i16 × i16, added in neighbouring pairs, in 32 bits.
// ANCHOR: vpmaddwd
pub fn vpmaddwd(a: [i16; 16], b: [i16; 16]) -> [i32; 8] {
    from_fn(|i| {
        let product = |j: usize| i32::from(a[j]) * i32::from(b[j]);
        product(2 * i).wrapping_add(product(2 * i + 1))
    })
}
// ANCHOR_END: vpmaddwd

/// 32 products u8 × i8, each four neighbours added to one of 8 sums, in 32 bits.
// ANCHOR: vpdpbusd
pub fn vpdpbusd(sums: [i32; 8], a: [u8; 32], w: [i8; 32]) -> [i32; 8] {
    from_fn(|i| {
        let product = |j: usize| i32::from(a[j]) * i32::from(w[j]);
        let four: i32 = (4 * i..4 * i + 4).map(product).sum();
        sums[i].wrapping_add(four)
    })
}
// ANCHOR_END: vpdpbusd

/// A tile of sums.
pub type Sums = [[i32; 16]; 16];

/// 16 × 64 bytes u8 by 64 × 16 i8, fours added to each of 16 × 16 sums, in 32 bits. Line g of the
/// weights holds four depths, 4g and following, of each of 16 columns.
// ANCHOR: tdpbusd
pub fn tdpbusd(sums: Sums, a: [[u8; 64]; 16], w: [[i8; 64]; 16]) -> Sums {
    from_fn(|row| {
        from_fn(|column| {
            let product = |group: usize, i: usize| {
                i32::from(a[row][4 * group + i]) * i32::from(w[group][4 * column + i])
            };
            let add = |sum: i32, group| {
                let four: i32 = (0..4).map(|i| product(group, i)).sum();
                sum.wrapping_add(four)
            };
            (0..16).fold(sums[row][column], add)
        })
    })
}
// ANCHOR_END: tdpbusd

/// Σ a·w as a kernel computes it that uses the fast byte multiply and looks away.
// ANCHOR: dot_bare
pub fn dot_bare(a: &[u8], w: &[i8]) -> i32 {
    let mut sums = [0; 8];
    for (a, w) in a.as_chunks::<32>().0.iter().zip(w.as_chunks::<32>().0) {
        let in_16_bits = vpmaddubsw(*a, *w);
        let in_32_bits = vpmaddwd(in_16_bits, [1; 16]);
        sums = from_fn(|i| sums[i] + in_32_bits[i]);
    }
    sums.iter().sum()
}
// ANCHOR_END: dot_bare

/// Σ a·w, with bytes widened to 16 bits first.
pub fn dot_widened(a: &[u8], w: &[i8]) -> i32 {
    let mut sums = [0; 8];
    for (a, w) in a.as_chunks::<16>().0.iter().zip(w.as_chunks::<16>().0) {
        let products = vpmaddwd(a.map(i16::from), w.map(i16::from));
        sums = from_fn(|i| sums[i] + products[i]);
    }
    sums.iter().sum()
}

/// Σ a·w with `vpdpbusd`.
pub fn dot_vnni(a: &[u8], w: &[i8]) -> i32 {
    let mut sums = [0; 8];
    for (a, w) in a.as_chunks::<32>().0.iter().zip(w.as_chunks::<32>().0) {
        sums = vpdpbusd(sums, *a, *w);
    }
    sums.iter().sum()
}

/// Σ a·w by the definition.
pub fn dot(a: &[u8], w: &[i8]) -> i32 {
    let products = a.iter().zip(w).map(|(&a, &w)| i32::from(a) * i32::from(w));
    products.sum()
}

/// Whether no activations at all can make `vpmaddubsw` saturate on this pair of weights.
// ANCHOR: is_safe
pub fn is_safe(pair: [i8; 2]) -> bool {
    let [w0, w1] = pair.map(i32::from);
    w0.max(0) + w1.max(0) <= 128 && w0.min(0) + w1.min(0) >= -128
}
// ANCHOR_END: is_safe

/// What this CPU's own `vpmaddubsw` returns, if it has AVX2.
pub fn real_vpmaddubsw(a: [u8; 32], w: [i8; 32]) -> Option<[i16; 16]> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 was detected.
        return Some(unsafe { x86::vpmaddubsw(a, w) });
    }
    let _ = (a, w);
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m256i, _mm256_maddubs_epi16};

    #[target_feature(enable = "avx2")]
    pub(super) fn vpmaddubsw(a: [u8; 32], w: [i8; 32]) -> [i16; 16] {
        // SAFETY: all types are 32 bytes of plain integers, of which any bits are a value.
        unsafe {
            let a = std::mem::transmute::<[u8; 32], __m256i>(a);
            let w = std::mem::transmute::<[i8; 32], __m256i>(w);
            std::mem::transmute::<__m256i, [i16; 16]>(_mm256_maddubs_epi16(a, w))
        }
    }
}

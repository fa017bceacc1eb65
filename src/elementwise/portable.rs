//! The definition: the scalar formula in a loop.

use super::Code;
use crate::qparams::QParams;

/// Quantizes each element; false if one of them is NaN.
// ANCHOR: quantize
pub(super) fn quantize<T: Code>(params: QParams, x: &[f32], out: &mut [T]) -> bool {
    let mut clean = true;
    for (code, &value) in out.iter_mut().zip(x) {
        clean &= !value.is_nan();
        *code = T::from_code(params.code(value));
    }
    clean
}
// ANCHOR_END: quantize

/// Dequantizes each element.
pub(super) fn dequantize<T: Code>(params: QParams, codes: &[T], out: &mut [f32]) {
    for (value, &code) in out.iter_mut().zip(codes) {
        *value = params.dequantize(code.code());
    }
}

/// The smallest and the largest element; None if one of them is NaN or infinite.
///
/// Eight independent lanes, because a compiler may not reorder a single chain of comparisons.
pub(super) fn min_max(x: &[f32]) -> Option<(f32, f32)> {
    let (mut lo, mut hi) = ([f32::INFINITY; 8], [f32::NEG_INFINITY; 8]);
    let mut finite = [true; 8];
    let (blocks, rest) = x.as_chunks::<8>();
    let mut last = [x.first().copied()?; 8];
    last[..rest.len()].copy_from_slice(rest);
    for block in blocks.iter().chain([&last]) {
        for lane in 0..8 {
            let value = block[lane];
            finite[lane] &= value.is_finite();
            lo[lane] = if value < lo[lane] { value } else { lo[lane] };
            hi[lane] = if value > hi[lane] { value } else { hi[lane] };
        }
    }
    let ends = (
        lo.into_iter().fold(f32::INFINITY, f32::min),
        hi.into_iter().fold(f32::NEG_INFINITY, f32::max),
    );
    finite.iter().all(|&finite| finite).then_some(ends)
}

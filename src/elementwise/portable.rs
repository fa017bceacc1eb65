//! The definition: the scalar formula in a loop.

use super::Code;
use crate::qparams::QParams;

/// Quantizes each element; false if one of them is NaN.
pub(super) fn quantize<T: Code>(params: QParams, x: &[f32], out: &mut [T]) -> bool {
    let mut clean = true;
    for (code, &value) in out.iter_mut().zip(x) {
        clean &= !value.is_nan();
        *code = T::from_code(params.code(value));
    }
    clean
}

/// Dequantizes each element.
pub(super) fn dequantize<T: Code>(params: QParams, codes: &[T], out: &mut [f32]) {
    for (value, &code) in out.iter_mut().zip(codes) {
        *value = params.dequantize(code.code());
    }
}

/// The smallest and the largest element; None if one of them is NaN or infinite.
pub(super) fn min_max(x: &[f32]) -> Option<(f32, f32)> {
    let (mut lo, mut hi) = (f32::INFINITY, f32::NEG_INFINITY);
    for &value in x {
        if !value.is_finite() {
            return None;
        }
        lo = lo.min(value);
        hi = hi.max(value);
    }
    Some((lo, hi))
}

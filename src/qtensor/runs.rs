//! The element-wise operations on a tensor in row-major order, run by run: a kernel where
//! consecutive elements share a pair, one element at a time where each has its own.

use super::codes::Source;
use crate::elementwise::{Code, Kernel};
use crate::error::{Error, Result};
use crate::qparams::QParams;
use crate::scheme::Granularity;

/// Values to be quantized.
pub(super) struct Values<'a> {
    pub(super) values: &'a [f32],
    pub(super) shape: &'a [usize],
    pub(super) granularity: Granularity,
    pub(super) params: &'a [QParams],
}

impl Source for Values<'_> {
    fn codes<T: Code>(self) -> Result<Vec<T>> {
        let kernel = Kernel::best();
        let mut codes = vec![T::default(); self.values.len()];
        let mut start = 0;
        for run in self.granularity.runs(self.shape) {
            let x = &self.values[start..start + run.len];
            let out = &mut codes[start..start + run.len];
            let params = &self.params[run.pair..];
            let done = if run.shared {
                kernel.quantize(params[0], x, out)
            } else {
                quantize_each(params, x, out)
            };
            done.map_err(|error| offset(error, start))?;
            start += run.len;
        }
        Ok(codes)
    }
}

/// The smallest and largest value of each group of elements that shares a pair, and 0.
pub(super) fn ends(
    values: &[f32],
    shape: &[usize],
    granularity: Granularity,
) -> Result<Vec<(f32, f32)>> {
    let pairs = granularity.params_shape(shape)?.iter().product();
    let kernel = Kernel::best();
    let mut ends = vec![(0.0f32, 0.0f32); pairs];
    let mut start = 0;
    for run in granularity.runs(shape) {
        let x = &values[start..start + run.len];
        let ends = &mut ends[run.pair..];
        if run.shared {
            let found = kernel.min_max(x).map_err(|error| offset(error, start))?;
            widen(&mut ends[0], found);
        } else {
            for (index, (&value, ends)) in x.iter().zip(ends).enumerate() {
                if !value.is_finite() {
                    let index = start + index;
                    return Err(Error::NotFinite { index, value });
                }
                widen(ends, (value, value));
            }
        }
        start += run.len;
    }
    Ok(ends)
}

/// The real numbers that `codes` stand for.
pub(crate) fn dequantize<T: Code>(
    codes: &[T],
    shape: &[usize],
    granularity: Granularity,
    params: &[QParams],
) -> Vec<f32> {
    let kernel = Kernel::best();
    let mut values = vec![0.0; codes.len()];
    let mut start = 0;
    for run in granularity.runs(shape) {
        let codes = &codes[start..start + run.len];
        let out = &mut values[start..start + run.len];
        let params = &params[run.pair..];
        if run.shared {
            kernel
                .dequantize(params[0], codes, out)
                .expect("a run's codes and values have one length");
        } else {
            for ((value, code), pair) in out.iter_mut().zip(codes).zip(params) {
                *value = pair.dequantize(code.code());
            }
        }
        start += run.len;
    }
    values
}

fn quantize_each<T: Code>(params: &[QParams], x: &[f32], out: &mut [T]) -> Result<()> {
    if let Some(index) = x.iter().position(|value| value.is_nan()) {
        return Err(Error::NotANumber { index });
    }
    for ((code, &value), pair) in out.iter_mut().zip(x).zip(params) {
        *code = T::from_code(pair.code(value));
    }
    Ok(())
}

fn widen(ends: &mut (f32, f32), (lo, hi): (f32, f32)) {
    *ends = (ends.0.min(lo), ends.1.max(hi));
}

/// An error inside a run, told with its index in the whole tensor.
fn offset(error: Error, start: usize) -> Error {
    match error {
        Error::NotANumber { index } => Error::NotANumber {
            index: start + index,
        },
        Error::NotFinite { index, value } => Error::NotFinite {
            index: start + index,
            value,
        },
        other => other,
    }
}

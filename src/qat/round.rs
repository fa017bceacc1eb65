//! Rounding on the way there, and on the way back.

use ndarray::{Array1, ArrayD, ArrayViewD};

use crate::elementwise::Kernel;
use crate::error::Result;
use crate::exec::weight_granularity;
use crate::qparams::{QParams, QRange};
use crate::qtensor::choose_params;
use crate::scheme::{Scheme, Symmetry};

/// What a value becomes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounded {
    /// The real number that its code stands for.
    pub(super) value: f32,
    /// Whether the nearest code is beyond the ends of the range.
    pub(super) saturated: bool,
}

impl Rounded {
    /// As [`QParams::fake_quantize`]; NaN stays NaN, and the loss will show it.
    // ANCHOR: of
    #[inline]
    pub(super) fn of(x: f32, pair: QParams) -> Self {
        let [lo, hi] = [pair.range().min(), pair.range().max()];
        let [lo, hi] = [lo, hi].map(|end| (end - pair.zero_point()) as f32);
        let steps = (x / pair.scale()).round_ties_even();
        Self {
            value: steps.clamp(lo, hi) * pair.scale(),
            saturated: steps < lo || steps > hi,
        }
    }
    // ANCHOR_END: of
}

/// The straight-through estimator: given the gradient with respect to x̂, the one with respect to
/// x, and to ln s of each pair.
///
/// With x̂ = s·(clamp(round(x/s) + z) − z), and the rounding taken for the identity,
///
/// - where nothing saturates, ∂x̂/∂x = 1 and ∂x̂/∂ ln s = s·(round(x/s) − x/s) = x̂ − x;
/// - where x saturates, ∂x̂/∂x = 0 and ∂x̂/∂ ln s = x̂, for the end of the range moves with s.
///
/// (Esser et al. 2020; times s for the logarithm.) Chapter 8 derives it.
// ANCHOR: straight_through
pub(super) fn straight_through(
    x: ArrayViewD<'_, f32>,
    pairs: &[QParams],
    gradient: ArrayD<f32>,
) -> (ArrayD<f32>, ArrayD<f32>) {
    let mut scales = vec![0.0f64; pairs.len()];
    let gradient = gradient.as_standard_layout();
    let mut gradients = gradient.iter();
    let through = rounded(x, pairs, |pair, x, rounded| {
        let gradient = gradients.next().copied().unwrap_or(0.0);
        let slope = match rounded.saturated {
            true => rounded.value,
            false => rounded.value - x,
        };
        scales[pair] += f64::from(gradient) * f64::from(slope);
        match rounded.saturated {
            true => 0.0,
            false => gradient,
        }
    });
    let scales = scales.into_iter().map(|scale| scale as f32);
    (through, Array1::from_iter(scales).into_dyn())
}
// ANCHOR_END: straight_through

/// Applies `f` to each value, the number of its pair and what it is rounded to. The pairs share
/// the first axis evenly.
pub(super) fn rounded(
    x: ArrayViewD<'_, f32>,
    pairs: &[QParams],
    mut f: impl FnMut(usize, f32, Rounded) -> f32,
) -> ArrayD<f32> {
    let mut y = x.as_standard_layout().into_owned();
    let share = (y.len() / pairs.len().max(1)).max(1);
    if let Some(values) = y.as_slice_mut() {
        for (values, (number, pair)) in values.chunks_mut(share).zip(pairs.iter().enumerate()) {
            for x in values {
                *x = f(number, *x, Rounded::of(*x, *pair));
            }
        }
    }
    y
}

/// The pairs of the same ranges that reach the largest magnitude of the moment.
///
/// # Errors
/// As [`choose_params`].
pub(super) fn observed(w: ArrayViewD<'_, f32>, pairs: &[QParams]) -> Result<Vec<QParams>> {
    let scheme = Scheme {
        range: pairs.first().map_or(QRange::I8_NARROW, |pair| pair.range()),
        symmetry: Symmetry::Symmetric,
        granularity: weight_granularity(pairs),
    };
    choose_params(w, scheme)
}

/// The pair with both ends moved a part of the way to those of a batch.
///
/// # Errors
/// [`Error::NotFinite`](crate::Error::NotFinite) with the index of a NaN or infinity.
pub(super) fn moved(pair: QParams, x: ArrayViewD<'_, f32>, momentum: f32) -> Result<QParams> {
    let x = x.as_standard_layout();
    let (lo, hi) = Kernel::best().min_max(x.as_slice().unwrap_or_default())?;
    let (old_lo, old_hi) = pair.representable();
    let step = |old: f32, new: f32| (1.0 - momentum) * old + momentum * new;
    QParams::affine(step(old_lo, lo), step(old_hi, hi), pair.range())
}

//! Number formats that the processor at hand may not have, as the lists of values that they hold.

use ndarray::{Array2, ArrayD};

/// What the largest exponent field means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Top {
    /// Infinities and NaN, as in IEEE 754.
    Special,
    /// Ordinary numbers, except that all ones are NaN (E4M3).
    OneNan,
    /// Ordinary numbers (E2M1).
    Ordinary,
}

/// A sign bit, an exponent field with bias 2^(exponent − 1) − 1, and a fraction.
#[derive(Clone, Copy)]
pub struct MiniFloat {
    pub name: &'static str,
    pub exponent: u32,
    pub fraction: u32,
    pub top: Top,
}

const fn float(name: &'static str, exponent: u32, fraction: u32, top: Top) -> MiniFloat {
    MiniFloat {
        name,
        exponent,
        fraction,
        top,
    }
}

pub const F32: MiniFloat = float("f32", 8, 23, Top::Special);
pub const BF16: MiniFloat = float("bf16", 8, 7, Top::Special);
pub const F16: MiniFloat = float("f16", 5, 10, Top::Special);
pub const E5M2: MiniFloat = float("FP8 E5M2", 5, 2, Top::Special);
pub const E4M3: MiniFloat = float("FP8 E4M3", 4, 3, Top::OneNan);
pub const E2M1: MiniFloat = float("FP4 E2M1", 2, 1, Top::Ordinary);

impl MiniFloat {
    pub fn bits(self) -> u32 {
        1 + self.exponent + self.fraction
    }

    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    /// The finite value of a bit pattern without its sign, if it has one.
    // ANCHOR: value
    pub fn value(self, pattern: u32) -> Option<f64> {
        let fields = (
            pattern >> self.fraction,
            pattern & ((1 << self.fraction) - 1),
        );
        let (exponent, fraction) = (fields.0, f64::from(fields.1));
        let last = exponent == (1 << self.exponent) - 1;
        let all_ones = pattern == (1 << (self.exponent + self.fraction)) - 1;
        let finite = match self.top {
            Top::Special => !last,
            Top::OneNan => !all_ones,
            Top::Ordinary => true,
        };
        // Exponent field 0: no hidden 1, and the same step as in field 1.
        let hidden = if exponent == 0 { 0.0 } else { 1.0 };
        let power = exponent.max(1) as i32 - self.bias();
        let significand = hidden + fraction / f64::from(1u32 << self.fraction);
        finite.then(|| significand * 2f64.powi(power))
    }
    // ANCHOR_END: value

    /// The largest finite value.
    pub fn largest(self) -> f64 {
        let patterns = 0..1u32 << (self.exponent + self.fraction);
        patterns
            .rev()
            .find_map(|p| self.value(p))
            .unwrap_or_default()
    }

    /// The smallest value above 0.
    pub fn smallest(self) -> f64 {
        self.value(1).unwrap_or_default()
    }

    /// All finite values in ascending order, 0 once.
    pub fn values(self) -> Vec<f64> {
        let patterns = 0..1u32 << (self.exponent + self.fraction);
        let positive: Vec<f64> = patterns.filter_map(|p| self.value(p)).collect();
        let negative = positive[1..].iter().rev().map(|x| -x);
        negative.chain(positive.iter().copied()).collect()
    }
}

/// The 16 values of NF4: quantiles of the normal distribution, scaled to [−1, 1], with an exact 0,
/// as bitsandbytes makes them. Eight lie above 0 and seven below; the outermost quantile is
/// 0.9677083.
pub fn nf4() -> Vec<f64> {
    const OUTERMOST: f64 = 0.967_708_3;
    let quantiles = |count: i32| {
        (0..count).map(move |i| {
            let share = f64::from(i) / f64::from(count);
            normal_quantile(OUTERMOST + share * (0.5 - OUTERMOST))
        })
    };
    let largest = normal_quantile(OUTERMOST);
    let mut values: Vec<f64> = quantiles(8).chain(quantiles(7).map(|q| -q)).collect();
    values.push(0.0);
    values.sort_by(f64::total_cmp);
    values.iter().map(|value| value / largest).collect()
}

/// The x below which a standard normal number lies with probability `p`, by bisection.
fn normal_quantile(p: f64) -> f64 {
    let (mut lo, mut hi) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = (lo + hi) / 2.0;
        let below = 0.5 * libm::erfc(-middle / std::f64::consts::SQRT_2);
        if below < p { lo = middle } else { hi = middle }
    }
    (lo + hi) / 2.0
}

/// The value of the list that is nearest to `x`.
fn nearest(sorted: &[f64], x: f64) -> f64 {
    let above = sorted.partition_point(|value| *value < x);
    let candidates = &sorted[above.saturating_sub(1)..(above + 1).min(sorted.len())];
    let distance = |value: &f64| (value - x).abs();
    let best = candidates
        .iter()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)));
    best.copied().unwrap_or(0.0)
}

/// Each run of `size` weights scaled so that its largest meets the largest value of the format,
/// then moved to the nearest value. `power_of_two` chooses the scale as the MX formats do: two to
/// the floor of log₂ of the largest weight, less the format's largest exponent.
pub fn on_grid(
    weights: &Array2<f32>,
    values: &[f64],
    size: usize,
    power_of_two: bool,
) -> ArrayD<f32> {
    let top = values.iter().fold(0.0, |a: f64, &b| a.max(b));
    let mut restored = weights.clone().into_raw_vec_and_offset().0;
    for group in restored.chunks_mut(size) {
        let reach = group
            .iter()
            .fold(0.0, |a: f64, w| a.max(f64::from(w.abs())));
        let scale = match power_of_two {
            true => 2f64.powi((reach.log2().floor() - top.log2().floor()) as i32),
            false => reach / top,
        };
        for w in group {
            *w = (scale * nearest(values, f64::from(*w) / scale)) as f32;
        }
    }
    ArrayD::from_shape_vec(weights.shape(), restored).unwrap_or_default()
}

//! Quantizers that are wrong in one way each, so that the harness can say which way yours is.

use super::Question;
use fewer_bits::{QParams, QRange};

/// What a quantizer is told before it sees a value.
#[derive(Clone, Copy)]
pub struct Pair {
    qmin: i32,
    qmax: i32,
    scale: f32,
    zero_point: i32,
}

type Quantize = fn(Pair, f32) -> i64;
type Choose = fn(i32, i32, &[f32]) -> (f32, i64);

/// A quantizer that is wrong in one way.
pub struct Mistake {
    /// What it does: "A quantizer that …".
    pub does: &'static str,
    quantize: Quantize,
    choose: Choose,
}

impl Mistake {
    /// Its answer to a question.
    pub fn answer(&self, question: &Question) -> String {
        match *question {
            Question::Quantize {
                qmin,
                qmax,
                scale,
                zero_point,
                ref x,
            } => {
                let pair = Pair {
                    qmin,
                    qmax,
                    scale,
                    zero_point,
                };
                let codes = x.iter().map(|&x| (self.quantize)(pair, x).to_string());
                codes.collect::<Vec<_>>().join(" ")
            }
            Question::Choose { qmin, qmax, ref x } => {
                let (scale, zero_point) = (self.choose)(qmin, qmax, x);
                format!("{} {zero_point}", super::number(scale))
            }
        }
    }
}

/// The crate itself, which makes none of them.
pub const RIGHT: Mistake = Mistake {
    does: "is the crate",
    quantize: |p, x| pair_of(p).quantize(x).expect("not NaN").into(),
    choose: |qmin, qmax, x| {
        let (lo, hi) = ends(x);
        let p = QParams::affine(lo, hi, range_of(qmin, qmax)).expect("a usable interval");
        (p.scale(), p.zero_point().into())
    },
};

const fn quantizing(does: &'static str, quantize: Quantize) -> Mistake {
    Mistake {
        does,
        quantize,
        ..RIGHT
    }
}

const fn choosing(does: &'static str, choose: Choose) -> Mistake {
    Mistake {
        does,
        choose,
        ..RIGHT
    }
}

/// The mistakes. Chapters 3 and 4 say where we have met some of them.
pub const MISTAKES: [Mistake; 17] = [
    quantizing("rounds half away from zero", |p, x| {
        shifted(p, (x / p.scale).round())
    }),
    quantizing("rounds by adding 0.5 and taking the floor", |p, x| {
        shifted(p, (x / p.scale + 0.5).floor())
    }),
    quantizing("cuts the fraction off", |p, x| {
        shifted(p, (x / p.scale).trunc())
    }),
    quantizing("multiplies by 1/s", |p, x| {
        shifted(p, (x * (1.0 / p.scale)).round_ties_even())
    }),
    quantizing("divides in f64", |p, x| {
        let quotient = f64::from(x) / f64::from(p.scale);
        shifted(p, quotient.round_ties_even() as f32)
    }),
    quantizing("adds the zero point before it rounds", |p, x| {
        let sum = x / p.scale + p.zero_point as f32;
        (sum.round_ties_even() as i64).clamp(p.qmin.into(), p.qmax.into())
    }),
    quantizing("saturates before it adds the zero point", |p, x| {
        let steps = (x / p.scale).round_ties_even();
        shifted(p, steps.clamp(p.qmin as f32, p.qmax as f32))
    }),
    quantizing("casts instead of saturating, so that codes wrap", |p, x| {
        let (first, codes) = (i64::from(p.qmin), i64::from(p.qmax - p.qmin) + 1);
        let code = unclamped(p, (x / p.scale).round_ties_even());
        (code.saturating_sub(first)).rem_euclid(codes) + first
    }),
    quantizing(
        "converts to a 32-bit integer before it saturates",
        |p, x| {
            let steps = (x / p.scale).round_ties_even();
            // What the x86 instruction returns for a number that is too large.
            let fits = (-2_147_483_648.0..2_147_483_648.0).contains(&steps);
            shifted(p, if fits { steps } else { i32::MIN as f32 })
        },
    ),
    quantizing("takes subnormal numbers for 0", |p, x| {
        let x = if x.is_subnormal() { 0.0 } else { x };
        shifted(p, (x / p.scale).round_ties_even())
    }),
    choosing(
        "does not widen the interval, and clamps the zero point",
        |qmin, qmax, x| {
            let (scale, zero_point) = not_widened(qmin, qmax, x);
            (scale, zero_point.clamp(qmin.into(), qmax.into()))
        },
    ),
    choosing("does not widen the interval", not_widened),
    choosing("adds before it rounds the zero point", |qmin, qmax, x| {
        let (scale, _) = (RIGHT.choose)(qmin, qmax, x);
        let zero_point = (qmin as f32 - ends(x).0.min(0.0) / scale).round_ties_even();
        (scale, zero_point as i64)
    }),
    choosing(
        "rounds the zero point half away from zero",
        |qmin, qmax, x| {
            let (scale, _) = (RIGHT.choose)(qmin, qmax, x);
            let steps = (ends(x).0.min(0.0) / scale).round();
            (scale, i64::from(qmin) - steps as i64)
        },
    ),
    choosing(
        "divides by the number of codes, not of steps",
        |qmin, qmax, x| {
            let (lo, hi) = widened(x);
            spread(qmin, lo, (hi - lo) / (qmax - qmin + 1) as f32)
        },
    ),
    choosing("computes in f64", |qmin, qmax, x| {
        let (lo, hi) = widened(x);
        let scale = (f64::from(hi) - f64::from(lo)) / f64::from(qmax - qmin);
        let zero_point = f64::from(qmin) - (f64::from(lo) / scale).round_ties_even();
        (scale as f32, zero_point as i64)
    }),
    choosing("divides by the width of zeros", |qmin, qmax, x| {
        let (lo, hi) = widened(x);
        spread(qmin, lo, (hi - lo) / (qmax - qmin) as f32)
    }),
];

fn range_of(qmin: i32, qmax: i32) -> QRange {
    let bits = 32 - (qmax - qmin).leading_zeros();
    let kinds = [QRange::signed, QRange::unsigned, QRange::narrow];
    let mut ranges = kinds.iter().filter_map(|kind| kind(bits).ok());
    let range = ranges.find(|range| (range.min(), range.max()) == (qmin, qmax));
    range.expect("the vectors have ranges of the crate")
}

fn pair_of(p: Pair) -> QParams {
    let range = range_of(p.qmin, p.qmax);
    QParams::new(p.scale, p.zero_point, range).expect("the vectors have usable pairs")
}

fn unclamped(p: Pair, steps: f32) -> i64 {
    (steps as i64).saturating_add(p.zero_point.into())
}

fn shifted(p: Pair, steps: f32) -> i64 {
    unclamped(p, steps).clamp(p.qmin.into(), p.qmax.into())
}

fn ends(x: &[f32]) -> (f32, f32) {
    let lo = x.iter().copied().fold(f32::INFINITY, f32::min);
    let hi = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    (lo, hi)
}

fn widened(x: &[f32]) -> (f32, f32) {
    let (lo, hi) = ends(x);
    (lo.min(0.0), hi.max(0.0))
}

fn not_widened(qmin: i32, qmax: i32, x: &[f32]) -> (f32, i64) {
    let (lo, hi) = ends(x);
    spread(qmin, lo, (hi - lo) / (qmax - qmin) as f32)
}

fn spread(qmin: i32, lo: f32, scale: f32) -> (f32, i64) {
    let steps = (lo / scale).round_ties_even() as i64;
    (scale, i64::from(qmin).saturating_sub(steps))
}

//! Chapter 4: the lecture's quantizer at its edges: the cast, a constant, an interval without 0.

pub mod support;

use fewer_bits::{QParams, QRange};
use support::{Evidence, Outcome};

const NUMBERS: [f64; 5] = [-1.0, -0.5, 0.0, 0.5, 1.0];

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.text("ch04_cast.md", cast());
    evidence.text("ch04_edges.md", edges()?);
    Ok(())
}

/// The five numbers as codes of [0, 255], then stored as `int8`.
fn cast() -> String {
    let (scale, zero_point) = params(&NUMBERS, 0.0, 255.0);
    let mut table = format!(
        "| x | code (z = {zero_point}) | x̂ | after `astype(int8)` | x̂ | after Rust's `as i8` | x̂ |\n\
         |--:|--:|--:|--:|--:|--:|--:|\n"
    );
    for x in NUMBERS {
        let code = (x / scale + zero_point).round_ties_even().clamp(0.0, 255.0);
        let back = |code: f64| (code - zero_point) * scale;
        let (wrapped, saturated) = (wrap(code), code as i8);
        table += &format!(
            "| {x:.1} | {code} | {:.3} | {wrapped} | {:.3} | {saturated} | {:.3} |\n",
            back(code),
            back(wrapped.into()),
            back(saturated.into()),
        );
    }
    minus(&table)
}

/// NumPy's cast of a number to `int8` on the usual machines: the low eight bits.
// ANCHOR: wrap
fn wrap(code: f64) -> i8 {
    code as i32 as i8
}
// ANCHOR_END: wrap

fn edges() -> Result<String, Box<dyn std::error::Error>> {
    let mut table = String::from(
        "| values | whose | s | z | 0 comes back as | the values come back as |\n|:--|:--|--:|--:|--:|:--|\n",
    );
    for values in [
        vec![3.0; 3],
        vec![0.0; 3],
        vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    ] {
        let (scale, zero_point) = params(&values, -128.0, 127.0);
        let lecture = |x: f64| {
            let code = (x / scale + zero_point).round_ties_even();
            (code.clamp(-128.0, 127.0) - zero_point) * scale
        };
        let (lo, hi) = (values[0] as f32, values[values.len() - 1] as f32);
        let p = QParams::affine(lo, hi, QRange::I8)?;
        let ours = |x: f64| p.fake_quantize(x as f32).map_or(f64::NAN, f64::from);
        table += &format!(
            "| {} | lecture | {} | {} | {} | {} |\n| | crate | {} | {} | {} | {} |\n",
            list(&values, |x| x),
            short(scale),
            short(zero_point),
            short(lecture(0.0)),
            list(&values, lecture),
            short(p.scale().into()),
            p.zero_point(),
            short(ours(0.0)),
            list(&values, ours),
        );
    }
    Ok(minus(&table))
}

/// The lecture's `calculate_quantization_params`, in f64 as NumPy computes it.
fn params(data: &[f64], min_int: f64, max_int: f64) -> (f64, f64) {
    let min = data.iter().copied().fold(f64::INFINITY, f64::min);
    let max = data.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let scale = (max - min) / (max_int - min_int);
    (scale, (min_int - min / scale).round_ties_even())
}

fn list(values: &[f64], f: impl Fn(f64) -> f64) -> String {
    let words: Vec<_> = values.iter().map(|&x| short(f(x))).collect();
    words.join(", ")
}

fn short(x: f64) -> String {
    let text = format!("{x:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.replace("inf", "∞")
}

/// Minus signs as they are printed, but in the line that makes a table.
fn minus(table: &str) -> String {
    table
        .replace('-', "−")
        .replace("−−:", "--:")
        .replace(":−−", ":--")
}

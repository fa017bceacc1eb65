//! Chapter 4: the lecture's five numbers, in the lecture's f64 and in the crate's f32.

pub mod support;

use fewer_bits::{QParams, QRange};
use support::{Evidence, Outcome};

const NUMBERS: [f64; 5] = [-1.0, -0.5, 0.0, 0.5, 1.0];

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let (scale, zero_point) = lecture_params(&NUMBERS, -128.0, 127.0);
    let ours = QParams::affine(-1.0, 1.0, QRange::I8)?;
    let mut table =
        String::from("| x | code in f64 | x̂ | code in f32 | x̂ |\n|--:|--:|--:|--:|--:|\n");
    for x in NUMBERS {
        let lecture = (x / scale + zero_point)
            .round_ties_even()
            .clamp(-128.0, 127.0);
        let code = ours.quantize(x as f32)?;
        table += &format!(
            "| {x:.1} | {lecture} | {:.6} | {code} | {:.6} |\n",
            (lecture - zero_point) * scale,
            ours.dequantize(code)
        );
    }
    table += &format!(
        "\nIn f64, s = {scale:.9} and z = {zero_point}; in f32, s = {:.9} and z = {}.\n",
        ours.scale(),
        ours.zero_point()
    );
    let table = table.replace('-', "−").replace("−−:", "--:");
    evidence.text("ch04_five_numbers.md", table);
    Ok(())
}

/// The lecture's `calculate_quantization_params`, in f64 as NumPy computes it.
fn lecture_params(data: &[f64], min_int: f64, max_int: f64) -> (f64, f64) {
    let min = data.iter().copied().fold(f64::INFINITY, f64::min);
    let max = data.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let scale = (max - min) / (max_int - min_int);
    (scale, (min_int - min / scale).round_ties_even() + 0.0)
}

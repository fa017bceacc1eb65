//! Chapter 7: two rows that share a pair, and that have one each, in 4 bits.

pub mod support;

use std::error::Error;

use fewer_bits::{QParams, QRange};
use support::{Evidence, Outcome};

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.text("ch07_by_hand.md", table()?);
    Ok(())
}

const ROWS: [[f32; 3]; 2] = [[0.2, 1.0, -0.5], [6.0, -1.5, 2.0]];

/// Weights as codes, with the scale 0.1.
const WEIGHTS: [i32; 3] = [3, -2, 7];

/// The pair of some values.
fn pair(values: &[f32]) -> fewer_bits::Result<QParams> {
    let lo = values.iter().copied().fold(f32::INFINITY, f32::min);
    let hi = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    QParams::affine(lo, hi, QRange::U4)
}

fn table() -> Result<String, Box<dyn Error>> {
    let shared = pair(&ROWS.concat())?;
    let mut table = String::from(
        "| row | pair | scale, zero point | codes | sum | result | exact |\n|--:|:--|:--|:--|--:|--:|--:|\n",
    );
    for (row, values) in (1..).zip(ROWS) {
        let exact: f32 = values
            .iter()
            .zip(WEIGHTS)
            .map(|(x, w)| x * w as f32 * 0.1)
            .sum();
        for (whose, pair) in [("shared", shared), ("its own", pair(&values)?)] {
            let mut codes = Vec::new();
            for x in values {
                codes.push(pair.quantize(x)?);
            }
            let steps = codes.iter().map(|q| q - pair.zero_point());
            let sum: i32 = steps.zip(WEIGHTS).map(|(q, w)| q * w).sum();
            let result = sum as f32 * pair.scale() * 0.1;
            let codes: Vec<String> = codes.iter().map(i32::to_string).collect();
            let line = format!(
                "| {row} | {whose} | {:.1}, {} | {} | {sum} | {result:.2} | {exact:.2} |\n",
                pair.scale(),
                pair.zero_point(),
                codes.join(", ")
            );
            table += &line.replace('-', "−");
        }
    }
    Ok(table)
}

//! Chapter 8: one weight with three codes learns, step by step.

pub mod support;

use fewer_bits::exec::Pairs;
use fewer_bits::nn::Simulation;
use fewer_bits::qat::{FakeQuantizer, Ranges};
use fewer_bits::{QParams, QRange};
use ndarray::array;
use support::{Evidence, Outcome};

/// What the output is to be, for the input 1.
const TARGET: f32 = 0.8;
const LEARNING_RATE: f32 = 0.1;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let mut pairs = Pairs::default();
    let pair = QParams::new(1.0, 0, QRange::narrow(2)?)?;
    pairs.weights.insert("only".to_owned(), vec![pair]);
    let mut quantizer = FakeQuantizer::new(pairs, Ranges::Learned)?;

    let mut table =
        String::from("| step | w | ŵ | loss | ∂loss/∂ŵ | new w |\n|--:|--:|--:|--:|--:|--:|\n");
    let mut w = array![0.31f32].into_dyn();
    for step in 1..=8 {
        let rounded = quantizer.weights("only", w.view())?.ok_or("not rounded")?;
        let loss = (rounded[0] - TARGET).powi(2);
        let slope = 2.0 * (&rounded - TARGET);
        let through = quantizer.weights_gradient("only", w.view(), slope.clone());
        let next = &w - &(through * LEARNING_RATE);
        table += &format!(
            "| {step} | {:.2} | {} | {loss:.2} | {:+.1} | {:.2} |\n",
            w[0], rounded[0], slope[0], next[0]
        )
        .replace("| -", "| −");
        w = next;
    }
    evidence.text("ch08_by_hand.md", table);
    Ok(())
}

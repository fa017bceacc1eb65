//! All trained networks under all schemes, in one table: what each costs and what it gives.
//!
//! `cargo run --release --example schemes` prints the table; with `--json` it prints a list of
//! objects instead. The networks are those whose weights are in `book/data/models`. They are scored on
//! Fashion-MNIST's full test set where it is (in the folder that `FASHION_MNIST` names, or where
//! Debian's package `dataset-fashion-mnist` puts it), and otherwise on the committed 1 000 images.
//! The ranges of static quantization come from 512 training images; what is trained with its rounding
//! (`qat`) is read from the files that `ch08_train` made.

pub mod support;

use std::error::Error;

use fewer_bits::QRange;
use fewer_bits::exec::{Rounding, Scope};
use fewer_bits::nn::{Dataset, Network};
use fewer_bits::ptq::{
    Dynamic, Evaluation, Model, Recipe, Static, WeightsOnly, evaluate, weight_scheme,
};
use serde_json::json;
use support::networks;

/// Images in a batch.
const BATCH: usize = 250;

/// One line of the table.
struct Line {
    model: &'static str,
    scheme: &'static str,
    weight_bits: u32,
    activation_bits: u32,
    per_channel: bool,
    result: Evaluation,
}

fn main() -> Result<(), Box<dyn Error>> {
    let as_json = std::env::args().any(|argument| argument == "--json");
    let mut lines = Vec::new();
    for name in networks::NAMES {
        if networks::weights(name).exists() {
            let network = networks::trained(name)?;
            let (calibration, test) = networks::calibration_and_test(name)?;
            if !as_json {
                println!("{name}: {} test images", test.len());
            }
            let first = lines.len();
            every_scheme(name, &network, &calibration, &test, &mut lines)?;
            if !as_json {
                print_table(&lines[first..]);
            }
        }
    }
    if as_json {
        println!(
            "{:#}",
            lines
                .iter()
                .map(Line::to_json)
                .collect::<serde_json::Value>()
        );
    }
    Ok(())
}

/// Quantizes one network by each scheme and scores it.
fn every_scheme(
    model: &'static str,
    network: &Network,
    calibration: &Dataset,
    test: &Dataset,
    lines: &mut Vec<Line>,
) -> Result<(), Box<dyn Error>> {
    let mut add = |scheme, bits: [u32; 2], per_channel, quantized: &dyn Model| {
        let result = evaluate(quantized, test, BATCH)?;
        lines.push(Line {
            model,
            scheme,
            weight_bits: bits[0],
            activation_bits: bits[1],
            per_channel,
            result,
        });
        Ok::<(), fewer_bits::Error>(())
    };
    add("f32", [32, 32], false, network)?;
    for bits in (2..=8).rev() {
        for per_channel in [false, true] {
            let weights = weight_scheme(bits, per_channel)?;
            add(
                "weights",
                [bits, 32],
                per_channel,
                &WeightsOnly::new(network, weights)?,
            )?;
        }
    }
    for bits in [[8, 8], [4, 8], [3, 8], [2, 8], [4, 4]] {
        for per_channel in [false, true] {
            let mut recipe = Recipe {
                weights: weight_scheme(bits[0], per_channel)?,
                ..Recipe::default()
            };
            recipe.activations.range = QRange::unsigned(bits[1])?;
            let batches = [calibration.inputs().clone()];
            let integers = Static::new(network, batches, recipe)?;
            add("static", bits, per_channel, &integers)?;
        }
        if let Some((network, pairs)) = networks::quantized(model, bits)? {
            let integers = Static::with_pairs(&network, &pairs, Rounding::default())?;
            add("qat", bits, true, &integers)?;
        }
    }
    for per_channel in [false, true] {
        let weights = weight_scheme(8, per_channel)?;
        let dynamic = Dynamic::new(network, weights, Scope::Row)?;
        add("dynamic", [8, 8], per_channel, &dynamic)?;
    }
    Ok(())
}

impl Line {
    fn granularity(&self) -> &'static str {
        match self.per_channel {
            true => "per-channel",
            false => "per-tensor",
        }
    }

    fn to_json(&self) -> serde_json::Value {
        json!({
            "model": self.model,
            "scheme": self.scheme,
            "weight_bits": self.weight_bits,
            "activation_bits": self.activation_bits,
            "granularity": self.granularity(),
            "accuracy": self.result.accuracy,
            "loss": self.result.loss,
            "bytes": self.result.bytes,
            "images_per_s": self.result.images_per_s,
        })
    }
}

fn print_table(lines: &[Line]) {
    println!(
        "| scheme | weights | activations | granularity | accuracy | loss | bytes | images/s |"
    );
    println!("|:--|--:|--:|:--|--:|--:|--:|--:|");
    for line in lines {
        let Evaluation {
            loss,
            accuracy,
            bytes,
            images_per_s,
        } = line.result;
        println!(
            "| {} | {} | {} | {} | {:.4} | {loss:.4} | {bytes} | {images_per_s:.0} |",
            line.scheme,
            line.weight_bits,
            line.activation_bits,
            line.granularity(),
            accuracy.unwrap_or(f64::NAN),
        );
    }
    println!();
}

//! All trained networks under all schemes, in one table: what each costs and what it gives.
//!
//! `cargo run --release --example schemes` prints the table; with `--json` it prints a list of
//! objects instead. The networks are those whose weights are in `book/data/models`. They are scored on
//! Fashion-MNIST's full test set where it is (in the folder that `FASHION_MNIST` names, or where
//! Debian's package `dataset-fashion-mnist` puts it), and otherwise on the committed 1 000 images.
//! The ranges of static quantization come from 512 training images.

use std::error::Error;
use std::path::{Path, PathBuf};

use fewer_bits::exec::Scope;
use fewer_bits::io::{LabelledImages, load_network};
use fewer_bits::models;
use fewer_bits::nn::{Dataset, Network, Targets};
use fewer_bits::ptq::{
    Dynamic, Evaluation, Model, Recipe, Static, WeightsOnly, evaluate, weight_scheme,
};
use serde_json::json;

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
    for (name, network) in [
        ("digits", models::digits(0)?),
        ("mlp", models::mlp(0)?),
        ("cnn", models::cnn(0)?),
        ("ds_cnn", models::ds_cnn(0)?),
    ] {
        let weights = data("models").join(format!("{name}.safetensors"));
        if weights.exists() {
            let mut network = network;
            load_network(&weights, &mut network)?;
            let (calibration, test) = match name {
                "digits" => digits()?,
                _ => (committed_fashion("calibration")?, fashion_test()?),
            };
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
    for bits in [8, 4, 2] {
        for per_channel in [false, true] {
            let weights = weight_scheme(bits, per_channel)?;
            let recipe = Recipe {
                weights,
                ..Recipe::default()
            };
            let batches = [calibration.inputs().clone()];
            add(
                "static",
                [bits, 8],
                per_channel,
                &Static::new(network, batches, recipe)?,
            )?;
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

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("book/data")
        .join(name)
}

/// 512 training images to calibrate on, and the last 360 to test.
fn digits() -> Result<(Dataset, Dataset), Box<dyn Error>> {
    let file = |name| data("digits").join(name);
    let (images, labels) = (file("images.idx3-ubyte"), file("labels.idx1-ubyte"));
    let all = dataset(&LabelledImages::read(&images, &labels, 10)?, 16.0)?;
    let part = |from: usize, to: usize| all.select(&(from..to).collect::<Vec<_>>());
    Ok((part(0, 512)?, part(all.len() - 360, all.len())?))
}

fn fashion_test() -> Result<Dataset, Box<dyn Error>> {
    let folder = std::env::var("FASHION_MNIST");
    let folder = folder.unwrap_or("/usr/share/datasets/fashion-mnist".to_owned());
    let folder = Path::new(&folder);
    match folder.join("t10k-images-idx3-ubyte.gz").exists() {
        true => fashion(folder, "t10k"),
        false => committed_fashion("test"),
    }
}

fn committed_fashion(part: &str) -> Result<Dataset, Box<dyn Error>> {
    fashion(&data("fashion"), part)
}

fn fashion(folder: &Path, part: &str) -> Result<Dataset, Box<dyn Error>> {
    let file = |kind: &str| folder.join(format!("{part}-{kind}-ubyte.gz"));
    let images = LabelledImages::read(&file("images-idx3"), &file("labels-idx1"), 10)?;
    dataset(&images, 255.0)
}

fn dataset(images: &LabelledImages, white: f32) -> Result<Dataset, Box<dyn Error>> {
    let targets = Targets::Labels(images.labels().to_vec());
    Ok(Dataset::new(images.inputs(white), targets)?)
}

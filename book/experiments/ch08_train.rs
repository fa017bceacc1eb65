//! Chapter 8: trains the networks of the course on with their rounding in place, and saves them as
//! codes.
//!
//! `cargo run --release --example ch08_train -- mlp 4 8` begins with the committed f32 weights of one
//! network (`digits`, `mlp`, `cnn` or `ds_cnn`), trains with weights of 4 bits and activations of 8,
//! and writes `book/data/models/mlp_w4a8.safetensors`.

pub mod support;

use std::error::Error;
use std::ops::ControlFlow;
use std::time::Instant;

use fewer_bits::exec::{Pairs, Rounding};
use fewer_bits::io::save_quantized;
use fewer_bits::nn::*;
use fewer_bits::ptq::{self, Static, evaluate, weight_scheme};
use fewer_bits::qat::{FakeQuantizer, Ranges};
use fewer_bits::{QRange, Scheme};
use support::networks;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, weight_bits, bits, rest @ ..] = &arguments[..] else {
        return Err("usage: ch08_train NETWORK WEIGHT_BITS ACTIVATION_BITS".into());
    };
    let rate: f32 = rest.first().map_or(Ok(1e-3), |r| r.parse())?;
    let epochs: usize = rest.get(1).map_or(Ok(2), |r| r.parse())?;
    let learned = rest.get(2).is_none_or(|r| r == "learned");
    let (weight_bits, bits): (u32, u32) = (weight_bits.parse()?, bits.parse()?);
    let (training, test) = match name.as_str() {
        "digits" => networks::digits()?,
        _ => (
            networks::full_fashion("train")?.ok_or("no fashion")?,
            networks::full_fashion("t10k")?.ok_or("no fashion")?,
        ),
    };
    let (calibration, _) = networks::calibration_and_test(name)?;
    let trained = networks::trained(name)?;
    let mut network = fold_batch_norm(&trained)?;
    let recipe = ptq::Recipe {
        weights: weight_scheme(weight_bits, true)?,
        activations: Scheme {
            range: QRange::unsigned(bits)?,
            ..Scheme::activations()
        },
        ..ptq::Recipe::default()
    };
    let score = |network: &Network, pairs: &Pairs| {
        evaluate(
            &Static::with_pairs(network, pairs, Rounding::Float)?,
            &test,
            250,
        )
    };
    let float = evaluate(&trained, &test, 250)?;
    println!("f32 {:?}", float);
    let pairs = recipe.choose(&network, [calibration.inputs().clone()])?;
    println!("min-max {:?}", score(&network, &pairs)?);
    let pairs = pairs.fit_weights(&network)?;
    println!("least squares {:?}", score(&network, &pairs)?);
    let ranges = if learned {
        Ranges::Learned
    } else {
        Ranges::Observed { momentum: 0.01 }
    };
    let mut quantizer = FakeQuantizer::new(pairs, ranges)?;
    let training_recipe = Recipe {
        epochs,
        batch: if name == "digits" { 32 } else { 128 },
        learning_rate: rate,
        schedule: Schedule::Cosine,
        seed: 8,
        ..Recipe::default()
    };
    let start = Instant::now();
    train(
        &mut network,
        &training,
        Some(&test),
        &training_recipe,
        &mut quantizer,
        |progress| {
            if let Progress::Epoch(epoch) = progress {
                println!("{epoch:?} {:.1} s", start.elapsed().as_secs_f64());
            }
            ControlFlow::Continue(())
        },
    )?;
    let pairs = quantizer.pairs(&network)?;
    println!("trained {:?}", score(&network, &pairs)?);
    let path = networks::weights(&format!("{name}_w{weight_bits}a{bits}"));
    Ok(save_quantized(&path, &network, &pairs)?)
}

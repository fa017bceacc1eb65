//! Chapter 8: trains the networks of the course on with their rounding in place, and saves them as
//! codes.
//!
//! `cargo run --release --example ch08_train -- mlp 4 8` begins with the committed f32 weights of one
//! network (`digits`, `mlp`, `cnn` or `ds_cnn`), trains with weights of 4 bits and activations of 8,
//! and writes `book/data/models/mlp_w4a8.safetensors`. The test set is watched and chooses nothing.
//! All but `digits` need the full Fashion-MNIST, as `ch05_train` does.

pub mod support;

use std::error::Error;
use std::ops::ControlFlow;
use std::time::Instant;

use fewer_bits::QRange;
use fewer_bits::exec::{Pairs, Rounding};
use fewer_bits::io::save_quantized;
use fewer_bits::nn::*;
use fewer_bits::ptq::{self, Static, weight_scheme};
use fewer_bits::qat::{FakeQuantizer, Ranges};
use indicatif::{ProgressBar, ProgressStyle};
use support::networks;

/// Fewer bits are further from where the training begins, and need larger steps.
fn setting(name: &str, weight_bits: u32) -> Recipe {
    Recipe {
        epochs: match name {
            "digits" => 20,
            "mlp" => 3,
            _ => 1,
        },
        batch: if name == "digits" { 32 } else { 128 },
        learning_rate: if weight_bits < 4 { 1e-3 } else { 5e-4 },
        schedule: Schedule::Cosine,
        seed: 8,
        patience: None,
        augment: (name != "digits").then_some(networks::mirror_some),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, weight_bits, activation_bits] = &arguments[..] else {
        return Err("usage: ch08_train NETWORK WEIGHT_BITS ACTIVATION_BITS".into());
    };
    let (weight_bits, activation_bits) = (weight_bits.parse()?, activation_bits.parse()?);
    let mut network = fold_batch_norm(&networks::trained(name)?)?;
    let (training, test) = networks::training_and_test(name)?;
    let (calibration, _) = networks::calibration_and_test(name)?;

    let mut recipe = ptq::Recipe {
        weights: weight_scheme(weight_bits, true)?,
        ..ptq::Recipe::default()
    };
    recipe.activations.range = QRange::unsigned(activation_bits)?;
    let pairs = recipe.choose(&network, [calibration.inputs().clone()])?;
    report("before", &network, &pairs, &test)?;
    let pairs = pairs.fit_weights(&network)?;
    report("with fitted scales", &network, &pairs, &test)?;

    let mut quantizer = FakeQuantizer::new(pairs, Ranges::Learned)?;
    let recipe = setting(name, weight_bits);
    run(&mut network, &mut quantizer, &training, &test, &recipe)?;
    let pairs = quantizer.pairs(&network)?;
    report("after", &network, &pairs, &test)?;
    let file = format!("{name}_w{weight_bits}a{activation_bits}");
    Ok(save_quantized(&networks::weights(&file), &network, &pairs)?)
}

/// Prints the accuracy of the network in integers.
fn report(when: &str, network: &Network, pairs: &Pairs, test: &Dataset) -> fewer_bits::Result<()> {
    let integers = Static::with_pairs(network, pairs, Rounding::Float)?;
    let score = test.score(250, |x| integers.forward(x.view()))?;
    let (accuracy, loss) = (score.accuracy.unwrap_or(f64::NAN), score.loss);
    println!("{when}: accuracy {accuracy:.4}, loss {loss:.4}");
    Ok(())
}

fn run(
    network: &mut Network,
    quantizer: &mut FakeQuantizer,
    training: &Dataset,
    test: &Dataset,
    recipe: &Recipe,
) -> Result<(), Box<dyn Error>> {
    let bar = ProgressBar::new(0); // draws only on a terminal
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {pos}/{len} steps, {eta} left",
    )?);
    let start = Instant::now();
    let watch = |progress| {
        match progress {
            Progress::Step { done, of } => {
                bar.set_length(of as u64);
                bar.set_position(done as u64);
            }
            Progress::Epoch(epoch) => bar.suspend(|| {
                let accuracy = epoch.validation.and_then(|score| score.accuracy);
                println!(
                    "epoch {:2}: loss {:.4}, test accuracy {:.4}, {:.1} s",
                    epoch.epoch,
                    epoch.training_loss,
                    accuracy.unwrap_or(f64::NAN),
                    start.elapsed().as_secs_f64(),
                );
            }),
        }
        ControlFlow::Continue(())
    };
    // On one of rayon's own threads: a thread beside them would have to wake one for every layer.
    rayon::scope(|_| train(network, training, Some(test), recipe, quantizer, watch))?;
    Ok(())
}

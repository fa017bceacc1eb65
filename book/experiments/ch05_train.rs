//! Chapter 5: trains the networks of the course and saves their weights.
//!
//! `cargo run --release --example ch05_train -- mlp` trains one network (`digits`, `mlp`, `cnn` or
//! `ds_cnn`), prints the losses and the accuracy on the test set after each epoch, and writes the
//! weights to `book/data/models/NAME.safetensors` and what it printed to `NAME.csv` beside it. The
//! test set chooses nothing: the weights are those after the last epoch. The last three need the full
//! Fashion-MNIST in the folder that `FASHION_MNIST` names, or where Debian's package
//! `dataset-fashion-mnist` puts it.

pub mod support;

use std::error::Error;
use std::ops::ControlFlow;
use std::time::Instant;

use fewer_bits::io::{save_network, write_atomically};
use fewer_bits::nn::*;
use indicatif::{ProgressBar, ProgressStyle};
use support::{networks, training};

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or("digits".to_owned());
    let (mut network, recipe) = training::setting(&name)?;
    let (images, test) = networks::training_and_test(&name)?;
    println!("{name}: {} parameters", network.parameter_count());
    let log = run(&mut network, &images, &test, &recipe)?;
    save_network(&networks::weights(&name), &network)?;
    Ok(write_atomically(&networks::log(&name), log.as_bytes())?)
}

/// Trains, and returns the log.
fn run(
    network: &mut Network,
    training: &Dataset,
    test: &Dataset,
    recipe: &Recipe,
) -> Result<String, Box<dyn Error>> {
    let bar = ProgressBar::new(0); // draws only on a terminal
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {pos}/{len} steps, {eta} left",
    )?);
    let mut log = String::from("epoch,training_loss,test_loss,test_accuracy,seconds\n");
    let start = Instant::now();
    let watch = |progress| {
        match progress {
            Progress::Step { done, of } => {
                bar.set_length(of as u64);
                bar.set_position(done as u64);
            }
            Progress::Epoch(epoch) => {
                let line = line(epoch, start.elapsed().as_secs_f64());
                bar.suspend(|| println!("{line}"));
                log += &format!("{line}\n");
            }
        }
        ControlFlow::Continue(())
    };
    // On one of rayon's own threads: a thread beside them would have to wake one for every layer.
    rayon::scope(|_| train(network, training, Some(test), recipe, &mut Exact, watch))?;
    Ok(log)
}

/// A line of the log.
fn line(epoch: Epoch, seconds: f64) -> String {
    let test = epoch.validation;
    format!(
        "{},{:.4},{:.4},{:.4},{seconds:.1}",
        epoch.epoch,
        epoch.training_loss,
        test.map_or(f64::NAN, |score| score.loss),
        test.and_then(|score| score.accuracy).unwrap_or(f64::NAN),
    )
}

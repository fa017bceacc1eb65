//! The laws of `fewer_bits::{calibrate, exec, ptq}`.

mod bad_recipes;
mod dynamic;
mod observers;
mod qat;
mod requantize;
mod simulation;
#[path = "../nn/strategies.rs"]
#[allow(dead_code)]
mod strategies;
mod trained;
mod weights;

use fewer_bits::nn::Network;
use ndarray::{ArrayD, Axis};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;

/// A random network and `samples` samples for it.
fn network(rng: &mut ChaCha8Rng, samples: usize) -> (Network, ArrayD<f32>) {
    let (network, _) = strategies::network(rng);
    let shape = [&[samples], network.input_shape()].concat();
    let x = strategies::uniform(shape, rng);
    (network, x)
}

/// The index of the largest value of each row.
fn predictions(logits: &ArrayD<f32>) -> Vec<usize> {
    let largest = |row: ndarray::ArrayViewD<'_, f32>| {
        let row: Vec<f32> = row.iter().copied().collect();
        (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
    };
    logits.axis_iter(Axis(0)).map(largest).collect()
}

/// Fewer cases: each one is a whole network.
fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(96)
}

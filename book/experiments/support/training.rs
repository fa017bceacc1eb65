//! How the networks of the course were trained, but for quantization.

use std::error::Error;

use fewer_bits::nn::{Network, Recipe, Schedule};

use super::networks;

/// A network before training, and how it is trained. Clothes look as well in a mirror; digits do not.
pub fn setting(name: &str) -> Result<(Network, Recipe), Box<dyn Error>> {
    let network = networks::untrained(name, 1)?;
    let (epochs, learning_rate) = match name {
        "digits" => (100, 2e-3),
        "mlp" => (30, 2e-3),
        "cnn" => (6, 3e-3),
        _ => (4, 5e-3),
    };
    let recipe = Recipe {
        epochs,
        batch: if name == "digits" { 32 } else { 128 },
        learning_rate,
        schedule: Schedule::Cosine,
        seed: 5,
        patience: None,
        augment: (name != "digits").then_some(networks::mirror_some),
    };
    Ok((network, recipe))
}

//! A recipe in, a quantized network out: quantization after training.
//!
//! The one idea: all three kinds fold the batch norms, quantize the weights by one [`Scheme`](crate::Scheme), and
//! differ in what becomes of the activations. [`WeightsOnly`] leaves them in f32 (chapter 5),
//! [`Static`] takes their ranges from calibration data and computes in integers from the first
//! layer's input to the logits (chapter 6), and [`Dynamic`] reads the ranges off each batch
//! (chapter 7).

mod build;
mod dynamic;
mod evaluate;
mod fixed;
mod recipe;
mod weights;

pub use dynamic::Dynamic;
pub use evaluate::{Evaluation, Model, evaluate};
pub use fixed::Static;
pub use recipe::{Recipe, weight_scheme};
pub use weights::WeightsOnly;

use crate::nn::{Layer, Network};
use crate::qtensor::QTensor;

/// The layer with other parameters of the same shapes.
fn with_parameters(layer: &Layer, of: impl Fn(&str) -> Option<Vec<f32>>) -> Layer {
    let mut layer = layer.clone();
    for (name, mut parameter) in layer.parameters_mut() {
        if let Some(values) = of(name) {
            let values = parameter.iter_mut().zip(values);
            values.for_each(|(parameter, value)| *parameter = value);
        }
    }
    layer
}

/// The bias of a layer with weights.
fn bias_of(layer: &Layer) -> Vec<f32> {
    let parameters = layer.parameters().into_iter();
    let bias = parameters.filter(|(name, _)| *name == "bias");
    bias.flat_map(|(_, bias)| bias.iter().copied().collect::<Vec<_>>())
        .collect()
}

/// Bytes of a quantized weight in a file: its codes at their bits, four bytes a scale, and four
/// bytes for the bias of each output.
fn stored_bytes(weight: &QTensor, outputs: usize) -> usize {
    let count: usize = weight.shape().iter().product();
    let codes = weight.params().first().map_or(0, |p| p.range().steps());
    let bits = (i32::BITS - codes.leading_zeros()) as usize;
    (count * bits).div_ceil(8) + 4 * weight.params().len() + 4 * outputs
}

/// Bytes of a network's parameters in f32.
pub fn float_bytes(network: &Network) -> usize {
    4 * network.parameter_count()
}

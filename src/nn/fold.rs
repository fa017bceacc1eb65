//! Folding a batch norm into the layer before it.

use ndarray::{Array, Array1, RemoveAxis};

use super::Network;
use super::layers::*;
use crate::error::Result;

/// The same function without the batch norms that follow a linear or a convolution layer directly:
/// their factor and shift move into that layer's weights and bias.
///
/// With y = factor·x + shift and x = w·a + b for each channel, y = (factor·w)·a + (factor·b +
/// shift). An integer network has then one product and one bias where there were two layers. (Jacob
/// et al. 2018, section 3.2.) A batch norm after any other layer stays.
///
/// # Errors
/// [`Error::NotFinite`](crate::Error::NotFinite), with the layer's name, if a folded weight or bias
/// overflows or the norm's variance is negative.
pub fn fold_batch_norm(network: &Network) -> Result<Network> {
    let mut folded: Vec<(String, Layer)> = Vec::new();
    for (name, layer) in network.layers() {
        let before = folded.last_mut();
        match (before, layer) {
            (Some((_, Layer::Linear(l))), Layer::BatchNorm(norm)) => {
                fold(norm, &mut l.weight, &mut l.bias);
            }
            (Some((_, Layer::Conv2d(l))), Layer::BatchNorm(norm)) => {
                fold(norm, &mut l.weight, &mut l.bias);
            }
            (Some((_, Layer::DepthwiseConv2d(l))), Layer::BatchNorm(norm)) => {
                fold(norm, &mut l.weight, &mut l.bias);
            }
            _ => folded.push((name.to_owned(), layer.clone())),
        }
    }
    for (name, layer) in &folded {
        for (_, parameter) in layer.parameters() {
            check_finite(parameter).map_err(|error| error.at(name))?;
        }
    }
    Network::new(network.input_shape(), folded)
}

/// Multiplies each output channel (axis 0) by the norm's factor.
// ANCHOR: fold
fn fold<D>(norm: &BatchNorm, weight: &mut Array<f32, D>, bias: &mut Array1<f32>)
where
    D: RemoveAxis,
{
    let (factor, shift) = norm.factor_and_shift();
    for (mut channel, factor) in weight.outer_iter_mut().zip(&factor) {
        channel *= *factor;
    }
    *bias = &*bias * &factor + shift;
}
// ANCHOR_END: fold

//! Weights as codes, activations in f32.

use ndarray::{ArrayD, ArrayViewD};

use super::{stored_bytes, with_parameters};
use crate::error::Result;
use crate::nn::{Layer, Network, fold_batch_norm};
use crate::qtensor::QTensor;
use crate::scheme::Scheme;

/// A network whose weights are stored as codes and dequantized before it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightsOnly {
    network: Network,
    bytes: usize,
}

impl WeightsOnly {
    /// Folds the batch norms and quantizes the weights of each layer by `scheme`. The biases stay.
    ///
    /// # Errors
    /// As [`fold_batch_norm`] and [`QTensor::quantize`](crate::QTensor::quantize), with the layer's
    /// name.
    // ANCHOR: new
    pub fn new(network: &Network, scheme: Scheme) -> Result<Self> {
        let folded = fold_batch_norm(network)?;
        let (mut layers, mut bytes) = (Vec::<(String, Layer)>::new(), 0);
        for (site, layer) in folded.layers() {
            let Some(weight) = layer.weight() else {
                layers.push((site.to_owned(), layer.clone()));
                continue;
            };
            let outputs = weight.shape()[0];
            let codes = QTensor::quantize(weight, scheme).map_err(|e| e.at(site))?;
            let layer = with_parameters(layer, |name| {
                (name == "weight").then(|| codes.dequantize().into_iter().collect())
            });
            layers.push((site.to_owned(), layer));
            bytes += stored_bytes(&codes, outputs);
        }
        let network = Network::new(folded.input_shape(), layers)?;
        Ok(Self { network, bytes })
    }
    // ANCHOR_END: new

    /// The network with the weights that the codes stand for.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The outputs for a batch.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn forward(&self, x: ArrayViewD<'_, f32>) -> Result<ArrayD<f32>> {
        self.network.forward(x)
    }

    /// Bytes of codes, scales and biases.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

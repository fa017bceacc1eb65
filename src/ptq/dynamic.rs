//! Weights as codes, activations quantized batch by batch.

use std::collections::BTreeMap;

use ndarray::{ArrayD, ArrayViewD};

use super::{bias_of, stored_bytes};
use crate::error::Result;
use crate::exec::{self, DynamicLayer, Product, Scope};
use crate::nn::{Network, fold_batch_norm};
use crate::qtensor::QTensor;
use crate::scheme::Scheme;

/// A network that multiplies in integers and needs no calibration.
#[derive(Debug, Clone)]
pub struct Dynamic {
    network: Network,
    layers: BTreeMap<String, DynamicLayer>,
    scope: Scope,
    bytes: usize,
}

impl Dynamic {
    /// Folds the batch norms and quantizes the weights by `scheme`, which must be symmetric.
    ///
    /// # Errors
    /// As [`fold_batch_norm`], [`QTensor::quantize`](crate::QTensor::quantize) and [`Product::of`],
    /// with the layer's name.
    pub fn new(network: &Network, scheme: Scheme, scope: Scope) -> Result<Self> {
        let network = fold_batch_norm(network)?;
        let (mut layers, mut bytes) = (BTreeMap::new(), 0);
        for (site, layer) in network.layers() {
            let Some(weight) = layer.weight() else {
                continue;
            };
            let quantized = QTensor::quantize(weight, scheme)
                .and_then(|codes| Ok((Product::of(layer, &codes)?, codes)));
            let (product, codes) = quantized.map_err(|error| error.at(site))?;
            let bias = bias_of(layer);
            bytes += stored_bytes(&codes, bias.len());
            layers.insert(site.to_owned(), DynamicLayer { product, bias });
        }
        Ok(Self {
            network,
            layers,
            scope,
            bytes,
        })
    }

    /// The outputs for a batch.
    ///
    /// # Errors
    /// As [`Network::forward`]; [`Error::NotFinite`](crate::Error::NotFinite), with the layer's
    /// name, where an activation is NaN or infinite.
    pub fn forward(&self, x: ArrayViewD<'_, f32>) -> Result<ArrayD<f32>> {
        self.network.check_input(x.shape())?;
        let mut executor = exec::Dynamic {
            scope: self.scope,
            activations: Scheme::activations(),
            layers: &self.layers,
        };
        self.network.run(&mut executor, x.to_owned())
    }

    /// Bytes of codes, scales and biases.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

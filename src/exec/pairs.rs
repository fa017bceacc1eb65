//! What quantization has to choose for a network: which values become codes, and by which pairs.

use std::collections::{BTreeMap, BTreeSet};

use crate::calibrate::least_squares;
use crate::error::{Error, Result};
use crate::nn::{Activation, INPUT, Layer, Network, Pool};
use crate::qparams::QParams;
use crate::scheme::Granularity;

/// The pairs of a network that is computed in integers.
///
/// The codes of a network whose batch norms are folded depend on nothing else, so calibration,
/// training and a file are three ways to the same thing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pairs {
    /// Of the weights of each layer that has some: one pair, or one for each output.
    pub weights: BTreeMap<String, Vec<QParams>>,
    /// Of each of the [`rounded_sites`].
    pub activations: BTreeMap<String, QParams>,
}

impl Pairs {
    /// Lets the largest weights saturate where that lessens the squared error: the
    /// [`least_squares`] of each group of weights that shares a pair, which must be symmetric.
    ///
    /// # Errors
    /// As [`of_weights`](Self::of_weights) and [`least_squares`], with the layer's name.
    pub fn fit_weights(mut self, network: &Network) -> Result<Self> {
        for (site, layer) in network.layers() {
            let Some(weight) = layer.weight() else {
                continue;
            };
            let pairs = self.of_weights(site)?;
            let weight = weight.as_standard_layout();
            let values = weight.as_slice().unwrap_or_default();
            let share = values.len().div_ceil(pairs.len().max(1)).max(1);
            let groups = values.chunks(share).zip(pairs);
            let fitted = groups.map(|(values, pair)| least_squares(values, pair.range()));
            let fitted: Result<_> = fitted.collect();
            let fitted = fitted.map_err(|error| error.at(site))?;
            self.weights.insert(site.to_owned(), fitted);
        }
        Ok(self)
    }

    /// The pairs of a layer's weights.
    ///
    /// # Errors
    /// [`Error::WrongTensors`] if there are none.
    pub fn of_weights(&self, site: &str) -> Result<&[QParams]> {
        let pairs = self.weights.get(site).map(Vec::as_slice);
        pairs.ok_or_else(|| missing(site, "has no scales for its weights"))
    }

    /// The pair of the values at a site.
    ///
    /// # Errors
    /// [`Error::WrongTensors`] if there is none.
    pub fn of_activations(&self, site: &str) -> Result<QParams> {
        let pair = self.activations.get(site).copied();
        pair.ok_or_else(|| missing(site, "has no scale and zero point for its output"))
    }
}

/// Who shares the pairs of a layer's weights: all, if there is but one.
pub(crate) fn weight_granularity(pairs: &[QParams]) -> Granularity {
    match pairs.len() {
        1 => Granularity::PerTensor,
        _ => Granularity::PerChannel { axis: 0 },
    }
}

fn missing(site: &str, problem: &'static str) -> Error {
    let name = site.to_owned();
    Error::WrongTensors { name, problem }
}

/// Where values are rounded to codes, [`INPUT`] among them.
///
/// That is behind each layer which computes new numbers, with two exceptions: the last product
/// gives the logits as real numbers, and a product followed by a ReLU is rounded behind that, as
/// saturation at the code of 0 is the ReLU. The largest of some codes, or codes in another shape,
/// are codes already.
// ANCHOR: rounded_sites
pub fn rounded_sites(network: &Network) -> BTreeSet<&str> {
    let layers: Vec<_> = network.layers().collect();
    let mut sites = BTreeSet::from([INPUT]);
    for (i, (site, layer)) in layers.iter().enumerate() {
        let next = layers.get(i + 1).map(|(_, layer)| *layer);
        let rounded = match layer {
            Layer::Linear(_) | Layer::Conv2d(_) | Layer::DepthwiseConv2d(_) => {
                next.is_some_and(|next| !is_relu(next))
            }
            Layer::Activation(_) | Layer::BatchNorm(_) => true,
            Layer::Pool(pool) => matches!(pool, Pool::Average(_) | Pool::GlobalAverage),
            Layer::Flatten => false,
        };
        if rounded {
            sites.insert(*site);
        }
    }
    sites
}
// ANCHOR_END: rounded_sites

/// Whether a layer is a part of the requantization of the product before it.
pub(crate) fn is_relu(layer: &Layer) -> bool {
    use Activation::{Relu, Relu6};
    matches!(layer, Layer::Activation(Relu | Relu6))
}

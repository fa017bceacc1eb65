//! Quantization-aware training: learn with the rounding in place.
//!
//! The one idea: rounding is a [`Simulation`], so the training loop stays as it is. On the way there
//! a [`FakeQuantizer`] puts rounded weights and activations in the place of the real ones; on the
//! way back it takes the rounding for the identity where nothing saturated, which is the
//! *straight-through estimator* (Bengio, Léonard and Courville 2013). What the integers will
//! compute is then what the training has seen. Chapter 8.
//!
//! ```
//! use fewer_bits::exec::Rounding;
//! use fewer_bits::nn::{self, Dataset, Targets, fold_batch_norm, train};
//! use fewer_bits::ptq::{self, Static, weight_scheme};
//! use fewer_bits::qat::{FakeQuantizer, Ranges};
//! use fewer_bits::models;
//! use ndarray::{Array1, Array2};
//! use std::ops::ControlFlow;
//!
//! let x = Array2::from_shape_fn((64, 10), |(i, j)| ((7 * i + 3 * j) % 11) as f32 / 5.0 - 1.0);
//! let y = x.sum_axis(ndarray::Axis(1)).into_shape_with_order((64, 1)).unwrap();
//! let data = Dataset::new(x.clone().into_dyn(), Targets::Values(y.into_dyn()))?;
//!
//! // From a network in f32, its batch norms folded, and the pairs that calibration chooses …
//! let mut network = fold_batch_norm(&models::lecture(1)?)?;
//! let recipe = ptq::Recipe { weights: weight_scheme(4, true)?, ..ptq::Recipe::default() };
//! let pairs = recipe.choose(&network, [x.clone().into_dyn()])?;
//! // … training with rounded weights and activations …
//! let mut quantizer = FakeQuantizer::new(pairs, Ranges::Learned)?;
//! let training = nn::Recipe { learning_rate: 0.02, ..nn::Recipe::default() };
//! train(&mut network, &data, None, &training, &mut quantizer, |_| ControlFlow::Continue(()))?;
//! // … leads to integers.
//! let integers = Static::with_pairs(&network, &quantizer.pairs(&network)?, Rounding::Float)?;
//! assert_eq!(integers.forward(x.view().into_dyn())?.shape(), [64, 1]);
//! # Ok::<(), fewer_bits::Error>(())
//! ```

mod round;

use std::collections::BTreeMap;

use ndarray::{Array1, ArrayD, ArrayViewD};

use crate::error::{Error, Result};
use crate::exec::{FakeQuantize, Pairs};
use crate::nn::{Adam, Layer, Network, Simulation, fold_batch_norm};
use crate::qparams::QParams;
use round::{rounded, straight_through};

/// Where the ranges come from while the network is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Ranges {
    /// Of weights, the largest magnitude of the moment; of activations, the moving average of the
    /// ends of each batch, with this momentum. (Jacob et al. 2018, section 3.1.)
    Observed {
        /// The part of the way to a new batch's ends, more than 0 and at most 1.
        momentum: f32,
    },
    /// The scales are parameters, too, and have gradients: those of Esser et al. 2020 (LSQ),
    /// for the scale's logarithm as in Jain et al. 2020 (TQT), so that it stays positive. The zero
    /// points stay.
    Learned,
}

/// Rounds weights and activations to the nearest codes while a network is trained.
///
/// For a network whose batch norms are folded ([`fold_batch_norm`]): a
/// norm that is trained on moves the weights that the integers will have.
#[derive(Debug, Clone)]
pub struct FakeQuantizer {
    pairs: Pairs,
    ranges: Ranges,
    adam: Adam,
    /// ln s of each pair, by site and what of it is rounded.
    scales: BTreeMap<String, ArrayD<f32>>,
    gradients: BTreeMap<String, ArrayD<f32>>,
}

impl FakeQuantizer {
    /// Begins with these pairs, from calibration for instance: those of each layer with weights,
    /// and of each site whose output is to be rounded.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] for a momentum that means nothing.
    pub fn new(pairs: Pairs, ranges: Ranges) -> Result<Self> {
        if let Ranges::Observed { momentum } = ranges
            && !(momentum > 0.0 && momentum <= 1.0)
        {
            return Err(Error::InvalidSetting {
                what: "the momentum",
                value: momentum.to_string(),
                allowed: "it must be more than 0 and at most 1",
            });
        }
        let logarithms = |pairs: &[QParams]| {
            let scales = pairs.iter().map(|pair| pair.scale().ln());
            Array1::from_iter(scales).into_dyn()
        };
        let weights = pairs.weights.iter();
        let weights = weights.map(|(site, pairs)| (weight_name(site), logarithms(pairs)));
        let activations = pairs.activations.iter();
        let activations = activations.map(|(site, pair)| (output_name(site), logarithms(&[*pair])));
        Ok(Self {
            scales: weights.chain(activations).collect(),
            pairs,
            ranges,
            adam: Adam::default(),
            gradients: BTreeMap::new(),
        })
    }

    /// The pairs as they are now, with which
    /// [`Static::with_pairs`](crate::ptq::Static::with_pairs) makes the network in integers.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the layer's name and the index of a NaN or infinity among its
    /// weights; [`Error::InvalidSetting`] with the name of a batch norm that should have been
    /// folded, for the pairs are then not those of the folded weights.
    pub fn pairs(&self, network: &Network) -> Result<Pairs> {
        let folded = fold_batch_norm(network)?;
        if let Some((site, _)) = network.layers().find(|(s, _)| folded.layer(s).is_none()) {
            let error = Error::InvalidSetting {
                what: "a batch norm behind weights",
                value: "one that is not folded".to_owned(),
                allowed: "fold_batch_norm must come before training with rounding",
            };
            return Err(error.at(site));
        }
        let mut pairs = self.pairs.clone();
        for (site, layer) in network.layers() {
            if let Some(weight) = layer.weight() {
                let now = self.weight_pairs(site, weight).map_err(|e| e.at(site))?;
                pairs.weights.insert(site.to_owned(), now);
            }
        }
        Ok(pairs)
    }

    fn weight_pairs(&self, site: &str, w: ArrayViewD<'_, f32>) -> Result<Vec<QParams>> {
        let pairs = self.pairs.of_weights(site)?;
        match self.ranges {
            Ranges::Learned => Ok(pairs.to_vec()),
            Ranges::Observed { .. } => round::observed(w, pairs),
        }
    }

    fn learns(&self) -> bool {
        self.ranges == Ranges::Learned
    }
}

impl Simulation for FakeQuantizer {
    fn weights(&mut self, site: &str, w: ArrayViewD<'_, f32>) -> Result<Option<ArrayD<f32>>> {
        let pairs = self.weight_pairs(site, w.view())?;
        let rounded = rounded(w, &pairs, |_, _, rounded| rounded.value);
        self.pairs.weights.insert(site.to_owned(), pairs);
        Ok(Some(rounded))
    }

    fn activations(&mut self, site: &str, x: ArrayViewD<'_, f32>) -> Result<Option<ArrayD<f32>>> {
        let Some(pair) = self.pairs.activations.get_mut(site) else {
            return Ok(None);
        };
        if let Ranges::Observed { momentum } = self.ranges {
            *pair = round::moved(*pair, x.view(), momentum)?;
        }
        Ok(Some(rounded(x, &[*pair], |_, _, rounded| rounded.value)))
    }

    // ANCHOR: weights_gradient
    fn weights_gradient(
        &mut self,
        site: &str,
        w: ArrayViewD<'_, f32>,
        gradient: ArrayD<f32>,
    ) -> ArrayD<f32> {
        match self.pairs.weights.get(site) {
            None => gradient,
            Some(pairs) => {
                let (gradient, scales) = straight_through(w, pairs, gradient);
                if self.learns() {
                    self.gradients.insert(weight_name(site), scales);
                }
                gradient
            }
        }
    }
    // ANCHOR_END: weights_gradient

    fn activations_gradient(
        &mut self,
        site: &str,
        x: ArrayViewD<'_, f32>,
        gradient: ArrayD<f32>,
    ) -> ArrayD<f32> {
        match self.pairs.activations.get(site) {
            None => gradient,
            Some(pair) => {
                let (gradient, scales) = straight_through(x, &[*pair], gradient);
                if self.learns() {
                    self.gradients.insert(output_name(site), scales);
                }
                gradient
            }
        }
    }

    // ANCHOR: step
    fn step(&mut self, learning_rate: f32) -> Result<()> {
        let gradients = std::mem::take(&mut self.gradients);
        let scales = self.scales.iter_mut();
        let scales = scales.map(|(name, scale)| (name.clone(), scale.view_mut()));
        self.adam.update(scales, &gradients, learning_rate);
        for name in gradients.keys() {
            let scales = self.scales[name].iter().map(|scale| scale.exp());
            let (site, weights) = site_of(name);
            let pairs = match weights {
                true => self.pairs.weights.get_mut(site).map(Vec::as_mut_slice),
                false => self
                    .pairs
                    .activations
                    .get_mut(site)
                    .map(std::slice::from_mut),
            };
            for (pair, scale) in pairs.unwrap_or_default().iter_mut().zip(scales) {
                let moved = QParams::new(scale, pair.zero_point(), pair.range());
                *pair = moved.map_err(|error| error.at(site))?;
            }
        }
        Ok(())
    }
    // ANCHOR_END: step

    fn predict(&self, network: &Network, x: ArrayViewD<'_, f32>) -> Result<ArrayD<f32>> {
        network.check_input(x.shape())?;
        let pairs = self.pairs(network)?;
        let mut layers = BTreeMap::<String, Layer>::new();
        for (site, layer) in network.layers() {
            if let (Some(w), Some(pairs)) = (layer.weight(), pairs.weights.get(site)) {
                let rounded = rounded(w, pairs, |_, _, rounded| rounded.value);
                layers.insert(site.to_owned(), layer.with_weight(rounded.view())?);
            }
        }
        FakeQuantize {
            layers: &layers,
            pairs: &pairs.activations,
        }
        .run(network, x.to_owned())
    }
}

fn weight_name(site: &str) -> String {
    format!("{site}.weight")
}

fn output_name(site: &str) -> String {
    format!("{site}.output")
}

/// The site in a name, and whether it is that of weights.
fn site_of(name: &str) -> (&str, bool) {
    let (site, what) = name.rsplit_once('.').unwrap_or((name, ""));
    (site, what == "weight")
}

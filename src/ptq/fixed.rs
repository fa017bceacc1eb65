//! Ranges from calibration data, integers all the way.

use std::collections::BTreeMap;

use ndarray::{ArrayD, ArrayViewD};

use super::build::Builder;
use super::recipe::Recipe;
use crate::error::Result;
use crate::exec::{
    Compare, FakeQuantize, Integer, Pairs, Rounding, SiteDifference, Step, Value, is_relu,
};
use crate::nn::{INPUT, Layer, Network, fold_batch_norm};
use crate::qparams::QParams;

/// A network in integers, with its simulation in f32.
#[derive(Debug, Clone)]
pub struct Static {
    network: Network,
    input: QParams,
    steps: BTreeMap<String, Step>,
    simulated: BTreeMap<String, Layer>,
    pairs: BTreeMap<String, QParams>,
    bytes: usize,
}

impl Static {
    /// Folds the batch norms of `network`, walks it with the batches of `calibration`, and turns
    /// each layer into integers.
    ///
    /// A ReLU or ReLU6 behind a product is part of its requantization; any other activation, and a
    /// batch norm that could not be folded, becomes a table of 256 codes. Biases have the scale
    /// s_x·s_w; where one would not fit 30 bits, the s_w that it depends on is made larger.
    ///
    /// # Errors
    /// [`Error::Empty`](crate::Error::Empty) without calibration data;
    /// [`Error::NotFinite`](crate::Error::NotFinite) with the site where a NaN or infinity came up;
    /// [`Error::RangeDoesNotFit`](crate::Error::RangeDoesNotFit) or
    /// [`Error::InvalidSetting`](crate::Error::InvalidSetting) for a recipe that integers cannot
    /// follow; and as [`fold_batch_norm`] and [`QTensor::quantize`](crate::QTensor::quantize).
    pub fn new(
        network: &Network,
        calibration: impl IntoIterator<Item = ArrayD<f32>>,
        recipe: Recipe,
    ) -> Result<Self> {
        let network = fold_batch_norm(network)?;
        let pairs = recipe.choose(&network, calibration)?;
        Self::with_pairs(&network, &pairs, recipe.rounding)
    }

    /// The same with pairs that were chosen before, as training chooses them.
    ///
    /// # Errors
    /// [`Error::WrongTensors`](crate::Error::WrongTensors) with the layer's name if its pair is
    /// missing, [`Error::LengthMismatch`](crate::Error::LengthMismatch) if it has more or fewer
    /// than outputs, and as [`new`](Self::new).
    pub fn with_pairs(network: &Network, pairs: &Pairs, rounding: Rounding) -> Result<Self> {
        let network = fold_batch_norm(network)?;
        let mut builder = Builder::new(pairs, rounding)?;
        let layers: Vec<_> = network.layers().collect();
        let mut fused = false;
        for (i, (site, layer)) in layers.iter().enumerate() {
            let next = layers.get(i + 1);
            let step = if layer.weight().is_some() {
                fused = next.is_some_and(|(_, next)| is_relu(next));
                let source = next.map(|(next, _)| if fused { *next } else { *site });
                builder.product(site, layer, source)
            } else if std::mem::take(&mut fused) {
                Ok(Step::Keep)
            } else {
                builder.other(site, layer)
            };
            let step = step.map_err(|error| error.at(*site))?;
            builder.steps.insert((*site).to_owned(), step);
        }
        Ok(Self {
            input: pairs.of_activations(INPUT)?,
            steps: builder.steps,
            simulated: builder.simulated,
            pairs: builder.rounded,
            bytes: builder.bytes,
            network,
        })
    }

    /// The outputs for a batch, computed in integers.
    ///
    /// # Errors
    /// As [`Network::forward`]; [`Error::NotANumber`](crate::Error::NotANumber) with the index of
    /// the first NaN.
    pub fn forward(&self, x: ArrayViewD<'_, f32>) -> Result<ArrayD<f32>> {
        self.network.check_input(x.shape())?;
        let mut executor = self.integer();
        let x = executor.quantize(x).map_err(|error| error.at(INPUT))?;
        let y = self.network.run(&mut executor, x)?;
        Ok(y.into_real())
    }

    /// The outputs of the simulation: f32, rounded to codes and back where the integers are.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn simulate(&self, x: ArrayViewD<'_, f32>) -> Result<ArrayD<f32>> {
        self.fake().run(&self.network, x.to_owned())
    }

    /// Where, and how far, the integers and the simulation of each layer differ on a batch.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn compare(&self, x: ArrayViewD<'_, f32>) -> Result<Vec<SiteDifference>> {
        self.network.check_input(x.shape())?;
        let mut compare = Compare::new(self.integer(), self.fake());
        let x = Value::Real(x.to_owned());
        self.network.run(&mut compare, x)?;
        Ok(compare.into_differences())
    }

    /// Bytes of codes, scales and biases, and of eight bytes for each pair of activations.
    pub fn bytes(&self) -> usize {
        self.bytes + 8 * self.pairs.len()
    }

    /// The pair of the network's input.
    pub fn input(&self) -> QParams {
        self.input
    }

    /// The pair of each site whose output is rounded, and of the [`INPUT`].
    pub fn pairs(&self) -> &BTreeMap<String, QParams> {
        &self.pairs
    }

    fn integer(&self) -> Integer<'_> {
        Integer {
            input: self.input,
            steps: &self.steps,
        }
    }

    fn fake(&self) -> FakeQuantize<'_> {
        FakeQuantize {
            layers: &self.simulated,
            pairs: &self.pairs,
        }
    }
}

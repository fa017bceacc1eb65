//! Rounded to codes and back: the integers' simulation in f32.

use std::collections::BTreeMap;

use ndarray::ArrayD;

use crate::error::{Error, Result};
use crate::nn::*;
use crate::qparams::QParams;

/// Computes in f32 with layers whose parameters are already rounded, and rounds the values at some
/// sites to their nearest code.
#[derive(Debug, Clone, Copy)]
pub struct FakeQuantize<'a> {
    /// The layers with rounded parameters, by site. A layer that is not here computes as it is.
    pub layers: &'a BTreeMap<String, Layer>,
    /// The pair of each site whose output is rounded.
    pub pairs: &'a BTreeMap<String, QParams>,
}

/// The real number that each value's code stands for.
///
/// # Errors
/// [`Error::NotANumber`] with the index of the first NaN.
// ANCHOR: rounded
pub(super) fn rounded(x: ArrayD<f32>, pair: QParams) -> Result<ArrayD<f32>> {
    match x.iter().position(|x| x.is_nan()) {
        Some(index) => Err(Error::NotANumber { index }),
        None => Ok(x.mapv_into(|x| pair.dequantize(pair.code(x)))),
    }
}
// ANCHOR_END: rounded

impl FakeQuantize<'_> {
    /// The outputs of `network` for a batch of real numbers, which are rounded first.
    ///
    /// # Errors
    /// As [`Network::forward`]; [`Error::NotANumber`] with the index of the first NaN.
    pub fn run(&mut self, network: &Network, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        network.check_input(x.shape())?;
        let x = self.output(INPUT, x)?;
        network.run(self, x)
    }

    fn output(&self, site: &str, y: ArrayD<f32>) -> Result<ArrayD<f32>> {
        match self.pairs.get(site) {
            Some(pair) => rounded(y, *pair),
            None => Ok(y),
        }
    }
}

macro_rules! with_rounded_parameters {
    ($($name:ident: $layer:ident),*) => {$(
        fn $name(&mut self, site: &str, layer: &$layer, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
            let y = match self.layers.get(site) {
                Some(Layer::$layer(rounded)) => Float.$name(site, rounded, x)?,
                _ => Float.$name(site, layer, x)?,
            };
            self.output(site, y)
        }
    )*};
}

impl Executor for FakeQuantize<'_> {
    type Value = ArrayD<f32>;

    with_rounded_parameters! {
        linear: Linear, conv2d: Conv2d, depthwise_conv2d: DepthwiseConv2d, batch_norm: BatchNorm
    }

    fn activation(&mut self, site: &str, layer: Activation, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        let y = Float.activation(site, layer, x)?;
        self.output(site, y)
    }

    fn pool(&mut self, site: &str, layer: Pool, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        let y = Float.pool(site, layer, x)?;
        self.output(site, y)
    }

    fn flatten(&mut self, site: &str, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        Float.flatten(site, x)
    }
}

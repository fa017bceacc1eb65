//! f32, observed.

use std::collections::BTreeMap;

use ndarray::ArrayD;

use crate::calibrate::{Method, Observer};
use crate::error::{Error, Result};
use crate::nn::*;

/// Computes in f32 and shows the input and each layer's output to an observer of its own.
pub struct Calibrate {
    method: Method,
    observers: BTreeMap<String, Box<dyn Observer + Send>>,
}

impl Calibrate {
    /// An executor that has seen nothing.
    pub fn new(method: Method) -> Self {
        let observers = BTreeMap::new();
        Self { method, observers }
    }

    /// Walks `network` with one batch of calibration data.
    ///
    /// # Errors
    /// As [`Network::run`]; [`Error::NotFinite`] with the site where a NaN or infinity came up and
    /// its index.
    pub fn observe(&mut self, network: &Network, x: ArrayD<f32>) -> Result<()> {
        network.check_input(x.shape())?;
        let x = self.seen(INPUT, x).map_err(|error| error.at(INPUT))?;
        network.run(self, x).map(drop)
    }

    /// The range of each site that was seen.
    ///
    /// # Errors
    /// [`Error::Empty`] if the calibration data had no samples.
    pub fn ranges(&self) -> Result<BTreeMap<String, (f32, f32)>> {
        if self.observers.is_empty() {
            return Err(Error::Empty.at("the calibration data"));
        }
        let ranges = self.observers.iter().map(|(site, observer)| {
            let range = observer.range().map_err(|error| error.at(site));
            Ok((site.clone(), range?))
        });
        ranges.collect()
    }

    fn seen(&mut self, site: &str, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        if !self.observers.contains_key(site) {
            let observer = self.method.observer()?;
            self.observers.insert(site.to_owned(), observer);
        }
        let x = if x.is_standard_layout() {
            x
        } else {
            x.as_standard_layout().into_owned()
        };
        if let Some(observer) = self.observers.get_mut(site) {
            observer.observe(x.as_slice().unwrap_or_default())?;
        }
        Ok(x)
    }
}

macro_rules! observed {
    ($($name:ident: $layer:ty),*) => {$(
        fn $name(&mut self, site: &str, layer: $layer, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
            let y = Float.$name(site, layer, x)?;
            self.seen(site, y)
        }
    )*};
}

impl Executor for Calibrate {
    type Value = ArrayD<f32>;

    observed! {
        linear: &Linear, conv2d: &Conv2d, depthwise_conv2d: &DepthwiseConv2d,
        batch_norm: &BatchNorm, activation: Activation, pool: Pool
    }

    fn flatten(&mut self, site: &str, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        let y = Float.flatten(site, x)?;
        self.seen(site, y)
    }
}

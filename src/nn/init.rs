//! Weights to begin training with.

use ndarray::{Array, Array1, Dimension, IntoDimension};
use rand::{Rng, RngExt};

use super::layers::*;
use crate::error::Result;

impl Linear {
    /// A layer with random weights and no bias; see [`random_weights`].
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn random(inputs: usize, outputs: usize, rng: &mut impl Rng) -> Result<Self> {
        let weight = random_weights((outputs, inputs), inputs, rng);
        Self::new(weight, Array1::zeros(outputs))
    }
}

impl Conv2d {
    /// A layer with a square kernel, random weights and no bias; see [`random_weights`].
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn random(
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        rng: &mut impl Rng,
    ) -> Result<Self> {
        let fan_in = kernel * kernel * inputs;
        let weight = random_weights((outputs, kernel, kernel, inputs), fan_in, rng);
        Self::new(weight, Array1::zeros(outputs), stride, padding)
    }
}

impl DepthwiseConv2d {
    /// A layer with a square kernel, random weights and no bias; see [`random_weights`].
    ///
    /// # Errors
    /// As [`DepthwiseConv2d::new`].
    pub fn random(
        channels: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        rng: &mut impl Rng,
    ) -> Result<Self> {
        let weight = random_weights((channels, kernel, kernel), kernel * kernel, rng);
        Self::new(weight, Array1::zeros(channels), stride, padding)
    }
}

/// Weights drawn uniformly from ±√(6/`fan_in`), where `fan_in` counts the products in one output:
/// behind ReLU, the outputs then have the variance of the inputs. (He et al. 2015, section 2.2.)
pub fn random_weights<I>(shape: I, fan_in: usize, rng: &mut impl Rng) -> Array<f32, I::Dim>
where
    I: IntoDimension<Dim: Dimension>,
{
    let end = (6.0 / fan_in.max(1) as f32).sqrt();
    Array::from_shape_simple_fn(shape, || rng.random_range(-end..=end))
}

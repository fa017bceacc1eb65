//! Who computes the layers: the trait, plain f32, and the shapes alone.

use ndarray::{ArrayD, IxDyn};

use super::forward;
use super::layers::*;
use crate::error::{Error, Result};

/// What computes the layers of a network, one method for each kind of layer.
///
/// `site` is the layer's name. An executor may keep, change or replace what flows through the
/// network: its [`Value`](Self::Value) is an array, codes with their scale, a pair of both, or a shape.
pub trait Executor {
    /// What flows from layer to layer.
    type Value;

    /// y = x·Wᵀ + b.
    ///
    /// # Errors
    /// Each method refuses a value whose shape does not fit the layer.
    fn linear(&mut self, site: &str, layer: &Linear, x: Self::Value) -> Result<Self::Value>;

    /// The convolution over all channels.
    ///
    /// # Errors
    /// As [`linear`](Self::linear).
    fn conv2d(&mut self, site: &str, layer: &Conv2d, x: Self::Value) -> Result<Self::Value>;

    /// The convolution of each channel by itself.
    ///
    /// # Errors
    /// As [`linear`](Self::linear).
    fn depthwise_conv2d(
        &mut self,
        site: &str,
        layer: &DepthwiseConv2d,
        x: Self::Value,
    ) -> Result<Self::Value>;

    /// The batch norm.
    ///
    /// # Errors
    /// As [`linear`](Self::linear).
    fn batch_norm(&mut self, site: &str, layer: &BatchNorm, x: Self::Value) -> Result<Self::Value>;

    /// The function of each element.
    ///
    /// # Errors
    /// As [`linear`](Self::linear).
    fn activation(&mut self, site: &str, layer: Activation, x: Self::Value) -> Result<Self::Value>;

    /// The pooling.
    ///
    /// # Errors
    /// As [`linear`](Self::linear).
    fn pool(&mut self, site: &str, layer: Pool, x: Self::Value) -> Result<Self::Value>;

    /// `[batch, …]` to `[batch, features]`.
    ///
    /// # Errors
    /// As [`linear`](Self::linear).
    fn flatten(&mut self, site: &str, x: Self::Value) -> Result<Self::Value>;
}

/// Computes in f32.
#[derive(Debug, Clone, Copy, Default)]
pub struct Float;

impl Executor for Float {
    type Value = ArrayD<f32>;

    fn linear(&mut self, _: &str, layer: &Linear, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        forward::linear(layer, &x)
    }

    fn conv2d(&mut self, _: &str, layer: &Conv2d, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        forward::conv2d(layer, &x)
    }

    fn depthwise_conv2d(
        &mut self,
        _: &str,
        layer: &DepthwiseConv2d,
        x: ArrayD<f32>,
    ) -> Result<ArrayD<f32>> {
        forward::depthwise_conv2d(layer, &x)
    }

    fn batch_norm(&mut self, _: &str, layer: &BatchNorm, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        let (factor, shift) = layer.factor_and_shift();
        forward::scale_and_shift(&factor, &shift, x)
    }

    fn activation(&mut self, _: &str, layer: Activation, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        Ok(layer.apply_all(x))
    }

    fn pool(&mut self, _: &str, layer: Pool, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        forward::pool(layer, &x)
    }

    fn flatten(&mut self, site: &str, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        let shape = Shapes.flatten(site, x.shape().to_vec())?;
        Ok(into_shape(x, &shape))
    }
}

/// The elements in row-major order.
pub(super) fn into_row_major(x: ArrayD<f32>) -> Vec<f32> {
    match x.is_standard_layout() {
        true => {
            let elements = x.len();
            let (mut values, start) = x.into_raw_vec_and_offset();
            let start = start.unwrap_or(0);
            values.drain(..start);
            values.truncate(elements);
            values
        }
        false => x.iter().copied().collect(),
    }
}

/// The same elements in row-major order under another shape that holds as many.
pub(super) fn into_shape(x: ArrayD<f32>, shape: &[usize]) -> ArrayD<f32> {
    let values = into_row_major(x);
    ArrayD::from_shape_vec(IxDyn(shape), values).expect("the caller's shape holds the elements")
}

/// Follows the shapes and computes nothing: every shape check of the layers is here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shapes;

impl Executor for Shapes {
    type Value = Vec<usize>;

    fn linear(&mut self, _: &str, layer: &Linear, x: Vec<usize>) -> Result<Vec<usize>> {
        last_axis(&x, layer.weight.ncols())?;
        let mut y = x;
        y.pop();
        y.push(layer.weight.nrows());
        Ok(y)
    }

    fn conv2d(&mut self, _: &str, layer: &Conv2d, x: Vec<usize>) -> Result<Vec<usize>> {
        let (outputs, _, _, inputs) = layer.weight.dim();
        let [batch, height, width, _] = image(&x, Some(inputs))?;
        let [height, width] = layer.window.output_size([height, width])?;
        Ok(vec![batch, height, width, outputs])
    }

    fn depthwise_conv2d(
        &mut self,
        _: &str,
        layer: &DepthwiseConv2d,
        x: Vec<usize>,
    ) -> Result<Vec<usize>> {
        let channels = layer.bias.len();
        let [batch, height, width, _] = image(&x, Some(channels))?;
        let [height, width] = layer.window.output_size([height, width])?;
        Ok(vec![batch, height, width, channels])
    }

    fn batch_norm(&mut self, _: &str, layer: &BatchNorm, x: Vec<usize>) -> Result<Vec<usize>> {
        last_axis(&x, layer.channels())?;
        Ok(x)
    }

    fn activation(&mut self, _: &str, _: Activation, x: Vec<usize>) -> Result<Vec<usize>> {
        Ok(x)
    }

    fn pool(&mut self, _: &str, layer: Pool, x: Vec<usize>) -> Result<Vec<usize>> {
        let [batch, height, width, channels] = image(&x, None)?;
        match layer {
            Pool::GlobalAverage => Ok(vec![batch, channels]),
            Pool::Max(window) | Pool::Average(window) => {
                let [height, width] = window.output_size([height, width])?;
                Ok(vec![batch, height, width, channels])
            }
        }
    }

    fn flatten(&mut self, _: &str, x: Vec<usize>) -> Result<Vec<usize>> {
        let (batch, rest) = x.split_first().ok_or(Error::Empty)?;
        Ok(vec![*batch, rest.iter().product()])
    }
}

/// `[…, expected]`, at least two axes.
fn last_axis(shape: &[usize], expected: usize) -> Result<()> {
    if shape.len() >= 2 && shape.last() == Some(&expected) {
        return Ok(());
    }
    let leading = shape.len().saturating_sub(1).max(1);
    let mut wanted: Vec<usize> = shape.iter().copied().chain([1]).take(leading).collect();
    wanted.push(expected);
    Err(mismatch(wanted, shape))
}

/// `[batch, height, width, channels]`, with no empty image.
fn image(shape: &[usize], channels: Option<usize>) -> Result<[usize; 4]> {
    let axis = |i: usize| shape.get(i).copied().unwrap_or(1);
    let wanted = [axis(0), axis(1), axis(2), channels.unwrap_or(axis(3))];
    if shape != wanted || wanted[1..].contains(&0) {
        return Err(mismatch(wanted.map(|n| n.max(1)).to_vec(), shape));
    }
    Ok(wanted)
}

fn mismatch(expected: Vec<usize>, actual: &[usize]) -> Error {
    Error::ShapeMismatch {
        what: "the layer's input",
        expected,
        actual: actual.to_vec(),
    }
}

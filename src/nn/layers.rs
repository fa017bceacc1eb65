//! The layers as data: their parameters and settings, checked when they are made.

use ndarray::{Array, Array1, Array2, Array3, Array4, ArrayViewD, ArrayViewMutD, Dimension};

use super::image::Window;
use super::tape::same_shape;
use crate::error::{Error, Result};

/// One layer of a [`Network`](crate::nn::Network).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Layer {
    /// y = x·Wᵀ + b.
    Linear(Linear),
    /// A convolution over all channels.
    Conv2d(Conv2d),
    /// A convolution of each channel by itself.
    DepthwiseConv2d(DepthwiseConv2d),
    /// A scale and a shift for each channel, from the statistics of the training data.
    BatchNorm(BatchNorm),
    /// A function of each element.
    Activation(Activation),
    /// The largest or the mean value under a window.
    Pool(Pool),
    /// `[batch, …]` to `[batch, features]`, in row-major order.
    Flatten,
}

macro_rules! layer_from {
    ($($layer:ident),*) => {$(
        impl From<$layer> for Layer {
            fn from(layer: $layer) -> Self {
                Self::$layer(layer)
            }
        }
    )*};
}
layer_from!(Linear, Conv2d, DepthwiseConv2d, BatchNorm, Activation, Pool);

impl Layer {
    /// The weights, if the layer multiplies by some. Axis 0 is the output channel.
    pub fn weight(&self) -> Option<ArrayViewD<'_, f32>> {
        let mut parameters = self.parameters().into_iter();
        let multiplies = !matches!(self, Self::BatchNorm(_));
        parameters.find_map(|(n, p)| (n == "weight" && multiplies).then_some(p))
    }

    /// The layer with other weights. One without weights stays as it is.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    pub fn with_weight(&self, weight: ArrayViewD<'_, f32>) -> Result<Self> {
        let mut layer = self.clone();
        if let Some(own) = self.weight() {
            same_shape("the weights", own.shape(), weight.shape())?;
            for (_, mut own) in layer.parameters_mut().into_iter().take(1) {
                own.assign(&weight);
            }
        }
        Ok(layer)
    }

    /// The parameters with their names.
    pub fn parameters(&self) -> Vec<(&'static str, ArrayViewD<'_, f32>)> {
        macro_rules! views {
            ($layer:ident: $($field:ident),*) => {
                vec![$((stringify!($field), $layer.$field.view().into_dyn())),*]
            };
        }
        match self {
            Self::Linear(l) => views!(l: weight, bias),
            Self::Conv2d(l) => views!(l: weight, bias),
            Self::DepthwiseConv2d(l) => views!(l: weight, bias),
            Self::BatchNorm(l) => views!(l: weight, bias, mean, variance),
            Self::Activation(_) | Self::Pool(_) | Self::Flatten => Vec::new(),
        }
    }

    /// The same, to be written to.
    pub fn parameters_mut(&mut self) -> Vec<(&'static str, ArrayViewMutD<'_, f32>)> {
        macro_rules! views {
            ($layer:ident: $($field:ident),*) => {
                vec![$((stringify!($field), $layer.$field.view_mut().into_dyn())),*]
            };
        }
        match self {
            Self::Linear(l) => views!(l: weight, bias),
            Self::Conv2d(l) => views!(l: weight, bias),
            Self::DepthwiseConv2d(l) => views!(l: weight, bias),
            Self::BatchNorm(l) => views!(l: weight, bias, mean, variance),
            Self::Activation(_) | Self::Pool(_) | Self::Flatten => Vec::new(),
        }
    }
}

/// y = x·Wᵀ + b for each row x.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    pub(super) weight: Array2<f32>,
    pub(super) bias: Array1<f32>,
}

impl Linear {
    /// A layer with weights `[outputs, inputs]` and one bias for each output.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] if the bias does not fit, [`Error::NotFinite`] with the index of a
    /// NaN or infinity, [`Error::Empty`] for weights without elements.
    pub fn new(weight: Array2<f32>, bias: Array1<f32>) -> Result<Self> {
        check_parameters(&weight, &bias, weight.nrows())?;
        Ok(Self { weight, bias })
    }

    /// The weights, `[outputs, inputs]`.
    pub fn weight(&self) -> &Array2<f32> {
        &self.weight
    }

    /// The bias, `[outputs]`.
    pub fn bias(&self) -> &Array1<f32> {
        &self.bias
    }
}

/// A convolution (a correlation, as everywhere in this field): each output channel is the inner
/// product of the window with its own weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv2d {
    pub(super) weight: Array4<f32>,
    pub(super) bias: Array1<f32>,
    pub(super) window: Window,
}

impl Conv2d {
    /// A layer with weights `[outputs, kernel height, kernel width, inputs]`, one bias for each
    /// output, and `stride` and `padding` in both directions.
    ///
    /// # Errors
    /// As [`Linear::new`] and [`Window::new`].
    pub fn new(
        weight: Array4<f32>,
        bias: Array1<f32>,
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        let (outputs, height, width, _) = weight.dim();
        check_parameters(&weight, &bias, outputs)?;
        Ok(Self {
            window: Window::new([height, width], [stride; 2], [padding; 2])?,
            weight,
            bias,
        })
    }

    /// The weights, `[outputs, kernel height, kernel width, inputs]`.
    pub fn weight(&self) -> &Array4<f32> {
        &self.weight
    }

    /// The bias, `[outputs]`.
    pub fn bias(&self) -> &Array1<f32> {
        &self.bias
    }

    /// Where the kernel slides.
    pub fn window(&self) -> Window {
        self.window
    }
}

/// A convolution of each channel by itself, with its own kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthwiseConv2d {
    pub(super) weight: Array3<f32>,
    pub(super) bias: Array1<f32>,
    pub(super) window: Window,
}

impl DepthwiseConv2d {
    /// A layer with weights `[channels, kernel height, kernel width]`, one bias for each channel,
    /// and `stride` and `padding` in both directions.
    ///
    /// # Errors
    /// As [`Linear::new`] and [`Window::new`].
    pub fn new(
        weight: Array3<f32>,
        bias: Array1<f32>,
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        let (channels, height, width) = weight.dim();
        check_parameters(&weight, &bias, channels)?;
        Ok(Self {
            window: Window::new([height, width], [stride; 2], [padding; 2])?,
            weight,
            bias,
        })
    }

    /// The weights, `[channels, kernel height, kernel width]`.
    pub fn weight(&self) -> &Array3<f32> {
        &self.weight
    }

    /// The bias, `[channels]`.
    pub fn bias(&self) -> &Array1<f32> {
        &self.bias
    }

    /// Where the kernel slides.
    pub fn window(&self) -> Window {
        self.window
    }
}

/// y = weight·(x − mean)/√(variance + ε) + bias, for each channel (the last axis). (Ioffe and
/// Szegedy 2015.)
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    pub(super) weight: Array1<f32>,
    pub(super) bias: Array1<f32>,
    pub(super) mean: Array1<f32>,
    pub(super) variance: Array1<f32>,
}

impl BatchNorm {
    /// Added to the variance, so that a constant channel divides by no zero.
    pub const EPSILON: f32 = 1e-5;

    /// A layer for `channels` channels before training: mean 0, variance 1, weight 1, bias 0.
    pub fn identity(channels: usize) -> Self {
        Self {
            weight: Array1::ones(channels),
            bias: Array1::zeros(channels),
            mean: Array1::zeros(channels),
            variance: Array1::ones(channels),
        }
    }

    /// Each channel's factor weight/√(variance + ε) and its shift bias − factor·mean: with the
    /// statistics fixed, y = factor·x + shift.
    pub fn factor_and_shift(&self) -> (Array1<f32>, Array1<f32>) {
        let deviation = self.variance.mapv(|v| (v + Self::EPSILON).sqrt());
        let factor = &self.weight / &deviation;
        let shift = &self.bias - &factor * &self.mean;
        (factor, shift)
    }

    /// How many channels the layer has.
    pub fn channels(&self) -> usize {
        self.weight.len()
    }
}

/// A function of each element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x·Φ(x), with Φ the distribution function of the standard normal. (Hendrycks and Gimpel
    /// 2016.)
    Gelu,
}

/// The largest or the mean value under a window. Padding counts neither as a value nor in the mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pool {
    /// The largest value.
    Max(Window),
    /// The mean of the values.
    Average(Window),
    /// The mean of each whole channel: `[batch, height, width, channels]` to `[batch, channels]`.
    GlobalAverage,
}

/// The parameters of a layer: none empty, all finite, one bias for each output.
fn check_parameters<D: Dimension>(
    weight: &Array<f32, D>,
    bias: &Array1<f32>,
    outputs: usize,
) -> Result<()> {
    if weight.is_empty() {
        return Err(Error::Empty.at("weight"));
    }
    if bias.len() != outputs {
        return Err(Error::ShapeMismatch {
            what: "the bias",
            expected: vec![outputs],
            actual: vec![bias.len()],
        });
    }
    check_finite(weight.view().into_dyn()).map_err(|error| error.at("weight"))?;
    check_finite(bias.view().into_dyn()).map_err(|error| error.at("bias"))
}

/// Names the first NaN or infinity.
pub(super) fn check_finite(x: ArrayViewD<'_, f32>) -> Result<()> {
    match x.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((index, &value)) => Err(Error::NotFinite { index, value }),
    }
}

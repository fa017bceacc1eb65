//! Small neural networks in f32: layers, the forward pass, gradients, and training.
//!
//! The one idea: a [`Network`] is data, a list of named layers, and [`Network::run`] walks it in one
//! place. What a layer *does* is up to the [`Executor`] that walks along: [`Float`] computes in f32,
//! [`Shapes`] only follows the shapes, and a [`Tape`] remembers what the gradient will need. Calibration,
//! fake quantization and INT8 are executors, too. Chapter 5.
//!
//! The first axis of every value counts the samples of a batch. Images are `[batch, height, width,
//! channels]`, channels last, so that the values under a convolution's window lie in runs and the
//! convolution is one matrix product. Weights begin with the output channel, axis 0.
//!
//! ```
//! use fewer_bits::nn::{Activation, Float, Layer, Linear, Network};
//! use ndarray::{array, Array};
//!
//! let network = Network::new(
//!     &[2],
//!     [
//!         ("hidden", Layer::from(Linear::new(array![[1.0, -1.0], [0.5, 0.5]], array![0.0, 1.0])?)),
//!         ("relu", Layer::from(Activation::Relu)),
//!         ("out", Layer::from(Linear::new(array![[1.0, 2.0]], array![0.0])?)),
//!     ],
//! )?;
//! let y = network.run(&mut Float, array![[1.0, 3.0]].into_dyn())?;
//! assert_eq!(y, Array::from_elem([1, 1], 6.0).into_dyn());
//! # Ok::<(), fewer_bits::Error>(())
//! ```

mod adam;
mod backward;
mod dataset;
mod executor;
mod fold;
mod forward;
mod image;
mod init;
mod layers;
mod loss;
mod runs;
mod simulation;
mod tape;
mod train;

pub use adam::Adam;
pub use dataset::{Dataset, Score};
pub use executor::{Executor, Float, Shapes};
pub use fold::fold_batch_norm;
pub use image::{Window, im2col};
pub use init::random_weights;
pub use layers::{Activation, BatchNorm, Conv2d, DepthwiseConv2d, Layer, Linear, Pool};
pub use loss::{Targets, count_correct, mean_squared_error, softmax_cross_entropy};
pub use simulation::{Exact, INPUT, Simulation};
pub use tape::{Gradients, Tape};
pub use train::{Epoch, Progress, Recipe, Schedule, train};

use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};

use crate::error::{Error, Result};

/// A network: the shape of one input sample and a list of named layers.
///
/// The names are the *sites* by which executors, recipes and reports speak of the layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    input_shape: Vec<usize>,
    layers: Vec<(String, Layer)>,
}

impl Network {
    /// A network for samples of `input_shape`: `[features]`, or `[height, width, channels]`.
    ///
    /// # Errors
    /// [`Error::DuplicateName`], and, with the layer's name, what a layer says of a shape that it
    /// cannot take from the layer before it.
    pub fn new<N: Into<String>>(
        input_shape: &[usize],
        layers: impl IntoIterator<Item = (N, Layer)>,
    ) -> Result<Self> {
        let layers: Vec<_> = layers.into_iter().map(|(n, l)| (n.into(), l)).collect();
        for (i, (name, _)) in layers.iter().enumerate() {
            if layers[..i].iter().any(|(other, _)| other == name) {
                return Err(Error::DuplicateName { name: name.clone() });
            }
        }
        let network = Self {
            input_shape: input_shape.to_vec(),
            layers,
        };
        network.output_shape(1)?;
        Ok(network)
    }

    /// Walks the layers in order, each computed by `executor`, and returns the last one's value.
    ///
    /// # Errors
    /// The executor's, with the layer's name.
    // ANCHOR: run
    pub fn run<E: Executor>(&self, executor: &mut E, x: E::Value) -> Result<E::Value> {
        let mut x = x;
        for (site, layer) in &self.layers {
            x = match layer {
                Layer::Linear(l) => executor.linear(site, l, x),
                Layer::Conv2d(l) => executor.conv2d(site, l, x),
                Layer::DepthwiseConv2d(l) => executor.depthwise_conv2d(site, l, x),
                Layer::BatchNorm(l) => executor.batch_norm(site, l, x),
                Layer::Activation(l) => executor.activation(site, *l, x),
                Layer::Pool(l) => executor.pool(site, *l, x),
                Layer::Flatten => executor.flatten(site, x),
            }
            .map_err(|error| error.at(site))?;
        }
        Ok(x)
    }
    // ANCHOR_END: run

    /// The outputs for a batch of inputs, in f32: [`run`](Self::run) with [`Float`].
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] if `x` is not a batch of this network's input samples.
    pub fn forward(&self, x: ArrayViewD<'_, f32>) -> Result<ArrayD<f32>> {
        self.check_input(x.shape())?;
        self.run(&mut Float, x.to_owned())
    }

    /// Checks that a shape is `[batch, …]` with this network's input samples.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`].
    pub fn check_input(&self, shape: &[usize]) -> Result<()> {
        let batch = shape.first().copied().unwrap_or(1);
        let expected: Vec<usize> = [&[batch], self.input_shape()].concat();
        if shape == expected {
            return Ok(());
        }
        Err(Error::ShapeMismatch {
            what: "the network's input",
            expected,
            actual: shape.to_vec(),
        })
    }

    /// The shape of one input sample.
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// The shape of the output for `batch` samples.
    ///
    /// # Errors
    /// As [`Network::new`]; none for a network that it returned.
    pub fn output_shape(&self, batch: usize) -> Result<Vec<usize>> {
        self.run(&mut Shapes, [&[batch], self.input_shape()].concat())
    }

    /// The layers with their names, in order.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = (&str, &Layer)> {
        self.layers
            .iter()
            .map(|(name, layer)| (name.as_str(), layer))
    }

    /// The layer of that name.
    pub fn layer(&self, name: &str) -> Option<&Layer> {
        self.layers()
            .find(|(n, _)| *n == name)
            .map(|(_, layer)| layer)
    }

    /// All parameters with their names, `layer.weight`, `layer.bias` and so on, in order.
    pub fn parameters(&self) -> Vec<(String, ArrayViewD<'_, f32>)> {
        let mut all = Vec::new();
        for (site, layer) in &self.layers {
            let parameters = layer.parameters();
            all.extend(
                parameters
                    .into_iter()
                    .map(|(n, p)| (format!("{site}.{n}"), p)),
            );
        }
        all
    }

    /// The same, to be written to.
    pub fn parameters_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, f32>)> {
        let mut all = Vec::new();
        for (site, layer) in &mut self.layers {
            let parameters = layer.parameters_mut();
            all.extend(
                parameters
                    .into_iter()
                    .map(|(n, p)| (format!("{site}.{n}"), p)),
            );
        }
        all
    }

    /// How many numbers the parameters hold.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|(_, p)| p.len()).sum()
    }

    /// Takes each parameter from `tensor(name)`, as a file of weights gives them.
    ///
    /// # Errors
    /// With the tensor's name: [`Error::WrongTensors`] if it is missing,
    /// [`Error::ShapeMismatch`], [`Error::NotFinite`] with the index of a NaN or infinity. The
    /// network is then as it was.
    pub fn load<'a>(
        &mut self,
        mut tensor: impl FnMut(&str) -> Option<ArrayViewD<'a, f32>>,
    ) -> Result<()> {
        let mut loaded = self.clone();
        for (name, mut parameter) in loaded.parameters_mut() {
            let Some(new) = tensor(&name) else {
                let problem = "is missing";
                return Err(Error::WrongTensors { name, problem });
            };
            if new.shape() != parameter.shape() {
                let error = Error::ShapeMismatch {
                    what: "the stored tensor",
                    expected: parameter.shape().to_vec(),
                    actual: new.shape().to_vec(),
                };
                return Err(error.at(name));
            }
            layers::check_finite(new.view()).map_err(|error| error.at(name))?;
            parameter.assign(&new);
        }
        *self = loaded;
        Ok(())
    }
}

//! The executor that remembers, and the way back.

use std::collections::BTreeMap;

use ndarray::{Array1, ArrayD};

use super::executor::{Executor, Float, Shapes, into_row_major, into_shape};
use super::forward::from_values;
use super::layers::*;
use super::runs::{self, channel_sums};
use super::simulation::{INPUT, Simulation};
use super::{Network, backward, forward};
use crate::error::{Error, Result};

/// Computes in f32 as training does, and records what the gradient needs.
///
/// Batch norms use the mean and variance of the batch, not the stored ones.
#[derive(Debug)]
pub struct Tape<'a, S> {
    simulation: &'a mut S,
    steps: Vec<Step>,
}

/// One step of the forward pass, with what its way back needs.
#[derive(Debug)]
enum Step {
    Linear(String, Linear, ArrayD<f32>),
    Conv2d(String, Conv2d, ArrayD<f32>),
    DepthwiseConv2d(String, DepthwiseConv2d, ArrayD<f32>),
    BatchNorm(String, BatchNorm, Normalized),
    Activation(Activation, ArrayD<f32>),
    Pool(Pool, ArrayD<f32>),
    Flatten(Vec<usize>),
    Simulated(String, ArrayD<f32>),
}

/// A batch with mean 0 and variance 1 in each channel, and what was divided by.
#[derive(Debug)]
pub(super) struct Normalized {
    pub(super) values: ArrayD<f32>,
    pub(super) mean: Array1<f32>,
    pub(super) variance: Array1<f32>,
    pub(super) deviation: Array1<f32>,
}

/// What the way back finds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gradients {
    /// The gradient of each trained parameter, by its name.
    pub parameters: BTreeMap<String, ArrayD<f32>>,
    /// Mean and variance of each batch norm's input over the batch, by the layer's name.
    pub statistics: BTreeMap<String, (Array1<f32>, Array1<f32>)>,
}

impl<'a, S: Simulation> Tape<'a, S> {
    /// An empty tape.
    pub fn new(simulation: &'a mut S) -> Self {
        let steps = Vec::new();
        Self { simulation, steps }
    }

    /// The outputs for a batch, recorded.
    ///
    /// # Errors
    /// As [`Network::forward`], and the simulation's.
    pub fn run(&mut self, network: &Network, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        network.check_input(x.shape())?;
        let x = self.simulated(INPUT, x)?;
        network.run(self, x)
    }

    /// Walks back from the loss's gradient with respect to the recorded outputs. `network` is the
    /// one that [`run`](Self::run) walked.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] if the gradient does not have the outputs' shape.
    pub fn backward(self, network: &Network, gradient: ArrayD<f32>) -> Result<Gradients> {
        let mut found = Gradients::default();
        let first = self.steps.iter().position(Step::has_parameters);
        let mut dy = gradient;
        for (i, step) in self.steps.into_iter().enumerate().rev() {
            let further = first.is_some_and(|first| i > first);
            match step {
                Step::Linear(site, layer, x) => {
                    let (dw, db, dx) = backward::linear(&layer, &x, &dy)?;
                    found.add(self.simulation, network, site, dw.into_dyn(), db);
                    dy = dx;
                }
                Step::Conv2d(site, layer, x) => {
                    let (dw, db, dx) = backward::conv2d(&layer, &x, &dy, further)?;
                    found.add(self.simulation, network, site, dw, db);
                    dy = dx;
                }
                Step::DepthwiseConv2d(site, layer, x) => {
                    let (dw, db, dx) = backward::depthwise_conv2d(&layer, &x, &dy)?;
                    found.add(self.simulation, network, site, dw, db);
                    dy = dx;
                }
                Step::BatchNorm(site, layer, x) => {
                    let (dw, db, dx) = backward::batch_norm(&layer, &x, dy)?;
                    found.insert(&site, dw.into_dyn(), db);
                    found.statistics.insert(site, (x.mean, x.variance));
                    dy = dx;
                }
                Step::Activation(layer, x) => dy = backward::activation(layer, x, dy)?,
                Step::Pool(layer, x) => dy = backward::pool(layer, &x, &dy)?,
                Step::Flatten(shape) => dy = into_shape(dy, &shape),
                Step::Simulated(site, x) => {
                    dy = self.simulation.activations_gradient(&site, x.view(), dy);
                }
            }
            if !further {
                break;
            }
        }
        Ok(found)
    }

    /// What the simulation makes of the output of `site`.
    fn simulated(&mut self, site: &str, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        match self.simulation.activations(site, x.view())? {
            None => Ok(x),
            Some(y) => {
                same_shape("the simulated activations", x.shape(), y.shape())?;
                self.steps.push(Step::Simulated(site.to_owned(), x));
                Ok(y)
            }
        }
    }

    /// The layer with what the simulation makes of its weights.
    fn with_weights<L: Clone + Into<Layer>>(&mut self, site: &str, layer: &L) -> Result<Layer> {
        let layer: Layer = layer.clone().into();
        let simulated = match layer.weight() {
            Some(weight) => self.simulation.weights(site, weight)?,
            None => None,
        };
        match simulated {
            Some(simulated) => layer.with_weight(simulated.view()),
            None => Ok(layer),
        }
    }
}

impl Step {
    fn has_parameters(&self) -> bool {
        use Step::*;
        matches!(
            self,
            Linear(..) | Conv2d(..) | DepthwiseConv2d(..) | BatchNorm(..)
        )
    }
}

impl Gradients {
    fn insert(&mut self, site: &str, weight: ArrayD<f32>, bias: Array1<f32>) {
        self.parameters.insert(format!("{site}.weight"), weight);
        self.parameters
            .insert(format!("{site}.bias"), bias.into_dyn());
    }

    /// Inserts the gradients of a layer whose weights may be simulated.
    fn add<S: Simulation>(
        &mut self,
        simulation: &mut S,
        network: &Network,
        site: String,
        weight: ArrayD<f32>,
        bias: Array1<f32>,
    ) {
        let weight = match network.layer(&site).and_then(Layer::weight) {
            Some(own) => simulation.weights_gradient(&site, own, weight),
            None => weight,
        };
        self.insert(&site, weight, bias);
    }
}

macro_rules! recorded {
    ($method:ident, $layer:ident) => {
        fn $method(&mut self, site: &str, layer: &$layer, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
            let Layer::$layer(layer) = self.with_weights(site, layer)? else {
                unreachable!("a layer with other weights is of the same kind")
            };
            let y = forward::$method(&layer, &x)?;
            self.steps.push(Step::$layer(site.to_owned(), layer, x));
            self.simulated(site, y)
        }
    };
}

impl<S: Simulation> Executor for Tape<'_, S> {
    type Value = ArrayD<f32>;

    recorded!(linear, Linear);
    recorded!(conv2d, Conv2d);
    recorded!(depthwise_conv2d, DepthwiseConv2d);

    fn batch_norm(&mut self, site: &str, layer: &BatchNorm, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        Shapes.batch_norm(site, layer, x.shape().to_vec())?;
        let x = normalize(x)?;
        let y = forward::scale_and_shift(&layer.weight, &layer.bias, x.values.clone())?;
        self.steps
            .push(Step::BatchNorm(site.to_owned(), layer.clone(), x));
        self.simulated(site, y)
    }

    fn activation(&mut self, site: &str, layer: Activation, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        let y = layer.apply_all(x.clone());
        self.steps.push(Step::Activation(layer, x));
        self.simulated(site, y)
    }

    fn pool(&mut self, site: &str, layer: Pool, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        let y = forward::pool(layer, &x)?;
        self.steps.push(Step::Pool(layer, x));
        self.simulated(site, y)
    }

    fn flatten(&mut self, site: &str, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        self.steps.push(Step::Flatten(x.shape().to_vec()));
        let y = Float.flatten(site, x)?;
        self.simulated(site, y)
    }
}

/// (x − mean)/√(variance + ε) for each channel (the last axis), over the batch; sums in f64.
fn normalize(x: ArrayD<f32>) -> Result<Normalized> {
    let channels = x.shape().last().copied().unwrap_or(0);
    let rows = x.len().checked_div(channels).unwrap_or(0);
    if rows == 0 {
        return Err(Error::Empty);
    }
    let shape = x.shape().to_vec();
    let mut x = into_row_major(x);
    let mean = channel_sums(x.len(), channels, |sums, row| {
        for (sum, x) in sums.iter_mut().zip(&x[row]) {
            *sum += f64::from(*x);
        }
    });
    let mean: Vec<f64> = mean.into_iter().map(|sum| sum / rows as f64).collect();
    let variance = channel_sums(x.len(), channels, |sums, row| {
        for ((sum, x), mean) in sums.iter_mut().zip(&x[row]).zip(&mean) {
            *sum += (f64::from(*x) - mean).powi(2);
        }
    });
    let variance: Vec<f32> = variance.iter().map(|v| (v / rows as f64) as f32).collect();
    let mean: Vec<f32> = mean.iter().map(|&m| m as f32).collect();
    let deviation = variance.iter().map(|v| (v + BatchNorm::EPSILON).sqrt());
    let deviation: Vec<f32> = deviation.collect();
    runs::each(&mut x, channels, |run| {
        for row in run.chunks_exact_mut(channels) {
            for ((x, m), d) in row.iter_mut().zip(&mean).zip(&deviation) {
                *x = (*x - m) / d;
            }
        }
    });
    let values = from_values(&shape, x);
    let [mean, variance, deviation] = [mean, variance, deviation].map(Array1::from);
    Ok(Normalized {
        values,
        mean,
        variance,
        deviation,
    })
}

pub(super) fn same_shape(what: &'static str, expected: &[usize], actual: &[usize]) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    Err(Error::ShapeMismatch {
        what,
        expected: expected.to_vec(),
        actual: actual.to_vec(),
    })
}

//! One measure for all kinds of networks, so that one table can compare them.

use std::time::{Duration, Instant};

use ndarray::{ArrayD, ArrayViewD};

use super::{Dynamic, Static, WeightsOnly, float_bytes};
use crate::error::Result;
use crate::nn::{Dataset, Network};

/// A network of any kind that turns a batch of inputs into outputs.
pub trait Model {
    /// The outputs for a batch.
    ///
    /// # Errors
    /// As [`Network::forward`], and those of the kind.
    fn forward(&self, x: ArrayViewD<'_, f32>) -> Result<ArrayD<f32>>;

    /// Bytes of all parameters: codes at their bits, scales, biases.
    fn bytes(&self) -> usize;
}

impl Model for Network {
    fn forward(&self, x: ArrayViewD<'_, f32>) -> Result<ArrayD<f32>> {
        Self::forward(self, x)
    }

    fn bytes(&self) -> usize {
        float_bytes(self)
    }
}

macro_rules! model {
    ($($kind:ident),*) => {$(
        impl Model for $kind {
            fn forward(&self, x: ArrayViewD<'_, f32>) -> Result<ArrayD<f32>> {
                Self::forward(self, x)
            }

            fn bytes(&self) -> usize {
                Self::bytes(self)
            }
        }
    )*};
}
model!(WeightsOnly, Static, Dynamic);

/// What a network costs and what it gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// The mean loss.
    pub loss: f64,
    /// The part of the labels that have the largest output; `None` if the targets are numbers.
    pub accuracy: Option<f64>,
    /// Bytes of all parameters.
    pub bytes: usize,
    /// Samples a second, on the threads of the rayon pool that the caller is in.
    pub images_per_s: f64,
}

/// Scores `model` on `data`, `batch` samples at a time, and takes the time of its forward passes.
///
/// # Errors
/// As [`Dataset::score`] and [`Model::forward`].
pub fn evaluate(model: &dyn Model, data: &Dataset, batch: usize) -> Result<Evaluation> {
    let mut time = Duration::ZERO;
    let score = data.score(batch, |x| {
        let start = Instant::now();
        let outputs = model.forward(x.view());
        time += start.elapsed();
        outputs
    })?;
    Ok(Evaluation {
        loss: score.loss,
        accuracy: score.accuracy,
        bytes: model.bytes(),
        images_per_s: data.len() as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE),
    })
}

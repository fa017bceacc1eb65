//! Samples with their targets, and the score of a network on them.

use ndarray::{ArrayD, Axis};

use super::loss::{Targets, count_correct};
use crate::error::{Error, Result};

/// Samples and what a network should make of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    pub(super) inputs: ArrayD<f32>,
    pub(super) targets: Targets,
}

/// How well a network does on a [`Dataset`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The mean loss.
    pub loss: f64,
    /// The part of the labels that have the largest output; `None` if the targets are numbers.
    pub accuracy: Option<f64>,
}

impl Dataset {
    /// `inputs` is `[samples, …]`, with one target for each.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`], or [`Error::Empty`] without samples.
    pub fn new(inputs: ArrayD<f32>, targets: Targets) -> Result<Self> {
        let samples = inputs.shape().first().copied().unwrap_or(0);
        if targets.len() != samples {
            return Err(Error::LengthMismatch {
                what: "the targets",
                expected: samples,
                actual: targets.len(),
            });
        }
        if inputs.is_empty() {
            return Err(Error::Empty);
        }
        Ok(Self { inputs, targets })
    }

    /// The inputs, `[samples, …]`.
    pub fn inputs(&self) -> &ArrayD<f32> {
        &self.inputs
    }

    /// The targets.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Never true: a data set has samples.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The samples with these indices, in this order.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] if one of them does not exist, [`Error::Empty`] for none.
    pub fn select(&self, samples: &[usize]) -> Result<Self> {
        if let Some(sample) = samples.iter().find(|&&i| i >= self.len()) {
            return Err(Error::InvalidSetting {
                what: "a sample's index",
                value: sample.to_string(),
                allowed: "it must be less than the number of samples",
            });
        }
        let inputs = self.inputs.select(Axis(0), samples);
        Self::new(inputs, self.targets.select(samples))
    }

    /// The score of whatever turns a batch of inputs into outputs: a network in f32, in integers,
    /// or a stub. It is called with up to `batch` samples at a time.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] for an empty batch, what `predict` returns, and as
    /// [`Targets::loss`].
    pub fn score(
        &self,
        batch: usize,
        mut predict: impl FnMut(ArrayD<f32>) -> Result<ArrayD<f32>>,
    ) -> Result<Score> {
        at_least_one("the batch", batch)?;
        let (mut loss, mut correct) = (0.0, None);
        let samples: Vec<usize> = (0..self.len()).collect();
        for samples in samples.chunks(batch) {
            let part = self.select(samples)?;
            let outputs = predict(part.inputs)?;
            loss += part.targets.loss(outputs.view())?.0 * samples.len() as f64;
            if let Targets::Labels(labels) = &part.targets {
                *correct.get_or_insert(0) += count_correct(outputs.view(), labels)?;
            }
        }
        let samples = self.len() as f64;
        Ok(Score {
            loss: loss / samples,
            accuracy: correct.map(|correct| correct as f64 / samples),
        })
    }
}

/// Refuses 0.
pub(super) fn at_least_one(what: &'static str, value: usize) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::InvalidSetting {
        what,
        value: value.to_string(),
        allowed: "it must be at least 1",
    })
}

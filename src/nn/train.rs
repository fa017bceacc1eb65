//! The training loop and its recipe.

use std::hint::black_box;
use std::ops::ControlFlow;

use ndarray::ArrayD;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::adam::Adam;
use super::dataset::{Dataset, Score, at_least_one};
use super::{Gradients, Network, Simulation, Tape};
use crate::error::{Error, Result};

/// How the learning rate changes over the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Schedule {
    /// It stays.
    #[default]
    Constant,
    /// It falls to 0 along half a cosine. (Loshchilov and Hutter 2017, without restarts.)
    Cosine,
}

/// How to train. The same recipe on the same data gives the same network, whatever the number of
/// threads.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// How often each sample is seen.
    pub epochs: usize,
    /// Samples in one step.
    pub batch: usize,
    /// Adam's step size.
    pub learning_rate: f32,
    /// How it changes.
    pub schedule: Schedule,
    /// For the order of the samples and for `augment`.
    pub seed: u64,
    /// Ends the training after so many epochs without a lower validation loss (the training loss,
    /// without validation data), and goes back to the best epoch's network.
    pub patience: Option<usize>,
    /// Changes a batch of inputs before it is learned from, as by a mirror.
    pub augment: Option<fn(&mut ArrayD<f32>, &mut ChaCha8Rng)>,
}

impl Default for Recipe {
    /// Ten epochs in batches of 64, at the constant rate 0.001.
    fn default() -> Self {
        Self {
            epochs: 10,
            batch: 64,
            learning_rate: 1e-3,
            schedule: Schedule::Constant,
            seed: 0,
            patience: None,
            augment: None,
        }
    }
}

/// What one epoch brought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Which one, counted from 1.
    pub epoch: usize,
    /// The loss, averaged over the epoch's batches as they were learned from.
    pub training_loss: f64,
    /// The score on the validation data after the epoch, if there are any.
    pub validation: Option<Score>,
}

/// What [`train`] tells its watcher.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress {
    /// A step is done.
    Step {
        /// Steps so far, over all epochs.
        done: usize,
        /// Steps that the recipe asks for.
        of: usize,
    },
    /// An epoch is done.
    Epoch(Epoch),
}

/// Trains `network` with Adam, and returns what each epoch brought.
///
/// `simulation` is [`Exact`](super::Exact) for plain training. `watch` hears of each step and epoch
/// and can end the training.
///
/// # Errors
/// [`Error::InvalidSetting`] for a recipe that means nothing, [`Error::Diverged`] if the loss is
/// not finite, and as [`Tape::run`] and [`Targets::loss`](super::Targets::loss).
pub fn train<S: Simulation>(
    network: &mut Network,
    data: &Dataset,
    validation: Option<&Dataset>,
    recipe: &Recipe,
    simulation: &mut S,
    mut watch: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Vec<Epoch>> {
    recipe.check()?;
    keep_freed_memory();
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed);
    let mut adam = Adam::default();
    let mut order: Vec<usize> = (0..data.len()).collect();
    let of = recipe.epochs * data.len().div_ceil(recipe.batch);
    let (mut done, mut history, mut best) = (0, Vec::new(), Best::default());
    for epoch in 1..=recipe.epochs {
        order.shuffle(&mut rng);
        let mut loss = 0.0;
        for samples in order.chunks(recipe.batch) {
            let mut batch = data.select(samples)?;
            if let Some(augment) = recipe.augment {
                augment(&mut batch.inputs, &mut rng);
            }
            let (step_loss, gradients) = gradients(network, simulation, batch)?;
            if !step_loss.is_finite() {
                let loss = step_loss;
                return Err(Error::Diverged { epoch, loss });
            }
            let rate = recipe.rate(done, of);
            adam.step(network, &gradients, rate)?;
            simulation.step(rate)?;
            loss += step_loss * samples.len() as f64;
            done += 1;
            if watch(Progress::Step { done, of }).is_break() {
                return Ok(history);
            }
        }
        let score = |data: &Dataset| data.score(256, |x| simulation.predict(network, x.view()));
        let report = Epoch {
            epoch,
            training_loss: loss / data.len() as f64,
            validation: validation.map(score).transpose()?,
        };
        history.push(report);
        let stop = watch(Progress::Epoch(report)).is_break();
        if stop || best.is_over(recipe.patience, report, network) {
            break;
        }
    }
    best.restore(network);
    Ok(history)
}

/// Makes the next blocks of memory come from what was freed before. By default, glibc hands large
/// blocks back to the system at once, and fetching them again, page by page, took half the time of a
/// step. Up to the size of the largest block that it has seen freed, but no more than 32 MiB, it keeps
/// them. With another allocator this does nothing.
fn keep_freed_memory() {
    const LARGEST: usize = (32 << 20) - (64 << 10);
    drop(black_box(Vec::<u8>::with_capacity(LARGEST)));
}

/// The loss of one batch and its gradients.
// ANCHOR: gradients
fn gradients<S: Simulation>(
    network: &Network,
    simulation: &mut S,
    batch: Dataset,
) -> Result<(f64, Gradients)> {
    let mut tape = Tape::new(simulation);
    let outputs = tape.run(network, batch.inputs)?;
    let (loss, gradient) = batch.targets.loss(outputs.view())?;
    Ok((loss, tape.backward(network, gradient)?))
}
// ANCHOR_END: gradients

impl Recipe {
    fn check(&self) -> Result<()> {
        at_least_one("the number of epochs", self.epochs)?;
        at_least_one("the batch", self.batch)?;
        if self.learning_rate > 0.0 && self.learning_rate.is_finite() {
            return Ok(());
        }
        Err(Error::InvalidSetting {
            what: "the learning rate",
            value: self.learning_rate.to_string(),
            allowed: "it must be positive and finite",
        })
    }

    /// The learning rate after `done` of all steps.
    fn rate(&self, done: usize, of: usize) -> f32 {
        let part = done as f32 / of as f32;
        match self.schedule {
            Schedule::Constant => self.learning_rate,
            Schedule::Cosine => {
                self.learning_rate * 0.5 * (1.0 + (std::f32::consts::PI * part).cos())
            }
        }
    }
}

/// The best epoch so far, for early stopping.
#[derive(Default)]
struct Best(Option<(f64, usize, Network)>);

impl Best {
    /// Takes note of an epoch; true if `patience` epochs have brought nothing better.
    fn is_over(&mut self, patience: Option<usize>, epoch: Epoch, network: &Network) -> bool {
        let Some(patience) = patience else {
            return false;
        };
        let loss = epoch
            .validation
            .map_or(epoch.training_loss, |score| score.loss);
        match &self.0 {
            Some((best, at, _)) if loss >= *best => epoch.epoch - at >= patience,
            _ => {
                self.0 = Some((loss, epoch.epoch, network.clone()));
                false
            }
        }
    }

    fn restore(self, network: &mut Network) {
        if let Some((_, _, best)) = self.0 {
            *network = best;
        }
    }
}

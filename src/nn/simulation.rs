//! What training computes with in place of its weights and activations.

use ndarray::{ArrayD, ArrayViewD};

use super::Network;
use crate::error::Result;

/// What training sees in place of the weights and activations: nothing else, or rounded ones.
///
/// Quantization-aware training rounds in [`weights`](Self::weights) and
/// [`activations`](Self::activations) and decides in the two gradient methods what comes through:
/// for the straight-through estimator, everything that was not clipped. The default methods change
/// nothing.
pub trait Simulation {
    /// What to multiply by in place of the weights of `site`; `None` for the weights themselves.
    ///
    /// # Errors
    /// The implementation's.
    fn weights(&mut self, site: &str, w: ArrayViewD<'_, f32>) -> Result<Option<ArrayD<f32>>> {
        let _ = (site, w);
        Ok(None)
    }

    /// What flows on in place of the output of `site`; `None` for the output itself. The
    /// network's input has the site [`INPUT`].
    ///
    /// # Errors
    /// The implementation's.
    fn activations(&mut self, site: &str, x: ArrayViewD<'_, f32>) -> Result<Option<ArrayD<f32>>> {
        let _ = (site, x);
        Ok(None)
    }

    /// The gradient with respect to the weights `w`, given the one with respect to what
    /// [`weights`](Self::weights) made of them.
    fn weights_gradient(
        &mut self,
        site: &str,
        w: ArrayViewD<'_, f32>,
        gradient: ArrayD<f32>,
    ) -> ArrayD<f32> {
        let _ = (site, w);
        gradient
    }

    /// The same for activations.
    fn activations_gradient(
        &mut self,
        site: &str,
        x: ArrayViewD<'_, f32>,
        gradient: ArrayD<f32>,
    ) -> ArrayD<f32> {
        let _ = (site, x);
        gradient
    }

    /// Called behind each step of the training, which had this learning rate: the moment for what
    /// the simulation itself has to learn.
    ///
    /// # Errors
    /// The implementation's.
    fn step(&mut self, learning_rate: f32) -> Result<()> {
        let _ = learning_rate;
        Ok(())
    }

    /// The outputs of `network` for a batch, as they will be when the training is over: what the
    /// validation data are scored with.
    ///
    /// # Errors
    /// As [`Network::forward`], and the implementation's.
    fn predict(&self, network: &Network, x: ArrayViewD<'_, f32>) -> Result<ArrayD<f32>> {
        network.forward(x)
    }
}

/// The site of a network's input, for [`Simulation::activations`].
pub const INPUT: &str = "input";

/// Trains on the weights and activations as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exact;

impl Simulation for Exact {}

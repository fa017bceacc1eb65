//! Adam: steps of about one size in each parameter, whatever the size of its gradient.

use std::collections::BTreeMap;

use ndarray::{ArrayD, ArrayViewMutD, Zip};

use super::tape::same_shape;
use super::{Gradients, Network};
use crate::error::{Error, Result};

/// The optimizer Adam with its usual constants β₁ = 0.9, β₂ = 0.999, ε = 10⁻⁸. (Kingma and Ba 2015,
/// algorithm 1.)
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Adam {
    steps: i32,
    moments: BTreeMap<String, Moments>,
}

/// Running means of a parameter's gradient and of its square.
#[derive(Debug, Clone, PartialEq)]
struct Moments {
    mean: ArrayD<f32>,
    square: ArrayD<f32>,
}

impl Adam {
    const BETA1: f32 = 0.9;
    const BETA2: f32 = 0.999;
    const EPSILON: f32 = 1e-8;

    /// Moves each parameter that has a gradient one step of `learning_rate` down, and each batch
    /// norm's mean and variance a tenth of the way to those of the batch.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], with the parameter's name, if a gradient has another shape;
    /// [`Error::WrongTensors`] if it belongs to no parameter.
    pub fn step(
        &mut self,
        network: &mut Network,
        gradients: &Gradients,
        learning_rate: f32,
    ) -> Result<()> {
        check(network, gradients)?;
        for (name, mut running) in network.parameters_mut() {
            let (site, field) = name.rsplit_once('.').unwrap_or(("", &name));
            if let ("mean" | "variance", Some((mean, variance))) =
                (field, gradients.statistics.get(site))
            {
                let batch = if field == "mean" { mean } else { variance };
                running.zip_mut_with(batch, |running, batch| *running += 0.1 * (batch - *running));
            }
        }
        self.update(
            network.parameters_mut(),
            &gradients.parameters,
            learning_rate,
        );
        Ok(())
    }

    /// Moves each of the parameters that has a gradient, of its shape.
    pub(crate) fn update<'a>(
        &mut self,
        parameters: impl IntoIterator<Item = (String, ArrayViewMutD<'a, f32>)>,
        gradients: &BTreeMap<String, ArrayD<f32>>,
        learning_rate: f32,
    ) {
        self.steps = self.steps.saturating_add(1);
        for (name, parameter) in parameters {
            if let Some(gradient) = gradients.get(&name) {
                self.move_parameter(&name, parameter, gradient, learning_rate);
            }
        }
    }

    // ANCHOR: move_parameter
    fn move_parameter(
        &mut self,
        name: &str,
        mut parameter: ArrayViewMutD<'_, f32>,
        gradient: &ArrayD<f32>,
        learning_rate: f32,
    ) {
        let zeros = || ArrayD::zeros(gradient.raw_dim());
        let moments = self
            .moments
            .entry(name.to_owned())
            .or_insert_with(|| Moments {
                mean: zeros(),
                square: zeros(),
            });
        // Both means start at 0; dividing by 1 − βᵗ makes up for it.
        let mean_part = 1.0 - Self::BETA1.powi(self.steps);
        let square_part = 1.0 - Self::BETA2.powi(self.steps);
        Zip::from(&mut parameter)
            .and(&mut moments.mean)
            .and(&mut moments.square)
            .and(gradient)
            .for_each(|p, m, v, &g| {
                *m = Self::BETA1 * *m + (1.0 - Self::BETA1) * g;
                *v = Self::BETA2 * *v + (1.0 - Self::BETA2) * g * g;
                let (mean, size) = (*m / mean_part, (*v / square_part).sqrt());
                *p -= learning_rate * mean / (size + Self::EPSILON);
            });
    }
    // ANCHOR_END: move_parameter
}

/// Every gradient belongs to a parameter of its shape.
fn check(network: &Network, gradients: &Gradients) -> Result<()> {
    let parameters: BTreeMap<_, _> = network.parameters().into_iter().collect();
    for (name, gradient) in &gradients.parameters {
        let Some(parameter) = parameters.get(name) else {
            return Err(Error::WrongTensors {
                name: name.clone(),
                problem: "has a gradient but is no parameter of the network",
            });
        };
        same_shape("the gradient", parameter.shape(), gradient.shape())
            .map_err(|error| error.at(name))?;
    }
    Ok(())
}

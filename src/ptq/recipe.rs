//! What is decided before the data is seen, and the pairs that come of it when it is.

use ndarray::ArrayD;

use crate::calibrate::Method;
use crate::error::{Error, Result};
use crate::exec::{Calibrate, Pairs, Rounding, rounded_sites};
use crate::nn::Network;
use crate::qparams::QRange;
use crate::qtensor::choose_params;
use crate::scheme::{Granularity, Scheme, Symmetry};

/// How a static network is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe {
    /// Symmetric, up to 8 bits, per tensor or per output channel.
    pub weights: Scheme,
    /// Unsigned codes of up to 8 bits, one pair a tensor.
    pub activations: Scheme,
    /// How the ranges of the activations are chosen.
    pub method: Method,
    /// The arithmetic of requantization.
    pub rounding: Rounding,
}

impl Default for Recipe {
    /// INT8: weights per output channel, activations from their smallest to their largest value.
    fn default() -> Self {
        Self {
            weights: Scheme::weights(0),
            activations: Scheme::activations(),
            method: Method::default(),
            rounding: Rounding::default(),
        }
    }
}

impl Recipe {
    fn check(&self) -> Result<()> {
        use Granularity::{PerChannel, PerTensor};
        self.activations.range.check_fits::<u8>()?;
        let (what, granularity, allowed) = match (self.weights, self.activations) {
            (weights, _) if !matches!(weights.granularity, PerTensor | PerChannel { axis: 0 }) => (
                "the granularity of static weights",
                weights.granularity,
                "they share one scale a tensor, or one an output (axis 0)",
            ),
            (_, activations) if activations.granularity != PerTensor => (
                "the granularity of static activations",
                activations.granularity,
                "they share one pair a tensor",
            ),
            _ => return Ok(()),
        };
        let value = format!("{granularity:?}");
        Err(Error::InvalidSetting {
            what,
            value,
            allowed,
        })
    }

    /// The pairs for a network whose batch norms are folded: those of its weights from the weights,
    /// those of its activations from calibration data.
    ///
    /// # Errors
    /// As [`Static::new`](super::Static::new).
    pub fn choose(
        &self,
        network: &Network,
        calibration: impl IntoIterator<Item = ArrayD<f32>>,
    ) -> Result<Pairs> {
        self.check()?;
        let mut calibrate = Calibrate::new(self.method);
        for batch in calibration {
            calibrate.observe(network, batch)?;
        }
        let ranges = calibrate.ranges()?;
        let mut pairs = Pairs::default();
        for site in rounded_sites(network) {
            let (lo, hi) = ranges.get(site).copied().unwrap_or_default();
            let pair = self.activations.params(lo, hi);
            let pair = pair.map_err(|error| error.at(site))?;
            pairs.activations.insert(site.to_owned(), pair);
        }
        for (site, layer) in network.layers() {
            if let Some(weight) = layer.weight() {
                let chosen = choose_params(weight, self.weights).map_err(|e| e.at(site))?;
                pairs.weights.insert(site.to_owned(), chosen);
            }
        }
        Ok(pairs)
    }
}

/// Symmetric weights of 2 to 8 bits, without the lowest code: with one scale a tensor, or one an
/// output channel.
///
/// # Errors
/// [`Error::UnsupportedBits`].
pub fn weight_scheme(bits: u32, per_channel: bool) -> Result<Scheme> {
    if bits > 8 {
        return Err(Error::UnsupportedBits { bits });
    }
    Ok(Scheme {
        range: QRange::narrow(bits)?,
        symmetry: Symmetry::Symmetric,
        granularity: match per_channel {
            true => Granularity::PerChannel { axis: 0 },
            false => Granularity::PerTensor,
        },
    })
}

//! What is decided before the data is seen, and how each layer becomes integers.

use std::collections::BTreeMap;

use super::{bias_of, quantize_weight, stored_bytes, with_parameters};
use crate::calibrate::Method;
use crate::error::{Error, Result};
use crate::exec::{Multipliers, Product, Rounding, Step};
use crate::nn::{BatchNorm, Layer, Pool};
use crate::qparams::{QParams, QRange};
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
    pub(super) fn check(&self) -> Result<()> {
        self.activations.range.check_fits::<u8>()?;
        match self.activations.granularity {
            Granularity::PerTensor => Ok(()),
            other => Err(Error::InvalidSetting {
                what: "the granularity of static activations",
                value: format!("{other:?}"),
                allowed: "they share one pair a tensor",
            }),
        }
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

/// What is built while walking along the layers.
pub(super) struct Builder {
    pub(super) recipe: Recipe,
    /// The pair of the values that the next layer reads.
    pub(super) x: QParams,
    pub(super) steps: BTreeMap<String, Step>,
    pub(super) simulated: BTreeMap<String, Layer>,
    pub(super) pairs: BTreeMap<String, QParams>,
    pub(super) bytes: usize,
}

/// A bias has at most this many steps: 2³⁰.
const MAX_BIAS: f64 = (1u32 << 30) as f64;

impl Builder {
    /// A layer with weights. Its output, rounded at `source`, has the pair `output`; none for the
    /// logits.
    pub(super) fn product(
        &mut self,
        site: &str,
        source: &str,
        layer: &Layer,
        output: Option<QParams>,
    ) -> Result<Step> {
        let weight = layer.weight().ok_or(Error::Empty)?;
        let bias = bias_of(layer);
        let s_x = f64::from(self.x.scale());
        let least = |output: usize| (f64::from(bias[output]).abs() / (s_x * MAX_BIAS)) as f32;
        let codes = quantize_weight(weight, self.recipe.weights, least)?;
        let product = Product::of(layer, &codes)?;
        let scales = product.scales().iter().map(|s_w| s_x * f64::from(*s_w));
        let scales: Vec<f64> = scales.collect();
        let steps = bias.iter().zip(&scales).map(|(b, s)| f64::from(*b) / s);
        let steps: Vec<i32> = steps.map(|b| b.round_ties_even() as i32).collect();

        let rounded = with_parameters(layer, |name| match name {
            "weight" => Some(codes.dequantize().into_iter().collect()),
            "bias" => {
                let bias = steps.iter().zip(&scales);
                Some(bias.map(|(b, s)| (f64::from(*b) * s) as f32).collect())
            }
            _ => None,
        });
        self.simulated.insert(site.to_owned(), rounded);
        self.bytes += stored_bytes(&codes, bias.len());
        let Some(output) = output else {
            return Ok(Step::Logits {
                product,
                bias: steps,
                scales: scales.into_iter().map(|s| s as f32).collect(),
            });
        };
        self.x = output;
        self.pairs.insert(source.to_owned(), output);
        let s_y = f64::from(output.scale());
        let factors = scales.into_iter().map(|s| s / s_y);
        Ok(Step::Requantize {
            multipliers: Multipliers::new(self.recipe.rounding, factors),
            bias: steps,
            product,
            output,
        })
    }

    /// A layer without weights; `done` if the product before it has done its work.
    pub(super) fn other(
        &mut self,
        site: &str,
        layer: &Layer,
        done: bool,
        output: QParams,
    ) -> Result<Step> {
        let x = self.x;
        let step = match layer {
            _ if done => return Ok(Step::Keep),
            Layer::Activation(function) => Step::Lookup {
                tables: vec![table(x, output, |x| function.apply(x))?],
                output,
            },
            Layer::BatchNorm(norm) => Step::Lookup {
                tables: norm_tables(norm, x, output)?,
                output,
            },
            Layer::Pool(Pool::Average(_) | Pool::GlobalAverage) => Step::Mean { output },
            _ => return Ok(Step::Keep),
        };
        self.x = output;
        self.pairs.insert(site.to_owned(), output);
        Ok(step)
    }
}

/// The code of f(x) for the x that each code stands for.
fn table(x: QParams, y: QParams, f: impl Fn(f32) -> f32) -> Result<[u8; 256]> {
    let mut table = [0; 256];
    for (code, entry) in (0..).zip(&mut table) {
        *entry = y.quantize(f(x.dequantize(code)))? as u8;
    }
    Ok(table)
}

fn norm_tables(norm: &BatchNorm, x: QParams, y: QParams) -> Result<Vec<[u8; 256]>> {
    let (factor, shift) = norm.factor_and_shift();
    let channels = factor.iter().zip(&shift);
    channels
        .map(|(factor, shift)| table(x, y, |x| x * factor + shift))
        .collect()
}

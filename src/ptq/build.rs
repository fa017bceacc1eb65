//! How each layer becomes integers.

use std::collections::BTreeMap;

use ndarray::ArrayViewD;

use super::{bias_of, stored_bytes, with_parameters};
use crate::error::{Error, Result};
use crate::exec::{Pairs, Product, Requantize, Rounding, Step, weight_granularity};
use crate::nn::{BatchNorm, INPUT, Layer, Pool};
use crate::qparams::QParams;
use crate::qtensor::QTensor;

/// What is built while walking along the layers.
pub(super) struct Builder<'a> {
    pairs: &'a Pairs,
    rounding: Rounding,
    /// The pair of the values that the next layer reads.
    x: QParams,
    pub(super) steps: BTreeMap<String, Step>,
    pub(super) simulated: BTreeMap<String, Layer>,
    /// The pair of each site whose output has been rounded.
    pub(super) rounded: BTreeMap<String, QParams>,
    pub(super) bytes: usize,
}

/// A bias has at most this many steps: 2³⁰.
const MAX_BIAS: f64 = (1u32 << 30) as f64;

/// 2⁻⁴⁰: a sum in i32 times so little is far below half a code, so weights that are this small
/// count for nothing.
const MIN_MULTIPLIER: f64 = 1.0 / (1u64 << 40) as f64;

impl<'a> Builder<'a> {
    /// Before the first layer.
    pub(super) fn new(pairs: &'a Pairs, rounding: Rounding) -> Result<Self> {
        let mut builder = Self {
            pairs,
            rounding,
            x: pairs.of_activations(INPUT)?,
            steps: BTreeMap::new(),
            simulated: BTreeMap::new(),
            rounded: BTreeMap::new(),
            bytes: 0,
        };
        builder.round(INPUT).map_err(|error| error.at(INPUT))?;
        Ok(builder)
    }

    /// The pair of the values at `site`, which the next layer reads.
    fn round(&mut self, site: &str) -> Result<QParams> {
        self.x = self.pairs.of_activations(site)?;
        self.x.range().check_fits::<u8>()?;
        self.rounded.insert(site.to_owned(), self.x);
        Ok(self.x)
    }

    /// A layer with weights. Its output is rounded at the site `source`; none for the logits.
    pub(super) fn product(
        &mut self,
        site: &str,
        layer: &Layer,
        source: Option<&str>,
    ) -> Result<Step> {
        let weight = layer.weight().ok_or(Error::Empty)?;
        let bias = bias_of(layer);
        let x_scale = self.x.scale();
        let output = source.map(|source| self.round(source)).transpose()?;
        let s_x = f64::from(x_scale);
        let s_y = output.map_or(0.0, |output| f64::from(output.scale()));
        let least = |output: usize| {
            let for_bias = f64::from(bias[output]).abs() / MAX_BIAS;
            (for_bias.max(s_y * MIN_MULTIPLIER) / s_x) as f32
        };
        let codes = quantize(weight, self.pairs.of_weights(site)?, least)?;
        let product = Product::of(layer, &codes)?;
        let scales = product.scales().iter().map(|s_w| s_x * f64::from(*s_w));
        let scales: Vec<f64> = scales.collect();
        let steps = bias_steps(&bias, &scales);

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
        Ok(Step::Requantize {
            epilogue: Requantize::new(self.rounding, x_scale, product.scales(), output, &steps)?,
            product,
            output,
        })
    }

    /// A layer without weights. Its output is rounded only if it computes new numbers.
    pub(super) fn other(&mut self, site: &str, layer: &Layer) -> Result<Step> {
        let x = self.x;
        Ok(match layer {
            Layer::Activation(function) => {
                let output = self.round(site)?;
                let tables = vec![table(x, output, |x| function.apply(x))?];
                Step::Lookup { tables, output }
            }
            Layer::BatchNorm(norm) => {
                let output = self.round(site)?;
                let tables = norm_tables(norm, x, output)?;
                Step::Lookup { tables, output }
            }
            Layer::Pool(Pool::Average(_) | Pool::GlobalAverage) => {
                let output = self.round(site)?;
                let rounding = self.rounding;
                Step::Mean { rounding, output }
            }
            _ => Step::Keep,
        })
    }
}

/// Biases in steps of s_x·s_w, one of which each output has.
// ANCHOR: bias_steps
fn bias_steps(bias: &[f32], scales: &[f64]) -> Vec<i32> {
    let steps = bias.iter().zip(scales);
    let steps = steps.map(|(bias, scale)| f64::from(*bias) / scale);
    steps.map(|steps| steps.round_ties_even() as i32).collect()
}
// ANCHOR_END: bias_steps

/// The weights of a layer as codes. `least` is the smallest scale that each output may have.
fn quantize(
    weight: ArrayViewD<'_, f32>,
    pairs: &[QParams],
    least: impl Fn(usize) -> f32,
) -> Result<QTensor> {
    let mut pairs = pairs.to_vec();
    let count = pairs.len().max(1);
    for output in 0..weight.shape().first().copied().unwrap_or(0) {
        if let Some(pair) = pairs.get_mut(output % count)
            && least(output) > pair.scale()
        {
            *pair = QParams::new(least(output), pair.zero_point(), pair.range())?;
        }
    }
    QTensor::quantize_with(weight, weight_granularity(&pairs), pairs)
}

/// The code of f(x) for the x that each code stands for.
// ANCHOR: table
fn table(x: QParams, y: QParams, f: impl Fn(f32) -> f32) -> Result<[u8; 256]> {
    let mut table = [0; 256];
    for (code, entry) in (0..).zip(&mut table) {
        *entry = y.quantize(f(x.dequantize(code)))? as u8;
    }
    Ok(table)
}
// ANCHOR_END: table

fn norm_tables(norm: &BatchNorm, x: QParams, y: QParams) -> Result<Vec<[u8; 256]>> {
    let (factor, shift) = norm.factor_and_shift();
    let channels = factor.iter().zip(&shift);
    channels
        .map(|(factor, shift)| table(x, y, |x| x * factor + shift))
        .collect()
}

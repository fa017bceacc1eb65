//! Quantized networks as safetensors: codes, scales and zero points.
//!
//! A layer's weights are `site.weight`, codes in signed bytes, with `site.weight.scale`, one number
//! or one for each output, and `site.weight.codes`, the smallest and the largest code. The values
//! at a site have `site.output.scale`, `site.output.zero_point` and `site.output.codes`. Biases and
//! batch norms are f32, as in a file of [`save_network`](super::save_network).

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{Array1, ArrayD, ArrayViewD, IxDyn};

use super::safetensors::{Tensor, load, save};
use super::{in_file, malformed};
use crate::error::{Error, Result, same_length};
use crate::exec::{Pairs, weight_granularity};
use crate::nn::Network;
use crate::qparams::{QParams, QRange};
use crate::qtensor::QTensor;

/// Writes the weights of `network` as the codes that `pairs` gives them, and the pairs.
///
/// # Errors
/// With the file's name: [`Error::WrongTensors`] if a pair is missing; [`Error::RangeDoesNotFit`]
/// or [`Error::InvalidSetting`] if codes are no signed bytes around 0; and as
/// [`QTensor::quantize_with`] and [`save`].
pub fn save_quantized(path: &Path, network: &Network, pairs: &Pairs) -> Result<()> {
    let tensors = tensors(network, pairs).map_err(in_file(path))?;
    save(path, tensors)
}

fn tensors(network: &Network, pairs: &Pairs) -> Result<Vec<(String, Tensor)>> {
    let mut tensors = Vec::new();
    for (name, parameter) in network.parameters() {
        match weight_site(network, &name) {
            None => tensors.push((name, Tensor::F32(parameter.to_owned()))),
            Some(site) => {
                let pairs = pairs.of_weights(site)?;
                let weight = codes(parameter, pairs).map_err(|error| error.at(site))?;
                tensors.push((name.clone(), weight));
                push_scales(&mut tensors, &name, pairs);
            }
        }
    }
    for (site, pair) in &pairs.activations {
        let name = format!("{site}.output");
        push_scales(&mut tensors, &name, &[*pair]);
        let zero_point = Tensor::I32(integers(&[pair.zero_point()]));
        tensors.push((format!("{name}.zero_point"), zero_point));
    }
    Ok(tensors)
}

/// The layer whose weights have this name.
fn weight_site<'a>(network: &Network, name: &'a str) -> Option<&'a str> {
    let site = name.strip_suffix(".weight")?;
    network.layer(site)?.weight().map(|_| site)
}

fn codes(weight: ArrayViewD<'_, f32>, pairs: &[QParams]) -> Result<Tensor> {
    for pair in pairs {
        pair.range().check_fits::<i8>()?;
        if pair.zero_point() != 0 {
            return Err(Error::InvalidSetting {
                what: "the zero point of weights",
                value: pair.zero_point().to_string(),
                allowed: "it must be 0: choose symmetric weights",
            });
        }
    }
    let shape = IxDyn(weight.shape());
    let quantized = QTensor::quantize_with(weight, weight_granularity(pairs), pairs.to_vec())?;
    let codes = quantized.to_codes().into_iter().map(|code| code as i8);
    let codes = ArrayD::from_shape_vec(shape, codes.collect()).map_err(|_| Error::Empty)?;
    Ok(Tensor::I8(codes))
}

fn push_scales(tensors: &mut Vec<(String, Tensor)>, name: &str, pairs: &[QParams]) {
    let scales = Array1::from_iter(pairs.iter().map(|pair| pair.scale()));
    let range = pairs.first().map_or(QRange::I8, |pair| pair.range());
    let ends = Tensor::I32(integers(&[range.min(), range.max()]));
    tensors.push((format!("{name}.scale"), Tensor::F32(scales.into_dyn())));
    tensors.push((format!("{name}.codes"), ends));
}

fn integers(values: &[i32]) -> ArrayD<i32> {
    Array1::from(values.to_vec()).into_dyn()
}

/// Replaces the parameters of `network`, whose batch norms are folded if those of the saved one
/// were, by those of a file, which must hold just them: weights by the numbers that their codes
/// stand for. Returns the pairs.
///
/// # Errors
/// With the file's name: as [`load`] and [`Network::load`]; [`Error::WrongTensors`] if a tensor is
/// missing, of another type, or not the network's; [`Error::LengthMismatch`]; and as
/// [`QParams::new`], with the tensor's name. The network is then as it was.
pub fn load_quantized(path: &Path, network: &mut Network) -> Result<Pairs> {
    let file = File(load(path)?);
    file.read(network).map_err(in_file(path))
}

/// The tensors that have not been used.
struct File(BTreeMap<String, Tensor>);

impl File {
    fn read(mut self, network: &mut Network) -> Result<Pairs> {
        let (mut pairs, mut parameters) = (Pairs::default(), BTreeMap::new());
        for (name, _) in network.parameters() {
            let value = match weight_site(network, &name) {
                None => self.take(&name, Tensor::into_f32)?,
                Some(site) => {
                    let codes = self.take(&name, Tensor::into_i8)?;
                    let chosen = self.pairs(&name, 0)?;
                    let value = dequantize(&codes, &chosen).map_err(|error| error.at(&name))?;
                    pairs.weights.insert(site.to_owned(), chosen);
                    value
                }
            };
            parameters.insert(name, value);
        }
        let sites: Vec<String> = self.0.keys().filter_map(|name| output_site(name)).collect();
        for site in sites {
            let name = format!("{site}.output");
            let zero_points = self.take(&format!("{name}.zero_point"), Tensor::into_i32)?;
            let one = |count| same_length("scales of activations", 1, count);
            one(zero_points.len()).map_err(|error| error.at(&name))?;
            let zero_point = zero_points.into_iter().next().unwrap_or_default();
            let chosen = self.pairs(&name, zero_point)?;
            one(chosen.len()).map_err(|error| error.at(&name))?;
            pairs
                .activations
                .extend(chosen.into_iter().map(|pair| (site.clone(), pair)));
        }
        if let Some(name) = self.0.into_keys().next() {
            let problem = "is not one of the network's";
            return Err(Error::WrongTensors { name, problem });
        }
        network.load(|name| parameters.get(name).map(|value| value.view()))?;
        Ok(pairs)
    }

    fn take<T>(&mut self, name: &str, of_type: impl Fn(Tensor) -> Option<T>) -> Result<T> {
        let wrong = |problem| Error::WrongTensors {
            name: name.to_owned(),
            problem,
        };
        let tensor = self.0.remove(name).ok_or_else(|| wrong("is missing"))?;
        of_type(tensor).ok_or_else(|| wrong("is of another type than expected"))
    }

    /// The pairs with this zero point.
    fn pairs(&mut self, name: &str, zero_point: i32) -> Result<Vec<QParams>> {
        let scales = self.take(&format!("{name}.scale"), Tensor::into_f32)?;
        let ends = self.take(&format!("{name}.codes"), Tensor::into_i32)?;
        let pairs = range(ends.as_slice().unwrap_or_default()).and_then(|range| {
            let pair = |scale| QParams::new(scale, zero_point, range);
            scales.into_iter().map(pair).collect()
        });
        pairs.map_err(|error| error.at(name))
    }
}

fn dequantize(codes: &ArrayD<i8>, pairs: &[QParams]) -> Result<ArrayD<f32>> {
    let mut values = codes.mapv(f32::from);
    let outputs = codes.shape().first().copied().unwrap_or(0);
    if pairs.len() != 1 {
        same_length("the scales of weights", outputs, pairs.len())?;
    }
    for (output, mut values) in values.outer_iter_mut().enumerate() {
        let pair = pairs[output % pairs.len()];
        let outside = |code: &&f32| !pair.range().contains(**code as i32);
        if let Some(code) = values.iter().find(outside) {
            let range = pair.range();
            return Err(malformed(format!("{code} is no code of {range}")));
        }
        values.mapv_inplace(|code| pair.dequantize(code as i32));
    }
    Ok(values)
}

/// The range with these ends.
fn range(ends: &[i32]) -> Result<QRange> {
    let kinds = [QRange::signed, QRange::narrow, QRange::unsigned];
    let mut ranges = (2..=8)
        .chain([16])
        .flat_map(|bits| kinds.map(|of| of(bits)));
    let range = ranges.find_map(|range| range.ok().filter(|r| [r.min(), r.max()] == ends));
    range.ok_or_else(|| malformed(format!("no codes have the ends {ends:?}")))
}

/// The site of a scale of activations.
fn output_site(name: &str) -> Option<String> {
    name.strip_suffix(".output.scale").map(str::to_owned)
}

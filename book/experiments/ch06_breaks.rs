//! Chapter 6: calibration data that are not typical, biases in 8 bits, and norms folded wrongly or
//! not at all.

pub mod support;

use std::error::Error;

use fewer_bits::nn::{Dataset, Layer, Network, Pool, Window, fold_batch_norm};
use fewer_bits::ptq::{Recipe, Static};
use ndarray::ArrayD;
use support::networks::{self, correct, predictions};
use support::{Evidence, Outcome};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let mut dark =
        String::from("| network | f32 | ¼ | ½ | 1 | 2 | 4 |\n|:--|--:|--:|--:|--:|--:|--:|\n");
    let mut bias = String::from(
        "| network | largest bias in steps | right, bias in i32 | i8, at its own scale | i8, at $s_x s_w$ |\n\
         |:--|--:|--:|--:|--:|\n",
    );
    for name in networks::NAMES {
        let trial = Trial::new(name)?;
        dark += &trial.brightness()?;
        bias += &trial.biases()?;
    }
    evidence.text("ch06_dark.md", dark);
    evidence.text("ch06_bias.md", bias);
    evidence.text("ch06_fold.md", Trial::new("ds_cnn")?.folds()?);
    Ok(())
}

/// A network, and some images to calibrate and to test it with.
struct Trial {
    name: &'static str,
    network: Network,
    calibration: ArrayD<f32>,
    test: Dataset,
}

impl Trial {
    fn new(name: &'static str) -> Result<Self> {
        let (calibration, test) = networks::committed(name)?;
        Ok(Self {
            name,
            network: networks::trained(name)?,
            calibration: networks::first(&calibration, 64)?.inputs().clone(),
            test: networks::first(&test, 250)?,
        })
    }

    /// How many images are right in integers.
    fn score(&self, network: &Network, calibration: ArrayD<f32>) -> Result<usize> {
        let quantized = Static::new(network, [calibration], Recipe::default())?;
        let y = quantized.forward(self.test.inputs().view())?;
        Ok(correct(&predictions(&y), &self.test))
    }

    fn float_score(&self, network: &Network) -> Result<usize> {
        let y = network.forward(self.test.inputs().view())?;
        Ok(correct(&predictions(&y), &self.test))
    }

    /// Calibrated with images that are darker or brighter than those of the test.
    fn brightness(&self) -> Result<String> {
        let network = fold_batch_norm(&self.network)?;
        let mut row = format!("| {} | {} |", self.name, self.float_score(&network)?);
        for factor in [0.25, 0.5, 1.0, 2.0, 4.0] {
            let calibration = self.calibration.mapv(|x| x * factor);
            row += &format!(" {} |", self.score(&network, calibration)?);
        }
        Ok(row + "\n")
    }

    /// For each layer with weights and each of its outputs, s_x·s_w.
    fn bias_scales(&self, folded: &Network) -> Result<Vec<(String, Vec<f32>)>> {
        let calibration = [self.calibration.clone()];
        let quantized = Static::new(folded, calibration, Recipe::default())?;
        let mut x = quantized.input().scale();
        let mut scales = Vec::new();
        for (site, layer) in folded.layers() {
            if let Some(weight) = layer.weight() {
                let largest = weight.outer_iter();
                let largest = largest.map(|w| w.iter().fold(0f32, |m, w| m.max(w.abs())));
                let products = largest.map(|largest| x * largest / 127.0);
                scales.push((format!("{site}.bias"), products.collect()));
            }
            if let Some(pair) = quantized.pairs().get(site) {
                x = pair.scale();
            }
        }
        Ok(scales)
    }

    /// With biases that went through 8 bits.
    fn biases(&self) -> Result<String> {
        let folded = fold_batch_norm(&self.network)?;
        let scales = self.bias_scales(&folded)?;
        let (mut own, mut shared) = (folded.clone(), folded.clone());
        let mut most = 0f32;
        for (name, mut bias) in own.parameters_mut() {
            if name.ends_with(".bias") {
                let scale = bias.iter().fold(0f32, |m, b| m.max(b.abs())) / 127.0;
                bias.mapv_inplace(|b| (b / scale).round_ties_even() * scale);
            }
        }
        for (name, mut bias) in shared.parameters_mut() {
            let Some((_, scales)) = scales.iter().find(|(of, _)| *of == name) else {
                continue;
            };
            for (b, scale) in bias.iter_mut().zip(scales) {
                let steps = (*b / scale).round_ties_even();
                most = most.max(steps.abs());
                *b = steps.clamp(-127.0, 127.0) * scale;
            }
        }
        let right = [&folded, &own, &shared];
        let mut row = format!("| {} | {most} |", self.name);
        for network in right {
            row += &format!(" {} |", self.score(network, self.calibration.clone())?);
        }
        Ok(row + "\n")
    }

    /// A pool of one pixel changes nothing, but keeps a norm from being folded. Statistics that are
    /// not those of the training belong to another network.
    fn folds(&self) -> Result<String> {
        let mut layers: Vec<(String, Layer)> = Vec::new();
        for (name, layer) in self.network.layers() {
            if matches!(layer, Layer::BatchNorm(_)) {
                layers.push((format!("before {name}"), Pool::Max(Window::POINT).into()));
            }
            layers.push((name.to_owned(), layer.clone()));
        }
        let unfolded = Network::new(self.network.input_shape(), layers)?;
        let stale = |of: &str| {
            let mut network = self.network.clone();
            for (name, mut parameter) in network.parameters_mut() {
                if name.contains(of) && name.ends_with(".mean") {
                    parameter.fill(0.0);
                }
                if name.contains(of) && name.ends_with(".variance") {
                    parameter.fill(1.0);
                }
            }
            network
        };
        let mut table =
            String::from("| batch norms | right in f32 | in integers |\n|:--|--:|--:|\n");
        for (name, network) in [
            ("folded", self.network.clone()),
            ("not folded", unfolded),
            (
                "one folded with the statistics it began with",
                stale("depthwise2.norm"),
            ),
            (
                "all folded with the statistics they began with",
                stale(".norm"),
            ),
        ] {
            let float = self.float_score(&network)?;
            let integers = self.score(&network, self.calibration.clone())?;
            table += &format!("| {name} | {float} | {integers} |\n");
        }
        Ok(table)
    }
}

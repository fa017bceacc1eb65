//! Chapter 8: what to begin with, which ranges to take, and what the codes do in the meantime; on
//! the digits, which train in a second.
//!
//! A processor that rounds a product of matrices otherwise trains other weights, so nobody compares
//! these numbers with those of another machine.

pub mod support;

use std::error::Error;
use std::ops::ControlFlow;

use fewer_bits::QTensor;
use fewer_bits::exec::{Pairs, Rounding};
use fewer_bits::nn::*;
use fewer_bits::ptq::{self, Static, weight_scheme};
use fewer_bits::qat::{FakeQuantizer, Ranges};
use fewer_bits::{Granularity, models};
use ndarray::ArrayD;
use support::{Evidence, Outcome, networks};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SEEDS: [u64; 3] = [1, 2, 3];
const OBSERVED: Ranges = Ranges::Observed { momentum: 0.01 };

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.timing("ch08_ranges.md", || {
        let mut table = String::from(
            "| weights | without training | observed | learned | learned, fitted before | from nothing, learned |\n\
             |:--|--:|--:|--:|--:|--:|\n",
        );
        for bits in [4, 3, 2] {
            table += &format!("| {bits} bits |{}\n", row(bits)?);
        }
        Ok(table)
    })?;
    evidence.timing("ch08_oscillation.md", || {
        let mut table = String::from(
            "| learning rate | weights whose code changed in the last epoch | more than once |\n|:--|--:|--:|\n",
        );
        for (name, schedule) in [("constant", Schedule::Constant), ("falls to 0", Schedule::Cosine)] {
            table += &format!("| {name} |{}\n", changed(schedule)?);
        }
        Ok(table)
    })
}

/// Training images, those to test with, and the trained network.
fn digits() -> Result<(Dataset, Dataset, Network)> {
    let (training, test) = networks::digits()?;
    Ok((training, test, networks::trained("digits")?))
}

fn recipe(epochs: usize, schedule: Schedule, seed: u64) -> Recipe {
    Recipe {
        epochs,
        batch: 32,
        learning_rate: 2e-3,
        schedule,
        seed,
        ..Recipe::default()
    }
}

/// The pairs that calibration chooses.
fn start(network: &Network, training: &Dataset, bits: u32) -> Result<Pairs> {
    let recipe = ptq::Recipe {
        weights: weight_scheme(bits, true)?,
        ..ptq::Recipe::default()
    };
    let images = networks::first(training, 512)?.inputs().clone();
    Ok(recipe.choose(network, [images])?)
}

/// The accuracy in percent of the network in integers.
fn accuracy(network: &Network, pairs: &Pairs, test: &Dataset) -> Result<f64> {
    let integers = Static::with_pairs(network, pairs, Rounding::Float)?;
    let score = test.score(360, |x| integers.forward(x.view()))?;
    Ok(100.0 * score.accuracy.unwrap_or(f64::NAN))
}

fn row(bits: u32) -> Result<String> {
    let (training, test, network) = digits()?;
    let pairs = start(&network, &training, bits)?;
    let fitted = pairs.clone().fit_weights(&network)?;
    let before = accuracy(&network, &pairs, &test)?;
    let mut row = format!(" {before:.1} |");
    let ways = [
        (false, pairs.clone(), OBSERVED),
        (false, pairs, Ranges::Learned),
        (false, fitted, Ranges::Learned),
        (true, Pairs::default(), Ranges::Learned),
    ];
    for (anew, pairs, ranges) in ways {
        let mut accuracies = Vec::new();
        for seed in SEEDS {
            let (mut network, pairs) = match anew {
                false => (network.clone(), pairs.clone()),
                true => {
                    let network = models::digits(seed)?;
                    let pairs = start(&network, &training, bits)?;
                    (network, pairs)
                }
            };
            let mut quantizer = FakeQuantizer::new(pairs, ranges)?;
            let recipe = recipe(if anew { 100 } else { 20 }, Schedule::Cosine, seed);
            let go_on = |_| ControlFlow::Continue(());
            train(
                &mut network,
                &training,
                None,
                &recipe,
                &mut quantizer,
                go_on,
            )?;
            accuracies.push(accuracy(&network, &quantizer.pairs(&network)?, &test)?);
        }
        accuracies.sort_by(f64::total_cmp);
        let [least, middle, most] = accuracies[..] else {
            return Err("three seeds".into());
        };
        row += &format!(" {middle:.1} ({least:.1}–{most:.1}) |");
    }
    Ok(row)
}

/// The codes of a layer's weights.
fn codes(network: &Network, pairs: &Pairs) -> Result<Vec<i32>> {
    let mut codes = Vec::new();
    for (site, layer) in network.layers() {
        if let Some(weight) = layer.weight() {
            let pairs = pairs.of_weights(site)?.to_vec();
            let granularity = Granularity::PerChannel { axis: 0 };
            codes.extend(QTensor::quantize_with(weight, granularity, pairs)?.to_codes());
        }
    }
    Ok(codes)
}

/// How many of the weights changed their code in the last of 20 epochs of 2 bits, and how many more
/// than once.
fn changed(schedule: Schedule) -> Result<String> {
    let (training, _, mut network) = digits()?;
    let pairs = start(&network, &training, 2)?.fit_weights(&network)?;
    let mut quantizer = FakeQuantizer::new(pairs, Ranges::Learned)?;
    let recipe = recipe(20, schedule, 1);
    let mut watched = Watched::default();
    watched.follow(&mut network, &mut quantizer, &training, &recipe)?;
    let count = |at_least: u32| watched.changes.iter().filter(|&&c| c >= at_least).count();
    let percent = |count: usize| 100.0 * count as f64 / watched.changes.len() as f64;
    Ok(format!(
        " {:.1} % | {:.1} % |",
        percent(count(1)),
        percent(count(2))
    ))
}

/// How often each weight's code has changed.
#[derive(Default)]
struct Watched {
    codes: Vec<i32>,
    changes: Vec<u32>,
}

impl Watched {
    /// Trains as [`train`] does, and looks at the codes behind each step of the last epoch.
    fn follow(
        &mut self,
        network: &mut Network,
        quantizer: &mut FakeQuantizer,
        training: &Dataset,
        recipe: &Recipe,
    ) -> Result<()> {
        let steps = training.len().div_ceil(recipe.batch);
        let of = steps * recipe.epochs;
        let mut adam = Adam::default();
        for done in 0..of {
            let rate = match recipe.schedule {
                Schedule::Cosine => {
                    let part = done as f32 / of as f32;
                    recipe.learning_rate * 0.5 * (1.0 + (std::f32::consts::PI * part).cos())
                }
                _ => recipe.learning_rate,
            };
            let first = done % steps * recipe.batch;
            let samples: Vec<usize> = (first..training.len().min(first + recipe.batch)).collect();
            let batch = training.select(&samples)?;
            let mut tape = Tape::new(quantizer);
            let outputs: ArrayD<f32> = tape.run(network, batch.inputs().clone())?;
            let (_, gradient) = batch.targets().loss(outputs.view())?;
            let gradients = tape.backward(network, gradient)?;
            adam.step(network, &gradients, rate)?;
            quantizer.step(rate)?;
            if done >= of - steps {
                self.look(codes(network, &quantizer.pairs(network)?)?);
            }
        }
        Ok(())
    }

    fn look(&mut self, codes: Vec<i32>) {
        self.changes.resize(codes.len(), 0);
        for ((change, old), new) in self.changes.iter_mut().zip(&self.codes).zip(&codes) {
            *change += u32::from(old != new);
        }
        self.codes = codes;
    }
}

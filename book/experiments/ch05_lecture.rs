//! Chapter 5: the lecture's model on noise and on data with a law in it, and the lecture's own
//! quantization of it, with its mistakes, beside the right one.

pub mod support;

use std::ops::ControlFlow;

use fewer_bits::nn::*;
use fewer_bits::ptq::WeightsOnly;
use fewer_bits::{Granularity, QParams, QRange, Scheme, Symmetry, models};
use ndarray::Array2;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use support::figure::*;
use support::{Evidence, Outcome, networks};

/// The deviation of the noise on top of the law.
const NOISE: f32 = 0.1;
/// The samples of the lecture.
const SAMPLES: usize = 1000;

pub fn main() -> Outcome {
    support::write(run)
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub fn run(evidence: &mut Evidence) -> Outcome {
    let mut rng = ChaCha8Rng::seed_from_u64(55);
    let law = normal((11, 1), &mut rng);
    let (noise, new_noise) = (pure_noise(&mut rng)?, pure_noise(&mut rng)?);
    let (lawful, new_lawful) = (lawful(&law, &mut rng)?, lawful(&law, &mut rng)?);
    let (on_noise, noise_epochs) = fit(&noise, &new_noise)?;
    let (on_law, law_epochs) = fit(&lawful, &new_lawful)?;

    evidence.text("ch05_by_hand.md", by_hand()?);
    let mut table = String::from(
        "| epoch | noise: loss | noise: new data | law: loss | law: new data |\n|--:|--:|--:|--:|--:|\n",
    );
    let new = |epoch: &Epoch| epoch.validation.map_or(f64::NAN, |score| score.loss);
    for (noise, law) in noise_epochs.iter().zip(&law_epochs) {
        table += &format!(
            "| {} | {:.4} | {:.4} | {:.4} | {:.4} |\n",
            noise.epoch,
            noise.training_loss,
            new(noise),
            law.training_loss,
            new(law),
        );
    }
    table += &format!(
        "| variance of the targets | {:.4} | {:.4} | {:.4} | {:.4} |\n",
        variance(&noise),
        variance(&new_noise),
        variance(&lawful),
        variance(&new_lawful)
    );
    evidence.text("ch05_epochs.md", table);
    evidence.figure("ch05_epochs.svg", curve(&noise_epochs, &law_epochs)?);

    let (_, digits_test) = networks::digits()?;
    let digits = networks::trained("digits")?;
    let cases = [
        (&on_noise, &noise),
        (&on_law, &lawful),
        (&digits, &digits_test),
    ];
    evidence.text("ch05_dropped.md", dropped(&cases)?);
    evidence.text("ch05_shift.md", shift(&on_law)?);
    evidence.text("ch05_seeds.md", seeds()?);
    Ok(())
}

/// The restored parameter, from its code, the scale and the zero point.
type Restore = fn(f32, f32, f32) -> f32;

/// The lecture's `quantize_model` for one parameter, line for line and with its mistakes: asymmetric,
/// −128 to 127, the interval not widened to contain 0, and not checked for its width.
// ANCHOR: as_the_lecture_does
fn as_the_lecture_does(values: &[f32], restore: Restore) -> Vec<f32> {
    let smallest = values.iter().copied().fold(f32::INFINITY, f32::min);
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = (largest - smallest) / 255.0;
    let zero_point = (-128.0 - smallest / scale).round_ties_even();
    let code = |x: &f32| (x / scale + zero_point).round_ties_even();
    let codes = values.iter().map(|x| code(x).clamp(-128.0, 127.0) as i8);
    codes
        .map(|q| restore(f32::from(q), scale, zero_point))
        .collect()
}
// ANCHOR_END: as_the_lecture_does

/// The lecture's mistake: the zero point is dropped.
// ANCHOR: dropping
fn dropping(code: f32, scale: f32, _zero_point: f32) -> f32 {
    code * scale
}
// ANCHOR_END: dropping

/// As the lecture's own `dequantize` has it.
// ANCHOR: keeping
fn keeping(code: f32, scale: f32, zero_point: f32) -> f32 {
    (code - zero_point) * scale
}
// ANCHOR_END: keeping

/// The network with the parameters whose names end in `kind` changed as the lecture does.
fn changed(network: &Network, kind: &str, restore: Restore) -> Network {
    let mut network = network.clone();
    for (name, mut parameter) in network.parameters_mut() {
        if name.ends_with(kind) {
            let values: Vec<f32> = parameter.iter().copied().collect();
            let new = as_the_lecture_does(&values, restore);
            parameter.iter_mut().zip(new).for_each(|(p, new)| *p = new);
        }
    }
    network
}

fn zeroed(network: &Network) -> Network {
    let mut network = network.clone();
    for (_, mut parameter) in network.parameters_mut() {
        parameter.fill(0.0);
    }
    network
}

/// The loss on each data set of the network as it is, and quantized rightly and wrongly.
fn dropped(cases: &[(&Network, &Dataset)]) -> Result<String> {
    let by = |symmetry, range, granularity| Scheme {
        range,
        symmetry,
        granularity,
    };
    let (asymmetric, tensor) = (Symmetry::Asymmetric, Granularity::PerTensor);
    let ours = |network: &Network, scheme| -> Result<Network> {
        Ok(WeightsOnly::new(network, scheme)?.network().clone())
    };
    type Change<'a> = Box<dyn Fn(&Network) -> Result<Network> + 'a>;
    let changes: [(&str, Change<'_>); 8] = [
        ("f32", Box::new(|n| Ok(n.clone()))),
        ("all of them 0", Box::new(|n| Ok(zeroed(n)))),
        (
            "the lecture's `quantize_model`",
            Box::new(|n| Ok(changed(n, "", dropping))),
        ),
        (
            "its weights, bias in f32",
            Box::new(|n| Ok(changed(n, ".weight", dropping))),
        ),
        (
            "zero point kept, bias in INT8",
            Box::new(|n| Ok(changed(n, "", keeping))),
        ),
        (
            "zero point kept, bias in f32",
            Box::new(|n| Ok(changed(n, ".weight", keeping))),
        ),
        (
            "`WeightsOnly`, asymmetric",
            Box::new(|n| ours(n, by(asymmetric, QRange::I8, tensor))),
        ),
        (
            "`WeightsOnly`, symmetric, per channel",
            Box::new(|n| ours(n, Scheme::weights(0))),
        ),
    ];
    let mut table = String::from(
        "| parameters | noise: loss | law: loss | digits: loss | digits: right of 360 |\n|:--|--:|--:|--:|--:|\n",
    );
    for (name, change) in &changes {
        table += &format!("| {name} |");
        for (network, data) in cases {
            let network = change(network)?;
            let score = data.score(100, |x| network.forward(x.view()))?;
            table += &format!(" {:.4} |", score.loss);
            if let Some(accuracy) = score.accuracy {
                table += &format!(" {:.0} |", accuracy * data.len() as f64);
            }
        }
        table += "\n";
    }
    Ok(table)
}

/// How far the dropped zero point moves each weight.
fn shift(network: &Network) -> Result<String> {
    let weight = network.layer("linear").and_then(Layer::weight);
    let weight: Vec<f32> = weight.ok_or("no weights")?.iter().copied().collect();
    let smallest = weight.iter().copied().fold(f32::INFINITY, f32::min);
    let largest = weight.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let wrong = as_the_lecture_does(&weight, dropping);
    let right = as_the_lecture_does(&weight, keeping);
    let mut table = String::from("| weight | kept | dropped | moved by |\n|--:|--:|--:|--:|\n");
    for ((w, right), wrong) in weight.iter().zip(&right).zip(&wrong) {
        table += &format!(
            "| {w:.3} | {right:.3} | {wrong:.3} | {:.3} |\n",
            wrong - right
        );
    }
    table += &format!(
        "\n*The middle of the weights' interval is {:.3}.*\n",
        (smallest + largest) / 2.0
    );
    Ok(table.replace(" -", " −").replace(" −-", " --"))
}

/// Three weights in 4 bits, by hand.
fn by_hand() -> Result<String> {
    let p = QParams::affine(-0.5, 1.0, QRange::I4)?;
    let mut table =
        String::from("| weight | code | $s\\,(q - z)$ | $s\\,q$ |\n|--:|--:|--:|--:|\n");
    for w in [-0.5, 0.2, 1.0] {
        let q = p.quantize(w)?;
        let (kept, dropped) = (p.dequantize(q), q as f32 * p.scale());
        let row = format!("| {w:.1} | {q} | {kept:.1} | {dropped:.1} |\n");
        table += &row.replace('-', "−");
    }
    Ok(table)
}

/// What the lecture's two printed losses tell over 100 runs of it.
fn seeds() -> Result<String> {
    let mut table = String::from(
        "| data | loss | of the lecture's INT8 | largest difference | lower after quantization |\n|:--|--:|--:|--:|--:|\n",
    );
    for name in ["noise", "law"] {
        let (mut before, mut after, mut largest, mut lower) = (0.0, 0.0, 0.0f64, 0);
        for seed in 0..RUNS {
            let mut rng = ChaCha8Rng::seed_from_u64(1000 + seed);
            let data = match name {
                "noise" => pure_noise(&mut rng)?,
                _ => lawful(&normal((11, 1), &mut rng), &mut rng)?,
            };
            let (network, _) = fit(&data, &data)?;
            let loss = |network: &Network| data.score(SAMPLES, |x| network.forward(x.view()));
            let (f32, int8) = (
                loss(&network)?.loss,
                loss(&changed(&network, "", dropping))?.loss,
            );
            before += f32;
            after += int8;
            largest = largest.max(int8 - f32);
            lower += usize::from(int8 < f32);
        }
        let runs = RUNS as f64;
        table += &format!(
            "| {name} | {:.4} | {:.4} | {largest:.4} | {lower} of {RUNS} |\n",
            before / runs,
            after / runs
        );
    }
    Ok(table)
}

/// How often the lecture is run again.
const RUNS: u64 = 20;

// ANCHOR: pure_noise
fn pure_noise(rng: &mut ChaCha8Rng) -> Result<Dataset> {
    let (x, y) = (normal((SAMPLES, 10), rng), normal((SAMPLES, 1), rng));
    Ok(Dataset::new(x.into_dyn(), Targets::Values(y.into_dyn()))?)
}
// ANCHOR_END: pure_noise

/// The targets are a fixed linear map of the inputs and a little noise.
// ANCHOR: lawful
fn lawful(law: &Array2<f32>, rng: &mut ChaCha8Rng) -> Result<Dataset> {
    let x = normal((SAMPLES, 10), rng);
    let (weights, bias) = law.view().split_at(ndarray::Axis(0), 10);
    let y = x.dot(&weights) + bias + normal((SAMPLES, 1), rng) * NOISE;
    Ok(Dataset::new(x.into_dyn(), Targets::Values(y.into_dyn()))?)
}
// ANCHOR_END: lawful

fn normal(shape: (usize, usize), rng: &mut ChaCha8Rng) -> Array2<f32> {
    Array2::from_shape_simple_fn(shape, || StandardNormal.sample(rng))
}

/// Trains the lecture's model by the lecture's recipe.
// ANCHOR: fit
fn fit(data: &Dataset, new: &Dataset) -> Result<(Network, Vec<Epoch>)> {
    let mut network = models::lecture(1)?;
    let recipe = Recipe {
        epochs: 10,
        batch: 32,
        learning_rate: 0.01,
        ..Recipe::default()
    };
    let watch = |_| ControlFlow::Continue(());
    let epochs = train(&mut network, data, Some(new), &recipe, &mut Exact, watch)?;
    Ok((network, epochs))
}
// ANCHOR_END: fit

fn variance(data: &Dataset) -> f64 {
    match data.targets() {
        Targets::Values(y) => y.mapv(f64::from).var(0.0),
        Targets::Labels(_) => f64::NAN,
    }
}

/// The loss after each epoch, on both data sets, with the least that there is to reach.
fn curve(noise: &[Epoch], law: &[Epoch]) -> Result<String> {
    let title =
        "Training loss of the linear model over ten epochs, on noise and on data with a law";
    svg(title, WIDTH, 330, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .margin_right(20)
            .x_label_area_size(46)
            .y_label_area_size(62)
            .build_cartesian_2d(0.6f64..10.4f64, (0.005f64..20.0f64).log_scale())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(INK.mix(0.15))
            .x_desc("epoch")
            .y_desc("loss")
            .x_labels(10)
            .y_labels(5)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y}"))
            .label_style(font(16))
            .axis_style(INK)
            .draw()?;
        for (epochs, floor, colour) in [(noise, 1.0, ORANGE), (law, 0.01, BLUE)] {
            let line = epochs.iter().map(|e| (e.epoch as f64, e.training_loss));
            chart.draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))?;
            chart.draw_series(line.map(|at| Circle::new(at, 4, colour.filled())))?;
            let floor = [(0.6, floor), (10.4, floor)];
            chart.draw_series(DashedLineSeries::new(floor, 6, 5, MUTED.stroke_width(1)))?;
        }
        chart.draw_series([
            Text::new("noise", (8.6, 1.8), coloured(16, &ORANGE)),
            Text::new("law and noise of 0.1", (1.3, 0.2), coloured(16, &BLUE)),
            Text::new("least possible: 1", (1.0, 0.9), coloured(16, &MUTED)),
            Text::new("least possible: 0.01", (1.0, 0.009), coloured(16, &MUTED)),
        ])?;
        Ok(())
    })
}

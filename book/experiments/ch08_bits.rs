//! Chapter 8: the trained networks at 8 to 2 bits, quantized after training and trained with it.
//!
//! What was trained with rounding is read from `book/data/models`; `ch08_train` made it.

pub mod support;

use std::error::Error;

use fewer_bits::QRange;
use fewer_bits::exec::{Pairs, Rounding};
use fewer_bits::nn::{Dataset, Network, fold_batch_norm};
use fewer_bits::ptq::{Recipe, Static, WeightsOnly, weight_scheme};
use ndarray::{Axis, Slice};
use support::figure::*;
use support::networks::{self, correct, predictions};
use support::{Evidence, Outcome, grouped};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bits of weights and of activations.
const BITS: [[u32; 2]; 5] = [[8, 8], [4, 8], [3, 8], [2, 8], [4, 4]];

const KINDS: [&str; 3] = ["min-max", "fitted scales", "trained"];

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let mut table = String::from(
        "| network, images | scales | W8A8 | W4A8 | W3A8 | W2A8 | W4A4 |\n|:--|:--|--:|--:|--:|--:|--:|\n",
    );
    let mut shares = Vec::new();
    for name in networks::NAMES {
        let (calibration, test) = networks::committed(name)?;
        let test = networks::first(&test, images(name))?;
        let right = right(name, &calibration, &test)?;
        table += &rows(name, &test, &right, |right| right.to_string());
        let percent = |right: usize| 100.0 * right as f64 / test.len() as f64;
        shares.push(right.map(|right| right.map(percent)));
    }
    evidence.text("ch08_bits.md", table);
    evidence.figure("ch08_bits.svg", figure(&shares)?);
    evidence.text("ch08_bytes.md", bytes()?);
    evidence.text("ch08_other_pairs.md", other_pairs()?);
    evidence.timing("ch08_full.md", full)
}

/// Images of the table that is compared; convolutions take longer.
fn images(name: &str) -> usize {
    match name {
        "digits" => 360,
        "mlp" => 500,
        _ => 250,
    }
}

/// How many images are recognised: a row for each of [`KINDS`], a column for each of [`BITS`].
fn right(name: &str, calibration: &Dataset, test: &Dataset) -> Result<[[usize; 5]; 3]> {
    let network = fold_batch_norm(&networks::trained(name)?)?;
    let images = calibration.inputs();
    let activations = |bits| -> Result<_> {
        let pairs = recipe([8, bits])?.choose(&network, [images.clone()])?;
        Ok(pairs.activations)
    };
    let (eight, four) = (activations(8)?, activations(4)?);
    let one = images.slice_axis(Axis(0), Slice::from(..1));
    let mut right = [[0; 5]; 3];
    for (column, bits) in BITS.into_iter().enumerate() {
        let pairs = Pairs {
            // The weights' pairs do not depend on the images.
            weights: recipe(bits)?.choose(&network, [one.to_owned()])?.weights,
            activations: if bits[1] == 8 {
                eight.clone()
            } else {
                four.clone()
            },
        };
        let fitted = pairs.clone().fit_weights(&network)?;
        let (trained, learned) = trained(name, bits)?;
        let kinds = [(&network, pairs), (&network, fitted), (&trained, learned)];
        for (row, (network, pairs)) in kinds.into_iter().enumerate() {
            right[row][column] = score(network, &pairs, test)?;
        }
    }
    Ok(right)
}

fn recipe([weight_bits, activation_bits]: [u32; 2]) -> Result<Recipe> {
    let mut recipe = Recipe {
        weights: weight_scheme(weight_bits, true)?,
        ..Recipe::default()
    };
    recipe.activations.range = QRange::unsigned(activation_bits)?;
    Ok(recipe)
}

/// The network that was trained with so many bits, and its pairs.
fn trained(name: &str, bits: [u32; 2]) -> Result<(Network, Pairs)> {
    networks::quantized(name, bits)?.ok_or(format!("run ch08_train for {name} {bits:?}").into())
}

/// How many images the network recognises in integers.
fn score(network: &Network, pairs: &Pairs, test: &Dataset) -> Result<usize> {
    let integers = Static::with_pairs(network, pairs, Rounding::Float)?;
    let mut right = 0;
    for samples in (0..test.len()).collect::<Vec<_>>().chunks(250) {
        let part = test.select(samples)?;
        right += correct(
            &predictions(&integers.forward(part.inputs().view())?),
            &part,
        );
    }
    Ok(right)
}

fn rows(
    name: &str,
    test: &Dataset,
    right: &[[usize; 5]; 3],
    show: impl Fn(usize) -> String,
) -> String {
    let mut rows = String::new();
    for (kind, right) in KINDS.iter().zip(right) {
        let cells = right.map(|right| format!(" {} |", show(right))).concat();
        rows += &format!(
            "| {name}, {} | {kind} |{cells}\n",
            grouped(test.len() as u64)
        );
    }
    rows
}

/// The full test sets where they are; otherwise the table stays as it was.
fn full() -> Result<String> {
    if networks::full_fashion("t10k")?.is_none() {
        return Ok(std::fs::read_to_string(
            support::folder().join("ch08_full.md"),
        )?);
    }
    let mut table = String::from(
        "| network, images | scales | f32 | W8A8 | W4A8 | W3A8 | W2A8 | W4A4 |\n\
         |:--|:--|--:|--:|--:|--:|--:|--:|\n",
    );
    for name in networks::NAMES {
        let (calibration, test) = networks::calibration_and_test(name)?;
        let network = networks::trained(name)?;
        let float = test.score(250, |x| network.forward(x.view()))?;
        let float = format!("{:.2}", 100.0 * float.accuracy.unwrap_or(f64::NAN));
        let percent = |right| format!("{:.2}", 100.0 * right as f64 / test.len() as f64);
        let rows = rows(name, &test, &right(name, &calibration, &test)?, percent);
        for kind in KINDS {
            let before = format!("| {kind} |");
            let row = rows.lines().find(|row| row.contains(&before));
            let row = row.unwrap_or_default();
            table += &row.replacen(&before, &format!("{before} {float} |"), 1);
            table += "\n";
        }
    }
    Ok(table)
}

/// What the weights, scales and biases of each network take.
fn bytes() -> Result<String> {
    let mut table = String::from(
        "| network | f32 | 8 bits | 4 bits | 3 bits | 2 bits |\n|:--|--:|--:|--:|--:|--:|\n",
    );
    for name in networks::NAMES {
        let network = fold_batch_norm(&networks::trained(name)?)?;
        table += &format!(
            "| {name} | {} |",
            grouped(4 * network.parameter_count() as u64)
        );
        for bits in [8, 4, 3, 2] {
            let bytes = WeightsOnly::new(&network, weight_scheme(bits, true)?)?.bytes();
            table += &format!(" {} |", grouped(bytes as u64));
        }
        table += "\n";
    }
    Ok(table)
}

/// Networks that were trained for their own pairs, with others.
fn other_pairs() -> Result<String> {
    let mut table = String::from(
        "| network, images | as trained | one scale a layer | activations in 4 bits |\n|:--|--:|--:|--:|\n",
    );
    for name in ["digits", "mlp"] {
        let (calibration, test) = networks::committed(name)?;
        let test = networks::first(&test, images(name))?;
        let (network, pairs) = trained(name, [4, 8])?;
        let images = [calibration.inputs().clone()];
        let mut per_tensor = recipe([4, 8])?;
        per_tensor.weights = weight_scheme(4, false)?;
        let per_tensor = Pairs {
            weights: per_tensor.choose(&network, images.clone())?.weights,
            ..pairs.clone()
        };
        let coarse = Pairs {
            activations: recipe([4, 4])?.choose(&network, images)?.activations,
            ..pairs.clone()
        };
        table += &format!("| {name}, {} |", test.len());
        for pairs in [&pairs, &per_tensor, &coarse] {
            table += &format!(" {} |", score(&network, pairs, &test)?);
        }
        table += "\n";
    }
    Ok(table)
}

/// One panel a network: the share of recognised images against the bits of the weights.
fn figure(shares: &[[[f64; 5]; 3]]) -> Result<String> {
    let colours = [ORANGE, GREEN, BLUE];
    let title = "Accuracy of four networks with weights of 8 to 2 bits, for scales by min-max, for \
                 fitted scales, and after training with the rounding";
    svg(title, WIDTH, 640, |area| {
        for (i, panel) in area.split_evenly((2, 2)).iter().enumerate() {
            let mut chart = ChartBuilder::on(panel)
                .margin(8)
                .margin_right(14)
                .x_label_area_size(42)
                .y_label_area_size(if i % 2 == 0 { 48 } else { 30 })
                .build_cartesian_2d(-0.3f64..3.3, 0f64..105f64)?;
            let mut mesh = chart.configure_mesh();
            mesh.light_line_style(TRANSPARENT)
                .bold_line_style(INK.mix(0.15))
                .x_desc("bits of the weights")
                .x_labels(4)
                .x_label_formatter(&|x| match x.round() as i32 {
                    0 => "8".to_owned(),
                    1 => "4".to_owned(),
                    2 => "3".to_owned(),
                    _ => "2".to_owned(),
                })
                .y_labels(6)
                .y_label_formatter(&|y| format!("{y:.0}"))
                .label_style(font(16))
                .axis_style(INK);
            if i % 2 == 0 {
                mesh.y_desc("recognised in %");
            }
            mesh.draw()?;
            for (kind, colour) in colours.into_iter().enumerate() {
                let points = (0..4).map(|bits| (bits as f64, shares[i][kind][bits]));
                let points: Vec<(f64, f64)> = points.collect();
                chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
                chart.draw_series(points.iter().map(|p| Circle::new(*p, 3, colour.filled())))?;
                if i == 0 {
                    let at = (-0.2, 44.0 - 12.0 * kind as f64);
                    let label = KINDS[kind].to_owned();
                    chart.draw_series([Text::new(label, at, coloured(16, &colour))])?;
                }
            }
            let name = networks::NAMES[i].to_owned();
            chart.draw_series([Text::new(name, (-0.2, 12.0), font(16))])?;
        }
        Ok(())
    })
}

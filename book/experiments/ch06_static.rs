//! Chapter 6: the trained networks in integers, and what one scale for a layer means to its channels.

pub mod support;

use std::error::Error;

use fewer_bits::exec::Rounding;
use fewer_bits::nn::{Dataset, Layer, Network, fold_batch_norm};
use fewer_bits::ptq::{Recipe, Static, weight_scheme};
use support::figure::*;
use support::networks::{self, correct, predictions};
use support::{Evidence, Outcome, grouped};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let mut table = String::from(HEAD);
    let mut promise = String::from(
        "| network | codes compared | others in f32, of a million | in fixed point | largest difference |\n\
         |:--|--:|--:|--:|--:|\n",
    );
    for name in networks::NAMES {
        let network = fold_batch_norm(&networks::trained(name)?)?;
        let (calibration, test) = networks::committed(name)?;
        let static_of = |per_channel, rounding| {
            let weights = weight_scheme(8, per_channel)?;
            let recipe = Recipe {
                weights,
                rounding,
                ..Recipe::default()
            };
            Static::new(&network, [calibration.inputs().clone()], recipe)
        };
        let both = [
            static_of(false, Rounding::Float)?,
            static_of(true, Rounding::Float)?,
        ];
        table += &row(name, &network, &both, &test)?;
        let fixed = static_of(true, Rounding::FixedPoint)?;
        promise += &compared(name, [&both[1], &fixed], &test)?;
    }
    evidence.text("ch06_accuracy.md", table);
    evidence.text("ch06_promise.md", promise);
    let network = fold_batch_norm(&networks::trained("ds_cnn")?)?;
    evidence.text("ch06_channels.md", channels(&network)?);
    evidence.figure("ch06_channels.svg", figure(&network)?);
    evidence.timing("ch06_accuracy_full.md", full)
}

const HEAD: &str = "| network | images | right in f32 | per tensor | per channel | others per tensor | others per channel |\n\
    |:--|--:|--:|--:|--:|--:|--:|\n";

/// How many images each network gets right, and on how many it says something else than in f32.
fn row(name: &str, network: &Network, quantized: &[Static; 2], test: &Dataset) -> Result<String> {
    let x = test.inputs();
    let float = predictions(&network.forward(x.view())?);
    let (mut right, mut others) = (String::new(), String::new());
    for quantized in quantized {
        let found = predictions(&quantized.forward(x.view())?);
        let other = found.iter().zip(&float).filter(|(a, b)| a != b).count();
        right += &format!(" {} |", correct(&found, test));
        others += &format!(" {other} |");
    }
    let (images, in_f32) = (grouped(test.len() as u64), correct(&float, test));
    Ok(format!("| {name} | {images} | {in_f32} |{right}{others}\n"))
}

/// The full test sets where they are; otherwise the table stays as it was.
fn full() -> Result<String> {
    let mut table = String::from(
        "| network | images | f32 | per tensor | per channel |\n|:--|--:|--:|--:|--:|\n",
    );
    if networks::full_fashion("t10k")?.is_none() {
        let path = support::folder().join("ch06_accuracy_full.md");
        return Ok(std::fs::read_to_string(path)?);
    }
    for name in networks::NAMES {
        let network = fold_batch_norm(&networks::trained(name)?)?;
        let (calibration, test) = networks::calibration_and_test(name)?;
        let score =
            |forward: &dyn Fn(ndarray::ArrayD<f32>) -> fewer_bits::Result<ndarray::ArrayD<f32>>| {
                let score = test.score(250, forward)?;
                Ok::<f64, fewer_bits::Error>(100.0 * score.accuracy.unwrap_or(f64::NAN))
            };
        let images = grouped(test.len() as u64);
        let float = score(&|x| network.forward(x.view()))?;
        table += &format!("| {name} | {images} | {float:.2} |");
        for per_channel in [false, true] {
            let recipe = Recipe {
                weights: weight_scheme(8, per_channel)?,
                ..Recipe::default()
            };
            let quantized = Static::new(&network, [calibration.inputs().clone()], recipe)?;
            let accuracy = score(&|x| quantized.forward(x.view()))?;
            table += &format!(" {accuracy:.2} ({:+.2}) |", accuracy - float);
        }
        table += "\n";
    }
    Ok(table.replace("(-", "(−"))
}

/// How many codes of the hidden layers are not those of the simulation.
fn compared(name: &str, of: [&Static; 2], test: &Dataset) -> Result<String> {
    const IMAGES: usize = 100;
    let x = networks::first(test, IMAGES)?.inputs().clone();
    let (mut all, mut largest, mut differing) = (0, 0, [0; 2]);
    for (quantized, differing) in of.iter().zip(&mut differing) {
        let sites = quantized.compare(x.view())?;
        all = sites.iter().map(|site| site.of).sum();
        *differing = sites.iter().map(|site| site.differing).sum();
        largest = sites
            .iter()
            .map(|site| site.largest)
            .fold(largest, u32::max);
        if predictions(&quantized.forward(x.view())?) != predictions(&quantized.simulate(x.view())?)
        {
            return Err(format!("{name}: other predictions than the simulation").into());
        }
    }
    let [float, fixed] = differing.map(|count| (1e6 * count as f64 / all as f64).ceil());
    let all = grouped(all as u64);
    Ok(format!(
        "| {name} | {all} | {float} | {fixed} | {largest} |\n"
    ))
}

/// The largest weight of each channel in absolute value, the largest channel first.
fn ranges(layer: &Layer) -> Vec<f32> {
    let Some(weight) = layer.weight() else {
        return Vec::new();
    };
    let largest = weight.outer_iter();
    let mut largest: Vec<f32> = largest
        .map(|channel| channel.iter().fold(0f32, |m, w| m.max(w.abs())))
        .collect();
    largest.sort_by(|a, b| b.total_cmp(a));
    largest
}

fn channels(network: &Network) -> Result<String> {
    let mut table = String::from(
        "| layer | channels | widest | median | narrowest | codes of the narrowest, to each side |\n\
         |:--|--:|--:|--:|--:|--:|\n",
    );
    for (site, layer) in network.layers() {
        let ranges = ranges(layer);
        let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else {
            continue;
        };
        let count = ranges.len();
        let codes = (127.0 * last / first).round();
        let median = ranges[count / 2];
        table +=
            &format!("| {site} | {count} | {first:.2} | {median:.2} | {last:.2} | {codes} |\n");
    }
    Ok(table)
}

/// How many codes each channel can use when the layer has one scale.
fn figure(network: &Network) -> Result<String> {
    let layers = [
        ("depthwise1", ORANGE),
        ("depthwise3", GREEN),
        ("pointwise3", BLUE),
    ];
    svg(
        "Codes to each side that the channels of three layers can use when the layer has one scale",
        WIDTH,
        360,
        |area| {
            let mut chart = ChartBuilder::on(area)
                .margin(12)
                .margin_right(20)
                .x_label_area_size(46)
                .y_label_area_size(54)
                .build_cartesian_2d(0f64..100f64, (2f64..160f64).log_scale().base(2.0))?;
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(INK.mix(0.15))
                .x_desc("share of the channels in %, the widest first")
                .y_desc("codes to each side")
                .x_label_formatter(&|x| format!("{x:.0}"))
                .y_label_formatter(&|y| format!("{y:.0}"))
                .y_labels(8)
                .label_style(font(16))
                .axis_style(INK)
                .draw()?;
            for (i, (name, colour)) in layers.into_iter().enumerate() {
                let ranges = network.layer(name).map(ranges).unwrap_or_default();
                let count = ranges.len() as f64;
                let points: Vec<(f64, f64)> = ranges
                    .iter()
                    .enumerate()
                    .map(|(i, r)| {
                        (
                            100.0 * (i as f64 + 0.5) / count,
                            f64::from(127.0 * r / ranges[0]),
                        )
                    })
                    .collect();
                chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(1)))?;
                chart.draw_series(points.iter().map(|p| Circle::new(*p, 3, colour.filled())))?;
                let at = [(34.0, 6.6), (58.0, 17.5), (52.0, 120.0)][i];
                chart.draw_series([Text::new(name.to_owned(), at, coloured(16, &colour))])?;
            }
            Ok(())
        },
    )
}

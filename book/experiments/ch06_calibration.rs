//! Chapter 6: what observers say after more and more images.

pub mod support;

use std::error::Error;

use fewer_bits::calibrate::Method;
use fewer_bits::nn::{Dataset, Network};
use fewer_bits::ptq::{Recipe, Static};
use ndarray::{Axis, Slice};
use support::figure::*;
use support::networks::{self, predictions};
use support::{Evidence, Outcome};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The ReLU of the second convolution of the CNN.
const SITE: &str = "relu2";

const METHODS: [(&str, Method); 4] = [
    ("min-max", Method::MinMax),
    ("99.99 %", Method::Percentile(0.9999)),
    ("99.9 %", Method::Percentile(0.999)),
    ("average", Method::MovingAverage(0.1)),
];

/// After how many images we look.
const COUNTS: [usize; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let network = networks::trained("cnn")?;
    let (calibration, test) = networks::committed("cnn")?;
    let test = networks::first(&test, 200)?;
    let until = until(&network, SITE)?;
    let ends = ends(&until, &calibration)?;
    let seen = until.forward(test.inputs().view())?;

    let mut table = String::from("| images |");
    METHODS
        .iter()
        .for_each(|(name, _)| table += &format!(" {name} |"));
    table += " beyond min-max, of a million | other predictions |\n|--:|--:|--:|--:|--:|--:|--:|\n";
    let float = predictions(&network.forward(test.inputs().view())?);
    for (count, ends) in COUNTS.iter().zip(&ends) {
        if ![1, 8, 64, 512].contains(count) {
            continue;
        }
        table += &format!("| {count} |");
        ends.iter().for_each(|hi| table += &format!(" {hi:.2} |"));
        let beyond = seen.iter().filter(|x| **x > ends[0]).count();
        let beyond = (1e6 * beyond as f64 / seen.len() as f64).round();
        let first = calibration
            .inputs()
            .slice_axis(Axis(0), Slice::from(..*count));
        let quantized = Static::new(&network, [first.to_owned()], Recipe::default())?;
        let found = predictions(&quantized.forward(test.inputs().view())?);
        let others = found.iter().zip(&float).filter(|(a, b)| a != b).count();
        table += &format!(" {beyond} | {others} |\n");
    }
    evidence.text("ch06_observers.md", table);
    evidence.figure("ch06_observers.svg", figure(&ends)?);
    Ok(())
}

/// The layers up to `site`.
fn until(network: &Network, site: &str) -> fewer_bits::Result<Network> {
    let count = network
        .layers()
        .take_while(|(name, _)| *name != site)
        .count();
    let layers = network.layers().take(count + 1);
    Network::new(
        network.input_shape(),
        layers.map(|(name, layer)| (name.to_owned(), layer.clone())),
    )
}

/// The upper end of each method's range after each of [`COUNTS`].
fn ends(until: &Network, images: &Dataset) -> Result<Vec<[f32; 4]>> {
    let mut observers = Vec::new();
    for (_, method) in METHODS {
        observers.push(method.observer()?);
    }
    let mut ends = Vec::new();
    for (seen, image) in (1..).zip(images.inputs().axis_chunks_iter(Axis(0), 1)) {
        let values = until.forward(image)?;
        for observer in &mut observers {
            observer.observe(values.as_slice().unwrap_or_default())?;
        }
        if COUNTS.contains(&seen) {
            let mut his = [0.0; 4];
            for (hi, observer) in his.iter_mut().zip(&observers) {
                *hi = observer.range()?.1;
            }
            ends.push(his);
        }
    }
    Ok(ends)
}

fn figure(ends: &[[f32; 4]]) -> Result<String> {
    let colours = [ORANGE, GREEN, BLUE, PURPLE];
    svg(
        "Upper end of the range of one layer against the number of calibration images, for four observers",
        WIDTH,
        360,
        |area| {
            let mut chart = ChartBuilder::on(area)
                .margin(12)
                .margin_right(20)
                .x_label_area_size(46)
                .y_label_area_size(50)
                .build_cartesian_2d((1f64..600f64).log_scale().base(2.0), 2.2f64..6.2f64)?;
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(INK.mix(0.15))
                .x_desc("calibration images")
                .y_desc("upper end of the range")
                .x_label_formatter(&|x| format!("{x:.0}"))
                .y_label_formatter(&|y| format!("{y:.0}"))
                .y_labels(6)
                .label_style(font(16))
                .axis_style(INK)
                .draw()?;
            for (i, colour) in colours.into_iter().enumerate() {
                let points = COUNTS.iter().zip(ends);
                let points = points.map(|(n, ends)| (*n as f64, f64::from(ends[i])));
                let points: Vec<_> = points.collect();
                chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
                chart.draw_series(points.iter().map(|p| Circle::new(*p, 3, colour.filled())))?;
                let at = [(40.0, 5.5), (40.0, 4.15), (1.2, 2.45), (1.2, 3.5)][i];
                chart.draw_series([Text::new(
                    METHODS[i].0.to_owned(),
                    at,
                    coloured(16, &colour),
                )])?;
            }
            Ok(())
        },
    )
}

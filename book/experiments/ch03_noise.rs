//! Chapter 3: the squared error that s²/12 predicts, and the one that is measured.

pub mod support;

use fewer_bits::{QParams, QRange};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, Uniform};
use support::figure::*;
use support::{Evidence, Outcome};

const COUNT: usize = 100_000;

pub fn main() -> Outcome {
    support::write(run)
}

/// One data set at one width: SQNR in dB.
struct Point {
    bits: u32,
    predicted: f64,
    measured: f64,
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let mut rng = ChaCha8Rng::seed_from_u64(33);
    let uniform: Vec<f32> = Uniform::new(-1.0f32, 1.0)?
        .sample_iter(&mut rng)
        .take(COUNT)
        .collect();
    let gaussian: Vec<f32> = StandardNormal.sample_iter(&mut rng).take(COUNT).collect();
    let relu: Vec<f32> = gaussian.iter().map(|x| x.max(0.0)).collect();
    let series = [measure(&uniform)?, measure(&gaussian)?, measure(&relu)?];

    let mut table = String::from(
        "| bits | uniform, s²/12 | measured | Gaussian, s²/12 | measured | ReLU of it, s²/12 | measured |\n\
         |--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for i in 0..series[0].len() {
        table += &format!("| {} |", series[0][i].bits);
        for points in &series {
            table += &format!(" {:.1} | {:.1} |", points[i].predicted, points[i].measured);
        }
        table += "\n";
    }
    evidence.text("ch03_sqnr.md", table);
    evidence.figure("ch03_sqnr.svg", figure(&series)?);

    let (lo, hi) = ends(&gaussian);
    evidence.text("ch03_half_width.txt", format!("{:.2}", (hi - lo) / 2.0));
    Ok(())
}

/// SQNR of `data` at 2 to 8 bits over its own range: by s²/12, and as it is.
fn measure(data: &[f32]) -> Result<Vec<Point>, Box<dyn std::error::Error>> {
    let (lo, hi) = ends(data);
    let signal = mean(data.iter().map(|&x| f64::from(x).powi(2)));
    let mut points = Vec::new();
    for bits in 2..=8 {
        let p = QParams::affine(lo, hi, QRange::unsigned(bits)?)?;
        let mut errors = Vec::with_capacity(data.len());
        for &x in data {
            errors.push((f64::from(x) - f64::from(p.fake_quantize(x)?)).powi(2));
        }
        let expected = f64::from(p.scale()).powi(2) / 12.0;
        points.push(Point {
            bits,
            predicted: 10.0 * (signal / expected).log10(),
            measured: 10.0 * (signal / mean(errors.into_iter())).log10(),
        });
    }
    Ok(points)
}

fn ends(data: &[f32]) -> (f32, f32) {
    data.iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), &x| {
            (lo.min(x), hi.max(x))
        })
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// Measured minus predicted SQNR against the width.
fn figure(series: &[Vec<Point>; 3]) -> Result<String, Box<dyn std::error::Error>> {
    svg(
        "Measured SQNR minus the SQNR that s squared over 12 predicts, 2 to 8 bits",
        WIDTH,
        340,
        |area| {
            let mut chart = ChartBuilder::on(area)
                .margin(12)
                .margin_right(20)
                .x_label_area_size(46)
                .y_label_area_size(62)
                .build_cartesian_2d(1.8f64..8.2f64, -2.0f64..5.0f64)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(INK.mix(0.15))
                .x_desc("bits")
                .y_desc("measured − predicted, dB")
                .x_labels(7)
                .y_labels(6)
                .x_label_formatter(&|x| format!("{x:.0}"))
                .y_label_formatter(&|y| format!("{y:.0}").replace('-', "−"))
                .label_style(font(16))
                .axis_style(INK)
                .draw()?;
            for (points, color) in series.iter().zip([BLUE, ORANGE, GREEN]) {
                let line = points
                    .iter()
                    .map(|p| (f64::from(p.bits), p.measured - p.predicted));
                chart.draw_series(LineSeries::new(line.clone(), color.stroke_width(2)))?;
                chart.draw_series(line.map(|at| Circle::new(at, 4, color.filled())))?;
            }
            chart.draw_series([
                Text::new("ReLU of Gaussian", (4.6, 3.8), font(16).color(&GREEN)),
                Text::new("Gaussian", (2.3, 1.3), font(16).color(&ORANGE)),
                Text::new("uniform", (4.6, -0.4), font(16).color(&BLUE)),
            ])?;
            Ok(())
        },
    )
}

//! Chapter 6: the same sums requantized in f32 and in fixed point.

pub mod support;

use std::error::Error;

use fewer_bits::gemm::epilogue::{Codes, FixedPoint, Multiplier};
use fewer_bits::nn::Layer;
use fewer_bits::{QParams, QRange, QTensor, Scheme};
use support::figure::*;
use support::{Evidence, Outcome, grouped, networks};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let channels = channels()?;
    evidence.text("ch06_requantize.md", count(&channels)?);
    evidence.figure("ch06_requantize.svg", figure(&channels)?);
    Ok(())
}

/// Scales as those of the input and of the output of the MLP's first layer.
const X_SCALE: f32 = 1.0 / 255.0;
const Y_SCALE: f32 = 0.07;

/// The multiplier of a channel: s_x·s_w / s_y as exactly as f64 says it, and in both arithmetics.
struct Channel {
    exact: f64,
    float: f32,
    fixed: FixedPoint,
}

/// Every sixteenth channel of the layer.
fn channels() -> Result<Vec<Channel>> {
    let network = networks::trained("mlp")?;
    let weight = network.layer("fc1").and_then(Layer::weight);
    let weight = weight.ok_or("fc1 has no weights")?;
    let codes = QTensor::quantize(weight, Scheme::weights(0))?;
    let mut channels = Vec::new();
    for pair in codes.params().iter().step_by(16) {
        let w = pair.scale();
        channels.push(Channel {
            exact: f64::from(X_SCALE) * f64::from(w) / f64::from(Y_SCALE),
            float: f32::from_scales(X_SCALE, w, Y_SCALE)?,
            fixed: FixedPoint::from_scales(X_SCALE, w, Y_SCALE)?,
        });
    }
    Ok(channels)
}

/// On how many of all sums that give a code from 0 to 255 the two arithmetics differ.
fn count(channels: &[Channel]) -> Result<String> {
    let codes = Codes::of(QParams::new(Y_SCALE, 0, QRange::U8)?);
    let (mut all, mut expected, mut differ, mut farthest) = (0u64, 0f64, 0, 0f64);
    for Channel {
        exact,
        float,
        fixed,
    } in channels
    {
        let sums = (255.0 / exact) as i32;
        all += sums as u64;
        for sum in 0..sums {
            let steps = f64::from(sum) * exact;
            expected += (f64::from(sum as f32 * float) - steps).abs();
            let (a, b) = (float.code(sum, codes), fixed.code(sum, codes));
            if a != b {
                differ += 1;
                farthest = farthest.max((steps - steps.floor() - 0.5).abs());
                if a.abs_diff(b) != 1 {
                    return Err(format!("{a} and {b} differ by more than one").into());
                }
            }
        }
    }
    Ok(format!(
        "| sums | expected to differ | differ by one code | by more | the farthest from half-way |\n\
         |--:|--:|--:|--:|--:|\n\
         | {} | {expected:.0} | {differ} | 0 | {farthest:.6} of a step |\n",
        grouped(all)
    ))
}

/// The error of the number that is then rounded, against that number.
fn figure(channels: &[Channel]) -> Result<String> {
    let (mut float, mut fixed) = (Vec::new(), Vec::new());
    for channel in channels {
        let q = channel.fixed;
        let value = f64::from(q.q()) * 2f64.powi(-(q.shift() as i32));
        for i in 1..=50 {
            let sum = (f64::from(i) * 5.07 / channel.exact) as i32;
            let steps = f64::from(sum) * channel.exact;
            let by_f32 = (f64::from(sum as f32 * channel.float) - steps).abs();
            let by_fixed = (f64::from(sum) * value - steps).abs();
            float.push((steps, by_f32.max(1e-9)));
            fixed.push((steps, by_fixed.max(1e-9)));
        }
    }
    svg(
        "Error of sum times multiplier, in steps of the code, against the product, in f32 and in fixed point",
        WIDTH,
        380,
        |area| {
            let y = (1e-9f64..2f64).log_scale();
            let mut chart = ChartBuilder::on(area)
                .margin(12)
                .margin_right(20)
                .x_label_area_size(46)
                .y_label_area_size(80)
                .build_cartesian_2d(0f64..256f64, y)?;
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(INK.mix(0.15))
                .x_desc("sum times multiplier, in steps")
                .y_desc("error in steps")
                .x_labels(6)
                .x_label_formatter(&|x| format!("{x:.0}"))
                .y_labels(6)
                .y_label_formatter(&|y| match y.log10().round() as i32 {
                    0 => "1".to_owned(),
                    power => format!("1e−{}", -power),
                })
                .label_style(font(16))
                .axis_style(INK)
                .draw()?;
            let u = 2f64.powi(-24);
            let lines = [(3.0 * u, ORANGE), (2f64.powi(-31), BLUE)];
            for (part, colour) in lines {
                let line = (1..=255).map(|x| (f64::from(x), f64::from(x) * part));
                chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
            }
            for (points, colour) in [(&float, ORANGE), (&fixed, BLUE)] {
                let dots = points.iter().map(|p| Circle::new(*p, 1, colour.filled()));
                chart.draw_series(dots)?;
            }
            let half = [(0.0, 0.5), (256.0, 0.5)];
            chart.draw_series(LineSeries::new(half, INK.stroke_width(2)))?;
            chart.draw_series([
                Text::new("rounding to a code", (90.0, 0.3), font(16)),
                Text::new("f32", (180.0, 2e-4), coloured(16, &ORANGE)),
                Text::new("fixed point", (150.0, 5e-7), coloured(16, &BLUE)),
            ])?;
            Ok(())
        },
    )
}

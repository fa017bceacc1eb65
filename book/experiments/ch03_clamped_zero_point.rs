//! Chapter 3: a zero point that is clamped into the range although the interval misses 0.

pub mod support;

use fewer_bits::{QParams, QRange};
use support::figure::*;
use support::{Evidence, Outcome};

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let cases = [
        ("ch03_clamped_1_6", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ("ch03_clamped_5_10", [5.0, 6.0, 7.0, 8.0, 9.0, 10.0]),
    ];
    let mut summary = String::from(
        "| values | zero point | s/2 | largest error | in units of s/2 | mean error | mean < 0.25 |\n\
         |:--|:--|--:|--:|--:|--:|:--|\n",
    );
    for (name, values) in cases {
        let (lo, hi) = (values[0], values[5]);
        let clamped = clamped(lo, hi)?;
        let widened = QParams::affine(lo, hi, QRange::I8)?;
        let mut table =
            String::from("| x | code, clamped | x̂ | code, widened | x̂ |\n|--:|--:|--:|--:|--:|\n");
        for x in values {
            table += &format!(
                "| {x} | {} | {:.3} | {} | {:.3} |\n",
                clamped.quantize(x)?,
                clamped.fake_quantize(x)?,
                widened.quantize(x)?,
                widened.fake_quantize(x)?
            );
        }
        evidence.text(
            &format!("{name}.md"),
            table.replace('-', "−").replace("−−:", "--:"),
        );
        for (kind, p) in [("clamped", clamped), ("widened", widened)] {
            let mut errors = Vec::new();
            for x in values {
                errors.push((x - p.fake_quantize(x)?).abs());
            }
            let largest = errors.iter().copied().fold(0f32, f32::max);
            let mean = errors.iter().sum::<f32>() / 6.0;
            let half = p.scale() / 2.0;
            let given = (-128.0 - lo / clamped.scale()).round_ties_even();
            let zero_point = match kind {
                "clamped" => format!("{given} clamped to {}", p.zero_point()),
                _ => format!("{}, interval widened", p.zero_point()),
            };
            summary += &format!(
                "| {lo} to {hi} | {} | {half:.4} | {largest:.4} | {:.1} | {mean:.4} | {} |\n",
                zero_point.replace('-', "−"),
                largest / half,
                if mean < 0.25 { "passes" } else { "fails" }
            );
        }
    }
    evidence.text("ch03_clamped.md", summary);
    evidence.figure("ch03_clamped.svg", figure()?);
    Ok(())
}

/// The mistake: [lo, hi] is spread over the codes as it is, and the zero point pushed back into
/// the range afterwards.
// ANCHOR: clamped
fn clamped(lo: f32, hi: f32) -> fewer_bits::Result<QParams> {
    let scale = (hi - lo) / 255.0;
    let zero_point = (-128.0 - lo / scale).round_ties_even();
    QParams::new(scale, zero_point.clamp(-128.0, 127.0) as i32, QRange::I8)
}
// ANCHOR_END: clamped

/// x̂ against x for both zero points, on [1, 6].
fn figure() -> Result<String, Box<dyn std::error::Error>> {
    let (wrong, right) = (clamped(1.0, 6.0)?, QParams::affine(1.0, 6.0, QRange::I8)?);
    let (mut clamped_line, mut widened_line) = (Vec::new(), Vec::new());
    for i in 0..=500 {
        let x = 1.0 + i as f32 / 100.0;
        clamped_line.push((f64::from(x), f64::from(wrong.fake_quantize(x)?)));
        widened_line.push((f64::from(x), f64::from(right.fake_quantize(x)?)));
    }
    svg(
        "Dequantized value against value on the interval from 1 to 6, zero point clamped or interval widened",
        WIDTH,
        340,
        |area| {
            let mut chart = ChartBuilder::on(area)
                .margin(12)
                .margin_right(20)
                .x_label_area_size(46)
                .y_label_area_size(50)
                .build_cartesian_2d(0.8f64..6.4f64, 0.8f64..6.4f64)?;
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(INK.mix(0.15))
                .x_desc("x")
                .y_desc("x̂")
                .x_labels(6)
                .y_labels(6)
                .x_label_formatter(&|x| format!("{x:.0}"))
                .y_label_formatter(&|y| format!("{y:.0}"))
                .label_style(font(16))
                .axis_style(INK)
                .draw()?;
            chart.draw_series(LineSeries::new(widened_line, BLUE.stroke_width(2)))?;
            chart.draw_series(LineSeries::new(clamped_line, ORANGE.stroke_width(4)))?;
            chart.draw_series([
                Text::new("interval widened", (3.3, 6.0), font(16).color(&BLUE)),
                Text::new("zero point clamped", (4.4, 4.05), font(16).color(&ORANGE)),
            ])?;
            Ok(())
        },
    )
}

//! Chapter 3: the grid of one scale and one zero point, by hand and drawn, and how much of the
//! bound's float slack is ever used.

pub mod support;

use fewer_bits::{QParams, QRange};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::figure::*;
use support::{Evidence, Outcome};

/// The interval whose zero point is not an integer before it is rounded: −lo/s = 4.5.
const LO: f32 = -0.9;
const HI: f32 = 2.1;
/// The unit roundoff of f32.
const U: f64 = 1.0 / (1 << 24) as f64;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.text("ch03_by_hand.md", by_hand()?);
    evidence.text("ch03_shifted.md", shifted()?);
    evidence.figure("ch03_grid.svg", grid_figure()?);
    evidence.text("ch03_slack.md", slack()?);
    evidence.text("ch03_widening.md", widening()?);
    evidence.text("ch03_symmetric.md", symmetric()?);
    Ok(())
}

/// Six numbers on the grid of 16 codes over [−1, 2]: s = 0.2, z = 5.
fn by_hand() -> Result<String, Box<dyn std::error::Error>> {
    let p = QParams::affine(-1.0, 2.0, QRange::U4)?;
    let mut table =
        String::from("| x | x/s | rounded | code q | x̂ | error |\n|--:|--:|--:|--:|--:|--:|\n");
    for x in [-1.0f32, -0.33, 0.0, 0.5, 2.0, 2.3] {
        let quotient = x / p.scale();
        let (code, restored) = (p.quantize(x)?, p.fake_quantize(x)?);
        table += &format!(
            "| {} | {} | {} | {code} | {} | {:.2} |\n",
            number(x, 2),
            number(quotient, 2),
            number(quotient.round_ties_even(), 0),
            number(restored, 1),
            (x - restored).abs()
        );
    }
    Ok(table)
}

/// Where the ends of [−0.9, 2.1] go when the zero point gives way to become an integer.
fn shifted() -> Result<String, Box<dyn std::error::Error>> {
    let p = QParams::affine(LO, HI, QRange::U4)?;
    let (lo, hi) = p.representable();
    Ok(format!(
        "| | lower end | upper end |\n|:--|--:|--:|\n\
         | asked for | {} | {} |\n| representable, s = {:.1}, z = {} | {} | {} |\n\
         | x at the end becomes | {} | {} |\n",
        number(LO, 1),
        number(HI, 1),
        p.scale(),
        p.zero_point(),
        number(lo, 1),
        number(hi, 1),
        number(p.fake_quantize(LO)?, 1),
        number(p.fake_quantize(HI)?, 1)
    ))
}

/// A number with a true minus sign and no "−0".
fn number(x: f32, decimals: usize) -> String {
    let text = format!("{x:.decimals$}");
    let is_zero = !text.contains(|c: char| ('1'..='9').contains(&c));
    let text = if is_zero { text.replace('-', "") } else { text };
    text.replace('-', "−")
}

/// An axis label with one decimal.
fn axis_number(x: f64) -> String {
    number(x as f32, 1)
}

/// The error x − x̂ over the interval and beyond both its ends.
fn grid_figure() -> Result<String, Box<dyn std::error::Error>> {
    let p = QParams::affine(LO, HI, QRange::U4)?;
    let (low, high) = p.representable();
    let half = f64::from(p.scale()) / 2.0;
    let mut error = Vec::new();
    for i in 0..=2400 {
        let x = -1.2 + i as f32 * (3.8 / 2400.0);
        error.push((f64::from(x), f64::from(x - p.fake_quantize(x)?)));
    }
    svg(
        "Rounding error of 16 codes over the interval from -0.9 to 2.1",
        WIDTH,
        360,
        |area| {
            let mut chart = ChartBuilder::on(area)
                .margin(12)
                .margin_right(20)
                .x_label_area_size(46)
                .y_label_area_size(62)
                .build_cartesian_2d(-1.25f64..2.65f64, -0.42f64..0.5f64)?;
            chart
                .configure_mesh()
                .disable_mesh()
                .x_desc("x")
                .y_desc("x − x̂")
                .x_labels(7)
                .y_labels(9)
                .y_label_formatter(&|y| axis_number(*y))
                .x_label_formatter(&|x| axis_number(*x))
                .label_style(font(16))
                .axis_style(INK)
                .draw()?;
            let (lo, hi) = (f64::from(LO), f64::from(HI));
            chart.draw_series([Rectangle::new(
                [(lo, -half), (hi, half)],
                SKY.mix(0.5).filled(),
            )])?;
            chart.draw_series([PathElement::new(vec![(-1.25, 0.0), (2.65, 0.0)], MUTED)])?;
            chart.draw_series(LineSeries::new(error.iter().copied(), BLUE.stroke_width(2)))?;
            for x in [f64::from(low), f64::from(high)] {
                chart.draw_series([PathElement::new(
                    vec![(x, -0.03), (x, 0.03)],
                    ORANGE.stroke_width(3),
                )])?;
            }
            chart.draw_series([
                Text::new("lo = −0.9", (lo, 0.17), font(16)),
                Text::new("hi = 2.1", (hi - 0.52, -0.15), font(16)),
                Text::new("within ±s/2", (0.2, 0.17), font(16)),
                Text::new("first code −0.8", (-0.78, -0.19), font(16).color(&ORANGE)),
                Text::new("last code 2.2", (1.2, 0.30), font(16).color(&ORANGE)),
            ])?;
            chart.draw_series([
                PathElement::new(
                    vec![(f64::from(low), -0.18), (f64::from(low), -0.04)],
                    ORANGE,
                ),
                PathElement::new(
                    vec![(f64::from(high), 0.26), (f64::from(high), 0.04)],
                    ORANGE,
                ),
            ])?;
            Ok(())
        },
    )
}

/// The largest error over random intervals, in excess of half a step, beside the derived slack.
fn slack() -> Result<String, Box<dyn std::error::Error>> {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut table = String::from(
        "| bits | steps n | slack allowed, 5nu | largest excess seen | of the slack |\n\
         |--:|--:|--:|--:|--:|\n",
    );
    for bits in [4u32, 8, 16] {
        let range = QRange::unsigned(bits)?;
        let allowed = 5.0 * f64::from(range.steps()) * U;
        let mut worst = 0f64;
        for _ in 0..200_000 {
            let lo = -rng.random_range(0.0f32..10.0);
            let hi = rng.random_range(0.0f32..10.0);
            let p = QParams::affine(lo, hi, range)?;
            let step = rng.random_range(range.min()..=range.max()) - p.zero_point();
            let tie = ((f64::from(step) + 0.5) * f64::from(p.scale())) as f32;
            for x in [lo, hi, tie.clamp(lo, hi)] {
                let error = (f64::from(x) - f64::from(p.fake_quantize(x)?)).abs();
                worst = worst.max(error / f64::from(p.scale()) - 0.5);
            }
        }
        table += &format!(
            "| {bits} | {} | {allowed:.7} | {worst:.7} | {:.0} % |\n",
            range.steps(),
            100.0 * worst / allowed
        );
    }
    Ok(table)
}

/// What it costs to contain 0: the step, and the bits that the longer interval swallows.
fn widening() -> Result<String, Box<dyn std::error::Error>> {
    let mut table = String::from(
        "| values in | spread over | step s | codes that they use | bits lost |\n\
         |:--|:--|--:|--:|--:|\n",
    );
    for (lo, hi) in [(-1.0f32, 6.0f32), (1.0, 6.0), (5.0, 10.0), (100.0, 105.0)] {
        let p = QParams::affine(lo, hi, QRange::U8)?;
        let used = p.quantize(hi)? - p.quantize(lo)? + 1;
        let (wide_lo, wide_hi) = (lo.min(0.0), hi.max(0.0));
        let lost = ((wide_hi - wide_lo) / (hi - lo)).log2();
        table += &format!(
            "| [{}, {hi}] | [{}, {wide_hi}] | {:.4} | {used} | {lost:.2} |\n",
            number(lo, 0),
            number(wide_lo, 0),
            p.scale()
        );
    }
    Ok(table)
}

/// The same intervals given to affine and to symmetric 8-bit codes.
fn symmetric() -> Result<String, Box<dyn std::error::Error>> {
    let mut table = String::from(
        "| interval | codes | s | z | codes in the interval |\n|:--|:--|--:|--:|--:|\n",
    );
    for (lo, hi) in [(-1.0f32, 1.0f32), (-0.2, 1.0), (0.0, 1.0)] {
        let pairs = [
            ("affine, u8", QParams::affine(lo, hi, QRange::U8)?),
            (
                "symmetric, i8",
                QParams::symmetric(hi.max(-lo), QRange::I8)?,
            ),
            (
                "symmetric, narrow i8",
                QParams::symmetric(hi.max(-lo), QRange::I8_NARROW)?,
            ),
        ];
        for (name, p) in pairs {
            table += &format!(
                "| [{}, {hi:.0}] | {name} | {:.6} | {} | {} |\n",
                number(lo, 1).replace(".0", ""),
                p.scale(),
                p.zero_point(),
                p.quantize(hi)? - p.quantize(lo)? + 1
            );
        }
    }
    Ok(table)
}

//! Chapter 5: networks with their weights in 8 to 2 bits.

use std::error::Error;

use fewer_bits::nn::{Dataset, Network};
use fewer_bits::ptq::{WeightsOnly, weight_scheme};
use rayon::prelude::*;

use super::figure::*;
use super::networks;

/// The widths, in the order of the tables.
pub const BITS: [u32; 6] = [8, 6, 5, 4, 3, 2];

/// What a network gives, and what it costs.
#[derive(Clone, Copy)]
pub struct Score {
    pub right: usize,
    pub loss: f64,
    pub bytes: usize,
}

/// A network in f32, and with one scale for a layer's weights or one for each output channel.
pub struct Scores {
    pub name: &'static str,
    pub images: usize,
    pub f32: Score,
    pub tensor: Vec<Score>,
    pub channel: Vec<Score>,
}

impl Scores {
    /// Of a network of the course, on its committed test images.
    pub fn of(name: &'static str) -> Result<Self, Box<dyn Error>> {
        let network = networks::trained(name)?;
        let test = match name {
            "digits" => networks::digits()?.1,
            _ => networks::fashion("test")?,
        };
        let by = |per_channel| {
            each(&BITS, |bits| {
                let quantized = WeightsOnly::new(&network, weight_scheme(bits, per_channel)?)?;
                score(quantized.network(), quantized.bytes(), &test)
            })
        };
        Ok(Self {
            name,
            images: test.len(),
            f32: score(&network, 4 * network.parameter_count(), &test)?,
            tensor: by(false)?,
            channel: by(true)?,
        })
    }

    pub fn share(&self, score: &Score) -> f64 {
        score.right as f64 / self.images as f64
    }
}

/// One score for each width, on all threads.
pub fn each(
    bits: &[u32],
    score: impl Fn(u32) -> fewer_bits::Result<Score> + Sync,
) -> fewer_bits::Result<Vec<Score>> {
    bits.par_iter().map(|&bits| score(bits)).collect()
}

pub fn score(network: &Network, bytes: usize, test: &Dataset) -> fewer_bits::Result<Score> {
    let score = test.score(125, |x| network.forward(x.view()))?;
    let right = score.accuracy.unwrap_or(f64::NAN) * test.len() as f64;
    Ok(Score {
        right: right.round() as usize,
        loss: score.loss,
        bytes,
    })
}

/// Accuracy against bits, with a dashed line for f32.
pub fn chart(area: &Area<'_>, of: &Scores) -> Result<(), Box<dyn Error>> {
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(12)
        .caption(of.name, font(16))
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(1.7f64..8.3f64, 0.0f64..1.0f64)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.15))
        .x_desc("bits")
        .y_desc("accuracy")
        .x_labels(7)
        .y_labels(6)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.1}"))
        .label_style(font(16))
        .axis_style(INK)
        .draw()?;
    let f32 = [(1.7, of.share(&of.f32)), (8.3, of.share(&of.f32))];
    chart.draw_series(DashedLineSeries::new(f32, 6, 5, MUTED.stroke_width(1)))?;
    for (scores, colour) in [(&of.tensor, ORANGE), (&of.channel, BLUE)] {
        let points = BITS.iter().zip(scores);
        let points = points.map(|(&bits, score)| (f64::from(bits), of.share(score)));
        chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
        chart.draw_series(points.map(|at| Circle::new(at, 3, colour.filled())))?;
    }
    chart.draw_series([
        Text::new("per channel", (4.9, 0.42), coloured(16, &BLUE)),
        Text::new("per tensor", (4.9, 0.26), coloured(16, &ORANGE)),
    ])?;
    Ok(())
}

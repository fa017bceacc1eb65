//! Chapter 2: one weight matrix under every scheme, first six numbers, then 16 384.

pub mod support;

use std::error::Error;

use fewer_bits::{Granularity, QRange, QTensor, Scheme, Symmetry};
use ndarray::{Array2, ArrayD, array};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use support::figure::{self, BLUE, Circle, Color, MUTED, ORANGE, Rectangle, Text};
use support::formats::{E2M1, E4M3, E5M2, nf4, on_grid};
use support::{Evidence, Outcome, grouped};

const TENSOR: Granularity = Granularity::PerTensor;
const ROWS: Granularity = Granularity::PerChannel { axis: 0 };
const COLUMNS: Granularity = Granularity::PerChannel { axis: 1 };

const fn groups(size: usize) -> Granularity {
    Granularity::PerGroup { axis: 1, size }
}

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.text("ch02_by_hand.md", by_hand()?);
    let weights = weights();
    let rows = rows(&weights)?;
    evidence.text("ch02_spread.md", spread(&weights));
    evidence.text("ch02_schemes.md", table(&rows));
    evidence.figure("ch02_schemes.svg", chart(&rows)?);
    evidence.text("ch02_symmetry.md", symmetry()?);
    evidence.text("ch02_overhead.md", overhead()?);
    evidence.text("ch02_wrong_axis.md", wrong_axis(&weights)?);
    Ok(())
}

fn symmetric(bits: u32, granularity: Granularity) -> fewer_bits::Result<Scheme> {
    Ok(Scheme {
        range: QRange::narrow(bits)?,
        symmetry: Symmetry::Symmetric,
        granularity,
    })
}

/// Six weights, 4 bits, three ways to share.
fn by_hand() -> Result<String, Box<dyn Error>> {
    let weights = array![[0.3f32, -0.7, 0.4], [2.2, -7.0, 0.6]].into_dyn();
    let mut table = "| granularity | scales | codes | x̂ | mean error | largest error |\n\
                     |:--|:--|:--|:--|--:|--:|\n"
        .to_owned();
    for (name, granularity) in [
        ("per tensor", TENSOR),
        ("per channel", ROWS),
        ("per group of 2", groups(2)),
    ] {
        let quantized = QTensor::quantize(weights.view(), symmetric(4, granularity)?)?;
        let restored = quantized.dequantize();
        let errors = (&weights - &restored).abs();
        let scales = quantized.params().iter().map(|pair| pair.scale());
        table += &format!(
            "| {name} | {} | {} | {} | {:.3} | {:.1} |\n",
            list(scales, |scale| format!("{scale:.3}"), usize::MAX),
            list(quantized.to_codes(), |code| signed(&code.to_string()), 3),
            list(restored, |value| signed(&format!("{value:.1}")), 3),
            errors.mean().unwrap_or(0.0),
            errors.fold(0.0, |a: f32, &b| a.max(b)),
        );
    }
    Ok(table)
}

/// Writes values with commas, a semicolon after each `row` of them.
fn list<T>(values: impl IntoIterator<Item = T>, text: impl Fn(T) -> String, row: usize) -> String {
    let mut all = String::new();
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            all += if index % row == 0 { "; " } else { ", " };
        }
        all += &text(value);
    }
    all
}

/// A number with a true minus sign.
fn signed(number: &str) -> String {
    number.replace('-', "−")
}

/// Normal weights whose rows differ in spread by a log-normal factor, as output channels do.
fn weights() -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
    let spreads: Vec<f32> = (0..64).map(|_| 0.05 * (0.8 * normal()).exp()).collect();
    Array2::from_shape_fn((64, 256), |(row, _)| spreads[row] * normal())
}

fn spread(weights: &Array2<f32>) -> String {
    let reach = |row: ndarray::ArrayView1<f32>| row.fold(0.0, |a: f32, &b| a.max(b.abs()));
    let mut reaches: Vec<f32> = weights.outer_iter().map(reach).collect();
    reaches.sort_by(f32::total_cmp);
    format!(
        "The largest weight of a row is {:.3} in the row with the smallest, {:.2} in the middle row, and {:.2} in the row with the largest.",
        reaches[0], reaches[32], reaches[63]
    )
}

/// One way to store the weights, and what it costs.
struct Row {
    bits: u32,
    name: String,
    bits_per_weight: f64,
    largest_error: f64,
    sqnr: f64,
    /// Rows of the matrix of which nothing but zeros is left.
    lost: usize,
}

fn rows(weights: &Array2<f32>) -> Result<Vec<Row>, Box<dyn Error>> {
    let x = weights.view().into_dyn();
    let mut rows = Vec::new();
    for bits in [8, 4] {
        for (name, granularity) in [
            ("per tensor", TENSOR),
            ("per column", COLUMNS),
            ("per row", ROWS),
            ("groups of 64", groups(64)),
            ("groups of 32", groups(32)),
        ] {
            let quantized = QTensor::quantize(x.clone(), symmetric(bits, granularity)?)?;
            let pairs = quantized.params().len();
            let stored = 8 * quantized.code_bytes() + 32 * pairs;
            let stored = stored as f64 / x.len() as f64;
            rows.push(row(
                bits,
                &format!("INT{bits}, {name}"),
                stored,
                &x.to_owned(),
                &quantized.dequantize(),
            ));
        }
        let others: &[(&str, Vec<f64>, usize, bool)] = if bits == 8 {
            &[
                ("E5M2, per tensor", E5M2.values(), x.len(), false),
                ("E4M3, per tensor", E4M3.values(), x.len(), false),
                ("E4M3, per row", E4M3.values(), 256, false),
            ]
        } else {
            &[
                ("NF4, groups of 64", nf4(), 64, false),
                ("MXFP4, groups of 32", E2M1.values(), 32, true),
            ]
        };
        for (name, values, size, power_of_two) in others {
            let restored = on_grid(weights, values, *size, *power_of_two);
            let scale_bits = if *power_of_two { 8.0 } else { 32.0 };
            let stored = f64::from(bits) + scale_bits / *size as f64;
            rows.push(row(bits, name, stored, &x.to_owned(), &restored));
        }
    }
    Ok(rows)
}

fn row(
    bits: u32,
    name: &str,
    bits_per_weight: f64,
    x: &ArrayD<f32>,
    restored: &ArrayD<f32>,
) -> Row {
    let errors = (x - restored).mapv(|e| f64::from(e.abs()));
    Row {
        bits,
        name: name.to_owned(),
        bits_per_weight,
        largest_error: errors.fold(0.0, |a: f64, &b| a.max(b)),
        sqnr: sqnr(x, restored),
        lost: restored
            .outer_iter()
            .filter(|row| row.iter().all(|&v| v == 0.0))
            .count(),
    }
}

/// Signal-to-quantization-noise ratio in decibels.
// ANCHOR: sqnr
fn sqnr(x: &ArrayD<f32>, restored: &ArrayD<f32>) -> f64 {
    let power = |a: &ArrayD<f32>| a.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
    10.0 * (power(x) / power(&(x - restored))).log10()
}
// ANCHOR_END: sqnr

fn table(rows: &[Row]) -> String {
    let mut table =
        "| codes and granularity | bits a weight | SQNR | largest error | rows lost |\n\
                     |:--|--:|--:|--:|--:|\n"
            .to_owned();
    for bits in [8, 4] {
        let of_width = || rows.iter().filter(|row| row.bits == bits);
        let best = of_width().map(|row| row.sqnr).fold(f64::MIN, f64::max);
        for row in of_width() {
            let mark = if row.sqnr == best { "**" } else { "" };
            table += &format!(
                "| {} | {:.3} | {mark}{:.1} dB{mark} | {:.3} | {} |\n",
                row.name, row.bits_per_weight, row.sqnr, row.largest_error, row.lost
            );
        }
    }
    table
}

fn chart(rows: &[Row]) -> Result<String, Box<dyn Error>> {
    let (top, left, right, height) = (34, 190, 425, 29);
    let bottom = top + height * rows.len() as i32;
    let x = |decibel: f64| left + (decibel / 50.0 * f64::from(right - left)) as i32;
    figure::svg(
        "Signal-to-quantization-noise ratio of one weight matrix under each scheme",
        figure::WIDTH,
        bottom as u32 + 30,
        |area| {
            for decibel in [0, 10, 20, 30, 40, 50] {
                let at = x(f64::from(decibel));
                let line = [(at, top - 6), (at + 1, bottom)];
                area.draw(&Rectangle::new(line, MUTED.mix(0.3).filled()))?;
                let label = match decibel {
                    50 => "50 dB".to_owned(),
                    _ => decibel.to_string(),
                };
                let start = at - 4 * label.len() as i32;
                area.draw(&Text::new(label, (start, 6), figure::font(15)))?;
            }
            for (index, row) in rows.iter().enumerate() {
                let y = top + height * index as i32 + height / 2;
                let colour = if row.bits == 8 { BLUE } else { ORANGE };
                let end = x(row.sqnr);
                area.draw(&Text::new(row.name.clone(), (2, y - 9), figure::font(15)))?;
                area.draw(&Rectangle::new(
                    [(left, y - 1), (end, y + 2)],
                    colour.filled(),
                ))?;
                area.draw(&Circle::new((end, y), 6, colour.filled()))?;
                let value = format!("{:.1}", row.sqnr);
                let place = (end + 10, y - 9);
                area.draw(&Text::new(value, place, figure::coloured(15, &colour)))?;
            }
            let key = "Blue: 8 bits. Orange: 4 bits.";
            area.draw(&Text::new(key, (2, bottom + 8), figure::font(15)))?;
            Ok(())
        },
    )
}

/// Two-sided and one-sided values with 8 bits, symmetric and asymmetric.
fn symmetry() -> Result<String, Box<dyn Error>> {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let two_sided =
        ArrayD::from_shape_simple_fn(vec![16_384], || -> f32 { StandardNormal.sample(&mut rng) });
    let one_sided = two_sided.mapv(|x| x.max(0.0));
    let mut table = "| values | symmetric | asymmetric |\n|:--|--:|--:|\n".to_owned();
    for (name, x) in [
        ("normal", &two_sided),
        ("normal after ReLU (negative becomes 0)", &one_sided),
    ] {
        let decibel = |symmetry| -> fewer_bits::Result<f64> {
            let scheme = Scheme {
                range: QRange::I8,
                symmetry,
                granularity: TENSOR,
            };
            Ok(sqnr(x, &QTensor::quantize(x.view(), scheme)?.dequantize()))
        };
        table += &format!(
            "| {name} | {:.1} dB | {:.1} dB |\n",
            decibel(Symmetry::Symmetric)?,
            decibel(Symmetry::Asymmetric)?
        );
    }
    Ok(table)
}

/// Bits a weight with everything that must be stored, for a matrix of 4096 × 4096.
fn overhead() -> Result<String, Box<dyn Error>> {
    let shape = [4096, 4096];
    let count = 4096.0 * 4096.0;
    let mut table =
        "| granularity | pairs | f32 scale | f16 scale | f16 scale, 4-bit zero point |\n\
                     |:--|--:|--:|--:|--:|\n"
            .to_owned();
    for (name, granularity) in [
        ("per tensor", TENSOR),
        ("per channel", ROWS),
        ("groups of 128", groups(128)),
        ("groups of 32", groups(32)),
        ("groups of 8", groups(8)),
    ] {
        let pairs: usize = granularity.params_shape(&shape)?.iter().product();
        let bits = |pair: f64| 4.0 + pair * pairs as f64 / count;
        table += &format!(
            "| {name} | {} | {:.3} | {:.3} | {:.3} |\n",
            grouped(pairs as u64),
            bits(32.0),
            bits(16.0),
            bits(20.0)
        );
    }
    Ok(table)
}

/// A square matrix whose scales were chosen for its rows, read with those scales on its columns.
fn wrong_axis(weights: &Array2<f32>) -> Result<String, Box<dyn Error>> {
    let square = weights.slice(ndarray::s![.., ..64]).to_owned().into_dyn();
    let right = QTensor::quantize(square.view(), Scheme::weights(0))?;
    let scales: Vec<f32> = right.params().iter().map(|pair| pair.scale()).collect();
    let codes = ArrayD::from_shape_vec(square.raw_dim(), right.to_codes())?;
    let misread = ArrayD::from_shape_fn(square.raw_dim(), |at| codes[&at] as f32 * scales[at[1]]);
    Ok(format!(
        "| scales applied to | SQNR |\n|:--|--:|\n| rows, as they were chosen | {:.1} dB |\n| columns, by mistake | {} dB |\n",
        sqnr(&square, &right.dequantize()),
        signed(&format!("{:.1}", sqnr(&square, &misread)))
    ))
}

//! Chapter 4: handwritten digits in 8, 4 and 2 bits.

pub mod support;

use fewer_bits::{Granularity, QRange, QTensor, Scheme, Symmetry};
use ndarray::{Array2, ArrayView1};
use support::figure::*;
use support::{Evidence, Outcome, digits};

/// Digits that are shown, by their place in the set.
const SHOWN: usize = 5;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let (images, labels) = digits::load()?;
    let ends = images.iter().filter(|&&x| x == 0.0 || x == 16.0).count();
    evidence.text("ch04_ends.txt", format!("{ends} of {}", images.len()));
    let inexact = 1.0 - ends as f64 / images.len() as f64;
    let mut table = String::from(
        "| bits | bytes | s | s/2 | largest error | s/√12 | corrected | measured |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut nearest = format!(
        "| images in | recognised | of |\n|:--|--:|--:|\n| original pixels | {} | {} |\n",
        recognised(&images.mapv(|x| x as i32), &labels),
        labels.len()
    );
    let mut rows = vec![("original".to_owned(), images.clone())];
    for bits in [8, 4, 2] {
        let quantized = quantize(&images, bits)?;
        let pair = quantized.params()[0];
        let restored = quantized.dequantize().into_dimensionality()?;
        let errors = (&restored - &images).mapv(f64::from);
        let largest = errors.iter().fold(0.0, |a: f64, e| a.max(e.abs()));
        let mean_square = errors.mapv(|e| e * e).mean().unwrap_or_default();
        let s = f64::from(pair.scale());
        let rule = s / 12f64.sqrt();
        table += &format!(
            "| {bits} | {} | {s:.4} | {:.4} | {largest:.4} | {rule:.4} | {:.4} | {:.4} |\n",
            quantized.code_bytes(),
            s / 2.0,
            rule * inexact.sqrt(),
            mean_square.sqrt(),
        );
        let codes = Array2::from_shape_vec(images.raw_dim(), quantized.to_codes())?;
        let right = recognised(&codes, &labels);
        nearest += &format!("| {bits} bits | {right} | {} |\n", labels.len());
        if bits == 8 {
            let wrapped = codes.mapv(|code| i32::from(code as i8));
            let right = recognised(&wrapped, &labels);
            nearest += &format!("| 8 bits, cast to `i8` | {right} | {} |\n", labels.len());
            let wrong = wrapped.mapv(|code| code as f32 * pair.scale());
            let changed = codes.iter().zip(&wrapped).filter(|(a, b)| a != b).count();
            evidence.text(
                "ch04_cast_share.txt",
                format!("{changed} of {}", codes.len()),
            );
            let pair = [
                ("right".to_owned(), restored.clone()),
                ("cast to i8".to_owned(), wrong),
            ];
            evidence.figure(
                "ch04_cast.svg",
                figure(
                    "Digits from their 8-bit codes, and from the same codes cast to i8",
                    &pair,
                    &labels,
                )?,
            );
        }
        rows.push((format!("{bits} bits"), restored));
    }
    evidence.text("ch04_digits.md", table);
    evidence.text("ch04_nearest.md", nearest);
    evidence.text("ch04_levels.md", levels()?);
    evidence.figure(
        "ch04_digits.svg",
        figure(
            "Handwritten digits before and after quantization to 8, 4 and 2 bits",
            &rows,
            &labels,
        )?,
    );
    Ok(())
}

// ANCHOR: quantize
fn quantize(images: &Array2<f32>, bits: u32) -> fewer_bits::Result<QTensor> {
    let scheme = Scheme {
        range: QRange::unsigned(bits)?,
        symmetry: Symmetry::Asymmetric,
        granularity: Granularity::PerTensor,
    };
    QTensor::quantize(images.view().into_dyn(), scheme)
}
// ANCHOR_END: quantize

/// The seventeen pixel values, their codes, and what these stand for.
fn levels() -> Result<String, Box<dyn std::error::Error>> {
    let all = Array2::from_shape_fn((1, 17), |(_, i)| i as f32);
    let (four, two) = (quantize(&all, 4)?, quantize(&all, 2)?);
    let restored = (four.dequantize(), two.dequantize());
    let mut table =
        String::from("| pixel | code, 4 bits | x̂ | code, 2 bits | x̂ |\n|--:|--:|--:|--:|--:|\n");
    for i in 0..17 {
        table += &format!(
            "| {i} | {} | {:.3} | {} | {:.3} |\n",
            four.to_codes()[i],
            restored.0[[0, i]],
            two.to_codes()[i],
            restored.1[[0, i]]
        );
    }
    Ok(table)
}

/// How many images show the same digit as the nearest of all the others. The distance is computed
/// on the codes: the zero point cancels, and the scale changes no order.
// ANCHOR: recognised
fn recognised(codes: &Array2<i32>, labels: &[u8]) -> usize {
    let mut nearest = vec![(i32::MAX, 0); labels.len()];
    for i in 0..labels.len() {
        for j in 0..i {
            let far = distance(codes.row(i), codes.row(j));
            nearest[i] = nearest[i].min((far, j));
            nearest[j] = nearest[j].min((far, i));
        }
    }
    let pairs = labels.iter().zip(&nearest);
    pairs
        .filter(|(label, (_, j))| **label == labels[*j])
        .count()
}

fn distance(a: ArrayView1<i32>, b: ArrayView1<i32>) -> i32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}
// ANCHOR_END: recognised

/// Rows of images: ink is grey, and what has become less than no ink is orange.
fn figure(
    title: &str,
    rows: &[(String, Array2<f32>)],
    labels: &[u8],
) -> Result<String, Box<dyn std::error::Error>> {
    const PIXEL: i32 = 9;
    const CELL: i32 = 8 * PIXEL + 6;
    let places: Vec<_> = (0..10u8)
        .step_by(10 / SHOWN)
        .filter_map(|d| labels.iter().position(|&l| l == d))
        .collect();
    let height = 6 + rows.len() as i32 * CELL;
    svg(title, WIDTH, height as u32, |area| {
        for (row, (name, images)) in rows.iter().enumerate() {
            let top = 6 + row as i32 * CELL;
            area.draw(&Text::new(name.clone(), (6, top + 28), font(16)))?;
            for (column, &place) in places.iter().enumerate() {
                let left = 88 + column as i32 * CELL;
                let pixels = images.row(place);
                for (i, &x) in pixels.iter().enumerate().filter(|(_, x)| **x != 0.0) {
                    let (x0, y0) = (left + i as i32 % 8 * PIXEL, top + i as i32 / 8 * PIXEL);
                    let corners = [(x0, y0), (x0 + PIXEL, y0 + PIXEL)];
                    area.draw(&Rectangle::new(corners, ink(x).filled()))?;
                }
                let frame = [(left, top), (left + 8 * PIXEL, top + 8 * PIXEL)];
                area.draw(&Rectangle::new(frame, MUTED.stroke_width(1)))?;
            }
        }
        Ok(())
    })
}

fn ink(x: f32) -> RGBColor {
    // The cast leaves nothing below -8.
    let (dark, most) = if x < 0.0 {
        (ORANGE, 8.0)
    } else {
        (RGBColor(0, 0, 0), 16.0)
    };
    let share = (x.abs() / most).min(1.0);
    let mix = |dark: u8| (255.0 - share * (255.0 - f32::from(dark))).round() as u8;
    RGBColor(mix(dark.0), mix(dark.1), mix(dark.2))
}

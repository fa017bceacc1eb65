//! Chapter 2: the bits of each number format, the values that they make, and which scheme to take.

pub mod support;

use std::error::Error;

use support::figure::{
    self, Area, BLUE, Color, GREEN, INK, MUTED, ORANGE, PURPLE, RGBColor, Rectangle, SAND, SKY,
    Text,
};
use support::formats::{BF16, E2M1, E4M3, E5M2, F16, F32, nf4};
use support::{Evidence, Outcome};

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.text("ch02_formats.md", table());
    evidence.figure("ch02_formats.svg", anatomy()?);
    evidence.figure("ch02_grids.svg", grids()?);
    evidence.figure("ch02_decision.svg", decision()?);
    Ok(())
}

fn table() -> String {
    let mut table = "| format | bits | smallest above 0 | largest | step at 1 |\n\
                     |:--|--:|--:|--:|--:|\n"
        .to_owned();
    for format in [F32, BF16, F16, E5M2, E4M3, E2M1] {
        table += &format!(
            "| {} | {} | {} | {} | {} |\n",
            format.name,
            format.bits(),
            scientific(format.smallest()),
            scientific(format.largest()),
            scientific(0.5f64.powi(format.fraction as i32)),
        );
    }
    for bits in [8u32, 4] {
        let largest = (1 << (bits - 1)) - 1;
        table += &format!("| INT{bits} | {bits} | *s* | {largest} *s* | *s* everywhere |\n");
    }
    let nf4 = nf4();
    let steps = || nf4.windows(2).map(|pair| pair[1] - pair[0]);
    table += &format!(
        "| NF4 | 4 | {:.3} *s* | {} *s* | {:.3} *s* to {:.3} *s* |\n",
        nf4[8],
        nf4[15],
        steps().fold(f64::MAX, f64::min),
        steps().fold(0.0, f64::max),
    );
    table
}

/// Three significant digits; a power of ten where the number is far from 1.
fn scientific(x: f64) -> String {
    if (1e4..1e5).contains(&x) {
        return format!("{}\u{202f}{:03}", x as u32 / 1000, x as u32 % 1000);
    }
    if (1e-3..1e4).contains(&x) {
        let digits = (2 - x.log10().floor() as i32).max(0) as usize;
        let text = format!("{x:.digits$}");
        return match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        };
    }
    let power = x.log10().floor() as i32;
    format!("{:.2} · 10<sup>{power}</sup>", x / 10f64.powi(power)).replace('-', "−")
}

const CELL: i32 = 14;
const BAR: i32 = 24;

/// A piece of a bar: its bits, its fill, and what is written into it.
type Part<'a> = (u32, RGBColor, &'a str);

fn anatomy() -> Result<String, Box<dyn Error>> {
    let sign = |bits| (bits, PURPLE, "");
    let floats = [
        (F32, "exponent 8", "fraction 23", ""),
        (BF16, "8", "7", "the range of f32, in half the bits"),
        (F16, "5", "10", "finer than bf16, up to 65 504"),
        (E5M2, "5", "2", "for gradients, up to 57 344"),
        (E4M3, "4", "3", "for weights and activations, up to 448"),
        (E2M1, "2", "1", "one 8-bit power of two for 32 (MXFP4)"),
    ];
    let row = 58;
    figure::svg(
        "The bits of nine number formats: sign, exponent, fraction",
        figure::WIDTH,
        (9 * row + 34) as u32,
        |area| {
            for (index, (format, exponent, fraction, note)) in floats.iter().enumerate() {
                let parts = [
                    sign(1),
                    (format.exponent, SAND, *exponent),
                    (format.fraction, SKY, *fraction),
                ];
                bar(area, index as i32 * row, format.name, note, &parts)?;
            }
            let integers: [(&str, &str, Part<'_>); 3] = [
                ("INT8", "a whole number; scale stored apart", (8, PALE, "8")),
                ("INT4", "the same, two to a byte", (4, PALE, "4")),
                (
                    "NF4",
                    "a place in a table of 16 values",
                    (4, SAND_PALE, "4"),
                ),
            ];
            for (index, (name, note, part)) in integers.iter().enumerate() {
                bar(area, (6 + index as i32) * row, name, note, &[*part])?;
            }
            let key = "Purple: the sign, one bit.";
            area.draw(&Text::new(key, (2, 9 * row + 8), figure::font(15)))?;
            Ok(())
        },
    )
}

/// Fills for whole numbers and for table entries.
const PALE: RGBColor = RGBColor(0xB9, 0xE0, 0xD2);
const SAND_PALE: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);

fn bar(area: &Area<'_>, y: i32, name: &str, note: &str, parts: &[Part<'_>]) -> Outcome {
    area.draw(&Text::new(name.to_owned(), (2, y + 4), figure::font(16)))?;
    let bits: u32 = parts.iter().map(|part| part.0).sum();
    let bits = format!("{bits} bits");
    area.draw(&Text::new(bits, (110, y + 4), figure::coloured(15, &MUTED)))?;
    if !note.is_empty() {
        let place = (190, y + 4);
        area.draw(&Text::new(note.to_owned(), place, figure::font(14)))?;
    }
    let (top, bottom) = (y + 26, y + 26 + BAR);
    let mut left = 2;
    for (bits, fill, text) in parts {
        let right = left + CELL * *bits as i32;
        area.draw(&Rectangle::new(
            [(left, top), (right, bottom)],
            fill.filled(),
        ))?;
        for bit in 0..=*bits as i32 {
            let at = left + bit * CELL;
            let edge = if bit == 0 || bit == *bits as i32 {
                INK
            } else {
                MUTED
            };
            let strength = if edge == INK { 1.0 } else { 0.25 };
            let line = [(at, top), (at + 1, bottom)];
            area.draw(&Rectangle::new(line, edge.mix(strength).filled()))?;
        }
        let middle = (left + right) / 2 - 4 * text.chars().count() as i32;
        area.draw(&Text::new(
            (*text).to_owned(),
            (middle, top + 4),
            figure::font(15),
        ))?;
        left = right;
    }
    Ok(())
}

/// Where the values of the 4-bit formats lie, each scaled so that its largest is 1.
fn grids() -> Result<String, Box<dyn Error>> {
    let integers: Vec<f64> = (-7..=7).map(f64::from).collect();
    let rows = [
        ("INT4, −7 to 7: equal steps", integers, BLUE),
        ("FP4 E2M1: steps grow with the value", E2M1.values(), ORANGE),
        ("NF4: dense where normal weights are", nf4(), GREEN),
    ];
    let (left, right, row) = (16, 464, 66);
    figure::svg(
        "The values of three 4-bit formats between −1 and 1",
        figure::WIDTH,
        (3 * row + 30) as u32,
        |area| {
            let x =
                |value: f64| left + ((value + 1.0) / 2.0 * f64::from(right - left)).round() as i32;
            for (index, (name, values, colour)) in rows.iter().enumerate() {
                let top = index as i32 * row;
                let count = format!("{name} ({} values)", values.len());
                area.draw(&Text::new(
                    count,
                    (left - 8, top + 6),
                    figure::coloured(15, colour),
                ))?;
                let axis = [(left, top + 46), (right, top + 47)];
                area.draw(&Rectangle::new(axis, MUTED.mix(0.5).filled()))?;
                let largest = values[values.len() - 1];
                for value in values {
                    let at = x(value / largest);
                    let tick = [(at - 1, top + 32), (at + 2, top + 60)];
                    area.draw(&Rectangle::new(tick, colour.filled()))?;
                }
            }
            for (value, label) in [(-1.0, "−1"), (0.0, "0"), (1.0, "1")] {
                let start = x(value) - 4 * label.chars().count() as i32;
                area.draw(&Text::new(label, (start, 3 * row + 4), figure::font(15)))?;
            }
            Ok(())
        },
    )
}

/// A question, and where "yes" leads; "no" leads to the next question.
const QUESTIONS: [(&[&str], &str, &[&str]); 4] = [
    (
        &["Is reading the weights", "what takes the time?"],
        "yes",
        &["Weight-only,", "8 or 4 bits,", "in groups"],
    ),
    (
        &["Does the processor lack", "fast 8-bit products?"],
        "yes",
        &["Stay in 16 or", "32 bits, or", "weight-only"],
    ),
    (
        &["Are typical inputs", "hard to get?"],
        "yes",
        &["Dynamic:", "ranges at", "run time"],
    ),
    (
        &["Static, per channel.", "Is its accuracy", "good enough?"],
        "yes",
        &["Done:", "static"],
    ),
];

fn decision() -> Result<String, Box<dyn Error>> {
    let (row, width) = (128, 232);
    let last = 4 * row;
    figure::svg(
        "Which scheme to take: four questions from top to bottom",
        figure::WIDTH,
        (last + 96) as u32,
        |area| {
            for (index, (question, yes, answer)) in QUESTIONS.iter().enumerate() {
                let y = index as i32 * row + 4;
                block(area, (4, y), (width, 88), SKY, question)?;
                block(area, (316, y), (160, 88), SAND, answer)?;
                arrow(area, (4 + width, y + 44), (316, y + 44))?;
                area.draw(&Text::new(*yes, (258, y + 20), figure::font(16)))?;
                let middle = 4 + width / 2;
                arrow(area, (middle, y + 88), (middle, y + row))?;
                area.draw(&Text::new("no", (middle + 10, y + 100), figure::font(16)))?;
            }
            let rest = [
                "Find the layers that hurt (10), choose ranges (11),",
                "share pairs among fewer (12), keep some layers wide (13),",
                "move outliers (14), correct (15); or train with it: QAT (8).",
            ];
            block(area, (4, last + 4), (472, 84), SAND, &rest)
        },
    )
}

fn block(
    area: &Area<'_>,
    at: (i32, i32),
    size: (i32, i32),
    fill: RGBColor,
    lines: &[&str],
) -> Outcome {
    let corners = [at, (at.0 + size.0, at.1 + size.1)];
    area.draw(&Rectangle::new(corners, fill.mix(0.6).filled()))?;
    area.draw(&Rectangle::new(corners, INK.stroke_width(1)))?;
    let top = at.1 + (size.1 - 24 * lines.len() as i32) / 2 + 2;
    for (index, line) in lines.iter().enumerate() {
        let place = (at.0 + 12, top + 24 * index as i32);
        area.draw(&Text::new((*line).to_owned(), place, figure::font(15)))?;
    }
    Ok(())
}

/// A straight arrow to the right or down.
fn arrow(area: &Area<'_>, from: (i32, i32), to: (i32, i32)) -> Outcome {
    use support::figure::{PathElement, Polygon};
    area.draw(&PathElement::new([from, to], INK.stroke_width(2)))?;
    let head = match to.0 > from.0 {
        true => [to, (to.0 - 10, to.1 - 6), (to.0 - 10, to.1 + 6)],
        false => [to, (to.0 - 6, to.1 - 10), (to.0 + 6, to.1 - 10)],
    };
    area.draw(&Polygon::new(head, INK.filled()))?;
    Ok(())
}

//! The roofline of this machine, and where the products stand under it.

use std::error::Error;

use super::bench::limits::Kind;
use super::rounds::Board;
use super::rows::{Row, f32_limit};
use super::support::figure::{
    self, BLUE, Circle, Color, INK, MUTED, ORANGE, PathElement, RGBColor, Text,
};
use fewer_bits::Isa;

const LEFT: f64 = 58.0;
const RIGHT: f64 = 466.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 350.0;
/// Operations a byte, at the left and at the right.
const INTENSITY: (f64, f64) = (0.25, 10_000.0);

/// Two logarithmic axes.
struct Axes {
    rate: (f64, f64),
}

impl Axes {
    fn at(&self, intensity: f64, rate: f64) -> (i32, i32) {
        let along = |(lo, hi): (f64, f64), v: f64| (v / lo).ln() / (hi / lo).ln();
        let x = LEFT + along(INTENSITY, intensity) * (RIGHT - LEFT);
        let y = BOTTOM - along(self.rate, rate) * (BOTTOM - TOP);
        (x as i32, y as i32)
    }
}

pub fn figure(board: &Board) -> Result<String, Box<dyn Error>> {
    let read = board.limit(Kind::Read).ok_or("reading was measured")?;
    let mut roofs: Vec<(&str, f64, RGBColor)> = Vec::new();
    let kinds = [
        (Kind::Int8(Isa::Amx), "AMX", BLUE),
        (Kind::Int8(Isa::Avx512Vnni), "AVX-512 VNNI", BLUE),
        (Kind::Int8(Isa::AvxVnni), "AVX-VNNI", BLUE),
        (Kind::Int8(Isa::NeonDotprod), "dot product", BLUE),
        (Kind::Int8(Isa::Avx2), "AVX2", BLUE),
        (f32_limit(), "f32", ORANGE),
    ];
    for (kind, name, colour) in kinds {
        roofs.extend(board.limit(kind).map(|rate| (name, rate, colour)));
    }
    let highest = roofs.iter().fold(1.0, |a: f64, roof| a.max(roof.1));
    let axes = Axes {
        rate: (1.0, 2.0 * highest),
    };
    figure::svg(
        "Roofline: operations a second against operations a byte",
        figure::WIDTH,
        410,
        |area| {
            let text =
                |what: &str, at: (i32, i32), colour: &RGBColor| -> Result<(), Box<dyn Error>> {
                    area.draw(&Text::new(
                        what.to_owned(),
                        at,
                        figure::coloured(15, colour),
                    ))?;
                    Ok(())
                };
            for rate in [1.0, 10.0, 100.0, 1000.0] {
                if rate > axes.rate.1 {
                    continue;
                }
                let (from, to) = (axes.at(INTENSITY.0, rate), axes.at(INTENSITY.1, rate));
                area.draw(&PathElement::new([from, to], MUTED.mix(0.25)))?;
                let label = format!("{rate}");
                text(
                    &label,
                    (LEFT as i32 - 9 - 8 * label.len() as i32, from.1 - 9),
                    &INK,
                )?;
            }
            for intensity in [1.0, 10.0, 100.0, 1000.0] {
                let (from, to) = (
                    axes.at(intensity, axes.rate.0),
                    axes.at(intensity, axes.rate.1),
                );
                area.draw(&PathElement::new([from, to], MUTED.mix(0.25)))?;
                let label = format!("{intensity}");
                text(
                    &label,
                    (from.0 - 4 * label.len() as i32, BOTTOM as i32 + 5),
                    &INK,
                )?;
            }
            text(
                "operations for each byte moved",
                (150, BOTTOM as i32 + 28),
                &INK,
            )?;
            text("GOP/s", (2, 2), &INK)?;
            let mut heights: Vec<i32> = Vec::new();
            for (name, rate, colour) in &roofs {
                let corner = axes.at(rate / read, *rate);
                let line = [corner, axes.at(INTENSITY.1, *rate)];
                area.draw(&PathElement::new(line, colour.stroke_width(2)))?;
                let label = format!("{name}: {rate:.0}");
                let right = RIGHT as i32 - (8.4 * label.len() as f64) as i32;
                // Above its line, or below where another one has its label there.
                let taken = heights.iter().any(|height| (height - corner.1).abs() < 20);
                let above = if taken { -5 } else { 20 };
                text(&label, (right, corner.1 - above), colour)?;
                heights.push(corner.1);
            }
            let foot = axes.rate.0 / read;
            let foot = foot.max(INTENSITY.0);
            let slope = [axes.at(foot, foot * read), axes.at(highest / read, highest)];
            area.draw(&PathElement::new(slope, INK.stroke_width(2)))?;
            let label = format!("read: {read:.0} GB/s");
            let (x, y) = axes.at(foot * 2.2, foot * read * 1.5);
            text(&label, (x + 8, y + 4), &INK)?;
            for row in shown(board) {
                let colour = if row.op == "gemm_f32" { ORANGE } else { BLUE };
                let at = axes.at(row.operations / row.bytes, row.gops());
                area.draw(&Circle::new(at, 5, colour.filled()))?;
            }
            Ok(())
        },
    )
}

/// Our products and those of the fastest f32 peer, on one thread.
fn shown(board: &Board) -> Vec<&Row> {
    let mut shown: Vec<&Row> = Vec::new();
    for row in board.rows.iter().filter(|row| row.threads == 1) {
        let ours =
            row.who.starts_with("fewer-bits") && ["gemm_u8i8", "gemv_u8i8"].contains(&&*row.op);
        if ours {
            shown.push(row);
        }
        if row.op == "gemm_f32" {
            match shown
                .iter_mut()
                .find(|r| r.op == row.op && r.shape == row.shape)
            {
                Some(best) if best.median() > row.median() => *best = row,
                Some(_) => {}
                None => shown.push(row),
            }
        }
    }
    shown
}

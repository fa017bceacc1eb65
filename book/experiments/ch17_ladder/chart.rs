//! The ladder as a figure.

use fewer_bits::gemm::Kernel;

use super::Result;
use super::limits::Kind;
use super::support::figure::{self, *};
use super::times::{Board, Rung, SHAPES};

/// A row for each step, the rate along it; the limits are lines.
pub fn figure(board: &Board) -> Result<String> {
    const ROW: i32 = 40;
    const TOP: i32 = 44;
    let rungs: Vec<&Rung> = board.rungs.iter().filter(|rung| !rung.aside).collect();
    let axis = TOP + ROW * rungs.len() as i32 + 4;
    let highest = board
        .limits
        .iter()
        .fold(100.0, |most: f64, limit| most.max(limit.1));
    let (least, most) = (0.1f64, 1.6 * highest);
    let (left, right) = (14.0, f64::from(figure::WIDTH) - 14.0);
    let place = |rate: f64| {
        let along = (rate.max(least) / least).ln() / (most / least).ln();
        (left + along * (right - left)) as i32
    };
    let title = "Operations a second of each step of the ladder, and the limits of the machine";
    figure::svg(title, figure::WIDTH, axis as u32 + 56, |area| {
        for rate in [0.1, 1.0, 10.0, 100.0, 1000.0] {
            if rate > most {
                continue;
            }
            let x = place(rate);
            area.draw(&PathElement::new([(x, TOP), (x, axis)], MUTED.mix(0.4)))?;
            let label = format!("{rate}");
            area.draw(&Text::new(
                label.clone(),
                (x - 4 * label.len() as i32, axis + 6),
                figure::font(15),
            ))?;
        }
        area.draw(&Text::new(
            "GOP/s on one core",
            (150, axis + 28),
            figure::font(16),
        ))?;
        for (i, (kind, rate)) in limits_shown(board).into_iter().enumerate() {
            let (x, y) = (place(rate), 4 + 18 * i as i32);
            area.draw(&PathElement::new(
                [(x, y + 8), (x, axis)],
                GREEN.stroke_width(2),
            ))?;
            let label = format!("{kind} at most {rate:.0}");
            let x = x - 8 - (8.0 * label.len() as f64) as i32;
            area.draw(&Text::new(label, (x, y), figure::coloured(15, &GREEN)))?;
        }
        for (i, (shape, colour)) in SHAPES.into_iter().zip([BLUE, ORANGE]).enumerate() {
            let y = 4 + 18 * i as i32;
            area.draw(&Circle::new((22, y + 9), 6, colour.filled()))?;
            let label = shape.map(|size| size.to_string()).join("×");
            area.draw(&Text::new(label, (36, y), figure::coloured(15, &colour)))?;
        }
        for (i, rung) in rungs.iter().enumerate() {
            let y = TOP + ROW * i as i32;
            let label = format!("{} {}", i + 1, rung.name);
            area.draw(&Text::new(label, (16, y + 2), figure::font(16)))?;
            let line = [(left as i32, y + 29), (right as i32, y + 29)];
            area.draw(&PathElement::new(line, MUTED.mix(0.25)))?;
            for (rate, (colour, up)) in rung.gops.iter().zip([(BLUE, 4), (ORANGE, -4)]) {
                let at = (place(*rate), y + 29 - up);
                area.draw(&Circle::new(at, 6, colour.filled()))?;
            }
        }
        Ok(())
    })
}

/// The limits of the multiplications that the steps use.
fn limits_shown(board: &Board) -> Vec<(&'static str, f64)> {
    let name = |kind: Kind| match kind {
        Kind::Int16Avx2 => Some("16 bits"),
        Kind::Int8(isa) if isa == Kernel::best().isa() => Some("bytes"),
        _ => None,
    };
    let shown = board.limits.iter();
    shown
        .filter_map(|&(kind, rate)| Some((name(kind)?, rate)))
        .collect()
}

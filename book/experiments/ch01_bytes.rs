//! Chapter 1: what can be counted without a clock: bytes, operations, and energy.

pub mod support;

use support::figure::{self, BLUE, Circle, Color, MUTED, ORANGE, Rectangle, Text};
use support::{Evidence, Outcome, grouped};

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.text("ch01_sizes.md", sizes());
    evidence.text("ch01_intensity.md", intensities());
    evidence.text("ch01_energy.md", energy_table());
    evidence.figure("ch01_energy.svg", energy_figure()?);
    Ok(())
}

/// A transformer's weight matrices: how many there are of which shape.
struct Model {
    name: &'static str,
    matrices: &'static [(u64, u64, u64)],
}

/// The shapes in the published configurations. Biases and norms are left out: together they are
/// under one percent.
const MODELS: [Model; 2] = [
    Model {
        name: "all-MiniLM-L6-v2",
        matrices: &[
            (1, 30_522, 384),
            (1, 512, 384),
            (1, 2, 384),
            (6 * 4, 384, 384),
            (6 * 2, 384, 1536),
            (1, 384, 384),
        ],
    },
    Model {
        name: "Llama 2 7B",
        matrices: &[
            (2, 32_000, 4096),
            (32 * 4, 4096, 4096),
            (32 * 3, 4096, 11_008),
        ],
    },
];

fn sizes() -> String {
    let mut table =
        "| model | weights | 32 bits | 16 bits | 8 bits | 4 bits |\n|:--|--:|--:|--:|--:|--:|\n"
            .to_owned();
    for model in MODELS {
        let weights: u64 = model
            .matrices
            .iter()
            .map(|(n, rows, cols)| n * rows * cols)
            .sum();
        table += &format!("| {} | {} M |", model.name, millions(weights));
        for bits in [32, 16, 8, 4] {
            table += &format!(" {} MB |", millions(weights * bits / 8));
        }
        table.push('\n');
    }
    table
}

/// Rows of the input, depth, columns of the weights.
const PRODUCTS: [(&str, u64, u64, u64); 4] = [
    ("by hand", 2, 3, 2),
    ("one token, MiniLM feed-forward", 1, 384, 1536),
    ("128 tokens, MiniLM feed-forward", 128, 384, 1536),
    ("one token, 4096 × 4096", 1, 4096, 4096),
];

fn intensities() -> String {
    let mut table =
        "| product | M × K × N | operations | bytes, f32 | op/byte, f32 | op/byte, 8-bit |\n\
                     |:--|:-:|--:|--:|--:|--:|\n"
            .to_owned();
    for (name, m, k, n) in PRODUCTS {
        let operations = 2 * m * k * n;
        let bytes = 4 * (m * k + k * n + m * n);
        let bytes_8 = m * k + k * n + 4 * m * n; // 8-bit operands, 32-bit sums
        table += &format!(
            "| {name} | {m} × {k} × {n} | {} | {} | {:.2} | {:.2} |\n",
            grouped(operations),
            grouped(bytes),
            operations as f64 / bytes as f64,
            operations as f64 / bytes_8 as f64
        );
    }
    table
}

/// The number in millions, rounded.
fn millions(number: u64) -> String {
    grouped((number + 500_000) / 1_000_000)
}

/// Picojoules an operation on a 45 nm chip at 0.9 V (Horowitz 2014); memory is per 64 bits.
const ENERGY: [(&str, f64, bool); 12] = [
    ("add, 8-bit integer", 0.03, true),
    ("add, 32-bit integer", 0.1, true),
    ("add, 16-bit float", 0.4, false),
    ("add, 32-bit float", 0.9, false),
    ("multiply, 8-bit integer", 0.2, true),
    ("multiply, 32-bit integer", 3.1, true),
    ("multiply, 16-bit float", 1.1, false),
    ("multiply, 32-bit float", 3.7, false),
    ("read 64 bits, 8 KB cache", 10.0, false),
    ("read 64 bits, 32 KB cache", 20.0, false),
    ("read 64 bits, 1 MB cache", 100.0, false),
    ("read 64 bits, DRAM (least)", 1300.0, false),
];

fn energy(name: &str) -> f64 {
    let found = ENERGY.iter().find(|(row, ..)| *row == name);
    found.map_or(f64::NAN, |(_, picojoules, _)| *picojoules)
}

fn energy_table() -> String {
    let float = energy("multiply, 32-bit float") + energy("add, 32-bit float");
    let integer = energy("multiply, 8-bit integer") + energy("add, 32-bit integer");
    let dram_byte = energy("read 64 bits, DRAM (least)") / 8.0;
    let mut table = "| one multiply-accumulate | arithmetic | weight from DRAM | share of DRAM |\n|:--|--:|--:|--:|\n".to_owned();
    for (name, arithmetic, bytes) in [
        ("32-bit float", float, 4.0),
        ("8-bit integer, 32-bit sum", integer, 1.0),
    ] {
        let dram = bytes * dram_byte;
        table += &format!(
            "| {name} | {arithmetic:.1} pJ | {dram:.1} pJ | {:.2} % |\n",
            100.0 * dram / (dram + arithmetic)
        );
    }
    table += &format!("| ratio | {:.1} | {:.1} | |\n", float / integer, 4.0);
    table
}

fn energy_figure() -> Result<String, Box<dyn std::error::Error>> {
    let (top, left, right, row) = (30, 212, 440, 29);
    let height = top + 12 * row + 34;
    // Logarithmic: one decade is a fixed length.
    let x = |picojoules: f64| {
        let share = (picojoules.log10() + 2.0) / 6.0;
        left + (share * f64::from(right - left)) as i32
    };
    figure::svg(
        "Energy of one operation on a logarithmic scale, from 0.03 to 1300 picojoules",
        figure::WIDTH,
        height as u32,
        |area| {
            for (picojoules, label) in [(0.01, "0.01"), (1.0, "1"), (100.0, "100"), (1e4, "10⁴ pJ")]
            {
                let at = x(picojoules);
                let line = [(at, top - 6), (at + 1, top + 12 * row)];
                area.draw(&Rectangle::new(line, MUTED.mix(0.3).filled()))?;
                let left_of_it = 4 * label.chars().count() as i32;
                area.draw(&Text::new(label, (at - left_of_it, 4), figure::font(15)))?;
            }
            for (index, (name, picojoules, integer)) in ENERGY.iter().enumerate() {
                let (y, end) = (top + index as i32 * row + row / 2, x(*picojoules));
                let colour = match index {
                    8.. => MUTED,
                    _ if *integer => BLUE,
                    _ => ORANGE,
                };
                area.draw(&Text::new(*name, (2, y - 9), figure::font(15)))?;
                area.draw(&Rectangle::new(
                    [(left, y - 1), (end, y + 2)],
                    colour.filled(),
                ))?;
                area.draw(&Circle::new((end, y), 6, colour.filled()))?;
                let value = Text::new(
                    picojoules.to_string(),
                    (end + 10, y - 9),
                    figure::coloured(15, &colour),
                );
                area.draw(&value)?;
            }
            let key = "Blue: integers. Orange: floats. Grey: memory.";
            area.draw(&Text::new(key, (2, top + 12 * row + 10), figure::font(15)))?;
            Ok(())
        },
    )
}

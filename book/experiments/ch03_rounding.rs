//! Chapter 3: what the order of two roundings, the tie rule, and a reciprocal change.

pub mod support;

use fewer_bits::{QParams, QRange};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{Evidence, Outcome};

const COUNT: usize = 1_000_000;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.text("ch03_two_ranges.md", two_ranges());
    evidence.text("ch03_ties.md", ties());
    evidence.text("ch03_tie_in_f32.txt", tie_in_f32());
    evidence.text("ch03_reciprocal.md", reciprocal()?);
    Ok(())
}

type Round = fn(f32) -> f32;
const MODES: [(&str, Round); 2] = [
    ("half to even", f32::round_ties_even),
    ("half away from zero", f32::round),
];

/// The zero point by subtracting first and rounding last, all in f32.
// ANCHOR: round_last
fn round_last(lo: f32, scale: f32, q_min: f32, round: Round) -> i32 {
    round(q_min - lo / scale) as i32
}
// ANCHOR_END: round_last

/// The zero point by rounding first: the integer q_min cannot disturb the rounding.
// ANCHOR: round_first
fn round_first(lo: f32, scale: f32, q_min: i32, round: Round) -> i32 {
    q_min - round(lo / scale) as i32
}
// ANCHOR_END: round_first

/// How often the zero points of [0, 255] and [−128, 127] are not 128 apart.
fn two_ranges() -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(30);
    let random: Vec<_> = (0..4 * COUNT)
        .map(|_| {
            (
                -rng.random_range(0.0f32..10.0),
                rng.random_range(0.1f32..10.0),
            )
        })
        .collect();
    let symmetric: Vec<_> = (0..COUNT)
        .map(|_| rng.random_range(0.1f32..10.0))
        .map(|end| (-end, end))
        .collect();
    let mut table = String::from(
        "| intervals | how many | ties | rounded last | rounded first |\n|:--|--:|:--|--:|--:|\n",
    );
    for (name, intervals) in [("random", random), ("[−a, a]", symmetric)] {
        for (mode, round) in MODES {
            let (mut last, mut first) = (0, 0);
            for &(lo, hi) in &intervals {
                let scale = (hi - lo) / 255.0;
                let unsigned = round_last(lo, scale, 0.0, round);
                last += usize::from(round_last(lo, scale, -128.0, round) != unsigned - 128);
                let unsigned = round_first(lo, scale, 0, round);
                first += usize::from(round_first(lo, scale, -128, round) != unsigned - 128);
            }
            table += &format!(
                "| {name} | {} | {mode} | {} | {} |\n",
                spaced(intervals.len()),
                spaced(last),
                spaced(first)
            );
        }
    }
    table
}

/// On [−a, a] the exact −lo/s is 127.5. How often is it so in f32, of a million a?
fn tie_in_f32() -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(34);
    let exact = (0..COUNT)
        .map(|_| rng.random_range(0.1f32..10.0))
        .filter(|&end| end / ((end + end) / 255.0) == 127.5)
        .count();
    format!("{:.0} %", percent(exact))
}

/// The mean of x̂ − x in steps, for values that seldom, and values that often, lie half-way.
fn ties() -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(31);
    let kinds: [(&str, Vec<f32>); 3] = [
        (
            "spread evenly over the steps",
            (0..COUNT)
                .map(|_| rng.random_range(0.0f32..255.0))
                .collect(),
        ),
        (
            "means of two codes",
            (0..COUNT)
                .map(|_| (rng.random_range(0..256) + rng.random_range(0..256)) as f32 / 2.0)
                .collect(),
        ),
        (
            "the same, either sign",
            (0..COUNT)
                .map(|_| (rng.random_range(-127..=127) + rng.random_range(-127..=127)) as f32 / 2.0)
                .collect(),
        ),
    ];
    let modes: [(&str, Round); 3] = [MODES[0], MODES[1], ("toward zero", f32::trunc)];
    let mut table = String::from("| values, in steps | half-way |");
    for (mode, _) in modes {
        table += &format!(" {mode} |");
    }
    table += "\n|:--|--:|--:|--:|--:|\n";
    for (name, values) in kinds {
        let half_way = values.iter().filter(|x| x.fract().abs() == 0.5).count();
        table += &format!("| {name} | {:.1} % |", percent(half_way));
        for (_, round) in modes {
            let sum: f64 = values
                .iter()
                .map(|&x| f64::from(round(x)) - f64::from(x))
                .sum();
            let mean = format!("{:+.3}", sum / COUNT as f64).replace('-', "−");
            let mean = mean.replace("−0.000", "0.000").replace("+0.000", "0.000");
            table += &format!(" {mean} |");
        }
        table += "\n";
    }
    table
}

/// How many codes differ when x/s is computed as x · (1/s).
fn reciprocal() -> Result<String, Box<dyn std::error::Error>> {
    let mut rng = ChaCha8Rng::seed_from_u64(32);
    let mut table =
        String::from("| values | codes | other code by x · (1/s) | of |\n|:--|:--|--:|--:|\n");
    for half_way in [false, true] {
        for (name, range) in [("8 bits", QRange::U8), ("16 bits", QRange::U16)] {
            let mut different = 0;
            for _ in 0..COUNT / 1000 {
                let p = QParams::affine(0.0, rng.random_range(0.1f32..10.0), range)?;
                let steps = range.steps();
                for _ in 0..1000 {
                    let x = if half_way {
                        (rng.random_range(0..steps) as f32 + 0.5) * p.scale()
                    } else {
                        rng.random_range(0.0..steps as f32) * p.scale()
                    };
                    let multiplied = (x * (1.0 / p.scale())).round_ties_even() as i32;
                    different += usize::from(multiplied.min(steps) != p.quantize(x)?);
                }
            }
            let values = if half_way {
                "half-way between two codes"
            } else {
                "anywhere"
            };
            table += &format!(
                "| {values} | {name} | {} | {} |\n",
                spaced(different),
                spaced(COUNT)
            );
        }
    }
    Ok(table)
}

fn percent(count: usize) -> f64 {
    100.0 * count as f64 / COUNT as f64
}

/// 1 000 000, with narrow no-break spaces between the thousands.
fn spaced(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

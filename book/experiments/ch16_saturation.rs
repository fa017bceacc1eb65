//! Chapter 16: a dot product by the fast byte multiply of AVX2, beside the right one.
//!
//! The instruction is a model over arrays, so that every machine prints the same; where the CPU has
//! the instruction, its results must agree.

#[path = "support/instructions.rs"]
pub mod instructions;
pub mod support;

use fewer_bits::{QParams, QRange};
use instructions::{dot, dot_bare, is_safe, real_vpmaddubsw, vpmaddubsw};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use support::{Evidence, Outcome};

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.text("ch16_by_hand.md", by_hand()?);
    evidence.text("ch16_live.txt", live()?);
    evidence.text("ch16_share.md", shares()?);
    evidence.text("ch16_wrong.md", wrong()?);
    Ok(())
}

/// Four activations and four weights, pair by pair. The first pair is from a report by a user of
/// PyTorch (issue 44939, 2020).
fn by_hand() -> Result<String, Box<dyn std::error::Error>> {
    let (mut a, mut w) = ([0u8; 32], [0i8; 32]);
    a[..4].copy_from_slice(&[211, 171, 10, 250]);
    w[..4].copy_from_slice(&[71, 107, -7, 3]);
    let sums = checked(a, w)?;
    let mut text =
        "| activations | weights | exact sum | in 16 bits |\n|:-:|:-:|--:|--:|\n".to_owned();
    for (pair, sum) in sums.iter().take(2).enumerate() {
        let (i, j) = (2 * pair, 2 * pair + 1);
        text += &format!(
            "| {}, {} | {}, {} | {} | {} |\n",
            a[i],
            a[j],
            w[i],
            w[j],
            dot(&a[i..=j], &w[i..=j]),
            sum
        );
    }
    let (right, bare) = (dot(&a, &w), dot_bare(&a, &w));
    text += &format!("| | together | **{right}** | **{bare}** |\n");
    Ok(text)
}

/// What the model says, unless this CPU has the instruction and disagrees.
fn checked(a: [u8; 32], w: [i8; 32]) -> Result<[i16; 16], String> {
    let model = vpmaddubsw(a, w);
    match real_vpmaddubsw(a, w) {
        Some(real) if real != model => Err(format!("the CPU says {real:?}, the model {model:?}")),
        _ => Ok(model),
    }
}

/// One long dot product of the kind that a test might contain.
fn live() -> Result<String, Box<dyn std::error::Error>> {
    let (a, w) = ([255u8; 64], [127i8; 64]);
    checked([255; 32], [127; 32])?;
    Ok(format!(
        "64 times 255 x 127\nexact            {}\nbare vpmaddubsw  {}\n",
        dot(&a, &w),
        dot_bare(&a, &w)
    ))
}

/// What weights are like before they are quantized, each column by its largest.
#[derive(Clone, Copy)]
enum Weights {
    Normal,
    Laplace,
    Uniform,
}

impl Weights {
    const ALL: [Self; 3] = [Self::Normal, Self::Laplace, Self::Uniform];

    fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Laplace => "Laplace",
            Self::Uniform => "uniform",
        }
    }

    /// One column of `depth` codes, from −`largest` to `largest`.
    fn column(
        self,
        rng: &mut ChaCha8Rng,
        depth: usize,
        largest: i32,
    ) -> Result<Vec<i8>, fewer_bits::Error> {
        let draw = |rng: &mut ChaCha8Rng| -> f32 {
            let uniform: f32 = rng.random_range(-1.0..1.0);
            match self {
                Self::Normal => StandardNormal.sample(rng),
                Self::Laplace => -uniform.signum() * (1.0 - uniform.abs()).ln(),
                Self::Uniform => uniform,
            }
        };
        let column: Vec<f32> = (0..depth).map(|_| draw(rng)).collect();
        let bound = column.iter().fold(0f32, |bound, w| bound.max(w.abs()));
        let scale = bound / largest as f32;
        let pair = QParams::new(scale, 0, QRange::I8_NARROW)?;
        let codes = column.iter().map(|&w| pair.quantize(w).map(|q| q as i8));
        codes.collect()
    }
}

/// How many pairs of weights could saturate at all.
fn shares() -> Result<String, Box<dyn std::error::Error>> {
    let mut text = "| weights | K = 64 | K = 384 | K = 4096 |\n|:--|--:|--:|--:|\n".to_owned();
    for weights in Weights::ALL {
        text += &format!("| {} |", weights.name());
        for depth in [64, 384, 4096] {
            let mut rng = ChaCha8Rng::seed_from_u64(16);
            let (mut unsafe_pairs, mut pairs) = (0, 0);
            for _ in 0..(1 << 19) / depth {
                let column = weights.column(&mut rng, depth, 127)?;
                for pair in column.as_chunks::<2>().0 {
                    unsafe_pairs += usize::from(!is_safe(*pair));
                    pairs += 1;
                }
            }
            text += &format!(" {:.1} % |", 100.0 * unsafe_pairs as f64 / pairs as f64);
        }
        text.push('\n');
    }
    Ok(text)
}

const DEPTH: usize = 384;
const ROWS: usize = 64;
const COLUMNS: usize = 96;

/// How many outputs of a layer come out wrong, and by how much.
fn wrong() -> Result<String, Box<dyn std::error::Error>> {
    let mut text =
        "| activations | weights | wrong sums | SQNR of the wrong ones |\n|:--|:--|--:|--:|\n"
            .to_owned();
    for (name, zero_point) in [
        ("normal, zero point 128", 128),
        ("after ReLU, zero point 0", 0),
    ] {
        for (weights, largest) in [
            (Weights::Normal, 127),
            (Weights::Uniform, 127),
            (Weights::Normal, 63),
        ] {
            let (share, sqnr) = layer(weights, largest, zero_point)?;
            let bits = if largest == 63 { ", 7 bits" } else { "" };
            let sqnr = sqnr.map_or("–".to_owned(), |db| format!("{db:.1} dB"));
            text += &format!(
                "| {name} | {}{bits} | {:.1} % | {sqnr} |\n",
                weights.name(),
                100.0 * share
            );
        }
    }
    Ok(text)
}

/// The share of wrong sums, and how far the signal is above the error in those.
fn layer(
    weights: Weights,
    largest: i32,
    zero_point: i32,
) -> Result<(f64, Option<f64>), Box<dyn std::error::Error>> {
    let mut rng = ChaCha8Rng::seed_from_u64(61);
    let mut row = || -> Vec<u8> {
        let normal = |_| -> f32 { StandardNormal.sample(&mut rng) };
        let scale = if zero_point == 0 {
            3.5 / 255.0
        } else {
            7.0 / 255.0
        };
        let code = |x: f32| (x / scale).round() as i32 + zero_point;
        let codes = (0..DEPTH).map(normal).map(code);
        codes.map(|q| q.clamp(0, 255) as u8).collect()
    };
    let rows: Vec<Vec<u8>> = (0..ROWS).map(|_| row()).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(62);
    let (mut wrong, mut signal, mut noise) = (0, 0.0, 0.0);
    for _ in 0..COLUMNS {
        let column = weights.column(&mut rng, DEPTH, largest)?;
        let correction = zero_point * column.iter().map(|&w| i32::from(w)).sum::<i32>();
        for row in &rows {
            let (right, bare) = (dot(row, &column), dot_bare(row, &column));
            if right != bare {
                wrong += 1;
                signal += f64::from(right - correction).powi(2);
                noise += f64::from(right - bare).powi(2);
            }
        }
    }
    let share = f64::from(wrong) / (ROWS * COLUMNS) as f64;
    let sqnr = (wrong > 0).then(|| 10.0 * (signal / noise).log10());
    Ok((share, sqnr))
}

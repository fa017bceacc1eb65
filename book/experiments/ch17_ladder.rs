//! Chapter 17: a matrix product in eight steps: by hand, what each step asks of a machine, and how fast it is.
//!
//! Every result is compared with the reference before it is timed.

#[path = "../../benches/support/ceilings.rs"]
#[allow(dead_code)] // `limits` needs it, this program only the limits of arithmetic
mod ceilings;
#[path = "ch17_ladder/chart.rs"]
mod chart;
#[path = "ch17_ladder/counts.rs"]
mod counts;
#[path = "support/instructions.rs"]
pub mod instructions;
#[path = "../../benches/support/limits.rs"]
#[allow(dead_code)]
mod limits;
pub mod support;
#[path = "ch17_ladder/times.rs"]
mod times;

use fewer_bits::gemm::ladder::{groups_in_pairs, split_pair};
use fewer_bits::gemm::reference;
use fewer_bits::{QParams, QRange};
use instructions::{dot, is_safe, vpmaddubsw};
use ndarray::{Array2, array};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use support::{Evidence, Outcome};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.text("ch17_by_hand.md", by_hand()?);
    evidence.text("ch17_split.md", split()?);
    evidence.text("ch17_masks.md", masks()?);
    evidence.text("ch17_counts.md", counts::table());
    evidence.text("ch17_remainders.md", remainders()?);
    evidence.text("ch17_pairs.md", pairs()?);
    times::measure(evidence)
}

/// One product of two matrices of two rows, term by term.
fn by_hand() -> Result<String> {
    let (a, a_zero) = (array![[5u8, 1], [2, 4]], 2);
    let (w, w_zero) = (array![[3i8, -1], [-2, 4]], 1);
    let right = reference(a.view(), a_zero, w.view(), w_zero);
    let mut text = "| | $\\sum a w$ | $- z_a \\sum w$ | $- z_w \\sum a$ | $+ K z_a z_w$ | sum |\n\
        |:--|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for ((i, j), &sum) in right.indexed_iter() {
        let row = a.row(i).mapv(i32::from);
        let column = w.column(j).mapv(i32::from);
        let terms = [
            row.dot(&column),
            -a_zero * column.sum(),
            -w_zero * row.sum(),
            row.len() as i32 * a_zero * w_zero,
        ];
        if terms.iter().sum::<i32>() != sum {
            return Err(format!("{terms:?} is not {sum}").into());
        }
        let terms = terms.map(|term| format!(" {term} |")).concat();
        text += &format!("| row {i}, column {j} |{terms} **{sum}** |\n");
    }
    Ok(minus(&text))
}

/// Pairs of weights, each with activations that are hardest for it or known from chapter 16.
fn split() -> Result<String> {
    let mut text = "| weights | safe | rest | activations | safe, in 16 bits | rest | together | bare, in 16 bits |\n\
        |:-:|:-:|:-:|:-:|--:|--:|--:|--:|\n"
        .to_owned();
    for (w, a) in [
        ([71i8, 107], [211u8, 171]),
        ([-100, -60], [255, 255]),
        ([-128, -128], [255, 255]),
        ([127, -128], [255, 0]),
    ] {
        let (safe, rest) = split_pair(w);
        let (first, second) = (pair_in_16_bits(a, safe), dot(&a, &rest));
        if first + second != dot(&a, &w) || !is_safe(safe) {
            return Err(format!("{w:?} is split wrongly").into());
        }
        let show = |[x, y]: [i8; 2]| format!("{x}, {y}");
        text += &format!(
            "| {} | {} | {} | {}, {} | {first} | {second} | **{}** | {} |\n",
            show(w),
            show(safe),
            show(rest),
            a[0],
            a[1],
            first + second,
            pair_in_16_bits(a, w)
        );
    }
    Ok(minus(&text))
}

/// The same weights, masked by the signs of activations less 128.
fn masks() -> Result<String> {
    let mut text = "| weights | activations | less 128 | weights, masked | in 16 bits | lacks | $+ 128 \\sum w$ | together |\n\
        |:-:|:-:|:-:|:-:|--:|--:|--:|--:|\n"
        .to_owned();
    for (w, a) in [
        ([71i8, 107], [211u8, 171]),
        ([71, 107], [20, 171]),
        ([127, 127], [255, 255]),
        ([127, 127], [0, 0]),
        ([-128, -128], [255, 255]),
    ] {
        let signed = a.map(|a| (a ^ 0x80) as i8);
        let masked = [0, 1].map(|i| w[i] ^ (signed[i] >> 7));
        let sum = pair_in_16_bits(signed.map(i8::unsigned_abs), masked);
        let negative = signed.map(i32::from).into_iter().filter(|&a| a < 0);
        let lacks: i32 = -negative.sum::<i32>();
        let offset = 128 * w.map(i32::from).iter().sum::<i32>();
        if sum + lacks + offset != dot(&a, &w) {
            return Err(format!("{w:?} is masked wrongly").into());
        }
        let show = |[x, y]: [i8; 2]| format!("{x}, {y}");
        text += &format!(
            "| {} | {}, {} | {} | {} | {sum} | {lacks} | {offset} | **{}** |\n",
            show(w),
            a[0],
            a[1],
            show(signed),
            show(masked),
            dot(&a, &w)
        );
    }
    Ok(minus(&text))
}

/// As the instruction adds it.
fn pair_in_16_bits(a: [u8; 2], w: [i8; 2]) -> i32 {
    let (mut all_a, mut all_w) = ([0; 32], [0; 32]);
    all_a[..2].copy_from_slice(&a);
    all_w[..2].copy_from_slice(&w);
    vpmaddubsw(all_a, all_w)[0].into()
}

/// Minus signs before digits.
fn minus(text: &str) -> String {
    let digits = text.split_inclusive('-').collect::<Vec<_>>();
    let mut all = String::new();
    for (i, part) in digits.iter().enumerate() {
        let number = digits
            .get(i + 1)
            .is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit()));
        match part.strip_suffix('-') {
            Some(part) if number => all += &format!("{part}−"),
            _ => all += part,
        }
    }
    all
}

/// Weights that are normal, in 8 bits, each column by its largest.
pub fn normal_weights(rng: &mut ChaCha8Rng, depth: usize, columns: usize) -> Result<Array2<i8>> {
    let mut weights = Array2::zeros((depth, columns));
    for mut column in weights.columns_mut() {
        let real: Vec<f32> = (0..depth).map(|_| StandardNormal.sample(rng)).collect();
        let largest = real.iter().fold(0f32, |largest, w| largest.max(w.abs()));
        let pair = QParams::symmetric(largest, QRange::I8_NARROW)?;
        for (code, &real) in column.iter_mut().zip(&real) {
            *code = pair.quantize(real)? as i8;
        }
    }
    Ok(weights)
}

/// Weights that are uniform over −128 to 127, as no model has them.
pub fn uniform_weights(rng: &mut ChaCha8Rng, depth: usize, columns: usize) -> Array2<i8> {
    Array2::from_shape_simple_fn((depth, columns), || rng.random())
}

/// How many groups find a partner.
fn pairs() -> Result<String> {
    by_distribution(|weights| {
        let [groups, paired] = groups_in_pairs(weights.view())?;
        Ok(format!("{:.1} %", 100.0 * paired as f64 / groups as f64))
    })
}

/// How many weights leave a remainder.
fn remainders() -> Result<String> {
    by_distribution(|weights| {
        let columns = weights.columns().into_iter();
        let rests = columns.flat_map(|column| {
            let column = column.to_vec();
            let pairs = column.as_chunks::<2>().0;
            let rests = pairs.iter().flat_map(|&pair| split_pair(pair).1);
            rests.collect::<Vec<_>>()
        });
        let taken = rests.filter(|&rest| rest != 0).count();
        Ok(format!(
            "{:.1}",
            1000.0 * taken as f64 / weights.len() as f64
        ))
    })
}

/// A table of some figure by distribution and depth.
fn by_distribution(figure: impl Fn(&Array2<i8>) -> Result<String>) -> Result<String> {
    let mut text = "| weights | K = 64 | K = 512 | K = 4096 |\n|:--|--:|--:|--:|\n".to_owned();
    for name in ["normal", "uniform"] {
        text += &format!("| {name} |");
        for depth in [64, 512, 4096] {
            let mut rng = ChaCha8Rng::seed_from_u64(17);
            let columns = (1 << 18) / depth;
            let weights = match name {
                "uniform" => uniform_weights(&mut rng, depth, columns),
                _ => normal_weights(&mut rng, depth, columns)?,
            };
            text += &format!(" {} |", figure(&weights)?);
        }
        text.push('\n');
    }
    Ok(text)
}

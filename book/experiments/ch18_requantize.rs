//! Chapter 18: one neuron's sum becomes a code, and how often each way of rounding misses the nearest.

pub mod support;

use fewer_bits::gemm::epilogue::{Codes, FixedPoint, Multiplier, Requantize};
use fewer_bits::gemm::{Activations, Kernel, PackedWeights};
use fewer_bits::{QParams, QRange};
use ndarray::{Array2, array};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{Evidence, Outcome};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.text("ch18_by_hand.md", by_hand()?);
    evidence.text("ch18_rounding.md", rounding()?);
    Ok(())
}

/// Three activations, three weights, and each number on the way to the code.
fn by_hand() -> Result<String> {
    let (codes, weights) = (array![[130u8, 140, 125]], array![[3i8], [-2], [5]]);
    let (x_scale, x_zero, w_scale, bias) = (0.1f32, 128u8, 0.05f32, 40);
    let y = QParams::new(0.02, 3, QRange::U8)?;
    let pairs = || codes.iter().zip(&weights);
    let products: i32 = pairs().map(|(&x, &w)| i32::from(x) * i32::from(w)).sum();
    let weight_sum: i32 = weights.iter().map(|&w| i32::from(w)).sum();
    let correction = i32::from(x_zero) * weight_sum;
    let sum = products - correction;
    let m = f32::from_scales(x_scale, w_scale, y.scale())?;
    let code = m.code(sum + bias, Codes::of(y));

    let packed = PackedWeights::new(Kernel::best(), weights.view())?;
    let epilogue = Requantize::<u8>::new(x_scale, &[w_scale], y, &[bias])?;
    let mut out = Array2::zeros((1, 1));
    packed.multiply(
        &Activations::u8(codes.view(), x_zero),
        &epilogue,
        out.view_mut(),
    )?;
    if i32::from(out[(0, 0)]) != code {
        return Err(format!("the kernel says {}, the formula {code}", out[(0, 0)]).into());
    }
    let steps = f64::from(m) * f64::from(sum + bias);
    let rows = [
        (
            r"$\sum q_x q_w$",
            format!("130·3 + 140·(−2) + 125·5 = {products}"),
        ),
        (
            r"$z_x \sum q_w$",
            format!("{x_zero}·{weight_sum} = {correction}"),
        ),
        ("sum", format!("{products} − {correction} = {sum}")),
        ("with the bias", format!("{sum} + {bias} = {}", sum + bias)),
        ("times $m$", format!("{}·{m:.2} = {steps:.2}", sum + bias)),
        ("rounded", format!("{}", code - y.zero_point())),
        (
            "code",
            format!("{} + {} = {code}", code - y.zero_point(), y.zero_point()),
        ),
    ];
    let mut table = String::from("| step | number |\n|:--|--:|\n");
    for (name, number) in rows {
        table += &format!("| {name} | {} |\n", number.replace('-', "−"));
    }
    Ok(table)
}

/// ⌊`sum`·x·w/y + ½⌋ from the exact values of the three numbers.
fn nearest(sum: i32, [x, w, y]: [f32; 3]) -> i64 {
    /// Scales are at least 2⁻¹², so that each is a multiple of 2⁻³⁶.
    const UNIT: f64 = (1u64 << 36) as f64;
    let [x, w, y] = [x, w, y].map(|scale| (f64::from(scale) * UNIT) as i128);
    let (numerator, denominator) = (i128::from(sum) * x * w, y << 36);
    ((2 * numerator + denominator).div_euclid(2 * denominator)) as i64
}

/// How often a code is not the nearest, by the size of the multiplier.
fn rounding() -> Result<String> {
    const TRIPLES: usize = 100;
    const SUMS: usize = 2000;
    let mut rng = ChaCha8Rng::seed_from_u64(18);
    let mut table = String::from(
        "| $m$ about | f32, half to even | fixed point, rounded once | rounded twice |\n|--:|--:|--:|--:|\n",
    );
    for (name, y) in [
        ("1/4", 1.0f32 / 256.0),
        ("1/64", 1.0 / 16.0),
        ("1/1024", 1.0),
    ] {
        let mut missed = [0u64; 3];
        for _ in 0..TRIPLES {
            let mut scale = |around: f32| around * rng.random_range(0.75..1.5);
            let scales = [scale(1.0 / 32.0), scale(1.0 / 32.0), scale(y)];
            let [x, w, y] = scales;
            let (float, fixed) = (
                f32::from_scales(x, w, y)?,
                FixedPoint::from_scales(x, w, y)?,
            );
            let codes = Codes::of(QParams::new(y, 0, QRange::I16)?);
            let most = (127.0 / float) as i32;
            for _ in 0..SUMS {
                let sum = rng.random_range(-most..=most);
                let nearest = nearest(sum, scales);
                let found = [
                    float.code(sum, codes).into(),
                    fixed.times(sum),
                    fixed.times_rounding_twice(sum).into(),
                ];
                for (missed, found) in missed.iter_mut().zip(found) {
                    *missed += u64::from(found != nearest);
                }
            }
        }
        let [float, once, twice] = missed.map(support::grouped);
        table += &format!("| {name} | {float} | {once} | {twice} |\n");
    }
    let all = support::grouped((TRIPLES * SUMS) as u64);
    Ok(format!(
        "{table}\nCodes that are not the nearest, of {all} in each row.\n"
    ))
}

//! Chapter 1: one matrix-vector product, timed with the weights in 32 bits and in 8.
//!
//! Every round runs each variant once, so that a slow moment of the machine falls on all of them; the
//! table gives medians. Before it is timed, each result is compared with the f32 one.

pub mod support;

use std::hint::black_box;
use std::time::Instant;

use fewer_bits::elementwise::Kernel;
use fewer_bits::{QTensor, Scheme};
use ndarray::{Array1, Array2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use support::{Evidence, Outcome};

const DEPTH: usize = 4096;
const ROUNDS: usize = 31;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.timing("ch01_times.md", || table(DEPTH, ROUNDS))?;
    evidence.text("ch01_times_error.md", error_line(256)?);
    Ok(())
}

/// The weights of one layer, in 32 bits and in 8, and an input.
struct Layer {
    weights: Array2<f32>,
    quantized: QTensor,
    codes: Vec<i8>,
    scales: Vec<f32>,
    input: Array1<f32>,
    /// Where codes are dequantized to, again and again.
    kept: Array2<f32>,
}

impl Layer {
    fn new(depth: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
        let weights = Array2::from_shape_simple_fn((depth, depth), &mut normal);
        let input = Array1::from_shape_simple_fn(depth, &mut normal);
        let quantized = QTensor::quantize(weights.view().into_dyn(), Scheme::weights(0))?;
        Ok(Self {
            codes: quantized
                .to_codes()
                .iter()
                .map(|&code| code as i8)
                .collect(),
            scales: quantized.params().iter().map(|pair| pair.scale()).collect(),
            kept: Array2::zeros((depth, depth)),
            weights,
            quantized,
            input,
        })
    }

    /// Weights and input in f32.
    fn float(&mut self) -> Array1<f32> {
        self.weights.dot(&self.input)
    }

    /// 8-bit weights, turned back into a whole new f32 matrix before each product.
    fn dequantize_first(&mut self) -> Array1<f32> {
        let shape = self.weights.raw_dim();
        let restored = self.quantized.dequantize().into_shape_with_order(shape);
        restored.map_or_else(|_| Array1::default(0), |restored| restored.dot(&self.input))
    }

    /// The same, into a matrix that is there already.
    fn dequantize_first_kept(&mut self) -> Array1<f32> {
        let kernel = Kernel::best();
        let rows = self.codes.chunks_exact(self.input.len());
        let pairs = rows.zip(self.quantized.params());
        for (mut row, (codes, &pair)) in self.kept.rows_mut().into_iter().zip(pairs) {
            if let Some(row) = row.as_slice_mut() {
                // Both have the length of a row: the products are compared below.
                let _ = kernel.dequantize(pair, codes, row);
            }
        }
        self.kept.dot(&self.input)
    }

    /// 8-bit weights, read once and converted on the way into the sum.
    fn dequantize_inside(&mut self) -> Array1<f32> {
        let input = self.input.as_slice().unwrap_or_default();
        let rows = self.codes.chunks_exact(input.len());
        rows.zip(&self.scales)
            .map(|(row, scale)| scale * dot(row, input))
            .collect()
    }
}

/// Σ code·x in 16 partial sums, so that the compiler may use vector instructions.
fn dot(codes: &[i8], x: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (codes, x) = (codes.as_chunks::<16>().0, x.as_chunks::<16>().0);
    for (codes, x) in codes.iter().zip(x) {
        for lane in 0..16 {
            sums[lane] += f32::from(codes[lane]) * x[lane];
        }
    }
    sums.iter().sum()
}

/// The largest difference between two products, as a share of the root mean square of the first.
fn relative_error(exact: &Array1<f32>, other: &Array1<f32>) -> f32 {
    let rms = exact.pow2().mean().unwrap_or(0.0).sqrt();
    (exact - other).abs().fold(0.0, |a: f32, &b| a.max(b)) / rms
}

fn error_line(depth: usize) -> Result<String, Box<dyn std::error::Error>> {
    let mut layer = Layer::new(depth)?;
    let error = relative_error(&layer.float(), &layer.dequantize_inside());
    Ok(format!(
        "{depth} × {depth} normal weights, one scale a row, 8 bits: the largest error of the product is {:.1} % of its root mean square.",
        100.0 * error
    ))
}

type Variant = (&'static str, fn(&mut Layer) -> Array1<f32>, usize);

fn table(depth: usize, rounds: usize) -> Result<String, Box<dyn std::error::Error>> {
    let mut layer = Layer::new(depth)?;
    let variants: [Variant; 4] = [
        ("f32 weights (ndarray)", Layer::float, 4),
        (
            "8-bit weights, first dequantized to a new matrix",
            Layer::dequantize_first,
            1,
        ),
        (
            "8-bit weights, first dequantized to a matrix that is kept",
            Layer::dequantize_first_kept,
            1,
        ),
        (
            "8-bit weights, converted inside the sum",
            Layer::dequantize_inside,
            1,
        ),
    ];
    let exact = layer.float();
    let mut times = vec![Vec::new(); variants.len()];
    for _ in 0..rounds {
        for ((_, product, _), times) in variants.iter().zip(&mut times) {
            let start = Instant::now();
            let result = black_box(product(black_box(&mut layer)));
            times.push(start.elapsed().as_secs_f64());
            let error = relative_error(&exact, &result);
            if error > 0.1 {
                return Err(format!("a product is off by {error}").into());
            }
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|t| median(t)).collect();
    let mut text = "| 1 × 4096 × 4096 | weights read | time | GB/s of weights | against f32 |\n|:--|--:|--:|--:|--:|\n".to_owned();
    for ((name, _, bytes), time) in variants.iter().zip(&medians) {
        let read = (depth * depth * bytes) as f64;
        text += &format!(
            "| {name} | {:.1} MB | {:.2} ms | {:.1} | {:.2} × |\n",
            read / 1e6,
            1e3 * time,
            read / time / 1e9,
            medians[0] / time
        );
    }
    text += &format!(
        "\nMedians of {rounds} interleaved rounds on one core of a shared {}.\n",
        support::machine()
    );
    let batch = batch_rate(rounds);
    text += &format!(
        "\nThe same machine, in a product of 128 × 384 × 1536 f32 numbers, does {batch:.1} billion operations a second; in the first row above, {:.1}.\n",
        2.0 * (depth * depth) as f64 / medians[0] / 1e9
    );
    Ok(text)
}

/// Billions of f32 operations a second in a product with many rows.
fn batch_rate(rounds: usize) -> f64 {
    let (m, k, n) = (128, 384, 1536);
    let a = Array2::<f32>::from_elem((m, k), 0.5);
    let b = Array2::<f32>::from_elem((k, n), 0.25);
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            let sum = black_box(a.dot(black_box(&b))).sum_axis(Axis(0));
            black_box(sum);
            start.elapsed().as_secs_f64()
        })
        .collect();
    2.0 * (m * k * n) as f64 / median(&mut times) / 1e9
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

//! Chapter 7: what it costs to find the range of the activations at run time.

pub mod support;

use std::error::Error;
use std::hint::black_box;

use fewer_bits::elementwise;
use fewer_bits::gemm::epilogue::Dequantize;
use fewer_bits::gemm::{Activations, Kernel, PackedWeights};
use fewer_bits::{QParams, QRange};
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::clock::{self, Run};
use support::{Evidence, Outcome};

const ROUNDS: usize = 201;

pub fn main() -> Outcome {
    // The thread that calls is the only one of the pool.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
    pool.use_current_thread().build_global()?;
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.timing("ch07_times.md", table)
}

fn table() -> Result<String, Box<dyn Error>> {
    let mut table = String::from(
        "| rows × depth × outputs | find the range | quantize | multiply | the range's share |\n\
         |:--|--:|--:|--:|--:|\n",
    );
    for shape in [
        (128, 384, 1536),
        (100, 784, 128),
        (784, 144, 32),
        (1, 4096, 4096),
    ] {
        table += &row(shape)?;
    }
    Ok(format!(
        "{table}\nMicroseconds, medians of {ROUNDS} rounds in turns on one thread of a shared {}.",
        support::machine()
    ))
}

fn row((rows, depth, outputs): (usize, usize, usize)) -> Result<String, Box<dyn Error>> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let x = Array2::from_shape_simple_fn((rows, depth), || rng.random_range(-1.0f32..1.0));
    let w = Array2::from_shape_simple_fn((depth, outputs), || rng.random_range(-64i8..64));
    let packed = PackedWeights::new(Kernel::best(), w.view())?;
    let values = x.as_slice().ok_or("a matrix in order")?;
    let kernel = elementwise::Kernel::best();
    let pair = QParams::affine(-1.0, 1.0, QRange::U8)?;
    let mut codes = Array2::<u8>::zeros((rows, depth));
    let mut y = Array2::<f32>::zeros((rows, outputs));
    let mut quantized = vec![0u8; values.len()];
    kernel.quantize(pair, values, codes.as_slice_mut().ok_or("in order")?)?;
    let codes = Activations::u8(codes.view(), pair.zero_point() as u8);
    let epilogue = Dequantize {
        row_scales: &[pair.scale()],
        column_scales: &[0.01],
        bias: &[],
        relu: false,
    };
    let mut runs: Vec<Run<'_>> = vec![
        Box::new(|| {
            black_box(kernel.min_max(black_box(values)).is_ok());
        }),
        Box::new(|| {
            black_box(
                kernel
                    .quantize(pair, black_box(values), &mut quantized)
                    .is_ok(),
            );
        }),
        Box::new(|| {
            black_box(packed.multiply(&codes, &epilogue, y.view_mut()).is_ok());
        }),
    ];
    clock::in_turns(3, &mut runs);
    let times = clock::in_turns(ROUNDS, &mut runs);
    let [range, quantize, multiply] = [0, 1, 2].map(|i| 1e6 * clock::on_cpu(&times[i]));
    let share = 100.0 * range / (range + quantize + multiply);
    Ok(format!(
        "| {rows} × {depth} × {outputs} | {range:.1} | {quantize:.1} | {multiply:.1} | {share:.0} % |\n"
    ))
}

//! Chapter 18: what the number of threads changes in a sum of floats and in a sum of integers, and
//! what two threads bring.

pub mod support;

use std::hint::black_box;

use fewer_bits::gemm::epilogue::Sums;
use fewer_bits::gemm::{Activations, Kernel, PackedWeights};
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::ThreadPool;
use support::clock::{disturbed, median, time};
use support::{Evidence, Outcome};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 61;
/// Calls of a product in a round.
const CALLS: usize = 3;
/// Steps of arithmetic.
const STEPS: usize = 800_000;
/// Bytes that are read: more than the caches of a core hold.
const READ_BYTES: usize = 32 << 20;
/// Bytes of the weights that take turns, so that they come out of memory.
const COLD_BYTES: usize = 128 << 20;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.text("ch18_orders.md", orders()?);
    evidence.timing("ch18_threads.md", speedups)
}

/// One sum, divided among more and more threads, in floats and in integers; and whether a whole
/// product changes.
fn orders() -> Result<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(18);
    let reals: Vec<f32> = (0..1 << 16)
        .map(|_| StandardNormal.sample(&mut rng))
        .collect();
    let whole: Vec<i32> = reals.iter().map(|x| (1000.0 * x) as i32).collect();
    let a = Array2::from_shape_simple_fn((128, 256), || rng.random());
    let w = Array2::from_shape_simple_fn((256, 96), || rng.random());
    let weights = PackedWeights::new(Kernel::best(), w.view())?;
    let product = |threads| -> Result<Array2<i32>> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        Ok(pool.install(|| weights.product(Activations::u8(a.view(), 7)))?)
    };
    let one = product(1)?;
    let mut table = String::from(
        "| threads | sum of f32 | sum of integers | sums of a product that change |\n|--:|--:|--:|--:|\n",
    );
    for threads in [1, 2, 3, 4, 8] {
        let part = reals.len().div_ceil(threads);
        let real: f32 = reals
            .chunks(part)
            .map(|part| part.iter().sum::<f32>())
            .sum();
        let integer: i32 = whole
            .chunks(part)
            .map(|part| part.iter().sum::<i32>())
            .sum();
        let changed = product(threads)?
            .iter()
            .zip(&one)
            .filter(|(a, b)| a != b)
            .count();
        let integer = support::grouped(integer.unsigned_abs().into());
        let sign = if whole.iter().sum::<i32>() < 0 {
            "−"
        } else {
            ""
        };
        let real = format!("{real:.6}").replace('-', "−");
        table += &format!("| {threads} | {real} | {sign}{integer} | {changed} |\n");
    }
    Ok(table)
}

/// A product whose weights take turns.
struct Product {
    name: &'static str,
    a: Array2<u8>,
    weights: Vec<PackedWeights>,
    out: Array2<i32>,
    turn: usize,
}

impl Product {
    fn new(
        name: &'static str,
        [rows, depth, columns]: [usize; 3],
        cold: bool,
    ) -> fewer_bits::Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(19);
        let w = Array2::from_shape_simple_fn((depth, columns), || rng.random_range(-40i8..=40));
        let weights = PackedWeights::new(Kernel::best(), w.view())?;
        let copies = if cold {
            COLD_BYTES / (depth * columns)
        } else {
            1
        };
        Ok(Self {
            name,
            a: Array2::from_shape_simple_fn((rows, depth), || rng.random()),
            weights: vec![weights; copies.max(1)],
            out: Array2::zeros((rows, columns)),
            turn: 0,
        })
    }

    /// The name, and what a call does: operations, or with one row bytes of weights.
    fn work(&self) -> (&'static str, f64, &'static str) {
        let weights = self.weights[0].depth() as f64 * self.weights[0].columns() as f64;
        match self.a.nrows() {
            1 => (self.name, weights, "GB/s"),
            rows => (self.name, 2.0 * rows as f64 * weights, "GOP/s"),
        }
    }

    fn run(&mut self) {
        self.turn = (self.turn + 1) % self.weights.len();
        let a = Activations::u8(self.a.view(), 0);
        let done = self.weights[self.turn].multiply(&a, &Sums, self.out.view_mut());
        done.expect("shapes fit");
    }
}

fn speedups() -> Result<String> {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pools: [ThreadPool; 2] = [pool(1)?, pool(2)?];
    let mut products = [
        Product::new("1024×1024×1024", [1024, 1024, 1024], false)?,
        Product::new("128×384×1536", [128, 384, 1536], false)?,
        Product::new("8×1024×1024", [8, 1024, 1024], false)?,
        Product::new("16×64×64", [16, 64, 64], false)?,
        Product::new("1×4096×4096, from memory", [1, 4096, 4096], true)?,
    ];
    let buffer = vec![1u64; READ_BYTES / 8];
    let mut seconds = vec![[const { Vec::new() }; 2]; products.len() + 2];
    let mut alone = Vec::new();
    for _ in 0..ROUNDS {
        for (i, pool) in pools.iter().enumerate() {
            pool.install(|| {
                let mut take = |row: usize, run: &mut dyn FnMut()| {
                    let taken = time(run);
                    seconds[row][i].push(taken.wall);
                    if i == 0 {
                        alone.push(taken);
                    }
                };
                take(0, &mut || calculate(i + 1));
                take(1, &mut || read(&buffer, i + 1));
                for (row, product) in products.iter_mut().enumerate() {
                    (0..CALLS).for_each(|_| take(2 + row, &mut || product.run()));
                }
            });
        }
    }
    let limits = [
        (
            "f32 in registers, plain Rust",
            (2 * 48 * STEPS) as f64,
            "GFLOP/s",
        ),
        ("reading 32 MiB", READ_BYTES as f64, "GB/s"),
    ];
    let rows = limits.into_iter().chain(products.iter().map(Product::work));
    let mut table = String::from(
        "| what | 1 thread | 2 threads | faster by | which is |\n|:--|--:|--:|--:|--:|\n",
    );
    for ((name, work, unit), seconds) in rows.zip(seconds) {
        let [one, two] = seconds.map(median);
        let show = |s: f64| match s {
            s if s < 1e-4 => format!("{:.1} µs", 1e6 * s),
            s => format!("{:.2} ms", 1e3 * s),
        };
        table += &format!(
            "| {name} | {} | {} | {:.2} × | {:.0} {unit} |\n",
            show(one),
            show(two),
            one / two,
            work / two / 1e9
        );
    }
    Ok(format!(
        "{table}\nMedians of {ROUNDS} interleaved rounds on two processors of a shared {}; others had the first for {:.0} % of the time.\n",
        support::machine(),
        100.0 * disturbed(&[alone])
    ))
}

/// Multiplies and adds numbers that stay in registers, each thread its part.
fn calculate(threads: usize) {
    let (factor, summand) = (black_box(0.999f32), black_box(0.001f32));
    let part = move || {
        let mut sums = [1.0f32; 48];
        for _ in 0..STEPS / threads {
            for sum in &mut sums {
                *sum = *sum * factor + summand;
            }
        }
        black_box(sums);
    };
    rayon::scope(|scope| (0..threads).for_each(|_| scope.spawn(move |_| part())));
}

/// Reads everything, each thread its part.
fn read(buffer: &[u64], threads: usize) {
    let part = buffer.len().div_ceil(threads);
    let look = |part: &[u64]| {
        black_box(part.iter().fold(0, |bits: u64, value| bits ^ value));
    };
    rayon::scope(|scope| {
        for part in black_box(buffer).chunks(part) {
            scope.spawn(move |_| look(part));
        }
    });
}

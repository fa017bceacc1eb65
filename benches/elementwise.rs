//! `cargo bench --bench elementwise`: quantize, dequantize and min-max beside a copy, on one core.
//!
//! These operations move more bytes than they compute, so their measure is bandwidth: *bytes read
//! plus bytes written, a second*. To quantize n values reads 4n bytes and writes n, 5n in all (for
//! 16-bit codes it would be 6n); to dequantize them is the same the other way round; min-max reads
//! 4n. Each stands beside three yardsticks that move as many bytes in all:
//!
//! - *copy*, `copy_from_slice`, half of them read and half written. It is what the ratio in
//!   brackets refers to. A line of memory that the copy writes is fetched first, unless the C
//!   library's copy knows better; that third transfer is not counted, for nobody asked for it.
//! - *streaming copy*, the same with stores that go past the caches and fetch nothing.
//! - *read*, all of them read, by a plain loop in one stream. One core waits for what it reads,
//!   hardly for what it writes, so this is near what quantize (four fifths read) and min-max could
//!   do if they left it to the processor to fetch ahead. They do not: one asks for what comes next,
//!   the other reads in four places.
//!
//! Criterion measures each by itself, in the caches. Then all take turns, round by round, so that
//! whatever else the machine does meets all of them alike: the table at the end is from there, and
//! there alone are the 64 Mi values, far larger than the caches, for which the ratio is meant.
//! `FEWER_BITS_ISA=portable` (or another name) leaves out the other kernels.

#[path = "support/ceilings.rs"]
#[allow(dead_code)] // the scoreboard uses the rest
mod ceilings;

use std::hint::black_box;
use std::time::{Duration, Instant};

use ceilings::{read, stream_copy};
use criterion::{BenchmarkId, Criterion, Throughput};
use fewer_bits::elementwise::Kernel;
use fewer_bits::{Isa, QParams, QRange};

const SIZES: [(&str, usize); 3] = [("4Ki", 4 << 10), ("1Mi", 1 << 20), ("64Mi", 64 << 20)];
const ROUNDS: usize = 21;

/// The operations, and the bytes that each reads and writes for one element.
#[derive(Clone, Copy, PartialEq)]
enum Operation {
    QuantizeI8,
    QuantizeU8,
    DequantizeI8,
    DequantizeU8,
    MinMax,
}

impl Operation {
    const ALL: [Self; 5] = [
        Self::QuantizeI8,
        Self::QuantizeU8,
        Self::DequantizeI8,
        Self::DequantizeU8,
        Self::MinMax,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::QuantizeI8 => "quantize f32→i8",
            Self::QuantizeU8 => "quantize f32→u8",
            Self::DequantizeI8 => "dequantize i8→f32",
            Self::DequantizeU8 => "dequantize u8→f32",
            Self::MinMax => "min-max f32",
        }
    }

    fn bytes(self, len: usize) -> usize {
        match self {
            Self::MinMax => 4 * len,
            _ => 5 * len,
        }
    }
}

/// Who does it.
#[derive(Clone, Copy)]
enum Who {
    Copy,
    StreamCopy,
    Read,
    Kernel(Kernel),
}

impl Who {
    fn all() -> Vec<Self> {
        let wanted = std::env::var("FEWER_BITS_ISA").map(|name| name.parse().unwrap());
        let isas = wanted.map_or(Isa::ALL.to_vec(), |isa| vec![isa]);
        let kernels = isas.into_iter().filter_map(Kernel::new);
        let mut all = vec![Self::Copy, Self::StreamCopy, Self::Read];
        all.extend(kernels.map(Self::Kernel));
        all
    }

    fn name(self) -> String {
        match self {
            Self::Copy => "copy".to_owned(),
            Self::StreamCopy => "streaming copy".to_owned(),
            Self::Read => "read".to_owned(),
            Self::Kernel(kernel) => kernel.isa().to_string(),
        }
    }
}

/// The buffers that all operations use: they have been written, so their pages exist.
struct Buffers {
    x: Vec<f32>,
    values: Vec<f32>,
    signed: Vec<i8>,
    unsigned: Vec<u8>,
}

impl Buffers {
    fn new(len: usize) -> Self {
        Self {
            x: (0..len).map(|i| (i % 1021) as f32 / 500.0 - 1.0).collect(),
            values: vec![1.0; len],
            signed: vec![1; len],
            unsigned: vec![1; len],
        }
    }

    /// Does the operation once, or what moves as many bytes in all.
    fn run(&mut self, who: Who, operation: Operation, len: usize) {
        let Self {
            x,
            values,
            signed,
            unsigned,
        } = self;
        let (x, values) = (&x[..len], &mut values[..len]);
        let (signed, unsigned) = (&mut signed[..len], &mut unsigned[..len]);
        let moved = operation.bytes(len) / size_of::<f32>();
        let copied = moved / 2;
        match who {
            Who::Copy => values[..copied].copy_from_slice(&x[..copied]),
            Who::StreamCopy => drop(stream_copy(&x[..copied], &mut values[..copied])),
            Who::Read => {
                black_box(read(x) ^ read(&values[..moved - len]));
            }
            Who::Kernel(kernel) => {
                let pair = |range| QParams::affine(-1.0, 1.1, range).unwrap();
                let (i8, u8) = (pair(QRange::I8), pair(QRange::U8));
                match operation {
                    Operation::QuantizeI8 => kernel.quantize(i8, x, signed),
                    Operation::QuantizeU8 => kernel.quantize(u8, x, unsigned),
                    Operation::DequantizeI8 => kernel.dequantize(i8, signed, values),
                    Operation::DequantizeU8 => kernel.dequantize(u8, unsigned, values),
                    Operation::MinMax => kernel.min_max(x).map(|(lo, hi)| {
                        black_box(hi - lo);
                    }),
                }
                .unwrap();
            }
        }
        black_box((values, signed, unsigned));
    }
}

fn criterion_groups(criterion: &mut Criterion, buffers: &mut Buffers) {
    for (size, len) in &SIZES[..2] {
        for operation in Operation::ALL {
            let mut group = criterion.benchmark_group(format!("{} {size}", operation.name()));
            group.throughput(Throughput::Bytes(operation.bytes(*len) as u64));
            for who in Who::all() {
                group.bench_function(BenchmarkId::from_parameter(who.name()), |bencher| {
                    bencher.iter(|| buffers.run(who, operation, *len));
                });
            }
            group.finish();
        }
    }
}

/// Everybody takes turns; prints the median throughput, and the median of the ratios to the copy
/// of the same round.
fn rounds(buffers: &mut Buffers) {
    println!(
        "\nIn turns, {ROUNDS} rounds, one core: median GB/s read and written (ratio to the copy)"
    );
    for (size, len) in SIZES {
        for operation in Operation::ALL {
            let repeats = (1 << 20) / len + 1; // so that a turn is not shorter than the clock
            let all = Who::all();
            let mut seconds = vec![vec![]; all.len()];
            for _ in 0..ROUNDS {
                for (who, seconds) in all.iter().zip(&mut seconds) {
                    let start = Instant::now();
                    (0..repeats).for_each(|_| buffers.run(*who, operation, len));
                    seconds.push(start.elapsed().as_secs_f64() / repeats as f64);
                }
            }
            print!("{size:>5} {:18}", operation.name());
            for (who, own) in all.iter().zip(&seconds) {
                let rate = operation.bytes(len) as f64 / median(own.clone()) / 1e9;
                let ratios = seconds[0].iter().zip(own).map(|(copy, own)| copy / own);
                let ratio = median(ratios.collect());
                print!(" | {} {rate:5.1} ({ratio:.2})", who.name());
            }
            println!();
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let mut buffers = Buffers::new(SIZES[2].1);
    let mut criterion = Criterion::default()
        .sample_size(10)
        .nresamples(1000)
        .without_plots()
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200))
        .configure_from_args();
    criterion_groups(&mut criterion, &mut buffers);
    if !std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        rounds(&mut buffers);
    }
    criterion.final_summary();
}

//! `cargo bench --bench gemm`: products in 8 bits beside the same products in f32, the peers, and
//! the limits of the machine, all on one core.
//!
//! Criterion's "elements" are operations, two for a multiply-accumulate, so that Gelem/s reads as
//! GOP/s; in the group `limits` they are bytes where memory is the limit. Each benchmark is run by
//! itself; where the machine is noisy, compare by `cargo run --release --example scoreboard`, where
//! all take turns. `FEWER_BITS_ISA=avx2` (or another name) leaves out the other kernels.

#[path = "support/mod.rs"]
mod support;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use fewer_bits::gemm::epilogue::{Codes, FixedPoint, Multiplier, Requantize};
use fewer_bits::gemm::ladder::Step;
use fewer_bits::gemm::{Kernel, PackedWeights, PackedWeights4};
use fewer_bits::{Isa, QParams, QRange};
use support::convolutions::{ByteImages, Convolution, RealImages};
use support::operands::{Operands, Operands4, RealOperands, Shape, Weights};
use support::{Contender, limits, ours, peers};

const GEMM: [Shape; 5] = [
    Shape(512, 512, 512),
    Shape(1024, 1024, 1024),
    Shape(2048, 2048, 2048),
    Shape(128, 384, 1536),
    Shape(8, 1024, 1024),
];
/// The same weights every time: they stay in the last-level cache if they fit.
const GEMV: Shape = Shape(1, 4096, 4096);
const LINEAR: Shape = Shape(128, 384, 1536);
/// Not larger, for the first step takes half a second.
const LADDER: Shape = Shape(512, 512, 512);

fn limits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("limits");
    for (way, mut limit) in limits::all().into_iter().enumerate() {
        group.throughput(Throughput::Elements(limit.work as u64));
        let id = BenchmarkId::new(limit.kind.name(), way);
        group.bench_function(id, |bencher| bencher.iter(&mut limit.run));
    }
    group.finish();
}

fn bench<T: Copy + Default>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    shape: Shape,
    contender: Contender<T>,
    check: impl Fn(&[T]) -> bool,
) {
    let work = (shape.operations(), shape.0 * shape.2);
    bench_work(group, &shape, work, contender, check);
}

/// Benches something that does so many operations for so many results.
fn bench_work<T: Copy + Default>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    what: &dyn Display,
    (operations, results): (f64, usize),
    mut contender: Contender<T>,
    check: impl Fn(&[T]) -> bool,
) {
    let mut out = vec![T::default(); results];
    (contender.run)(&mut out);
    let who = match check(&out) {
        true => contender.who,
        false => format!("{} (wrong)", contender.who),
    };
    group.throughput(Throughput::Elements(operations as u64));
    group.bench_function(BenchmarkId::new(who, what), |bencher| {
        bencher.iter(|| (contender.run)(&mut out));
    });
}

/// This crate's kernels and rten's on both kinds of weights, and everybody's f32 products.
fn products(criterion: &mut Criterion, name: &str, shapes: &[Shape]) {
    let mut group = criterion.benchmark_group(name);
    for &shape in shapes {
        for (weights, suffix) in [(Weights::Normal, ""), (Weights::Uniform, " worst")] {
            let operands = Operands::new(shape, weights);
            let right = |out: &[i32]| out == operands.sums;
            for (index, kernel) in ours::kernels().unwrap().into_iter().enumerate() {
                let packed = PackedWeights::new(kernel, operands.b.view()).unwrap();
                let who = ours::name(index, kernel.isa()) + suffix;
                let contender = ours::int8(who, &operands.a, &Arc::new(vec![packed]));
                bench(&mut group, shape, contender, right);
            }
            let mut rten = peers::int8(&operands.a, &Arc::new(vec![operands.b.clone()]));
            rten.who += &format!(" u8×i8{suffix}");
            bench(&mut group, shape, rten, right);
        }
        let real = RealOperands::new(shape);
        for mut peer in peers::float(&real.a, std::slice::from_ref(&real.b), 1) {
            peer.who += " f32";
            bench(&mut group, shape, peer, |out| real.accepts(out));
        }
    }
    group.finish();
}

/// The steps of chapter 17, from three loops to this crate's kernel.
fn ladder(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ladder");
    let operands = Operands::new(LADDER, Weights::Normal);
    let isa = Kernel::new(Isa::Avx2).map_or(Isa::Portable, Kernel::isa);
    for (index, step) in Step::ALL.into_iter().enumerate() {
        let Some(ready) = step.ready(isa, operands.b.view()).unwrap() else {
            continue;
        };
        let contender = ours::step(format!("{} {}", index + 1, step.name()), &operands.a, ready);
        bench(&mut group, LADDER, contender, |out| out == operands.sums);
    }
    group.finish();
}

/// 8-bit activations by 4-bit weights.
fn w4(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("w4");
    for shape in [Shape(1024, 1024, 1024), LINEAR, GEMV] {
        let operands = Operands4::new(&Operands::new(shape, Weights::Normal));
        for (index, kernel) in ours::kernels().unwrap().into_iter().enumerate() {
            let (codes, scales) = (operands.codes.view(), operands.scales.view());
            let packed = PackedWeights4::new(kernel, codes, scales, Operands4::GROUP).unwrap();
            let who = ours::name(index, kernel.isa());
            let contender = ours::int4(who, &operands.a, &Arc::new(vec![packed]));
            bench(&mut group, shape, contender, |out| out == operands.product);
        }
    }
    group.finish();
}

/// Convolutions of one image, in 8 bits beside the same in f32.
fn conv(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("conv");
    for of in Convolution::ALL {
        let work = (of.operations(), of.size * of.size * of.outputs);
        let bytes = ByteImages::new(of);
        for (index, kernel) in ours::kernels().unwrap().into_iter().enumerate() {
            let ours = bytes.ours(ours::name(index, kernel.isa()), kernel);
            bench_work(&mut group, &of, work, ours, |out| out == bytes.sums);
        }
        let real = RealImages::new(of);
        for mut peer in real.peers() {
            peer.who += " f32";
            bench_work(&mut group, &of, work, peer, |out| real.accepts(out));
        }
    }
    group.finish();
}

/// What becomes of the sums, beside the sums alone.
fn epilogue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("epilogue");
    let operands = Operands::new(LINEAR, Weights::Normal);
    let (x, pair) = operands.real_input();
    let bias = vec![0.5; LINEAR.2];
    for kernel in ours::kernels().unwrap() {
        let packed = PackedWeights::new(kernel, operands.b.view()).unwrap();
        let name = |what: &str| format!("{what}, {}", kernel.isa());
        let sums = ours::int8(name("sums"), &operands.a, &Arc::new(vec![packed.clone()]));
        bench(&mut group, LINEAR, sums, |out| out == operands.sums);
        requantized::<f32>(&mut group, &operands, &packed, name("u8, f32 multiplier"));
        requantized::<FixedPoint>(&mut group, &operands, &packed, name("u8, fixed point"));
        let (scales, bias) = (operands.scales.clone(), bias.clone());
        let expected = operands.linear(&x, pair, &bias);
        let layer = ours::linear(name("f32 to f32"), &x, pair, packed, scales, bias);
        bench(&mut group, LINEAR, layer, |out| out == expected);
    }
    group.finish();
}

/// Sums that become bytes, with a scale and a bias for each column.
fn requantized<M: Multiplier + 'static>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    operands: &Operands,
    packed: &PackedWeights,
    who: String,
) {
    let y = QParams::new(2.0, 128, QRange::U8).unwrap();
    let bias: Vec<i32> = (0..LINEAR.2 as i32).map(|j| 10 * j - 5000).collect();
    let epilogue = Requantize::<u8, M>::new(0.02, &operands.scales, y, &bias).unwrap();
    let code = |(i, &sum): (usize, &i32)| {
        let column = i % LINEAR.2;
        let m = M::from_scales(0.02, operands.scales[column], y.scale()).unwrap();
        m.code(sum + bias[column], Codes::of(y)) as u8
    };
    let expected: Vec<u8> = operands.sums.iter().enumerate().map(code).collect();
    let contender = ours::requantized(who, &operands.a, packed.clone(), epilogue);
    bench(group, LINEAR, contender, |out| out == expected);
}

fn main() {
    // The thread that calls is the only one of the pool.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
    pool.use_current_thread().build_global().unwrap();
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(600))
        .without_plots()
        .configure_from_args();
    limits(&mut criterion);
    products(&mut criterion, "gemm", &GEMM);
    products(&mut criterion, "gemv", &[GEMV]);
    ladder(&mut criterion);
    w4(&mut criterion);
    conv(&mut criterion);
    epilogue(&mut criterion);
    criterion.final_summary();
}

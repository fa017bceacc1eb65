//! `cargo bench --bench networks`: the networks of the course on a batch of images, in f32 and in
//! INT8, all on one core.
//!
//! Criterion's "elements" are images. The products in f32 are ndarray's, and the batch norms are
//! folded for f32, too. `FEWER_BITS_ISA=avx2` (or another name) in front of it takes the kernels of that
//! instruction set. Each benchmark is run by itself; `cargo run --release --example ch06_times`
//! lets them take turns.

#[path = "../book/experiments/support/networks.rs"]
#[allow(dead_code)]
mod networks;

use std::error::Error;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use fewer_bits::gemm::Kernel;
use networks::NAMES;

fn main() -> Result<(), Box<dyn Error>> {
    if let Ok(name) = std::env::var("FEWER_BITS_ISA") {
        let kernel = Kernel::new(name.parse()?);
        kernel.ok_or(format!("this CPU cannot run {name}"))?;
    }
    // The thread that calls is the only one of the pool.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
    pool.use_current_thread().build_global()?;
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(600))
        .without_plots()
        .configure_from_args();
    let mut group = criterion.benchmark_group("networks");
    for name in NAMES {
        let (contenders, images) = networks::contenders(name)?;
        group.throughput(Throughput::Elements(images.shape()[0] as u64));
        for (who, model) in contenders {
            group.bench_function(BenchmarkId::new(who, name), |bencher| {
                bencher.iter(|| model.forward(images.view()).map(drop));
            });
        }
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

//! Chapter 4: what a division for each value costs, beside a copy of as many bytes.
//!
//! Every round runs each variant once, so that a slow moment of the machine falls on all of them; the
//! table gives medians.

pub mod support;

use fewer_bits::elementwise::Kernel;
use fewer_bits::{Isa, QParams, QRange};
use std::hint::black_box;
use std::time::Instant;
use support::{Evidence, Outcome};

const LARGE: usize = 32 << 20;
const ROUNDS: usize = 21;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.timing("ch04_times.md", table)
}

fn table() -> Result<String, Box<dyn std::error::Error>> {
    let best = Kernel::best();
    let mut table = format!(
        "| values | copy | quantize, {} | quantize, portable |\n|--:|--:|--:|--:|\n",
        best.isa()
    );
    for (name, len) in [
        ("32 768 in cache", 32 << 10),
        ("33 554 432 in memory", LARGE),
    ] {
        let x: Vec<f32> = (0..len).map(|i| (i % 1000) as f32 / 250.0 - 2.0).collect();
        let mut codes = vec![0i8; len];
        // As many bytes as quantizing reads and writes: five for each value. Whole pages lie between
        // them, for some processors copy twenty times slower to a few bytes farther on in a page.
        let copied = 5 * len / 2;
        let mut bytes = vec![1u8; 2 * copied.next_multiple_of(4096)];
        let (source, target) = bytes.split_at_mut(copied.next_multiple_of(4096));
        let (source, target) = (&source[..copied], &mut target[..copied]);
        let p = QParams::affine(-2.0, 2.0, QRange::I8)?;
        let repeat = LARGE / len;
        let mut seconds = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            seconds[0].push(time(repeat, || {
                black_box(&mut *target).copy_from_slice(black_box(source));
                Ok(())
            })?);
            let kernels = [Some(best), Kernel::new(Isa::Portable)];
            for (seconds, kernel) in seconds[1..].iter_mut().zip(kernels) {
                let kernel = kernel.ok_or("every machine has the portable kernel")?;
                seconds.push(time(repeat, || {
                    kernel.quantize(p, black_box(&x), black_box(&mut codes))
                })?);
            }
        }
        let bytes = (5 * len * repeat) as f64;
        let speed = seconds.map(|seconds| bytes / median(seconds) / 1e9);
        table += &format!(
            "| {name} | {:.1} | {:.1} | {:.1} |\n",
            speed[0], speed[1], speed[2]
        );
    }
    Ok(format!(
        "{table}\nBytes read and written, in GB/s. Medians of {ROUNDS} interleaved rounds on one core of a shared {}.",
        support::machine()
    ))
}

fn time(repeat: usize, mut f: impl FnMut() -> fewer_bits::Result<()>) -> fewer_bits::Result<f64> {
    let start = Instant::now();
    for _ in 0..repeat {
        f()?;
    }
    Ok(start.elapsed().as_secs_f64())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

//! Chapter 6: whole networks on a batch of images, in f32 and in INT8, in turns on one thread.
//!
//! Where the processor has better kernels than AVX2's, the program also runs itself with
//! `FEWER_BITS_ISA=avx2`.

pub mod support;

use std::error::Error;
use std::hint::black_box;
use std::process::Command;

use fewer_bits::Isa;
use fewer_bits::gemm::Kernel;
use support::clock::{self, Run};
use support::{Evidence, Outcome, grouped, networks};

const ROUNDS: usize = 31;

/// Prints one line for each network, to be read by the same program.
const RATES: &str = "--rates";

pub fn main() -> Outcome {
    // The thread that calls is the only one of the pool.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
    pool.use_current_thread().build_global()?;
    if std::env::args().any(|argument| argument == RATES) {
        for name in networks::NAMES {
            let rates = Rates::measure(name)?;
            println!("{}", rates.to_f32(1));
        }
        return Ok(());
    }
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.timing("ch06_times.md", table)
}

/// What one network's contenders do on one thread.
struct Rates {
    /// Images a second: f32, static INT8, dynamic INT8.
    images: Vec<f64>,
    /// The part of the time in which others had the core.
    disturbed: f64,
}

impl Rates {
    fn measure(name: &str) -> Result<Self, Box<dyn Error>> {
        let (contenders, images) = networks::contenders(name)?;
        let mut runs: Vec<Run<'_>> = Vec::new();
        for (_, model) in &contenders {
            let images = images.view();
            runs.push(Box::new(move || {
                black_box(model.forward(images.view()).is_ok());
            }));
        }
        clock::in_turns(2, &mut runs);
        let times = clock::in_turns(ROUNDS, &mut runs);
        let count = images.shape()[0] as f64;
        Ok(Self {
            images: times.iter().map(|t| count / clock::on_cpu(t)).collect(),
            disturbed: clock::disturbed(&times),
        })
    }

    /// How many times as fast as f32.
    fn to_f32(&self, contender: usize) -> f64 {
        self.images[contender] / self.images[0]
    }
}

/// What static INT8 is to f32 with the kernels of AVX2, network by network; nothing if those are the
/// best ones here.
fn on_avx2() -> Result<Vec<f64>, Box<dyn Error>> {
    let best = Kernel::best().isa();
    if best == Isa::Avx2 || Kernel::new(Isa::Avx2).is_none() {
        return Ok(Vec::new());
    }
    let mut again = Command::new(std::env::current_exe()?);
    let output = again.arg(RATES).env("FEWER_BITS_ISA", "avx2").output()?;
    let lines = String::from_utf8(output.stdout)?;
    let factors: Vec<f64> = lines.lines().map(str::parse).collect::<Result<_, _>>()?;
    match factors.len() == networks::NAMES.len() {
        true => Ok(factors),
        false => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}

fn table() -> Result<String, Box<dyn Error>> {
    let best = Kernel::best().isa();
    let avx2 = on_avx2()?;
    let mut table = format!(
        "| network | f32 | static INT8, {best} | dynamic INT8, {best} | static to f32 | dynamic to f32 |"
    );
    let mut line = String::from("\n|:--|--:|--:|--:|--:|--:|");
    if !avx2.is_empty() {
        table += " static to f32, avx2 |";
        line += "--:|";
    }
    table += &line;
    let mut disturbed = 0f64;
    for (i, name) in networks::NAMES.into_iter().enumerate() {
        let rates = Rates::measure(name)?;
        disturbed = disturbed.max(rates.disturbed);
        table += &format!("\n| {name} |");
        for rate in &rates.images {
            // Three digits.
            let unit = 10f64.powf(rate.log10().floor() - 2.0);
            table += &format!(" {} |", grouped(((rate / unit).round() * unit) as u64));
        }
        let factors = [rates.to_f32(1), rates.to_f32(2)];
        for factor in factors.iter().chain(avx2.get(i)) {
            table += &format!(" {factor:.1} × |");
        }
    }
    Ok(format!(
        "{table}\n\nImages a second, in batches of 100 on one thread of a shared {}. Medians of {ROUNDS} rounds in turns; others had the core for {:.0} % of the time at most.",
        support::machine(),
        100.0 * disturbed
    ))
}

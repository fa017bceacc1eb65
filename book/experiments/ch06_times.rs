//! Chapter 6: whole networks on a batch of images, in f32 and in INT8, in turns on one thread.

pub mod support;

use std::error::Error;
use std::hint::black_box;

use support::clock::{self, Run};
use support::{Evidence, Outcome, grouped, networks};

const ROUNDS: usize = 31;

pub fn main() -> Outcome {
    // The thread that calls is the only one of the pool.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
    pool.use_current_thread().build_global()?;
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.timing("ch06_times.md", table)
}

fn table() -> Result<String, Box<dyn Error>> {
    let mut table = String::from(
        "| network | f32 | static INT8 | dynamic INT8 | static to f32 | dynamic to f32 |\n\
         |:--|--:|--:|--:|--:|--:|\n",
    );
    let mut disturbed = 0f64;
    for name in networks::NAMES {
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
        disturbed = disturbed.max(clock::disturbed(&times));
        let count = images.shape()[0] as f64;
        let rates: Vec<f64> = times.iter().map(|t| count / clock::on_cpu(t)).collect();
        table += &format!("| {name} |");
        for rate in &rates {
            // Three digits.
            let unit = 10f64.powf(rate.log10().floor() - 2.0);
            table += &format!(" {} |", grouped(((rate / unit).round() * unit) as u64));
        }
        for rate in &rates[1..] {
            table += &format!(" {:.1} × |", rate / rates[0]);
        }
        table += "\n";
    }
    Ok(format!(
        "{table}\nImages a second, in batches of 100 on one thread of a shared {}. Medians of {ROUNDS} rounds in turns; others had the core for {:.0} % of the time at most.",
        support::machine(),
        100.0 * disturbed
    ))
}

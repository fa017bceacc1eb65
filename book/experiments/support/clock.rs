//! How chapter 18 measures time: in turns, and by medians.

use std::time::{Duration, Instant};

/// Something to be timed.
pub type Run<'a> = Box<dyn FnMut() + 'a>;

/// What a call took, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    /// By the clock on the wall.
    pub wall: f64,
    /// Without the time in which this thread waited for a core.
    pub on_cpu: f64,
}

/// Calls `run` once.
// ANCHOR: time
pub fn time(run: &mut dyn FnMut()) -> Time {
    let (before, start) = (waited(), Instant::now());
    run();
    let wall = start.elapsed();
    let waited = waited().saturating_sub(before);
    Time {
        wall: wall.as_secs_f64(),
        on_cpu: wall.saturating_sub(waited).as_secs_f64(),
    }
}
// ANCHOR_END: time

/// Calls each of `runs` once a round, and returns what each took, round by round.
// ANCHOR: in_turns
pub fn in_turns(rounds: usize, runs: &mut [Run<'_>]) -> Vec<Vec<Time>> {
    let mut times = vec![Vec::new(); runs.len()];
    for _ in 0..rounds {
        for (run, times) in runs.iter_mut().zip(&mut times) {
            times.push(time(run));
        }
    }
    times
}
// ANCHOR_END: in_turns

/// For how long this thread has been ready to run while others had its core, as Linux counts it; 0
/// elsewhere.
pub fn waited() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').nth(1).and_then(|n| n.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// The middle one.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median time on a core.
pub fn on_cpu(times: &[Time]) -> f64 {
    median(times.iter().map(|t| t.on_cpu))
}

/// The share of the time in which others had the core.
pub fn disturbed(times: &[Vec<Time>]) -> f64 {
    let all = || times.iter().flatten();
    1.0 - all().map(|t| t.on_cpu).sum::<f64>() / all().map(|t| t.wall).sum::<f64>()
}

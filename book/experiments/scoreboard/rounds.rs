//! Everybody takes turns.

use std::error::Error;
use std::time::{Duration, Instant};

use super::bench::limits::{self, Kind, Limit};
use super::rows::{Builder, Row};

/// Rounds are measured for so long, the one under way is finished.
const TIME: Duration = Duration::from_secs(60);
/// But so many at least.
const LEAST_ROUNDS: usize = 3;
/// In a round, a row is called again until it has taken so long.
const TURN: Duration = Duration::from_millis(4);
/// Several threads work for so long before they are measured. They have slept, and may all be
/// woken on one core (chapter 18).
const AWAKEN: Duration = Duration::from_millis(200);

/// What was measured.
pub struct Board {
    pub rows: Vec<Row>,
    /// In operations or bytes a second.
    pub limits: Vec<(Kind, f64)>,
    pub rounds: usize,
    /// The share of one thread's time in which something else had its core.
    pub disturbed: f64,
}

impl Board {
    pub fn measure() -> Result<Self, Box<dyn Error>> {
        let Builder {
            pools, mut rows, ..
        } = Builder::all()?;
        let mut limits: Vec<(Limit, Vec<f64>)> =
            limits::all().into_iter().map(|l| (l, Vec::new())).collect();
        let start = Instant::now();
        let mut rounds = 0;
        let (mut waiting, mut measuring) = (0.0, 0.0);
        while rounds < LEAST_ROUNDS || start.elapsed() < TIME {
            for (threads, pool) in &pools {
                pool.install(|| {
                    let (before, clock) = (waited(), Instant::now());
                    for (limit, seconds) in limits.iter_mut().filter(|_| *threads == 1) {
                        turn(&mut limit.run, 1, seconds);
                    }
                    let mut rows: Vec<_> = rows.iter_mut().collect();
                    rows.retain(|row| row.threads == *threads);
                    if *threads > 1
                        && let Some(first) = rows.first_mut()
                    {
                        awaken(&mut first.run);
                    }
                    for row in rows {
                        turn(&mut row.run, row.threads, &mut row.seconds);
                    }
                    if *threads == 1 {
                        waiting += waited().saturating_sub(before).as_secs_f64();
                        measuring += clock.elapsed().as_secs_f64();
                    }
                });
            }
            rounds += 1;
        }
        let mut fastest: Vec<(Kind, f64)> = Vec::new();
        for (limit, seconds) in &limits {
            let rate = limit.work / median(seconds);
            match fastest.iter_mut().find(|(kind, _)| *kind == limit.kind) {
                Some((_, best)) => *best = best.max(rate),
                None => fastest.push((limit.kind, rate)),
            }
        }
        Ok(Self {
            rows,
            limits: fastest,
            rounds,
            disturbed: waiting / measuring,
        })
    }

    /// A limit in 10⁹ a second, if this machine has it.
    pub fn limit(&self, kind: Kind) -> Option<f64> {
        let found = self.limits.iter().find(|(other, _)| *other == kind);
        found.map(|(_, rate)| rate / 1e9)
    }

    /// The row of this operation, shape, number of threads and name.
    pub fn row(&self, op: &str, shape: &str, threads: usize, who: &str) -> Option<&Row> {
        self.rows
            .iter()
            .find(|r| r.op == op && r.shape == shape && r.threads == threads && r.who == who)
    }

    /// What a row reaches of its limit, for each of its threads.
    pub fn share(&self, row: &Row) -> Option<f64> {
        let limit = self.limit(row.limit)? * 1e9;
        let memory = matches!(row.limit, Kind::Read | Kind::ReadAgain | Kind::Copy);
        let (work, threads) = match memory {
            true => (row.bytes, 1),
            false => (row.operations, row.threads),
        };
        Some(work / row.median() / limit / threads as f64)
    }
}

impl Row {
    /// Seconds of a call.
    pub fn median(&self) -> f64 {
        median(&self.seconds)
    }

    /// 10⁹ operations a second.
    pub fn gops(&self) -> f64 {
        self.operations / self.median() / 1e9
    }
}

/// The first call is not counted: others have driven its operands out of the caches.
fn turn(run: &mut dyn FnMut(), threads: usize, seconds: &mut Vec<f64>) {
    run();
    let start = Instant::now();
    loop {
        let (waited, call) = (waited(), Instant::now());
        run();
        let mut time = call.elapsed();
        if threads == 1 {
            time = time.saturating_sub(self::waited().saturating_sub(waited));
        }
        seconds.push(time.as_secs_f64());
        if start.elapsed() > TURN {
            break;
        }
    }
}

fn awaken(run: &mut dyn FnMut()) {
    let start = Instant::now();
    while start.elapsed() < AWAKEN {
        run();
    }
}

/// For how long this thread has waited for a core because others ran there, as Linux counts it; 0
/// elsewhere.
fn waited() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').nth(1).and_then(|n| n.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

//! Chapter 18: how to be wrong about a time. One function is measured against itself while other
//! programs come and go; a function is measured whose result nobody wants; and the clock of the
//! processor is watched while it works.

pub mod support;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fewer_bits::gemm::epilogue::Sums;
use fewer_bits::gemm::{Activations, Kernel, PackedWeights};
use ndarray::{Array2, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::ThreadPoolBuilder;
use support::clock::{Run, Time, in_turns, median, time, waited};
use support::figure::{self, *};
use support::{Evidence, Outcome};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Comparisons of each kind.
const TRIALS: usize = 30;
/// Calls of each of the two in a comparison.
const CALLS: usize = 60;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let ratios = std::cell::OnceCell::new();
    let measured = || -> Result<&Vec<Way>> {
        if ratios.get().is_none() {
            drop(ratios.set(same_twice()?));
        }
        Ok(ratios.get().ok_or("measured above")?)
    };
    evidence.timing("ch18_same_twice.md", || Ok(ways_table(measured()?)))?;
    evidence.timing("ch18_same_twice.svg", || ways_figure(measured()?))?;
    evidence.timing("ch18_unused.md", unused)?;
    evidence.timing("ch18_first_call.md", first_call)?;
    evidence.timing("ch18_woken.md", woken)?;
    evidence.timing("ch18_clock.md", clock)
}

/// A way to compare two times, and what it said in each trial.
struct Way {
    name: &'static str,
    ratios: Vec<f64>,
}

/// A few tenths of a millisecond of work.
struct Work {
    a: Array2<u8>,
    weights: PackedWeights,
}

impl Work {
    fn new() -> fewer_bits::Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(18);
        let w = Array2::from_shape_simple_fn((512, 512), || rng.random_range(-40i8..=40));
        Ok(Self {
            a: Array2::from_shape_simple_fn((256, 512), || rng.random()),
            weights: PackedWeights::new(Kernel::best(), w.view())?,
        })
    }

    fn run(&self) {
        let product = self.weights.product(Activations::u8(self.a.view(), 0));
        let _ = black_box(product);
    }
}

/// Compares the same function with itself, in six ways, while all cores X
/// or hundreds of milliseconds and lose it again.
fn same_twice() -> Result<Vec<Way>> {
    let (work, stop) = (Work::new()?, AtomicBool::new(false));
    let cores = std::thread::available_parallelism()?.get();
    let pool = ThreadPoolBuilder::new().num_threads(1).build()?;
    std::thread::scope(|scope| {
        for seed in 0..cores {
            let stop = &stop;
            scope.spawn(move || come_and_go(seed as u64, stop));
        }
        let ways = pool.install(|| compare(&work));
        stop.store(true, Ordering::Relaxed);
        Ok(ways)
    })
}

/// Another program: busy for a while, idle for a while.
fn come_and_go(seed: u64, stop: &AtomicBool) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    while !stop.load(Ordering::Relaxed) {
        let busy = Duration::from_millis(rng.random_range(20..300));
        let start = Instant::now();
        while start.elapsed() < busy {
            black_box(start);
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(20..400)));
    }
}

fn compare(work: &Work) -> Vec<Way> {
    let mut ways: Vec<Way> = [
        "one after the other, mean",
        "one after the other, median",
        "one after the other, fastest",
        "in turns, mean",
        "in turns, median",
        "in turns, median on a core",
    ]
    .map(|name| Way {
        name,
        ratios: Vec::new(),
    })
    .into();
    for _ in 0..TRIALS {
        let apart: [Vec<Time>; 2] =
            [0, 1].map(|_| (0..CALLS).map(|_| time(&mut || work.run())).collect());
        let mut both: [Run<'_>; 2] = [Box::new(|| work.run()), Box::new(|| work.run())];
        let turns = in_turns(CALLS, &mut both);
        let ratio =
            |times: &[Vec<Time>], of: &dyn Fn(&[Time]) -> f64| of(&times[1]) / of(&times[0]);
        let mean = |t: &[Time]| t.iter().map(|t| t.wall).sum::<f64>();
        let middle = |t: &[Time]| median(t.iter().map(|t| t.wall));
        let fastest = |t: &[Time]| t.iter().map(|t| t.wall).fold(f64::MAX, f64::min);
        let ratios = [
            ratio(&apart, &mean),
            ratio(&apart, &middle),
            ratio(&apart, &fastest),
            ratio(&turns, &mean),
            ratio(&turns, &middle),
            ratio(&turns, &support::clock::on_cpu),
        ];
        for (way, ratio) in ways.iter_mut().zip(ratios) {
            way.ratios.push(ratio);
        }
    }
    ways
}

fn ends(way: &Way) -> (f64, f64) {
    let least = way.ratios.iter().copied().fold(f64::MAX, f64::min);
    (least, way.ratios.iter().copied().fold(0.0, f64::max))
}

fn ways_table(ways: &[Way]) -> String {
    let mut table = String::from(
        "| how | smallest ratio | largest ratio | off by more than 5 % |\n|:--|--:|--:|--:|\n",
    );
    for way in ways {
        let (least, most) = ends(way);
        let off = way
            .ratios
            .iter()
            .filter(|r| (*r - 1.0).abs() > 0.05)
            .count();
        table += &format!(
            "| {} | {least:.2} | {most:.2} | {off} of {TRIALS} |\n",
            way.name
        );
    }
    format!(
        "{table}\n{CALLS} calls of each of the two in a comparison, on a shared {}.\n",
        support::machine()
    )
}

fn ways_figure(ways: &[Way]) -> Result<String> {
    const HEIGHT: u32 = 330;
    const AXIS: i32 = 290;
    let most = ways
        .iter()
        .map(|way| ends(way).1)
        .fold(1.5, f64::max)
        .min(4.0);
    let (left, right) = (12.0, f64::from(figure::WIDTH) - 16.0);
    // Logarithmic, so that twice and half lie equally far from 1.
    let place = |ratio: f64| {
        let at = (ratio.clamp(1.0 / most, most).ln() / most.ln() + 1.0) / 2.0;
        (left + at * (right - left)) as i32
    };
    let title = "Ratios of the times of one function to itself, by six ways to measure";
    figure::svg(title, figure::WIDTH, HEIGHT, |area| {
        for ratio in [0.25, 0.5, 1.0, 2.0, 4.0]
            .into_iter()
            .filter(|r| *r <= most && 1.0 / r <= most)
        {
            let x = place(ratio);
            area.draw(&PathElement::new(vec![(x, 8), (x, AXIS)], MUTED.mix(0.4)))?;
            let label = format!("{ratio}");
            let width = 4 * label.len() as i32;
            area.draw(&Text::new(label, (x - width, AXIS + 6), figure::font(15)))?;
        }
        for (i, way) in ways.iter().enumerate() {
            let y = 10 + 47 * i as i32;
            let colour = if i < 3 { ORANGE } else { BLUE };
            area.draw(&Text::new(way.name, (14, y), figure::coloured(16, &colour)))?;
            for (trial, ratio) in way.ratios.iter().enumerate() {
                let y = y + 26 + (trial % 3) as i32 * 4;
                area.draw(&Circle::new(
                    (place(*ratio), y),
                    3,
                    colour.mix(0.55).filled(),
                ))?;
            }
        }
        Ok(())
    })
}

/// Σ aᵢ·bᵢ, a function without effects: who does not use its result does not need the call.
fn sum_of_products(a: &[u8], b: &[i8]) -> i32 {
    let products = a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b));
    products.fold(0, i32::wrapping_add)
}

// ANCHOR: dropped_and_kept
fn dropped_and_kept(a: &[u8], b: &[i8], calls: u32) -> [Duration; 2] {
    let start = Instant::now();
    for _ in 0..calls {
        let _ = sum_of_products(a, b);
    }
    let dropped = start.elapsed();

    let start = Instant::now();
    for _ in 0..calls {
        black_box(sum_of_products(black_box(a), black_box(b)));
    }
    [dropped, start.elapsed()].map(|time| time / calls)
}
// ANCHOR_END: dropped_and_kept

fn unused() -> Result<String> {
    let (a, b) = (vec![3u8; 1 << 16], vec![-2i8; 1 << 16]);
    let gops = |time: Duration| match time.as_nanos() {
        0 => "∞".to_owned(),
        nanoseconds => format!("{:.0}", 2.0 * a.len() as f64 / nanoseconds as f64),
    };
    let mut table = String::from("| the result | time of a call | GOP/s |\n|:--|--:|--:|\n");
    let names = ["is dropped", "goes into a black box"];
    for (name, time) in names.into_iter().zip(dropped_and_kept(&a, &b, 1000)) {
        table += &format!("| {name} | {} ns | {} |\n", time.as_nanos(), gops(time));
    }
    Ok(format!(
        "{table}\n65 536 products in plain Rust, {}.\n",
        support::machine()
    ))
}

/// The first call of a product in a new thread, beside later ones.
fn first_call() -> Result<String> {
    let work = Work::new()?;
    let (mut firsts, mut laters) = (Vec::new(), Vec::new());
    for _ in 0..15 {
        // A thread of its own, with memory that nothing has touched.
        let pool = ThreadPoolBuilder::new().num_threads(1).build()?;
        let times: Vec<f64> =
            pool.install(|| (0..20).map(|_| time(&mut || work.run()).on_cpu).collect());
        firsts.push(times[0]);
        laters.push(median(times[1..].iter().copied()));
    }
    let (first, later) = (1e6 * median(firsts), 1e6 * median(laters));
    Ok(format!(
        "The first product of a new thread takes {first:.0} µs, later ones {later:.0} µs, on a shared {}.\n",
        support::machine()
    ))
}

/// How much faster two threads are than one, after they have slept, and for how long one of
/// them waits for a core.
fn woken() -> Result<String> {
    const ROUNDS: usize = 15;
    const MILLISECONDS: [u64; 6] = [0, 20, 40, 60, 100, 300];
    let Work { a, weights } = Work::new()?;
    let a = ndarray::concatenate(Axis(0), &[a.view(); 4])?;
    let mut out = Array2::zeros((a.nrows(), weights.columns()));
    let mut call = || -> fewer_bits::Result<f64> {
        let start = Instant::now();
        weights.multiply(&Activations::u8(a.view(), 0), &Sums, out.view_mut())?;
        Ok(start.elapsed().as_secs_f64())
    };
    let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build();
    let (one, two) = (pool(1)?, pool(2)?);
    let waits = || rayon::broadcast(|_| waited());
    let mut slices = vec![Vec::new(); MILLISECONDS.len() - 1];
    for _ in 0..ROUNDS {
        let alone: fewer_bits::Result<Vec<f64>> =
            one.install(|| (0..199).map(|_| call()).collect());
        let alone = median(alone?);
        two.install(|| -> fewer_bits::Result<()> {
            let start = Instant::now();
            for (end, rounds) in MILLISECONDS[1..].iter().zip(&mut slices) {
                let (end, before, clock) = (Duration::from_millis(*end), waits(), Instant::now());
                let mut times = Vec::new();
                while start.elapsed() < end {
                    times.push(call()?);
                }
                let waited = waits().into_iter().zip(before);
                let waited = waited.map(|(after, before)| after.saturating_sub(before));
                let longest = waited.max().unwrap_or_default().as_secs_f64();
                let share = longest / clock.elapsed().as_secs_f64();
                rounds.push((alone / median(times), share));
            }
            Ok(())
        })?;
    }
    let mut table = String::from(
        "| after waking | faster by | worst round | waiting in it |\n|:--|--:|--:|--:|\n",
    );
    for (slice, rounds) in MILLISECONDS.windows(2).zip(slices) {
        let middle = median(rounds.iter().map(|(faster, _)| *faster));
        let worst = rounds.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
        let (worst, waiting) = worst.ok_or("there were rounds")?;
        let (from, to, waiting) = (slice[0], slice[1], 100.0 * waiting);
        table +=
            &format!("| {from} to {to} ms | {middle:.2} × | {worst:.2} × | {waiting:.0} % |\n");
    }
    Ok(format!(
        "{table}\nTwo threads beside one, medians of {ROUNDS} rounds, on {} processors of a shared {}, products with {}.\n",
        std::thread::available_parallelism()?,
        support::machine(),
        Kernel::best().isa()
    ))
}

/// Billions of steps a second of a chain in which each multiplication and addition waits for the one
/// before: four cycles a step on x86-64 processors of the last ten years.
fn gigahertz() -> f64 {
    const STEPS: u64 = 200_000;
    const CYCLES: f64 = 4.0;
    let (factor, summand) = (black_box(6_364_136_223_846_793_005u64), black_box(1u64));
    let mut x = black_box(1u64);
    let taken = time(&mut || {
        for _ in 0..STEPS {
            x = x.wrapping_mul(factor).wrapping_add(summand);
        }
    });
    black_box(x);
    CYCLES * STEPS as f64 / taken.on_cpu / 1e9
}

/// The clock of a core that is idle otherwise, that has just multiplied bytes, and whose neighbour does.
fn clock() -> Result<String> {
    if !cfg!(target_arch = "x86_64") {
        return Ok("The cycles of a step are known for x86-64 only.".to_owned());
    }
    const TIMES: usize = 200;
    let (work, stop) = (Work::new()?, AtomicBool::new(false));
    let pool = || ThreadPoolBuilder::new().num_threads(1).build();
    let (mut alone, mut after, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    pool()?.install(|| {
        for _ in 0..TIMES {
            alone.push(gigahertz());
            work.run();
            work.run();
            after.push(gigahertz());
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let other = pool()?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            other.install(|| {
                while !stop.load(Ordering::Relaxed) {
                    work.run();
                }
            });
        });
        for _ in 0..TIMES {
            beside.push(gigahertz());
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut table = String::from("| the core | GHz |\n|:--|--:|\n");
    for (name, values) in [
        ("alone", alone),
        ("right after products of bytes", after),
        ("while another core multiplies bytes", beside),
    ] {
        table += &format!("| {name} | {:.2} |\n", median(values));
    }
    Ok(format!(
        "{table}\nMedians of {TIMES} measurements, {}, products with {}.\n",
        support::machine(),
        Kernel::best().isa()
    ))
}

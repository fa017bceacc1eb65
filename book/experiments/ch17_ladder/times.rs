//! How fast each step is on this machine, in turns.

use fewer_bits::Isa;
use fewer_bits::gemm::ladder::{Ready, Step};
use fewer_bits::gemm::{Kernel, PackedWeights, reference};
use ndarray::{Array2, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::chart;
use super::limits::{self, Kind};
use super::support::clock::{Run, disturbed, in_turns, on_cpu};
use super::support::{Evidence, Outcome, machine};
use super::{Result, normal_weights, uniform_weights};

/// Rows, depth, columns: one product whose operands the second-level cache holds, and one whose weights it does
/// not.
const SHAPES: [[usize; 3]; 2] = [[512, 512, 512], [96, 4096, 4096]];
/// For each shape.
const ROUNDS: [usize; 2] = [61, 21];
/// The rows of the first step: each takes as long as any other, and there is an end to patience.
const FEW_ROWS: usize = 4;

/// Operations a second of one step, by shape.
pub struct Rung {
    pub name: String,
    /// Not a step of the ladder.
    pub aside: bool,
    pub gops: Vec<f64>,
}

pub struct Board {
    pub rungs: Vec<Rung>,
    pub limits: Vec<(Kind, f64)>,
    disturbed: f64,
}

pub fn measure(evidence: &mut Evidence) -> Outcome {
    let mut board = None;
    evidence.timing("ch17_ladder.md", || {
        let measured = on_one_thread(ladder)?;
        let table = table(&measured);
        board = Some(measured);
        Ok(table)
    })?;
    evidence.timing("ch17_ladder.svg", || {
        chart::figure(board.as_ref().ok_or("measured above")?)
    })?;
    evidence.timing("ch17_worst.md", || on_one_thread(worst))?;
    evidence.timing("ch17_packing.txt", || on_one_thread(packing))
}

/// AVX2 if this CPU has it: the steps above the panels need it.
fn isa() -> Isa {
    Kernel::new(Isa::Avx2).map_or(Isa::Portable, Kernel::isa)
}

/// The steps that this CPU can take: name, whether it is an aside, step, instruction set.
fn steps() -> Vec<(String, bool, Step, Isa)> {
    let mut all = Vec::new();
    for step in Step::ALL {
        all.push((step.name().to_owned(), false, step, isa()));
        if step == Step::LoopOrder && isa() != Isa::Portable {
            all.push((
                "the same, for any CPU".to_owned(),
                true,
                step,
                Isa::Portable,
            ));
        }
    }
    let best = Kernel::best().isa();
    if best != isa() {
        all.push((format!("the library, {best}"), false, Step::Library, best));
    }
    all
}

/// A step that multiplies the same matrices again and again. Its result has been compared with the reference.
struct Work<'a> {
    ready: Ready,
    a: &'a Array2<u8>,
    sums: Array2<i32>,
}

impl<'a> Work<'a> {
    fn new(ready: Ready, a: &'a Array2<u8>, w: &Array2<i8>) -> Result<Self> {
        let sums = Array2::zeros((a.nrows(), w.ncols()));
        let mut work = Self { ready, a, sums };
        work.run();
        let rows = s![..4.min(a.nrows()), ..];
        let right = reference(a.slice(rows), 128, w.view(), 0);
        match right == work.sums.slice(rows) {
            true => Ok(work),
            false => Err(format!("{:?} is wrong", work.ready.step()).into()),
        }
    }

    fn run(&mut self) {
        let done = self
            .ready
            .multiply(self.a.view(), 128, self.sums.view_mut());
        done.expect("shapes fit");
    }

    fn operations(&self) -> f64 {
        2.0 * (self.a.len() * self.sums.ncols()) as f64
    }
}

fn activations(rng: &mut ChaCha8Rng, rows: usize, depth: usize) -> Array2<u8> {
    Array2::from_shape_simple_fn((rows, depth), || rng.random())
}

/// Inside a pool of one thread, so that no step takes another.
fn on_one_thread<T: Send>(measure: fn() -> Result<T>) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    Ok(pool.install(|| measure().map_err(|error| error.to_string()))?)
}

fn ladder() -> Result<Board> {
    let mut board = Board {
        rungs: Vec::new(),
        limits: Vec::new(),
        disturbed: 0.0,
    };
    for (name, aside, ..) in steps() {
        board.rungs.push(Rung {
            name,
            aside,
            gops: Vec::new(),
        });
    }
    for ([rows, depth, columns], rounds) in SHAPES.into_iter().zip(ROUNDS) {
        let mut rng = ChaCha8Rng::seed_from_u64(170);
        let w = normal_weights(&mut rng, depth, columns)?;
        let a = activations(&mut rng, rows, depth);
        let few = a.slice(s![..FEW_ROWS, ..]).to_owned();
        let mut all = Vec::new();
        for (_, _, step, isa) in steps() {
            let slow = step == Step::ThreeLoops;
            let Some(ready) = step.ready(isa, w.view())? else {
                continue;
            };
            all.push(Work::new(ready, if slow { &few } else { &a }, &w)?);
        }
        let operations: Vec<f64> = all.iter().map(Work::operations).collect();
        let mut limits = limits::arithmetic();
        let mut runs: Vec<Run<'_>> = Vec::new();
        runs.extend(
            all.iter_mut()
                .map(|work| Box::new(|| work.run()) as Run<'_>),
        );
        runs.extend(limits.iter_mut().map(|l| Box::new(|| (l.run)()) as Run<'_>));
        let times = in_turns(rounds, &mut runs);
        drop(runs);
        board.disturbed = board.disturbed.max(disturbed(&times));
        for ((rung, operations), times) in board.rungs.iter_mut().zip(operations).zip(&times) {
            rung.gops.push(operations / on_cpu(times) / 1e9);
        }
        board.limits.clear();
        let times = times[times.len() - limits.len()..].iter();
        board.limits.extend(
            limits
                .iter()
                .zip(times)
                .map(|(l, t)| (l.kind, l.work / on_cpu(t) / 1e9)),
        );
    }
    Ok(board)
}

fn table(board: &Board) -> String {
    let shape = |[m, k, n]: [usize; 3]| format!("{m}×{k}×{n}");
    let mut text = format!(
        "| step | {} | faster by | {} | faster by |\n|:--|--:|--:|--:|--:|\n",
        shape(SHAPES[0]),
        shape(SHAPES[1])
    );
    let mut before: Option<&Rung> = None;
    for rung in &board.rungs {
        text += &format!("| {} |", rung.name);
        for (i, gops) in rung.gops.iter().enumerate() {
            let gain = match before.filter(|_| !rung.aside) {
                Some(before) => format!("{:.1} ×", gops / before.gops[i]),
                None => String::new(),
            };
            text += &format!(" {} | {gain} |", digits(*gops));
        }
        text.push('\n');
        before = if rung.aside { before } else { Some(rung) };
    }
    let limits: Vec<String> = board
        .limits
        .iter()
        .map(|(kind, rate)| format!("{} {rate:.0}", kind.name()))
        .collect();
    format!(
        "{text}\nGOP/s on one core; limits: {}. Medians of {} and {} interleaved rounds on a shared {}; others had the \
         core for {:.0} % of the time, which is not counted.\n",
        limits.join("; "),
        ROUNDS[0],
        ROUNDS[1],
        machine(),
        100.0 * board.disturbed
    )
}

fn digits(gops: f64) -> String {
    match gops {
        g if g >= 100.0 => format!("{g:.0}"),
        g if g >= 1.0 => format!("{g:.1}"),
        g => format!("{g:.2}"),
    }
}

/// The last steps on weights as models have them, and on such as no model has.
fn worst() -> Result<String> {
    let steps = [Step::Blocks, Step::Bytes, Step::Library];
    let [rows, depth, columns] = SHAPES[0];
    let mut rng = ChaCha8Rng::seed_from_u64(171);
    let a = activations(&mut rng, rows, depth);
    let normal = normal_weights(&mut rng, depth, columns)?;
    let uniform = uniform_weights(&mut rng, depth, columns);
    let mut all = Vec::new();
    for step in steps {
        for w in [&normal, &uniform] {
            let Some(ready) = step.ready(isa(), w.view())? else {
                return Ok("These steps need AVX2, which this machine has not.".to_owned());
            };
            all.push(Work::new(ready, &a, w)?);
        }
    }
    let operations = all[0].operations();
    let mut runs: Vec<Run<'_>> = Vec::new();
    runs.extend(
        all.iter_mut()
            .map(|work| Box::new(|| work.run()) as Run<'_>),
    );
    let times = in_turns(ROUNDS[0], &mut runs);
    let gops = |times: &Vec<_>| operations / on_cpu(times) / 1e9;
    let mut text = String::from("| step | normal | uniform |\n|:--|--:|--:|\n");
    for (step, times) in steps.into_iter().zip(times.chunks(2)) {
        let [normal, uniform] = [&times[0], &times[1]].map(gops);
        text += &format!("| {} | {normal:.0} | {uniform:.0} |\n", step.name());
    }
    Ok(format!(
        "{text}\nGOP/s of {rows}×{depth}×{columns} on one core of a shared {}, medians of {} interleaved rounds.\n",
        machine(),
        ROUNDS[0]
    ))
}

/// Packing, beside the product that it prepares.
fn packing() -> Result<String> {
    const SIZE: usize = 1024;
    let mut rng = ChaCha8Rng::seed_from_u64(172);
    let w = normal_weights(&mut rng, SIZE, SIZE)?;
    let a = activations(&mut rng, 1, SIZE);
    let kernel = Kernel::best();
    let ready = Step::Library.ready(kernel.isa(), w.view())?;
    let mut row = Work::new(ready.ok_or("every CPU has a kernel")?, &a, &w)?;
    let mut pack = || {
        std::hint::black_box(PackedWeights::new(kernel, w.view())).expect("not too deep");
    };
    let times = in_turns(
        ROUNDS[0],
        &mut [Box::new(&mut pack), Box::new(|| row.run())],
    );
    let [pack, row] = [&times[0], &times[1]].map(|times| 1e3 * on_cpu(times));
    Ok(format!(
        "Packing {SIZE} × {SIZE} weights takes {pack:.2} ms, a product of one row with them {row:.3} ms ({}, {}).\n",
        kernel.isa(),
        machine()
    ))
}

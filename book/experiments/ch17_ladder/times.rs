//! How fast each step is on this machine, in turns.

use fewer_bits::Isa;
use fewer_bits::gemm::ladder::{Ready, Step};
use fewer_bits::gemm::{Kernel, PackedWeights, reference};
use ndarray::{Array2, ArrayView2, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::chart;
use super::limits::{self, Kind, Limit};
use super::support::clock::{Run, disturbed, in_turns, on_cpu};
use super::support::{Evidence, Outcome, machine};
use super::{Result, normal_weights, uniform_weights};

/// Rows, depth, columns: one product whose weights the second-level cache holds, and one whose weights it does not.
pub const SHAPES: [[usize; 3]; 2] = [[512, 512, 512], [96, 4096, 4096]];
/// The steps that are measured with uniform weights, too.
const LAST: [Step; 3] = [Step::Blocks, Step::Bytes, Step::Library];
/// For each shape.
const ROUNDS: [usize; 2] = [61, 21];
/// The rows of the first step: each takes as long as any other, and there is an end to patience.
const FEW_ROWS: usize = 4;

/// One step, compiled for one instruction set.
pub struct Rung {
    pub name: String,
    step: Step,
    isa: Isa,
    /// Of the library.
    kernel: Option<Kernel>,
    /// Whether it is not a step of the ladder.
    pub aside: bool,
    /// 10⁹ operations a second, by shape.
    pub gops: Vec<f64>,
    /// The same of the first shape with uniform weights, for the last steps.
    uniform: Option<f64>,
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
    let measured = || board.as_ref().ok_or("measured above");
    evidence.timing("ch17_ladder.svg", || chart::figure(measured()?))?;
    evidence.timing("ch17_worst.md", || Ok(worst(measured()?)))?;
    evidence.timing("ch17_packing.txt", || on_one_thread(packing))
}

/// AVX2 if this CPU has it: the steps above the panels need it.
fn isa() -> Isa {
    Kernel::new(Isa::Avx2).map_or(Isa::Portable, Kernel::isa)
}

/// The steps that this CPU can take.
fn rungs() -> Result<Vec<Rung>> {
    let mut all = Vec::new();
    let mut add = |name: String, step: Step, isa, kernel, aside| -> Result<()> {
        if step.ready(isa, Array2::zeros((1, 1)).view())?.is_some() {
            all.push(Rung {
                name,
                step,
                isa,
                kernel,
                aside,
                gops: Vec::new(),
                uniform: None,
            });
        }
        Ok(())
    };
    for step in Step::ALL.into_iter().filter(|&step| step != Step::Library) {
        add(step.name().to_owned(), step, isa(), None, false)?;
        if step == Step::LoopOrder && isa() != Isa::Portable {
            let name = "the same, for any CPU".to_owned();
            add(name, step, Isa::Portable, None, true)?;
        }
    }
    let mut kernels = Kernel::all(isa());
    kernels.sort_by_key(|kernel| std::cmp::Reverse(kernel.name())); // split, then masked
    if Kernel::best().isa() != isa() {
        kernels.push(Kernel::best());
    }
    for kernel in kernels {
        let name = format!("the library, {}", kernel.name());
        add(name, Step::Library, kernel.isa(), Some(kernel), false)?;
    }
    Ok(all)
}

impl Rung {
    fn ready(&self, w: ArrayView2<'_, i8>) -> Result<Ready> {
        match self.kernel {
            Some(kernel) => Ok(Ready::library(kernel, w)?),
            None => Ok(self.step.ready(self.isa, w)?.ok_or("found before")?),
        }
    }
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
        rungs: rungs()?,
        limits: Vec::new(),
        disturbed: 0.0,
    };
    for (shape, rounds) in SHAPES.into_iter().zip(ROUNDS) {
        board.measure(shape, rounds)?;
    }
    Ok(board)
}

impl Board {
    /// Everybody takes turns: the steps, those that are measured with uniform weights, and the limits.
    fn measure(&mut self, [rows, depth, columns]: [usize; 3], rounds: usize) -> Result<()> {
        let mut rng = ChaCha8Rng::seed_from_u64(170);
        let a = activations(&mut rng, rows, depth);
        let few = a.slice(s![..FEW_ROWS, ..]).to_owned();
        let normal = normal_weights(&mut rng, depth, columns)?;
        let uniform = uniform_weights(&mut rng, depth, columns);
        let small = [rows, depth, columns] == SHAPES[0];
        let (mut all, mut kinds) = (Vec::new(), Vec::new());
        for (i, rung) in self.rungs.iter().enumerate() {
            let a = if rung.step == Step::ThreeLoops {
                &few
            } else {
                &a
            };
            for is_uniform in [false, true] {
                if is_uniform && !(small && LAST.contains(&rung.step)) {
                    continue;
                }
                let w = if is_uniform { &uniform } else { &normal };
                all.push(Work::new(rung.ready(w.view())?, a, w)?);
                kinds.push((i, is_uniform));
            }
        }
        let operations: Vec<f64> = all.iter().map(Work::operations).collect();
        let mut limits = limits::arithmetic();
        let mut runs: Vec<Run<'_>> = Vec::new();
        for work in &mut all {
            runs.push(Box::new(|| work.run()));
        }
        for limit in &mut limits {
            runs.push(Box::new(|| (limit.run)()));
        }
        let times = in_turns(rounds, &mut runs);
        drop(runs);
        self.disturbed = self.disturbed.max(disturbed(&times));
        for (((i, is_uniform), work), times) in kinds.into_iter().zip(operations).zip(&times) {
            let gops = work / on_cpu(times) / 1e9;
            match is_uniform {
                true => self.rungs[i].uniform = Some(gops),
                false => self.rungs[i].gops.push(gops),
            }
        }
        let times = &times[times.len() - limits.len()..];
        let rate =
            |(limit, times): (&Limit, &Vec<_>)| (limit.kind, limit.work / on_cpu(times) / 1e9);
        self.limits = limits.iter().zip(times).map(rate).collect();
        Ok(())
    }
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
fn worst(board: &Board) -> String {
    let [rows, depth, columns] = SHAPES[0];
    let mut text = String::from("| step | normal | uniform |\n|:--|--:|--:|\n");
    for rung in &board.rungs {
        if let Some(uniform) = rung.uniform {
            let normal = rung.gops[0];
            text += &format!("| {} | {normal:.0} | {uniform:.0} |\n", rung.name);
        }
    }
    format!("{text}\nGOP/s of {rows}×{depth}×{columns}, in the rounds of the table above.\n")
}

/// Packing, beside the product that it prepares.
fn packing() -> Result<String> {
    const SIZE: usize = 1024;
    let mut rng = ChaCha8Rng::seed_from_u64(172);
    let w = normal_weights(&mut rng, SIZE, SIZE)?;
    let a = activations(&mut rng, 1, SIZE);
    let kernel = Kernel::best();
    let mut row = Work::new(Ready::library(kernel, w.view())?, &a, &w)?;
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

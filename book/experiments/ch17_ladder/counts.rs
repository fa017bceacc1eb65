//! What each step asks of a machine, counted in a model of its caches.
//!
//! The model goes through the loops of `src/gemm/ladder` and looks at addresses only. It knows nothing of time, so
//! its counts are the same everywhere.

use fewer_bits::gemm::ladder::Step;

/// Depth and columns of the product, and how many of the columns are computed.
const DEPTH: usize = 4096;
const COLUMNS: usize = 4096;
const COMPUTED: usize = 256;

/// Sets of places, each for any line of its residue class; the line that was used longest ago gives way.
struct Cache {
    sets: Vec<Vec<usize>>,
    places: usize,
    misses: usize,
}

impl Cache {
    fn new(lines: usize, places: usize) -> Self {
        Self {
            sets: vec![Vec::with_capacity(places + 1); lines / places],
            places,
            misses: 0,
        }
    }

    /// Whether the line was there; afterwards it is.
    fn touch(&mut self, line: usize) -> bool {
        let sets = self.sets.len();
        let set = &mut self.sets[line % sets];
        if set.first() == Some(&line) {
            return true;
        }
        let found = set.iter().position(|&other| other == line);
        match found {
            Some(at) => drop(set.remove(at)),
            None => self.misses += 1,
        }
        set.insert(0, line);
        set.truncate(self.places);
        found.is_some()
    }
}

/// Where the operands begin.
#[derive(Clone, Copy)]
enum Of {
    Activations = 0x1000_0000,
    Weights = 0x2000_0100,
    Sums = 0x4000_0200,
}

/// 32 KiB and 512 KiB, as a core of many processors has them, and 64 pages of 4 KiB that are found at once.
struct Machine {
    first: Cache,
    second: Cache,
    pages: Cache,
    accesses: usize,
}

impl Machine {
    fn new() -> Self {
        Self {
            first: Cache::new(512, 8),
            second: Cache::new(8192, 8),
            pages: Cache::new(64, 64),
            accesses: 0,
        }
    }

    /// An instruction that loads or stores.
    fn access(&mut self, of: Of, offset: usize, bytes: usize) {
        self.accesses += 1;
        let at = of as usize + offset;
        for line in at / 64..=(at + bytes - 1) / 64 {
            if !self.first.touch(line) {
                self.second.touch(line);
                self.pages.touch(line / 64);
            }
        }
    }

    /// Adds a tile to its sums: eight of them at a time are loaded and stored.
    fn add_tile(&mut self, i: usize, j: usize) {
        for at in (0..4).flat_map(|r| [0, 8].map(|half| (i + r) * COLUMNS + j + half)) {
            self.access(Of::Sums, 4 * at, 32);
            self.access(Of::Sums, 4 * at, 32);
        }
    }
}

/// The loops of a step, for so many rows.
struct Model {
    step: Step,
    rows: usize,
    /// Multiplications and additions for a thousand products.
    arithmetic: f64,
    run: fn(&mut Machine, usize),
}

/// As many rows as it takes for the counts to settle.
const MODELS: [Model; 7] = [
    Model {
        step: Step::ThreeLoops,
        rows: 1,
        arithmetic: 2000.0,
        run: three_loops,
    },
    Model {
        step: Step::LoopOrder,
        rows: 4,
        arithmetic: 2000.0 / 8.0,
        run: loop_order,
    },
    Model {
        step: Step::Tile,
        rows: 8,
        arithmetic: 2000.0 / 8.0,
        run: tile,
    },
    Model {
        step: Step::Panels,
        rows: 8,
        arithmetic: 2000.0 / 8.0,
        run: panels,
    },
    Model {
        step: Step::Words,
        rows: 8,
        arithmetic: 2000.0 / 16.0,
        run: words,
    },
    Model {
        step: Step::Blocks,
        rows: 48,
        arithmetic: 2000.0 / 16.0,
        run: |m, rows| blocks(m, rows, 2, 2),
    },
    Model {
        step: Step::Bytes,
        rows: 48,
        arithmetic: 3000.0 / 32.0,
        run: |m, rows| blocks(m, rows, 4, 1),
    },
];

fn three_loops(machine: &mut Machine, rows: usize) {
    for i in 0..rows {
        for j in 0..COMPUTED {
            for k in 0..DEPTH {
                machine.access(Of::Activations, i * DEPTH + k, 1);
                machine.access(Of::Weights, k * COLUMNS + j, 1);
            }
            machine.access(Of::Sums, 4 * (i * COLUMNS + j), 4);
            machine.access(Of::Sums, 4 * (i * COLUMNS + j), 4);
        }
    }
}

fn loop_order(machine: &mut Machine, rows: usize) {
    for i in 0..rows {
        for k in 0..DEPTH {
            machine.access(Of::Activations, i * DEPTH + k, 1);
            for j in (0..COMPUTED).step_by(8) {
                machine.access(Of::Weights, k * COLUMNS + j, 8);
                machine.access(Of::Sums, 4 * (i * COLUMNS + j), 32);
                machine.access(Of::Sums, 4 * (i * COLUMNS + j), 32);
            }
        }
    }
}

fn tile(machine: &mut Machine, rows: usize) {
    for i in (0..rows).step_by(4) {
        for j in (0..COMPUTED).step_by(16) {
            for k in 0..DEPTH {
                machine.access(Of::Weights, k * COLUMNS + j, 8);
                machine.access(Of::Weights, k * COLUMNS + j + 8, 8);
                for r in 0..4 {
                    machine.access(Of::Activations, (i + r) * DEPTH + k, 1);
                }
            }
            machine.add_tile(i, j);
        }
    }
}

fn panels(machine: &mut Machine, rows: usize) {
    for i in (0..rows).step_by(4) {
        for j in (0..COMPUTED).step_by(16) {
            for k in 0..DEPTH {
                machine.access(Of::Weights, j * DEPTH + 16 * k, 8);
                machine.access(Of::Weights, j * DEPTH + 16 * k + 8, 8);
                for r in 0..4 {
                    machine.access(Of::Activations, (i + r) * DEPTH + k, 1);
                }
            }
            machine.add_tile(i, j);
        }
    }
}

/// A tile's products with depths from `k0` on, `group` depths at a time, in so many bytes each.
fn add_products(
    machine: &mut Machine,
    (i, j): (usize, usize),
    depths: std::ops::Range<usize>,
    group: usize,
    bytes: usize,
) {
    for k in depths.step_by(group) {
        let at = bytes * (j * DEPTH + 16 * k);
        machine.access(Of::Weights, at, 32);
        machine.access(Of::Weights, at + 32, 32);
        for r in 0..4 {
            // In panels of 4 rows, `group` depths of a row side by side.
            machine.access(Of::Activations, bytes * (i * DEPTH + 4 * k + r * group), 4);
        }
    }
    machine.add_tile(i, j);
}

fn words(machine: &mut Machine, rows: usize) {
    for i in (0..rows).step_by(4) {
        for j in (0..COMPUTED).step_by(16) {
            add_products(machine, (i, j), 0..DEPTH, 2, 2);
        }
    }
}

fn blocks(machine: &mut Machine, rows: usize, group: usize, bytes: usize) {
    for k0 in (0..DEPTH).step_by(512) {
        for j in (0..COMPUTED).step_by(16) {
            for i in (0..rows).step_by(4) {
                add_products(machine, (i, j), k0..k0 + 512, group, bytes);
            }
        }
    }
}

/// For a thousand products of each step: instructions, and what they ask of the caches.
pub fn table() -> String {
    let mut text =
        "| step | multiply, add | load, store | lines, 32 KiB | lines, 512 KiB | pages |\n\
        |:--|--:|--:|--:|--:|--:|\n"
            .to_owned();
    for model in MODELS {
        let mut machine = Machine::new();
        (model.run)(&mut machine, model.rows);
        let products = (model.rows * DEPTH * COMPUTED) as f64;
        let counts = [
            model.arithmetic * products / 1000.0,
            machine.accesses as f64,
            machine.first.misses as f64,
            machine.second.misses as f64,
            machine.pages.misses as f64,
        ];
        let cells = counts.map(|count| format!(" {} |", digits(1000.0 * count / products)));
        text += &format!("| {} |{}\n", model.step.name(), cells.concat());
    }
    text
}

/// Two digits at least.
fn digits(count: f64) -> String {
    match count {
        c if c >= 100.0 => format!("{c:.0}"),
        c if c >= 1.0 => format!("{c:.1}"),
        c => format!("{c:.2}"),
    }
}

//! A product of 8-bit matrices in eight steps, from three loops to the kernel of this crate.
//!
//! The one idea: a step changes one thing and computes the same sums, so what it gains has one reason.
//! The steps are kept to be read, tested and timed: chapter 17 climbs them. For work, take
//! [`PackedWeights`], which is the last.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod packing;
mod plain;
#[cfg(target_arch = "x86_64")]
mod tiled;

use std::borrow::Cow;

use ndarray::{Array1, ArrayView2, ArrayViewMut2};

#[cfg(target_arch = "x86_64")]
use super::kernel::MicroKernel;
use super::kernel::Task;
#[cfg(target_arch = "x86_64")]
use super::kernel::avx2::Avx2;
use super::split::{MAX_SPLIT_DEPTH, make_safe};
use super::{Activations, Kernel, MAX_DEPTH, PackedWeights, epilogue, same_shape};
use crate::error::{Error, Result};
use crate::isa::Isa;
use packing::Weights;
use plain::Plain;

/// Rows of a tile.
const ROWS: usize = 4;
/// Columns of a tile, and of a panel.
const COLUMNS: usize = 16;

/// A step of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The definition: for each row and each column, a sum over the depth.
    ThreeLoops,
    /// The same three loops, the columns innermost.
    LoopOrder,
    /// 4 rows by 16 columns of sums stay in registers.
    Tile,
    /// Weights lie in the order in which tiles read them.
    Panels,
    /// Two depths at a time: `vpmaddwd`, on numbers of 16 bits.
    Words,
    /// Loops over parts of the matrices that fit the caches.
    Blocks,
    /// Four depths at a time: `vpmaddubsw`, on weights that cannot saturate it, and the remainders.
    Bytes,
    /// [`PackedWeights`].
    Library,
}

impl Step {
    /// From the bottom to the top.
    pub const ALL: [Self; 8] = [
        Self::ThreeLoops,
        Self::LoopOrder,
        Self::Tile,
        Self::Panels,
        Self::Words,
        Self::Blocks,
        Self::Bytes,
        Self::Library,
    ];

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ThreeLoops => "three loops",
            Self::LoopOrder => "loop order",
            Self::Tile => "register tile",
            Self::Panels => "panels",
            Self::Words => "pairs in 16 bits",
            Self::Blocks => "blocks",
            Self::Bytes => "bytes, split",
            Self::Library => "the library",
        }
    }

    /// The next larger shape that consists of whole tiles, so that no step has to think of edges.
    fn padded(self, shape: Shape) -> Shape {
        let unit = match self {
            Self::ThreeLoops | Self::LoopOrder | Self::Library => [1, 1, 1],
            Self::Tile | Self::Panels => [ROWS, 1, COLUMNS],
            Self::Words | Self::Blocks => [ROWS, 2, COLUMNS],
            Self::Bytes => [ROWS, 4, COLUMNS],
        };
        std::array::from_fn(|i| shape[i].next_multiple_of(unit[i]))
    }

    /// Brings `weights`, of shape \[depth K, columns N\], in the order that this step reads, compiled
    /// for `isa`; none if there is no such step or this CPU cannot run it.
    ///
    /// On [`Isa::Portable`] the steps up to [`Panels`](Self::Panels) exist, on [`Isa::Avx2`] all, on
    /// others the last.
    ///
    /// # Errors
    /// [`Error::DepthTooLarge`] if K exceeds [`MAX_DEPTH`], for then a sum might overflow i32, or for
    /// [`Bytes`](Self::Bytes) 2¹⁶, for positions of remainders are numbers of 16 bits.
    pub fn ready(self, isa: Isa, weights: ArrayView2<'_, i8>) -> Result<Option<Ready>> {
        let (depth, columns) = weights.dim();
        let max = match self {
            Self::Bytes => MAX_SPLIT_DEPTH,
            _ => MAX_DEPTH,
        };
        if depth > max {
            return Err(Error::DepthTooLarge { depth, max });
        }
        let Some(cpu) = Cpu::new(isa) else {
            return match (self, Kernel::new(isa)) {
                (Self::Library, Some(kernel)) => Ready::library(kernel, weights).map(Some),
                _ => Ok(None),
            };
        };
        let shape = self.padded([0, depth, columns]);
        let packed = Weights::new(self, (isa, cpu), weights, shape)?;
        Ok(packed.map(|packed| Ready::new(self, cpu, packed, weights)))
    }
}

/// Splits a pair of weights in a safe pair and what was taken from it, of which one is 0: on the safe
/// pair, `vpmaddubsw` is exact for all activations.
///
/// ```
/// use fewer_bits::gemm::ladder::split_pair;
/// assert_eq!(split_pair([71, 107]), ([71, 57], [0, 50]));
/// assert_eq!(split_pair([127, -128]), ([127, -128], [0, 0]));
/// ```
pub fn split_pair(pair: [i8; 2]) -> ([i8; 2], [i8; 2]) {
    make_safe(pair)
}

/// How many groups of four depths there are in all panels of 16 columns, and how many of them find a partner with
/// which their masked products can be added in 16 bits: what packing does for the masked kernel of AVX2.
///
/// # Errors
/// As [`PackedWeights::new`].
pub fn groups_in_pairs(weights: ArrayView2<'_, i8>) -> Result<[usize; 2]> {
    let portable = Kernel::new(Isa::Portable).unwrap_or(Kernel::best());
    Ok(PackedWeights::new(portable, weights)?.groups_in_pairs())
}

/// For what the loops are compiled.
#[derive(Debug, Clone, Copy)]
enum Cpu {
    Any,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
}

impl Cpu {
    fn new(isa: Isa) -> Option<Self> {
        match isa {
            Isa::Portable => Some(Self::Any),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::detect().map(Self::Avx2),
            _ => None,
        }
    }

    fn enter<T: Task>(self, task: T) {
        match self {
            Self::Any => task.run(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.enter(task),
        }
    }
}

/// Rows M, depth K, columns N.
type Shape = [usize; 3];

/// A step, and weights in the order that it reads.
#[derive(Debug, Clone)]
pub struct Ready {
    step: Step,
    cpu: Cpu,
    weights: Weights,
    depth: usize,
    column_sums: Vec<i32>,
}

impl Ready {
    /// [`Step::Library`] on a kernel of choice.
    ///
    /// # Errors
    /// As [`PackedWeights::new`].
    pub fn library(kernel: Kernel, weights: ArrayView2<'_, i8>) -> Result<Self> {
        let packed = Weights::Library(PackedWeights::new(kernel, weights)?);
        Ok(Self::new(Step::Library, Cpu::Any, packed, weights))
    }

    fn new(step: Step, cpu: Cpu, packed: Weights, weights: ArrayView2<'_, i8>) -> Self {
        let columns = weights.columns().into_iter();
        let sum = |column: ndarray::ArrayView1<'_, i8>| column.iter().map(|&w| i32::from(w)).sum();
        Self {
            step,
            cpu,
            weights: packed,
            depth: weights.nrows(),
            column_sums: columns.map(sum).collect(),
        }
    }

    /// The step.
    pub fn step(&self) -> Step {
        self.step
    }

    /// Writes Σₖ (a\[i, k\] − `zero`)·w\[k, j\] to `sums`, of shape \[M, N\].
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] if `a` is not \[M, K\] or `sums` is not \[M, N\].
    pub fn multiply(
        &self,
        a: ArrayView2<'_, u8>,
        zero: u8,
        mut sums: ArrayViewMut2<'_, i32>,
    ) -> Result<()> {
        let (rows, columns) = (a.nrows(), self.column_sums.len());
        same_shape("activations", [rows, self.depth], [rows, a.ncols()])?;
        same_shape("the product", [rows, columns], [sums.nrows(), sums.ncols()])?;
        if let Weights::Library(weights) = &self.weights {
            return weights.multiply(&Activations::u8(a, zero), &epilogue::Sums, sums);
        }
        let start = self.column_sums.iter().map(|sum| -i32::from(zero) * sum);
        let start: Array1<i32> = start.collect();
        for mut row in sums.rows_mut() {
            row.assign(&start);
        }
        if sums.is_empty() || self.depth == 0 {
            return Ok(());
        }
        let shape = self.step.padded([rows, self.depth, columns]);
        let [tall, deep, wide] = shape;
        let a = padded(a, tall, deep);
        let whole = (tall, wide) == sums.dim();
        match sums.as_slice_mut().filter(|_| whole) {
            Some(sums) => self.add(&a, sums, shape),
            None => {
                let mut room = padded(sums.view(), tall, wide).into_owned();
                self.add(&a, &mut room, shape);
                let room = room.chunks_exact(wide);
                for (mut sums, room) in sums.rows_mut().into_iter().zip(room) {
                    sums.iter_mut().zip(room).for_each(|(sum, s)| *sum = *s);
                }
            }
        }
        Ok(())
    }

    fn add(&self, a: &[u8], sums: &mut [i32], shape: Shape) {
        let ready = self;
        self.cpu.enter(Add {
            ready,
            a,
            sums,
            shape,
        });
    }
}

/// A step to be taken.
struct Add<'a> {
    ready: &'a Ready,
    a: &'a [u8],
    sums: &'a mut [i32],
    shape: Shape,
}

impl Task for Add<'_> {
    #[inline(always)]
    fn run(self) {
        let Add {
            ready,
            a,
            sums,
            shape,
        } = self;
        match (ready.step, &ready.weights, ready.cpu) {
            (Step::ThreeLoops, Weights::Rows(w), _) => plain::three_loops(a, w, sums, shape),
            (Step::LoopOrder, Weights::Rows(w), _) => plain::loop_order(a, w, sums, shape),
            (_, Weights::Rows(w), Cpu::Any) => plain::tile(Plain, a, w, sums, shape),
            (_, Weights::Panels(w), Cpu::Any) => plain::panels(Plain, a, w, sums, shape),
            #[cfg(target_arch = "x86_64")]
            (step, weights, Cpu::Avx2(avx2)) => {
                tiled::add(avx2, step, weights, a, sums, shape);
            }
            (_, _, Cpu::Any) => {} // no other steps exist there
        }
    }
}

/// The matrix row by row, filled up with zeros to so many rows and columns.
fn padded<T: Copy + Default>(
    matrix: ArrayView2<'_, T>,
    rows: usize,
    columns: usize,
) -> Cow<'_, [T]> {
    if matrix.dim() == (rows, columns)
        && let Some(all) = matrix.to_slice()
    {
        return Cow::Borrowed(all);
    }
    let mut all = vec![T::default(); rows * columns];
    for (all, row) in all.chunks_exact_mut(columns.max(1)).zip(matrix.rows()) {
        all.iter_mut().zip(row).for_each(|(a, v)| *a = *v);
    }
    Cow::Owned(all)
}

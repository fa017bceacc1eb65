//! Weights in the order that each step reads.

use std::array::from_fn;

use ndarray::ArrayView2;

use super::{COLUMNS, Cpu, Shape, Step, padded, plain};
#[cfg(target_arch = "x86_64")]
use super::{
    avx2::{Bytes, WordBlock, Words},
    tiled,
};
use crate::error::Result;
use crate::gemm::kernel::Task;
#[cfg(target_arch = "x86_64")]
use crate::gemm::pack::Block;
#[cfg(target_arch = "x86_64")]
use crate::gemm::split::{Remainders, make_safe};
use crate::gemm::{Kernel, PackedWeights};
use crate::isa::Isa;

/// Weights in the order of a step.
#[derive(Debug, Clone)]
pub(super) enum Packed {
    ThreeLoops(Vec<i8>),
    LoopOrder(Vec<i8>),
    Tile(Vec<i8>),
    Panels(Vec<[i8; COLUMNS]>),
    #[cfg(target_arch = "x86_64")]
    Words(Words, Vec<WordBlock>),
    #[cfg(target_arch = "x86_64")]
    Blocks(Words, Vec<WordBlock>),
    #[cfg(target_arch = "x86_64")]
    Bytes(Bytes, Vec<Block>, Remainders),
    Library(PackedWeights),
}

impl Packed {
    /// The weights filled up with zeros to `shape`; none if this CPU has no such step.
    pub(super) fn new(
        step: Step,
        cpu: Cpu,
        isa: Isa,
        weights: ArrayView2<'_, i8>,
        shape: Shape,
    ) -> Result<Option<Self>> {
        let all = padded(weights, shape[1], shape[2]);
        #[cfg(target_arch = "x86_64")]
        let avx2 = match cpu {
            Cpu::Any => None,
            Cpu::Avx2(avx2) => Some(avx2),
        };
        #[cfg(not(target_arch = "x86_64"))]
        let Cpu::Any = cpu;
        Ok(match step {
            Step::ThreeLoops => Some(Self::ThreeLoops(all.into_owned())),
            Step::LoopOrder => Some(Self::LoopOrder(all.into_owned())),
            Step::Tile => Some(Self::Tile(all.into_owned())),
            Step::Panels => {
                let panels = blocks_of::<1>(&all, shape).map(|block| block.map(|[w]| w));
                Some(Self::Panels(panels.collect()))
            }
            #[cfg(target_arch = "x86_64")]
            Step::Words => avx2.map(|avx2| Self::Words(Words(avx2), words(&all, shape))),
            #[cfg(target_arch = "x86_64")]
            Step::Blocks => avx2.map(|avx2| Self::Blocks(Words(avx2), words(&all, shape))),
            #[cfg(target_arch = "x86_64")]
            Step::Bytes => avx2.map(|avx2| {
                let (safe, remainders) = split(&all, shape);
                let bytes = |block: [[i8; 4]; COLUMNS]| Block(from_fn(|i| block[i / 4][i % 4]));
                let blocks = blocks_of::<4>(&safe, shape).map(bytes).collect();
                Self::Bytes(Bytes(avx2), blocks, remainders)
            }),
            #[cfg(not(target_arch = "x86_64"))]
            Step::Words | Step::Blocks | Step::Bytes => None,
            Step::Library => match Kernel::new(isa) {
                Some(kernel) => Some(Self::Library(PackedWeights::new(kernel, weights)?)),
                None => None,
            },
        })
    }
}

/// Panel by panel, blocks of D depths and 16 columns, column by column. D is what an instruction adds
/// up.
fn blocks_of<const D: usize>(
    w: &[i8],
    [_, depth, columns]: Shape,
) -> impl Iterator<Item = [[i8; D]; COLUMNS]> {
    (0..columns).step_by(COLUMNS).flat_map(move |j| {
        (0..depth)
            .step_by(D)
            .map(move |k| from_fn(|column| from_fn(|d| w[(k + d) * columns + j + column])))
    })
}

#[cfg(target_arch = "x86_64")]
fn words(w: &[i8], shape: Shape) -> Vec<WordBlock> {
    let words = |block: [[i8; 2]; COLUMNS]| WordBlock(block.map(|pair| pair.map(i16::from)));
    blocks_of::<2>(w, shape).map(words).collect()
}

/// The weights, every pair of them safe, and what was taken.
#[cfg(target_arch = "x86_64")]
fn split(w: &[i8], [_, depth, columns]: Shape) -> (Vec<i8>, Remainders) {
    let (mut safe, mut remainders) = (w.to_vec(), Remainders::new());
    for j in 0..columns {
        let mut taken = Vec::new();
        for k in (0..depth).step_by(2) {
            let at = [k * columns + j, (k + 1) * columns + j];
            let (pair, rest) = make_safe(at.map(|at| w[at]));
            for d in 0..2 {
                safe[at[d]] = pair[d];
                if rest[d] != 0 {
                    taken.push(((k + d) as u16, rest[d]));
                }
            }
        }
        remainders.push_column(&taken);
    }
    (safe, remainders)
}

/// A step to be taken.
pub(super) struct Add<'a> {
    pub(super) weights: &'a Packed,
    pub(super) a: &'a [u8],
    pub(super) sums: &'a mut [i32],
    pub(super) shape: Shape,
}

impl Task for Add<'_> {
    #[inline(always)]
    fn run(self) {
        let Add {
            weights,
            a,
            sums,
            shape,
        } = self;
        #[cfg(target_arch = "x86_64")]
        let widened = || -> Vec<i16> { a.iter().map(|&a| a.into()).collect() };
        match weights {
            Packed::ThreeLoops(w) => plain::three_loops(a, w, sums, shape),
            Packed::LoopOrder(w) => plain::loop_order(a, w, sums, shape),
            Packed::Tile(w) => plain::tile(a, w, sums, shape),
            Packed::Panels(w) => plain::panels(a, w, sums, shape),
            #[cfg(target_arch = "x86_64")]
            Packed::Words(tile, w) => tiled::tiles(*tile, &widened(), w, sums, shape),
            #[cfg(target_arch = "x86_64")]
            Packed::Blocks(tile, w) => tiled::blocks(*tile, &widened(), w, sums, shape),
            #[cfg(target_arch = "x86_64")]
            Packed::Bytes(tile, w, remainders) => {
                tiled::blocks(*tile, a, w, sums, shape);
                let columns = tiled::transposed(a, shape);
                tiled::add_remainders(&columns, remainders, sums, shape);
            }
            Packed::Library(_) => {}
        }
    }
}

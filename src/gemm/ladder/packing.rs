//! Weights and activations in the order that each step reads.

use std::array::from_fn;

use ndarray::ArrayView2;

use super::{COLUMNS, Cpu, Shape, Step, padded};
#[cfg(target_arch = "x86_64")]
use super::{ROWS, avx2::WordBlock};
use crate::error::Result;
#[cfg(target_arch = "x86_64")]
use crate::gemm::pack::Block;
#[cfg(target_arch = "x86_64")]
use crate::gemm::split::{Remainders, make_safe};
use crate::gemm::{Kernel, PackedWeights};
use crate::isa::Isa;

/// Weights in the order of a step.
#[derive(Debug, Clone)]
pub(super) enum Weights {
    Rows(Vec<i8>),
    Panels(Vec<i8>),
    #[cfg(target_arch = "x86_64")]
    Words(Vec<WordBlock>),
    #[cfg(target_arch = "x86_64")]
    Split(Vec<Block>, Remainders),
    Library(PackedWeights),
}

impl Weights {
    /// The weights filled up with zeros to `shape`; none if this CPU has no such step.
    pub(super) fn new(
        step: Step,
        (isa, cpu): (Isa, Cpu),
        weights: ArrayView2<'_, i8>,
        shape: Shape,
    ) -> Result<Option<Self>> {
        let all = padded(weights, shape[1], shape[2]);
        Ok(match (step, cpu) {
            (Step::ThreeLoops | Step::LoopOrder | Step::Tile, _) => {
                Some(Self::Rows(all.into_owned()))
            }
            (Step::Panels, _) => {
                let panels = blocks_of::<1>(&all, shape).flatten().flatten();
                Some(Self::Panels(panels.collect()))
            }
            #[cfg(target_arch = "x86_64")]
            (Step::Words | Step::Blocks, Cpu::Avx2(_)) => {
                let words = blocks_of::<2>(&all, shape).map(|b| b.map(|pair| pair.map(i16::from)));
                Some(Self::Words(words.map(WordBlock).collect()))
            }
            #[cfg(target_arch = "x86_64")]
            (Step::Bytes, Cpu::Avx2(_)) => {
                let (safe, remainders) = split(&all, shape);
                let bytes = blocks_of::<4>(&safe, shape).map(|b| from_fn(|i| b[i / 4][i % 4]));
                Some(Self::Split(bytes.map(Block).collect(), remainders))
            }
            (Step::Words | Step::Blocks | Step::Bytes, _) => None,
            (Step::Library, _) => match Kernel::new(isa) {
                Some(kernel) => Some(Self::Library(PackedWeights::new(kernel, weights)?)),
                None => None,
            },
        })
    }
}

/// Panel by panel, blocks of D depths and 16 columns, column by column. D is what an instruction adds
/// up.
// ANCHOR: blocks_of
fn blocks_of<const D: usize>(
    w: &[i8],
    [_, depth, columns]: Shape,
) -> impl Iterator<Item = [[i8; D]; COLUMNS]> {
    (0..columns).step_by(COLUMNS).flat_map(move |j| {
        let at = move |k, c| w[k * columns + j + c];
        let block = move |k| from_fn(|c| from_fn(|d| at(k + d, c)));
        (0..depth).step_by(D).map(block)
    })
}
// ANCHOR_END: blocks_of

/// The same for 4 rows of activations.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn codes_of<const D: usize, C>(a: &[u8], [_, depth, _]: Shape) -> Vec<[[C; D]; ROWS]>
where
    C: From<u8> + Copy + Default,
{
    let mut codes = vec![[[C::default(); D]; ROWS]; a.len() / (D * ROWS)];
    let tiles = codes.chunks_exact_mut(depth / D);
    for (codes, a) in tiles.zip(a.chunks_exact(ROWS * depth)) {
        for (r, row) in a.chunks_exact(depth).enumerate() {
            for (codes, group) in codes.iter_mut().zip(row.as_chunks::<D>().0) {
                codes[r] = group.map(C::from);
            }
        }
    }
    codes
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

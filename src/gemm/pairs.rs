//! Which depths share a widening.
//!
//! A masked product (see `kernel/avx2_masked.rs`) is at most 128 times the *size* of its weight, the larger of w + 1
//! and −w. So 16 bits hold the sum of any two, and of more if the sizes sum to at most 256. Here, groups of four
//! depths find partners with which, in each column, they can be added in 16 bits and widened but once. A sum may be
//! taken in any order, so each panel has its own. Chapter 17.

use super::pack::{Block, COLUMNS};

/// The most groups among which partners are sought: their positions are bytes.
pub(super) const CHUNK: usize = 1 << u8::BITS;

/// The most partners that are tried. Weights that have a partner mostly have it among the first.
const TRIES: usize = 16;

/// Weights of one panel, of as many depths as are multiplied at a time.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // elsewhere, depths are in order
pub(super) struct Part<'a> {
    pub(super) blocks: &'a [Block],
    /// How many of them are in pairs. They come first.
    pub(super) paired: usize,
    /// Which four of the activations belong to each block; none if that is the order of the depths.
    pub(super) positions: &'a [u8],
}

impl<'a> Part<'a> {
    /// Weights in the order of their depths, in no pairs.
    pub(super) fn in_order(blocks: &'a [Block]) -> Self {
        Self {
            blocks,
            paired: 0,
            positions: &[],
        }
    }
}

/// What the sizes of weights may sum to.
const LARGEST: u16 = 256;

/// In each column the sizes of the first two weights, and of the other two.
type Sizes = [u16; 2 * COLUMNS];

/// The order of a chunk of one panel, and how many are in pairs.
// ANCHOR: pair_up
pub(super) fn pair_up(blocks: &[Block]) -> (Vec<u8>, usize) {
    let sizes: Vec<Sizes> = blocks.iter().map(sizes).collect();
    let fit = |a: &usize, b: &usize| {
        let mut both = sizes[*a].iter().zip(&sizes[*b]);
        both.all(|(a, b)| a + b <= LARGEST)
    };
    let mut rest: Vec<usize> = (0..blocks.len()).collect();
    rest.sort_by_cached_key(|&group| sizes[group].iter().max());
    let (mut pairs, mut singles) = (Vec::new(), Vec::new());
    while let Some(large) = rest.pop() {
        let small = rest.iter().take(TRIES).position(|small| fit(&large, small));
        match small {
            Some(small) => pairs.extend([large, rest.remove(small)]),
            None => singles.push(large),
        }
    }
    let order = pairs.iter().chain(&singles).map(|&group| group as u8);
    (order.collect(), pairs.len())
}

fn sizes(block: &Block) -> Sizes {
    let size = |w: i8| i16::from(w).max(-1 - i16::from(w)) as u16 + 1;
    let mut sizes = [0; 2 * COLUMNS];
    for (sizes, pair) in sizes.iter_mut().zip(block.0.as_chunks::<2>().0) {
        *sizes = pair.map(size).iter().sum();
    }
    sizes
}
// ANCHOR_END: pair_up

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::gemm::pack::DEPTHS;

    /// The largest and the smallest product of a masked activation and a weight, by trying all.
    fn extremes(w: i8) -> [i32; 2] {
        let product = |a: i8| i32::from(a.unsigned_abs()) * i32::from(w ^ (a >> 7));
        let all = (i8::MIN..=i8::MAX).map(product);
        [all.clone().max(), all.min()].map(|extreme| extreme.expect("256 activations"))
    }

    #[test]
    fn all_groups_are_there_once_and_pairs_fit_16_bits() {
        let extremes: Vec<_> = (i8::MIN..=i8::MAX).map(extremes).collect();
        let extremes = |w: i8| extremes[(i32::from(w) + 128) as usize];
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(17);
        for largest in [0, 20, 63, 64, 65, 90, 128] {
            for count in [0, 1, 2, 3, 100, CHUNK] {
                let mut weight = || rng.random_range(-largest..=(largest - 1).max(0)) as i8;
                let mut block = || Block(std::array::from_fn(|_| weight()));
                let blocks: Vec<_> = (0..count).map(|_| block()).collect();
                let (order, paired) = pair_up(&blocks);
                let mut sorted = order.clone();
                sorted.sort();
                assert!(sorted.iter().map(|&group| usize::from(group)).eq(0..count));
                for pair in order[..paired].as_chunks::<2>().0 {
                    let [a, b] = pair.map(|group| blocks[usize::from(group)].0);
                    for i in (0..COLUMNS * DEPTHS).step_by(2) {
                        let ends = [a[i], a[i + 1], b[i], b[i + 1]].map(extremes);
                        for end in 0..2 {
                            let sum: i32 = ends.iter().map(|ends| ends[end]).sum();
                            assert!(i16::try_from(sum).is_ok(), "{sum}");
                        }
                    }
                }
                let expected = match largest {
                    ..=64 => count / 2 * 2, // sizes up to 64: any two fit
                    128 => 0,
                    _ => continue,
                };
                assert_eq!(paired, expected, "{largest} {count}");
            }
        }
    }
}

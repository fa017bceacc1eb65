//! Plain Rust, on any CPU.

use super::MicroKernel;
use crate::gemm::pack::{Block, COLUMNS, DEPTHS};

/// Needs no proof: every CPU has it.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Portable;

impl MicroKernel for Portable {
    const ROWS: usize = 4;
    const BLOCKS: usize = 1;
    const SATURATES: bool = false;

    fn enter<R>(self, job: impl FnOnce() -> R) -> R {
        job()
    }

    fn multiply(self, rows: usize, a: &[[u8; DEPTHS]], b: &[Block], tile: &mut [i32]) {
        for (a, Block(b)) in a.chunks_exact(rows).zip(b) {
            for (a, sums) in a.iter().zip(tile.chunks_exact_mut(COLUMNS)) {
                for (sum, b) in sums.iter_mut().zip(b.as_chunks::<DEPTHS>().0) {
                    for k in 0..DEPTHS {
                        *sum = sum.wrapping_add(i32::from(a[k]) * i32::from(b[k]));
                    }
                }
            }
        }
    }
}

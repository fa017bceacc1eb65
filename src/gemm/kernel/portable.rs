//! Plain Rust, on any CPU.

use super::{MicroKernel, SumRow, Task};
use crate::gemm::pack::{Block, COLUMNS, DEPTHS};
use crate::gemm::pairs::Part;

/// Needs no proof: every CPU has it.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Portable;

impl MicroKernel for Portable {
    const ROWS: usize = 4;
    const BLOCKS: usize = 1;
    type Activation = u8;

    fn activations<'a>(self, bytes: &'a [u8], _room: &'a mut Vec<u8>) -> &'a [u8] {
        bytes
    }

    fn enter<T: Task>(self, task: T) {
        task.run();
    }

    fn multiply(self, a: &[u8], stride: usize, part: Part<'_>, sums: &mut [SumRow], at: usize) {
        let b = part.blocks;
        for (r, sums) in sums.iter_mut().enumerate() {
            let sums = &mut sums[at..at + COLUMNS];
            for (a, Block(b)) in a[r * stride..].as_chunks::<DEPTHS>().0.iter().zip(b) {
                for (sum, b) in sums.iter_mut().zip(b.as_chunks::<DEPTHS>().0) {
                    for k in 0..DEPTHS {
                        *sum = sum.wrapping_add(i32::from(a[k]) * i32::from(b[k]));
                    }
                }
            }
        }
    }
}

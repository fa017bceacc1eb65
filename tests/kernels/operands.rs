//! Matrices to multiply: random ones, and the ugliest.

use fewer_bits::Isa;
use fewer_bits::gemm::Kernel;
use ndarray::Array2;
use rand::distr::{Distribution, StandardUniform};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// All kernels that this machine can run, the portable one always among them.
pub(crate) fn kernels() -> Vec<Kernel> {
    let kernels: Vec<_> = Isa::ALL.into_iter().flat_map(Kernel::all).collect();
    assert!(kernels.iter().any(|kernel| kernel.isa() == Isa::Portable));
    kernels
}

/// Uniform over all values of the type.
pub(crate) fn uniform<T>(seed: u64, rows: usize, columns: usize) -> Array2<T>
where
    StandardUniform: Distribution<T>,
{
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_simple_fn((rows, columns), || rng.random())
}

//! The specification: three loops that a reader can check by eye.
//!
//! Every kernel, on every instruction set, equals this function bit for bit.

use ndarray::{Array2, ArrayView2};

/// Σₖ (a\[i, k\] − a_zero)·(b\[k, j\] − b_zero), exactly, as ONNX's `MatMulInteger` defines it.
///
/// `a` is \[M, K\], `b` is \[K, N\], the result \[M, N\]. Sums that do not fit i32 wrap, as all
/// arithmetic modulo 2³² does; [`PackedWeights`](super::PackedWeights) refuses depths at which that
/// could happen.
pub fn reference<A, B>(
    a: ArrayView2<'_, A>,
    a_zero: i32,
    b: ArrayView2<'_, B>,
    b_zero: i32,
) -> Array2<i32>
where
    A: Copy + Into<i32>,
    B: Copy + Into<i32>,
{
    Array2::from_shape_fn((a.nrows(), b.ncols()), |(i, j)| {
        let mut sum = 0i32;
        for k in 0..a.ncols().min(b.nrows()) {
            let product = (a[(i, k)].into() - a_zero) * (b[(k, j)].into() - b_zero);
            sum = sum.wrapping_add(product);
        }
        sum
    })
}

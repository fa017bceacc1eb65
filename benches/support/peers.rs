//! Other people's products, each in the way that its documentation recommends.

use std::sync::Arc;

use faer::{Accum, MatMut, MatRef, Par};
use gemm::Parallelism;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayViewMut2};
use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_tensor::NdTensorView;

use super::Contender;

/// The f32 products of \[M, K\] by each of `weights` in turn, all \[K, N\] and in standard layout.
/// Each contender has copies of its own, and finds none in a cache because another one read them.
pub fn float(a: &Arc<Array2<f32>>, weights: &[Array2<f32>], threads: usize) -> Vec<Contender<f32>> {
    let mut all = vec![
        with_gemm(a.clone(), weights.to_vec(), threads),
        with_faer(a.clone(), weights.to_vec(), threads),
        with_rten(a.clone(), weights.to_vec()),
    ];
    if threads == 1 {
        all.push(with_matrixmultiply(a.clone(), weights.to_vec()));
    }
    all
}

/// matrixmultiply, which ndarray's `dot` calls (and for one row its own loop).
fn with_matrixmultiply(a: Arc<Array2<f32>>, weights: Vec<Array2<f32>>) -> Contender<f32> {
    let mut turns = (0..weights.len()).cycle();
    Contender::new("matrixmultiply", move |out| {
        by_matrixmultiply(&a, &weights[turns.next().unwrap()], out);
    })
}

fn with_gemm(a: Arc<Array2<f32>>, weights: Vec<Array2<f32>>, threads: usize) -> Contender<f32> {
    let parallelism = match threads {
        1 => Parallelism::None,
        _ => Parallelism::Rayon(threads),
    };
    let mut turns = (0..weights.len()).cycle();
    Contender::new("gemm", move |out| {
        by_gemm(&a, &weights[turns.next().unwrap()], out, parallelism);
    })
}

/// The product of two matrices in standard layout, by the crate matrixmultiply.
pub fn by_matrixmultiply(a: &Array2<f32>, b: &Array2<f32>, out: &mut [f32]) {
    let mut out = ArrayViewMut2::from_shape((a.nrows(), b.ncols()), out).unwrap();
    general_mat_mul(1.0, a, b, 0.0, &mut out);
}

/// The product of two matrices in standard layout, by the crate gemm.
pub fn by_gemm(a: &Array2<f32>, b: &Array2<f32>, out: &mut [f32], parallelism: Parallelism) {
    let ((m, k), n) = (a.dim(), b.ncols());
    let (a, b) = (a.as_slice().unwrap(), b.as_slice().unwrap());
    assert!(a.len() == m * k && b.len() == k * n && out.len() == m * n);
    // SAFETY: by the line above, all elements of three row-major matrices of these shapes lie
    // inside their slices; `out` is borrowed mutably, so it is none of the others.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            1,
            k as isize,
            b.as_ptr(),
            1,
            n as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

fn with_faer(a: Arc<Array2<f32>>, weights: Vec<Array2<f32>>, threads: usize) -> Contender<f32> {
    let par = match threads {
        1 => Par::Seq,
        _ => Par::rayon(threads),
    };
    let mut turns = (0..weights.len()).cycle();
    Contender::new("faer", move |out| {
        let b = &weights[turns.next().unwrap()];
        let ((m, k), n) = (a.dim(), b.ncols());
        faer::linalg::matmul::matmul(
            MatMut::from_row_major_slice_mut(out, m, n),
            Accum::Replace,
            MatRef::from_row_major_slice(a.as_slice().unwrap(), m, k),
            MatRef::from_row_major_slice(b.as_slice().unwrap(), k, n),
            1.0,
            par,
        );
    })
}

/// rten-gemm, with weights packed beforehand; for one row it is faster with plain ones.
fn with_rten(a: Arc<Array2<f32>>, weights: Vec<Array2<f32>>) -> Contender<f32> {
    let packed: Vec<_> = weights
        .iter()
        .filter(|_| a.nrows() > 1)
        .map(|b| GemmExecutor::<f32>::new().prepack_b(view(b)))
        .collect();
    let mut turns = (0..weights.len()).cycle();
    Contender::new("rten-gemm", move |out| {
        let turn = turns.next().unwrap();
        let b = match packed.get(turn) {
            Some(packed) => GemmInputB::Packed(packed),
            None => GemmInputB::Unpacked(view(&weights[turn])),
        };
        let a = GemmInputA::Unpacked(view(&a));
        let executor = GemmExecutor::<f32>::new();
        executor.gemm(out, a, b, GemmOptions::default()).unwrap();
    })
}

/// rten-gemm's product of unsigned by signed bytes. Without VNNI its sums saturate.
pub fn int8(a: &Arc<Array2<u8>>, weights: &Arc<Vec<Array2<i8>>>) -> Contender<i32> {
    type Executor = GemmExecutor<u8, i8, i32>;
    let (a, weights) = (a.clone(), weights.clone());
    let packed: Vec<_> = weights
        .iter()
        .filter(|_| a.nrows() > 1)
        .map(|b| Executor::new().prepack_b(view(b)))
        .collect();
    let mut turns = (0..weights.len()).cycle();
    Contender::new("rten-gemm", move |out| {
        let turn = turns.next().unwrap();
        let b = match packed.get(turn) {
            Some(packed) => GemmInputB::Packed(packed),
            None => GemmInputB::Unpacked(view(&weights[turn])),
        };
        let a = GemmInputA::Unpacked(view(&a));
        let executor = Executor::new();
        executor.gemm(out, a, b, GemmOptions::default()).unwrap();
    })
}

fn view<T>(matrix: &Array2<T>) -> NdTensorView<'_, T, 2> {
    NdTensorView::from_data([matrix.nrows(), matrix.ncols()], matrix.as_slice().unwrap())
}

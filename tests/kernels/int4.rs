//! 4-bit weights with a scale for each group.

use fewer_bits::Error;
use fewer_bits::gemm::int4::RealOutput;
use fewer_bits::gemm::{Activations, Kernel, PackedWeights4};
use ndarray::{Array2, ArrayView2};
use proptest::prelude::*;

use crate::operands::{kernels, uniform};

/// The definition: exact sums of groups, converted, scaled and added one after the other.
fn reference(
    (a, zero): (ArrayView2<'_, u8>, u8),
    (codes, scales, group): (ArrayView2<'_, i8>, ArrayView2<'_, f32>, usize),
    output: RealOutput<'_>,
) -> Array2<f32> {
    Array2::from_shape_fn((a.nrows(), codes.ncols()), |(i, j)| {
        let mut sum = 0.0f32;
        for g in 0..scales.nrows() {
            let depths = g * group..a.ncols().min((g + 1) * group);
            let products =
                depths.map(|k| (i32::from(a[(i, k)]) - i32::from(zero)) * i32::from(codes[(k, j)]));
            sum += products.sum::<i32>() as f32 * scales[(g, j)];
        }
        let y = sum * output.row_scales[i % output.row_scales.len()];
        let y = output.bias.get(j).map_or(y, |bias| y + bias);
        if output.relu { y.max(0.0) } else { y }
    })
}

fn all_equal_the_reference(
    (rows, depth, columns): (usize, usize, usize),
    group: usize,
    zero: u8,
    seed: u64,
    code: impl Fn(i8) -> i8,
) {
    let a: Array2<u8> = uniform(seed, rows, depth);
    let codes = uniform::<i8>(seed + 1, depth, columns).mapv(code);
    let scales =
        uniform::<u8>(seed + 2, depth.div_ceil(group), columns).mapv(|s| f32::from(s) / 99.0);
    let row_scales: Vec<f32> = (0..rows).map(|i| 0.1 + i as f32 / 7.0).collect();
    let bias: Vec<f32> = (0..columns).map(|j| 5.0 - j as f32).collect();
    let one = [0.3];
    for (row_scales, bias, relu) in [(&row_scales[..], &bias[..], true), (&one, &[], false)] {
        let output = RealOutput {
            row_scales,
            bias,
            relu,
        };
        let expected = reference(
            (a.view(), zero),
            (codes.view(), scales.view(), group),
            output,
        );
        for kernel in kernels() {
            let packed = PackedWeights4::new(kernel, codes.view(), scales.view(), group).unwrap();
            let mut out = Array2::zeros((rows, columns));
            let activations = Activations::u8(a.view(), zero);
            packed
                .multiply(&activations, output, out.view_mut())
                .unwrap();
            let same = out
                .iter()
                .zip(&expected)
                .all(|(x, y)| x.to_bits() == y.to_bits());
            assert!(
                same,
                "{} {rows} × {depth} × {columns}, group {group}",
                kernel.isa()
            );
        }
    }
}

#[test]
fn every_kernel_equals_the_reference_at_edges() {
    for group in [1, 3, 4, 16, 31, 32, 33, 64, 1000] {
        for shape in [
            (1, 64, 64),
            (1, 70, 33),
            (5, 129, 17),
            (13, 64, 48),
            (100, 200, 65),
            (2, 1, 1),
        ] {
            all_equal_the_reference(shape, group, 117, 1, |code| code >> 4);
        }
    }
    all_equal_the_reference((0, 5, 3), 2, 0, 1, |code| code >> 4);
    all_equal_the_reference((3, 0, 3), 2, 0, 1, |code| code >> 4);
    all_equal_the_reference((3, 5, 0), 2, 0, 1, |code| code >> 4);
}

#[test]
fn extremes_do_not_saturate() {
    for code in [-8, 7] {
        for zero in [0, 255] {
            all_equal_the_reference((7, 300, 20), 300, zero, 3, |_| code);
        }
    }
    let a = Array2::from_elem((6, 256), 255u8);
    let codes = Array2::from_elem((256, 16), -8i8);
    for kernel in kernels() {
        let packed = PackedWeights4::new(kernel, codes.view(), Array2::ones((1, 16)).view(), 256);
        let mut out = Array2::zeros((6, 16));
        let output = RealOutput {
            row_scales: &[1.0],
            bias: &[],
            relu: false,
        };
        packed
            .unwrap()
            .multiply(&Activations::u8(a.view(), 0), output, out.view_mut())
            .unwrap();
        assert!(out.iter().all(|&y| y == -522_240.0), "{}", kernel.isa());
    }
}

#[test]
fn bad_weights_are_refused() {
    let new = |codes: &Array2<i8>, scales: &Array2<f32>, group| {
        PackedWeights4::new(Kernel::best(), codes.view(), scales.view(), group).unwrap_err()
    };
    let (codes, scales) = (Array2::zeros((4, 3)), Array2::ones((2, 3)));
    assert_eq!(new(&codes, &scales, 0), Error::InvalidGroupSize { size: 0 });
    assert!(matches!(
        new(&codes, &scales, 4),
        Error::ShapeMismatch { .. }
    ));
    let mut wide = codes.clone();
    wide[(1, 2)] = 8;
    assert!(matches!(
        new(&wide, &scales, 2),
        Error::CodeOutOfRange {
            index: 5,
            code: 8,
            ..
        }
    ));
    let mut infinite = scales.clone();
    infinite[(1, 0)] = f32::INFINITY;
    assert!(matches!(
        new(&codes, &infinite, 2),
        Error::InvalidScale { .. }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_kernel_equals_the_reference(
        shape in (1usize..40, 1usize..300, 1usize..70),
        group in 1usize..80,
        zero: u8,
        seed in 0u64..1000,
    ) {
        all_equal_the_reference(shape, group, zero, seed, |code| code >> 4);
    }
}

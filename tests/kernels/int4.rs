//! 4-bit weights with a scale for each group.

use fewer_bits::Error;
use fewer_bits::gemm::int4::RealOutput;
use fewer_bits::gemm::{Activations, Kernel, PackedWeights4};
use ndarray::{Array2, ArrayView2};
use proptest::prelude::*;

use crate::operands::{kernels, uniform};

/// The definition: exact sums of groups, converted, scaled and added one after the other.
fn reference(
    (a, zeros): (ArrayView2<'_, u8>, &[i32]),
    (codes, scales, group): (ArrayView2<'_, i8>, ArrayView2<'_, f32>, usize),
    output: RealOutput<'_>,
) -> Array2<f32> {
    Array2::from_shape_fn((a.nrows(), codes.ncols()), |(i, j)| {
        let zero = zeros[i % zeros.len()];
        let mut sum = 0.0f32;
        for g in 0..scales.nrows() {
            let depths = g * group..a.ncols().min((g + 1).saturating_mul(group));
            let products = depths.map(|k| (i32::from(a[(i, k)]) - zero) * i32::from(codes[(k, j)]));
            sum += products.sum::<i32>() as f32 * scales[(g, j)];
        }
        let y = sum * output.row_scales[i % output.row_scales.len()];
        let y = output.bias.get(j).map_or(y, |bias| y + bias);
        if output.relu && y < 0.0 { 0.0 } else { y }
    })
}

/// Unsigned and signed activations, with a zero point for all and with one for each row.
fn all_equal_the_reference(
    (rows, depth, columns): (usize, usize, usize),
    group: usize,
    zero: u8,
    seed: u64,
    code: impl Fn(i8) -> i8,
    scale: impl Fn(u32) -> f32,
) {
    let a: Array2<u8> = uniform(seed, rows, depth);
    let signed = a.mapv(|a| (a ^ 0x80) as i8);
    let codes = uniform::<i8>(seed + 1, depth, columns).mapv(code);
    let scales = uniform(seed + 2, depth.div_ceil(group), columns).mapv(scale);
    let row_scales: Vec<f32> = (0..rows).map(|i| 0.1 + i as f32 / 7.0).collect();
    let bias: Vec<f32> = (0..columns).map(|j| 5.0 - j as f32).collect();
    let zero_of = |i| (i32::from(zero) + 37 * i as i32) % 256;
    let zeros: Vec<i32> = (0..rows).map(zero_of).collect();
    let signed_zeros: Vec<i32> = zeros.iter().map(|zero| zero - 128).collect();
    for (row_scales, bias, relu) in [(&row_scales[..], &bias[..], true), (&[0.3], &[], false)] {
        let output = RealOutput {
            row_scales,
            bias,
            relu,
        };
        let weights = (codes.view(), scales.view(), group);
        let expected = reference((a.view(), &[zero.into()]), weights, output);
        let of_rows = reference((a.view(), &zeros), weights, output);
        let (u8s, i8s) = (
            Activations::u8(a.view(), zero),
            Activations::i8(signed.view(), (zero ^ 0x80) as i8),
        );
        for kernel in kernels() {
            let packed = PackedWeights4::new(kernel, codes.view(), scales.view(), group).unwrap();
            for (activations, expected) in [
                (u8s.clone(), &expected),
                (i8s.clone(), &expected),
                (u8s.clone().with_row_zero_points(&zeros).unwrap(), &of_rows),
                (
                    i8s.clone().with_row_zero_points(&signed_zeros).unwrap(),
                    &of_rows,
                ),
            ] {
                let mut out = Array2::zeros((rows, columns));
                packed
                    .multiply(&activations, output, out.view_mut())
                    .unwrap();
                assert!(
                    out.iter().zip(expected).all(same),
                    "{} {rows} × {depth} × {columns}, group {group}",
                    kernel.isa()
                );
            }
        }
    }
}

/// Bit for bit; but which NaN it is, nothing says.
fn same((x, y): (&f32, &f32)) -> bool {
    x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan()
}

/// Between −8 and 7.
fn four_bits(code: i8) -> i8 {
    code >> 4
}

/// Between −0.3 and 0.7.
fn tame(bits: u32) -> f32 {
    bits as f32 / u32::MAX as f32 - 0.3
}

/// Finite numbers of either sign, denormal ones and the largest among them: sums may overflow, and
/// be NaN then.
fn wild(bits: u32) -> f32 {
    let exponents = [0, 1, 100, 127, 150, 254];
    let exponent = exponents[bits as usize % exponents.len()];
    f32::from_bits(bits & 0x807f_ffff | exponent << 23)
}

#[test]
fn every_kernel_equals_the_reference_at_edges() {
    for group in [1, 3, 4, 16, 31, 32, 33, 64, 1000, usize::MAX] {
        for shape in [
            (1, 64, 64),
            (1, 70, 33),
            (5, 129, 17),
            (13, 64, 48),
            (100, 200, 65),
            (2, 1, 1),
        ] {
            all_equal_the_reference(shape, group, 117, 1, four_bits, tame);
        }
    }
    all_equal_the_reference((0, 5, 3), 2, 0, 1, four_bits, tame);
    all_equal_the_reference((3, 0, 3), 2, 0, 1, four_bits, tame);
    all_equal_the_reference((3, 5, 0), 2, 0, 1, four_bits, tame);
}

#[test]
fn every_kernel_equals_the_reference_around_each_tile_edge() {
    for rows in 1..=14 {
        for (at, columns) in [1, 15, 16, 17, 31, 32, 33, 63, 64, 65]
            .into_iter()
            .enumerate()
        {
            // Each height and width meets groups of one, of a few, and of more than eight times four.
            let depth = [1, 5, 38, 71][(rows + at) % 4];
            let group = [1, 2, 7, 35][(rows + at / 2) % 4];
            all_equal_the_reference((rows, depth, columns), group, 200, 5, four_bits, tame);
        }
    }
}

#[test]
fn sums_that_f32_cannot_hold_are_rounded_alike() {
    // 65 793 products reach 2²⁷, and f32 has 24 bits.
    let depth = fewer_bits::gemm::MAX_DEPTH;
    for group in [depth, depth / 2 + 1] {
        all_equal_the_reference((2, depth, 3), group, 3, 7, |code| code >> 6, tame);
        all_equal_the_reference((2, depth, 3), group, 3, 7, |code| -7 + (code & 1), tame);
    }
    for shape in [(1, 40, 33), (7, 40, 33), (13, 40, 33)] {
        all_equal_the_reference(shape, 3, 100, 8, four_bits, wild);
    }
}

#[test]
fn relu_does_not_hide_a_bias_that_is_not_a_number() {
    let codes = Array2::from_elem((4, 3), -1i8);
    let a = Array2::from_elem((2, 4), 9u8);
    let output = RealOutput {
        row_scales: &[1.0],
        bias: &[0.0, f32::NAN, 50.0],
        relu: true,
    };
    for kernel in kernels() {
        let scales = Array2::ones((1, 3));
        let packed = PackedWeights4::new(kernel, codes.view(), scales.view(), 4).unwrap();
        let mut out = Array2::zeros((2, 3));
        packed
            .multiply(&Activations::u8(a.view(), 0), output, out.view_mut())
            .unwrap();
        for row in out.rows() {
            assert!(row[0] == 0.0 && row[1].is_nan() && row[2] == 14.0, "{row}");
        }
    }
}

#[test]
fn extremes_do_not_saturate() {
    for code in [-8, 7] {
        for zero in [0, 255] {
            all_equal_the_reference((7, 300, 20), 300, zero, 3, |_| code, tame);
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
        all_equal_the_reference(shape, group, zero, seed, four_bits, tame);
    }

    #[test]
    fn every_kernel_rounds_in_the_same_order_as_the_reference(
        (rows, depth) in (1usize..15, 1usize..=300),
        (edge, past) in (prop::sample::select(vec![16usize, 32, 64, 96]), 0usize..3),
        group in 1usize..=70,
        zero: u8,
        seed in 0u64..1000,
    ) {
        let shape = (rows, depth, edge + past - 1);
        all_equal_the_reference(shape, group, zero, seed, four_bits, wild);
    }
}

//! The matrix product.

use fewer_bits::gemm::{
    Activations, Kernel, MAX_DEPTH, MAX_DEPTH_WITH_ZERO_POINTS, PackedWeights, reference,
};
use fewer_bits::{Error, Isa};
use ndarray::{Array2, ArrayView2, s};
use proptest::prelude::*;

use crate::operands::{kernels, uniform};

/// Multiplies on every instruction set, and compares with the reference.
fn all_equal_the_reference(a: ArrayView2<'_, u8>, a_zero: u8, b: ArrayView2<'_, i8>) {
    let expected = reference(a, a_zero.into(), b, 0);
    for kernel in kernels() {
        let packed = PackedWeights::new(kernel, b).unwrap();
        let product = packed.product(Activations::u8(a, a_zero)).unwrap();
        assert!(
            product == expected,
            "{} differs for {:?} by {:?}",
            kernel.isa(),
            a.dim(),
            b.dim()
        );
    }
}

/// The same for signed activations.
fn all_equal_the_reference_signed(a: ArrayView2<'_, i8>, a_zero: i8, b: ArrayView2<'_, i8>) {
    let expected = reference(a, a_zero.into(), b, 0);
    for kernel in kernels() {
        let packed = PackedWeights::new(kernel, b).unwrap();
        let product = packed.product(Activations::i8(a, a_zero)).unwrap();
        assert!(
            product == expected,
            "{} {:?} {:?}",
            kernel.isa(),
            a.dim(),
            b.dim()
        );
    }
}

#[test]
fn the_instruction_sets_that_were_expected_were_tested_and_no_other() {
    let mut tested: Vec<_> = kernels().iter().map(|kernel| kernel.isa().name()).collect();
    tested.dedup();
    println!("kernels tested on: {}", tested.join(", "));
    if let Ok(expected) = std::env::var("EXPECT_ISA") {
        let mut expected: Vec<_> = expected.split(',').collect();
        expected.sort();
        tested.sort();
        assert_eq!(tested, expected);
    }
}

#[test]
fn each_kernel_has_a_name_and_the_first_of_an_instruction_set_is_new() {
    let all = kernels();
    let names: std::collections::HashSet<_> = all.iter().map(|kernel| kernel.name()).collect();
    assert_eq!(names.len(), all.len());
    for isa in Isa::ALL {
        let (all, new) = (Kernel::all(isa), Kernel::new(isa));
        assert_eq!(all.first().map(|k| k.name()), new.map(|k| k.name()));
        assert!(all.iter().all(|kernel| kernel.isa() == isa));
        let most = if isa == Isa::Avx2 { 2 } else { 1 };
        assert_eq!(all.len(), new.map_or(0, |_| most));
    }
}

#[test]
fn every_kernel_equals_the_reference_around_each_tile_edge() {
    let around = [
        0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 15, 16, 17, 31, 32, 33, 47, 65,
    ];
    let depths = around
        .into_iter()
        .chain([60, 63, 64, 66, 127, 128, 132, 191]);
    let depths: Vec<_> = depths.collect();
    for (i, &rows) in around.iter().enumerate() {
        for (j, &columns) in around.iter().enumerate() {
            let seed = (100 * i + j) as u64;
            let depth = depths[(7 * i + 3 * j) % depths.len()];
            let a = uniform(seed, rows, depth);
            let b = uniform(seed + 10_000, depth, columns);
            all_equal_the_reference(a.view(), 117, b.view());
        }
    }
}

#[test]
fn every_kernel_equals_the_reference_beyond_one_block() {
    for (rows, depth, columns) in [
        (97, 1030, 40),
        (200, 64, 33),
        (7, 2049, 18),
        (70, 4100, 5),
        (289, 700, 70),
    ] {
        let a = uniform(1, rows, depth);
        let b = uniform(2, depth, columns);
        all_equal_the_reference(a.view(), 3, b.view());
    }
}

#[test]
fn extremes_do_not_saturate() {
    let weights = [
        [-128; 4],
        [127; 4],
        [-128, 127, -128, 127],
        [127, 127, -128, -128],
    ];
    for rows in [1, 5, 8, 40] {
        for a in [0u8, 127, 128, 255] {
            for b in weights {
                let a = Array2::from_elem((rows, 66), a);
                let b = Array2::from_shape_fn((66, 35), |(k, _)| b[k % 4]);
                for zero in [0, 255] {
                    all_equal_the_reference(a.view(), zero, b.view());
                }
            }
        }
        for a in [-128i8, -1, 127] {
            for b in weights {
                let a = Array2::from_elem((rows, 66), a);
                let b = Array2::from_shape_fn((66, 35), |(k, _)| b[k % 4]);
                for zero in [-128, 127] {
                    all_equal_the_reference_signed(a.view(), zero, b.view());
                }
            }
        }
    }
}

#[test]
fn the_deepest_product_is_exact_and_a_deeper_one_is_refused() {
    assert_eq!(MAX_DEPTH, 65_793);
    let a = Array2::from_elem((2, MAX_DEPTH), 255u8);
    let b = Array2::from_elem((MAX_DEPTH, 3), -128i8);
    all_equal_the_reference(a.view(), 0, b.view());
    for kernel in kernels() {
        for depth in [MAX_DEPTH + 1, 70_000] {
            let refused = PackedWeights::new(kernel, Array2::zeros((depth, 1)).view());
            let max = MAX_DEPTH;
            assert_eq!(refused.unwrap_err(), Error::DepthTooLarge { depth, max });
        }
    }
}

#[test]
fn weights_with_zero_points_follow_the_reference() {
    assert_eq!(MAX_DEPTH_WITH_ZERO_POINTS, 33_025);
    for (rows, depth, columns) in [(1, 5, 3), (6, 40, 17), (37, 129, 34)] {
        let a: Array2<u8> = uniform(1, rows, depth);
        let b: Array2<i8> = uniform(2, depth, columns);
        let zeros: Vec<i32> = (0..columns).map(|j| (j as i32 * 37) % 256 - 128).collect();
        for kernel in kernels() {
            let packed = PackedWeights::with_zero_points(kernel, b.view(), &zeros).unwrap();
            let product = packed.product(Activations::u8(a.view(), 77)).unwrap();
            for (j, &zero) in zeros.iter().enumerate() {
                let expected = reference(a.view(), 77, b.slice(s![.., j..j + 1]), zero);
                assert!(product.column(j) == expected.column(0), "{}", kernel.isa());
            }
        }
    }
}

#[test]
fn a_row_may_have_its_own_zero_point() {
    let a: Array2<i8> = uniform(3, 9, 21);
    let b: Array2<i8> = uniform(4, 21, 20);
    let zeros: Vec<i32> = (0..9).map(|i| i * 30 - 128).collect();
    for kernel in kernels() {
        let packed = PackedWeights::new(kernel, b.view()).unwrap();
        let activations = Activations::i8(a.view(), 0)
            .with_row_zero_points(&zeros)
            .unwrap();
        let product = packed.product(activations).unwrap();
        for (i, &zero) in zeros.iter().enumerate() {
            let expected = reference(a.slice(s![i..i + 1, ..]), zero, b.view(), 0);
            assert_eq!(product.row(i), expected.row(0), "{}", kernel.isa());
        }
    }
}

/// Four weights of 63 or −64 are the largest whose products with any activations 16 bits hold.
#[test]
fn weights_that_are_nearly_too_large_to_be_summed_in_16_bits_do_not_saturate() {
    for (rows, depth, columns) in [(1, 64, 64), (3, 40, 17), (70, 1100, 33)] {
        for weight in [-65i8, -64, -63, 62, 63, 64] {
            for code in [0u8, 1, 127, 128, 255] {
                let a = Array2::from_elem((rows, depth), code);
                let b = Array2::from_elem((depth, columns), weight);
                all_equal_the_reference(a.view(), 128, b.view());
                let b = Array2::from_shape_fn(b.dim(), |(k, j)| match (k + j) % 3 {
                    0 => -1 - weight,
                    _ => weight,
                });
                all_equal_the_reference(a.view(), 0, b.view());
            }
        }
    }
    // One size more than fits: 128·(64 + 64 + 64 + 65) is 32 896.
    let b = Array2::from_shape_fn((40, 16), |(k, _)| if k % 8 == 7 { 64 } else { 63 });
    all_equal_the_reference(Array2::zeros((5, 40)).view(), 128, b.view());
}

#[test]
fn strides_do_not_matter() {
    let a: Array2<u8> = uniform(5, 40, 34);
    let b: Array2<i8> = uniform(6, 38, 40);
    all_equal_the_reference(a.slice(s![..;2, 1..;3]), 9, b.slice(s![..11, ..]));
    all_equal_the_reference(a.t(), 9, b.t().slice(s![.., ..;-2]));
    for kernel in kernels() {
        let packed = PackedWeights::new(kernel, b.slice(s![..34, ..])).unwrap();
        let expected = reference(a.view(), 9, b.slice(s![..34, ..]), 0);
        let mut wide = Array2::zeros((40, 100));
        let mut tall = Array2::zeros((40, 40));
        let activations = Activations::u8(a.view(), 9);
        let sums = fewer_bits::gemm::epilogue::Sums;
        packed
            .multiply(&activations, &sums, wide.slice_mut(s![.., 7..47]))
            .unwrap();
        packed
            .multiply(&activations, &sums, tall.view_mut().reversed_axes())
            .unwrap();
        assert_eq!(wide.slice(s![.., 7..47]), expected);
        assert_eq!(tall.t(), expected);
        assert!(
            wide.slice(s![.., ..7])
                .iter()
                .chain(wide.slice(s![.., 47..]))
                .all(|&v| v == 0)
        );
    }
}

// ANCHOR: the_number_of_threads_does_not_matter
#[test]
fn the_number_of_threads_does_not_matter() {
    for [rows, depth, columns] in [[200, 300, 70], [3, 2000, 400], [65, 1100, 31]] {
        let a: Array2<u8> = uniform(7, rows, depth);
        let b: Array2<i8> = uniform(8, depth, columns);
        let expected = reference(a.view(), 130, b.view(), 0);
        for kernel in kernels() {
            let packed = PackedWeights::new(kernel, b.view()).unwrap();
            for threads in [1, 2, 3, 7] {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                let a = Activations::u8(a.view(), 130);
                let product = pool.install(|| packed.product(a)).unwrap();
                assert!(product == expected, "{} on {threads}", kernel.isa());
            }
        }
    }
}
// ANCHOR_END: the_number_of_threads_does_not_matter

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let packed = PackedWeights::new(Kernel::best(), Array2::zeros((3, 4)).view()).unwrap();
    let a = Array2::<u8>::zeros((2, 5));
    assert_eq!(
        packed.product(Activations::u8(a.view(), 0)).unwrap_err(),
        Error::ShapeMismatch {
            what: "activations",
            expected: vec![2, 3],
            actual: vec![2, 5]
        }
    );
    let mut out = Array2::zeros((2, 3));
    let a = Array2::<u8>::zeros((2, 3));
    let sums = fewer_bits::gemm::epilogue::Sums;
    let refused = packed.multiply(&Activations::u8(a.view(), 0), &sums, out.view_mut());
    assert!(matches!(
        refused,
        Err(Error::ShapeMismatch {
            what: "the product",
            ..
        })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_kernel_equals_the_reference(
        (rows, depth, columns) in (0usize..50, 0usize..300, 0usize..70),
        seed: u64,
        zero: u8,
    ) {
        let a = uniform(seed, rows, depth);
        let b = uniform(seed ^ 1, depth, columns);
        all_equal_the_reference(a.view(), zero, b.view());
    }

    #[test]
    fn every_kernel_equals_the_reference_on_signed_activations(
        (rows, depth, columns) in (0usize..50, 0usize..300, 0usize..70),
        seed: u64,
        zero: i8,
    ) {
        let a = uniform(seed, rows, depth);
        let b = uniform(seed ^ 1, depth, columns);
        all_equal_the_reference_signed(a.view(), zero, b.view());
    }
}

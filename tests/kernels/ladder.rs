//! The steps of chapter 17's ladder.

use fewer_bits::gemm::ladder::{Ready, Step, split_pair};
use fewer_bits::gemm::{Kernel, MAX_DEPTH, reference};
use fewer_bits::{Error, Isa};
use ndarray::{Array2, ArrayView2, s};
use proptest::prelude::*;

use crate::operands::uniform;

/// The steps that this machine can take with these weights, compiled for all that it has.
fn steps(weights: ArrayView2<'_, i8>) -> Vec<(Isa, Ready)> {
    let all = Isa::ALL
        .into_iter()
        .flat_map(|isa| Step::ALL.map(|step| (isa, step)));
    let ready = |(isa, step): (Isa, Step)| Some((isa, step.ready(isa, weights).unwrap()?));
    all.filter_map(ready).collect()
}

// ANCHOR: steps_equal_the_reference
fn steps_equal_the_reference(a: ArrayView2<'_, u8>, zero: u8, w: ArrayView2<'_, i8>) {
    let expected = reference(a, zero.into(), w, 0);
    for (isa, ready) in steps(w) {
        let mut sums = Array2::from_elem(expected.dim(), 77);
        ready.multiply(a, zero, sums.view_mut()).unwrap();
        let (step, shape) = (ready.step(), (a.dim(), w.dim()));
        assert!(sums == expected, "{step:?} on {isa} differs for {shape:?}");
    }
}
// ANCHOR_END: steps_equal_the_reference

#[test]
fn the_steps_that_a_machine_offers_are_those_of_its_instruction_sets() {
    let w = Array2::<i8>::zeros((3, 4));
    let offered = |isa| steps(w.view()).iter().filter(|(i, _)| *i == isa).count();
    assert_eq!(offered(Isa::Portable), 5);
    for isa in Isa::ALL.into_iter().filter(|&isa| isa != Isa::Portable) {
        let expected = match (Kernel::new(isa), isa) {
            (None, _) => 0,
            (Some(_), Isa::Avx2) => 8,
            (Some(_), _) => 1,
        };
        assert_eq!(offered(isa), expected, "{isa}");
    }
}

#[test]
fn every_step_equals_the_reference_around_each_tile_edge() {
    let around = [0, 1, 2, 3, 4, 5, 8, 15, 16, 17, 33];
    for (i, &rows) in around.iter().enumerate() {
        for (j, &columns) in around.iter().enumerate() {
            let depth = around[(7 * i + 3 * j) % around.len()];
            let a = uniform(i as u64, rows, depth);
            let w = uniform(100 + j as u64, depth, columns);
            steps_equal_the_reference(a.view(), 117, w.view());
        }
    }
}

#[test]
fn every_step_equals_the_reference_beyond_one_block() {
    for (rows, depth, columns) in [(47, 511, 16), (48, 512, 17), (49, 513, 3), (97, 1027, 33)] {
        let a = uniform(1, rows, depth);
        let w = uniform(2, depth, columns);
        steps_equal_the_reference(a.view(), 3, w.view());
    }
}

#[test]
fn no_step_saturates_on_extremes() {
    let weights = [
        [-128; 4],
        [127; 4],
        [-128, 127, -128, 127],
        [127, 127, -128, -128],
    ];
    for a in [0u8, 127, 128, 255] {
        for w in weights {
            let a = Array2::from_elem((5, 66), a);
            let w = Array2::from_shape_fn((66, 18), |(k, _)| w[k % 4]);
            for zero in [0, 255] {
                steps_equal_the_reference(a.view(), zero, w.view());
            }
        }
    }
}

#[test]
fn strides_do_not_matter() {
    let a: Array2<u8> = uniform(5, 40, 34);
    let w: Array2<i8> = uniform(6, 38, 40);
    steps_equal_the_reference(a.slice(s![..;2, 1..;3]), 9, w.slice(s![..11, ..]));
    steps_equal_the_reference(a.t(), 9, w.t().slice(s![.., ..;-2]));
    for (isa, ready) in steps(w.slice(s![..34, ..])) {
        let expected = reference(a.view(), 9, w.slice(s![..34, ..]), 0);
        let mut wide = Array2::zeros((40, 100));
        let part = wide.slice_mut(s![.., 7..47]);
        ready.multiply(a.view(), 9, part).unwrap();
        assert_eq!(wide.slice(s![.., 7..47]), expected, "{isa}");
        assert_eq!(wide.sum(), expected.sum(), "{isa}");
    }
}

#[test]
fn the_deepest_product_is_exact_and_a_deeper_one_is_refused() {
    for (step, max) in Step::ALL.map(|step| (step, MAX_DEPTH.min(limit(step)))) {
        let a = Array2::from_elem((1, max), 255u8);
        let w = Array2::from_elem((max, 1), -128i8);
        for isa in Isa::ALL {
            if let Some(ready) = step.ready(isa, w.view()).unwrap() {
                let mut sum = Array2::zeros((1, 1));
                ready.multiply(a.view(), 0, sum.view_mut()).unwrap();
                assert_eq!(sum[(0, 0)], -255 * 128 * max as i32, "{step:?} on {isa}");
            }
            let refused = step.ready(isa, Array2::zeros((max + 1, 1)).view());
            let depth = max + 1;
            assert_eq!(refused.err(), Some(Error::DepthTooLarge { depth, max }));
        }
    }
}

fn limit(step: Step) -> usize {
    match step {
        Step::Bytes => 1 << 16,
        _ => MAX_DEPTH,
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let w = Array2::<i8>::zeros((3, 4));
    for (_, ready) in steps(w.view()) {
        let (narrow, right) = (Array2::zeros((2, 2)), Array2::zeros((2, 3)));
        let refused = ready.multiply(narrow.view(), 0, Array2::zeros((2, 4)).view_mut());
        assert!(matches!(
            refused,
            Err(Error::ShapeMismatch {
                what: "activations",
                ..
            })
        ));
        let refused = ready.multiply(right.view(), 0, Array2::zeros((2, 5)).view_mut());
        assert!(matches!(
            refused,
            Err(Error::ShapeMismatch {
                what: "the product",
                ..
            })
        ));
    }
}

/// What is taken from a pair is what it exceeds 128 by, and no less would make it safe.
// ANCHOR: a_pair_splits_into_a_safe_one_and_the_least_rest
#[test]
fn a_pair_splits_into_a_safe_one_and_the_least_rest() {
    let parts = |[w0, w1]: [i32; 2]| [w0.max(0) + w1.max(0), w0.min(0) + w1.min(0)];
    for w0 in i8::MIN..=i8::MAX {
        for w1 in i8::MIN..=i8::MAX {
            let (safe, rest) = split_pair([w0, w1]);
            let pairs = [[w0, w1], safe, rest];
            let [w, safe, rest] = pairs.map(|pair| pair.map(i32::from));
            assert_eq!(w, [safe[0] + rest[0], safe[1] + rest[1]]);
            let [positive, negative] = parts(safe);
            assert!(255 * positive <= 32_767 && 255 * negative >= -32_768);
            let [positive, negative] = parts(w);
            let excess = (positive - 128).max(0) + (-128 - negative).max(0);
            assert_eq!(rest[0].abs() + rest[1].abs(), excess);
            assert!(rest[0] == 0 || rest[1] == 0);
        }
    }
}
// ANCHOR_END: a_pair_splits_into_a_safe_one_and_the_least_rest

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // ANCHOR: every_step_equals_the_reference
    #[test]
    fn every_step_equals_the_reference(
        (rows, depth, columns) in (0usize..60, 0usize..600, 0usize..40),
        seed: u64,
        zero: u8,
    ) {
        let a = uniform(seed, rows, depth);
        let w = uniform(seed ^ 1, depth, columns);
        steps_equal_the_reference(a.view(), zero, w.view());
    }
    // ANCHOR_END: every_step_equals_the_reference
}

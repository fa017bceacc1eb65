//! Requantization: each kind of multiplier equals its formula on every instruction set.

use fewer_bits::gemm::epilogue::{Codes, Dequantize, Epilogue, FixedPoint, Multiplier, Requantize};
use fewer_bits::gemm::{Activations, PackedWeights, reference};
use fewer_bits::{Error, QParams, QRange};
use ndarray::{Array2, ArrayView2};
use proptest::prelude::*;

use crate::operands::{kernels, uniform};

/// ⌊sum·q/2^shift + ½⌋ in 128 bits, from the definition of the floor.
// ANCHOR: exactly
fn exactly(m: FixedPoint, sum: i32) -> i128 {
    let doubled = 2 * i128::from(sum) * i128::from(m.q()) + (1 << m.shift());
    doubled.div_euclid(2 << m.shift())
}
// ANCHOR_END: exactly

/// round(sum·m) in f32, half to even, then saturated.
fn in_f32(m: f32, sum: i32, y: QParams) -> i32 {
    let steps = f64::from((sum as f32 * m).round_ties_even());
    let (min, max) = (f64::from(y.range().min()), f64::from(y.range().max()));
    (steps + f64::from(y.zero_point())).clamp(min, max) as i32
}

fn any_sum() -> impl Strategy<Value = i32> {
    let ends = [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX - 1, i32::MAX];
    prop_oneof![
        any::<i32>(),
        -100_000..100_000,
        prop::sample::select(ends.to_vec())
    ]
}

/// Each order of magnitude alike.
fn any_m() -> impl Strategy<Value = f64> {
    (1.0..2.0, -40i32..30).prop_map(|(fraction, power)| fraction * 2f64.powi(power))
}

fn any_y() -> impl Strategy<Value = QParams> {
    let ranges = vec![QRange::U8, QRange::I8, QRange::I8_NARROW, QRange::U4];
    (prop::sample::select(ranges), 0.0f64..=1.0, 1e-6f32..1e3).prop_map(|(range, place, scale)| {
        let zero_point = range.min() + (place * f64::from(range.steps())).round() as i32;
        QParams::new(scale, zero_point, range).unwrap()
    })
}

proptest! {
    // ANCHOR: fixed_point_is_the_exact_product_rounded_once
    #[test]
    fn fixed_point_is_the_exact_product_rounded_once(m in any_m(), sum in any_sum()) {
        let m = FixedPoint::new(m).unwrap();
        prop_assert_eq!(i128::from(m.times(sum)), exactly(m, sum));
    }
    // ANCHOR_END: fixed_point_is_the_exact_product_rounded_once

    #[test]
    fn fixed_point_is_the_nearest_of_31_bits(m in 2f64.powi(-32)..2f64.powi(29)) {
        let fixed = FixedPoint::new(m).unwrap();
        let value = f64::from(fixed.q()) * 2f64.powi(-(fixed.shift() as i32));
        prop_assert!(fixed.q() >= 1 << 30);
        prop_assert!((value - m).abs() <= 2f64.powi(-(fixed.shift() as i32) - 1));
    }

    /// In the range |steps| ≤ 510: f32 errs by at most 5 roundings (two of m, the sum's, the
    /// product's) of 2⁻²⁴ each, fixed point by 2⁻³¹, far less than a step.
    #[test]
    fn floats_and_integers_agree_within_one_code(
        (x, w) in (1e-4f32..1.0, 1e-4f32..1.0),
        y in any_y(),
        sum in any_sum(),
    ) {
        let codes = Codes::of(y);
        let float = f32::from_scales(x, w, y.scale()).unwrap().code(sum, codes);
        let fixed = FixedPoint::from_scales(x, w, y.scale()).unwrap().code(sum, codes);
        prop_assert!((float - fixed).abs() <= 1, "{float} {fixed}");
    }

    #[test]
    fn the_f32_code_is_its_formula(
        (x, w) in (1e-4f32..1.0, 1e-4f32..1.0),
        y in any_y(),
        sum in any_sum(),
    ) {
        let m = x * w / y.scale();
        prop_assert_eq!(m.code(sum, Codes::of(y)), in_f32(m, sum, y));
    }

    /// gemmlowp's second rounding moves a result by one at most.
    #[test]
    fn rounding_twice_differs_by_at_most_one(m in 1e-9f64..1.0, sum in any_sum()) {
        let m = FixedPoint::new(m).unwrap();
        let difference = m.times(sum) - i64::from(m.times_rounding_twice(sum));
        prop_assert!(difference.abs() <= 1, "{difference}");
    }
}

#[test]
fn f32_rounds_ties_to_even_and_fixed_point_rounds_them_up() {
    let codes = Codes::of(QParams::new(1.0, 1, QRange::I8).unwrap());
    let sums = [-5, -3, -1, 1, 3, 5];
    assert_eq!(sums.map(|s| 0.5f32.code(s, codes)), [-1, -1, 1, 1, 3, 3]);
    let half = FixedPoint::new(0.5).unwrap();
    assert_eq!(sums.map(|s| half.code(s, codes)), [-1, 0, 1, 2, 3, 4]);
}

/// In 31 bits 0.1 is a little less, so 5 times it lies below one half and is nearest to 0. gemmlowp's
/// first rounding makes it one half, and the second rounds that away from zero: one sum in ten. For
/// 0.01, whose 31 bits are a little more, no sum differs.
#[test]
fn rounding_twice_can_give_another_code() {
    let differs = |m: f64| {
        let m = FixedPoint::new(m).unwrap();
        move |sum: &i32| m.times(*sum) != i64::from(m.times_rounding_twice(*sum))
    };
    let sums = || -100_000i32..100_000;
    let odd_halves: Vec<i32> = sums().filter(|sum| sum.rem_euclid(10) == 5).collect();
    assert_eq!(sums().filter(differs(0.1)).collect::<Vec<_>>(), odd_halves);
    assert_eq!(sums().filter(differs(0.01)).count(), 0);
}

#[test]
fn multipliers_that_no_number_can_hold_are_refused() {
    for m in [0.0, -1.0, 2f64.powi(30), f64::INFINITY, f64::NAN] {
        let refused = FixedPoint::new(m).unwrap_err();
        assert!(matches!(refused, Error::InvalidMultiplier { .. }), "{m}");
    }
    assert_eq!(FixedPoint::new(f64::MIN_POSITIVE).unwrap().q(), 0);
    let y = QParams::new(1e-30, 0, QRange::I8).unwrap();
    for (x, w) in [(1e-30, 2e-38), (1e30, 1e30)] {
        let refused = Requantize::<i8>::new(x, &[w], y, &[]).unwrap_err();
        assert!(
            matches!(refused, Error::InvalidMultiplier { .. }),
            "{x} {w}"
        );
    }
    // Nor is a scale whose sign or size another one hides.
    let y = QParams::new(1e-30, 0, QRange::I8).unwrap();
    for (x, w, scale) in [(-0.1, -0.1, -0.1), (1.0, -0.1, -0.1), (1e-40, 1e20, 1e-40)] {
        let refused = Requantize::<i8, FixedPoint>::new(x, &[w], y, &[]).unwrap_err();
        assert_eq!(refused, Error::InvalidScale { scale });
    }
    // 10⁻⁴⁰ has lost half of its digits, though m = 10⁻¹⁰ has room for all.
    let refused = Requantize::<i8>::new(1e-20, &[1e-20], y, &[]).unwrap_err();
    assert!(matches!(refused, Error::InvalidMultiplier { .. }));
    let wide = Requantize::<i8>::new(1.0, &[1.0], QParams::new(1.0, 0, QRange::U8).unwrap(), &[]);
    assert!(matches!(wide, Err(Error::RangeDoesNotFit { .. })));
}

/// Runs an epilogue on all kernels over sums that are the bias alone, so that any i32 occurs.
fn on_every_isa<M: Multiplier + std::fmt::Debug>(
    sums: &[i32],
    w_scales: &[f32],
    y: QParams,
    relu: bool,
) {
    let (a, w) = (
        Array2::<u8>::zeros((3, 5)),
        Array2::<i8>::zeros((5, sums.len())),
    );
    let mut epilogue = Requantize::<i8, M>::new(0.02, w_scales, y, sums).unwrap();
    if relu {
        epilogue = epilogue.with_relu();
    }
    for kernel in kernels() {
        let packed = PackedWeights::new(kernel, w.view()).unwrap();
        let mut out = Array2::zeros((3, sums.len()));
        packed
            .multiply(&Activations::u8(a.view(), 9), &epilogue, out.view_mut())
            .unwrap();
        for (column, &sum) in sums.iter().enumerate() {
            let w = w_scales[column % w_scales.len()];
            let m = M::from_scales(0.02, w, y.scale()).unwrap();
            let code = m.code(sum, Codes::of(y));
            let expected = if relu { code.max(y.zero_point()) } else { code };
            let column = out.column(column);
            assert!(
                column.iter().all(|&c| i32::from(c) == expected),
                "{}",
                kernel.isa()
            );
        }
    }
}

#[test]
fn every_isa_writes_the_same_codes() {
    let mut sums: Vec<i32> = uniform::<i32>(1, 1, 70).into_raw_vec_and_offset().0;
    sums.extend((-300..300).map(|i| i * 37));
    sums.extend([i32::MIN, i32::MIN + 1, i32::MAX, i32::MAX - 1]);
    let each: Vec<f32> = (0..sums.len()).map(|i| 0.001 + 0.003 * i as f32).collect();
    for (zero_point, relu) in [(-128, false), (3, false), (3, true), (127, true)] {
        let y = QParams::new(0.05, zero_point, QRange::I8).unwrap();
        for w_scales in [&each[..], &each[5..6]] {
            on_every_isa::<f32>(&sums, w_scales, y, relu);
            on_every_isa::<FixedPoint>(&sums, w_scales, y, relu);
        }
    }
}

fn requantized(
    a: ArrayView2<'_, u8>,
    w: ArrayView2<'_, i8>,
    epilogue: &Requantize<u8>,
) -> Vec<Array2<u8>> {
    let all = kernels().into_iter().map(|kernel| {
        let packed = PackedWeights::new(kernel, w).unwrap();
        let mut out = Array2::zeros((a.nrows(), w.ncols()));
        packed
            .multiply(&Activations::u8(a, 7), epilogue, out.view_mut())
            .unwrap();
        out
    });
    all.collect()
}

#[test]
fn a_sum_and_a_bias_beyond_i32_saturate() {
    let (a, w) = (
        Array2::from_elem((2, 4), 255u8),
        Array2::from_elem((4, 3), -128i8),
    );
    let y = QParams::new(1.0, 100, QRange::U8).unwrap();
    let bias = [i32::MIN, 0, i32::MAX];
    let epilogue = Requantize::new(1e-4, &[1e-4], y, &bias).unwrap();
    let m = 1e-4f32 * 1e-4;
    let sum = 4 * (255 - 7) * -128;
    let expected = bias.map(|b| in_f32(m, b.saturating_add(sum), y) as u8);
    for out in requantized(a.view(), w.view(), &epilogue) {
        assert!(out.rows().into_iter().all(|row| row.to_vec() == expected));
    }
    assert_eq!(expected, [79, 100, 121]);
}

#[test]
fn parameters_that_do_not_fit_the_columns_are_refused() {
    let (a, w) = (Array2::<u8>::zeros((2, 4)), Array2::<i8>::zeros((4, 3)));
    let y = QParams::new(1.0, 0, QRange::U8).unwrap();
    for (scales, bias, what) in [
        (2, 0, "column scales"),
        (0, 0, "column scales"),
        (1, 2, "bias"),
    ] {
        let epilogue = Requantize::<u8>::new(1.0, &vec![1.0; scales], y, &vec![0; bias]).unwrap();
        let packed = PackedWeights::new(kernels()[0], w.view()).unwrap();
        let mut out = Array2::zeros((2, 3));
        let refused = packed.multiply(&Activations::u8(a.view(), 0), &epilogue, out.view_mut());
        assert!(matches!(refused, Err(Error::LengthMismatch { what: w, .. }) if w == what));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn dequantized_sums_are_their_formula_on_every_isa(
        (rows, columns, seed) in (1usize..9, 1usize..90, any::<u64>()),
        (each_row, each_column, with_bias, relu) in any::<(bool, bool, bool, bool)>(),
    ) {
        let (a, w) = (uniform::<u8>(seed, rows, 7), uniform::<i8>(seed ^ 1, 7, columns));
        let scales = |count: usize, each: bool| -> Vec<f32> {
            (0..if each { count } else { 1 }).map(|i| 0.01 + 0.003 * i as f32).collect()
        };
        let (row_scales, column_scales) = (scales(rows, each_row), scales(columns, each_column));
        let mut bias = vec![-3.5f32; if with_bias { columns } else { 0 }];
        if let Some(first) = bias.first_mut() {
            *first = f32::NAN;
        }
        let epilogue = Dequantize {
            row_scales: &row_scales,
            column_scales: &column_scales,
            bias: &bias,
            relu,
        };
        let sums = reference(a.view(), 9, w.view(), 0);
        for kernel in kernels() {
            let packed = PackedWeights::new(kernel, w.view()).unwrap();
            let mut out = Array2::zeros((rows, columns));
            packed.multiply(&Activations::u8(a.view(), 9), &epilogue, out.view_mut()).unwrap();
            for (((i, j), &sum), y) in sums.indexed_iter().zip(out) {
                let scale = row_scales[i % row_scales.len()] * column_scales[j % column_scales.len()];
                let real = sum as f32 * scale + if with_bias { bias[j] } else { 0.0 };
                let real = if relu && real < 0.0 { 0.0 } else { real };
                let same = y == real || y.is_nan() && real.is_nan();
                prop_assert!(same, "{} {i} {j}: {y} {real}", kernel.isa());
            }
        }
    }
}

/// Somebody's epilogue that is wrong about row 20.
struct Panics;

impl Epilogue for Panics {
    type Out = i32;

    fn check(&self, _rows: usize, _columns: usize) -> fewer_bits::Result<()> {
        Ok(())
    }

    fn finish(&self, row: usize, _column: usize, sums: &[i32], out: &mut [i32]) {
        assert_ne!(row, 20, "this row has no output");
        out.copy_from_slice(&sums[..out.len()]);
    }
}

#[test]
fn a_panic_in_an_epilogue_spoils_no_later_product() {
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let one_thread = one_thread.unwrap();
    let (a, b): (Array2<u8>, Array2<i8>) = (uniform(20, 40, 300), uniform(21, 300, 50));
    let few = a.slice(ndarray::s![..7, ..]);
    let expected = reference(few, 3, b.view(), 0);
    for kernel in kernels() {
        let packed = PackedWeights::new(kernel, b.view()).unwrap();
        one_thread.install(|| {
            let mut out = Array2::zeros((40, 50));
            let activations = Activations::u8(a.view(), 3);
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                packed.multiply(&activations, &Panics, out.view_mut())
            }));
            assert!(panicked.is_err(), "{}", kernel.isa());
            let product = packed.product(Activations::u8(few, 3)).unwrap();
            assert!(product == expected, "{}", kernel.isa());
        });
    }
}

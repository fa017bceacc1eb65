//! The integer operators answer what ONNX's evaluator and ONNX Runtime answer, code for code.
//! `onnx_integer_vectors.py` wrote the vectors and says where they come from.

use fewer_bits::Error;
use fewer_bits::onnx::*;
use ndarray::{ArrayD, array};
use serde_json::Value;

fn cases(op: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("onnx_integer_vectors.json")).unwrap();
    let all = file["cases"].as_array().unwrap().iter();
    all.filter(|case| case["op"] == op).cloned().collect()
}

fn usizes(values: &Value) -> Vec<usize> {
    let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
    values
        .iter()
        .map(|v| v.as_u64().unwrap() as usize)
        .collect()
}

fn tensor<T>(value: &Value, element: impl Fn(f64) -> T) -> ArrayD<T> {
    let values = value["values"].as_array().unwrap().iter();
    let values = values.map(|v| element(v.as_f64().unwrap())).collect();
    ArrayD::from_shape_vec(usizes(&value["shape"]), values).unwrap()
}

/// A type of codes, as the vectors have them.
trait Stored: Byte {
    fn stored(value: f64) -> Self;
}

impl Stored for u8 {
    fn stored(value: f64) -> Self {
        value as u8
    }
}

impl Stored for i8 {
    fn stored(value: f64) -> Self {
        value as i8
    }
}

fn codes<T: Stored>(value: &Value) -> ArrayD<T> {
    tensor(value, T::stored)
}

fn optional<T: Stored>(value: &Value) -> Option<ArrayD<T>> {
    value.is_object().then(|| codes(value))
}

fn attributes(case: &Value) -> Attributes {
    let given = &case["attributes"];
    Attributes {
        strides: usizes(&given["strides"]),
        pads: usizes(&given["pads"]),
        auto_pad: match given["auto_pad"].as_str() {
            Some("SAME_UPPER") => AutoPad::SameUpper,
            Some("SAME_LOWER") => AutoPad::SameLower,
            Some("VALID") => AutoPad::Valid,
            _ => AutoPad::NotSet,
        },
        dilations: usizes(&given["dilations"]),
        group: given["group"].as_u64().unwrap_or(1) as usize,
    }
}

/// Calls `$check` with the types of inputs `$a` and `$b`, and counts the pairs of types.
macro_rules! for_each_case {
    ($op:literal, $a:literal, $b:literal, $check:ident, $pairs:literal) => {
        let mut pairs = std::collections::BTreeSet::new();
        for case in cases($op) {
            let inputs = &case["inputs"];
            let types = [$a, $b].map(|i: usize| inputs[i]["type"].as_str().unwrap().to_owned());
            match [types[0].as_str(), types[1].as_str()] {
                ["uint8", "uint8"] => $check::<u8, u8>(&case),
                ["uint8", "int8"] => $check::<u8, i8>(&case),
                ["int8", "uint8"] => $check::<i8, u8>(&case),
                _ => $check::<i8, i8>(&case),
            }
            pairs.insert(types);
        }
        assert_eq!(pairs.len(), $pairs, "{pairs:?}");
    };
}

fn mat_mul_integer_case<A: Stored, B: Stored>(case: &Value) {
    let inputs = &case["inputs"];
    let (a, b) = (codes::<A>(&inputs[0]), codes::<B>(&inputs[1]));
    let (za, zb) = (optional::<A>(&inputs[2]), optional::<B>(&inputs[3]));
    let (za, zb) = (za.as_ref().map(|z| z.view()), zb.as_ref().map(|z| z.view()));
    let y = mat_mul_integer(a.view(), b.view(), za, zb).unwrap();
    assert_eq!(y, tensor(&case["y"], |v| v as i32), "{case}");
}

fn conv_integer_case<X: Stored, W: Stored>(case: &Value) {
    let inputs = &case["inputs"];
    let (x, w) = (codes::<X>(&inputs[0]), codes::<W>(&inputs[1]));
    let x_zero = optional::<X>(&inputs[2]).map_or(X::default(), |z| z[[]]);
    let w_zeros = optional::<W>(&inputs[3]).map_or(Vec::new(), |z| z.into_iter().collect());
    let y = conv_integer(x.view(), w.view(), x_zero, &w_zeros, &attributes(case)).unwrap();
    assert_eq!(y, tensor(&case["y"], |v| v as i32), "{case}");
}

fn qlinear_mat_mul_case<A: Stored, B: Stored>(case: &Value) {
    let inputs: Vec<&Value> = case["inputs"].as_array().unwrap().iter().collect();
    let f32s = |i: usize| tensor(inputs[i], |v| v as f32);
    let (a, a_scale, a_zero) = (codes::<A>(inputs[0]), f32s(1), codes::<A>(inputs[2]));
    let (b, b_scale, b_zero) = (codes::<B>(inputs[3]), f32s(4), codes::<B>(inputs[5]));
    let (y_scale, y_zero) = (f32s(6), codes::<A>(inputs[7]));
    let a = quantized(&a, &a_scale, &a_zero);
    let b = quantized(&b, &b_scale, &b_zero);
    let y = qlinear_mat_mul(&a, &b, y_scale.view(), y_zero.view()).unwrap();
    assert_eq!(y, codes::<A>(&case["y"]), "{case}");
}

fn qlinear_conv_case<X: Stored, W: Stored>(case: &Value) {
    let inputs: Vec<&Value> = case["inputs"].as_array().unwrap().iter().collect();
    let f32s = |i: usize| tensor(inputs[i], |v| v as f32);
    let (x, x_scale, x_zero) = (codes::<X>(inputs[0]), f32s(1), codes::<X>(inputs[2]));
    let (w, w_scale, w_zero) = (codes::<W>(inputs[3]), f32s(4), codes::<W>(inputs[5]));
    let (y_scale, y_zero) = (f32s(6)[[]], codes::<X>(inputs[7])[[]]);
    let bias = inputs.get(8).map(|bias| tensor(bias, |v| v as i32));
    let bias: Vec<i32> = bias.map_or(Vec::new(), |bias| bias.into_iter().collect());
    let x = quantized(&x, &x_scale, &x_zero);
    let w = quantized(&w, &w_scale, &w_zero);
    let y = qlinear_conv(&x, &w, y_scale, y_zero, &bias, &attributes(case)).unwrap();
    assert_eq!(y, codes::<X>(&case["y"]), "{case}");
}

fn quantized<'a, T>(
    codes: &'a ArrayD<T>,
    scale: &'a ArrayD<f32>,
    zero_point: &'a ArrayD<T>,
) -> Quantized<'a, T> {
    Quantized {
        codes: codes.view(),
        scale: scale.view(),
        zero_point: zero_point.view(),
    }
}

#[test]
fn mat_mul_integer_gives_the_sums_of_onnx() {
    for_each_case!("MatMulInteger", 0, 1, mat_mul_integer_case, 4);
}

#[test]
fn conv_integer_gives_the_sums_of_onnx() {
    for_each_case!("ConvInteger", 0, 1, conv_integer_case, 4);
}

#[test]
fn qlinear_mat_mul_gives_the_codes_of_onnx_runtime() {
    for_each_case!("QLinearMatMul", 0, 3, qlinear_mat_mul_case, 3);
}

#[test]
fn qlinear_conv_gives_the_codes_of_onnx_runtime() {
    for_each_case!("QLinearConv", 0, 3, qlinear_conv_case, 3);
}

/// ONNX's own evaluator rounds after adding the zero point: with the odd zero point 3, half a step
/// becomes 3.5 and then 4, where rounding first gives 0 + 3. Here it is the only difference.
#[test]
fn the_reference_evaluator_differs_on_ties_alone() {
    let mut differing = 0;
    for case in cases("QLinearMatMul")
        .iter()
        .filter(|case| case["reference"].is_array())
    {
        assert_eq!(case["inputs"][7]["values"], serde_json::json!([3]));
        let y = tensor(&case["y"], |v| v as i32);
        for (ours, theirs) in y.iter().zip(case["reference"].as_array().unwrap()) {
            let difference = theirs.as_i64().unwrap() as i32 - ours;
            assert!((-1..=1).contains(&difference));
            // To even before adding an odd number is to odd after it.
            assert!(difference == 0 || ours.rem_euclid(2) == 1, "{case}");
            differing += difference.abs();
        }
    }
    assert!(differing > 0);
}

#[test]
fn each_row_and_each_column_may_have_its_own_pair() {
    let (a, b) = (
        array![[10u8, 20], [30, 40]].into_dyn(),
        array![[1i8, 2], [3, 4]].into_dyn(),
    );
    let (rows, columns) = (array![0u8, 30].into_dyn(), array![0i8, 1].into_dyn());
    let zeros = (Some(rows.view()), Some(columns.view()));
    let y = mat_mul_integer(a.view(), b.view(), zeros.0, zeros.1).unwrap();
    assert_eq!(y, array![[70, 70], [30, 30]].into_dyn());
    let (a_scales, b_scales) = (
        array![1.0f32, 0.5].into_dyn(),
        array![0.1f32, 0.2].into_dyn(),
    );
    let a = quantized(&a, &a_scales, &rows);
    let b = quantized(&b, &b_scales, &columns);
    let (y_scales, y_zeros) = (
        array![1.0f32, 0.25].into_dyn(),
        array![-10i8, 10].into_dyn(),
    );
    let y = qlinear_mat_mul(&a, &b, y_scales.view(), y_zeros.view()).unwrap();
    assert_eq!(y, array![[-3i8, 4], [16, 22]].into_dyn());
}

#[test]
fn operands_that_do_not_go_together_are_refused() {
    let zeros = |shape: &[usize]| ArrayD::<i8>::zeros(shape);
    let product = |a: &[usize], b: &[usize]| {
        mat_mul_integer(zeros(a).view(), zeros(b).view(), None, None).unwrap_err()
    };
    for (a, b) in [
        (&[2, 3][..], &[2, 3][..]),
        (&[2, 1, 3], &[3, 3, 1]),
        (&[3], &[2]),
    ] {
        assert!(
            matches!(product(a, b), Error::ShapeMismatch { .. }),
            "{a:?} {b:?}"
        );
    }
    assert!(matches!(product(&[], &[2]), Error::AxisOutOfRange { .. }));
    let (a, z) = (zeros(&[2, 3]), zeros(&[3]));
    let refused = mat_mul_integer(a.view(), a.t().into_dyn(), Some(z.view()), None);
    assert!(matches!(
        refused,
        Err(Error::ShapeMismatch {
            what: "zero points of a",
            ..
        })
    ));
    for (x, w, pads) in [
        (&[1, 2, 3][..], &[1, 2, 1, 1][..], vec![]),
        (&[1, 2, 3], &[1, 2], vec![]),
        (&[1, 2, 3, 3], &[1, 1, 1, 1], vec![]),
        (&[1, 2, 3, 3], &[1, 2, 1, 1], vec![1, 1]),
        (&[1, 2, 3, 3, 3], &[1, 2, 1, 1, 1], vec![]),
    ] {
        let attributes = Attributes {
            pads,
            ..Attributes::default()
        };
        let refused = conv_integer(zeros(x).view(), zeros(w).view(), 0, &[], &attributes);
        assert!(
            matches!(refused, Err(Error::ShapeMismatch { .. })),
            "{x:?} {w:?}"
        );
    }
}

#[test]
fn what_would_mislead_or_overflow_is_refused() {
    let (x, w) = (
        ArrayD::<u8>::zeros(vec![1, 1, 4, 4]),
        ArrayD::<i8>::zeros(vec![1, 1, 2, 2]),
    );
    let conv = |attributes| conv_integer(x.view(), w.view(), 0, &[], &attributes);
    let both = Attributes {
        pads: vec![1, 1, 1, 1],
        auto_pad: AutoPad::SameUpper,
        ..Attributes::default()
    };
    assert!(matches!(conv(both), Err(Error::InvalidSetting { .. })));
    let huge = Attributes {
        pads: vec![1 << 30; 4],
        ..Attributes::default()
    };
    assert!(matches!(conv(huge), Err(Error::TooManyElements { .. })));
    // Every number divides the outputs that there are not.
    let none = ArrayD::<i8>::zeros(vec![0, 1, 2, 2]);
    let grouped = |group| {
        let attributes = Attributes {
            group,
            ..Attributes::default()
        };
        conv_integer(x.view(), none.view(), 0, &[], &attributes)
    };
    assert_eq!(grouped(1).unwrap().shape(), [1, 0, 3, 3]);
    for group in [0, 2, usize::MAX] {
        assert!(matches!(grouped(group), Err(Error::InvalidSetting { .. })));
    }
    // No elements, but a result of 2⁸⁰.
    let (tall, wide) = ([1 << 40, 0], [0, 1 << 40]);
    let (a, b) = (
        ArrayD::<i8>::zeros(&tall[..]),
        ArrayD::<i8>::zeros(&wide[..]),
    );
    let refused = mat_mul_integer(a.view(), b.view(), None, None);
    assert!(matches!(refused, Err(Error::TooManyElements { .. })));
    // Two negative scales make a positive factor, of numbers that no codes stand for.
    let (scale, zero) = (
        ndarray::arr0(-0.1f32).into_dyn(),
        ndarray::arr0(0u8).into_dyn(),
    );
    let no_zero = ndarray::arr0(0i8).into_dyn();
    let (qx, qw) = (
        quantized(&x, &scale, &zero),
        quantized(&w, &scale, &no_zero),
    );
    let refused = qlinear_conv(&qx, &qw, 1.0, 0u8, &[], &Attributes::default());
    assert_eq!(refused, Err(Error::InvalidScale { scale: -0.1 }));
    let one = ndarray::arr0(1.0f32).into_dyn();
    let square = ArrayD::<i8>::zeros(vec![4, 4]);
    let qw = quantized(&square, &scale, &no_zero);
    let refused = qlinear_mat_mul(&qx, &qw, one.view(), zero.view());
    assert_eq!(refused, Err(Error::InvalidScale { scale: -0.1 }));
}

/// ONNX Runtime refuses dilations with it, so that nobody tells: the extent of the window counts.
#[test]
fn the_same_size_comes_out_of_a_dilated_window() {
    let x = array![[[1u8, 2, 3, 4, 5]]].into_dyn();
    let w = array![[[1i8, 10]]].into_dyn();
    let conv = |auto_pad| {
        let attributes = Attributes {
            auto_pad,
            dilations: vec![3],
            ..Attributes::default()
        };
        conv_integer(x.view(), w.view(), 0, &[], &attributes).unwrap()
    };
    assert_eq!(
        conv(AutoPad::SameUpper),
        array![[[30, 41, 52, 3, 4]]].into_dyn()
    );
    assert_eq!(
        conv(AutoPad::SameLower),
        array![[[20, 30, 41, 52, 3]]].into_dyn()
    );
}

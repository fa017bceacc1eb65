//! The ONNX operators answer what ONNX's own package answers: each code, and each bit of a float.
//! `onnx_vectors.py` wrote the vectors and says where they come from.

use std::collections::BTreeMap;

use fewer_bits::QRange;
use fewer_bits::onnx::*;
use ndarray::{ArrayD, arr0, array};
use serde_json::Value;

/// The vectors of one operator.
fn cases(op: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("onnx_vectors.json")).unwrap();
    let all = file["cases"].as_array().unwrap();
    all.iter()
        .filter(|case| case["op"] == op)
        .cloned()
        .collect()
}

fn f32s(values: &Value) -> Vec<f32> {
    let values = values.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap() as f32).collect()
}

fn integers(values: &Value) -> Vec<i32> {
    let values = values.as_array().unwrap().iter();
    values
        .map(|value| value.as_i64().unwrap().try_into().unwrap())
        .collect()
}

fn tensor<T>(shape: &Value, values: Vec<T>) -> ArrayD<T> {
    let shape = shape.as_array().unwrap().iter();
    let shape: Vec<usize> = shape.map(|len| len.as_u64().unwrap() as usize).collect();
    ArrayD::from_shape_vec(shape, values).unwrap()
}

/// The codes of the ONNX type of a case.
fn range(case: &Value) -> QRange {
    match case["type"].as_str().unwrap() {
        "uint8" => QRange::U8,
        "int8" => QRange::I8,
        "uint16" => QRange::U16,
        "int16" => QRange::I16,
        "uint4" => QRange::U4,
        "int4" => QRange::I4,
        "uint2" => QRange::unsigned(2).unwrap(),
        "int2" => QRange::signed(2).unwrap(),
        other => panic!("unknown type {other}"),
    }
}

/// Gives `check` the scales, zero points and attributes of a case.
fn with_linear(case: &Value, check: impl FnOnce(&Linear<'_>)) {
    let scale = tensor(&case["scale_shape"], f32s(&case["scale"]));
    let zero_point = (!case["zero_point"].is_null())
        .then(|| tensor(&case["scale_shape"], integers(&case["zero_point"])));
    check(&Linear {
        scale: scale.view(),
        zero_point: zero_point.as_ref().map(|z| z.view()),
        range: range(case),
        axis: case["axis"].as_i64().unwrap() as isize,
        block_size: case["block_size"].as_u64().unwrap() as usize,
    });
}

fn same_bits(actual: &ArrayD<f32>, case: &Value) {
    assert_eq!(
        actual.shape(),
        tensor(&case["shape"], f32s(&case["y"])).shape()
    );
    for (actual, expected) in actual.iter().zip(f32s(&case["y"])) {
        assert_eq!(actual.to_bits(), expected.to_bits(), "{actual} in {case}");
    }
}

/// How many cases each type has, so that a law cannot pass for want of vectors.
fn count(cases: &[Value]) -> BTreeMap<&str, usize> {
    let mut count = BTreeMap::new();
    for case in cases {
        *count.entry(case["type"].as_str().unwrap()).or_default() += 1;
    }
    count
}

#[test]
fn quantize_linear_gives_the_codes_of_onnx() {
    let cases = cases("QuantizeLinear");
    for case in &cases {
        let x = tensor(&case["shape"], f32s(&case["x"]));
        with_linear(case, |linear| {
            let y = quantize_linear(x.view(), linear).unwrap();
            assert_eq!(y.to_codes(), integers(&case["y"]), "{case}");
            assert_eq!(y.shape(), x.shape());
        });
    }
    let count = count(&cases);
    assert!(
        count.len() == 8 && count.values().all(|&n| n >= 16),
        "{count:?}"
    );
}

#[test]
fn dequantize_linear_gives_the_floats_of_onnx() {
    let cases = cases("DequantizeLinear");
    for case in &cases {
        let x = tensor(&case["shape"], integers(&case["x"]));
        if case["type"] == "int32" {
            let scale = tensor(&case["scale_shape"], f32s(&case["scale"]));
            let axis = case["axis"].as_i64().unwrap() as isize;
            let block_size = case["block_size"].as_u64().unwrap() as usize;
            let y = dequantize_linear_i32(x.view(), scale.view(), axis, block_size).unwrap();
            same_bits(&y, case);
            continue;
        }
        with_linear(case, |linear| {
            let y = match case["type"].as_str().unwrap() {
                "uint8" | "uint4" | "uint2" => {
                    dequantize_linear(x.mapv(|q| q as u8).view(), linear)
                }
                "int8" | "int4" | "int2" => dequantize_linear(x.mapv(|q| q as i8).view(), linear),
                "uint16" => dequantize_linear(x.mapv(|q| q as u16).view(), linear),
                _ => dequantize_linear(x.mapv(|q| q as i16).view(), linear),
            };
            same_bits(&y.unwrap(), case);
        });
    }
    let count = count(&cases);
    assert!(
        count.len() == 9 && count.values().all(|&n| n >= 3),
        "{count:?}"
    );
}

#[test]
fn dynamic_quantize_linear_gives_the_codes_and_the_pair_of_onnx() {
    let cases = cases("DynamicQuantizeLinear");
    for case in &cases {
        let x = tensor(&case["shape"], f32s(&case["x"]));
        let y = dynamic_quantize_linear(x.view()).unwrap();
        let [pair] = y.params() else { panic!("{y:?}") };
        assert_eq!(y.to_codes(), integers(&case["y"]), "{case}");
        assert_eq!(
            i64::from(pair.zero_point()),
            case["zero_point"].as_i64().unwrap(),
            "{case}"
        );
        // All zero: the specification's formula divides 0 by 0, its evaluator says 1/255, ONNX
        // Runtime 1 (issue 8437 of onnx/onnx). No code depends on it.
        let scale = match x.iter().all(|&x| x == 0.0) {
            true => 1.0,
            false => case["scale"].as_f64().unwrap() as f32,
        };
        assert_eq!(pair.scale(), scale, "{case}");
    }
    assert!(cases.len() >= 26);
}

#[test]
fn a_runtime_may_send_the_scale_of_a_tensor_as_an_array_of_one() {
    let (x, one) = (
        array![[1.0, 2.0], [3.0, 4.0]].into_dyn(),
        array![2.0].into_dyn(),
    );
    let y = quantize_linear(x.view(), &Linear::new(one.view(), QRange::U8)).unwrap();
    assert_eq!(y.to_codes(), [0, 1, 2, 2]);
}

#[test]
fn infinity_saturates_and_so_does_what_overflows_an_integer() {
    let x = array![
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        3e9,
        -3e9
    ]
    .into_dyn();
    let scale = arr0(0.5).into_dyn();
    for range in [
        QRange::U8,
        QRange::I8,
        QRange::U16,
        QRange::I16,
        QRange::U4,
        QRange::I4,
    ] {
        let y = quantize_linear(x.view(), &Linear::new(scale.view(), range)).unwrap();
        assert_eq!(y.to_codes(), [range.max(), range.min()].repeat(3));
    }
}

//! What the ONNX operators refuse: shapes, axes and types that do not go together.

use crate::message_names;
use crate::strategies::*;
use fewer_bits::onnx::*;
use fewer_bits::{Error, QRange};
use ndarray::{ArrayD, arr0, array};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

#[test]
fn shapes_and_axes_that_do_not_fit_are_refused() {
    let x = ArrayD::<f32>::zeros(vec![2, 5]);
    let two = ArrayD::from_elem(vec![2], 1.0f32);
    let blocks = ArrayD::from_elem(vec![2, 2], 1.0f32);
    let zero_points = ArrayD::<i32>::zeros(vec![5]);
    let refused = |linear: Linear<'_>| quantize_linear(x.view(), &linear).unwrap_err();
    let per_axis = Linear::new(two.view(), QRange::I8);

    let error = refused(per_axis.clone()); // the default axis, 1, has five elements
    let [expected, actual] = [vec![5], vec![2]];
    assert_eq!(
        error,
        Error::ShapeMismatch {
            what: "scales",
            expected,
            actual
        }
    );

    let error = refused(Linear {
        axis: 2,
        ..per_axis.clone()
    });
    assert_eq!(
        error,
        Error::AxisOutOfRange {
            axis: 2,
            shape: vec![2, 5]
        }
    );

    let error = refused(Linear {
        axis: -3,
        ..per_axis.clone()
    });
    assert_eq!(
        error,
        Error::NegativeAxisOutOfRange {
            axis: -3,
            shape: vec![2, 5]
        }
    );
    message_names(&error, &["-3", "[2, 5]"]);

    let error = refused(Linear {
        axis: 0,
        zero_point: Some(zero_points.view()),
        ..per_axis
    });
    let [expected, actual] = [vec![2], vec![5]];
    assert_eq!(
        error,
        Error::ShapeMismatch {
            what: "zero points",
            expected,
            actual
        }
    );

    // ONNX accepts the block sizes 3 and 4 here: ⌈5 / 2⌉ to ⌈5 / 1⌉ − 1.
    for block_size in 1..8 {
        let linear = Linear {
            block_size,
            ..Linear::new(blocks.view(), QRange::I8)
        };
        let answer = quantize_linear(x.view(), &linear);
        assert_eq!(
            answer.is_ok(),
            (3..=4).contains(&block_size),
            "{block_size}"
        );
    }
}

#[test]
fn codes_of_another_type_and_zero_points_outside_it_are_refused() {
    let (codes, scale) = (array![1i8].into_dyn(), arr0(1.0).into_dyn());
    let error = dequantize_linear(codes.view(), &Linear::new(scale.view(), QRange::U8));
    assert!(matches!(
        error,
        Err(Error::RangeDoesNotFit {
            max: 255,
            storage_max: 127,
            ..
        })
    ));

    let zero_point = arr0(8).into_dyn();
    let linear = Linear {
        zero_point: Some(zero_point.view()),
        ..Linear::new(scale.view(), QRange::I4)
    };
    let [zero_point, min, max] = [8, -8, 7];
    let error = Error::ZeroPointOutOfRange {
        zero_point: zero_point.into(),
        min,
        max,
    };
    assert_eq!(dequantize_linear(codes.view(), &linear), Err(error));
}

#[test]
fn tensors_without_elements_are_quantized_and_dequantized() {
    let (x, none) = (
        ArrayD::<f32>::zeros(vec![3, 0]),
        ArrayD::<f32>::zeros(vec![0]),
    );
    let linear = Linear::new(none.view(), QRange::I8);
    assert!(
        quantize_linear(x.view(), &linear)
            .unwrap()
            .to_codes()
            .is_empty()
    );
    let codes = ArrayD::<i8>::zeros(vec![3, 0]);
    assert_eq!(dequantize_linear(codes.view(), &linear), Ok(x.clone()));
    let sums = ArrayD::<i32>::zeros(vec![3, 0]);
    assert_eq!(
        dequantize_linear_i32(sums.view(), none.view(), 1, 0),
        Ok(x.clone())
    );
    assert_eq!(dynamic_quantize_linear(x.view()), Err(Error::Empty));
}

#[test]
fn a_code_outside_its_range_is_dequantized_too() {
    let (codes, scale) = (array![7i8, 100].into_dyn(), arr0(f32::MAX / 8.0).into_dyn());
    let y = dequantize_linear(codes.view(), &Linear::new(scale.view(), QRange::I4)).unwrap();
    assert!(y[0].is_finite());
    assert_eq!(y[1], f32::INFINITY);
}

/// A tensor of codes with up to four axes, some of them empty.
fn any_codes<T: Copy + std::fmt::Debug + 'static>(
    code: BoxedStrategy<T>,
) -> BoxedStrategy<ArrayD<T>> {
    let shape = vec(0usize..5, 0..5);
    let filled = move |shape: Vec<usize>| {
        vec(code.clone(), shape.iter().product::<usize>())
            .prop_map(move |codes| ArrayD::from_shape_vec(&shape[..], codes).unwrap())
    };
    shape.prop_flat_map(filled).boxed()
}

/// Small numbers, and some that no tensor has room for.
fn any_size() -> impl Strategy<Value = usize> {
    prop_oneof![9 => 0usize..4, 1 => select(vec![usize::MAX, usize::MAX / 2, 1 << 62])]
}

fn any_attributes() -> impl Strategy<Value = Attributes> {
    let padding = [
        AutoPad::NotSet,
        AutoPad::SameUpper,
        AutoPad::SameLower,
        AutoPad::Valid,
    ];
    let lists = [0..5, 0..3, 0..3].map(|length| vec(any_size(), length));
    (lists, select(padding.to_vec()), any_size()).prop_map(
        |([pads, strides, dilations], auto_pad, group)| Attributes {
            strides,
            pads,
            auto_pad,
            dilations,
            group,
        },
    )
}

proptest! {
    #[test]
    fn nothing_panics(
        x in any_tensor(any_float().boxed(), 0..4),
        scale in any_tensor(prop_oneof![4 => 0.01f32..3.0, 1 => any_float()].boxed(), 0..4),
        zero_point in any_codes((-3..4).boxed()),
        range in any_range(),
        axis in prop_oneof![4 => -4isize..4, 1 => select(vec![isize::MIN, isize::MAX])],
        block_size in any_size(),
        codes in any_codes(any::<i8>().boxed()),
        sums in any_codes(any::<i32>().boxed()),
    ) {
        let _ = dynamic_quantize_linear(x.view());
        let _ = dequantize_linear_i32(sums.view(), scale.view(), axis, block_size);
        for zero_point in [None, Some(zero_point.view())] {
            let linear = Linear { scale: scale.view(), zero_point, range, axis, block_size };
            let _ = quantize_linear(x.view(), &linear);
            let _ = dequantize_linear(codes.view(), &linear);
        }
    }

    #[test]
    fn no_product_panics(
        a in any_codes(any::<u8>().boxed()),
        b in any_codes(any::<i8>().boxed()),
        a_zero in any_codes(any::<u8>().boxed()),
        b_zero in any_codes(any::<i8>().boxed()),
        scale in any_float(),
        attributes in any_attributes(),
    ) {
        let _ = mat_mul_integer(a.view(), b.view(), Some(a_zero.view()), Some(b_zero.view()));
        let zeros: Vec<i8> = b_zero.iter().copied().collect();
        let _ = conv_integer(a.view(), b.view(), 1, &zeros, &attributes);
        let (scales, one) = (arr0(scale).into_dyn(), arr0(1.0).into_dyn());
        let (u8, i8) = (arr0(3u8).into_dyn(), arr0(-3i8).into_dyn());
        let a = Quantized { codes: a.view(), scale: scales.view(), zero_point: u8.view() };
        let b = Quantized { codes: b.view(), scale: one.view(), zero_point: i8.view() };
        let _ = qlinear_mat_mul(&a, &b, one.view(), u8.view());
        let _ = qlinear_conv(&a, &b, scale, 5u8, &[], &attributes);
    }
}

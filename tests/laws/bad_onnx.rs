//! What the ONNX operators refuse: shapes, axes and types that do not go together.

use crate::message_names;
use fewer_bits::onnx::*;
use fewer_bits::{Error, QRange};
use ndarray::{ArrayD, arr0, array};

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

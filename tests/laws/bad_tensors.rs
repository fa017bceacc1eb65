//! Each kind of bad tensor or buffer has one documented outcome, and the message names the value.

use crate::message_names;
use crate::strategies::kernels;
use fewer_bits::{Error, Granularity, QParams, QRange, QTensor, Scheme};
use ndarray::{ArrayD, array};

/// Each granularity that a matrix can have.
const GRANULARITIES: [Granularity; 6] = [
    Granularity::PerTensor,
    Granularity::PerChannel { axis: 0 },
    Granularity::PerChannel { axis: 1 },
    Granularity::PerGroup { axis: 0, size: 2 },
    Granularity::PerGroup { axis: 1, size: 2 },
    Granularity::PerGroup { axis: 1, size: 100 },
];

fn scheme(granularity: Granularity) -> Scheme {
    Scheme {
        granularity,
        ..Scheme::activations()
    }
}

#[test]
fn no_values_have_no_range() {
    for shape in [[0, 3], [3, 0]] {
        let x = ArrayD::zeros(&shape[..]);
        for granularity in GRANULARITIES {
            let made = QTensor::quantize(x.view(), scheme(granularity));
            assert_eq!(made, Err(Error::Empty));
        }
    }
    for kernel in kernels() {
        assert_eq!(kernel.min_max(&[]), Err(Error::Empty));
    }
}

#[test]
fn no_values_have_no_codes() {
    let x = ArrayD::zeros(&[0, 3][..]);
    let pair = QParams::new(1.0, 0, QRange::U8).unwrap();
    let quantized = QTensor::quantize_with(x.view(), Granularity::PerTensor, vec![pair]).unwrap();
    assert_eq!((quantized.to_codes(), quantized.code_bytes()), (vec![], 0));
    assert_eq!(quantized.dequantize(), x);
}

#[test]
fn the_first_value_that_is_not_finite_is_named_with_its_place() {
    for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        for index in 0..15 {
            let mut x = ArrayD::zeros(&[3, 5][..]);
            x.as_slice_mut().unwrap()[index..].fill(value);
            for granularity in GRANULARITIES {
                let error = QTensor::quantize(x.view(), scheme(granularity)).unwrap_err();
                assert!(
                    matches!(error, Error::NotFinite { index: i, value: v }
                        if i == index && v.to_bits() == value.to_bits()),
                    "{error} for {value} at {index}, {granularity:?}"
                );
                message_names(&error, &[&format!("index {index} "), &value.to_string()]);
            }
        }
    }
}

#[test]
fn a_place_is_counted_in_row_major_order_of_the_view() {
    let x = array![[1.0, 2.0, f32::NAN], [3.0, 4.0, 5.0]].into_dyn();
    let error = QTensor::quantize(x.t(), Scheme::activations()).unwrap_err();
    assert!(matches!(error, Error::NotFinite { index: 4, .. }));
}

#[test]
fn the_first_nan_is_named_when_the_pairs_are_known_and_infinity_saturates() {
    let pair = QParams::affine(-1.0, 1.0, QRange::U8).unwrap();
    for granularity in GRANULARITIES {
        let pairs: usize = granularity.params_shape(&[3, 5]).unwrap().iter().product();
        for index in 0..15 {
            let mut x = ArrayD::from_elem(&[3, 5][..], f32::INFINITY);
            x.as_slice_mut().unwrap()[index..].fill(f32::NAN);
            let made = QTensor::quantize_with(x.view(), granularity, vec![pair; pairs]);
            assert_eq!(made, Err(Error::NotANumber { index }));
            message_names(&made.unwrap_err(), &[&format!("index {index} ")]);
        }
        let x = ArrayD::from_elem(&[3, 5][..], f32::NEG_INFINITY);
        let made = QTensor::quantize_with(x.view(), granularity, vec![pair; pairs]);
        assert_eq!(made.unwrap().to_codes(), [0; 15]);
    }
}

#[test]
fn a_wide_tensor_whose_range_overflows_is_refused() {
    let x = array![f32::MAX, f32::MIN].into_dyn();
    let (lo, hi) = (f32::MIN, f32::MAX);
    let made = QTensor::quantize(x.view(), Scheme::activations());
    assert_eq!(made, Err(Error::RangeTooWide { lo, hi }));
}

#[test]
fn an_axis_that_does_not_exist_is_refused() {
    let x = ArrayD::zeros(&[3, 5][..]);
    for granularity in [
        Granularity::PerChannel { axis: 2 },
        Granularity::PerGroup { axis: 2, size: 4 },
    ] {
        let (axis, shape) = (2, vec![3, 5]);
        let expected = Error::AxisOutOfRange { axis, shape };
        message_names(&expected, &["axis 2", "[3, 5]"]);
        assert_eq!(granularity.params_shape(&[3, 5]), Err(expected.clone()));
        let made = QTensor::quantize(x.view(), scheme(granularity));
        assert_eq!(made, Err(expected.clone()));
        let made = QTensor::quantize_with(x.view(), granularity, vec![]);
        assert_eq!(made, Err(expected));
    }
}

#[test]
fn a_group_of_no_elements_is_refused() {
    let granularity = Granularity::PerGroup { axis: 0, size: 0 };
    let error = granularity.params_shape(&[3]).unwrap_err();
    assert_eq!(error, Error::InvalidGroupSize { size: 0 });
    message_names(&error, &["size 0"]);
}

#[test]
fn a_wrong_number_of_pairs_is_refused() {
    let x = ArrayD::zeros(&[3, 5][..]);
    let pair = QParams::new(1.0, 0, QRange::I8).unwrap();
    for granularity in GRANULARITIES {
        let expected: usize = granularity.params_shape(&[3, 5]).unwrap().iter().product();
        for actual in [0, expected - 1, expected + 1] {
            let made = QTensor::quantize_with(x.view(), granularity, vec![pair; actual]);
            let what = "scale and zero-point pairs";
            let error = made.unwrap_err();
            let wanted = Error::LengthMismatch {
                what,
                expected,
                actual,
            };
            assert_eq!(error, wanted);
            message_names(
                &error,
                &[&format!("expected {expected} "), &format!("got {actual}")],
            );
        }
    }
}

#[test]
fn pairs_of_different_integer_ranges_are_refused() {
    let x = ArrayD::zeros(&[2][..]);
    let pairs = [QRange::I8, QRange::U8].map(|range| QParams::new(1.0, 0, range).unwrap());
    let granularity = Granularity::PerChannel { axis: 0 };
    let error = QTensor::quantize_with(x.view(), granularity, pairs.to_vec()).unwrap_err();
    let (first, other) = ("-128..=127".to_owned(), "0..=255".to_owned());
    assert_eq!(error, Error::MixedRanges { first, other });
    message_names(&error, &["-128..=127", "0..=255"]);
}

#[test]
fn buffers_of_different_lengths_are_refused() {
    let pair = QParams::new(1.0, 0, QRange::I8).unwrap();
    for kernel in kernels() {
        let refused = |what| Error::LengthMismatch {
            what,
            expected: 3,
            actual: 2,
        };
        let made = kernel.quantize(pair, &[0.0; 3], &mut [0i8; 2]);
        assert_eq!(made, Err(refused("codes")));
        let made = kernel.dequantize(pair, &[0i8; 3], &mut [0.0; 2]);
        assert_eq!(made, Err(refused("values")));
    }
}

#[test]
fn a_storage_type_that_cannot_hold_the_codes_is_refused() {
    for kernel in kernels() {
        let pair = QParams::new(1.0, 0, QRange::U8).unwrap();
        let error = kernel.quantize(pair, &[0.0], &mut [0i8]).unwrap_err();
        let expected = Error::RangeDoesNotFit {
            min: 0,
            max: 255,
            storage_min: -128,
            storage_max: 127,
        };
        assert_eq!(error, expected);
        message_names(&error, &["0..=255", "-128..=127"]);
        let pair = QParams::new(1.0, 0, QRange::I4).unwrap();
        assert!(kernel.quantize(pair, &[0.0], &mut [0u16]).is_err());
        assert!(kernel.quantize(pair, &[0.0], &mut [0i16]).is_ok());
    }
}

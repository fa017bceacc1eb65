//! Each kind of bad parameter has one documented outcome, and the message names the value.

use crate::message_names;
use fewer_bits::{Error, QParams, QRange, Scheme};

#[test]
fn a_scale_that_cannot_divide_is_refused() {
    let subnormal = f32::MIN_POSITIVE / 2.0;
    for (scale, shown) in [
        (0.0, "0e0"),
        (-0.0, "-0e0"),
        (-0.5, "-5e-1"),
        (subnormal, "5.877472e-39"),
        (f32::INFINITY, "inf"),
        (f32::NEG_INFINITY, "-inf"),
    ] {
        let error = QParams::new(scale, 0, QRange::I8).unwrap_err();
        assert_eq!(error, Error::InvalidScale { scale });
        message_names(&error, &[shown]);
    }
}

#[test]
fn a_scale_that_is_not_a_number_is_refused() {
    let error = QParams::new(f32::NAN, 0, QRange::I8).unwrap_err();
    assert!(matches!(error, Error::InvalidScale { scale } if scale.is_nan()));
    message_names(&error, &["NaN"]);
}

#[test]
fn a_scale_whose_codes_overflow_is_refused() {
    let scale = f32::MAX / 100.0;
    let error = QParams::new(scale, 0, QRange::I8).unwrap_err();
    assert_eq!(error, Error::InvalidScale { scale });
    // With 4 bits the same scale is usable: 8 steps of it are still finite.
    assert!(QParams::new(scale, 0, QRange::I4).is_ok());
}

#[test]
fn a_zero_point_outside_the_range_is_refused() {
    for (range, zero_point) in [
        (QRange::U8, 256),
        (QRange::U8, -1),
        (QRange::I8_NARROW, -128),
        (QRange::I4, i32::MAX),
    ] {
        let error = QParams::new(1.0, zero_point, range).unwrap_err();
        let (min, max) = (range.min(), range.max());
        let expected = Error::ZeroPointOutOfRange {
            zero_point: zero_point.into(),
            min,
            max,
        };
        assert_eq!(error, expected);
        message_names(&error, &[&zero_point.to_string(), &range.to_string()]);
    }
}

#[test]
fn other_widths_than_2_to_8_and_16_are_refused() {
    for bits in [0, 1, 9, 15, 17, 31, 32, 33, u32::MAX] {
        for made in [
            QRange::signed(bits),
            QRange::unsigned(bits),
            QRange::narrow(bits),
        ] {
            let error = made.unwrap_err();
            assert_eq!(error, Error::UnsupportedBits { bits });
            message_names(&error, &[&bits.to_string()]);
        }
    }
}

#[test]
fn an_interval_that_is_infinite_or_upside_down_is_refused() {
    for (lo, hi) in [
        (f32::NEG_INFINITY, 1.0),
        (-1.0, f32::INFINITY),
        (2.0, 1.0),
        (f32::MAX, f32::MIN),
    ] {
        let error = QParams::affine(lo, hi, QRange::U8).unwrap_err();
        assert_eq!(error, Error::InvalidRange { lo, hi });
        message_names(&error, &[&lo.to_string(), &hi.to_string()]);
    }
}

#[test]
fn an_interval_that_is_not_a_number_is_refused() {
    for (lo, hi) in [(f32::NAN, 1.0), (-1.0, f32::NAN), (f32::NAN, f32::NAN)] {
        let error = QParams::affine(lo, hi, QRange::U8).unwrap_err();
        assert!(matches!(error, Error::InvalidRange { .. }));
        message_names(&error, &["NaN"]);
    }
    for absmax in [-1.0, f32::NAN, f32::INFINITY] {
        let error = QParams::symmetric(absmax, QRange::I8).unwrap_err();
        assert!(matches!(error, Error::InvalidRange { .. }));
        message_names(&error, &[&absmax.to_string()]);
    }
}

#[test]
fn an_interval_whose_width_overflows_is_refused() {
    let (lo, hi) = (f32::MIN, f32::MAX);
    let error = QParams::affine(lo, hi, QRange::U8).unwrap_err();
    assert_eq!(error, Error::RangeTooWide { lo, hi });
    message_names(&error, &["-3.4028235e38", "[-3.4028235e38, 3.4028235e38]"]);
}

#[test]
fn an_interval_whose_lowest_code_overflows_is_refused() {
    // −128 steps of absmax / 127 are more than f32 holds; −127 of them are not.
    let absmax = 3.4e38;
    let error = QParams::symmetric(absmax, QRange::I8).unwrap_err();
    let (lo, hi) = (-absmax, absmax);
    assert_eq!(error, Error::RangeTooWide { lo, hi });
    assert!(QParams::symmetric(absmax, QRange::I8_NARROW).is_ok());
}

#[test]
fn constant_zero_has_the_scale_one() {
    for range in [QRange::U8, QRange::I8, QRange::I8_NARROW] {
        let p = QParams::affine(0.0, -0.0, range).unwrap();
        assert_eq!((p.scale(), p.zero_point()), (1.0, range.min()));
        let p = QParams::symmetric(0.0, range).unwrap();
        assert_eq!((p.scale(), p.zero_point()), (1.0, range.center()));
    }
}

#[test]
fn another_constant_is_exact_up_to_the_rounding_of_its_scale() {
    // The interval is widened to [0, 7] or [−7, 0], and its end has a code of its own.
    for (constant, code) in [(7.0, 255), (-7.0, 0)] {
        let p = QParams::affine(constant, constant, QRange::U8).unwrap();
        assert_eq!(p.quantize(constant).unwrap(), code);
        assert!((p.dequantize(code) - constant).abs() <= 7.0 * f32::EPSILON);
    }
}

#[test]
fn a_scale_is_never_subnormal() {
    let smallest = f32::from_bits(1);
    for hi in [smallest, 1e-40, f32::MIN_POSITIVE] {
        for p in [
            QParams::affine(0.0, hi, QRange::U8).unwrap(),
            QParams::symmetric(hi, QRange::I8).unwrap(),
        ] {
            assert_eq!(p.scale(), f32::MIN_POSITIVE);
        }
    }
}

#[test]
fn nan_has_no_code() {
    let p = QParams::affine(-1.0, 1.0, QRange::I8).unwrap();
    assert_eq!(p.quantize(f32::NAN), Err(Error::NotANumber { index: 0 }));
    assert_eq!(
        p.fake_quantize(-f32::NAN),
        Err(Error::NotANumber { index: 0 })
    );
}

#[test]
fn a_scheme_refuses_what_its_pairs_refuse() {
    let symmetric = Scheme::weights(0);
    for scheme in [symmetric, Scheme::activations()] {
        for (lo, hi) in [(1.0, -1.0), (f32::NEG_INFINITY, 1.0), (0.0, f32::INFINITY)] {
            let error = scheme.params(lo, hi).unwrap_err();
            assert_eq!(error, Error::InvalidRange { lo, hi });
        }
        assert!(scheme.params(f32::NAN, 0.0).is_err());
        assert!(scheme.params(0.0, f32::NAN).is_err());
    }
}

//! The laws of one scale and one zero point.

use crate::strategies::*;
use fewer_bits::{QParams, QRange};
use proptest::prelude::*;

/// |x − x̂|, exactly enough: f64 adds less than 2⁻⁵² of it.
fn error_of(p: QParams, x: f32) -> f64 {
    (f64::from(x) - f64::from(p.fake_quantize(x).unwrap())).abs()
}

// For x in [lo, hi], widened to contain 0, with n = q_max − q_min steps, |x − x̂| ≤ s/2 + 5nus.
//
// In real numbers the bound is s/2. What f32 adds, to first order in u (|x| ≤ ns):
// - x inside the representable interval: x/s is rounded, which moves it by at most nu before it is
//   rounded to an integer, and so is s·(q − z), which moves x̂ by nus: 2nus in all.
// - x above it (z is rounded, so hi may lie half a step beyond the last code): hi − lo and its
//   quotient by n are rounded, so hi/s − lo/s may be n(1 + 2u); lo/s is rounded, nu, before z
//   becomes an integer; s·(q_max − z) is rounded, nus: 4nus in all. Below, the first two are absent.
// The fifth nus is for the terms in u² and for f64. Subnormal intermediate results are harmless: s
// itself is normal, and a subnormal quotient rounds to the integer 0.
// ANCHOR: round_trip_error_is_at_most_half_a_step
proptest! {
    #[test]
    fn round_trip_error_is_at_most_half_a_step(
        (x, lo, hi) in value_in_interval(),
        range in any_range(),
    ) {
        let p = QParams::affine(lo, hi, range).unwrap();
        let (s, n) = (f64::from(p.scale()), f64::from(range.steps()));

        prop_assert!(error_of(p, x) <= s / 2.0 + 5.0 * n * U * s);
    }
}
// ANCHOR_END: round_trip_error_is_at_most_half_a_step

// Here nothing saturates, since ±absmax has a code: only the first case above is left, 2nus, plus
// one for the terms in u² and for f64.
proptest! {
    #[test]
    fn symmetric_round_trip_error_is_at_most_half_a_step(
        absmax in tame_float().prop_map(f32::abs),
        place in -1.0..=1.0f64,
        range in any_range(),
    ) {
        let p = QParams::symmetric(absmax, range).unwrap();
        let x = (place * f64::from(absmax)) as f32;
        let (s, n) = (f64::from(p.scale()), f64::from(range.steps()));

        for x in [x, absmax, -absmax] {
            prop_assert!(error_of(p, x) <= s / 2.0 + 3.0 * n * U * s);
        }
    }
}

// ANCHOR: zero_is_exact
proptest! {
    #[test]
    fn zero_is_exact(p in any_params()) {
        prop_assert_eq!(p.quantize(0.0).unwrap(), p.zero_point());
        prop_assert_eq!(p.quantize(-0.0).unwrap(), p.zero_point());
        prop_assert_eq!(p.dequantize(p.zero_point()), 0.0);
    }
}
// ANCHOR_END: zero_is_exact

// ANCHOR: quantize_is_monotone
proptest! {
    #[test]
    fn quantize_is_monotone((p, x) in params_and_value(), y in not_nan()) {
        let (low, high) = (x.min(y), x.max(y));

        prop_assert!(p.quantize(low).unwrap() <= p.quantize(high).unwrap());
        prop_assert!(p.quantize(x).unwrap() <= p.quantize(x.next_up()).unwrap());
    }
}
// ANCHOR_END: quantize_is_monotone

// ANCHOR: fake_quantize_is_idempotent
proptest! {
    #[test]
    fn fake_quantize_is_idempotent((p, x) in params_and_value()) {
        let once = p.fake_quantize(x).unwrap();

        prop_assert_eq!(p.fake_quantize(once).unwrap(), once);
    }
}
// ANCHOR_END: fake_quantize_is_idempotent

proptest! {
    // No slack: a value beyond an end of the representable interval becomes exactly that end.
    #[test]
    fn outside_the_representable_interval_the_error_is_the_distance_to_its_end(
        (p, x) in params_and_value(),
    ) {
        let (lo, hi) = p.representable();
        let restored = p.fake_quantize(x).unwrap();

        if x >= hi {
            prop_assert_eq!(p.quantize(x).unwrap(), p.range().max());
            prop_assert_eq!(restored, hi);
        } else if x <= lo {
            prop_assert_eq!(p.quantize(x).unwrap(), p.range().min());
            prop_assert_eq!(restored, lo);
        } else {
            prop_assert!(lo <= restored && restored <= hi);
        }
    }

    #[test]
    fn infinity_saturates(p in any_params()) {
        prop_assert_eq!(p.quantize(f32::INFINITY).unwrap(), p.range().max());
        prop_assert_eq!(p.quantize(f32::NEG_INFINITY).unwrap(), p.range().min());
    }

    // Read off the definition: of all codes, none is nearer to x. To first order the quotient is
    // off by |x/s|·u ≤ nu steps inside the interval, and each product by nus.
    #[test]
    fn the_code_is_the_nearest_one(
        (p, x) in params_and_value(),
        other in 0.0..=1.0f64,
    ) {
        let (range, s) = (p.range(), f64::from(p.scale()));
        let n = f64::from(range.steps());
        let other = range.min() + (other * n).round() as i32;
        let distance = |code| (f64::from(x) - f64::from(p.dequantize(code))).abs();
        prop_assume!(x.is_finite() && f64::from(x.abs()) <= n * s);

        prop_assert!(distance(p.quantize(x).unwrap()) <= distance(other) + 5.0 * n * U * s);
    }

    // The definition once more, with a division in f64. Rounding its result to f32 gives the f32
    // quotient: one of two 24-bit numbers is never within 2⁻⁴⁹ (relative) of a half-way point
    // between f32 numbers without being it, and f64 errs by 2⁻⁵³.
    #[test]
    fn the_code_is_the_rounded_quotient_by_a_true_division(
        (p, x) in params_and_value(),
        near in proptest::collection::vec(-20_000i32..20_000, 64),
    ) {
        let half_way = near.into_iter().map(|k| (k as f32 + 0.5) * p.scale());
        for x in half_way.chain([x]) {
            let quotient = f64::from((f64::from(x) / f64::from(p.scale())) as f32);
            let code = quotient.round_ties_even() + f64::from(p.zero_point());
            let (min, max) = (f64::from(p.range().min()), f64::from(p.range().max()));
            prop_assert_eq!(f64::from(p.quantize(x).unwrap()), code.clamp(min, max));
        }
    }

    #[test]
    fn each_code_survives_a_round_trip(p in any_params(), place in 0.0..=1.0f64) {
        let code = p.range().min() + (place * f64::from(p.range().steps())).round() as i32;
        prop_assert!(p.range().contains(code));
        prop_assert_eq!(p.quantize(p.dequantize(code)).unwrap(), code);
    }

    #[test]
    fn half_way_goes_to_the_even_step(range in any_range(), exponent in -100i32..100, step in -40_000i32..40_000) {
        // With a power of two as the scale and 0 as the middle, the half-way points are exact.
        let p = QParams::new(2f32.powi(exponent), range.center(), range).unwrap();
        let half_way = (step as f32 + 0.5) * p.scale();
        let even = if step % 2 == 0 { step } else { step + 1 };
        let expected = (range.center() + even).clamp(range.min(), range.max());
        prop_assert_eq!(p.quantize(half_way).unwrap(), expected);
    }

    #[test]
    fn symmetric_codes_of_opposite_values_are_opposite(
        absmax in tame_float().prop_map(f32::abs),
        x in not_nan(),
        range in narrow_range(),
    ) {
        let p = QParams::symmetric(absmax, range).unwrap();
        prop_assert_eq!(p.quantize(-x).unwrap(), -p.quantize(x).unwrap());
    }

    // Moving every code and the zero point by half the range changes no real number.
    #[test]
    fn signed_and_unsigned_codes_stand_for_the_same_numbers(
        bits in proptest::sample::select(&BITS[..]),
        (x, lo, hi) in value_in_interval(),
        far in not_nan(),
    ) {
        let half = 1 << (bits - 1);
        let (signed, unsigned) = (QRange::signed(bits).unwrap(), QRange::unsigned(bits).unwrap());
        let pairs = [
            (QParams::affine(lo, hi, signed), QParams::affine(lo, hi, unsigned)),
            (QParams::symmetric(hi.abs(), signed), QParams::symmetric(hi.abs(), unsigned)),
        ];
        for (s, u) in pairs {
            let (s, u) = (s.unwrap(), u.unwrap());
            prop_assert_eq!(s.scale(), u.scale());
            prop_assert_eq!(s.zero_point() + half, u.zero_point());
            for x in [x, far] {
                prop_assert_eq!(s.quantize(x).unwrap() + half, u.quantize(x).unwrap());
                prop_assert_eq!(s.fake_quantize(x).unwrap(), u.fake_quantize(x).unwrap());
            }
        }
    }

    #[test]
    fn a_range_without_zero_is_widened_to_contain_it(lo in 0.1f32..100.0, width in 0.0f32..100.0) {
        let range = QRange::U8;
        let widened = QParams::affine(0.0, lo + width, range).unwrap();
        prop_assert_eq!(QParams::affine(lo, lo + width, range).unwrap(), widened);
        prop_assert_eq!(widened.zero_point(), 0);
        let mirrored = QParams::affine(-lo - width, -lo, range).unwrap();
        prop_assert_eq!(mirrored.zero_point(), 255);
    }
}

/// Why the contract demands a division: the product with the rounded reciprocal is another number.
#[test]
fn multiplying_by_the_reciprocal_would_give_another_code() {
    let (x, scale) = (0.295f32, 0.01f32);
    let p = QParams::new(scale, 0, QRange::I8).unwrap();
    let by_product = (x * (1.0 / scale)).round_ties_even() as i32;
    assert_eq!((p.quantize(x).unwrap(), by_product), (30, 29));
}

#[test]
fn ranges_are_what_their_names_say() {
    for bits in BITS {
        let half = 1i32 << (bits - 1);
        let signed = QRange::signed(bits).unwrap();
        let unsigned = QRange::unsigned(bits).unwrap();
        let narrow = QRange::narrow(bits).unwrap();
        assert_eq!((signed.min(), signed.max()), (-half, half - 1));
        assert_eq!((unsigned.min(), unsigned.max()), (0, 2 * half - 1));
        assert_eq!((narrow.min(), narrow.max()), (1 - half, half - 1));
        assert_eq!(
            (signed.center(), unsigned.center(), narrow.center()),
            (0, half, 0)
        );
        assert_eq!(signed.steps() + 1, 1 << bits);
    }
    assert_eq!(QRange::signed(8).unwrap(), QRange::I8);
    assert_eq!(QRange::narrow(8).unwrap(), QRange::I8_NARROW);
    assert_eq!(QRange::unsigned(8).unwrap(), QRange::U8);
    assert_eq!(QRange::unsigned(4).unwrap(), QRange::U4);
    assert_eq!(QRange::signed(4).unwrap(), QRange::I4);
    assert_eq!(QRange::signed(16).unwrap(), QRange::I16);
    assert_eq!(QRange::unsigned(16).unwrap(), QRange::U16);
}

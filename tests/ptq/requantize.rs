//! From sums to codes.

use fewer_bits::exec::{FixedPoint, Multipliers, Requantize, Rounding};
use fewer_bits::gemm::Epilogue;
use fewer_bits::{QParams, QRange};
use proptest::prelude::*;

proptest! {
    /// The mantissa has 31 bits, so the factor is off by a relative 2⁻³¹ at most, and the product
    /// is rounded once. (An f64 holds the exact product of an i32 and a 21-bit factor.)
    #[test]
    fn fixed_point_rounds_the_product_once(
        sum: i32, mantissa in 1u32 << 20..1 << 21, exponent in -90i32..9,
    ) {
        let factor = f64::from(mantissa) * f64::from(exponent - 20).exp2();
        let exact = f64::from(sum) * factor;
        let rounded = FixedPoint::new(factor).times(sum) as f64;
        prop_assert!((rounded - exact).abs() <= 0.5, "{} {}", rounded, exact);
        if (exact - exact.floor()) == 0.5 {
            prop_assert_eq!(rounded, exact + 0.5);
        }
    }

    #[test]
    fn float_and_fixed_point_differ_by_one_code_at_most_and_only_next_to_a_tie(
        sums in prop::collection::vec(-2_000_000i32..2_000_000, 1..40),
        bias in -100_000i32..100_000,
        factor in 1e-6f64..1e-2,
        zero_point in 0i32..=255,
    ) {
        let output = QParams::new(0.1, zero_point, QRange::U8).unwrap();
        let bias = vec![bias; sums.len()];
        let codes = |rounding| {
            let factors = sums.iter().map(|_| factor);
            let multipliers = Multipliers::new(rounding, factors);
            let epilogue = Requantize { bias: &bias, multipliers: &multipliers, output };
            let mut codes = vec![0u8; sums.len()];
            epilogue.finish(0, 0, &sums, &mut codes);
            codes
        };
        let both = codes(Rounding::Float).into_iter().zip(codes(Rounding::FixedPoint));
        for ((float, fixed), sum) in both.zip(&sums) {
            let exact = f64::from(sum + bias[0]) * factor;
            let code = (exact.round() + f64::from(zero_point)).clamp(0.0, 255.0);
            prop_assert!((f64::from(fixed) - code).abs() <= 1.0);
            if float != fixed {
                prop_assert_eq!(float.abs_diff(fixed), 1);
                // The f32 of sum, factor and product: 3 roundings of at most u each.
                let from_tie = (exact - exact.floor() - 0.5).abs();
                prop_assert!(from_tie <= 1e-9 + exact.abs() * 4.0 * 2f64.powi(-24));
            }
        }
    }
}

#[test]
fn factors_beyond_all_bounds_saturate_and_tiny_ones_give_zero() {
    for sum in [i32::MIN, -1, 1, i32::MAX] {
        assert_eq!(FixedPoint::new(1e-30).times(sum), 0);
        let huge = FixedPoint::new(1e30).times(sum);
        assert!(huge.abs() >= 1 << 29 && huge.signum() == i64::from(sum.signum()));
    }
    assert_eq!(FixedPoint::new(1e30).times(0), 0);
    assert_eq!(FixedPoint::new(1.0 - 2f64.powi(-40)).times(1000), 1000);
}

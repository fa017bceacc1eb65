//! From sums to codes: the two arithmetics.

use fewer_bits::exec::{Requantize, Rounding};
use fewer_bits::gemm::Epilogue;
use fewer_bits::{QParams, QRange};
use proptest::prelude::*;

proptest! {
    /// f32 rounds three times on the way to the number that it then rounds to a code: s_x·s_w, its
    /// quotient by s_y, and the product with the sum, which is below 2²⁴ and itself exact. Fixed point
    /// errs by a relative 2⁻³¹. So both are within 4·2⁻²⁴ of the exact number, and where their codes
    /// differ, a half-way point lies between.
    // ANCHOR: floats_and_integers_differ_only_next_to_a_tie
    #[test]
    fn floats_and_integers_differ_only_next_to_a_tie(
        sums in prop::collection::vec(-2_000_000i32..2_000_000, 1..40),
        bias in -100_000i32..100_000,
        (x, w, y) in (1e-3f32..0.1, 1e-3f32..0.1, 1e-2f32..1.0),
        zero_point in 0i32..=255,
    ) {
        let m = f64::from(x) * f64::from(w) / f64::from(y);
        let pair = QParams::new(y, zero_point, QRange::U8).unwrap();
        let bias = vec![bias; sums.len()];
        let codes = |rounding| {
            let epilogue = Requantize::new(rounding, x, &[w], pair, &bias).unwrap();
            let mut codes = vec![0u8; sums.len()];
            epilogue.finish(0, 0, &sums, &mut codes);
            codes
        };
        let both = codes(Rounding::Float).into_iter().zip(codes(Rounding::FixedPoint));
        for ((float, fixed), sum) in both.zip(&sums) {
            if float != fixed {
                prop_assert_eq!(float.abs_diff(fixed), 1);
                let exact = f64::from(sum + bias[0]) * m;
                let from_tie = (exact - exact.floor() - 0.5).abs();
                prop_assert!(from_tie <= exact.abs() * 4.0 * 2f64.powi(-24));
            }
        }
    }
    // ANCHOR_END: floats_and_integers_differ_only_next_to_a_tie
}

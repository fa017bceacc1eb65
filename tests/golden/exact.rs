//! Quantizing without floating-point arithmetic: the bits of an f32 are taken apart, and what is
//! divided and rounded are integers. Only the width of an interval is computed in f64.

/// The number m·2^e.
#[derive(Clone, Copy)]
pub(crate) struct Number {
    negative: bool,
    m: u128,
    e: i32,
}

/// An f32, exactly.
pub(crate) fn number(x: f32) -> Number {
    let bits = x.to_bits();
    let (exponent, fraction) = ((bits >> 23 & 0xFF) as i32, u128::from(bits & 0x7F_FFFF));
    let (m, e) = match exponent {
        0 => (fraction, -149), // zero and subnormal
        255 => panic!("{x} is no number"),
        _ => (fraction | 1 << 23, exponent - 150),
    };
    let negative = bits >> 31 == 1;
    Number { negative, m, e }
}

/// m / 2^drop, rounded to an integer, half to even. `more` says that m is a little too small.
fn round_half_even(m: u128, drop: u32, more: bool) -> u128 {
    if drop == 0 {
        return m;
    }
    if drop > 120 {
        return 0;
    }
    let (kept, rest, half) = (m >> drop, m & ((1 << drop) - 1), 1 << (drop - 1));
    let up = rest > half || (rest == half && (more || kept % 2 == 1));
    kept + u128::from(up)
}

/// The quotient, rounded to the 24 bits of an f32 as IEEE 754 demands. The exponent has no limits.
pub(crate) fn divide(x: Number, s: Number) -> Number {
    let negative = x.negative != s.negative;
    // 64 more bits: the integer quotient has at least 40.
    let (dividend, e) = (x.m << 64, x.e - s.e - 64);
    let (m, more) = (dividend / s.m, dividend % s.m != 0);
    let drop = (128 - m.leading_zeros()).saturating_sub(24);
    Number {
        negative,
        m: round_half_even(m, drop, more),
        e: e + drop as i32,
    }
}

/// The nearest integer, half to even; at most ±2^80, which is far beyond every range.
pub(crate) fn nearest_integer(x: Number) -> i128 {
    let magnitude = match u32::try_from(x.e) {
        Ok(_) if x.m == 0 => 0,
        Ok(shift) => x.m.checked_shl(shift.min(80)).unwrap_or(0).min(1 << 80),
        Err(_) => round_half_even(x.m, x.e.unsigned_abs(), false),
    };
    let magnitude = i128::try_from(magnitude).unwrap();
    if x.negative { -magnitude } else { magnitude }
}

/// The code of `x`, from the definition: divide, round, add the zero point, saturate.
pub(crate) fn code(x: f32, scale: f32, zero_point: i32, qmin: i32, qmax: i32) -> i32 {
    let steps = nearest_integer(divide(number(x), number(scale)));
    let code = (steps + i128::from(zero_point)).clamp(qmin.into(), qmax.into());
    i32::try_from(code).unwrap()
}

/// The scale and the zero point for values, from the definition.
pub(crate) fn choose(x: &[f32], qmin: i32, qmax: i32) -> (f32, i32) {
    let lo = x.iter().copied().fold(0.0, f32::min);
    let hi = x.iter().copied().fold(0.0, f32::max);
    // Rounding the f64 difference again gives the f32 difference: 53 ≥ 2·24 + 2 (Figueroa 1995).
    let width = (f64::from(hi) - f64::from(lo)) as f32;
    let steps = (qmax - qmin) as f32;
    let quotient = divide(number(width), number(steps));
    let scale = f64::from(quotient.m as u32) * 2f64.powi(quotient.e);
    let scale = match scale {
        0.0 => 1.0,
        _ => scale.max(f64::from(f32::MIN_POSITIVE)) as f32,
    };
    let steps = nearest_integer(divide(number(lo), number(scale)));
    (scale, i32::try_from(i128::from(qmin) - steps).unwrap())
}

#[test]
fn it_rounds_as_the_processor_does() {
    for (x, s) in [
        (1.0f32, 3.0f32),
        (-2.0, 3.0),
        (0.295, 0.01),
        (7.0, 0.1),
        (1e-40, 2.0),
        (3e38, 1e-3),
    ] {
        let quotient = divide(number(x), number(s));
        let value = f64::from(quotient.m as u32) * 2f64.powi(quotient.e);
        let value = if quotient.negative { -value } else { value };
        if (x / s).is_normal() {
            assert_eq!(value, f64::from(x / s), "{x} / {s}");
        }
    }
    for (x, nearest) in [
        (0.5, 0),
        (1.5, 2),
        (-2.5, -2),
        (-0.75, -1),
        (1e-45, 0),
        (3.0, 3),
        (1e10, 10_000_000_000),
    ] {
        assert_eq!(nearest_integer(number(x)), nearest, "{x}");
    }
}

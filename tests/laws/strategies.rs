//! What the laws are tried on: every kind of range, ugly floats, usable pairs.

use fewer_bits::elementwise::Kernel;
use fewer_bits::{Granularity, Isa, QParams, QRange, Scheme, Symmetry};
use ndarray::ArrayD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// The unit roundoff of f32.
pub(crate) const U: f64 = 1.0 / (1 << 24) as f64;

/// The widths that codes may have.
pub(crate) const BITS: [u32; 8] = [2, 3, 4, 5, 6, 7, 8, 16];

/// The element-wise kernels that this machine can run, the portable one last.
pub(crate) fn kernels() -> Vec<Kernel> {
    Isa::ALL.into_iter().filter_map(Kernel::new).collect()
}

/// Signed, unsigned and narrow ranges of every width.
pub(crate) fn any_range() -> impl Strategy<Value = QRange> {
    select(&BITS[..]).prop_flat_map(|bits| {
        select(vec![
            QRange::signed(bits).unwrap(),
            QRange::unsigned(bits).unwrap(),
            QRange::narrow(bits).unwrap(),
        ])
    })
}

/// Ranges that are their own mirror image.
pub(crate) fn narrow_range() -> impl Strategy<Value = QRange> {
    select(&BITS[..]).prop_map(|bits| QRange::narrow(bits).unwrap())
}

/// Any bit pattern at all, and often the special ones.
pub(crate) fn any_float() -> impl Strategy<Value = f32> {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        f32::MIN_POSITIVE,
        f32::from_bits(1), // the smallest subnormal
        -f32::from_bits(0x007F_FFFF),
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        8_388_608.0, // 2²³, the limit inside `code`
        -8_388_609.0,
        2_147_483_648.0, // 2³¹, where a conversion to i32 overflows
    ];
    prop_oneof![
        4 => any::<u32>().prop_map(f32::from_bits),
        4 => -300.0f32..300.0,
        1 => select(special.to_vec()),
    ]
}

/// Any float that is not NaN.
pub(crate) fn not_nan() -> impl Strategy<Value = f32> {
    any_float().prop_filter("not NaN", |x| !x.is_nan())
}

/// Finite floats of every size up to a quarter of the largest, so that no range overflows.
pub(crate) fn tame_float() -> impl Strategy<Value = f32> {
    any_float().prop_filter("tame", |x| x.abs() <= f32::MAX / 4.0)
}

/// An interval and a value in it: often an end, else somewhere between.
pub(crate) fn value_in_interval() -> impl Strategy<Value = (f32, f32, f32)> {
    let place = prop_oneof![6 => 0.0..=1.0, 1 => Just(0.0), 1 => Just(1.0)];
    (tame_float(), tame_float(), place).prop_map(|(a, b, place)| {
        let (lo, hi) = (a.min(b), a.max(b));
        let x = f64::from(lo) + place * (f64::from(hi) - f64::from(lo));
        (x as f32, lo, hi)
    })
}

/// Any usable pair: scales from the smallest normal number up, each code a possible zero point.
pub(crate) fn any_params() -> impl Strategy<Value = QParams> {
    let exponent = prop_oneof![3 => -20i32..10, 1 => -126i32..110];
    let significand = prop_oneof![1 => Just(1.0f32), 3 => 1.0f32..2.0];
    (any_range(), exponent, significand)
        .prop_flat_map(|(range, exponent, significand)| {
            let scale = significand * 2f32.powi(exponent);
            (Just(range), Just(scale), range.min()..=range.max())
        })
        .prop_map(|(range, scale, zero_point)| QParams::new(scale, zero_point, range).unwrap())
}

/// A pair and a value near its codes, often exactly half-way between two.
pub(crate) fn params_and_value() -> impl Strategy<Value = (QParams, f32)> {
    any_params().prop_flat_map(|p| {
        let steps = f64::from(p.range().steps());
        let half_steps = -2 * p.range().steps()..=2 * p.range().steps();
        let scale = f64::from(p.scale());
        let x = prop_oneof![
            3 => (-1.5 * steps..1.5 * steps).prop_map(move |k| (k * scale) as f32),
            2 => half_steps.prop_map(move |k| (f64::from(k) / 2.0 * scale) as f32),
            1 => not_nan(),
        ];
        (Just(p), x)
    })
}

/// Any granularity that a tensor of `shape` can have. Groups may be larger than their axis.
pub(crate) fn any_granularity(shape: &[usize]) -> BoxedStrategy<Granularity> {
    if shape.is_empty() {
        return Just(Granularity::PerTensor).boxed();
    }
    prop_oneof![
        Just(Granularity::PerTensor),
        (0..shape.len()).prop_map(|axis| Granularity::PerChannel { axis }),
        (0..shape.len(), 1usize..9).prop_map(|(axis, size)| Granularity::PerGroup { axis, size }),
    ]
    .boxed()
}

/// Any codes, symmetry and granularity for a tensor of `shape`.
pub(crate) fn any_scheme(shape: &[usize]) -> impl Strategy<Value = Scheme> + use<> {
    let symmetry = select(vec![Symmetry::Symmetric, Symmetry::Asymmetric]);
    (any_range(), symmetry, any_granularity(shape)).prop_map(|(range, symmetry, granularity)| {
        Scheme {
            range,
            symmetry,
            granularity,
        }
    })
}

/// A tensor of up to four axes filled with `element`.
pub(crate) fn any_tensor(
    element: BoxedStrategy<f32>,
    axis: std::ops::Range<usize>,
) -> impl Strategy<Value = ArrayD<f32>> {
    vec(axis, 0..5).prop_flat_map(move |shape| {
        vec(element.clone(), shape.iter().product::<usize>())
            .prop_map(move |values| ArrayD::from_shape_vec(&shape[..], values).unwrap())
    })
}

/// A tensor of tame values with at least one element, and a scheme for it.
pub(crate) fn tensor_and_scheme() -> impl Strategy<Value = (ArrayD<f32>, Scheme)> {
    let element = prop_oneof![6 => -10.0f32..10.0, 1 => Just(0.0), 1 => tame_float()];
    any_tensor(element.boxed(), 1..8).prop_flat_map(|x| {
        let scheme = any_scheme(x.shape());
        (Just(x), scheme)
    })
}

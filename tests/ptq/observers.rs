//! What observers say of the values that they saw.

use fewer_bits::calibrate::{Histogram, Method, MinMax, MovingAverage, Observer};
use proptest::prelude::*;

/// Values of all sizes, zeros and subnormals included.
fn values() -> impl Strategy<Value = Vec<f32>> {
    let finite = any::<f32>().prop_filter("finite", |x| x.is_finite());
    let value = prop_oneof![finite, -1.0f32..1.0, Just(0.0), Just(-0.0), Just(1e-40)];
    prop::collection::vec(value, 0..40)
}

fn histogram(parts: &[&[f32]]) -> Histogram {
    let mut histogram = Histogram::default();
    parts.iter().for_each(|x| histogram.observe(x).unwrap());
    histogram
}

proptest! {
    #[test]
    fn merged_histograms_are_the_histogram_of_all_values_in_any_order(
        a in values(), b in values(),
    ) {
        let all = histogram(&[&a, &b]);
        let mut merged = histogram(&[&a]);
        merged.merge(&histogram(&[&b]));
        prop_assert_eq!(&merged, &all);
        let mut other = histogram(&[&b]);
        other.merge(&histogram(&[&a]));
        prop_assert_eq!(&other, &all);
        let mut backward = [a, b].concat();
        backward.reverse();
        prop_assert_eq!(&histogram(&[&backward]), &all);
        prop_assert_eq!(all.count() as usize, backward.len());
    }

    #[test]
    fn each_value_lies_in_a_bin_that_counts_it(x in values()) {
        let histogram = histogram(&[&x]);
        for (begin, end, count) in histogram.bins() {
            let inside = x.iter().filter(|x| (begin..end).contains(&f64::from(**x)));
            prop_assert_eq!(inside.count() as u64, count);
        }
    }

    #[test]
    fn a_percentile_leaves_out_no_more_than_its_part(x in values(), part in 0.01f64..=1.0) {
        prop_assume!(!x.is_empty());
        let histogram = histogram(&[&x]);
        let (lo, hi) = histogram.percentile(part).unwrap();
        let (first, last) = histogram.range().unwrap();
        prop_assert!(first <= lo && lo <= hi && hi <= last);
        let most = (1.0 - part) / 2.0 * x.len() as f64;
        prop_assert!(x.iter().filter(|x| **x < lo).count() as f64 <= most);
        prop_assert!(x.iter().filter(|x| **x > hi).count() as f64 <= most);
        prop_assert_eq!(histogram.percentile(1.0).unwrap(), (first, last));
    }

    #[test]
    fn min_max_is_the_range_of_all_and_a_moving_average_lies_inside(
        a in values(), b in values(), momentum in 0.01f32..=1.0,
    ) {
        let (mut all, mut average) = (MinMax::default(), MovingAverage::new(momentum).unwrap());
        for x in [&a, &b] {
            all.observe(x).unwrap();
            average.observe(x).unwrap();
        }
        let both = [a, b].concat();
        prop_assume!(!both.is_empty());
        let lo = both.iter().copied().fold(f32::INFINITY, f32::min);
        let hi = both.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        prop_assert_eq!(all.range().unwrap(), (lo, hi));
        let (average_lo, average_hi) = average.range().unwrap();
        prop_assert!(lo <= average_lo && average_lo <= average_hi && average_hi <= hi);
    }

    #[test]
    fn a_bad_value_is_named_and_changes_nothing(
        mut x in values(), at: prop::sample::Index, bad in prop::sample::select(vec![f32::NAN, f32::INFINITY]),
    ) {
        let seen = histogram(&[&x]);
        let mut histogram = seen.clone();
        let at = at.index(x.len() + 1);
        x.insert(at, bad);
        let message = histogram.observe(&x).unwrap_err().to_string();
        prop_assert!(message.contains(&format!("index {at} is")), "{}", message);
        prop_assert_eq!(histogram, seen);
    }
}

#[test]
fn a_moving_average_moves_its_part_of_the_way() {
    let mut average = MovingAverage::new(0.25).unwrap();
    average.observe(&[-1.0, 1.0]).unwrap();
    average.observe(&[-5.0, 3.0]).unwrap();
    assert_eq!(average.range().unwrap(), (-2.0, 1.5));
}

#[test]
fn no_values_have_no_range_and_settings_are_checked() {
    for method in [
        Method::MinMax,
        Method::MovingAverage(0.5),
        Method::Percentile(0.9),
    ] {
        let mut observer = method.observer().unwrap();
        observer.observe(&[]).unwrap();
        assert!(
            observer
                .range()
                .unwrap_err()
                .to_string()
                .contains("no values")
        );
    }
    let refused = [Method::MovingAverage(0.0), Method::MovingAverage(f32::NAN)];
    for method in refused
        .into_iter()
        .chain([Method::Percentile(1.5), Method::Percentile(0.0)])
    {
        assert!(method.observer().is_err(), "{method:?}");
    }
}

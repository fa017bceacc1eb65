//! Ranges read off each batch.

use fewer_bits::exec::Scope;
use fewer_bits::nn::{Linear, Network};
use fewer_bits::ptq::{Dynamic, weight_scheme};
use ndarray::{Axis, array};
use proptest::prelude::*;

use super::{cases, network, strategies::rng};

proptest! {
    #![proptest_config(cases())]

    // ANCHOR: with_a_pair_each_samples_are_independent
    #[test]
    fn with_a_pair_each_samples_are_independent(
        mut rng in rng(), bits in 2u32..=8, per_channel: bool,
    ) {
        let (network, x) = network(&mut rng, 4);
        let scheme = weight_scheme(bits, per_channel).unwrap();
        let rows = Dynamic::new(&network, scheme, Scope::Row).unwrap();
        let tensor = Dynamic::new(&network, scheme, Scope::Tensor).unwrap();
        let together = rows.forward(x.view()).unwrap();
        for (i, sample) in x.axis_chunks_iter(Axis(0), 1).enumerate() {
            let alone = rows.forward(sample.view()).unwrap();
            let in_company = together.index_axis(Axis(0), i);
            prop_assert_eq!(alone.index_axis(Axis(0), 0), in_company);
            prop_assert_eq!(alone, tensor.forward(sample.view()).unwrap());
        }
    }
    // ANCHOR_END: with_a_pair_each_samples_are_independent

    #[test]
    fn eight_bits_are_near_the_network_in_f32(mut rng in rng()) {
        let (network, x) = network(&mut rng, 4);
        let scheme = weight_scheme(8, true).unwrap();
        let y = network.forward(x.view()).unwrap();
        let largest = y.iter().fold(1.0f32, |m, y| m.max(y.abs()));
        for scope in [Scope::Row, Scope::Tensor] {
            let z = Dynamic::new(&network, scheme, scope).unwrap().forward(x.view()).unwrap();
            for (y, z) in y.iter().zip(&z) {
                prop_assert!((y - z).abs() <= 0.25 * largest, "{} {}", y, z);
            }
        }
    }
}

#[test]
fn an_outlier_in_one_sample_coarsens_the_others_unless_each_has_its_pair() {
    let linear = Linear::new(array![[1.0, 1.0]], array![0.0]).unwrap();
    let network = Network::new(&[2], [("only", linear.into())]).unwrap();
    let x = array![[0.3f32, 0.4], [0.0, 1000.0]].into_dyn();
    let first = |scope| {
        let scheme = weight_scheme(8, true).unwrap();
        let dynamic = Dynamic::new(&network, scheme, scope).unwrap();
        dynamic.forward(x.view()).unwrap()[[0, 0]]
    };
    assert_eq!(first(Scope::Tensor), 0.0); // a step is 1000/255, and both values are below half
    assert!((first(Scope::Row) - 0.7).abs() < 0.002);
}

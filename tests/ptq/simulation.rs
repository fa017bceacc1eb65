//! The simulation equals the integers.

use std::ops::ControlFlow;
use std::path::Path;

use fewer_bits::QRange;
use fewer_bits::calibrate::Method;
use fewer_bits::exec::Rounding;
use fewer_bits::io::LabelledImages;
use fewer_bits::models;
use fewer_bits::nn::{Dataset, Exact, Linear, Network, Recipe as Training, Targets, train};
use fewer_bits::ptq::{Recipe, Static, WeightsOnly, weight_scheme};
use ndarray::{Array1, Array2, Axis, Slice, array};
use proptest::prelude::*;

use super::{cases, network, predictions, strategies::rng};

fn recipes() -> impl Strategy<Value = Recipe> {
    let method = prop_oneof![
        Just(Method::MinMax),
        Just(Method::MovingAverage(0.5)),
        Just(Method::Percentile(0.99)),
    ];
    (2u32..=8, any::<bool>(), 2u32..=8, method, any::<bool>()).prop_map(
        |(weight_bits, per_channel, bits, method, fixed)| {
            let default = Recipe::default();
            Recipe {
                weights: weight_scheme(weight_bits, per_channel).unwrap(),
                activations: fewer_bits::Scheme {
                    range: QRange::unsigned(bits).unwrap(),
                    ..default.activations
                },
                method,
                rounding: match fixed {
                    true => Rounding::FixedPoint,
                    false => Rounding::Float,
                },
            }
        },
    )
}

proptest! {
    #![proptest_config(cases())]

    /// Both round a number that is within a small part of a step of the exact one: the integers by
    /// the f32 of their multiplier and sum (a relative 3u, and no code is beyond 255), the
    /// simulation by the rounding of its sum of at most 200 products. So they differ where the exact
    /// number lies next to a tie, and then by one.
    // ANCHOR: codes_are_those_of_the_simulation_within_one
    #[test]
    fn codes_are_those_of_the_simulation_within_one(
        mut rng in rng(), recipe in recipes(),
    ) {
        let (network, x) = network(&mut rng, 12);
        let quantized = Static::new(&network, [x.clone()], recipe).unwrap();
        for site in quantized.compare(x.view()).unwrap() {
            prop_assert!(site.largest <= 1, "{:?} of {:?}", site, network);
        }
    }
    // ANCHOR_END: codes_are_those_of_the_simulation_within_one

    #[test]
    fn eight_bits_are_near_the_network_in_f32(mut rng in rng()) {
        let (network, x) = network(&mut rng, 12);
        let y = network.forward(x.view()).unwrap();
        let quantized = Static::new(&network, [x.clone()], Recipe::default()).unwrap();
        let z = quantized.forward(x.view()).unwrap();
        let largest = y.iter().fold(1.0f32, |m, y| m.max(y.abs()));
        for (y, z) in y.iter().zip(&z) {
            prop_assert!((y - z).abs() <= 0.25 * largest, "{} {}", y, z);
        }
    }
}

pub(super) fn digits() -> Dataset {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("book/data/digits");
    let file = |name: &str| folder.join(name);
    let (images, labels) = (file("images.idx3-ubyte"), file("labels.idx1-ubyte"));
    let images = LabelledImages::read(&images, &labels, 10).unwrap();
    let targets = Targets::Labels(images.labels().to_vec());
    Dataset::new(images.inputs(16.0), targets).unwrap()
}

#[test]
fn a_trained_network_predicts_the_same_digits_in_integers_and_in_their_simulation() {
    let digits = digits();
    let part = |from: usize, to: usize| digits.select(&(from..to).collect::<Vec<_>>()).unwrap();
    let (training, test) = (part(0, 1200), part(1200, 1797));
    let mut network = models::digits(1).unwrap();
    let recipe = Training {
        epochs: 8,
        learning_rate: 5e-3,
        ..Training::default()
    };
    train(&mut network, &training, None, &recipe, &mut Exact, |_| {
        ControlFlow::Continue(())
    })
    .unwrap();

    let calibration = training
        .inputs()
        .slice_axis(Axis(0), Slice::from(..128))
        .to_owned();
    let x = test.inputs().view();
    let float = test
        .score(597, |x| network.forward(x.view()))
        .unwrap()
        .accuracy
        .unwrap();
    assert!(float > 0.85, "f32: {float}");
    for rounding in [Rounding::Float, Rounding::FixedPoint] {
        let recipe = Recipe {
            rounding,
            ..Recipe::default()
        };
        let quantized = Static::new(&network, [calibration.clone()], recipe).unwrap();
        let integers = quantized.forward(x.view()).unwrap();
        let simulated = quantized.simulate(x.view()).unwrap();
        assert_eq!(predictions(&integers), predictions(&simulated));
        let score = test.score(100, |x| quantized.forward(x.view())).unwrap();
        assert!((score.accuracy.unwrap() - float).abs() <= 0.01);
        // 64·32 and 32·10 codes, 42 scales and 42 biases, and the pairs of the input and the ReLU.
        assert_eq!(quantized.bytes(), 2048 + 320 + 8 * 42 + 8 * 2);
    }
}

#[test]
fn a_channel_without_weights_keeps_its_bias() {
    let weight = Array2::from_shape_fn((2, 3), |(i, _)| i as f32);
    let linear = Linear::new(weight, array![0.3, -1000.0]).unwrap();
    let network = Network::new(&[3], [("only", linear.into())]).unwrap();
    let x = array![[0.5f32, -0.25, 1.0]].into_dyn();
    for per_channel in [true, false] {
        let weights = weight_scheme(8, per_channel).unwrap();
        let recipe = Recipe {
            weights,
            ..Recipe::default()
        };
        let y = Static::new(&network, [x.clone()], recipe).unwrap();
        let y = y.forward(x.view()).unwrap();
        assert!((y[[0, 0]] - 0.3).abs() < 1e-2, "{y}");
        assert!((y[[0, 1]] + 998.75).abs() < 1e-2, "{y}");
    }
}

#[test]
fn the_bytes_of_weights_only_are_codes_scales_and_biases() {
    let weight = Array2::from_shape_fn((3, 5), |(i, j)| (i + j) as f32);
    let linear = Linear::new(weight, Array1::zeros(3)).unwrap();
    let network = Network::new(&[5], [("only", linear.into())]).unwrap();
    for (bits, codes) in [(8, 15), (4, 8), (3, 6), (2, 4)] {
        let bytes = |per_channel| {
            let scheme = weight_scheme(bits, per_channel).unwrap();
            WeightsOnly::new(&network, scheme).unwrap().bytes()
        };
        assert_eq!(bytes(true), codes + 12 + 12);
        assert_eq!(bytes(false), codes + 4 + 12);
    }
}

//! The laws of `fewer_bits::qat`: what training sees is what the integers compute.

use std::ops::ControlFlow;

use fewer_bits::exec::{Pairs, Rounding};
use fewer_bits::nn::{
    BatchNorm, Dataset, Exact, Layer, Linear, Network, Recipe as Training, Simulation, Targets,
    fold_batch_norm, train,
};
use fewer_bits::ptq::{Recipe, Static, weight_scheme};
use fewer_bits::qat::{FakeQuantizer, Ranges};
use fewer_bits::{QParams, QRange, QTensor, models};
use ndarray::{Array1, ArrayD, IxDyn, array};
use proptest::prelude::*;

use super::simulation::digits;
use super::{cases, network, predictions, strategies::rng};

const OBSERVED: Ranges = Ranges::Observed { momentum: 0.1 };

fn column(values: &[f32]) -> ArrayD<f32> {
    Array1::from(values.to_vec()).into_dyn()
}

/// One site with this pair.
fn at_one_site(pair: QParams, ranges: Ranges) -> FakeQuantizer {
    let mut pairs = Pairs::default();
    pairs.activations.insert("site".to_owned(), pair);
    pairs.weights.insert("site".to_owned(), vec![pair]);
    FakeQuantizer::new(pairs, ranges).unwrap()
}

fn pairs() -> impl Strategy<Value = QParams> {
    let range = (2u32..=8, any::<bool>()).prop_map(|(bits, signed)| match signed {
        true => QRange::narrow(bits).unwrap(),
        false => QRange::unsigned(bits).unwrap(),
    });
    (range, -10.0f32..=0.0, 0.01f32..=10.0)
        .prop_map(|(range, lo, hi)| QParams::affine(lo, hi, range).unwrap())
}

/// The network with its batch norms folded and no bias left.
fn without_biases(network: &Network) -> Network {
    let mut network = fold_batch_norm(network).unwrap();
    for (name, mut parameter) in network.parameters_mut() {
        if name.ends_with(".bias") {
            parameter.fill(0.0);
        }
    }
    network
}

proptest! {
    #[test]
    fn on_the_way_there_each_value_is_the_one_that_its_code_stands_for(
        pair in pairs(), x in prop::collection::vec(-30.0f32..30.0, 1..50),
    ) {
        let mut quantizer = at_one_site(pair, Ranges::Learned);
        let rounded = quantizer.activations("site", column(&x).view()).unwrap().unwrap();
        for (x, rounded) in x.iter().zip(&rounded) {
            prop_assert_eq!(pair.fake_quantize(*x).unwrap(), *rounded);
        }
    }

    /// Saturated is what lies more than half a step beyond an end.
    // ANCHOR: the_gradient_passes_where_nothing_saturated
    #[test]
    fn the_gradient_passes_where_nothing_saturated(
        pair in pairs(), x in prop::collection::vec(-30.0f32..30.0, 1..50),
    ) {
        let mut quantizer = at_one_site(pair, Ranges::Learned);
        let ones = ArrayD::ones(IxDyn(&[x.len()]));
        let gradient = quantizer.activations_gradient("site", column(&x).view(), ones);
        let ((lo, hi), half) = (pair.representable(), pair.scale() / 2.0);
        for (x, gradient) in x.iter().zip(&gradient) {
            let near_an_end = [x - (lo - half), x - (hi + half)];
            if near_an_end.iter().all(|distance| distance.abs() > 1e-5) {
                let inside = (lo - half..=hi + half).contains(x);
                prop_assert_eq!(*gradient, f32::from(inside), "{}", x);
            }
        }
    }
    // ANCHOR_END: the_gradient_passes_where_nothing_saturated
}

proptest! {
    #![proptest_config(cases())]

    /// Biases are all that the integers round and training does not, to a step of s_x·s_w, so here
    /// there are none.
    // ANCHOR: training_sees_what_the_integers_simulation_computes
    #[test]
    fn training_sees_what_the_integers_simulation_computes(
        mut rng in rng(), bits in 2u32..=8, per_channel: bool, learned: bool,
    ) {
        let (network, x) = network(&mut rng, 12);
        let network = without_biases(&network);
        let weights = weight_scheme(bits, per_channel).unwrap();
        let recipe = Recipe { weights, ..Recipe::default() };
        let pairs = recipe.choose(&network, [x.clone()]).unwrap();
        let ranges = if learned { Ranges::Learned } else { OBSERVED };
        let quantizer = FakeQuantizer::new(pairs, ranges).unwrap();
        let seen = quantizer.predict(&network, x.view()).unwrap();
        let pairs = quantizer.pairs(&network).unwrap();
        let integers = Static::with_pairs(&network, &pairs, Rounding::Float).unwrap();
        prop_assert_eq!(seen, integers.simulate(x.view()).unwrap());
    }
    // ANCHOR_END: training_sees_what_the_integers_simulation_computes

    #[test]
    fn fitted_weights_have_no_larger_squared_error(mut rng in rng(), bits in 2u32..=8) {
        let (network, x) = network(&mut rng, 2);
        let network = fold_batch_norm(&network).unwrap();
        let recipe = Recipe { weights: weight_scheme(bits, true).unwrap(), ..Recipe::default() };
        let pairs = recipe.choose(&network, [x]).unwrap();
        let fitted = pairs.clone().fit_weights(&network).unwrap();
        prop_assert_eq!(&pairs.activations, &fitted.activations);
        for (site, layer) in network.layers() {
            let Some(weight) = layer.weight() else { continue };
            let error = |pairs: &Pairs| -> f64 {
                let pairs = pairs.of_weights(site).unwrap().to_vec();
                let granularity = recipe.weights.granularity;
                let codes = QTensor::quantize_with(weight.view(), granularity, pairs).unwrap();
                let error = |(x, y): (&f32, &f32)| f64::from(x - y).powi(2);
                weight.iter().zip(&codes.dequantize()).map(error).sum()
            };
            prop_assert!(error(&fitted) <= error(&pairs));
        }
    }
}

/// 3 is the code 2 of 1.5 steps: its rounding error is 0. 1 rounds up by 0.5 and 9 saturates at 4.5.
#[test]
fn a_learned_scale_moves_against_the_gradient_of_its_values() {
    let range = QRange::unsigned(2).unwrap();
    let moved = |x: f32, gradient: f32| {
        let mut quantizer = at_one_site(QParams::new(1.5, 0, range).unwrap(), Ranges::Learned);
        quantizer.activations_gradient("site", column(&[x]).view(), column(&[gradient]));
        quantizer.step(0.01).unwrap();
        let pairs = quantizer.pairs(&models::lecture(0).unwrap()).err();
        assert!(pairs.is_some()); // a network with other sites
        quantizer
            .activations("site", column(&[100.0]).view())
            .unwrap()
            .unwrap()[0]
            / 3.0
    };
    let near = |a: f32, b: f32| (a - b).abs() < 1e-4;
    assert!(near(moved(3.0, 1.0), 1.5), "no error, no gradient");
    assert!(
        near(moved(1.0, 1.0), 1.5 * (-0.01f32).exp()),
        "x̂ is to be smaller"
    );
    assert!(
        near(moved(1.0, -1.0), 1.5 * 0.01f32.exp()),
        "x̂ is to be larger"
    );
    assert!(
        near(moved(9.0, -1.0), 1.5 * 0.01f32.exp()),
        "the end is to move out"
    );
}

#[test]
fn observed_ranges_follow_the_weights_and_the_mean_of_the_batches() {
    let pair = QParams::affine(0.0, 1.0, QRange::U8).unwrap();
    let mut quantizer = at_one_site(pair, OBSERVED);
    let mut reach = 1.0f32;
    for _ in 0..5 {
        let x = column(&[0.0, 100.0]);
        let rounded = quantizer.activations("site", x.view()).unwrap().unwrap();
        reach += 0.1 * (100.0 - reach);
        assert!(
            (rounded[1] - reach).abs() < 1e-3 * reach,
            "{rounded} {reach}"
        );
    }
    for largest in [3.0, 0.5, 7.0] {
        let w = column(&[largest, -0.25]);
        let rounded = quantizer.weights("site", w.view()).unwrap().unwrap();
        assert!((rounded[0] - largest).abs() < 1e-6, "nothing saturates");
    }
}

#[test]
fn two_bits_that_were_trained_with_beat_two_bits_that_were_not() {
    let digits = digits();
    let part = |from: usize, to: usize| digits.select(&(from..to).collect::<Vec<_>>()).unwrap();
    let (training, test) = (part(0, 1200), part(1200, 1797));
    let mut network = models::digits(1).unwrap();
    let recipe = Training {
        epochs: 8,
        learning_rate: 5e-3,
        ..Training::default()
    };
    let go_on = |_| ControlFlow::Continue(());
    train(&mut network, &training, None, &recipe, &mut Exact, go_on).unwrap();

    let weights = weight_scheme(2, true).unwrap();
    let calibration = [training.inputs().clone()];
    let start = Recipe {
        weights,
        ..Recipe::default()
    }
    .choose(&network, calibration)
    .unwrap();
    let integers = |network: &Network, pairs: &Pairs| {
        let integers = Static::with_pairs(network, pairs, Rounding::Float).unwrap();
        let score = test.score(100, |x| integers.forward(x.view())).unwrap();
        (
            score.accuracy.unwrap(),
            integers.forward(test.inputs().view()).unwrap(),
        )
    };
    let (untrained, _) = integers(&network, &start);
    for ranges in [Ranges::Learned, Ranges::Observed { momentum: 0.01 }] {
        let mut network = network.clone();
        let mut quantizer = FakeQuantizer::new(start.clone(), ranges).unwrap();
        train(
            &mut network,
            &training,
            None,
            &recipe,
            &mut quantizer,
            go_on,
        )
        .unwrap();
        let pairs = quantizer.pairs(&network).unwrap();
        let (trained, logits) = integers(&network, &pairs);
        assert!(
            trained > untrained + 0.1,
            "{ranges:?}: {untrained} {trained}"
        );
        let seen = quantizer.predict(&network, test.inputs().view()).unwrap();
        assert_eq!(predictions(&seen), predictions(&logits));
    }
}

#[test]
fn what_is_missing_or_means_nothing_is_refused() {
    let linear = Linear::new(array![[1.0, -2.0]], array![0.5]).unwrap();
    let network = Network::new(&[2], [("only", Layer::from(linear))]).unwrap();
    let message = |pairs: &Pairs| {
        let made = Static::with_pairs(&network, pairs, Rounding::Float);
        made.err().unwrap().to_string()
    };
    let mut pairs = Pairs::default();
    assert!(message(&pairs).contains("`input` has no scale and zero point"));
    let pair = QParams::new(0.5, 0, QRange::U8).unwrap();
    pairs.activations.insert("input".to_owned(), pair);
    assert!(message(&pairs).starts_with("only: the tensor `only` has no scales"));
    let pair = QParams::new(0.5, 0, QRange::I8_NARROW).unwrap();
    pairs.weights.insert("only".to_owned(), vec![pair; 3]);
    assert!(
        message(&pairs).contains("expected 1 elements, got 3"),
        "{}",
        message(&pairs)
    );
    pairs.weights.insert("only".to_owned(), vec![pair]);
    pairs.activations.insert(
        "input".to_owned(),
        QParams::new(0.5, 0, QRange::U16).unwrap(),
    );
    assert!(message(&pairs).contains("0..=65535"), "{}", message(&pairs));
    // Behind weights, a batch norm has to be folded first.
    let layers = [
        ("only", network.layer("only").unwrap().clone()),
        ("norm", BatchNorm::identity(1).into()),
    ];
    let unfolded = Network::new(&[2], layers).unwrap();
    let quantizer = FakeQuantizer::new(Pairs::default(), Ranges::Learned).unwrap();
    let told = quantizer.pairs(&unfolded).err().unwrap().to_string();
    assert!(
        told.starts_with("norm: a batch norm behind weights"),
        "{told}"
    );
    for momentum in [0.0, -1.0, 1.5, f32::NAN] {
        let made = FakeQuantizer::new(pairs.clone(), Ranges::Observed { momentum });
        assert!(
            made.err()
                .unwrap()
                .to_string()
                .contains(&momentum.to_string())
        );
    }
    let nan = column(&[1.0, f32::NAN]);
    let mut quantizer = at_one_site(QParams::new(0.5, 0, QRange::U8).unwrap(), OBSERVED);
    let observed = quantizer.activations("site", nan.view());
    assert!(observed.err().unwrap().to_string().contains("index 1"));
    // Weights that run away end the training with the layer's name.
    let data = Dataset::new(array![[1.0f32, 1.0]].into_dyn(), Targets::Labels(vec![0])).unwrap();
    let recipe = Recipe::default();
    let pairs = recipe.choose(&network, [data.inputs().clone()]).unwrap();
    let mut quantizer = FakeQuantizer::new(pairs, OBSERVED).unwrap();
    let bad = column(&[f32::NAN])
        .into_shape_with_order(IxDyn(&[1, 1]))
        .unwrap();
    assert!(quantizer.weights("only", bad.view()).is_err());
}

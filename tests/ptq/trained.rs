//! The trained networks of the book, in integers.

use std::path::Path;

use fewer_bits::exec::Scope;
use fewer_bits::io::{LabelledImages, load_network};
use fewer_bits::models;
use fewer_bits::nn::{Dataset, Network, Targets};
use fewer_bits::ptq::{Dynamic, Model, Recipe, Static, WeightsOnly, evaluate, weight_scheme};

use super::predictions;

fn fashion(part: &str) -> Dataset {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("book/data/fashion");
    let file = |kind: &str| folder.join(format!("{part}-{kind}-ubyte.gz"));
    let images = LabelledImages::read(&file("images-idx3"), &file("labels-idx1"), 10).unwrap();
    let targets = Targets::Labels(images.labels().to_vec());
    Dataset::new(images.inputs(255.0), targets).unwrap()
}

fn trained(name: &str, mut network: Network) -> Network {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("book/data/models");
    load_network(&folder.join(format!("{name}.safetensors")), &mut network).unwrap();
    network
}

fn first(data: &Dataset, count: usize) -> Dataset {
    data.select(&(0..count).collect::<Vec<_>>()).unwrap()
}

/// A prediction could differ where two logits are nearly equal; among these images none does.
fn integers_equal_their_simulation(name: &str, network: Network, images: usize) {
    let network = trained(name, network);
    let test = first(&fashion("test"), images);
    let calibration = fashion("calibration").inputs().clone();
    let quantized = Static::new(&network, [calibration], Recipe::default()).unwrap();
    let x = test.inputs().view();
    let integers = quantized.forward(x.view()).unwrap();
    let simulated = quantized.simulate(x.view()).unwrap();
    assert_eq!(predictions(&integers), predictions(&simulated), "{name}");
    for site in quantized.compare(x).unwrap() {
        assert!(
            site.largest <= 1 && site.differing * 1000 <= site.of,
            "{name}: {site:?}"
        );
    }
}

#[test]
fn the_mlp_predicts_the_same_in_integers_and_in_their_simulation() {
    integers_equal_their_simulation("mlp", models::mlp(0).unwrap(), 1000);
}

#[test]
fn the_cnn_predicts_the_same_in_integers_and_in_their_simulation() {
    integers_equal_their_simulation("cnn", models::cnn(0).unwrap(), 250);
}

#[test]
fn eight_bits_cost_the_mlp_less_than_a_point_and_three_quarters_of_its_bytes_go() {
    let network = trained("mlp", models::mlp(0).unwrap());
    let test = fashion("test");
    let score = |model: &dyn Model| {
        let result = evaluate(model, &test, 500).unwrap();
        assert!(result.loss.is_finite() && result.images_per_s > 0.0);
        (result.accuracy.unwrap(), result.bytes)
    };
    let (float, float_bytes) = score(&network);
    assert!(float > 0.85 && float_bytes == 4 * 109_386);
    let scheme = weight_scheme(8, true).unwrap();
    let calibration = [fashion("calibration").inputs().clone()];
    let kinds: [Box<dyn Model>; 4] = [
        Box::new(WeightsOnly::new(&network, scheme).unwrap()),
        Box::new(Static::new(&network, calibration, Recipe::default()).unwrap()),
        Box::new(Dynamic::new(&network, scheme, Scope::Row).unwrap()),
        Box::new(Dynamic::new(&network, scheme, Scope::Tensor).unwrap()),
    ];
    for kind in kinds {
        let (accuracy, bytes) = score(&*kind);
        assert!((accuracy - float).abs() < 0.01, "{accuracy} {float}");
        assert!(bytes * 100 < float_bytes * 26);
    }
    let two_bits = WeightsOnly::new(&network, weight_scheme(2, false).unwrap()).unwrap();
    assert!(score(&two_bits).0 < float - 0.05);
}

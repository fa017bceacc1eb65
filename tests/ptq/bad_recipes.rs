//! Each mistake gives an error that names the site and the value.

use fewer_bits::exec::Scope;
use fewer_bits::nn::{Linear, Network};
use fewer_bits::ptq::{Dynamic, Recipe, Static, WeightsOnly, weight_scheme};
use fewer_bits::{Granularity, QRange, Result, Scheme, Symmetry};
use ndarray::{ArrayD, array};

fn message<T>(result: Result<T>) -> String {
    result.err().unwrap().to_string()
}

fn network() -> Network {
    let linear = Linear::new(array![[1.0, -2.0]], array![0.5]).unwrap();
    Network::new(&[2], [("only", linear.into())]).unwrap()
}

fn batch(x: [f32; 2]) -> ArrayD<f32> {
    array![x].into_dyn()
}

#[test]
fn no_calibration_data_and_bad_values_in_it_are_refused() {
    let quantize = |batches: Vec<ArrayD<f32>>| Static::new(&network(), batches, Recipe::default());
    assert!(message(quantize(vec![])).starts_with("the calibration data: no values"));
    let empty = ArrayD::zeros(vec![0, 2]);
    assert!(message(quantize(vec![empty])).contains("no values"));
    let nan = vec![batch([0.0, 1.0]), batch([1.0, f32::NAN])];
    assert!(message(quantize(nan)).starts_with("input: the value at index 1 is NaN"));
    let overflow = message(quantize(vec![batch([f32::MAX, f32::MIN])]));
    assert!(
        overflow.starts_with("only: the value at index 0 is inf"),
        "{overflow}"
    );
    let other = ArrayD::zeros(vec![1, 3]);
    assert!(message(quantize(vec![other])).contains("expected shape [1, 2], got [1, 3]"));
}

#[test]
fn bad_values_at_inference_are_refused() {
    let calibration = [batch([0.0, 1.0])];
    let quantized = Static::new(&network(), calibration, Recipe::default()).unwrap();
    let nan = batch([1.0, f32::NAN]);
    assert!(message(quantized.forward(nan.view())).contains("index 1 is NaN"));
    assert!(message(quantized.simulate(nan.view())).contains("index 1 is NaN"));
    assert!(message(quantized.compare(nan.view())).contains("index 1 is NaN"));
    let wrong = ArrayD::zeros(vec![1, 3]);
    assert!(message(quantized.forward(wrong.view())).contains("got [1, 3]"));
    let scheme = weight_scheme(8, true).unwrap();
    let dynamic = Dynamic::new(&network(), scheme, Scope::Row).unwrap();
    assert!(message(dynamic.forward(nan.view())).starts_with("only: the value at index 1 is NaN"));
}

#[test]
fn recipes_that_integers_cannot_follow_are_refused() {
    let with = |change: fn(&mut Recipe)| {
        let mut recipe = Recipe::default();
        change(&mut recipe);
        message(Static::new(&network(), [batch([0.0, 1.0])], recipe))
    };
    let wide = with(|r| r.activations.range = QRange::U16);
    assert!(wide.contains("0..=65535"), "{wide}");
    let wide = with(|r| r.weights.range = QRange::I16);
    assert!(
        wide.starts_with("only: ") && wide.contains("-32768..=32767"),
        "{wide}"
    );
    let affine = with(|r| {
        r.weights = Scheme {
            symmetry: Symmetry::Asymmetric,
            granularity: Granularity::PerTensor,
            range: QRange::I8,
        }
    });
    assert!(
        affine.starts_with("only: the zero point of weights cannot be "),
        "{affine}"
    );
    let rows = with(|r| r.activations.granularity = Granularity::PerChannel { axis: 0 });
    assert!(rows.contains("PerChannel { axis: 0 }"), "{rows}");
    let groups = with(|r| r.weights.granularity = Granularity::PerGroup { axis: 1, size: 1 });
    assert!(groups.contains("PerGroup { axis: 1, size: 1 }"), "{groups}");
    assert!(message(weight_scheme(9, true)).contains("9-bit"));
    assert!(message(weight_scheme(1, true)).contains("1-bit"));
    let axis = Scheme::weights(7);
    assert!(message(WeightsOnly::new(&network(), axis)).starts_with("only: axis 7"));
}

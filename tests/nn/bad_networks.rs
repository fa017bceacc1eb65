//! Each mistake gives an error that names the layer and the value.

use fewer_bits::nn::*;
use fewer_bits::{Error, Result};
use ndarray::{Array, Array1, Array2, Array4, ArrayD};

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().to_string()
}

fn linear(outputs: usize, inputs: usize) -> Layer {
    let layer = Linear::new(Array2::zeros((outputs, inputs)), Array1::zeros(outputs));
    layer.unwrap().into()
}

#[test]
fn a_layer_that_does_not_fit_the_one_before_it_is_named_with_both_shapes() {
    let layers = [("first", linear(4, 3)), ("second", linear(2, 5))];
    assert_eq!(
        message(Network::new(&[3], layers)),
        "second: the layer's input: expected shape [1, 5], got [1, 4]"
    );
}

#[test]
fn an_input_of_another_shape_is_refused_with_both_shapes() {
    let network = Network::new(&[3], [("only", linear(4, 3))]).unwrap();
    let x = ArrayD::zeros(vec![7, 4]);
    assert_eq!(
        message(network.forward(x.view())),
        "the network's input: expected shape [7, 3], got [7, 4]"
    );
    let scalar = ArrayD::zeros(vec![]);
    assert!(network.forward(scalar.view()).is_err());
}

#[test]
fn a_window_larger_than_its_image_is_refused_with_both_sizes() {
    let conv = Conv2d::new(Array4::zeros((1, 5, 5, 1)), Array1::zeros(1), 1, 0).unwrap();
    assert_eq!(
        message(Network::new(&[4, 6, 1], [("conv", conv.into())])),
        "conv: a window of [5, 5] does not fit an image that is [4, 6] with its padding"
    );
}

#[test]
fn a_window_that_means_nothing_is_refused_with_its_value() {
    let refused = [
        (
            Window::new([0, 2], [1, 1], [0, 0]),
            "the window cannot be [0, 2]",
        ),
        (
            Window::new([2, 2], [1, 0], [0, 0]),
            "the stride cannot be [1, 0]",
        ),
        (
            Window::new([2, 2], [1, 1], [2, 0]),
            "the padding cannot be [2, 0]",
        ),
    ];
    for (window, begins) in refused {
        assert!(message(window).starts_with(begins));
    }
}

#[test]
fn parameters_that_are_not_finite_or_do_not_fit_are_refused() {
    let bad = Array::from_vec(vec![0.0, f32::INFINITY, f32::NAN]);
    let weight = bad.clone().into_shape_with_order((1, 3)).unwrap();
    assert_eq!(
        message(Linear::new(weight, Array1::zeros(1))),
        "weight: the value at index 1 is inf: a range must be finite"
    );
    assert_eq!(
        message(Linear::new(Array2::zeros((2, 3)), Array1::zeros(3))),
        "the bias: expected shape [2], got [3]"
    );
    assert_eq!(
        Linear::new(Array2::zeros((0, 3)), Array1::zeros(0)),
        Err(Error::Empty.at("weight"))
    );
}

#[test]
fn a_name_given_twice_is_refused() {
    let layers = [("same", linear(3, 3)), ("same", linear(3, 3))];
    let name = "same".to_owned();
    assert_eq!(
        Network::new(&[3], layers),
        Err(Error::DuplicateName { name })
    );
}

#[test]
fn stored_tensors_that_do_not_fit_are_named_and_change_nothing() {
    let mut network = Network::new(&[3], [("fc", linear(2, 3))]).unwrap();
    let before = network.clone();
    let (good, short) = (ArrayD::ones(vec![2, 3]), ArrayD::ones(vec![3]));
    let nan = ArrayD::from_elem(vec![2], f32::NAN);

    let missing = network.load(|name| (name == "fc.weight").then(|| good.view()));
    assert_eq!(message(missing), "the tensor `fc.bias` is missing");
    let other = network.load(|name| {
        Some(if name == "fc.bias" {
            short.view()
        } else {
            good.view()
        })
    });
    assert_eq!(
        message(other),
        "fc.bias: the stored tensor: expected shape [2], got [3]"
    );
    let not_finite = network.load(|name| {
        Some(if name == "fc.bias" {
            nan.view()
        } else {
            good.view()
        })
    });
    assert!(message(not_finite).starts_with("fc.bias: the value at index 0 is NaN"));
    assert_eq!(network, before);
}

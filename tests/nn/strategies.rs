//! Random layers and networks.

use fewer_bits::nn::*;
use ndarray::{Array, ArrayD, Dimension, IntoDimension};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub fn uniform<I: IntoDimension>(shape: I, rng: &mut ChaCha8Rng) -> Array<f32, I::Dim>
where
    I::Dim: Dimension,
{
    Array::from_shape_simple_fn(shape, || rng.random_range(-1.0f32..1.0))
}

/// A norm with statistics far from 0 and 1.
pub fn norm(channels: usize, rng: &mut ChaCha8Rng) -> Layer {
    let mut layer = Layer::from(BatchNorm::identity(channels));
    for (name, mut parameter) in layer.parameters_mut() {
        let low = if name == "variance" { 0.1 } else { -1.5 };
        parameter.mapv_inplace(|_| rng.random_range(low..2.0));
    }
    layer
}

/// A window that fits an image of this size.
fn window(size: [usize; 2], rng: &mut ChaCha8Rng) -> (Window, usize, usize) {
    let kernel = size.map(|n| rng.random_range(1..=n.min(3)));
    let stride = rng.random_range(1..=3);
    let padding = rng.random_range(0..kernel[0].min(kernel[1]));
    let window = Window::new(kernel, [stride; 2], [padding; 2]).unwrap();
    (window, stride, padding)
}

/// A layer that takes values of this shape (without the batch axis).
pub fn layer(shape: &[usize], rng: &mut ChaCha8Rng) -> Layer {
    let channels = shape[shape.len() - 1];
    let activations = [Activation::Relu, Activation::Relu6, Activation::Gelu];
    let activation = activations[rng.random_range(0..3)];
    let outputs = rng.random_range(1..=5);
    if shape.len() == 1 {
        return match rng.random_range(0..3) {
            0 => {
                let weight = uniform((outputs, channels), rng);
                Linear::new(weight, uniform(outputs, rng)).unwrap().into()
            }
            1 => activation.into(),
            _ => norm(channels, rng),
        };
    }
    let (window, stride, padding) = window([shape[0], shape[1]], rng);
    let [height, width] = window.kernel();
    match rng.random_range(0..8) {
        0 | 1 => {
            let weight = uniform((outputs, height, width, channels), rng);
            let bias = uniform(outputs, rng);
            Conv2d::new(weight, bias, stride, padding).unwrap().into()
        }
        2 => {
            let weight = uniform((channels, height, width), rng);
            let bias = uniform(channels, rng);
            DepthwiseConv2d::new(weight, bias, stride, padding)
                .unwrap()
                .into()
        }
        3 => norm(channels, rng),
        4 => activation.into(),
        5 => Pool::Max(window).into(),
        6 => Pool::Average(window).into(),
        _ => Pool::GlobalAverage.into(),
    }
}

/// A network of up to six layers on small images, its last one linear, and a batch for it.
pub fn network(rng: &mut ChaCha8Rng) -> (Network, ArrayD<f32>) {
    let input = [(); 3].map(|()| rng.random_range(1..=6));
    let mut shape = input.to_vec();
    let mut layers: Vec<(String, Layer)> = Vec::new();
    let push = |layers: &mut Vec<(String, Layer)>, layer: Layer| {
        layers.push((format!("layer{}", layers.len()), layer));
        let network = Network::new(&input, layers.clone()).unwrap();
        network.output_shape(1).unwrap()[1..].to_vec()
    };
    for _ in 0..rng.random_range(1..=5) {
        let layer = layer(&shape, rng);
        shape = push(&mut layers, layer);
    }
    if shape.len() > 1 {
        shape = push(&mut layers, Layer::Flatten);
    }
    let weight = uniform((3, shape[0]), rng);
    push(
        &mut layers,
        Linear::new(weight, uniform(3, rng)).unwrap().into(),
    );
    let batch = [rng.random_range(1..=3)];
    let x = uniform([&batch[..], &input[..]].concat(), rng);
    (Network::new(&input, layers).unwrap(), x)
}

/// A seeded generator: what a case draws can be drawn again.
pub fn rng() -> impl Strategy<Value = ChaCha8Rng> {
    any::<u64>().prop_map(ChaCha8Rng::seed_from_u64)
}

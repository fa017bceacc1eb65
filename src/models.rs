//! The networks of the course, before training.
//!
//! The one idea: a network is a list of layers, so a model is a function of a seed that returns
//! one. `book/experiments/ch05_train.rs` trains them; `book/data/models/` holds what came out.
//! Chapter 5.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::error::Result;
use crate::nn::{
    Activation, BatchNorm, Conv2d, DepthwiseConv2d, Layer, Linear, Network, Pool, Window,
};

/// The lecture's own model: ten inputs, one output, one linear layer.
///
/// # Errors
/// None for any seed; the layers' constructors return a result. The same holds for each model here.
pub fn lecture(seed: u64) -> Result<Network> {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    Network::new(
        &[10],
        [("linear", Layer::from(Linear::random(10, 1, rng)?))],
    )
}

/// The digits network: 8×8 pixels, 32 hidden units, ten classes; 2,410 parameters.
///
/// # Errors
/// As [`lecture`].
pub fn digits(seed: u64) -> Result<Network> {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    Network::new(
        &[8, 8, 1],
        [
            ("flatten", Layer::Flatten),
            ("hidden", Linear::random(64, 32, rng)?.into()),
            ("relu", Activation::Relu.into()),
            ("out", Linear::random(32, 10, rng)?.into()),
        ],
    )
}

/// The multilayer perceptron for Fashion-MNIST: 784-128-64-10; 109,386 parameters.
///
/// # Errors
/// As [`lecture`].
// ANCHOR: mlp
pub fn mlp(seed: u64) -> Result<Network> {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    Network::new(
        &[28, 28, 1],
        [
            ("flatten", Layer::Flatten),
            ("fc1", Linear::random(784, 128, rng)?.into()),
            ("relu1", Activation::Relu.into()),
            ("fc2", Linear::random(128, 64, rng)?.into()),
            ("relu2", Activation::Relu.into()),
            ("fc3", Linear::random(64, 10, rng)?.into()),
        ],
    )
}
// ANCHOR_END: mlp

/// The convolutional network for Fashion-MNIST: two 3×3 convolutions, each with a 2×2 pool;
/// 20,490 parameters.
///
/// # Errors
/// As [`lecture`].
pub fn cnn(seed: u64) -> Result<Network> {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let halve = Window::new([2, 2], [2, 2], [0, 0])?;
    Network::new(
        &[28, 28, 1],
        [
            ("conv1", Layer::from(Conv2d::random(1, 16, 3, 1, 1, rng)?)),
            ("relu1", Activation::Relu.into()),
            ("pool1", Pool::Max(halve).into()),
            ("conv2", Conv2d::random(16, 32, 3, 1, 1, rng)?.into()),
            ("relu2", Activation::Relu.into()),
            ("pool2", Pool::Max(halve).into()),
            ("flatten", Layer::Flatten),
            ("fc", Linear::random(7 * 7 * 32, 10, rng)?.into()),
        ],
    )
}

/// The depthwise-separable network for Fashion-MNIST, with batch norms: one convolution, then three
/// pairs of a depthwise and a 1×1 convolution (Howard et al. 2017), then the mean of each channel;
/// 12,090 parameters.
///
/// # Errors
/// As [`lecture`].
pub fn ds_cnn(seed: u64) -> Result<Network> {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let mut layers: Vec<(String, Layer)> = Vec::new();
    let mut add = |name: &str, layer: Layer, channels: usize| {
        layers.push((name.to_owned(), layer));
        layers.push((format!("{name}.norm"), BatchNorm::identity(channels).into()));
        layers.push((format!("{name}.relu"), Activation::Relu6.into()));
    };
    add("conv", Conv2d::random(1, 24, 3, 2, 1, rng)?.into(), 24);
    let pairs = [(24, 48, 1), (48, 64, 2), (64, 64, 1)];
    for (i, (inputs, outputs, stride)) in (1..).zip(pairs) {
        let depthwise = DepthwiseConv2d::random(inputs, 3, stride, 1, rng)?;
        add(&format!("depthwise{i}"), depthwise.into(), inputs);
        let pointwise = Conv2d::random(inputs, outputs, 1, 1, 0, rng)?;
        add(&format!("pointwise{i}"), pointwise.into(), outputs);
    }
    layers.push(("pool".to_owned(), Pool::GlobalAverage.into()));
    layers.push(("fc".to_owned(), Linear::random(64, 10, rng)?.into()));
    Network::new(&[28, 28, 1], layers)
}

//! The forward pass is what the layers' definitions say.

use fewer_bits::nn::*;
use ndarray::{ArrayD, array};
use proptest::prelude::*;

use crate::reference::Reference;
use crate::strategies::*;

/// The layer with the absolute values of its parameters.
fn absolute(layer: &Layer) -> Layer {
    let mut layer = layer.clone();
    for (_, mut parameter) in layer.parameters_mut() {
        parameter.mapv_inplace(f32::abs);
    }
    layer
}

fn wide(x: &ArrayD<f32>) -> ArrayD<f64> {
    x.mapv(f64::from)
}

proptest! {
    /// A sum of K products in f32 is off by at most (K + 1)·ε·Σ|terms| to first order (Higham 2002,
    /// section 3.1), with ε = 2⁻²⁴ for each rounding. Σ|terms| is what the layer computes from
    /// absolute values. K stays below 200 here and a norm adds six roundings, GELU eight; we allow
    /// 256 roundings.
    #[test]
    fn each_layer_in_f32_is_its_definition_within_the_rounding_of_its_sums(mut rng in rng()) {
        for shape in [vec![5, 4, 3], vec![7]] {
            let layer = layer(&shape, &mut rng);
            let x = uniform([vec![2], shape.clone()].concat(), &mut rng);
            let network = Network::new(&shape, [("layer", layer.clone())]).unwrap();
            let y = network.forward(x.view()).unwrap();
            let exact = network.run(&mut Reference::default(), wide(&x)).unwrap();
            prop_assert_eq!(y.shape(), exact.shape());
            prop_assert_eq!(y.shape(), &network.output_shape(2).unwrap()[..]);

            let absolute = Network::new(&shape, [("layer", magnitudes(&layer))]).unwrap();
            let terms = absolute.run(&mut Reference::default(), wide(&x.mapv(f32::abs))).unwrap();
            for ((y, exact), terms) in y.iter().zip(&exact).zip(&terms) {
                let bound = 256.0 * 2f64.powi(-24) * terms.abs() + f64::from(f32::MIN_POSITIVE);
                prop_assert!((f64::from(*y) - exact).abs() <= bound, "{y} {exact} {terms}");
            }
        }
    }

    /// Folding moves one multiplication to the weights. Both networks agree within the roundings of
    /// a six-layer network in f32, relative to the largest value that flows (bounded by 10⁴ here).
    #[test]
    fn folding_batch_norms_changes_no_output(mut rng in rng()) {
        let (network, x) = network(&mut rng);
        let folded = fold_batch_norm(&network).unwrap();
        let exact = network.run(&mut Reference::default(), wide(&x)).unwrap();
        let same = folded.run(&mut Reference::default(), wide(&x)).unwrap();
        let scale = exact.iter().fold(1.0f64, |m, y| m.max(y.abs()));
        for (a, b) in exact.iter().zip(&same) {
            prop_assert!((a - b).abs() <= 1e-4 * scale, "{a} {b}");
        }
        let foldable = |pair: &[(&str, &Layer)]| {
            let multiplies = pair[0].1.weight().is_some();
            multiplies && matches!(pair[1].1, Layer::BatchNorm(_))
        };
        let layers: Vec<_> = folded.layers().collect();
        prop_assert!(!layers.windows(2).any(foldable));
    }

    /// Each sample's output depends on that sample alone, bit for bit.
    #[test]
    fn a_batch_is_its_samples_side_by_side(mut rng in rng()) {
        let (network, x) = network(&mut rng);
        let y = network.forward(x.view()).unwrap();
        for (sample, y) in x.outer_iter().zip(y.outer_iter()) {
            let alone = network.forward(sample.insert_axis(ndarray::Axis(0))).unwrap();
            for (a, b) in alone.iter().zip(&y) {
                prop_assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0));
            }
        }
    }
}

/// The layer from whose definition, on absolute values, the sum of all terms' magnitudes comes.
fn magnitudes(layer: &Layer) -> Layer {
    let mut layer = absolute(layer);
    if let Layer::BatchNorm(_) = layer {
        // (|x| + |mean|)/deviation·|weight| + |bias|
        for (name, mut parameter) in layer.parameters_mut() {
            if name == "mean" {
                parameter.mapv_inplace(|mean| -mean);
            }
        }
    }
    layer
}

#[test]
fn padding_counts_neither_as_a_value_nor_in_the_mean() {
    let x = array![[[[-1.0f32], [-3.0]], [[-5.0], [-7.0]]]].into_dyn();
    let window = Window::new([2, 2], [2, 2], [1, 1]).unwrap();
    for pool in [Pool::Max(window), Pool::Average(window)] {
        let network = Network::new(&[2, 2, 1], [("pool", pool.into())]).unwrap();
        assert_eq!(network.forward(x.view()).unwrap(), x); // each window holds one pixel
    }
}

#[test]
fn nan_is_not_hidden_by_an_activation_or_a_pool() {
    let x = array![[[[f32::NAN], [1.0]], [[2.0], [3.0]]]].into_dyn();
    let window = Window::new([2, 2], [1, 1], [0, 0]).unwrap();
    let layers: [Layer; 6] = [
        Activation::Relu.into(),
        Activation::Relu6.into(),
        Activation::Gelu.into(),
        Pool::Max(window).into(),
        Pool::Average(window).into(),
        Pool::GlobalAverage.into(),
    ];
    for layer in layers {
        let network = Network::new(&[2, 2, 1], [("layer", layer.clone())]).unwrap();
        let y = network.forward(x.view()).unwrap();
        assert!(y.iter().any(|y| y.is_nan()), "{layer:?}");
    }
}

#[test]
fn im2col_puts_the_given_element_where_the_image_ends() {
    let x: Vec<u8> = vec![1, 2, 3, 4];
    let window = Window::new([2, 2], [2, 2], [1, 1]).unwrap();
    let mut rows = Vec::new();
    im2col(&x, [1, 2, 2, 1], window, 9, &mut rows).unwrap();
    assert_eq!(rows, [9, 9, 9, 1, 9, 9, 2, 9, 9, 3, 9, 9, 4, 9, 9, 9]);
}

//! The gradients are what finite differences of the definitions say.

use std::collections::BTreeSet;

use fewer_bits::nn::*;
use fewer_bits::{Error, Result};
use ndarray::{Array1, ArrayD, ArrayViewD, array};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::reference::Reference;
use crate::strategies::*;

/// Σ c·y in f64, as the reference computes y with the batch's own statistics.
fn weighted(network: &Network, x: &ArrayD<f32>, c: &ArrayD<f32>) -> f64 {
    let mut reference = Reference {
        batch_statistics: true,
    };
    let y = network.run(&mut reference, x.mapv(f64::from)).unwrap();
    y.iter().zip(c).map(|(y, c)| y * f64::from(*c)).sum()
}

/// The slopes of the loss to the left and right of one element of one parameter.
fn slopes(
    network: &Network,
    (name, index): (&str, usize),
    x: &ArrayD<f32>,
    c: &ArrayD<f32>,
) -> (f64, f64) {
    let at = |step: f32| {
        let mut network = network.clone();
        let mut place = 0.0;
        for (n, mut parameter) in network.parameters_mut() {
            if n == name {
                let element = parameter.iter_mut().nth(index).unwrap();
                *element += step;
                place = f64::from(*element); // after rounding to f32
            }
        }
        (place, weighted(&network, x, c))
    };
    let step = 2f32.powi(-10);
    let (left, middle, right) = (at(-step), at(0.0), at(step));
    let slope = |a: (f64, f64), b: (f64, f64)| (b.1 - a.1) / (b.0 - a.0);
    (slope(left, middle), slope(middle, right))
}

/// How much the batch norms may enlarge a rounding: one over the smallest deviation of each.
fn enlarged(gradients: &Gradients) -> f64 {
    let largest = |(_, v): &(_, Array1<f32>)| {
        v.iter().fold(1.0f64, |m, v| {
            m.max(2.0 / f64::from(v + BatchNorm::EPSILON).sqrt())
        })
    };
    gradients.statistics.values().map(largest).product()
}

/// The names of the parameters that have a gradient: all but the statistics of batch norms.
fn trained(network: &Network) -> BTreeSet<String> {
    let names = network.parameters().into_iter().map(|(name, _)| name);
    names
        .filter(|name| !name.ends_with(".mean") && !name.ends_with(".variance"))
        .collect()
}

proptest! {
    /// In f64 a one-sided slope over h = 2⁻¹⁰ is off by h/2 times the curvature; where the function
    /// has no kink nearby, the mean of both is off by h²/6 times the third derivative. A gradient is
    /// therefore right if it lies between the two slopes. Rounding in f32 may add 10⁻³ of the slope's
    /// size, and more where a batch norm divides by a small deviation and so enlarges it.
    // ANCHOR: each_gradient_lies_between_the_slopes_beside_it
    #[test]
    fn each_gradient_lies_between_the_slopes_beside_it(mut rng in rng()) {
        let (network, x) = network(&mut rng);
        let y = network.forward(x.view()).unwrap();
        let c = uniform(y.shape(), &mut rng);
        let mut exact = Exact;
        let mut tape = Tape::new(&mut exact);
        tape.run(&network, x.clone()).unwrap();
        let gradients = tape.backward(&network, c.clone()).unwrap();

        let enlarged = enlarged(&gradients);
        for (name, gradient) in &gradients.parameters {
            let index = rng.random_range(0..gradient.len());
            let found = f64::from(*gradient.iter().nth(index).unwrap());
            let (left, right) = slopes(&network, (name, index), &x, &c);
            let slack = 1e-3 * (1.0 + left.abs().max(right.abs())) * enlarged;
            let between = left.min(right) - slack..=left.max(right) + slack;
            prop_assert!(between.contains(&found), "{name}: {found}, {between:?}");
        }
        let found: BTreeSet<String> = gradients.parameters.into_keys().collect();
        prop_assert_eq!(found, trained(&network));
    }
    // ANCHOR_END: each_gradient_lies_between_the_slopes_beside_it

    #[test]
    fn the_slope_of_an_activation_is_its_derivative(x in -8.0f32..8.0) {
        for layer in [Activation::Relu, Activation::Relu6, Activation::Gelu] {
            let h = 2f32.powi(-8);
            let kink = layer != Activation::Gelu && (x.abs() <= h || (x - 6.0).abs() <= h);
            if !kink {
                let slope = (layer.apply(x + h) - layer.apply(x - h)) / ((x + h) - (x - h));
                prop_assert!((slope - layer.derivative(x)).abs() <= 2e-3);
            }
        }
    }

    /// For the losses: their gradient times a small step is the change, to first order.
    #[test]
    fn the_gradient_of_each_loss_is_its_slope(mut rng in rng()) {
        let outputs = uniform(vec![4, 3], &mut rng) * 5.0;
        let labels = Targets::Labels((0..4).map(|_| rng.random_range(0..3)).collect());
        let values = Targets::Values(uniform(vec![4, 3], &mut rng));
        for targets in [labels, values] {
            let (_, gradient) = targets.loss(outputs.view()).unwrap();
            for (index, gradient) in gradient.indexed_iter() {
                let at = |step: f32| {
                    let mut outputs = outputs.clone();
                    outputs[index.clone()] += step;
                    (f64::from(outputs[index.clone()]), targets.loss(outputs.view()).unwrap().0)
                };
                let (a, b) = (at(-0.01), at(0.01));
                let slope = (b.1 - a.1) / (b.0 - a.0);
                prop_assert!((slope - f64::from(*gradient)).abs() <= 1e-4, "{slope} {gradient}");
            }
        }
    }
}

/// Doubles weights and activations, and says so on the way back.
struct Double;

impl Simulation for Double {
    fn weights(&mut self, _: &str, w: ArrayViewD<'_, f32>) -> Result<Option<ArrayD<f32>>> {
        Ok(Some(&w * 2.0))
    }

    fn activations(&mut self, _: &str, x: ArrayViewD<'_, f32>) -> Result<Option<ArrayD<f32>>> {
        Ok(Some(&x * 2.0))
    }

    fn weights_gradient(&mut self, _: &str, _: ArrayViewD<'_, f32>, g: ArrayD<f32>) -> ArrayD<f32> {
        g * 2.0
    }

    fn activations_gradient(
        &mut self,
        _: &str,
        _: ArrayViewD<'_, f32>,
        g: ArrayD<f32>,
    ) -> ArrayD<f32> {
        g * 2.0
    }
}

#[test]
fn a_simulation_sees_the_input_every_weight_and_every_output() {
    let one = |w: f32| Layer::from(Linear::new(array![[w]], array![0.0]).unwrap());
    let network = Network::new(&[1], [("a", one(3.0)), ("b", one(5.0))]).unwrap();
    let mut double = Double;
    let mut tape = Tape::new(&mut double);
    let y = tape.run(&network, array![[1.0]].into_dyn()).unwrap();
    assert_eq!(y, array![[15.0 * 32.0]].into_dyn()); // input, a, its output, b, its output
    let gradients = tape.backward(&network, array![[1.0]].into_dyn()).unwrap();
    assert_eq!(
        gradients.parameters["a.weight"],
        array![[5.0 * 32.0]].into_dyn()
    );
    assert_eq!(
        gradients.parameters["b.weight"],
        array![[3.0 * 32.0]].into_dyn()
    );
    assert_eq!(gradients.parameters["a.bias"], array![5.0 * 8.0].into_dyn());
}

#[test]
fn a_gradient_of_another_shape_is_refused() {
    let (network, x) = network(&mut ChaCha8Rng::seed_from_u64(1));
    let mut exact = Exact;
    let mut tape = Tape::new(&mut exact);
    tape.run(&network, x).unwrap();
    let wrong = tape.backward(&network, ArrayD::zeros(vec![1, 99]));
    assert!(
        matches!(wrong, Err(Error::ShapeMismatch { .. })),
        "{wrong:?}"
    );
}

#[test]
fn labels_that_name_no_class_or_do_not_fit_are_refused_with_their_value() {
    let logits = ArrayD::zeros(vec![2, 3]);
    let wrong = softmax_cross_entropy(logits.view(), &[0, 3]).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "the label 3 at index 1 names none of the 3 classes"
    );
    let wrong = softmax_cross_entropy(logits.view(), &[0]).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "the logits: expected shape [1, 3], got [2, 3]"
    );
    assert_eq!(
        softmax_cross_entropy(ArrayD::zeros(vec![0, 3]).view(), &[]),
        Err(Error::Empty)
    );
}

#[test]
fn huge_logits_overflow_no_loss_and_a_tie_counts_for_the_first_class() {
    let logits = array![[3e38f32, -3e38], [1.0, 1.0]].into_dyn();
    let (loss, gradient) = softmax_cross_entropy(logits.view(), &[0, 0]).unwrap();
    assert!((loss - 2f64.ln() / 2.0).abs() < 1e-12);
    assert!(gradient.iter().all(|g| g.is_finite()));
    assert_eq!(count_correct(logits.view(), &[0, 0]), Ok(2));
    assert_eq!(count_correct(logits.view(), &[1, 1]), Ok(0));
    let nan = array![[f32::NAN, 0.0]].into_dyn();
    assert_eq!(count_correct(nan.view(), &[0]), Ok(0));
    assert_eq!(count_correct(nan.view(), &[1]), Ok(0));
}

/// So large a batch is summed in parts; the statistics are those of the whole.
#[test]
fn a_norm_over_a_large_batch_has_the_mean_and_variance_of_all_of_it() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let x = uniform((2_001, 24), &mut rng);
    let network = Network::new(&[24], [("norm", BatchNorm::identity(24).into())]).unwrap();
    let mut exact = Exact;
    let mut tape = Tape::new(&mut exact);
    tape.run(&network, x.clone().into_dyn()).unwrap();
    let ones = ArrayD::ones(vec![2_001, 24]);
    let gradients = tape.backward(&network, ones).unwrap();
    let (mean, variance) = &gradients.statistics["norm"];
    for (c, column) in x.mapv(f64::from).columns().into_iter().enumerate() {
        let exact = (column.mean().unwrap(), column.var(0.0));
        assert!((f64::from(mean[c]) - exact.0).abs() < 1e-7);
        assert!((f64::from(variance[c]) - exact.1).abs() < 1e-7);
    }
    let bias = &gradients.parameters["norm.bias"];
    assert!(bias.iter().all(|&sum| sum == 2_001.0));
}

//! Training learns what there is to learn, is repeatable, and refuses what means nothing.

use std::ops::ControlFlow;

use fewer_bits::models;
use fewer_bits::nn::*;
use fewer_bits::{Error, Result};
use ndarray::{ArrayD, Axis, array};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::strategies::uniform;

fn on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Inputs with a linear law behind them, without noise.
fn linear_law() -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (x, w) = (uniform((256, 10), &mut rng), uniform((10, 1), &mut rng));
    Dataset::new(
        x.clone().into_dyn(),
        Targets::Values((x.dot(&w) + 0.5).into_dyn()),
    )
    .unwrap()
}

fn fit(data: &Dataset, recipe: Recipe) -> Result<(Network, Vec<Epoch>)> {
    let mut network = models::lecture(1)?;
    let history = train(&mut network, data, None, &recipe, &mut Exact, on)?;
    Ok((network, history))
}

#[test]
fn a_linear_model_finds_the_law_behind_its_data() {
    let recipe = Recipe {
        epochs: 60,
        learning_rate: 0.05,
        schedule: Schedule::Cosine,
        ..Recipe::default()
    };
    let (network, history) = fit(&linear_law(), recipe).unwrap();
    let score = linear_law()
        .score(100, |x| network.forward(x.view()))
        .unwrap();
    assert!(score.loss < 1e-6, "{score:?}");
    assert_eq!(score.accuracy, None);
    assert_eq!(history.len(), 60);
}

#[test]
fn the_same_seed_gives_the_same_network_and_another_seed_another() {
    let recipe = Recipe {
        epochs: 2,
        ..Recipe::default()
    };
    let first = fit(&linear_law(), recipe).unwrap();
    assert_eq!(first, fit(&linear_law(), recipe).unwrap());
    assert_ne!(
        first,
        fit(&linear_law(), Recipe { seed: 1, ..recipe }).unwrap()
    );
}

/// All layers at once, on two classes of images: bright above, or bright below.
#[test]
fn a_convolutional_network_learns_on_any_number_of_threads_the_same() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let mut x = uniform(vec![64, 28, 28, 1], &mut rng);
    for (i, mut image) in x.outer_iter_mut().enumerate() {
        image
            .slice_axis_mut(Axis(0), (14 * (i % 2)..14 * (i % 2) + 14).into())
            .mapv_inplace(|x| x + 0.5);
    }
    let labels = Targets::Labels((0..64).map(|i| i % 2).collect());
    let data = Dataset::new(x, labels).unwrap();
    let recipe = Recipe {
        epochs: 2,
        batch: 32,
        learning_rate: 5e-3,
        ..Recipe::default()
    };
    let trained = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut network = models::ds_cnn(2).unwrap();
            let history = train(&mut network, &data, Some(&data), &recipe, &mut Exact, on).unwrap();
            (network, history)
        })
    };
    let one = trained(1);
    assert!(one.1[1].training_loss < one.1[0].training_loss);
    assert_eq!(one, trained(3));
}

#[test]
fn patience_ends_a_training_that_gets_no_better_and_returns_the_best_network() {
    let data = linear_law();
    let recipe = Recipe {
        epochs: 500,
        learning_rate: 0.5,
        patience: Some(3),
        ..Recipe::default()
    };
    let mut network = models::lecture(1).unwrap();
    let history = train(&mut network, &data, Some(&data), &recipe, &mut Exact, on).unwrap();
    assert!(history.len() < 500);
    let losses: Vec<f64> = history
        .iter()
        .map(|epoch| epoch.validation.unwrap().loss)
        .collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(
        losses.iter().position(|&l| l == best),
        Some(losses.len() - 4)
    );
    assert_eq!(
        data.score(256, |x| network.forward(x.view())).unwrap().loss,
        best
    );
}

#[test]
fn the_watcher_hears_of_each_step_and_can_end_the_training() {
    let mut steps = Vec::new();
    let mut network = models::lecture(1).unwrap();
    let history = train(
        &mut network,
        &linear_law(),
        None,
        &Recipe::default(),
        &mut Exact,
        |progress| {
            match progress {
                Progress::Step { done, of } => steps.push((done, of)),
                Progress::Epoch(epoch) if epoch.epoch == 2 => return ControlFlow::Break(()),
                Progress::Epoch(_) => {}
            }
            ControlFlow::Continue(())
        },
    );
    assert_eq!(history.unwrap().len(), 2);
    assert_eq!(steps, (1..=8).map(|done| (done, 40)).collect::<Vec<_>>());
}

#[test]
fn adams_first_step_has_the_size_of_the_learning_rate() {
    let mut network = models::lecture(1).unwrap();
    let before = network.clone();
    let gradients = Gradients {
        parameters: [("linear.bias".to_owned(), array![-1e-3f32].into_dyn())].into(),
        ..Gradients::default()
    };
    Adam::default()
        .step(&mut network, &gradients, 0.25)
        .unwrap();
    let bias = |network: &Network| network.parameters()[1].1[[0]];
    assert!((bias(&network) - bias(&before) - 0.25).abs() < 1e-4);
    assert_eq!(network.parameters()[0], before.parameters()[0]);
}

#[test]
fn recipes_and_data_that_mean_nothing_are_refused_with_their_value() {
    let data = linear_law();
    let refused = |recipe| fit(&data, recipe).unwrap_err().to_string();
    let recipe = Recipe::default();
    assert_eq!(
        refused(Recipe {
            epochs: 0,
            ..recipe
        }),
        "the number of epochs cannot be 0: it must be at least 1"
    );
    assert_eq!(
        refused(Recipe { batch: 0, ..recipe }),
        "the batch cannot be 0: it must be at least 1"
    );
    assert_eq!(
        refused(Recipe {
            learning_rate: -0.1,
            ..recipe
        }),
        "the learning rate cannot be -0.1: it must be positive and finite"
    );
    let x = ArrayD::zeros(vec![2, 10]);
    let three = Dataset::new(x, Targets::Labels(vec![0; 3])).unwrap_err();
    assert_eq!(three.to_string(), "the targets: expected 2 elements, got 3");
    let nothing = Dataset::new(ArrayD::zeros(vec![0, 10]), Targets::Labels(vec![]));
    assert_eq!(nothing, Err(Error::Empty));
}

#[test]
fn a_training_that_runs_away_says_in_which_epoch() {
    let mut x = ArrayD::zeros(vec![4, 10]);
    x[[2, 3]] = f32::NAN;
    let data = Dataset::new(x, Targets::Values(ArrayD::zeros(vec![4, 1]))).unwrap();
    let wrong = fit(&data, Recipe::default()).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "training diverged: the loss is NaN in epoch 1"
    );
}

#[test]
fn the_networks_have_as_many_parameters_as_their_documentation_says() {
    let counts = [
        models::lecture(0),
        models::digits(0),
        models::mlp(0),
        models::cnn(0),
    ]
    .map(|network| network.unwrap().parameter_count());
    assert_eq!(counts, [11, 2_410, 109_386, 20_490]);
    let folded = fold_batch_norm(&models::ds_cnn(0).unwrap()).unwrap();
    assert!(
        !folded
            .layers()
            .any(|(_, layer)| matches!(layer, Layer::BatchNorm(_)))
    );
}

//! The data sets of the course, and the networks trained on them.

use std::error::Error;
use std::path::{Path, PathBuf};

use fewer_bits::Scheme;
use fewer_bits::exec::{Pairs, Scope};
use fewer_bits::io::{LabelledImages, load_network, load_quantized};
use fewer_bits::models;
use fewer_bits::nn::{Dataset, Network, Targets, fold_batch_norm};
use fewer_bits::ptq::{Dynamic, Model, Recipe, Static};
use ndarray::{ArrayD, Axis, Slice};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The names of the trained networks, the smallest first.
pub const NAMES: [&str; 4] = ["digits", "mlp", "cnn", "ds_cnn"];

/// The last digits test, the others train.
const TEST_DIGITS: usize = 360;

/// A network of the course before training, by its name.
pub fn untrained(name: &str, seed: u64) -> Result<Network, Box<dyn Error>> {
    Ok(match name {
        "digits" => models::digits(seed)?,
        "mlp" => models::mlp(seed)?,
        "cnn" => models::cnn(seed)?,
        "ds_cnn" => models::ds_cnn(seed)?,
        _ => return Err(format!("`{name}` is none of {}", NAMES.join(", ")).into()),
    })
}

/// Where the weights of a network are kept.
pub fn weights(name: &str) -> PathBuf {
    data("models").join(format!("{name}.safetensors"))
}

/// What its training printed.
pub fn log(name: &str) -> PathBuf {
    data("models").join(format!("{name}.csv"))
}

/// A network with its committed weights.
pub fn trained(name: &str) -> Result<Network, Box<dyn Error>> {
    let mut network = untrained(name, 0)?;
    load_network(&weights(name), &mut network)?;
    Ok(network)
}

/// A network that was trained with this many bits for weights and for activations, if there is one,
/// and its pairs.
pub fn quantized(
    name: &str,
    [weight_bits, activation_bits]: [u32; 2],
) -> Result<Option<(Network, Pairs)>, Box<dyn Error>> {
    let path = weights(&format!("{name}_w{weight_bits}a{activation_bits}"));
    if !path.exists() {
        return Ok(None);
    }
    let mut network = fold_batch_norm(&untrained(name, 0)?)?;
    let pairs = load_quantized(&path, &mut network)?;
    Ok(Some((network, pairs)))
}

/// The digits to train on and those to test with, pixels from 0 to 1.
pub fn digits() -> Result<(Dataset, Dataset), Box<dyn Error>> {
    let file = |name| data("digits").join(name);
    let (images, labels) = (file("images.idx3-ubyte"), file("labels.idx1-ubyte"));
    let all = dataset(&images, &labels, 16.0)?;
    let samples: Vec<usize> = (0..all.len()).collect();
    let (training, test) = samples.split_at(all.len() - TEST_DIGITS);
    Ok((all.select(training)?, all.select(test)?))
}

/// A committed part of Fashion-MNIST, pixels from 0 to 1: `calibration`, 512 training images, or
/// `test`, the first 1 000 test images.
pub fn fashion(part: &str) -> Result<Dataset, Box<dyn Error>> {
    fashion_in(&data("fashion"), part)
}

/// The full `train` or `t10k` set, where it is: in the folder that `FASHION_MNIST` names, or where
/// Debian's package `dataset-fashion-mnist` puts it.
pub fn full_fashion(part: &str) -> Result<Option<Dataset>, Box<dyn Error>> {
    let folder = std::env::var("FASHION_MNIST");
    let folder = folder.unwrap_or("/usr/share/datasets/fashion-mnist".to_owned());
    let folder = Path::new(&folder);
    let there = folder.join(format!("{part}-images-idx3-ubyte.gz")).exists();
    there.then(|| fashion_in(folder, part)).transpose()
}

/// What a network is calibrated on, 512 training images, and tested with: the full test set where
/// it is, and otherwise its committed part.
pub fn calibration_and_test(name: &str) -> Result<(Dataset, Dataset), Box<dyn Error>> {
    if name == "digits" {
        let (training, test) = digits()?;
        return Ok((first(&training, 512)?, test));
    }
    let test = match full_fashion("t10k")? {
        Some(test) => test,
        None => fashion("test")?,
    };
    Ok((fashion("calibration")?, test))
}

/// The same with the committed images alone, so that every machine sees the same ones.
pub fn committed(name: &str) -> Result<(Dataset, Dataset), Box<dyn Error>> {
    match name {
        "digits" => calibration_and_test(name),
        _ => Ok((fashion("calibration")?, fashion("test")?)),
    }
}

/// What a network is trained on and what it is tested with, in full.
pub fn training_and_test(name: &str) -> Result<(Dataset, Dataset), Box<dyn Error>> {
    if name == "digits" {
        return digits();
    }
    let missing = "the full Fashion-MNIST is not here: set FASHION_MNIST to its folder";
    let full = |part| full_fashion(part)?.ok_or(Box::<dyn Error>::from(missing));
    Ok((full("train")?, full("t10k")?))
}

/// Mirrors every second image of `[batch, height, width, channels]`, on average.
pub fn mirror_some(images: &mut ArrayD<f32>, rng: &mut ChaCha8Rng) {
    for mut image in images.outer_iter_mut() {
        if rng.random_bool(0.5) {
            let mirrored = image
                .slice_axis(Axis(1), Slice::new(0, None, -1))
                .to_owned();
            image.assign(&mirrored);
        }
    }
}

/// The first samples.
pub fn first(data: &Dataset, count: usize) -> Result<Dataset, Box<dyn Error>> {
    Ok(data.select(&(0..count).collect::<Vec<_>>())?)
}

/// The index of the largest output of each sample.
pub fn predictions(outputs: &ArrayD<f32>) -> Vec<usize> {
    let largest = |row: ndarray::ArrayViewD<'_, f32>| {
        let better = |best: (usize, f32), (i, &x)| if x > best.1 { (i, x) } else { best };
        row.iter()
            .enumerate()
            .fold((0, f32::NEG_INFINITY), better)
            .0
    };
    outputs.axis_iter(Axis(0)).map(largest).collect()
}

/// How many of the predictions are right.
pub fn correct(predictions: &[usize], data: &Dataset) -> usize {
    let Targets::Labels(labels) = data.targets() else {
        return 0; // numbers are predicted by nobody
    };
    let right = predictions.iter().zip(labels);
    right.filter(|(p, label)| p == label).count()
}

/// How many images are timed at once.
const BATCH: usize = 100;

/// Networks that do the same thing, by who they are.
pub type Contenders = Vec<(&'static str, Box<dyn Model>)>;

/// A network in f32, with its batch norms folded, and in INT8, static and dynamic; and images to time
/// them with. Each predicts on these what it should: the integers what their simulation does, and all
/// the same as f32, but for a few images in a hundred.
pub fn contenders(name: &str) -> Result<(Contenders, ArrayD<f32>), Box<dyn Error>> {
    let (calibration, test) = calibration_and_test(name)?;
    let images = test
        .inputs()
        .slice_axis(Axis(0), Slice::from(..BATCH))
        .to_owned();
    let network = fold_batch_norm(&trained(name)?)?;
    let fixed = Static::new(&network, [calibration.inputs().clone()], Recipe::default())?;
    let simulated = predictions(&fixed.simulate(images.view())?);
    if predictions(&fixed.forward(images.view())?) != simulated {
        return Err(format!("{name}: the integers are not their simulation").into());
    }
    let dynamic = Dynamic::new(&network, Scheme::weights(0), Scope::Row)?;
    let float = predictions(&network.forward(images.view())?);
    let contenders: Contenders = vec![
        ("f32", Box::new(network)),
        ("static INT8", Box::new(fixed)),
        ("dynamic INT8", Box::new(dynamic)),
    ];
    for (who, model) in &contenders {
        let found = predictions(&model.forward(images.view())?);
        let other = found.iter().zip(&float).filter(|(a, b)| a != b).count();
        if other > BATCH / 25 {
            return Err(format!("{name}, {who}: {other} of {BATCH} predictions changed").into());
        }
    }
    Ok((contenders, images))
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("book/data")
        .join(name)
}

fn fashion_in(folder: &Path, part: &str) -> Result<Dataset, Box<dyn Error>> {
    let file = |kind: &str| folder.join(format!("{part}-{kind}-ubyte.gz"));
    dataset(&file("images-idx3"), &file("labels-idx1"), 255.0)
}

fn dataset(images: &Path, labels: &Path, white: f32) -> Result<Dataset, Box<dyn Error>> {
    let images = LabelledImages::read(images, labels, 10)?;
    let targets = Targets::Labels(images.labels().to_vec());
    Ok(Dataset::new(images.inputs(white), targets)?)
}

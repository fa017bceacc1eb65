//! The data sets of the course, and the networks trained on them.

use std::error::Error;
use std::path::{Path, PathBuf};

use fewer_bits::io::{LabelledImages, load_network};
use fewer_bits::models;
use fewer_bits::nn::{Dataset, Network, Targets};

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

/// A network with its committed weights.
pub fn trained(name: &str) -> Result<Network, Box<dyn Error>> {
    let mut network = untrained(name, 0)?;
    load_network(&weights(name), &mut network)?;
    Ok(network)
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

/// The first samples.
pub fn first(data: &Dataset, count: usize) -> Result<Dataset, Box<dyn Error>> {
    Ok(data.select(&(0..count).collect::<Vec<_>>())?)
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

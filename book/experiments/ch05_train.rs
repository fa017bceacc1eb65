//! Chapter 5: trains the networks of the course on Fashion-MNIST and saves their weights.
//!
//! `cargo run --release --example ch05_train -- mlp` trains one network (`mlp`, `cnn`, `ds_cnn`),
//! prints the loss and accuracy after each epoch, and writes its weights to
//! `book/data/models/NAME.safetensors`. It reads the full data set from the folder that
//! `FASHION_MNIST` names, or from where Debian's package `dataset-fashion-mnist` puts it.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fewer_bits::models;
use fewer_bits::nn::*;
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::{ArrayD, Axis, Slice};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// What each network is trained with; the seeds were drawn once and kept.
fn setting(name: &str) -> Result<(Network, Recipe), Box<dyn Error>> {
    let common = Recipe {
        batch: 128,
        learning_rate: 2e-3,
        schedule: Schedule::Cosine,
        seed: 5,
        augment: Some(mirror_some),
        ..Recipe::default()
    };
    Ok(match name {
        "mlp" => (
            models::mlp(1)?,
            Recipe {
                epochs: 30,
                ..common
            },
        ),
        "cnn" => (
            models::cnn(1)?,
            Recipe {
                epochs: 10,
                learning_rate: 3e-3,
                ..common
            },
        ),
        "ds_cnn" => (
            models::ds_cnn(1)?,
            Recipe {
                epochs: 10,
                learning_rate: 5e-3,
                ..common
            },
        ),
        _ => return Err(format!("`{name}` is none of mlp, cnn, ds_cnn").into()),
    })
}

/// Mirrors every second image of `[batch, height, width, channels]`, on average.
fn mirror_some(images: &mut ArrayD<f32>, rng: &mut ChaCha8Rng) {
    for mut image in images.outer_iter_mut() {
        if rng.random_bool(0.5) {
            let mirrored = image
                .slice_axis(Axis(1), Slice::new(0, None, -1))
                .to_owned();
            image.assign(&mirrored);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or("mlp".to_owned());
    let (mut network, recipe) = setting(&name)?;
    if let Some(epochs) = std::env::args().nth(2) {
        let recipe = Recipe {
            epochs: epochs.parse()?,
            ..recipe
        };
        return run(&name, &mut network, recipe);
    }
    run(&name, &mut network, recipe)
}

fn run(name: &str, network: &mut Network, recipe: Recipe) -> Result<(), Box<dyn Error>> {
    let (training, test) = (fashion("train")?, fashion("t10k")?);
    println!("{name}: {} parameters", network.parameter_count());
    let bar = ProgressBar::new(0); // draws only on a terminal
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {pos}/{len} steps, {eta} left",
    )?);
    let start = Instant::now();
    train(
        network,
        &training,
        Some(&test),
        &recipe,
        &mut Exact,
        |progress| {
            match progress {
            Progress::Step { done, of } => {
                bar.set_length(of as u64);
                bar.set_position(done as u64);
            }
            Progress::Epoch(Epoch { epoch, training_loss, validation }) => bar.suspend(|| {
                let accuracy = validation.and_then(|score| score.accuracy).unwrap_or(0.0);
                let time = start.elapsed().as_secs_f64();
                println!("epoch {epoch:2}: loss {training_loss:.4}, test accuracy {accuracy:.4}, {time:.1} s");
            }),
        }
            ControlFlow::Continue(())
        },
    )?;
    save(network, &folder().join(format!("{name}.safetensors")))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("book/data/models")
}

fn save(network: &Network, path: &Path) -> Result<(), Box<dyn Error>> {
    use safetensors::tensor::{Dtype, TensorView};
    let bytes: BTreeMap<String, (Vec<usize>, Vec<u8>)> = network
        .parameters()
        .into_iter()
        .map(|(n, p)| {
            (
                n,
                (
                    p.shape().to_vec(),
                    p.iter().flat_map(|x| x.to_le_bytes()).collect(),
                ),
            )
        })
        .collect();
    let views: Result<Vec<_>, _> = bytes
        .iter()
        .map(|(n, (shape, b))| TensorView::new(Dtype::F32, shape.clone(), b).map(|v| (n, v)))
        .collect();
    std::fs::create_dir_all(folder())?;
    Ok(safetensors::serialize_to_file(views?, None, path)?)
}

fn fashion(part: &str) -> Result<Dataset, Box<dyn Error>> {
    let folder =
        std::env::var("FASHION_MNIST").unwrap_or("/usr/share/datasets/fashion-mnist".into());
    let read = |name: &str| -> Result<Vec<u8>, Box<dyn Error>> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(Path::new(&folder).join(format!("{part}-{name}-ubyte.gz")))?;
        flate2::read::GzDecoder::new(file).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let (images, labels) = (read("images-idx3")?, read("labels-idx1")?);
    let pixels: Vec<f32> = images[16..].iter().map(|&p| f32::from(p) / 255.0).collect();
    let inputs = ArrayD::from_shape_vec(vec![labels.len() - 8, 28, 28, 1], pixels)?;
    let labels = labels[8..].iter().map(|&l| usize::from(l)).collect();
    Ok(Dataset::new(inputs, Targets::Labels(labels))?)
}

//! The committed weights belong to the networks and do what their README says.

use std::path::Path;

use fewer_bits::io::{LabelledImages, load_network};
use fewer_bits::models;
use fewer_bits::nn::*;

/// The accuracy of committed weights on the committed images from `first` on.
fn accuracy(
    name: &str,
    mut network: Network,
    images: (&str, &str),
    white: f32,
    first: usize,
) -> f64 {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("book/data");
    load_network(
        &data.join(format!("models/{name}.safetensors")),
        &mut network,
    )
    .unwrap();
    let images = LabelledImages::read(&data.join(images.0), &data.join(images.1), 10).unwrap();
    let labels = Targets::Labels(images.labels().to_vec());
    let all = Dataset::new(images.inputs(white), labels).unwrap();
    let test = all.select(&(first..all.len()).collect::<Vec<_>>()).unwrap();
    let folded = fold_batch_norm(&network).unwrap();
    let score = |network: &Network| test.score(100, |x| network.forward(x.view())).unwrap();
    let (score, same) = (score(&network), score(&folded));
    assert!(
        (score.loss - same.loss).abs() < 1e-4,
        "{name}: {score:?} {same:?}"
    );
    score.accuracy.unwrap()
}

fn on_fashion(name: &str, network: Network) -> f64 {
    let files = (
        "fashion/test-images-idx3-ubyte.gz",
        "fashion/test-labels-idx1-ubyte.gz",
    );
    accuracy(name, network, files, 255.0, 0)
}

/// On 1,000 images the accuracy's standard deviation is about 0.01: on the full test set the bars
/// are 0.895, 0.888 and 0.878, here they are two deviations lower.
#[test]
fn the_fashion_networks_are_as_good_as_their_bars() {
    let mlp = on_fashion("mlp", models::mlp(0).unwrap());
    assert!(mlp > 0.875, "{mlp}");
    let cnn = on_fashion("cnn", models::cnn(0).unwrap());
    assert!(cnn > 0.868, "{cnn}");
    let ds_cnn = on_fashion("ds_cnn", models::ds_cnn(0).unwrap());
    assert!(ds_cnn > 0.858, "{ds_cnn}");
}

#[test]
fn the_digits_network_is_as_good_as_its_readme_says() {
    let files = ("digits/images.idx3-ubyte", "digits/labels.idx1-ubyte");
    let images = 1797;
    let digits = accuracy(
        "digits",
        models::digits(0).unwrap(),
        files,
        16.0,
        images - 360,
    );
    assert!((digits - 0.9083).abs() < 0.003, "{digits}"); // one image is 0.0028
}

//! Files of quantized networks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use fewer_bits::exec::{Pairs, Rounding};
use fewer_bits::io::safetensors::{Tensor, load, save};
use fewer_bits::io::{load_quantized, save_quantized};
use fewer_bits::nn::{Activation, BatchNorm, Layer, Linear, Network};
use fewer_bits::ptq::{Recipe, Static, weight_scheme};
use fewer_bits::{QParams, QRange, Result};
use ndarray::{ArrayD, array};
use proptest::prelude::*;

use super::Folder;

/// A norm behind an activation cannot be folded, so that one is in the file.
fn network(weights: [f32; 6]) -> Network {
    let [a, b, c, d, e, f] = weights;
    let first = Linear::new(array![[a, b], [c, d]], array![0.5, -1.0]).unwrap();
    let last = Linear::new(array![[e, f]], array![0.25]).unwrap();
    let layers = [
        ("first", Layer::from(first)),
        ("relu", Activation::Relu.into()),
        ("norm", BatchNorm::identity(2).into()),
        ("last", last.into()),
    ];
    Network::new(&[2], layers).unwrap()
}

fn batch() -> ArrayD<f32> {
    array![[0.5, -1.0], [2.0, 0.25], [-0.75, 1.0]].into_dyn()
}

fn pairs(network: &Network, bits: u32, per_channel: bool) -> Pairs {
    let weights = weight_scheme(bits, per_channel).unwrap();
    let recipe = Recipe {
        weights,
        ..Recipe::default()
    };
    recipe.choose(network, [batch()]).unwrap()
}

proptest! {
    #[test]
    fn a_quantized_network_comes_back_with_its_pairs_and_computes_the_same(
        weights: [i8; 6], bits in 2u32..=8, per_channel: bool,
    ) {
        let network = network(weights.map(|w| f32::from(w) / 64.0));
        let pairs = pairs(&network, bits, per_channel);
        let (folder, mut other) = (Folder::new("round-trip"), self::network([0.0; 6]));
        let path = folder.0.join("quantized.safetensors");
        save_quantized(&path, &network, &pairs).unwrap();
        prop_assert_eq!(&load_quantized(&path, &mut other).unwrap(), &pairs);
        let logits = |network: &Network| {
            let integers = Static::with_pairs(network, &pairs, Rounding::Float).unwrap();
            integers.forward(batch().view()).unwrap()
        };
        prop_assert_eq!(logits(&network), logits(&other));
        // Saved again, it is the same file.
        let again = folder.0.join("again.safetensors");
        save_quantized(&again, &other, &pairs).unwrap();
        prop_assert_eq!(load(&path).unwrap(), load(&again).unwrap());
    }
}

/// Tests run side by side, and each has a folder of its own.
static COMPLAINTS: AtomicUsize = AtomicUsize::new(0);

/// Saves, changes the tensors, and says what loading thinks of it.
fn complaint(change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> String {
    let network = network([1.0, -0.5, 0.25, 2.0, 1.0, -1.0]);
    let (folder, mut other) = (
        Folder::new(&format!("complaint-{}", COMPLAINTS.fetch_add(1, Relaxed))),
        network.clone(),
    );
    let path = folder.0.join("quantized.safetensors");
    save_quantized(&path, &network, &pairs(&network, 2, true)).unwrap();
    let mut tensors = load(&path).unwrap();
    change(&mut tensors);
    save(&path, tensors).unwrap();
    let loaded: Result<Pairs> = load_quantized(&path, &mut other);
    assert_eq!(other, network, "the network is as it was");
    let message = loaded.err().unwrap().to_string();
    assert!(message.contains("quantized.safetensors"), "{message}");
    message
}

#[test]
fn every_missing_tensor_is_named() {
    let whole = network([1.0; 6]);
    let folder = Folder::new("missing");
    let path = folder.0.join("whole.safetensors");
    save_quantized(&path, &whole, &pairs(&whole, 8, true)).unwrap();
    let names: Vec<String> = load(&path).unwrap().into_keys().collect();
    assert_eq!(names.len(), 4 + 4 + 4 + 3 * 3, "{names:?}");
    for name in names.iter().filter(|name| !name.ends_with(".output.scale")) {
        let message = complaint(|tensors| drop(tensors.remove(name)));
        assert!(
            message.contains(&format!("`{name}` is missing")),
            "{message}"
        );
    }
    // Without its scale an output is no output, and the rest of it belongs to nobody.
    let message = complaint(|tensors| drop(tensors.remove("relu.output.scale")));
    assert!(
        message.contains("`relu.output.codes` is not one of"),
        "{message}"
    );
}

#[test]
fn wrong_tensors_are_refused_with_what_is_wrong() {
    let set = |name: &str, tensor: Tensor| {
        let name = name.to_owned();
        complaint(move |tensors| drop(tensors.insert(name, tensor)))
    };
    let real = |values: &[f32]| Tensor::F32(ndarray::Array1::from(values.to_vec()).into_dyn());
    let whole = |values: &[i32]| Tensor::I32(ndarray::Array1::from(values.to_vec()).into_dyn());
    let says = |message: String, what: &str| assert!(message.contains(what), "{message}");
    says(
        set("other", real(&[1.0])),
        "`other` is not one of the network's",
    );
    says(
        set("first.weight", real(&[1.0])),
        "`first.weight` is of another type",
    );
    says(
        set("last.weight", Tensor::I8(array![[1i8, 2]].into_dyn())),
        "2 is no code of -1..=1",
    );
    says(
        set("last.weight", Tensor::I8(array![[1i8]].into_dyn())),
        "[1, 2]",
    );
    says(
        set("first.weight.scale", real(&[1.0, 2.0, 3.0])),
        "expected 2 elements, got 3",
    );
    says(
        set("first.weight.scale", real(&[])),
        "expected 2 elements, got 0",
    );
    says(set("first.weight.scale", real(&[1.0, 0.0])), "first.weight");
    says(set("first.weight.codes", whole(&[-3, 200])), "[-3, 200]");
    says(set("input.output.scale", real(&[f32::NAN])), "NaN");
    says(set("input.output.zero_point", whole(&[256])), "256");
    says(
        set("input.output.zero_point", whole(&[])),
        "expected 1 elements, got 0",
    );
    says(
        set("input.output.scale", real(&[1.0, 1.0])),
        "expected 1 elements, got 2",
    );
}

#[test]
fn weights_without_pairs_or_around_another_zero_are_not_saved() {
    let network = network([1.0; 6]);
    let folder = Folder::new("refused");
    let path = folder.0.join("quantized.safetensors");
    let mut pairs = pairs(&network, 8, true);
    pairs.weights.insert(
        "last".to_owned(),
        vec![QParams::new(0.5, 3, QRange::I8).unwrap()],
    );
    let message = save_quantized(&path, &network, &pairs)
        .err()
        .unwrap()
        .to_string();
    assert!(
        message.contains("last") && message.contains("zero point"),
        "{message}"
    );
    pairs.weights.remove("last");
    let message = save_quantized(&path, &network, &pairs)
        .err()
        .unwrap()
        .to_string();
    assert!(message.contains("`last` has no scales"), "{message}");
    assert!(!path.exists());
}

//! Files of named tensors.

use std::collections::BTreeMap;

use fewer_bits::io::safetensors::{Tensor, load, parse, save, to_bytes};
use fewer_bits::io::{load_network, save_network};
use fewer_bits::nn::{Layer, Linear, Network};
use ndarray::{ArrayD, array};
use proptest::prelude::*;

use super::{Folder, message_names};

fn filled<T>(shape: Vec<usize>, value: impl FnMut() -> T) -> ArrayD<T> {
    ArrayD::from_shape_simple_fn(shape, value)
}

/// Bits are compared, so that NaN and −0 count.
fn bits(tensors: &BTreeMap<String, Tensor>) -> Vec<(String, Vec<usize>, Vec<u32>)> {
    let bits = |tensor: &Tensor| -> Vec<u32> {
        match tensor {
            Tensor::F32(x) => x.iter().map(|x| x.to_bits()).collect(),
            Tensor::I8(x) => x.iter().map(|&x| x as u32).collect(),
            Tensor::U8(x) => x.iter().map(|&x| u32::from(x)).collect(),
            Tensor::I32(x) => x.iter().map(|&x| x as u32).collect(),
            other => panic!("{other:?}"),
        }
    };
    let each = tensors.iter();
    each.map(|(n, t)| (n.clone(), t.shape().to_vec(), bits(t)))
        .collect()
}

fn tensors() -> impl Strategy<Value = BTreeMap<String, Tensor>> {
    let tensor = (prop::collection::vec(0usize..4, 0..4), 0..4, any::<u32>());
    let tensor = tensor.prop_map(|(shape, kind, seed)| {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state
        };
        match kind {
            0 => Tensor::F32(filled(shape, || f32::from_bits(next()))),
            1 => Tensor::I8(filled(shape, || (next() >> 24) as i8)),
            2 => Tensor::U8(filled(shape, || (next() >> 24) as u8)),
            _ => Tensor::I32(filled(shape, || next() as i32)),
        }
    });
    prop::collection::btree_map(".{0,6}", tensor, 0..4)
}

proptest! {
    #[test]
    fn names_shapes_and_bits_come_back(tensors in tensors()) {
        let bytes = to_bytes(tensors.clone()).unwrap();
        prop_assert_eq!(bits(&parse(&bytes).unwrap()), bits(&tensors));
    }

    #[test]
    fn the_same_tensors_give_the_same_bytes_in_any_order(tensors in tensors()) {
        let reversed = tensors.clone().into_iter().rev();
        prop_assert_eq!(to_bytes(reversed).unwrap(), to_bytes(tensors).unwrap());
    }

    #[test]
    fn every_truncation_and_every_surplus_is_refused(tensors in tensors(), extra: u8) {
        let bytes = to_bytes(tensors).unwrap();
        for end in 0..bytes.len() {
            prop_assert!(parse(&bytes[..end]).is_err());
        }
        prop_assert!(parse(&[bytes, vec![extra]].concat()).is_err());
    }

    #[test]
    fn flipped_bytes_never_panic(
        tensors in tensors(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = to_bytes(tensors).unwrap();
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        let _ = parse(&bytes);
    }
}

/// A file with this header and so many bytes of data.
fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn entry(dtype: &str, shape: &str, start: usize, end: usize) -> String {
    format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}}}"#)
}

#[test]
fn hostile_headers_are_refused_with_the_file_and_the_reason() {
    let folder = Folder::new("headers");
    let longer = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let big = format!("[{0},{0}]", u64::MAX);
    let cases: [(&str, Vec<u8>, &str); 8] = [
        (
            "longer",
            longer,
            "claims 18446744073709551615 bytes, but 2 follow",
        ),
        ("cut", vec![1, 2, 3], "too small"),
        ("json", with_header("{nonsense}", 0), "invalid JSON"),
        (
            "overflow",
            with_header(&entry("F32", &big, 0, 4), 4),
            "overflow",
        ),
        (
            "misfit",
            with_header(&entry("F32", "[3]", 0, 8), 8),
            "invalid shape",
        ),
        (
            "backward",
            with_header(&entry("F32", "[1]", 8, 4), 8),
            "offset",
        ),
        (
            "unowned",
            with_header(&entry("F32", "[1]", 0, 4), 9),
            "not fully covered",
        ),
        (
            "double",
            with_header(&entry("F64", "[1]", 0, 8), 8),
            "w: malformed: the tensor of shape [1] is of type F64",
        ),
    ];
    for (name, bytes, part) in cases {
        message_names(load(&folder.write(name, &bytes)), &[name, part]);
    }
    let unindexable = format!("[0,{},4]", usize::MAX / 2);
    let bytes = with_header(&entry("F32", &unindexable, 0, 0), 0);
    message_names(
        load(&folder.write("empty", &bytes)),
        &["empty", &unindexable[3..9]],
    );
    message_names(load(&folder.0.join("none")), &["none: "]);
    let twice = [
        ("a", Tensor::I8(array![1i8].into_dyn())),
        ("a", Tensor::U8(array![1u8].into_dyn())),
    ];
    message_names(save(&folder.0.join("twice"), twice), &["twice", "`a`"]);
}

fn network(weight: f32) -> Network {
    let linear = Linear::new(array![[weight, 2.0]], array![0.5]).unwrap();
    Network::new(&[2], [("only", Layer::from(linear))]).unwrap()
}

#[test]
fn a_network_comes_back_and_a_file_that_does_not_suit_it_changes_nothing() {
    let folder = Folder::new("network");
    let path = folder.0.join("model.safetensors");
    save_network(&path, &network(7.0)).unwrap();
    let mut other = network(1.0);
    load_network(&path, &mut other).unwrap();
    assert_eq!(other, network(7.0));

    let weight = |w: [[f32; 2]; 1]| ("only.weight", Tensor::F32(ndarray::arr2(&w).into_dyn()));
    let bias = || ("only.bias", Tensor::F32(array![0.0f32].into_dyn()));
    let more = ("more.bias", Tensor::F32(array![0.0f32].into_dyn()));
    let codes = ("only.weight", Tensor::I8(array![[1i8, 2]].into_dyn()));
    type Case<'a> = (Vec<(&'a str, Tensor)>, &'a [&'a str]);
    let cases: [Case<'_>; 5] = [
        (
            vec![weight([[f32::NAN, 1.0]]), bias()],
            &["only.weight", "index 0 is NaN"],
        ),
        (vec![weight([[0.0, 1.0]])], &["`only.bias` is missing"]),
        (vec![weight([[0.0, 1.0]]), bias(), more], &["`more.bias`"]),
        (vec![codes, bias()], &["`only.weight`"]),
        (
            vec![("only.weight", bias().1), bias()],
            &["only.weight", "expected shape [1, 2], got [1]"],
        ),
    ];
    for (tensors, parts) in cases {
        save(&path, tensors).unwrap();
        message_names(
            load_network(&path, &mut other),
            &[&["model.safetensors"], parts].concat(),
        );
        assert_eq!(other, network(7.0));
    }
}

#[test]
fn a_failed_save_leaves_the_old_file_and_nothing_else() {
    let folder = Folder::new("atomic");
    let nowhere = folder.0.join("missing/model.safetensors");
    message_names(
        save_network(&nowhere, &network(1.0)),
        &["missing", "model.safetensors"],
    );
    // A folder cannot be replaced by a file, so the last step fails.
    let occupied = folder.0.join("occupied");
    std::fs::create_dir(&occupied).unwrap();
    std::fs::write(occupied.join("inside"), "old").unwrap();
    message_names(save_network(&occupied, &network(1.0)), &["occupied: "]);
    assert_eq!(
        std::fs::read_to_string(occupied.join("inside")).unwrap(),
        "old"
    );
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
}

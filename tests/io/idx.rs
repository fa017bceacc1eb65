//! IDX files, plain and compressed.

use std::io::Write;
use std::path::{Path, PathBuf};

use fewer_bits::io::LabelledImages;
use fewer_bits::io::idx::{MAX_ELEMENTS, parse, read};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::{Folder, message_names};

fn file(shape: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    bytes.extend(shape.iter().flat_map(|n| n.to_be_bytes()));
    bytes.extend(values);
    bytes
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A shape of up to four axes and its values.
fn array() -> impl Strategy<Value = (Vec<u32>, Vec<u8>)> {
    prop::collection::vec(0u32..5, 0..4).prop_flat_map(|shape| {
        let elements = shape.iter().product::<u32>() as usize;
        (Just(shape), prop::collection::vec(any::<u8>(), elements))
    })
}

proptest! {
    #[test]
    fn shape_and_values_come_back_plain_and_compressed((shape, values) in array()) {
        let bytes = file(&shape, &values);
        let shape: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
        for bytes in [bytes.clone(), compressed(&bytes)] {
            let array = parse(&bytes[..]).unwrap();
            prop_assert_eq!(array.shape(), &shape[..]);
            prop_assert_eq!(array.into_raw_vec_and_offset().0, values.clone());
        }
    }

    #[test]
    fn every_truncation_and_every_surplus_is_refused((shape, values) in array(), extra: u8) {
        let bytes = file(&shape, &values);
        for end in 0..bytes.len() {
            prop_assert!(parse(&bytes[..end]).is_err());
        }
        // Without gzip's last eight bytes, its check sum and length, all the data are there, and a
        // reader that stops after them would see no mistake.
        let packed = compressed(&bytes);
        for end in 0..packed.len() {
            prop_assert!(parse(&packed[..end]).is_err(), "{} of {}", end, packed.len());
        }
        let longer = [bytes, vec![extra]].concat();
        prop_assert!(parse(&longer[..]).is_err());
    }

    #[test]
    fn flipped_bytes_never_panic_and_never_invent_elements(
        (shape, values) in array(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        zip: bool,
    ) {
        let mut bytes = file(&shape, &values);
        if zip {
            bytes = compressed(&bytes);
        }
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        if let Ok(array) = parse(&bytes[..]) {
            prop_assert!(array.len() <= values.len());
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(&bytes[..]);
        let _ = parse(&[&[0, 0, 8][..], &bytes].concat()[..]);
        let _ = parse(&[&[0x1f, 0x8b, 8, 0][..], &bytes].concat()[..]);
    }
}

#[test]
fn each_mistake_names_the_file_and_the_value() {
    let folder = Folder::new("idx");
    let huge = file(&[u32::MAX; 4], &[]);
    let big = file(&[1 << 16, 1 << 15], &[]);
    let cases: [(&str, Vec<u8>, &[&str]); 7] = [
        ("png", b"\x89PNG----".to_vec(), &["0x89", "0x50"]),
        ("floats", vec![0, 0, 13, 0], &["0x0d", "unsigned bytes"]),
        ("huge", huge, &["4294967295", &MAX_ELEMENTS.to_string()]),
        ("big", big, &["65536, 32768"]),
        (
            "short",
            file(&[2, 3], &[1; 5]),
            &["[2, 3]", "6 bytes", "only 5"],
        ),
        (
            "long",
            file(&[2, 3], &[1; 9]),
            &["[2, 3]", "6 bytes", "more"],
        ),
        ("empty", vec![], &["ends before the first four bytes"]),
    ];
    for (name, bytes, parts) in cases {
        let result = read(&folder.write(name, &bytes));
        message_names(result, &[&[name], parts].concat());
    }
    message_names(read(&folder.0.join("none")), &["none: "]);
}

#[test]
fn labels_are_checked_against_classes_and_images() {
    let folder = Folder::new("labels");
    let images = folder.write("images", &file(&[2, 1, 3], &[0, 51, 102, 153, 204, 255]));
    let labels =
        |bytes: &[u8]| -> PathBuf { folder.write("labels", &file(&[bytes.len() as u32], bytes)) };
    let read = |labels: &Path| LabelledImages::read(&images, labels, 10);
    let good = read(&labels(&[9, 0])).unwrap();
    assert_eq!(good.labels(), [9, 0]);
    let inputs = good.inputs(255.0);
    assert_eq!(inputs.shape(), [2, 1, 3, 1]);
    assert_eq!(inputs[[1, 0, 2, 0]], 1.0);
    message_names(
        read(&labels(&[3, 10])),
        &["labels: ", "label 10 at index 1", "10 classes"],
    );
    message_names(read(&labels(&[3])), &["labels: ", "expected 2", "got 1"]);
    message_names(read(&images), &["images: ", "[2, 1, 3]"]);
    message_names(
        LabelledImages::read(&labels(&[3, 1]), &images, 10),
        &["labels: ", "expected shape [2, 1, 1], got [2]"],
    );
}

#[test]
fn the_committed_images_are_the_first_of_fashion_mnist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("book/data/fashion");
    for (part, count, sum) in [("calibration", 512, SUMS[0]), ("test", 1000, SUMS[1])] {
        let file = |kind: &str| folder.join(format!("{part}-{kind}-ubyte.gz"));
        let data = LabelledImages::read(&file("images-idx3"), &file("labels-idx1"), 10).unwrap();
        assert_eq!(data.pixels().shape(), [count, 28, 28]);
        let pixels: u64 = data.pixels().iter().map(|&p| u64::from(p)).sum();
        assert_eq!((pixels, data.labels().iter().sum::<usize>()), sum);
        assert!((0..10).all(|class| data.labels().contains(&class)));
    }
}

/// The sums of the pixels and of the labels of both parts, counted when the files were cut.
const SUMS: [(u64, usize); 2] = [(29_159_313, 2239), (58_034_149, 4363)];

//! IDX, the format of the MNIST family: a short header, then bytes in row-major order.
//!
//! The header is two zero bytes, the type of the elements (8: unsigned bytes), the number of axes,
//! and the length of each axis as 32 bits, big end first. (LeCun, Cortes and Burges, *The MNIST
//! database*.) Files may be compressed by gzip, which their first two bytes tell.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;
use ndarray::{ArrayD, IxDyn};

use super::{in_file, io_error, malformed};
use crate::error::{Error, Result, same_length};

/// The element type that the data sets of the course have.
const UNSIGNED_BYTES: u8 = 8;

/// More elements than this are refused: 1 GiB.
pub const MAX_ELEMENTS: usize = 1 << 30;

/// Reads a file of unsigned bytes, plain or compressed.
///
/// # Errors
/// As [`parse`], with the file's name; [`Error::Io`] if it cannot be read.
pub fn read(path: &Path) -> Result<ArrayD<u8>> {
    let read = || {
        let file = File::open(path).map_err(|error| io_error(&error))?;
        parse(BufReader::new(file))
    };
    read().map_err(in_file(path))
}

/// Reads IDX of unsigned bytes, plain or compressed.
///
/// ```
/// use fewer_bits::io::idx;
/// let bytes = [0u8, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9];
/// assert_eq!(idx::parse(&bytes[..])?, ndarray::array![[7u8, 8, 9]].into_dyn());
/// # Ok::<(), fewer_bits::Error>(())
/// ```
///
/// # Errors
/// [`Error::MalformedFile`] with the value that is wrong: the first two bytes, the type, more than
/// [`MAX_ELEMENTS`] elements, fewer bytes than the header promises, or more; [`Error::Io`] if they
/// cannot be read or decompressed.
pub fn parse(mut source: impl BufRead) -> Result<ArrayD<u8>> {
    let start = source.fill_buf().map_err(|error| io_error(&error))?;
    match start.starts_with(&[0x1f, 0x8b]) {
        true => parse_plain(GzDecoder::new(source)),
        false => parse_plain(source),
    }
}

fn parse_plain(mut source: impl Read) -> Result<ArrayD<u8>> {
    let [zero, also_zero, element, axes] = header(&mut source, "the first four bytes")?;
    if [zero, also_zero] != [0, 0] {
        return Err(malformed(format!(
            "an IDX file begins with two zero bytes, not with {zero:#04x} {also_zero:#04x}"
        )));
    }
    if element != UNSIGNED_BYTES {
        return Err(malformed(format!(
            "the elements are of type {element:#04x}, not unsigned bytes (0x08)"
        )));
    }
    let mut shape = Vec::new();
    for _ in 0..axes {
        let length = header(&mut source, "the length of an axis")?;
        shape.push(u32::from_be_bytes(length) as usize);
    }
    let elements = shape.iter().try_fold(1usize, |n, &m| n.checked_mul(m));
    let Some(elements) = elements.filter(|&n| n <= MAX_ELEMENTS) else {
        return Err(malformed(format!(
            "the shape {shape:?} has more than {MAX_ELEMENTS} elements"
        )));
    };
    let mut values = Vec::new();
    let one_more = elements as u64 + 1;
    let read = source.take(one_more).read_to_end(&mut values);
    read.map_err(|error| io_error(&error))?;
    if values.len() != elements {
        let how = if values.len() < elements {
            format!("only {}", values.len())
        } else {
            "more".to_owned()
        };
        return Err(malformed(format!(
            "the shape {shape:?} promises {elements} bytes, but there are {how}"
        )));
    }
    ArrayD::from_shape_vec(IxDyn(&shape), values)
        .map_err(|error| malformed(format!("the shape {shape:?} is unusable: {error}")))
}

fn header(source: &mut impl Read, what: &str) -> Result<[u8; 4]> {
    let mut bytes = [0; 4];
    match source.read_exact(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(malformed(format!("the file ends before {what}")))
        }
        Err(error) => Err(io_error(&error)),
    }
}

/// Grey images with one label each.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledImages {
    pixels: ArrayD<u8>,
    labels: Vec<usize>,
}

impl LabelledImages {
    /// Reads `[images, height, width]` from one file and the labels from another.
    ///
    /// # Errors
    /// With the file's name: as [`read`]; [`Error::ShapeMismatch`] if a file has another number of
    /// axes, [`Error::LengthMismatch`] if there are more labels than images or fewer, and
    /// [`Error::LabelOutOfRange`] with a label that is not below `classes`.
    pub fn read(images: &Path, labels: &Path, classes: usize) -> Result<Self> {
        let pixels = read(images)?;
        let of_rank = |path: &Path, array: &ArrayD<u8>, rank: usize| {
            let (what, actual) = ("the file's array", array.shape().to_vec());
            let mut expected = actual.clone();
            expected.resize(rank, 1);
            (actual.len() == rank).then_some(()).ok_or_else(|| {
                in_file(path)(Error::ShapeMismatch {
                    what,
                    expected,
                    actual,
                })
            })
        };
        of_rank(images, &pixels, 3)?;
        let codes = read(labels)?;
        of_rank(labels, &codes, 1)?;
        let labels_of = |codes: ArrayD<u8>| {
            same_length("the labels", pixels.shape()[0], codes.len())?;
            let labels: Vec<usize> = codes.into_iter().map(usize::from).collect();
            match labels.iter().position(|&label| label >= classes) {
                None => Ok(labels),
                Some(index) => Err(Error::LabelOutOfRange {
                    index,
                    label: labels[index],
                    classes,
                }),
            }
        };
        let labels = labels_of(codes).map_err(in_file(labels))?;
        Ok(Self { pixels, labels })
    }

    /// The pixels, `[images, height, width]`.
    pub fn pixels(&self) -> &ArrayD<u8> {
        &self.pixels
    }

    /// The labels, one an image.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// What a network reads: each pixel divided by `white`, `[images, height, width, 1]`.
    pub fn inputs(&self, white: f32) -> ArrayD<f32> {
        let values = self.pixels.mapv(|pixel| f32::from(pixel) / white);
        let channel = ndarray::Axis(values.ndim());
        values.insert_axis(channel)
    }
}

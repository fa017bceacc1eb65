//! Named tensors in the safetensors format, by the crate of that name.
//!
//! A file is the length of a header, the header in JSON (names, types, shapes, offsets), and the
//! data, little end first; it holds nothing that could be run.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use ::safetensors::tensor::{Dtype, SafeTensors, TensorView, View, serialize};
use ndarray::{ArrayD, IxDyn};

use super::{in_file, io_error, malformed, write_atomically};
use crate::error::{Error, Result};
use crate::nn::Network;

/// A tensor of one of the types that this crate stores.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Tensor {
    /// Real numbers.
    F32(ArrayD<f32>),
    /// Signed codes.
    I8(ArrayD<i8>),
    /// Unsigned codes.
    U8(ArrayD<u8>),
    /// Integers, such as a bias or zero points.
    I32(ArrayD<i32>),
}

impl Tensor {
    /// The shape.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::F32(x) => x.shape(),
            Self::I8(x) => x.shape(),
            Self::U8(x) => x.shape(),
            Self::I32(x) => x.shape(),
        }
    }

    /// The real numbers, if the tensor holds such.
    pub fn into_f32(self) -> Option<ArrayD<f32>> {
        match self {
            Self::F32(x) => Some(x),
            _ => None,
        }
    }

    pub(super) fn into_i8(self) -> Option<ArrayD<i8>> {
        match self {
            Self::I8(x) => Some(x),
            _ => None,
        }
    }

    pub(super) fn into_i32(self) -> Option<ArrayD<i32>> {
        match self {
            Self::I32(x) => Some(x),
            _ => None,
        }
    }

    /// The real numbers, if the tensor holds such.
    pub fn as_f32(&self) -> Option<&ArrayD<f32>> {
        match self {
            Self::F32(x) => Some(x),
            _ => None,
        }
    }
}

/// Reads all tensors of a file.
///
/// # Errors
/// As [`parse`], with the file's name; [`Error::Io`] if it cannot be read.
pub fn load(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bytes = std::fs::read(path).map_err(|error| io_error(&error));
    bytes.and_then(|bytes| parse(&bytes)).map_err(in_file(path))
}

/// Reads all tensors out of a file's bytes.
///
/// # Errors
/// [`Error::MalformedFile`] with what is wrong: a header that is cut off, longer than the file, or
/// no JSON; a shape that overflows or does not fit its offsets; bytes that no tensor owns; a type
/// other than f32, i8, u8 and i32.
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    if let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u64::from_le_bytes(*length);
        if length > rest.len() as u64 {
            return Err(malformed(format!(
                "the header claims {length} bytes, but {} follow",
                rest.len()
            )));
        }
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| malformed(error.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let tensor = tensor(&view).map_err(|error| error.at(name))?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

fn tensor(view: &TensorView<'_>) -> Result<Tensor> {
    let shape = view.shape();
    match view.dtype() {
        Dtype::F32 => array(view, f32::from_le_bytes).map(Tensor::F32),
        Dtype::I8 => array(view, i8::from_le_bytes).map(Tensor::I8),
        Dtype::U8 => array(view, u8::from_le_bytes).map(Tensor::U8),
        Dtype::I32 => array(view, i32::from_le_bytes).map(Tensor::I32),
        other => Err(malformed(format!(
            "the tensor of shape {shape:?} is of type {other}, not F32, I8, U8 or I32"
        ))),
    }
}

fn array<T, const N: usize>(view: &TensorView<'_>, value: fn([u8; N]) -> T) -> Result<ArrayD<T>> {
    let values = view
        .data()
        .as_chunks()
        .0
        .iter()
        .map(|b| value(*b))
        .collect();
    let shape = view.shape();
    ArrayD::from_shape_vec(IxDyn(shape), values)
        .map_err(|error| malformed(format!("the shape {shape:?} is unusable: {error}")))
}

/// Writes tensors to a file, all or nothing. The same tensors give the same bytes.
///
/// # Errors
/// As [`to_bytes`], with the file's name; [`Error::Io`] if it cannot be written: a file that was
/// there before then still has its old bytes.
pub fn save<N: Into<String>>(
    path: &Path,
    tensors: impl IntoIterator<Item = (N, Tensor)>,
) -> Result<()> {
    let bytes = to_bytes(tensors).map_err(in_file(path))?;
    write_atomically(path, &bytes)
}

/// The bytes of a file that holds these tensors.
///
/// ```
/// use fewer_bits::io::safetensors::{Tensor, parse, to_bytes};
/// let scales = Tensor::F32(ndarray::array![0.5, 0.25].into_dyn());
/// let bytes = to_bytes([("scales", scales.clone())])?;
/// assert_eq!(parse(&bytes)?["scales"], scales);
/// # Ok::<(), fewer_bits::Error>(())
/// ```
///
/// # Errors
/// [`Error::DuplicateName`]; [`Error::MalformedFile`] if the names are so long that the header
/// would exceed what the format allows.
pub fn to_bytes<N: Into<String>>(
    tensors: impl IntoIterator<Item = (N, Tensor)>,
) -> Result<Vec<u8>> {
    let mut stored = BTreeMap::new();
    for (name, tensor) in tensors {
        let name = name.into();
        if stored.contains_key(&name) {
            return Err(Error::DuplicateName { name });
        }
        stored.insert(name, Stored::from(&tensor));
    }
    serialize(stored, None).map_err(|error| malformed(error.to_string()))
}

/// A tensor as it lies in the file.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl From<&Tensor> for Stored {
    fn from(tensor: &Tensor) -> Self {
        let (dtype, bytes) = match tensor {
            Tensor::F32(x) => (Dtype::F32, x.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Tensor::I8(x) => (Dtype::I8, x.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Tensor::U8(x) => (Dtype::U8, x.iter().copied().collect()),
            Tensor::I32(x) => (Dtype::I32, x.iter().flat_map(|v| v.to_le_bytes()).collect()),
        };
        Self {
            dtype,
            shape: tensor.shape().to_vec(),
            bytes,
        }
    }
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes the parameters of a network, `layer.weight`, `layer.bias` and so on.
///
/// # Errors
/// As [`save`].
pub fn save_network(path: &Path, network: &Network) -> Result<()> {
    let parameters = network.parameters().into_iter();
    save(
        path,
        parameters.map(|(n, p)| (n, Tensor::F32(p.to_owned()))),
    )
}

/// Replaces the parameters of `network` by those of a file, which must hold just them.
///
/// # Errors
/// With the file's name: as [`parse`] and [`Network::load`]; [`Error::WrongTensors`] if the file
/// has a tensor that the network lacks. The network is then as it was.
pub fn load_network(path: &Path, network: &mut Network) -> Result<()> {
    let tensors = load(path)?;
    let known: Vec<String> = network.parameters().into_iter().map(|(n, _)| n).collect();
    if let Some(name) = tensors.keys().find(|name| !known.contains(name)) {
        let (name, problem) = (name.clone(), "is not one of the network's");
        return Err(in_file(path)(Error::WrongTensors { name, problem }));
    }
    let loaded = network.load(|name| Some(tensors.get(name)?.as_f32()?.view()));
    loaded.map_err(in_file(path))
}

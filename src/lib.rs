//! Neural-network quantization, taught and tested: the crate behind the course *Fewer Bits*.
//!
//! Everything rests on one law, x ≈ s·(q − z): a real number is a *scale* times a small integer, its
//! *code*, counted from the *zero point*.
//!
//! ```
//! use fewer_bits::{QTensor, Scheme};
//! use ndarray::array;
//!
//! let weights = array![[0.12, -0.53, 0.91], [1.5, -0.25, 0.0]].into_dyn();
//! let quantized = QTensor::quantize(weights.view(), Scheme::weights(0))?;
//! assert_eq!(quantized.code_bytes(), 6); // a quarter of the 24 bytes in f32
//!
//! let restored = quantized.dequantize();
//! for ((row, x), y) in weights.indexed_iter().zip(&restored).map(|((i, x), y)| ((i[0], x), y)) {
//!     let half_a_step = quantized.params()[row].scale() / 2.0;
//!     assert!((x - y).abs() <= half_a_step * 1.0001);
//! }
//! # Ok::<(), fewer_bits::Error>(())
//! ```
//!
//! The modules stand on floors, and each imports only from floors below it: [`error`]; then
//! [`qparams`] and [`isa`]; then [`elementwise`] and [`scheme`]; then [`qtensor`] and [`gemm`]; then
//! [`onnx`], [`calibrate`] and [`nn`]; then [`exec`]; then [`ptq`] and [`qat`]; then
//! [`io`] and [`models`].
#![deny(unsafe_code, missing_docs, unreachable_pub)]

pub mod calibrate;
pub mod elementwise;
pub mod error;
pub mod exec;
pub mod gemm;
pub mod io;
pub mod isa;
pub mod models;
pub mod nn;
pub mod onnx;
pub mod ptq;
pub mod qat;
pub mod qparams;
pub mod qtensor;
pub mod scheme;

pub use error::{Error, Result};
pub use isa::Isa;
pub use qparams::{QParams, QRange};
pub use qtensor::{Codes, Packed4, QTensor};
pub use scheme::{Granularity, Scheme, Symmetry};

/// The listing of the README runs, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

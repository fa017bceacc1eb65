//! Integers from the first layer's input to the logits.

use std::collections::BTreeMap;

use ndarray::{ArrayD, ArrayView2, ArrayViewD, IxDyn};

use super::pool::{Pooling, pool};
use super::product::Product;
use super::requantize::{Requantize, Rounding};
use crate::elementwise::Kernel;
use crate::error::{Error, Result};
use crate::gemm::epilogue::Dequantize;
use crate::gemm::{Activations, Epilogue};
use crate::nn::*;
use crate::qparams::QParams;

/// What flows through an integer network.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Codes and the pair that gives them their meaning.
    Codes(ArrayD<u8>, QParams),
    /// Real numbers: the network's input, and the logits.
    Real(ArrayD<f32>),
}

impl Value {
    /// The real numbers.
    pub fn into_real(self) -> ArrayD<f32> {
        match self {
            Self::Codes(codes, pair) => codes.mapv(|code| pair.dequantize(code.into())),
            Self::Real(x) => x,
        }
    }
}

/// What an integer network does at one site.
#[derive(Debug, Clone)]
pub enum Step {
    /// Multiplies, and requantizes to the codes of the next layer.
    Requantize {
        /// The weights.
        product: Product,
        /// Adds the bias, in units of s_x·s_w, multiplies by s_x·s_w/s_y, rounds and saturates.
        epilogue: Requantize,
        /// The pair of the output.
        output: QParams,
    },
    /// Multiplies, and gives the logits as real numbers.
    Logits {
        /// The weights.
        product: Product,
        /// In units of s_x·s_w, one for each output.
        bias: Vec<i32>,
        /// s_x·s_w of each output.
        scales: Vec<f32>,
    },
    /// Looks each code up: one table of 256 codes for all channels, or one for each.
    Lookup {
        /// The tables.
        tables: Vec<[u8; 256]>,
        /// The pair of the output.
        output: QParams,
    },
    /// Takes the mean of codes, and requantizes it.
    Mean {
        /// The arithmetic.
        rounding: Rounding,
        /// The pair of the output.
        output: QParams,
    },
    /// Computes on codes as they are, or has been done by the layer before.
    Keep,
}

/// Computes with codes alone. The rounding of the input is the first step, the dequantization of
/// the logits the last.
#[derive(Debug, Clone, Copy)]
pub struct Integer<'a> {
    /// The pair of the network's input.
    pub input: QParams,
    /// What to do at each site.
    pub steps: &'a BTreeMap<String, Step>,
}

type Codes = (ArrayD<u8>, QParams);

impl Integer<'_> {
    /// The codes of the network's input.
    ///
    /// # Errors
    /// [`Error::NotANumber`] with the index of the first NaN.
    pub fn quantize(&self, x: ArrayViewD<'_, f32>) -> Result<Value> {
        let x = x.as_standard_layout();
        let mut codes = ArrayD::zeros(IxDyn(x.shape()));
        let (from, to) = (x.as_slice(), codes.as_slice_mut());
        let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
        Kernel::best().quantize(self.input, from, to)?;
        Ok(Value::Codes(codes, self.input))
    }

    /// The codes that a layer reads. Real numbers come only from outside: they are the input.
    fn codes(&self, x: Value) -> Result<Codes> {
        match x {
            Value::Codes(codes, pair) => Ok((standard(codes), pair)),
            Value::Real(x) => self.codes(self.quantize(x.view())?),
        }
    }

    fn step(&self, site: &str) -> Result<&Step> {
        self.steps.get(site).ok_or_else(|| Error::WrongTensors {
            name: site.to_owned(),
            problem: "has no integer weights",
        })
    }

    /// The product of a convolution, finished as its step says.
    fn images(&self, site: &str, (codes, pair): Codes, shape: &[usize]) -> Result<Value> {
        let shapes = (image_shape(codes.shape()), image_shape(shape));
        let x = (
            codes.as_slice().unwrap_or_default(),
            pair.zero_point() as u8,
        );
        self.finish(site, shape, |product, epilogue| match epilogue {
            Finish::Codes(e) => {
                let mut y = vec![0; shape.iter().product()];
                product.images(x, shapes, e, &mut y)?;
                Ok(Finished::Codes(y))
            }
            Finish::Real(e) => {
                let mut y = vec![0.0; shape.iter().product()];
                product.images(x, shapes, &e, &mut y)?;
                Ok(Finished::Real(y))
            }
        })
    }

    fn finish<'a>(
        &'a self,
        site: &str,
        shape: &[usize],
        multiply: impl FnOnce(&Product, Finish<'a>) -> Result<Finished>,
    ) -> Result<Value> {
        match self.step(site)? {
            Step::Requantize {
                product,
                epilogue,
                output,
            } => multiply(product, Finish::Codes(epilogue))?.value(shape, *output),
            Step::Logits {
                product,
                bias,
                scales,
            } => {
                let epilogue = Logits { bias, scales };
                multiply(product, Finish::Real(epilogue))?.value(shape, self.input)
            }
            _ => Err(Error::WrongTensors {
                name: site.to_owned(),
                problem: "has no integer weights",
            }),
        }
    }

    fn lookup(&self, tables: &[[u8; 256]], output: QParams, x: Codes) -> Value {
        let mut codes = x.0;
        let channels = tables.len().max(1);
        let values = codes.as_slice_mut().unwrap_or_default();
        for values in values.chunks_mut(channels) {
            for (value, table) in values.iter_mut().zip(tables) {
                *value = table[usize::from(*value)];
            }
        }
        Value::Codes(codes, output)
    }
}

/// How a product is finished, and what came out.
enum Finish<'a> {
    Codes(&'a Requantize),
    Real(Logits<'a>),
}

enum Finished {
    Codes(Vec<u8>),
    Real(Vec<f32>),
}

impl Finished {
    fn value(self, shape: &[usize], pair: QParams) -> Result<Value> {
        Ok(match self {
            Self::Codes(codes) => Value::Codes(array(shape, codes)?, pair),
            Self::Real(values) => Value::Real(array(shape, values)?),
        })
    }
}

/// (sum + bias)·scale, as an f32.
#[derive(Debug, Clone, Copy)]
struct Logits<'a> {
    bias: &'a [i32],
    scales: &'a [f32],
}

impl Epilogue for Logits<'_> {
    type Out = f32;

    fn check(&self, rows: usize, columns: usize) -> Result<()> {
        let dequantize = Dequantize {
            row_scales: &[1.0],
            column_scales: self.scales,
            bias: &[],
            relu: false,
        };
        dequantize.check(rows, columns)?;
        crate::error::same_length("bias", columns, self.bias.len())
    }

    #[inline(always)]
    fn finish(&self, _row: usize, column: usize, sums: &[i32], out: &mut [f32]) {
        let columns = self.bias[column..].iter().zip(&self.scales[column..]);
        for ((out, sum), (bias, scale)) in out.iter_mut().zip(sums).zip(columns) {
            *out = sum.saturating_add(*bias) as f32 * scale;
        }
    }
}

impl Executor for Integer<'_> {
    type Value = Value;

    fn linear(&mut self, site: &str, layer: &Linear, x: Value) -> Result<Value> {
        let (codes, pair) = self.codes(x)?;
        let shape = Shapes.linear(site, layer, codes.shape().to_vec())?;
        let depth = layer.weight().ncols();
        let rows = ArrayView2::from_shape(
            (codes.len() / depth, depth),
            codes.as_slice().unwrap_or_default(),
        );
        let rows = rows.map_err(|_| Error::Empty)?;
        let rows = Activations::u8(rows, pair.zero_point() as u8);
        self.finish(site, &shape, |product, epilogue| match epilogue {
            Finish::Codes(e) => product.rows(&rows, e).map(Finished::Codes),
            Finish::Real(e) => product.rows(&rows, &e).map(Finished::Real),
        })
    }

    fn conv2d(&mut self, site: &str, layer: &Conv2d, x: Value) -> Result<Value> {
        let x = self.codes(x)?;
        let shape = Shapes.conv2d(site, layer, x.0.shape().to_vec())?;
        self.images(site, x, &shape)
    }

    fn depthwise_conv2d(&mut self, site: &str, layer: &DepthwiseConv2d, x: Value) -> Result<Value> {
        let x = self.codes(x)?;
        let shape = Shapes.depthwise_conv2d(site, layer, x.0.shape().to_vec())?;
        self.images(site, x, &shape)
    }

    fn batch_norm(&mut self, site: &str, layer: &BatchNorm, x: Value) -> Result<Value> {
        let x = self.codes(x)?;
        Shapes.batch_norm(site, layer, x.0.shape().to_vec())?;
        Ok(match self.step(site)? {
            Step::Lookup { tables, output } => self.lookup(tables, *output, x),
            _ => Value::Codes(x.0, x.1),
        })
    }

    fn activation(&mut self, site: &str, _: Activation, x: Value) -> Result<Value> {
        let x = self.codes(x)?;
        Ok(match self.step(site)? {
            Step::Lookup { tables, output } => self.lookup(tables, *output, x),
            _ => Value::Codes(x.0, x.1),
        })
    }

    fn pool(&mut self, site: &str, layer: Pool, x: Value) -> Result<Value> {
        let (codes, pair) = self.codes(x)?;
        let shape = Shapes.pool(site, layer, codes.shape().to_vec())?;
        let pooling = Pooling::new(layer, image_shape(codes.shape()), &shape)?;
        let (means, output) = match self.step(site)? {
            Step::Mean { rounding, output } => {
                let means = pooling.means(*rounding, pair.scale(), *output)?;
                (Some(means), *output)
            }
            _ => (None, pair),
        };
        let mut y = vec![0; shape.iter().product()];
        let x = codes.as_slice().unwrap_or_default();
        let means = means.as_deref().map(|means| (pair.zero_point(), means));
        pool(pooling, x, means, &mut y);
        Ok(Value::Codes(array(&shape, y)?, output))
    }

    fn flatten(&mut self, site: &str, x: Value) -> Result<Value> {
        let (codes, pair) = self.codes(x)?;
        let shape = Shapes.flatten(site, codes.shape().to_vec())?;
        let values = codes.into_raw_vec_and_offset().0;
        Ok(Value::Codes(array(&shape, values)?, pair))
    }
}

fn standard<T: Clone>(x: ArrayD<T>) -> ArrayD<T> {
    match x.is_standard_layout() {
        true => x,
        false => x.as_standard_layout().into_owned(),
    }
}

pub(super) fn image_shape(shape: &[usize]) -> [usize; 4] {
    [0, 1, 2, 3].map(|axis| shape.get(axis).copied().unwrap_or(1))
}

pub(super) fn array<T>(shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>> {
    let (expected, actual) = (shape.iter().product(), values.len());
    ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|_| Error::LengthMismatch {
        what: "the layer's output",
        expected,
        actual,
    })
}

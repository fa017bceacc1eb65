//! Scales read off each batch: nothing to calibrate.

use std::collections::BTreeMap;

use ndarray::{ArrayD, ArrayView2};
use rayon::prelude::*;

use super::integer::{array, image_shape};
use super::product::Product;
use crate::elementwise::Kernel;
use crate::error::{Error, Result};
use crate::gemm::Activations;
use crate::gemm::epilogue::Dequantize;
use crate::nn::*;
use crate::qparams::QParams;
use crate::scheme::Scheme;

/// Which activations share a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// All of the batch: an outlier in one sample coarsens all of them.
    #[default]
    Tensor,
    /// Each sample has its own, so that its result does not depend on the rest of the batch.
    Row,
}

/// The weights of one layer, and its bias in f32.
#[derive(Debug, Clone)]
pub struct DynamicLayer {
    /// The weights as codes.
    pub product: Product,
    /// One for each output.
    pub bias: Vec<f32>,
}

/// Quantizes the input of each layer with weights by its own smallest and largest value, multiplies
/// in integers, and gives real numbers; all else is computed in f32.
#[derive(Debug, Clone, Copy)]
pub struct Dynamic<'a> {
    /// Which activations share a pair.
    pub scope: Scope,
    /// The codes and the symmetry of the activations.
    pub activations: Scheme,
    /// The layers with weights, by site.
    pub layers: &'a BTreeMap<String, DynamicLayer>,
}

impl Dynamic<'_> {
    fn layer(&self, site: &str) -> Result<&DynamicLayer> {
        self.layers.get(site).ok_or_else(|| Error::WrongTensors {
            name: site.to_owned(),
            problem: "has no integer weights",
        })
    }

    /// The pairs of the samples: one for all, or one each.
    // ANCHOR: pairs
    fn pairs(&self, x: &[f32], samples: usize) -> Result<Vec<QParams>> {
        let each = match self.scope {
            Scope::Tensor => x.len(),
            Scope::Row => x.len() / samples.max(1),
        };
        let kernel = Kernel::best();
        let pairs = x.chunks(each.max(1)).enumerate().map(|(i, values)| {
            let (lo, hi) = kernel.min_max(values).map_err(|error| match error {
                Error::NotFinite { index, value } => Error::NotFinite {
                    index: i * each + index,
                    value,
                },
                error => error,
            })?;
            self.activations.params(lo, hi)
        });
        pairs.collect()
    }
    // ANCHOR_END: pairs

    fn images(&self, site: &str, x: ArrayD<f32>, shape: &[usize]) -> Result<ArrayD<f32>> {
        let DynamicLayer { product, bias } = self.layer(site)?;
        let [batch, from @ ..] = image_shape(x.shape());
        let [_, to @ ..] = image_shape(shape);
        let x = x.as_standard_layout();
        let x = x.as_slice().unwrap_or_default();
        let pairs = self.pairs(x, batch)?;
        let mut y = vec![0.0; shape.iter().product()];
        // Images that share a pair are convolved together.
        let images = batch / pairs.len().max(1);
        let shapes = [from, to].map(|[h, w, c]| [images, h, w, c]);
        let [each, each_out] = shapes.map(|shape| shape.iter().product::<usize>().max(1));
        pairs
            .par_iter()
            .zip(x.par_chunks(each).zip(y.par_chunks_mut(each_out)))
            .try_for_each_init(Vec::new, |codes, (pair, (x, y))| {
                codes.resize(x.len(), 0u8);
                Kernel::best().quantize(*pair, x, codes)?;
                let epilogue = Dequantize {
                    row_scales: &[pair.scale()],
                    column_scales: product.scales(),
                    bias,
                    relu: false,
                };
                let x = (&codes[..], pair.zero_point() as u8);
                product.images(x, (shapes[0], shapes[1]), &epilogue, y)
            })?;
        array(shape, y)
    }
}

impl Executor for Dynamic<'_> {
    type Value = ArrayD<f32>;

    fn linear(&mut self, site: &str, layer: &Linear, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        let shape = Shapes.linear(site, layer, x.shape().to_vec())?;
        let DynamicLayer { product, bias } = self.layer(site)?;
        let depth = layer.weight().ncols();
        let x = x.as_standard_layout();
        let x = x.as_slice().unwrap_or_default();
        let rows = x.len() / depth;
        let pairs = self.pairs(x, rows)?;
        let scales: Vec<f32> = pairs.iter().map(|pair| pair.scale()).collect();
        let epilogue = Dequantize {
            row_scales: &scales,
            column_scales: product.scales(),
            bias,
            relu: false,
        };
        let rows = ArrayView2::from_shape((rows, depth), x).map_err(|_| Error::Empty)?;
        array(
            &shape,
            product.rows(&Activations::quantizing(rows, &pairs)?, &epilogue)?,
        )
    }

    fn conv2d(&mut self, site: &str, layer: &Conv2d, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        let shape = Shapes.conv2d(site, layer, x.shape().to_vec())?;
        self.images(site, x, &shape)
    }

    fn depthwise_conv2d(
        &mut self,
        site: &str,
        layer: &DepthwiseConv2d,
        x: ArrayD<f32>,
    ) -> Result<ArrayD<f32>> {
        let shape = Shapes.depthwise_conv2d(site, layer, x.shape().to_vec())?;
        self.images(site, x, &shape)
    }

    fn batch_norm(&mut self, site: &str, layer: &BatchNorm, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        Float.batch_norm(site, layer, x)
    }

    fn activation(&mut self, site: &str, layer: Activation, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        Float.activation(site, layer, x)
    }

    fn pool(&mut self, site: &str, layer: Pool, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        Float.pool(site, layer, x)
    }

    fn flatten(&mut self, site: &str, x: ArrayD<f32>) -> Result<ArrayD<f32>> {
        Float.flatten(site, x)
    }
}

//! The integer products of the layers that have weights.

use ndarray::{Array2, ArrayView2, ArrayView4, ArrayViewMut4};

use crate::error::{Error, Result, same_length};
use crate::gemm::conv::{Images, PackedFilters, Sliding};
use crate::gemm::{Activations, Epilogue, Kernel, PackedWeights};
use crate::nn::{Layer, Window};
use crate::qtensor::QTensor;

/// The weights of a layer as signed bytes, ready to be multiplied by unsigned ones.
#[derive(Debug, Clone)]
pub struct Product {
    weights: Weights,
    scales: Vec<f32>,
}

#[derive(Debug, Clone)]
enum Weights {
    Matrix(PackedWeights),
    Filters(PackedFilters),
}

impl Product {
    /// For the weights of `layer`, whose axis 0 is the output.
    ///
    /// # Errors
    /// [`Error::RangeDoesNotFit`] unless the codes are signed bytes, [`Error::InvalidSetting`]
    /// unless their zero point is 0; [`Error::DepthTooLarge`] if a sum might overflow.
    pub fn of(layer: &Layer, weight: &QTensor) -> Result<Self> {
        let (codes, scales) = symmetric_codes(weight)?;
        let weights = match (layer, weight.shape()) {
            (Layer::Conv2d(layer), &[outputs, height, width, inputs]) => {
                let shape = [outputs, height, width, inputs];
                Weights::Filters(filters(&codes, shape, layer.window(), 1)?)
            }
            (Layer::DepthwiseConv2d(layer), &[channels, height, width]) => {
                let shape = [channels, height, width, 1];
                Weights::Filters(filters(&codes, shape, layer.window(), channels)?)
            }
            _ => {
                let shape = (scales.len(), codes.len() / scales.len().max(1));
                let rows = ArrayView2::from_shape(shape, &codes).map_err(|_| Error::Empty)?;
                Weights::Matrix(PackedWeights::new(Kernel::best(), rows.t())?)
            }
        };
        Ok(Self { weights, scales })
    }

    /// The scale of each output's weights.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// How many outputs there are.
    pub fn outputs(&self) -> usize {
        self.scales.len()
    }

    /// The product with rows of activations, `[rows, depth]` to `[rows, outputs]`.
    ///
    /// # Errors
    /// As [`PackedWeights::multiply`].
    pub fn rows<E: Epilogue>(&self, x: &Activations<'_>, epilogue: &E) -> Result<Vec<E::Out>> {
        let mut out = Array2::default((x.rows(), self.outputs()));
        match &self.weights {
            Weights::Matrix(weights) => weights.multiply(x, epilogue, out.view_mut())?,
            Weights::Filters(_) => same_length("the depth", 0, x.depth())?,
        }
        Ok(out.into_raw_vec_and_offset().0)
    }

    /// Convolves images of codes, `[batch, height, width, channels]`, and writes `out`, `[batch,
    /// height, width, outputs]`.
    ///
    /// # Errors
    /// As [`PackedFilters::convolve`]; [`Error::LengthMismatch`] if a slice does not hold its shape.
    pub fn images<E: Epilogue>(
        &self,
        (x, zero_point): (&[u8], u8),
        (shape, out_shape): ([usize; 4], [usize; 4]),
        epilogue: &E,
        out: &mut [E::Out],
    ) -> Result<()> {
        let Weights::Filters(filters) = &self.weights else {
            return same_length("the images of a linear layer", 0, x.len());
        };
        same_length("the images", shape.iter().product(), x.len())?;
        same_length("the convolution", out_shape.iter().product(), out.len())?;
        let x = ArrayView4::from_shape(shape, x).map_err(|_| Error::Empty)?;
        let out = ArrayViewMut4::from_shape(out_shape, out).map_err(|_| Error::Empty)?;
        filters.convolve(&Images::u8(x, zero_point), epilogue, out)
    }
}

/// Filters `[outputs, height, width, channels of a group]` for the fastest kernel of this CPU.
fn filters(
    codes: &[i8],
    shape: [usize; 4],
    window: Window,
    groups: usize,
) -> Result<PackedFilters> {
    let filters = ArrayView4::from_shape(shape, codes).map_err(|_| Error::Empty)?;
    let sliding = Sliding {
        stride: window.stride(),
        padding: window.padding().map(|padding| [padding; 2]),
        ..Sliding::default()
    };
    PackedFilters::new(Kernel::best(), filters, &[], sliding, groups)
}

/// The codes as signed bytes, and one scale for each output (axis 0).
fn symmetric_codes(weight: &QTensor) -> Result<(Vec<i8>, Vec<f32>)> {
    for pair in weight.params() {
        pair.range().check_fits::<i8>()?;
        if pair.zero_point() != 0 {
            return Err(Error::InvalidSetting {
                what: "the zero point of weights",
                value: pair.zero_point().to_string(),
                allowed: "it must be 0: choose symmetric weights",
            });
        }
    }
    let outputs = weight.shape().first().copied().unwrap_or(0);
    let scales: Vec<f32> = weight.params().iter().map(|pair| pair.scale()).collect();
    let scales = match scales[..] {
        [one] => vec![one; outputs],
        _ => scales,
    };
    same_length("scales of the outputs", outputs, scales.len())?;
    let codes = weight.to_codes().into_iter().map(|code| code as i8);
    Ok((codes.collect(), scales))
}

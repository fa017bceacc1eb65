//! The integer products of the layers that have weights.

use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

use crate::error::{Error, Result, same_length};
use crate::gemm::{Activations, Epilogue, Kernel, MAX_DEPTH, PackedWeights};
use crate::nn::{Layer, Window, im2col};
use crate::qtensor::QTensor;

/// The weights of a layer as signed bytes, ready to be multiplied by unsigned ones.
#[derive(Debug, Clone)]
pub struct Product {
    weights: Weights,
    scales: Vec<f32>,
}

#[derive(Debug, Clone)]
enum Weights {
    /// Of a linear layer or a convolution.
    Matrix(PackedWeights),
    /// Of a depthwise convolution: `[kernel height·kernel width, channels]`.
    Taps(Vec<i8>),
}

impl Product {
    /// For the weights of `layer`.
    ///
    /// # Errors
    /// As [`matrix`](Self::matrix).
    pub fn of(layer: &Layer, weight: &QTensor) -> Result<Self> {
        match layer {
            Layer::DepthwiseConv2d(_) => Self::depthwise(weight),
            _ => Self::matrix(weight),
        }
    }

    /// For the weights of a linear layer or a convolution, `[outputs, …]`.
    ///
    /// # Errors
    /// [`Error::RangeDoesNotFit`] unless the codes are signed bytes whose zero point is 0;
    /// [`Error::DepthTooLarge`] if a sum might overflow.
    pub fn matrix(weight: &QTensor) -> Result<Self> {
        let (codes, scales) = symmetric_codes(weight)?;
        let outputs = scales.len();
        let codes = ArrayView2::from_shape((outputs, codes.len() / outputs.max(1)), &codes)
            .map_err(|_| Error::Empty)?;
        let weights = Weights::Matrix(PackedWeights::new(Kernel::best(), codes.t())?);
        Ok(Self { weights, scales })
    }

    /// For the weights of a depthwise convolution, `[channels, height, width]`.
    ///
    /// # Errors
    /// As [`matrix`](Self::matrix).
    pub fn depthwise(weight: &QTensor) -> Result<Self> {
        let (codes, scales) = symmetric_codes(weight)?;
        let (channels, depth) = (scales.len(), codes.len() / scales.len().max(1));
        if depth > MAX_DEPTH {
            let max = MAX_DEPTH;
            return Err(Error::DepthTooLarge { depth, max });
        }
        let taps = (0..depth).flat_map(|tap| (0..channels).map(move |c| c * depth + tap));
        let weights = Weights::Taps(taps.map(|at| codes[at]).collect());
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
            Weights::Taps(_) => same_length("the depth", 0, x.depth())?,
        }
        Ok(out.into_raw_vec_and_offset().0)
    }

    /// The convolution of images of codes: `x` holds `[batch, height, width, channels]`. Image i has
    /// the zero point and the epilogue that `of_image(i)` returns.
    ///
    /// # Errors
    /// As [`PackedWeights::multiply`] and [`im2col`].
    pub fn images<E: Epilogue>(
        &self,
        x: &[u8],
        shape: [usize; 4],
        window: Window,
        of_image: impl Fn(usize) -> (u8, E) + Sync,
    ) -> Result<Vec<E::Out>> {
        let [batch, height, width, channels] = shape;
        let size = window.output_size([height, width])?;
        let (pixels, image) = (size[0] * size[1], height * width * channels);
        same_length("the image", batch * image, x.len())?;
        let mut out = vec![E::Out::default(); batch * pixels * self.outputs()];
        out.par_chunks_mut((pixels * self.outputs()).max(1))
            .zip(x.par_chunks(image.max(1)))
            .enumerate()
            .try_for_each_init(Vec::new, |room, (i, (out, x))| {
                let (zero_point, epilogue) = of_image(i);
                epilogue.check(pixels, self.outputs())?;
                match &self.weights {
                    Weights::Taps(taps) => {
                        let image = Image {
                            x,
                            height,
                            width,
                            channels,
                        };
                        image.depthwise(taps, window, zero_point, &epilogue, out);
                        Ok(())
                    }
                    Weights::Matrix(weights) => {
                        let rows = match window == Window::POINT {
                            true => x,
                            false => {
                                room.clear();
                                im2col(x, [1, height, width, channels], window, zero_point, room)?;
                                &room[..]
                            }
                        };
                        let rows = ArrayView2::from_shape((pixels, rows.len() / pixels), rows);
                        let out = ArrayViewMut2::from_shape((pixels, self.outputs()), out);
                        let (rows, out) = (rows.map_err(|_| Error::Empty)?, out);
                        let out = out.map_err(|_| Error::Empty)?;
                        weights.multiply(&Activations::u8(rows, zero_point), &epilogue, out)
                    }
                }
            })?;
        Ok(out)
    }
}

/// One image of codes.
struct Image<'a> {
    x: &'a [u8],
    height: usize,
    width: usize,
    channels: usize,
}

impl Image<'_> {
    /// Σ (q − z)·w over the part of each window that lies in the image: outside q is z.
    fn depthwise<E: Epilogue>(
        &self,
        taps: &[i8],
        window: Window,
        zero_point: u8,
        epilogue: &E,
        out: &mut [E::Out],
    ) {
        let channels = self.channels;
        let Ok([_, out_width]) = window.output_size([self.height, self.width]) else {
            return; // the caller has computed it, too
        };
        let mut sums = vec![0i32; channels];
        for (at, out) in out.chunks_exact_mut(channels).enumerate() {
            let (ys, top) = window.inside(0, at / out_width, self.height);
            let (xs, left) = window.inside(1, at % out_width, self.width);
            sums.fill(0);
            for (ky, kx) in ys.flat_map(|ky| xs.clone().map(move |kx| (ky, kx))) {
                let (y, x) = (top + ky as isize, left + kx as isize);
                let pixel = &self.x[(y as usize * self.width + x as usize) * channels..];
                let taps = &taps[(ky * window.kernel()[1] + kx) * channels..];
                for ((sum, q), w) in sums.iter_mut().zip(pixel).zip(taps) {
                    *sum += (i32::from(*q) - i32::from(zero_point)) * i32::from(*w);
                }
            }
            epilogue.finish(at, 0, &sums, out);
        }
    }
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

//! Each layer as its definition says, in f64: the executor that the others are compared with.

use fewer_bits::Result;
use fewer_bits::nn::*;
use ndarray::{Array4, ArrayD, ArrayView4, Axis, Ix4};

/// Computes in f64, one output at a time.
#[derive(Default)]
pub struct Reference {
    /// Batch norms use the batch's own mean and variance, as in training.
    pub batch_statistics: bool,
}

/// The pixels under a window at (oy, ox): (ky, kx, y, x).
fn under(
    window: Window,
    (oy, ox): (usize, usize),
    (height, width): (usize, usize),
) -> Vec<(usize, usize, usize, usize)> {
    let [kh, kw] = window.kernel();
    let mut pixels = Vec::new();
    for ky in 0..kh {
        for kx in 0..kw {
            let y = (oy * window.stride()[0] + ky).checked_sub(window.padding()[0]);
            let x = (ox * window.stride()[1] + kx).checked_sub(window.padding()[1]);
            if let (Some(y), Some(x)) = (y, x)
                && y < height
                && x < width
            {
                pixels.push((ky, kx, y, x));
            }
        }
    }
    pixels
}

fn images(x: &ArrayD<f64>) -> ArrayView4<'_, f64> {
    x.view().into_dimensionality::<Ix4>().unwrap()
}

/// Slides a window: `f(image's view, pixels under the window, output channel)`.
fn slide(
    x: &ArrayD<f64>,
    window: Window,
    outputs: usize,
    f: impl Fn(usize, &[(usize, usize, usize, usize)], usize) -> f64,
) -> ArrayD<f64> {
    let (batch, height, width, _) = images(x).dim();
    let [oh, ow] = window.output_size([height, width]).unwrap();
    Array4::from_shape_fn((batch, oh, ow, outputs), |(n, oy, ox, c)| {
        f(n, &under(window, (oy, ox), (height, width)), c)
    })
    .into_dyn()
}

impl Executor for Reference {
    type Value = ArrayD<f64>;

    fn linear(&mut self, _: &str, layer: &Linear, x: ArrayD<f64>) -> Result<ArrayD<f64>> {
        let (w, b) = (layer.weight().mapv(f64::from), layer.bias().mapv(f64::from));
        let lanes = x.shape()[..x.ndim() - 1].to_vec();
        let y = x
            .rows()
            .into_iter()
            .flat_map(|row| (w.dot(&row) + &b).to_vec())
            .collect();
        Ok(ArrayD::from_shape_vec([lanes, vec![b.len()]].concat(), y).unwrap())
    }

    fn conv2d(&mut self, _: &str, layer: &Conv2d, x: ArrayD<f64>) -> Result<ArrayD<f64>> {
        let (w, b) = (layer.weight().mapv(f64::from), layer.bias().mapv(f64::from));
        let v = images(&x);
        Ok(slide(&x, layer.window(), b.len(), |n, pixels, o| {
            let mut sum = b[o];
            for &(ky, kx, y, x) in pixels {
                for i in 0..v.dim().3 {
                    sum += w[[o, ky, kx, i]] * v[[n, y, x, i]];
                }
            }
            sum
        }))
    }

    fn depthwise_conv2d(
        &mut self,
        _: &str,
        layer: &DepthwiseConv2d,
        x: ArrayD<f64>,
    ) -> Result<ArrayD<f64>> {
        let (w, b) = (layer.weight().mapv(f64::from), layer.bias().mapv(f64::from));
        let v = images(&x);
        Ok(slide(&x, layer.window(), b.len(), |n, pixels, c| {
            let taps = pixels
                .iter()
                .map(|&(ky, kx, y, x)| w[[c, ky, kx]] * v[[n, y, x, c]]);
            b[c] + taps.sum::<f64>()
        }))
    }

    fn batch_norm(&mut self, _: &str, layer: &BatchNorm, x: ArrayD<f64>) -> Result<ArrayD<f64>> {
        let layer = Layer::from(layer.clone());
        let p: Vec<_> = layer
            .parameters()
            .into_iter()
            .map(|(_, p)| p.mapv(f64::from))
            .collect();
        let epsilon = f64::from(BatchNorm::EPSILON);
        let (mut mean, mut variance) = (p[2].clone(), p[3].clone());
        if self.batch_statistics {
            let channels = p[0].len();
            let rows = x.to_shape((x.len() / channels, channels)).unwrap();
            mean = rows.mean_axis(Axis(0)).unwrap().into_dyn();
            variance = rows.var_axis(Axis(0), 0.0).into_dyn();
        }
        Ok((x - mean) / (variance + epsilon).mapv(f64::sqrt) * &p[0] + &p[1])
    }

    fn activation(&mut self, _: &str, layer: Activation, x: ArrayD<f64>) -> Result<ArrayD<f64>> {
        Ok(x.mapv(|x| match layer {
            Activation::Relu => x.max(0.0),
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::Gelu => x * 0.5 * (1.0 + libm::erf(x / 2f64.sqrt())),
            _ => unreachable!("an activation that the reference does not know"),
        }))
    }

    fn pool(&mut self, _: &str, layer: Pool, x: ArrayD<f64>) -> Result<ArrayD<f64>> {
        let v = images(&x);
        let channels = v.dim().3;
        let (window, largest) = match layer {
            Pool::Max(window) => (window, true),
            Pool::Average(window) => (window, false),
            _ => return Ok(x.mean_axis(Axis(1)).unwrap().mean_axis(Axis(1)).unwrap()),
        };
        Ok(slide(&x, window, channels, |n, pixels, c| {
            let values = pixels.iter().map(|&(_, _, y, x)| v[[n, y, x, c]]);
            match largest {
                true => values.fold(f64::NEG_INFINITY, f64::max),
                false => values.sum::<f64>() / pixels.len() as f64,
            }
        }))
    }

    fn flatten(&mut self, _: &str, x: ArrayD<f64>) -> Result<ArrayD<f64>> {
        let batch = x.shape()[0];
        let features = x.len() / batch;
        Ok(x.into_shape_with_order(vec![batch, features]).unwrap())
    }
}

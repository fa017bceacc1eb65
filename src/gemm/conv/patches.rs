//! The patches under a sliding window, as rows of bytes.

use ndarray::{ArrayView1, ArrayView4, s};

use super::{Bytes, Images, Sliding};

/// One row for each pixel of the output: what the window sees there.
#[derive(Debug, Clone)]
pub(in crate::gemm) struct Patches<'a> {
    images: Images<'a>,
    kernel: [usize; 2],
    sliding: Sliding,
    out_size: [usize; 2],
}

/// Where a window lies.
pub(super) struct Place {
    pub(super) image: usize,
    /// Row and column of the output.
    at: [usize; 2],
}

impl<'a> Patches<'a> {
    /// `out_size` is what [`Sliding::output_size`] says of `kernel` and the images.
    pub(super) fn new(
        images: Images<'a>,
        kernel: [usize; 2],
        sliding: Sliding,
        out_size: [usize; 2],
    ) -> Self {
        Self {
            images,
            kernel,
            sliding,
            out_size,
        }
    }

    pub(in crate::gemm) fn rows(&self) -> usize {
        self.images.shape()[0] * self.out_size[0] * self.out_size[1]
    }

    pub(in crate::gemm) fn depth(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.images.shape()[3]
    }

    /// The zero point, as an unsigned byte.
    pub(in crate::gemm) fn zero_point(&self) -> u8 {
        match self.images.0 {
            Bytes::U8(_, zero_point) => zero_point,
            Bytes::I8(_, zero_point) => unsigned(zero_point),
        }
    }

    /// Writes what the window sees at `row`, as unsigned bytes: line by line, pixel by pixel, channel
    /// by channel.
    pub(in crate::gemm) fn write_row(&self, row: usize, out: &mut [u8]) {
        let place = self.place(row);
        match self.images.0 {
            Bytes::U8(images, _) => self.write(&images, place, out, |v| v),
            Bytes::I8(images, _) => self.write(&images, place, out, unsigned),
        }
    }

    fn write<T: Copy>(
        &self,
        images: &ArrayView4<'_, T>,
        place: Place,
        out: &mut [u8],
        unsigned: impl Fn(T) -> u8,
    ) {
        let channels = self.images.shape()[3];
        let pixels = out.chunks_exact_mut(channels.max(1));
        for (tap, out) in pixels.enumerate() {
            match self.pixel(&place, tap) {
                Some([y, x]) => {
                    copy(images.slice(s![place.image, y, x, ..]), out, &unsigned);
                }
                None => out.fill(self.zero_point()),
            }
        }
    }

    pub(super) fn images(&self) -> &Images<'a> {
        &self.images
    }

    /// Where the window of row `row` lies.
    pub(super) fn place(&self, row: usize) -> Place {
        let [height, width] = self.out_size;
        Place {
            image: row / (height * width),
            at: [row / width % height, row % width],
        }
    }

    /// Row and column of the pixel that a window sees at `tap`, its pixels being counted line by
    /// line; none if it lies outside the image.
    pub(super) fn pixel(&self, place: &Place, tap: usize) -> Option<[usize; 2]> {
        let [_, height, width, _] = self.images.shape();
        let tap = [tap / self.kernel[1], tap % self.kernel[1]];
        let inside = |axis: usize, size: usize| {
            let Sliding {
                stride,
                padding,
                dilation,
            } = self.sliding;
            let padded = place.at[axis] * stride[axis] + tap[axis] * dilation[axis];
            let pixel = padded.checked_sub(padding[axis][0])?;
            (pixel < size).then_some(pixel)
        };
        Some([inside(0, height)?, inside(1, width)?])
    }
}

fn unsigned(code: i8) -> u8 {
    (code as u8) ^ 0x80
}

fn copy<T: Copy>(channels: ArrayView1<'_, T>, out: &mut [u8], unsigned: impl Fn(T) -> u8) {
    match channels.as_slice() {
        Some(channels) => {
            for (out, value) in out.iter_mut().zip(channels) {
                *out = unsigned(*value);
            }
        }
        None => {
            for (out, value) in out.iter_mut().zip(channels) {
                *out = unsigned(*value);
            }
        }
    }
}

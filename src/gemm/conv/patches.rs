//! The patches under a sliding window, as rows of bytes.

use std::ops::Range;

use super::{Bytes, Images, Sliding};

/// One row for each pixel of the output: what the window sees there.
#[derive(Debug, Clone)]
pub(in crate::gemm) struct Patches<'a> {
    pixels: Pixels<'a>,
    kernel: [usize; 2],
    sliding: Sliding,
    out_size: [usize; 2],
}

/// Images of `shape` in row-major order, and which of their channels are seen.
#[derive(Debug, Clone)]
pub(super) struct Pixels<'a> {
    pub(super) codes: Codes<'a>,
    pub(super) shape: [usize; 4],
    pub(super) channels: Range<usize>,
}

/// Codes and their zero point.
#[derive(Debug, Clone, Copy)]
pub(super) enum Codes<'a> {
    U8(&'a [u8], u8),
    I8(&'a [i8], i8),
}

/// What a window sees along one axis: the pixels of its taps `taps` lie inside the image, the first of
/// them is `first`.
#[derive(Debug, Clone)]
struct Seen {
    taps: Range<usize>,
    first: usize,
}

/// What a window sees.
#[derive(Debug, Clone)]
struct View {
    image: usize,
    /// Of height and width.
    axes: [Seen; 2],
}

impl<'a> Patches<'a> {
    /// `out_size` is what [`Sliding::output_size`] says of `kernel` and the images.
    pub(super) fn new(
        pixels: Pixels<'a>,
        kernel: [usize; 2],
        sliding: Sliding,
        out_size: [usize; 2],
    ) -> Self {
        Self {
            pixels,
            kernel,
            sliding,
            out_size,
        }
    }

    pub(in crate::gemm) fn rows(&self) -> usize {
        self.pixels.shape[0] * self.out_size[0] * self.out_size[1]
    }

    pub(in crate::gemm) fn depth(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.pixels.channels.len()
    }

    /// The zero point, as an unsigned byte.
    pub(in crate::gemm) fn zero_point(&self) -> u8 {
        match self.pixels.codes {
            Codes::U8(_, zero_point) => zero_point,
            Codes::I8(_, zero_point) => unsigned(zero_point),
        }
    }

    /// Writes what the window sees at `row`, as unsigned bytes: line by line, pixel by pixel, channel
    /// by channel.
    pub(in crate::gemm) fn write_row(&self, row: usize, out: &mut [u8]) {
        match self.pixels.codes {
            Codes::U8(codes, _) => self.write(codes, row, out, |code| code),
            Codes::I8(codes, _) => self.write(codes, row, out, unsigned),
        }
    }

    /// Copies whole lines of the window, and fills with the zero point what lies outside.
    // ANCHOR: write
    fn write<T: Copy>(
        &self,
        codes: &[T],
        row: usize,
        out: &mut [u8],
        unsigned: impl Fn(T) -> u8 + Copy,
    ) {
        let view = self.view(row);
        let [_, Seen { taps, .. }] = &view.axes;
        let channels = self.pixels.channels.len();
        let all_channels = channels == self.pixels.shape[3];
        let neighbours = self.sliding.dilation[1] == 1 && all_channels;
        let lines = out.chunks_exact_mut((self.kernel[1] * channels).max(1));
        for (line, out) in lines.enumerate() {
            let Some(start) = self.start_of_line(&view, line) else {
                out.fill(self.zero_point());
                continue;
            };
            let (before, out) = out.split_at_mut(taps.start * channels);
            let (inside, after) = out.split_at_mut(taps.len() * channels);
            before.fill(self.zero_point());
            after.fill(self.zero_point());
            if neighbours {
                copy(&codes[start..], inside, unsigned);
                continue;
            }
            let pixels = inside.chunks_exact_mut(channels.max(1));
            for (pixel, out) in pixels.enumerate() {
                copy(&codes[start + pixel * self.step()..], out, unsigned);
            }
        }
    }
    // ANCHOR_END: write

    pub(super) fn codes(&self) -> Codes<'a> {
        self.pixels.codes
    }

    /// What the window of row `row` sees.
    fn view(&self, row: usize) -> View {
        let [height, width] = self.out_size;
        let (line, column) = (row / width, row % width);
        View {
            image: line / height,
            axes: [self.seen(0, line % height), self.seen(1, column)],
        }
    }

    /// Along an axis, for the output's pixel `at`.
    fn seen(&self, axis: usize, at: usize) -> Seen {
        let (size, kernel) = (self.pixels.shape[1 + axis], self.kernel[axis]);
        let (padding, dilation) = (self.sliding.padding[axis][0], self.sliding.dilation[axis]);
        let start = at * self.sliding.stride[axis];
        let taps_before = |end: usize| match (end.saturating_sub(start), dilation) {
            (pixels, 1) => pixels.min(kernel), // most often, and a division is slow
            (pixels, dilation) => pixels.div_ceil(dilation).min(kernel),
        };
        let taps = taps_before(padding)..taps_before(padding + size);
        Seen {
            first: (start + taps.start * dilation).saturating_sub(padding),
            taps,
        }
    }

    /// Where the codes begin of the first pixel that lies inside the image in line `line` of the
    /// window; none if that line lies outside.
    fn start_of_line(&self, view: &View, line: usize) -> Option<usize> {
        let [lines, columns] = &view.axes;
        if !lines.taps.contains(&line) || columns.taps.is_empty() {
            return None;
        }
        let y = lines.first + (line - lines.taps.start) * self.sliding.dilation[0];
        let [_, height, width, channels] = self.pixels.shape;
        let pixel = (view.image * height + y) * width + columns.first;
        Some(pixel * channels + self.pixels.channels.start)
    }

    /// For each pixel that the window of row `row` sees inside the image, where its codes begin, and
    /// where its weights do if there are `channels` of them a tap.
    pub(super) fn taps(&self, row: usize, channels: usize, taps: &mut Vec<(usize, usize)>) {
        let view = self.view(row);
        let [lines, columns] = &view.axes;
        taps.clear();
        for line in lines.taps.clone() {
            let Some(start) = self.start_of_line(&view, line) else {
                continue;
            };
            for (pixel, column) in columns.taps.clone().enumerate() {
                let tap = line * self.kernel[1] + column;
                taps.push((start + pixel * self.step(), tap * channels));
            }
        }
    }

    /// From one tap of a line to the next.
    fn step(&self) -> usize {
        self.sliding.dilation[1] * self.pixels.shape[3]
    }
}

impl Images<'_> {
    /// Calls `then` with all pixels, of which a copy is made if they are not in row-major order.
    pub(super) fn in_order<R>(&self, then: impl FnOnce(Pixels<'_>) -> R) -> R {
        let (signed, unsigned);
        let codes = match &self.0 {
            Bytes::U8(codes, zero_point) => {
                unsigned = codes.as_standard_layout();
                Codes::U8(unsigned.as_slice().unwrap_or_default(), *zero_point)
            }
            Bytes::I8(codes, zero_point) => {
                signed = codes.as_standard_layout();
                Codes::I8(signed.as_slice().unwrap_or_default(), *zero_point)
            }
        };
        let shape = self.shape();
        let channels = 0..shape[3];
        then(Pixels {
            codes,
            shape,
            channels,
        })
    }
}

fn unsigned(code: i8) -> u8 {
    (code as u8) ^ 0x80
}

#[inline]
fn copy<T: Copy>(codes: &[T], out: &mut [u8], unsigned: impl Fn(T) -> u8) {
    for (out, code) in out.iter_mut().zip(codes) {
        *out = unsigned(*code);
    }
}

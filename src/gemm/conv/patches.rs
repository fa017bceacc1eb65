//! The patches under a sliding window, as rows of bytes.

use std::ops::Range;

use super::{Bytes, Images, Sliding};

/// One row for each pixel of the output: what the window sees there.
#[derive(Debug, Clone)]
pub(in crate::gemm) struct Patches<'a> {
    pub(super) pixels: Pixels<'a>,
    pub(super) kernel: [usize; 2],
    pub(super) sliding: Sliding,
    pub(super) out_size: [usize; 2],
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
#[derive(Debug, Clone, PartialEq)]
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

    /// Writes what the window sees at each of `rows`, as unsigned bytes: line by line, pixel by pixel,
    /// channel by channel. Rows of `out` begin `stride` bytes apart, at least 15 more than the depth,
    /// and are filled up with zeros.
    pub(in crate::gemm) fn write_rows(&self, rows: Range<usize>, stride: usize, out: &mut [u8]) {
        let (mut row, mut out, width) = (rows.start, out, self.out_size[1]);
        while row < rows.end {
            let first = row % width;
            let last = (first + rows.end - row).min(width);
            let (here, rest) = out.split_at_mut((last - first) * stride);
            match self.pixels.codes {
                Codes::U8(codes, _) => self.write(codes, row, stride, here, |code| code),
                Codes::I8(codes, _) => self.write(codes, row, stride, here, unsigned),
            }
            for row in here.chunks_exact_mut(stride) {
                if let Some(after) = row[self.depth()..].first_chunk_mut::<15>() {
                    *after = [0; 15]; // over which the last line may have been copied
                }
            }
            row += last - first;
            out = rest;
        }
    }

    /// Writes rows from `first` on, which belong to pixels in one line of the output. Where the window
    /// lies inside the image, its lines are copied whole.
    // ANCHOR: write
    fn write<T: Copy>(
        &self,
        codes: &[T],
        first: usize,
        stride: usize,
        out: &mut [u8],
        unsigned: impl Fn(T) -> u8 + Copy,
    ) {
        let length = self.kernel[1] * self.pixels.channels.len();
        let [image, y, first] = self.at(first);
        let last = first + out.len() / stride;
        let view = |x| self.view([image, y, x]);
        let whole = self.whole_columns();
        let start = whole.start.clamp(first, last);
        let end = whole.end.clamp(start, last);
        let (before, inside) = out.split_at_mut((start - first) * stride);
        let (inside, after) = inside.split_at_mut((end - start) * stride);
        for line in 0..self.kernel[0] {
            let at = line * length..(line + 1) * length;
            let rows = [&mut *before, &mut *after].into_iter();
            let rows = rows.flat_map(|rows| rows.chunks_exact_mut(stride));
            for (x, row) in (first..start).chain(end..last).zip(rows) {
                let out = &mut row[at.clone()];
                self.write_part(codes, &view(x), line, out, unsigned);
            }
            let from = self.start_of_line(&view(start), line);
            for (i, row) in inside.chunks_exact_mut(stride).enumerate() {
                let Some(from) = from else {
                    row[at.clone()].fill(self.zero_point());
                    continue;
                };
                let codes = &codes[from + i * self.move_by()..];
                copy_line(codes, length, &mut row[at.start..], unsigned);
            }
        }
    }
    // ANCHOR_END: write

    /// A line of the window of which a part may lie outside the image, or whose pixels are no
    /// neighbours.
    fn write_part<T: Copy>(
        &self,
        codes: &[T],
        view: &View,
        line: usize,
        out: &mut [u8],
        unsigned: impl Fn(T) -> u8 + Copy,
    ) {
        let Some(start) = self.start_of_line(view, line) else {
            out.fill(self.zero_point());
            return;
        };
        let (taps, channels) = (&view.axes[1].taps, self.pixels.channels.len());
        let (before, out) = out.split_at_mut(taps.start * channels);
        let (inside, after) = out.split_at_mut(taps.len() * channels);
        before.fill(self.zero_point());
        after.fill(self.zero_point());
        let pixels = inside.chunks_exact_mut(channels.max(1));
        for (pixel, out) in pixels.enumerate() {
            copy(&codes[start + pixel * self.step()..], out, unsigned);
        }
    }

    /// The columns of the output at which the window's lines lie in one piece inside the image.
    fn whole_columns(&self) -> Range<usize> {
        let (kernel, padding) = (self.kernel[1], self.sliding.padding[1][0]);
        let all_channels = self.pixels.channels.len() == self.pixels.shape[3];
        match (padding + self.pixels.shape[2]).checked_sub(kernel) {
            Some(room) if self.sliding.dilation[1] == 1 && all_channels => {
                let stride = self.sliding.stride[1];
                padding.div_ceil(stride)..room / stride + 1
            }
            _ => 0..0,
        }
    }

    /// Image, line and column of the output's pixel that row `row` belongs to.
    fn at(&self, row: usize) -> [usize; 3] {
        let [height, width] = self.out_size;
        let line = row / width;
        [line / height, line % height, row % width]
    }

    /// What the window sees there.
    fn view(&self, [image, line, column]: [usize; 3]) -> View {
        let axes = [self.seen(0, line), self.seen(1, column)];
        View { image, axes }
    }

    /// How many pixels the windows of `outputs` pixels of the output span along an axis.
    pub(super) fn span(&self, axis: usize, outputs: usize) -> usize {
        let moved = (outputs - 1).saturating_mul(self.sliding.stride[axis]);
        let window = (self.kernel[axis] - 1).saturating_mul(self.sliding.dilation[axis]);
        moved.saturating_add(window).saturating_add(1)
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

    /// From one pixel of the output to the next.
    fn move_by(&self) -> usize {
        self.sliding.stride[1] * self.pixels.shape[3]
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

/// Copies `length` codes, 16 at a time: up to 15 more than that, over which the next line is written.
#[inline(always)]
fn copy_line<T: Copy>(codes: &[T], length: usize, out: &mut [u8], unsigned: impl Fn(T) -> u8) {
    for at in (0..length).step_by(16) {
        let chunks = (
            codes[at..].first_chunk::<16>(),
            out[at..].first_chunk_mut::<16>(),
        );
        if let (Some(codes), Some(out)) = chunks {
            *out = codes.map(&unsigned); // a value, and so a vector, for it overlaps nothing
        } else {
            return copy(&codes[at..], &mut out[at..length], unsigned); // the last image ends here
        }
    }
}

#[inline]
fn copy<T: Copy>(codes: &[T], out: &mut [u8], unsigned: impl Fn(T) -> u8) {
    for (out, code) in out.iter_mut().zip(codes) {
        *out = unsigned(*code);
    }
}

//! Images with their padding around them, so that every window sees its pixels at the same distances.

use std::ops::Range;

use super::patches::{Codes, Patches};

/// At most so many values are kept at a time, 4 MiB, however large the image and its padding.
const MOST_VALUES: usize = 1 << 20;

/// Some of the windows of [`Patches`], as integers x − z_x. Outside the image stands 0.
///
/// What the windows of a few lines of the output see is padded in one piece. If they see little of it,
/// because they lie far apart, or if one line's would be too much to keep, what they see is written
/// down window by window.
pub(super) struct Padded<'a, 'v> {
    patches: &'a Patches<'v>,
    /// The most lines of the output whose windows are padded together; 0 if each window is written
    /// down.
    lines_at_once: usize,
    /// Of the pixels that a window sees, line by line, where their channels begin.
    pub(super) taps: Vec<usize>,
    /// How far apart the values begin that belong to one line of the output and to the next.
    down: usize,
    /// The same for neighbouring pixels of a line.
    pub(super) right: usize,
    /// Padded pixels, channel by channel.
    pub(super) values: Vec<i32>,
    bytes: Vec<u8>,
}

impl<'a, 'v> Padded<'a, 'v> {
    pub(super) fn new(patches: &'a Patches<'v>) -> Self {
        let ([height, width], [lines, columns]) = (patches.kernel, patches.out_size);
        let (channels, all_taps) = (patches.pixels.shape[3], height.saturating_mul(width));
        let across = patches.span(1, columns);
        let far_apart = patches.span(0, lines).saturating_mul(across)
            > (lines * columns).saturating_mul(all_taps);
        let most_lines = MOST_VALUES / across.saturating_mul(channels).max(1);
        let lines_at_once = match most_lines.checked_sub(patches.span(0, 1)) {
            Some(more) if !far_apart => more / patches.sliding.stride[0] + 1,
            _ => 0,
        };
        let (line, stride, [dy, dx]) = match lines_at_once {
            0 => (width * channels, [0; 2], [1; 2]),
            _ => {
                let sliding = patches.sliding;
                (across * channels, sliding.stride, sliding.dilation)
            }
        };
        let tap = |i: usize| i / width * dy * line + i % width * dx * channels;
        Self {
            patches,
            lines_at_once,
            taps: (0..all_taps).map(tap).collect(),
            down: stride[0] * line,
            right: stride[1] * channels,
            values: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Reads as many windows as are kept at a time, from the first of `rows` on, and says how many.
    #[inline(always)]
    pub(super) fn read(&mut self, rows: Range<usize>) -> usize {
        let [lines, columns] = self.patches.out_size;
        self.values.clear();
        if self.lines_at_once == 0 {
            let (depth, bytes) = (self.patches.depth(), &mut self.bytes);
            bytes.resize(depth + 15, 0);
            self.patches
                .write_rows(rows.start..rows.start + 1, depth + 15, bytes);
            let zero_point = i32::from(self.patches.zero_point());
            let values = bytes[..depth].iter().map(|&x| i32::from(x) - zero_point);
            self.values.extend(values);
            return 1;
        }
        let (image, first) = (rows.start / columns / lines, rows.start / columns % lines);
        let count = (rows.len() / columns)
            .min(lines - first)
            .min(self.lines_at_once);
        match self.patches.pixels.codes {
            Codes::U8(codes, zero_point) => self.pad(codes, zero_point.into(), image, first, count),
            Codes::I8(codes, zero_point) => self.pad(codes, zero_point.into(), image, first, count),
        }
        count * columns
    }

    /// Reads what windows see that make `count` lines of the output.
    #[inline(always)]
    fn pad<T: Copy + Into<i32>>(
        &mut self,
        codes: &[T],
        zero_point: i32,
        image: usize,
        first: usize,
        count: usize,
    ) {
        let Patches {
            pixels,
            sliding,
            out_size,
            ..
        } = self.patches;
        let [_, height, width, channels] = pixels.shape;
        let [[above, _], [before, _]] = sliding.padding;
        let line = self.patches.span(1, out_size[1]) * channels;
        self.values.resize(self.patches.span(0, count) * line, 0);
        for (y, values) in self.values.chunks_exact_mut(line.max(1)).enumerate() {
            let y = (first * sliding.stride[0] + y).wrapping_sub(above);
            if y < height {
                let codes = &codes[(image * height + y) * width * channels..][..width * channels];
                let values = values.get_mut(before * channels..).unwrap_or_default();
                for (value, code) in values.iter_mut().zip(codes) {
                    *value = (*code).into() - zero_point;
                }
            }
        }
    }

    /// Where the channels begin of the first pixel that window `window` of those read sees.
    pub(super) fn start(&self, window: usize) -> usize {
        let columns = self.patches.out_size[1];
        window / columns * self.down + window % columns * self.right
    }

    /// How many windows stand in a line of the output from window `window` on.
    pub(super) fn left_in_line(&self, window: usize) -> usize {
        let columns = self.patches.out_size[1];
        columns - window % columns
    }
}

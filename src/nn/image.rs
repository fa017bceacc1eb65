//! Windows over images `[batch, height, width, channels]`: where they lie, and `im2col`.

use std::ops::Range;

use crate::error::{Error, Result};

/// A window that slides over height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
}

impl Window {
    /// One pixel, without padding: the window of a 1×1 convolution.
    pub const POINT: Self = Self {
        kernel: [1, 1],
        stride: [1, 1],
        padding: [0, 0],
    };

    /// A window of `kernel` = [height, width] elements that moves by `stride` over an image with
    /// `padding` on both of its sides.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] if the kernel or the stride is 0, or the padding as large as the
    /// kernel: a window would then lie wholly in the padding.
    pub fn new(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Result<Self> {
        let refuse = |what, value: [usize; 2], allowed| {
            let value = format!("{value:?}");
            Err(Error::InvalidSetting {
                what,
                value,
                allowed,
            })
        };
        if kernel.contains(&0) {
            return refuse("the window", kernel, "it needs at least one element");
        }
        if stride.contains(&0) {
            return refuse("the stride", stride, "the window has to move on");
        }
        if padding[0] >= kernel[0] || padding[1] >= kernel[1] {
            return refuse("the padding", padding, "it must be smaller than the window");
        }
        Ok(Self {
            kernel,
            stride,
            padding,
        })
    }

    /// Height and width of the window.
    pub fn kernel(&self) -> [usize; 2] {
        self.kernel
    }

    /// How far the window moves down and to the right.
    pub fn stride(&self) -> [usize; 2] {
        self.stride
    }

    /// How many rows are added above and below, and columns on the left and right.
    pub fn padding(&self) -> [usize; 2] {
        self.padding
    }

    /// Height and width of the output for an image of `size` = [height, width]: along each axis
    /// ⌊(size + 2·padding − kernel)/stride⌋ + 1.
    ///
    /// # Errors
    /// [`Error::WindowDoesNotFit`] if the window is larger than the padded image.
    pub fn output_size(&self, size: [usize; 2]) -> Result<[usize; 2]> {
        let (kernel, stride, padding) = (self.kernel(), self.stride(), self.padding());
        let padded = [0, 1].map(|i| {
            size[i]
                .saturating_add(padding[i])
                .saturating_add(padding[i])
        });
        if padded[0] < kernel[0] || padded[1] < kernel[1] || size.contains(&0) {
            return Err(Error::WindowDoesNotFit { kernel, padded });
        }
        Ok([0, 1].map(|i| (padded[i] - kernel[i]) / stride[i] + 1))
    }

    /// How many elements of one channel lie under the window.
    pub(super) fn area(&self) -> usize {
        self.kernel()[0] * self.kernel()[1]
    }

    /// True if the windows are the pixels themselves, as in a 1×1 convolution.
    pub(super) fn is_pointwise(&self) -> bool {
        *self == Self::POINT
    }

    /// The part of the window at output position `at` that lies inside the image along `axis`, as
    /// the range of its offsets, and where the window begins (before the image, if negative).
    pub(crate) fn inside(&self, axis: usize, at: usize, size: usize) -> (Range<usize>, isize) {
        let start = (at * self.stride()[axis]) as isize - self.padding()[axis] as isize;
        let kernel = self.kernel()[axis] as isize;
        let first = (-start).clamp(0, kernel);
        let end = (size as isize - start).clamp(first, kernel);
        (first as usize..end as usize, start)
    }
}

/// Lays the values under each window in one row, so that a convolution becomes a matrix product
/// with the weights `[outputs, kernel height·kernel width·channels]`.
///
/// `x` is `[batch, height, width, channels]` in row-major order. The rows, one for each output
/// pixel, are appended to `rows`; what lies outside the image is `padding`, the element that stands
/// for the real number 0 (for codes: the zero point).
///
/// # Errors
/// [`Error::LengthMismatch`] if `x` does not hold `shape`, and as [`Window::output_size`].
pub fn im2col<T: Copy>(
    x: &[T],
    shape: [usize; 4],
    window: Window,
    padding: T,
    rows: &mut Vec<T>,
) -> Result<()> {
    let [batch, height, width, channels] = shape;
    let [out_height, out_width] = window.output_size([height, width])?;
    check_length(x, shape)?;
    let [kernel_height, kernel_width] = window.kernel();
    rows.reserve(batch * out_height * out_width * window.area() * channels);
    for image in x.chunks_exact((height * width * channels).max(1)) {
        for (oy, ox) in (0..out_height).flat_map(|oy| (0..out_width).map(move |ox| (oy, ox))) {
            let (inside_y, top) = window.inside(0, oy, height);
            let (inside_x, left) = window.inside(1, ox, width);
            for ky in 0..kernel_height {
                if !inside_y.contains(&ky) {
                    rows.resize(rows.len() + kernel_width * channels, padding);
                    continue;
                }
                let line = (top + ky as isize) as usize * width;
                let start = (line as isize + left + inside_x.start as isize) as usize * channels;
                let values = &image[start..start + inside_x.len() * channels];
                rows.resize(rows.len() + inside_x.start * channels, padding);
                rows.extend_from_slice(values);
                let missing = (kernel_width - inside_x.end) * channels;
                rows.resize(rows.len() + missing, padding);
            }
        }
    }
    Ok(())
}

fn check_length<T>(x: &[T], shape: [usize; 4]) -> Result<()> {
    let expected = shape.iter().product();
    if x.len() == expected {
        return Ok(());
    }
    Err(Error::LengthMismatch {
        what: "the image",
        expected,
        actual: x.len(),
    })
}

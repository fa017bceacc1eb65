//! How a window moves, and how large the result is.

use crate::error::{Error, Result};

/// How a window moves over an image. For both axes: height, then width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sliding {
    /// How far the window moves, in pixels; at least 1.
    pub stride: [usize; 2],
    /// How many pixels are added before and after the image.
    pub padding: [[usize; 2]; 2],
    /// The distance of the pixels that a window sees; 1 if they are neighbours.
    pub dilation: [usize; 2],
}

impl Default for Sliding {
    /// Pixel by pixel, without padding.
    fn default() -> Self {
        Self {
            stride: [1, 1],
            padding: [[0, 0], [0, 0]],
            dilation: [1, 1],
        }
    }
}

/// The largest of all settings: sums of a few of them overflow nothing.
const LARGEST: usize = 1 << 30;

impl Sliding {
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |what, value: [usize; 2], allowed| {
            Err(Error::InvalidSetting {
                what,
                value: format!("{value:?}"),
                allowed,
            })
        };
        for (what, value) in [("the stride", self.stride), ("the dilation", self.dilation)] {
            if value.iter().any(|v| !(1..=LARGEST).contains(v)) {
                return refuse(what, value, "it must lie between 1 and 2³⁰");
            }
        }
        for value in self.padding {
            if value.iter().any(|&v| v > LARGEST) {
                return refuse("the padding", value, "it must be at most 2³⁰");
            }
        }
        Ok(())
    }

    /// Height and width of the output of a window of `kernel` for an image of `size`: along each
    /// axis ⌊(size + padding − (kernel − 1)·dilation − 1)/stride⌋ + 1.
    ///
    /// # Errors
    /// [`Error::WindowDoesNotFit`] if the window is larger than the padded image;
    /// [`Error::InvalidSetting`] if the stride or the dilation is 0, or a setting exceeds 2³⁰.
    pub fn output_size(&self, kernel: [usize; 2], size: [usize; 2]) -> Result<[usize; 2]> {
        self.check()?;
        let padded = [0, 1].map(|i| {
            let [before, after] = self.padding[i];
            size[i].saturating_add(before + after)
        });
        let window = [0, 1].map(|i| match kernel[i].checked_sub(1) {
            Some(steps) => steps.saturating_mul(self.dilation[i]).saturating_add(1),
            None => 0,
        });
        if kernel.contains(&0) || window[0] > padded[0] || window[1] > padded[1] {
            let kernel = window;
            return Err(Error::WindowDoesNotFit { kernel, padded });
        }
        Ok([0, 1].map(|i| (padded[i] - window[i]) / self.stride[i] + 1))
    }
}

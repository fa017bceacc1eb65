//! Two 4-bit codes in one byte.

use crate::error::{Error, Result};
use crate::qparams::QRange;

/// 4-bit codes, two to a byte, the first in the low half (as ONNX stores them). With an odd number
/// of codes the last high half is 0.
///
/// ```
/// use fewer_bits::{Packed4, QRange};
/// let packed = Packed4::from_codes(QRange::I4, [1, -1, 7])?;
/// assert_eq!(packed.bytes(), [0xF1, 0x07]);
/// assert_eq!(packed.codes().collect::<Vec<_>>(), [1, -1, 7]);
/// # Ok::<(), fewer_bits::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed4 {
    bytes: Vec<u8>,
    len: usize,
    signed: bool,
}

impl Packed4 {
    /// Packs `codes`, which must lie in `range`, which must fit −8..=7 or 0..=15.
    ///
    /// # Errors
    /// [`Error::RangeDoesNotFit`] if `range` needs more than 4 bits;
    /// [`Error::CodeOutOfRange`] with the first code outside `range`.
    pub fn from_codes(range: QRange, codes: impl IntoIterator<Item = i32>) -> Result<Self> {
        let signed = range.min() < 0;
        let storage = if signed { QRange::I4 } else { QRange::U4 };
        if !(storage.contains(range.min()) && storage.contains(range.max())) {
            return Err(Error::RangeDoesNotFit {
                min: range.min(),
                max: range.max(),
                storage_min: storage.min(),
                storage_max: storage.max(),
            });
        }
        let mut packed = Self {
            bytes: Vec::new(),
            len: 0,
            signed,
        };
        for code in codes {
            if !range.contains(code) {
                return Err(Error::CodeOutOfRange {
                    index: packed.len,
                    code,
                    min: range.min(),
                    max: range.max(),
                });
            }
            packed.push(code);
        }
        Ok(packed)
    }

    // ANCHOR: push
    fn push(&mut self, code: i32) {
        let half = (code & 0xF) as u8;
        match self.bytes.last_mut() {
            Some(byte) if self.len % 2 == 1 => *byte |= half << 4,
            _ => self.bytes.push(half),
        }
        self.len += 1;
    }
    // ANCHOR_END: push

    /// The packed bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of codes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no codes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The codes, unpacked one by one.
    pub fn codes(&self) -> impl ExactSizeIterator<Item = i32> + '_ {
        (0..self.len).map(|index| {
            let half = i32::from(self.bytes[index / 2] >> (4 * (index % 2)) & 0xF);
            if self.signed { (half ^ 8) - 8 } else { half }
        })
    }
}

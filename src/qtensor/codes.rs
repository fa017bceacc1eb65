//! The stored codes of a tensor.

use super::Packed4;
use crate::elementwise::Code;
use crate::error::Result;
use crate::qparams::QRange;

/// The stored codes of a tensor, in row-major order, in the smallest type that holds their range.
#[derive(Debug, Clone, PartialEq)]
pub enum Codes {
    /// Signed codes of up to 8 bits.
    I8(Vec<i8>),
    /// Unsigned codes of up to 8 bits.
    U8(Vec<u8>),
    /// Signed 16-bit codes.
    I16(Vec<i16>),
    /// Unsigned 16-bit codes.
    U16(Vec<u16>),
    /// 4-bit codes, two to a byte.
    Packed4(Packed4),
}

/// Something that makes the codes of one tensor, in whichever type will store them.
pub(super) trait Source {
    fn codes<T: Code>(self) -> Result<Vec<T>>;
}

impl Codes {
    /// Codes of `range` from `source`, stored in the smallest type.
    pub(super) fn store(range: QRange, source: impl Source) -> Result<Self> {
        Ok(if is_four_bit(range) {
            let codes = source.codes::<i8>()?.into_iter().map(i32::from);
            Self::Packed4(Packed4::from_codes(range, codes)?)
        } else if range.fits::<u8>() {
            Self::U8(source.codes()?)
        } else if range.fits::<i8>() {
            Self::I8(source.codes()?)
        } else if range.fits::<u16>() {
            Self::U16(source.codes()?)
        } else {
            Self::I16(source.codes()?)
        })
    }

    /// The codes as plain integers.
    pub fn to_vec(&self) -> Vec<i32> {
        fn plain<T: Code>(codes: &[T]) -> Vec<i32> {
            codes.iter().map(|code| code.code()).collect()
        }
        match self {
            Self::I8(codes) => plain(codes),
            Self::U8(codes) => plain(codes),
            Self::I16(codes) => plain(codes),
            Self::U16(codes) => plain(codes),
            Self::Packed4(packed) => packed.codes().collect(),
        }
    }

    /// Bytes that the codes take in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::I8(codes) => size_of_val(&codes[..]),
            Self::U8(codes) => size_of_val(&codes[..]),
            Self::I16(codes) => size_of_val(&codes[..]),
            Self::U16(codes) => size_of_val(&codes[..]),
            Self::Packed4(packed) => packed.bytes().len(),
        }
    }
}

/// Whether the codes need four bits: fewer than four are stored one to a byte.
fn is_four_bit(range: QRange) -> bool {
    (8..=15).contains(&range.steps())
}

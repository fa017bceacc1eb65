//! One operation on every element: quantize, dequantize, minimum and maximum.
//!
//! The one idea: the scalar formula of [`QParams`] is the definition, and each instruction set's
//! version equals it code for code. These loops move more bytes than they compute, so the measure
//! is bandwidth, next to a plain copy (`cargo bench --bench elementwise`).

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

use crate::error::{Error, Result, same_length};
use crate::isa::Isa;
use crate::qparams::{QParams, QRange};

mod sealed {
    pub trait Sealed {}
}

/// An integer type that stores one code: `i8`, `u8`, `i16` or `u16`.
pub trait Code: Copy + Default + PartialEq + std::fmt::Debug + sealed::Sealed + 'static {
    /// All values of the type.
    const STORAGE: QRange;
    /// The code as the type's value. The caller has checked that it fits.
    fn from_code(code: i32) -> Self;
    /// The value as a code.
    fn code(self) -> i32;
}

macro_rules! impl_code {
    ($($t:ty => $range:expr),*) => {$(
        impl sealed::Sealed for $t {}
        impl Code for $t {
            const STORAGE: QRange = $range;
            #[inline]
            fn from_code(code: i32) -> Self {
                code as $t
            }
            #[inline]
            fn code(self) -> i32 {
                i32::from(self)
            }
        }
    )*};
}
impl_code!(i8 => QRange::I8, u8 => QRange::U8, i16 => QRange::I16, u16 => QRange::U16);

impl QRange {
    /// Whether `T` can store each code of the range.
    pub(crate) fn fits<T: Code>(self) -> bool {
        T::STORAGE.contains(self.min()) && T::STORAGE.contains(self.max())
    }

    /// [`Error::RangeDoesNotFit`] unless `T` can store each code of the range.
    pub(crate) fn check_fits<T: Code>(self) -> Result<()> {
        self.fits::<T>()
            .then_some(())
            .ok_or(Error::RangeDoesNotFit {
                min: self.min(),
                max: self.max(),
                storage_min: T::STORAGE.min(),
                storage_max: T::STORAGE.max(),
            })
    }
}

/// The element-wise operations of one instruction set. Having one is the proof that the CPU can
/// run it.
///
/// ```
/// use fewer_bits::{QParams, QRange, elementwise::Kernel};
/// let kernel = Kernel::best();
/// let x = [-1.0, -0.5, 0.0, 0.5, 1.5];
/// let (lo, hi) = kernel.min_max(&x)?;
/// let mut codes = [0i8; 5];
/// kernel.quantize(QParams::affine(lo, hi, QRange::I8)?, &x, &mut codes)?;
/// assert_eq!(codes, [-128, -77, -26, 25, 127]);
/// # Ok::<(), fewer_bits::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Kernel(Chosen);

#[derive(Debug, Clone, Copy)]
enum Chosen {
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    Portable,
}

impl Kernel {
    /// The kernel of the most capable instruction set that this CPU has and that has one, or the
    /// one that [`Isa::wanted`] names.
    pub fn best() -> Self {
        let all = Isa::wanted().into_iter().chain(Isa::ALL);
        let mut available = all.filter_map(Self::new);
        available.next().unwrap_or(Self(Chosen::Portable))
    }

    /// The kernel of `isa`, if there is one and this CPU can run it.
    pub fn new(isa: Isa) -> Option<Self> {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::Avx2::detect().map(Chosen::Avx2).map(Self),
            Isa::Portable => Some(Self(Chosen::Portable)),
            _ => None,
        }
    }

    /// The instruction set.
    pub fn isa(self) -> Isa {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx2(_) => Isa::Avx2,
            Chosen::Portable => Isa::Portable,
        }
    }

    /// Writes the code of each `x[i]` to `out[i]`.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`]; [`Error::RangeDoesNotFit`] if `T` cannot hold the codes;
    /// [`Error::NotANumber`] with the first NaN's index. After an error `out` is unspecified.
    pub fn quantize<T: Code>(self, params: QParams, x: &[f32], out: &mut [T]) -> Result<()> {
        same_length("codes", x.len(), out.len())?;
        params.range().check_fits::<T>()?;
        let clean = match self.0 {
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx2(avx2) => avx2.quantize(params, x, out, stream(x, out)),
            Chosen::Portable => portable::quantize(params, x, out),
        };
        match clean {
            true => Ok(()),
            false => Err(first_nan(x)),
        }
    }

    /// Writes s·(q − z) of each `codes[i]` to `out[i]`, whether or not the range holds q.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`].
    pub fn dequantize<T: Code>(self, params: QParams, codes: &[T], out: &mut [f32]) -> Result<()> {
        same_length("values", codes.len(), out.len())?;
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx2(avx2) => avx2.dequantize(params, codes, out, stream(codes, out)),
            Chosen::Portable => portable::dequantize(params, codes, out),
        }
        Ok(())
    }

    /// The smallest and the largest value, in one pass. −0 counts as 0 and is returned as 0.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::NotFinite`] with the first NaN or infinity.
    pub fn min_max(self, x: &[f32]) -> Result<(f32, f32)> {
        if x.is_empty() {
            return Err(Error::Empty);
        }
        let found = match self.0 {
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx2(avx2) => avx2.min_max(x),
            Chosen::Portable => portable::min_max(x),
        };
        match found {
            Some((lo, hi)) => Ok((lo + 0.0, hi + 0.0)),
            None => Err(first_not_finite(x)),
        }
    }
}

/// Whether the output should go past the caches: input and output together are larger than most
/// last-level caches, so that a line of the output would be gone before anybody reads it, and
/// fetching it before writing it would be a third transfer.
#[cfg(target_arch = "x86_64")]
fn stream<A, B>(x: &[A], out: &[B]) -> bool {
    size_of_val(x) + size_of_val(out) > 32 << 20
}

fn first_nan(x: &[f32]) -> Error {
    let index = x.iter().position(|v| v.is_nan()).unwrap_or(0);
    Error::NotANumber { index }
}

fn first_not_finite(x: &[f32]) -> Error {
    let index = x.iter().position(|v| !v.is_finite()).unwrap_or(0);
    Error::NotFinite {
        index,
        value: x[index],
    }
}

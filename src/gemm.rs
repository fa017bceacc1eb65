//! Products of 8-bit matrices, exact on every instruction set.
//!
//! The one idea: a product is blocked, packed and finished in one place, and an instruction set
//! contributes a micro-kernel only. Each equals [`reference()`], three loops that a reader can check by
//! eye, bit for bit. Chapters 16 to 18 tell the story.
//!
//! Weights are packed once ([`PackedWeights`]); [`Activations`] say where rows come from; an
//! [`Epilogue`] says what becomes of the sums. Work is divided among the threads of the rayon pool
//! that the caller is in, with the same result for any number of them.

mod activations;
pub mod conv;
mod driver;
pub mod epilogue;
pub mod int4;
mod int8;
mod kernel;
pub mod ladder;
mod pack;
mod pairs;
mod reference;
mod rows;
mod split;

use ndarray::{Array2, ArrayViewMut2};

pub use activations::Activations;
pub use epilogue::Epilogue;
pub use int4::PackedWeights4;
pub use pack::{MAX_DEPTH, MAX_DEPTH_WITH_ZERO_POINTS, PackedWeights};
pub use reference::reference;

use crate::error::{Error, Result, addressable};
use crate::isa::{Features, Isa};
use epilogue::Sums;
use int8::Int8;
use kernel::MicroKernel;
#[cfg(test)]
use kernel::dot::model;
#[cfg(all(test, target_arch = "x86_64"))]
use kernel::dot::tests::Evex;
#[cfg(target_arch = "aarch64")]
use kernel::neon::NeonDotprod;
use kernel::portable::Portable;
#[cfg(target_arch = "x86_64")]
use kernel::{
    amx::Amx, avx2::Avx2, avx2_masked::Avx2Masked, avx512vnni::Avx512Vnni, avxvnni::AvxVnni,
};

/// The matrix product of one instruction set. Having one is the proof that the CPU can run it.
#[derive(Debug, Clone, Copy)]
pub struct Kernel(Chosen);

#[derive(Debug, Clone, Copy)]
enum Chosen {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx2Masked(Avx2Masked),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(AvxVnni),
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(Avx512Vnni),
    #[cfg(target_arch = "x86_64")]
    Amx(Amx),
    #[cfg(target_arch = "aarch64")]
    NeonDotprod(NeonDotprod),
    #[cfg(test)]
    VpdpbusdModel(model::Modelled<model::Vpdpbusd, 8, 1>),
    #[cfg(test)]
    SdotModel(model::Modelled<model::Sdot, 4, 4>),
    #[cfg(all(test, target_arch = "x86_64"))]
    Evex(Evex),
}

/// Calls `$body` with `$kernel` bound to the micro-kernel of the chosen instruction set.
macro_rules! with_micro_kernel {
    ($chosen:expr, $kernel:ident => $body:expr) => {
        match $chosen {
            Chosen::Portable($kernel) => $body,
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx2($kernel) => $body,
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx2Masked($kernel) => $body,
            #[cfg(target_arch = "x86_64")]
            Chosen::AvxVnni($kernel) => $body,
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx512Vnni($kernel) => $body,
            #[cfg(target_arch = "x86_64")]
            Chosen::Amx($kernel) => $body,
            #[cfg(target_arch = "aarch64")]
            Chosen::NeonDotprod($kernel) => $body,
            #[cfg(test)]
            Chosen::VpdpbusdModel($kernel) => $body,
            #[cfg(test)]
            Chosen::SdotModel($kernel) => $body,
            #[cfg(all(test, target_arch = "x86_64"))]
            Chosen::Evex($kernel) => $body,
        }
    };
}
use with_micro_kernel;

impl Kernel {
    /// The fastest kernel of this CPU, or the one that [`Isa::wanted`] names. If none is named and the CPU
    /// has AMX, this asks Linux for tiles: see [`Features::detect`].
    pub fn best() -> Self {
        let wanted = Isa::wanted().and_then(Self::new);
        let best = wanted.or_else(|| Self::new(Isa::best_for(Features::detect())));
        best.unwrap_or(Self(Chosen::Portable(Portable)))
    }

    /// The kernel of `isa`, if there is one and this CPU can run it, and may.
    // ANCHOR: new
    pub fn new(isa: Isa) -> Option<Self> {
        match isa {
            Isa::Portable => Some(Chosen::Portable(Portable)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::detect().map(|avx2| match Avx2Masked::is_preferred() {
                true => Chosen::Avx2Masked(Avx2Masked(avx2)),
                false => Chosen::Avx2(avx2),
            }),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => AvxVnni::detect().map(Chosen::AvxVnni),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => Avx512Vnni::detect().map(Chosen::Avx512Vnni),
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => Amx::detect().map(Chosen::Amx),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDotprod => NeonDotprod::detect().map(Chosen::NeonDotprod),
            _ => None,
        }
        .map(Self)
    }
    // ANCHOR_END: new

    /// All kernels of `isa` that this CPU can run, and first the one that is [`new`](Self::new). AVX2 has two,
    /// for there are two ways to keep products of bytes from saturating: to split weights, and to mask them.
    /// Which one is the faster depends on the CPU.
    pub fn all(isa: Isa) -> Vec<Self> {
        let first = Self::new(isa);
        let second = first.and_then(|first| match first.0 {
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx2(avx2) => Some(Self(Chosen::Avx2Masked(Avx2Masked(avx2)))),
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx2Masked(Avx2Masked(avx2)) => Some(Self(Chosen::Avx2(avx2))),
            _ => None,
        });
        first.into_iter().chain(second).collect()
    }

    /// The name of its instruction set, with the way if there are two.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx2(_) => "avx2, split",
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx2Masked(_) => "avx2, masked",
            _ => self.isa().name(),
        }
    }

    /// The instruction set.
    pub fn isa(self) -> Isa {
        match self.0 {
            Chosen::Portable(_) => Isa::Portable,
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx2(_) | Chosen::Avx2Masked(_) => Isa::Avx2,
            #[cfg(target_arch = "x86_64")]
            Chosen::AvxVnni(_) => Isa::AvxVnni,
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx512Vnni(_) => Isa::Avx512Vnni,
            #[cfg(target_arch = "x86_64")]
            Chosen::Amx(_) => Isa::Amx,
            #[cfg(target_arch = "aarch64")]
            Chosen::NeonDotprod(_) => Isa::NeonDotprod,
            #[cfg(test)]
            Chosen::VpdpbusdModel(_) => Isa::AvxVnni,
            #[cfg(test)]
            Chosen::SdotModel(_) => Isa::NeonDotprod,
            #[cfg(all(test, target_arch = "x86_64"))]
            Chosen::Evex(_) => Isa::AvxVnni,
        }
    }

    /// The width of a panel, in blocks of 16 columns.
    fn blocks_across(self) -> usize {
        fn of<K: MicroKernel>(_: K) -> usize {
            K::BLOCKS
        }
        with_micro_kernel!(self.0, kernel => of(kernel))
    }

    /// Whether its sums of two products saturate at 16 bits, unless weights are made safe.
    fn saturates(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return matches!(self.0, Chosen::Avx2(_));
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Whether it multiplies depths in pairs, in an order that each panel has for itself.
    fn pairs_depths(self) -> bool {
        fn of<K: MicroKernel>(_: K) -> bool {
            K::PAIRS
        }
        with_micro_kernel!(self.0, kernel => of(kernel))
    }

    /// The kernel of the same instruction set that takes any weights.
    fn without_saturation(self) -> Self {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx2(avx2) => Self(Chosen::Avx2Masked(Avx2Masked(avx2))),
            _ => self,
        }
    }

    /// The kernel that multiplies 4-bit weights where this one is chosen.
    fn for_4_bit_weights(self) -> Self {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Chosen::AvxVnni(vnni) => Self(Chosen::Avx2(vnni.for_4_bit_weights())),
            #[cfg(target_arch = "x86_64")]
            Chosen::Avx2Masked(Avx2Masked(avx2)) => Self(Chosen::Avx2(avx2)), // those never saturate
            _ => self,
        }
    }
}

impl PackedWeights {
    /// The sums Σₖ (a\[i, k\] − zᵢ)·(w\[k, j\] − zⱼ), of shape \[M, N\].
    ///
    /// They are new memory, which one thread fills with zeros before all of them write it. Whoever
    /// multiplies again and again is faster with [`multiply`](Self::multiply) and an array that is kept.
    ///
    /// # Errors
    /// As [`multiply`](Self::multiply), and [`Error::TooManyElements`].
    pub fn product(&self, activations: Activations<'_>) -> Result<Array2<i32>> {
        addressable("the product", &[activations.rows(), self.columns()])?;
        let mut sums = Array2::zeros((activations.rows(), self.columns()));
        self.multiply(&activations, &Sums, sums.view_mut())?;
        Ok(sums)
    }

    /// Multiplies, hands the sums to `epilogue`, and has it write `out`, of shape \[M, N\].
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] if the activations' depth is not that of the weights, or `out` is
    /// not \[M, N\]; what [`Epilogue::check`] says; [`Error::NotANumber`] if activations are
    /// quantized and one is NaN: then `out` is unspecified.
    pub fn multiply<E: Epilogue>(
        &self,
        activations: &Activations<'_>,
        epilogue: &E,
        out: ArrayViewMut2<'_, E::Out>,
    ) -> Result<()> {
        let (rows, columns) = (activations.rows(), self.columns());
        same_shape(
            "activations",
            [rows, self.depth()],
            [rows, activations.depth()],
        )?;
        same_shape("the product", [rows, columns], [out.nrows(), out.ncols()])?;
        epilogue.check(rows, columns)?;
        let product = Int8 {
            weights: self,
            epilogue,
        };
        driver::multiply(self.chosen(), activations, product, out)
    }
}

fn same_shape(what: &'static str, expected: [usize; 2], actual: [usize; 2]) -> Result<()> {
    match expected == actual {
        true => Ok(()),
        false => Err(Error::ShapeMismatch {
            what,
            expected: expected.to_vec(),
            actual: actual.to_vec(),
        }),
    }
}

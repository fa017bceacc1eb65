//! Instruction sets, and which of them a CPU has.
//!
//! The one idea: choosing is a pure function of a feature set ([`Isa::best_for`]), so the choice
//! can be tested for machines that are not at hand. That *this* CPU has an instruction set is
//! proved by a value that only detection can make: see the `Kernel` types. Chapter 16.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;

use std::sync::OnceLock;

use crate::error::{Error, Result};

/// An instruction set that this crate has kernels for. All variants exist on every target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isa {
    /// x86-64 with AMX, and all that [`Avx512Vnni`](Self::Avx512Vnni) asks for: `tdpbusd` on two tiles
    /// of 1024 bytes.
    Amx,
    /// x86-64 with AVX-512 F, BW, VL and VNNI: `vpdpbusd` on 64 bytes.
    Avx512Vnni,
    /// x86-64 with AVX2 and AVX-VNNI: `vpdpbusd` on 32 bytes.
    AvxVnni,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// AArch64 with the dot-product extension: `sdot` and `udot`.
    NeonDotprod,
    /// Plain Rust, on any CPU.
    Portable,
}

impl Isa {
    /// Every instruction set, the most capable first.
    pub const ALL: [Self; 6] = [
        Self::Amx,
        Self::Avx512Vnni,
        Self::AvxVnni,
        Self::Avx2,
        Self::NeonDotprod,
        Self::Portable,
    ];

    /// The name in messages and in the environment variable `FEWER_BITS_ISA`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amx => "amx",
            Self::Avx512Vnni => "avx512vnni",
            Self::AvxVnni => "avxvnni",
            Self::Avx2 => "avx2",
            Self::NeonDotprod => "neon-dotprod",
            Self::Portable => "portable",
        }
    }

    /// Whether a CPU with these features can run it.
    // ANCHOR: runs_on
    pub const fn runs_on(self, cpu: Features) -> bool {
        match self {
            Self::Amx => cpu.amx && Self::Avx512Vnni.runs_on(cpu),
            Self::Avx512Vnni => cpu.avx2 && cpu.fma && cpu.avx512 && cpu.avx512vnni,
            Self::AvxVnni => cpu.avx2 && cpu.fma && cpu.avxvnni,
            Self::Avx2 => cpu.avx2 && cpu.fma,
            Self::NeonDotprod => cpu.dotprod,
            Self::Portable => true,
        }
    }
    // ANCHOR_END: runs_on

    /// The most capable instruction set of a CPU with these features.
    // ANCHOR: best_for
    pub fn best_for(cpu: Features) -> Self {
        Self::ALL
            .into_iter()
            .find(|isa| isa.runs_on(cpu))
            .unwrap_or(Self::Portable)
    }
    // ANCHOR_END: best_for

    /// Whether this CPU can run it, and may. Asks for tiles for AMX only.
    pub(crate) fn runs_here(self) -> bool {
        self.runs_on(match self {
            Self::Amx => Features::detect(),
            _ => Features::of_cpu(),
        })
    }

    /// The one that the environment variable `FEWER_BITS_ISA` named when it was first asked for, so
    /// that benches and experiments can force an instruction set from the outside on whole networks,
    /// too. None if that is unset. A name that is none of the [`name`](Self::name)s, or of an
    /// instruction set that this CPU lacks or the operating system does not allow, is ignored; standard
    /// error says so, once.
    pub fn wanted() -> Option<Self> {
        static WANTED: OnceLock<Option<Isa>> = OnceLock::new();
        *WANTED.get_or_init(|| {
            let name = std::env::var_os("FEWER_BITS_ISA")?;
            let name = name.to_string_lossy();
            let ignored = match name.parse::<Self>() {
                Ok(isa) if isa.runs_here() => return Some(isa),
                Ok(_) => "this CPU does not have it, or the operating system does not allow it"
                    .to_owned(),
                Err(error) => error.to_string(),
            };
            eprintln!("FEWER_BITS_ISA={name} is ignored: {ignored}");
            None
        })
    }
}

/// Reads a [`name`](Isa::name), so that a bench or an experiment can be told which kernels to use.
///
/// ```
/// use fewer_bits::Isa;
/// assert_eq!("avx2".parse(), Ok(Isa::Avx2));
/// assert!("mmx".parse::<Isa>().is_err());
/// ```
impl std::str::FromStr for Isa {
    type Err = Error;

    /// # Errors
    /// [`Error::UnknownIsa`] if no instruction set has this name.
    fn from_str(name: &str) -> Result<Self> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|isa| isa.name() == name);
        found.ok_or_else(|| Error::UnknownIsa {
            name: name.to_owned(),
        })
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The CPU features that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// AVX2.
    pub avx2: bool,
    /// Fused multiply-add.
    pub fma: bool,
    /// AVX-512 F, BW and VL together.
    pub avx512: bool,
    /// AVX-512 VNNI.
    pub avx512vnni: bool,
    /// AMX for tiles of bytes, and the operating system's leave to use them.
    pub amx: bool,
    /// AVX-VNNI, the VEX-encoded form.
    pub avxvnni: bool,
    /// AArch64 dot product.
    pub dotprod: bool,
}

impl Features {
    /// What this CPU has, and may use.
    ///
    /// On a CPU with AMX, the first call asks Linux to allow tiles to this process; the answer, a refusal
    /// too, holds for its life. Linux refuses where a thread has an alternate signal stack too small for
    /// tiles, and once it has agreed, it refuses to install such a stack; one of `AT_MINSIGSTKSZ` bytes is
    /// large enough for it. But handlers on that stack then have 8 KiB less in each thread that has
    /// multiplied with tiles, and the standard library's own stack is no larger: some hundred bytes are
    /// left, and a thread that overflows its stack ends without the usual message. With
    /// `FEWER_BITS_ISA=avx512vnni`, say, the kernels ask for nothing.
    pub fn detect() -> Self {
        Self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            amx: amx::detect(),
            ..Self::of_cpu()
        }
    }

    /// The same without AMX, for which nobody is asked.
    fn of_cpu() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            Self {
                avx2: is_x86_feature_detected!("avx2"),
                fma: is_x86_feature_detected!("fma"),
                avx512: is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl"),
                avx512vnni: is_x86_feature_detected!("avx512vnni"),
                avxvnni: is_x86_feature_detected!("avxvnni"),
                ..Self::default()
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            Self {
                dotprod: std::arch::is_aarch64_feature_detected!("dotprod"),
                ..Self::default()
            }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_instruction_set_of_machines_that_are_not_here() {
        let haswell = Features {
            avx2: true,
            fma: true,
            ..Features::default()
        };
        let alder_lake = Features {
            avxvnni: true,
            ..haswell
        };
        let skylake_x = Features {
            avx512: true,
            ..haswell
        };
        let ice_lake = Features {
            avx512vnni: true,
            ..skylake_x
        };
        let sapphire_rapids = Features {
            amx: true,
            avxvnni: true,
            ..ice_lake
        };
        let neoverse_n1 = Features {
            dotprod: true,
            ..Features::default()
        };
        let chosen = [
            Features::default(),
            haswell,
            alder_lake,
            skylake_x,
            ice_lake,
            sapphire_rapids,
            neoverse_n1,
        ]
        .map(Isa::best_for);
        assert_eq!(
            chosen,
            [
                Isa::Portable,
                Isa::Avx2,
                Isa::AvxVnni,
                Isa::Avx2,
                Isa::Avx512Vnni,
                Isa::Amx,
                Isa::NeonDotprod
            ]
        );
    }
}

//! What one core of this machine can do at most.
//!
//! Arithmetic is measured as a chain of the instructions that a kernel's inner loop consists of,
//! with all operands in registers: 12 sums, so that no instruction waits for the one before. No
//! kernel can be faster than its chain. Memory is measured as products of one row read it.

use std::hint::black_box;

use fewer_bits::Isa;
use fewer_bits::isa::Features;

use super::ceilings::{read, read_eight_streams, read_two_streams, stream_copy};

/// Something that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 8-bit multiply-accumulates as this instruction set's kernel does them.
    Int8(Isa),
    /// The same with AVX2 on activations whose signs mask the weights: two times `vpxor` and `vpmaddubsw`, and
    /// one widening for both.
    MaskedInt8Avx2,
    /// The same with AVX-512 VNNI or AMX for 4-bit weights in groups of 64, each of which ends with a
    /// conversion, a multiplication by its scale and an addition in f32. Unpacking is not counted.
    Int4(Isa),
    /// `vpmaddwd` and `vpaddd`: 16-bit products, the usual way to be exact on AVX2.
    Int16Avx2,
    /// f32 multiply-adds, in 128 (NEON), 256 or 512 bits.
    F32(u32),
    /// Bytes read, out of memory: 16 MiB a call, out of 128 MiB in turn. So large are a 4096 × 4096
    /// layer in 8 bits and its copies, which the scoreboard multiplies in turn.
    Read,
    /// Bytes read out of the same 16 MiB, again and again.
    ReadAgain,
    /// Bytes read and written, by a plain or a streaming copy.
    Copy,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8(Isa::Amx) => "int8, tdpbusd on tiles of 1024 bytes",
            Self::Int8(Isa::Avx512Vnni) => "int8, vpdpbusd on 64 bytes",
            Self::Int8(Isa::AvxVnni) => "int8, vpdpbusd on 32 bytes",
            Self::Int8(Isa::NeonDotprod) => "int8, udot",
            Self::Int8(_) => "int8, vpmaddubsw + vpmaddwd + vpaddd",
            Self::MaskedInt8Avx2 => "int8, masked, two vpmaddubsw to each vpmaddwd",
            Self::Int4(Isa::Amx) => "int8 × int4, tdpbusd in groups of 64",
            Self::Int4(_) => "int8 × int4, vpdpbusd on 64 bytes in groups of 64",
            Self::Int16Avx2 => "int16, vpmaddwd + vpaddd",
            Self::F32(512) => "f32, vfmadd231ps on 16 numbers",
            Self::F32(256) => "f32, vfmadd231ps on 8 numbers",
            Self::F32(_) => "f32, fmla",
            Self::Read => "read, 16 MiB out of 128 in turn",
            Self::ReadAgain => "read, 16 MiB again and again",
            Self::Copy => "copy, 64 MiB (read and written)",
        }
    }

    /// What is counted, in 10⁹ a second.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Int8(_) | Self::MaskedInt8Avx2 | Self::Int4(_) | Self::Int16Avx2 => "GOP/s",
            Self::F32(_) => "GFLOP/s",
            _ => "GB/s",
        }
    }
}

/// A limit: how to reach it, and how much is done by one call of `run`.
pub struct Limit {
    pub kind: Kind,
    pub work: f64,
    pub run: Box<dyn FnMut() + Send>,
}

/// What one call that measures reading reads: 16 MiB.
const READ_FLOATS: usize = 4 << 20;

/// All limits that can be measured on this machine. Where there are several ways to reach one, each
/// is an entry, and the fastest counts.
pub fn all() -> Vec<Limit> {
    let mut all = arithmetic();
    for (kind, parts) in [(Kind::Read, 8), (Kind::ReadAgain, 1)] {
        for how in [read, read_eight_streams, read_two_streams] {
            // Each has its own, for none to find in a cache what another one left there.
            let x = vec![1.0f32; parts * READ_FLOATS];
            let mut turn = 0;
            let run = move || {
                black_box(how(black_box(&x[turn * READ_FLOATS..][..READ_FLOATS])));
                turn = (turn + 1) % parts;
            };
            all.push(Limit {
                kind,
                work: size_of::<[f32; READ_FLOATS]>() as f64,
                run: Box::new(run),
            });
        }
    }
    for streaming in [false, true] {
        let bytes: usize = 64 << 20;
        let (from, mut to) = (vec![1.0f32; bytes / 4], vec![2.0f32; bytes / 4]);
        let run = move || {
            if !streaming || !stream_copy(&from, &mut to) {
                to.copy_from_slice(&from);
            }
            black_box(&mut to);
        };
        all.push(Limit {
            kind: Kind::Copy,
            work: 2.0 * bytes as f64,
            run: Box::new(run),
        });
    }
    all
}

/// How often a chain is gone through: some tenths of a millisecond.
const STEPS: u64 = 50_000;
/// Independent sums of a chain.
const SUMS: u64 = 12;

/// A limit of `macs` multiply-accumulates for each sum and step.
fn chain(kind: Kind, macs: u64, run: impl FnMut() + Send + 'static) -> Limit {
    Limit {
        kind,
        work: (2 * macs * SUMS * STEPS) as f64,
        run: Box::new(run),
    }
}

#[cfg(target_arch = "x86_64")]
pub fn arithmetic() -> Vec<Limit> {
    let mut all = Vec::new();
    if is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 was detected.
        let int8 = || unsafe { x86::int8_avx2(STEPS) };
        // SAFETY: AVX2 was detected.
        let int16 = || unsafe { x86::int16_avx2(STEPS) };
        all.push(chain(Kind::Int8(Isa::Avx2), 32, int8));
        all.push(chain(Kind::Int16Avx2, 16, int16));
        // SAFETY: AVX2 was detected.
        let masked = || unsafe { x86::masked_int8_avx2(STEPS) };
        all.push(chain(Kind::MaskedInt8Avx2, 64, masked));
    }
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: AVX2 and FMA were detected.
        let run = || unsafe { x86::f32_avx2(STEPS) };
        all.push(chain(Kind::F32(256), 8, run));
    }
    if is_x86_feature_detected!("avxvnni") {
        // SAFETY: AVX-VNNI was detected.
        let run = || unsafe { x86::int8_avxvnni(STEPS) };
        all.push(chain(Kind::Int8(Isa::AvxVnni), 32, run));
    }
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: AVX-512 F was detected.
        let run = || unsafe { x86::f32_avx512(STEPS) };
        all.push(chain(Kind::F32(512), 16, run));
    }
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
        // SAFETY: AVX-512 F and VNNI were detected.
        let run = || unsafe { x86::int8_avx512vnni(STEPS) };
        all.push(chain(Kind::Int8(Isa::Avx512Vnni), 64, run));
        // SAFETY: the same.
        let run = || unsafe { x86::int4_avx512vnni(STEPS / 16) };
        all.push(Limit {
            kind: Kind::Int4(Isa::Avx512Vnni),
            work: (2 * 64 * 16 * x86::GROUP_SUMS * (STEPS / 16)) as f64,
            run: Box::new(run),
        });
    }
    if Features::detect().amx {
        // SAFETY: AMX was detected, and may be used.
        let run = || unsafe { x86::int8_amx(STEPS) };
        all.push(Limit {
            kind: Kind::Int8(Isa::Amx),
            work: (2 * 16 * 64 * 16 * x86::TILES * STEPS) as f64,
            run: Box::new(run),
        });
        // SAFETY: the same; AMX comes with AVX-512.
        let run = || unsafe { x86::int4_amx(STEPS / 16) };
        all.push(Limit {
            kind: Kind::Int4(Isa::Amx),
            work: (2 * 16 * 64 * 16 * x86::GROUP_TILES * (STEPS / 16)) as f64,
            run: Box::new(run),
        });
    }
    all
}

#[cfg(target_arch = "aarch64")]
pub fn arithmetic() -> Vec<Limit> {
    let mut all = vec![chain(Kind::F32(128), 4, || arm::f32_neon(STEPS))];
    if std::arch::is_aarch64_feature_detected!("dotprod") {
        // SAFETY: the dot product was detected.
        let run = || unsafe { arm::int8_neon(STEPS) };
        all.push(chain(Kind::Int8(Isa::NeonDotprod), 16, run));
    }
    all
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn arithmetic() -> Vec<Limit> {
    Vec::new()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;

    /// A function that executes `$instructions` `steps` times for each of 12 sums, registers 0 to
    /// 11. Register 12 is for a product; 13 holds bytes of all ones, 14 floats of 1.0 or a second
    /// product, 15 words of 1.
    macro_rules! chain {
        ($name:ident, $features:literal, $($instructions:literal),+) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name(steps: u64) {
                // SAFETY: the features are enabled. The code touches no memory and no stack; it
                // writes the counter, flags and vector registers, all of which are declared.
                unsafe {
                    asm!(
                        "vzeroall",
                        "vpcmpeqd ymm13, ymm13, ymm13",
                        "vpslld ymm14, ymm13, 25",
                        "vpsrld ymm14, ymm14, 2",
                        "vpsrlw ymm15, ymm13, 15",
                        "2:",
                        ".irp i,0,1,2,3,4,5,6,7,8,9,10,11",
                        $($instructions,)+
                        ".endr",
                        "dec rcx",
                        "jnz 2b",
                        "vzeroupper",
                        inout("rcx") steps => _,
                        clobber_abi("sysv64"),
                        options(nomem, nostack),
                    );
                }
            }
        };
    }

    chain!(
        int8_avx2,
        "avx2",
        "vpmaddubsw ymm12, ymm13, ymm13",
        "vpmaddwd ymm12, ymm12, ymm15",
        "vpaddd ymm\\i, ymm\\i, ymm12"
    );
    chain!(
        masked_int8_avx2,
        "avx2",
        "vpxor ymm12, ymm13, ymm15",
        "vpmaddubsw ymm12, ymm13, ymm12",
        "vpxor ymm14, ymm13, ymm15",
        "vpmaddubsw ymm14, ymm13, ymm14",
        "vpaddw ymm12, ymm12, ymm14",
        "vpmaddwd ymm12, ymm12, ymm15",
        "vpaddd ymm\\i, ymm\\i, ymm12"
    );
    chain!(
        int16_avx2,
        "avx2",
        "vpmaddwd ymm12, ymm13, ymm15",
        "vpaddd ymm\\i, ymm\\i, ymm12"
    );
    chain!(f32_avx2, "avx2,fma", "vfmadd231ps ymm\\i, ymm14, ymm14");
    chain!(
        int8_avxvnni,
        "avx2,avxvnni",
        "{{vex}} vpdpbusd ymm\\i, ymm13, ymm13"
    );
    chain!(f32_avx512, "avx512f", "vfmadd231ps zmm\\i, zmm14, zmm14");
    chain!(
        int8_avx512vnni,
        "avx512f,avx512vnni",
        "vpdpbusd zmm\\i, zmm13, zmm13"
    );

    /// Sums of [`int4_avx512vnni`].
    pub(super) const GROUP_SUMS: u64 = 8;

    /// For each of 8 vectors of sums, executes `steps` times: 16 times `vpdpbusd`, which are 64 depths;
    /// then what a group of 4-bit weights needs at its end. Register 13 holds bytes, 14 floats of 1.0; 20
    /// to 27 are the real sums.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn int4_avx512vnni(steps: u64) {
        // SAFETY: the features are enabled. The code touches no memory and no stack; it writes the
        // counter, flags and vector registers, all of which are declared.
        unsafe {
            asm!(
                "vzeroall",
                "vpternlogd zmm13, zmm13, zmm13, 255",
                "vpslld zmm14, zmm13, 25",
                "vpsrld zmm14, zmm14, 2",
                ".irp i,0,1,2,3,4,5,6,7",
                "vpxord zmm2\\i, zmm2\\i, zmm2\\i",
                ".endr",
                "2:",
                ".rept 16",
                ".irp i,0,1,2,3,4,5,6,7",
                "vpdpbusd zmm\\i, zmm13, zmm13",
                ".endr",
                ".endr",
                ".irp i,0,1,2,3,4,5,6,7",
                "vcvtdq2ps zmm12, zmm\\i",
                "vmulps zmm12, zmm12, zmm14",
                "vaddps zmm2\\i, zmm2\\i, zmm12",
                "vpxord zmm\\i, zmm\\i, zmm\\i",
                ".endr",
                "dec rcx",
                "jnz 2b",
                "vzeroupper",
                inout("rcx") steps => _,
                clobber_abi("sysv64"),
                options(nomem, nostack),
            );
        }
    }

    /// A cache line's worth of bytes, and so many of them.
    #[repr(align(64))]
    struct Lines<const N: usize>([[u8; 64]; N]);

    /// What `ldtilecfg` reads: eight tiles of 16 rows of 64 bytes.
    fn full_tiles() -> Lines<1> {
        let mut configuration = Lines([[0; 64]]);
        configuration.0[0][0] = 1; // the palette
        for tile in 0..8 {
            configuration.0[0][16 + 2 * tile] = 64; // bytes of a row
            configuration.0[0][48 + tile] = 16; // rows
        }
        configuration
    }

    /// Tiles of sums of [`int8_amx`].
    pub(super) const TILES: u64 = 4;

    /// Executes `tdpbusd` `steps` times for each of four tiles of sums.
    ///
    /// # Safety
    /// The CPU must have AMX for tiles of bytes, and the operating system allow them.
    pub(super) unsafe fn int8_amx(steps: u64) {
        let configuration = full_tiles();
        // SAFETY: the caller's promise. The code reads the configuration, 64 bytes, touches no other
        // memory and no stack; it writes the counter, flags and tiles, all of which are declared.
        unsafe {
            asm!(
                "ldtilecfg [{configuration}]",
                "2:",
                "tdpbusd tmm0, tmm4, tmm5",
                "tdpbusd tmm1, tmm4, tmm5",
                "tdpbusd tmm2, tmm4, tmm5",
                "tdpbusd tmm3, tmm4, tmm5",
                "dec {steps}",
                "jnz 2b",
                "tilerelease",
                configuration = in(reg) &configuration,
                steps = inout(reg) steps => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _,
                options(readonly, nostack),
            );
        }
    }

    /// Tiles of sums of [`int4_amx`].
    pub(super) const GROUP_TILES: u64 = 2;

    /// Executes `steps` times, for each of two tiles of sums: `tdpbusd`, which is 64 depths, then what a
    /// group of 4-bit weights needs at its end. Sums go from tiles to vectors through memory, as they
    /// must; the real sums stay in registers 16 to 31, where there is room for no second tile of them.
    /// Register 14 holds floats of 1.0.
    ///
    /// # Safety
    /// The CPU must have AVX-512 F and AMX for tiles of bytes, and the operating system allow them.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn int4_amx(steps: u64) {
        let (configuration, mut sums) = (full_tiles(), Lines([[0; 64]; 32]));
        // SAFETY: the caller's promise. The code reads the configuration, 64 bytes, reads and writes the
        // sums, 2 KiB, and touches no stack; it writes the counter, flags, tiles and vector registers,
        // all of which are declared.
        unsafe {
            asm!(
                "ldtilecfg [{configuration}]",
                "vpternlogd zmm14, zmm14, zmm14, 255",
                "vpslld zmm14, zmm14, 25",
                "vpsrld zmm14, zmm14, 2",
                ".irp i,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                "vpxord zmm\\i, zmm\\i, zmm\\i",
                ".endr",
                "2:",
                ".irp tile,0,1",
                "tilezero tmm\\tile",
                "tdpbusd tmm\\tile, tmm4, tmm5",
                "tilestored [{sums} + {across} + 1024*\\tile], tmm\\tile",
                ".endr",
                ".irp tile,0,1",
                ".irp i,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                "vcvtdq2ps zmm12, [{sums} + 1024*\\tile + 64*(\\i - 16)]",
                "vmulps zmm12, zmm12, zmm14",
                "vaddps zmm\\i, zmm\\i, zmm12",
                ".endr",
                ".endr",
                "dec rcx",
                "jnz 2b",
                "tilerelease",
                "vzeroupper",
                configuration = in(reg) &configuration,
                sums = in(reg) &mut sums,
                across = in(reg) 64usize,
                inout("rcx") steps => _,
                out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm5") _,
                clobber_abi("sysv64"),
                options(nostack),
            );
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::asm;

    /// As on x86-64, with sums in the registers that a callee need not keep.
    macro_rules! chain {
        ($name:ident, $features:literal, $instruction:literal) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name(steps: u64) {
                // SAFETY: the features are enabled. The code touches no memory and no stack; it
                // writes the counter, flags and vector registers, all of which are declared.
                unsafe {
                    asm!(
                        "movi v31.16b, #1",
                        "fmov v30.4s, #1.0",
                        ".irp i,0,1,2,3,4,5,6,7,16,17,18,19",
                        "movi v\\i\\().4s, #0",
                        ".endr",
                        "2:",
                        ".irp i,0,1,2,3,4,5,6,7,16,17,18,19",
                        $instruction,
                        ".endr",
                        "subs x9, x9, #1",
                        "b.ne 2b",
                        inout("x9") steps => _,
                        clobber_abi("C"),
                        options(nomem, nostack),
                    );
                }
            }
        };
    }

    chain!(f32_neon, "neon", "fmla v\\i\\().4s, v30.4s, v30.4s");
    chain!(
        int8_neon,
        "neon,dotprod",
        "udot v\\i\\().4s, v31.16b, v31.16b"
    );
}

//! Whether AMX may be used: the CPU has it, and the operating system allows it.
//!
//! What Linux puts on a program's signal stack is 8 KiB larger with tiles, and programs from before AMX may
//! have made that stack too small. So it gives tiles only to programs that ask (its documentation,
//! `arch/x86/xstate`). Other systems are not asked, and do without.
#![allow(unsafe_code)]

use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::OnceLock;

/// Asks once for the whole process.
pub(super) fn detect() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| cpu_multiplies_tiles_of_bytes() && ask_for_tiles())
}

/// Whether `cpuid` tells of AMX-TILE and AMX-INT8 (leaf 7), of eight tiles of 16 rows of 64 bytes (leaf
/// 29, palette 1), and of products of such tiles (leaf 30). When `is_x86_feature_detected!` knows AMX on
/// stable Rust, it will say it.
fn cpu_multiplies_tiles_of_bytes() -> bool {
    const AMX_TILE: u32 = 1 << 24;
    const AMX_INT8: u32 = 1 << 25;
    // Of a leaf that it lacks, a CPU may answer anything: the highest one is asked for first.
    if __cpuid(0).eax < 30 || __cpuid_count(29, 0).eax < 1 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    let (palette, products) = (__cpuid_count(29, 1), __cpuid_count(30, 0).ebx);
    let tiles = [
        palette.ebx >> 16,
        palette.ecx & 0xFFFF,
        palette.ebx & 0xFFFF,
    ];
    let [rows, bytes] = [products & 0xFF, products >> 8 & 0xFFFF];
    features & (AMX_TILE | AMX_INT8) == AMX_TILE | AMX_INT8
        && tiles == [8, 16, 64]
        && (rows >= 16 && bytes >= 64)
}

fn ask_for_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers, touches no memory of ours, and grants or refuses.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        )
    };
    answer == 0
}

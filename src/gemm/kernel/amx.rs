//! AMX: `tdpbusd` multiplies a tile of 16 rows by 64 unsigned bytes with one of 64 by 16 signed bytes
//! and adds the products to a tile of 16 by 16 sums, without saturating on the way. Exact by nature.
//!
//! A tile of weights is sixteen [`Block`]s, as all kernels have them; one of activations is rows as
//! they are. Depths that fill no tile are left to AVX-512 VNNI, which every CPU with AMX has. The
//! instructions are written in assembly, for Rust's functions for them are not stable yet.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::*;

use super::avx512vnni::{Avx512Vnni, load_integers, load_reals, store_reals};
use super::{Group, MicroKernel, Panel4, RealRow, SUMS, SumRow, Task, holds_rows, panel_columns};
use crate::gemm::driver::tiles;
use crate::gemm::pack::{Block, COLUMNS, DEPTHS, HalfBlock};
use crate::gemm::pairs::Part;
use crate::isa::Isa;

/// The rows of a tile.
const HEIGHT: usize = 16;
/// The bytes of a row of a tile.
const WIDTH: usize = 64;
/// The groups of 4 depths in a row of a tile.
const GROUPS: usize = WIDTH / DEPTHS;
/// A step: the depths of a tile, for both columns of tiles.
type Step = [[Block; 2]; GROUPS];

/// The proof that this CPU has AVX-512 VNNI and AMX, and that the operating system allows tiles: only
/// [`detect`](Self::detect) makes one.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Amx(Avx512Vnni);

impl Amx {
    pub(in crate::gemm) fn detect() -> Option<Self> {
        let vnni = Avx512Vnni::detect().filter(|_| Isa::Amx.runs_here());
        vnni.map(Self)
    }
}

/// Releases the tiles in the end, panic or not: while a thread has some, they are 8 KiB more to be kept
/// for it.
struct Release(#[allow(dead_code)] Amx);

impl Drop for Release {
    fn drop(&mut self) {
        // SAFETY: there is an `Amx`, so the CPU has AMX and the operating system allows it.
        unsafe { tile_asm!("tilerelease") }
    }
}

/// Assembly that may write every tile, and anything in memory.
macro_rules! tile_asm {
    ($($part:tt)*) => {
        asm!(
            $($part)*,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}
use tile_asm;

impl MicroKernel for Amx {
    const ROWS: usize = 2 * HEIGHT;
    const PACKED_ROWS: usize = Avx512Vnni::PACKED_ROWS;
    const BLOCKS: usize = 2;
    const BLOCK_ROWS: usize = 256;
    const SUM_ROWS: usize = 32;
    const CHUNK_GROUPS: usize = 128;
    const ROW_ALIGNMENT: usize = WIDTH;
    type Activation = u8;

    #[inline(always)]
    fn activations<'a>(self, bytes: &'a [u8], _room: &'a mut Vec<u8>) -> &'a [u8] {
        bytes
    }

    #[inline(always)]
    fn enter<T: Task>(self, task: T) {
        let _release = Release(self);
        self.0.enter(task);
    }

    #[inline(always)]
    fn fetch<T>(self, place: &[T]) {
        for at in (0..size_of_val(place)).step_by(64) {
            let line = place.as_ptr().cast::<i8>().wrapping_add(at);
            // SAFETY: every x86-64 CPU has SSE. A prefetch is a hint: it neither faults nor changes
            // anything.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line) }
        }
    }

    #[inline(always)]
    fn unpack(self, halves: &[HalfBlock], blocks: &mut [Block]) {
        self.0.unpack(halves, blocks);
    }

    #[inline(always)]
    fn multiply_panel(
        self,
        a: &[u8],
        stride: usize,
        panel: Panel4<'_>,
        (sums, reals): (&mut [SumRow], &mut [RealRow]),
        at: usize,
    ) {
        if panel.blocks.is_empty() {
            return self.0.multiply_panel(a, stride, panel, (sums, reals), at);
        }
        // SAFETY: `self` proves that the CPU has the features, and AMX, which may be used.
        unsafe { multiply_groups(self.0, a, stride, panel, (sums, reals), at) }
    }

    #[inline(always)]
    fn multiply_row(self, a: &[u8], b: &[Block], sums: &mut SumRow) {
        self.0.multiply_row(a, b, sums);
    }

    #[inline(always)]
    fn multiply(self, a: &[u8], stride: usize, part: Part<'_>, sums: &mut [SumRow], at: usize) {
        let b = part.blocks;
        let (steps, rest) = b.as_chunks::<2>().0.as_chunks();
        if !steps.is_empty() && !sums.is_empty() {
            // SAFETY: `self` proves that the CPU has AMX, which may be used.
            unsafe { multiply_tiles(a, stride, steps, From::Sums, sums, at) }
        }
        if !rest.is_empty() {
            let a = &a[WIDTH * steps.len()..];
            multiply_rest(self.0, a, stride, rest.as_flattened(), sums, at);
        }
    }
}

/// Adds the products of depths that do not fill a tile.
#[inline(always)]
fn multiply_rest(
    vnni: Avx512Vnni,
    a: &[u8],
    stride: usize,
    b: &[Block],
    sums: &mut [SumRow],
    at: usize,
) {
    for tile in tiles(sums.len(), Avx512Vnni::ROWS) {
        let a = &a[tile.start * stride..];
        vnni.multiply(a, stride, Part::in_order(b), &mut sums[tile], at);
    }
}

/// What `ldtilecfg` reads: a palette, and of each tile the bytes of a row and the rows.
#[derive(PartialEq)]
#[repr(align(64))]
struct Shapes([u8; 64]);

impl Shapes {
    /// Tiles 0 and 1 are sums of the upper 16 rows, 2 and 3 of those below, 4 and 5 their activations,
    /// 6 and 7 weights.
    const fn for_rows(rows: usize) -> Self {
        let above = if rows < HEIGHT { rows } else { HEIGHT };
        let below = rows - above;
        let rows = [above, above, below, below, above, below, GROUPS, GROUPS];
        let mut shapes = [0; 64];
        shapes[0] = 1; // the palette of eight tiles
        let mut tile = 0;
        while tile < rows.len() {
            shapes[16 + 2 * tile] = if rows[tile] > 0 { WIDTH as u8 } else { 0 };
            shapes[48 + tile] = rows[tile] as u8;
            tile += 1;
        }
        Self(shapes)
    }
}

/// The shapes for each number of rows.
static SHAPES: [Shapes; 2 * HEIGHT + 1] = {
    let mut all = [const { Shapes([0; 64]) }; 2 * HEIGHT + 1];
    let mut rows = 0;
    while rows < all.len() {
        all[rows] = Shapes::for_rows(rows);
        rows += 1;
    }
    all
};

/// Lets the tiles have these shapes, with what they hold unspecified.
///
/// # Safety
/// The CPU must have AMX, and the operating system allow it; `wanted` must be one of [`SHAPES`] (others
/// may be none that the CPU takes).
unsafe fn configure(wanted: &Shapes) {
    let mut present = Shapes([0; 64]);
    // `ldtilecfg` takes longer than this and is mostly not needed.
    // SAFETY: the caller's promise. `sttilecfg` writes 64 bytes.
    unsafe { asm!("sttilecfg [{}]", in(reg) &mut present, options(nostack)) }
    if present != *wanted {
        // SAFETY: the same. `ldtilecfg` reads 64 bytes, whose shapes have up to 16 rows of 64 bytes.
        unsafe { tile_asm!("ldtilecfg [{}]", in(reg) wanted) }
    }
}

/// What products are added to.
#[derive(Clone, Copy, PartialEq)]
enum From {
    Zero,
    Sums,
}

/// Thirty-two zeros.
#[repr(align(64))]
struct Zeros([i32; 2 * COLUMNS]);
static ZEROS: Zeros = Zeros([0; 2 * COLUMNS]);

/// Writes the sums of the products of up to 32 rows and 32 columns, and of zero or what was there.
///
/// # Safety
/// The CPU must have AMX, and the operating system allow it.
unsafe fn multiply_tiles(
    a: &[u8],
    stride: usize,
    steps: &[Step],
    from: From,
    sums: &mut [SumRow],
    at: usize,
) {
    assert!((1..=2 * HEIGHT).contains(&sums.len()) && !steps.is_empty());
    assert!(at <= SUMS - panel_columns::<Amx>());
    assert!(holds_rows(a, sums.len(), stride, steps.len() * WIDTH));
    let only_above = sums.len() <= HEIGHT;
    let above = sums.as_mut_ptr().cast::<i32>().wrapping_add(at);
    let below = above.wrapping_add(HEIGHT * SUMS);
    let (from_above, from_below, from_stride) = match from {
        From::Zero => (ZEROS.0.as_ptr(), ZEROS.0.as_ptr(), 0), // each row the same one
        From::Sums => (above.cast_const(), below.cast_const(), size_of::<SumRow>()),
    };
    // SAFETY: the caller's promise. Tiles are configured for as many rows as there are sums. Of activations,
    // each step reads 64 bytes of each row, which are there, as asserted; of weights, one step. Of sums, 32
    // numbers from column `at` on of each row are written, and read unless zeros are: they are there, as
    // asserted, and rows of sums are 256 bytes apart. Where there are no rows below, nothing is read or
    // written for them. No stack is touched; what else is written is declared.
    unsafe {
        configure(&SHAPES[sums.len()]);
        if only_above {
            tile_asm!(
                "tileloadd tmm0, [{from} + {from_stride}]",
                "tileloadd tmm1, [{from} + {from_stride} + 64]",
                ".p2align 5",
                "2:",
                "tileloadd tmm4, [{a} + {stride}]",
                "tileloadd tmm6, [{b} + {across}]",
                "tdpbusd tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b} + {across} + 64]",
                "tdpbusd tmm1, tmm4, tmm7",
                "add {a}, 64",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{above} + 2*{across}], tmm0",
                "tilestored [{above} + 2*{across} + 64], tmm1",
                a = inout(reg) a.as_ptr() => _,
                b = inout(reg) steps.as_ptr() => _,
                steps = inout(reg) steps.len() => _,
                stride = in(reg) stride,
                across = in(reg) 128usize,
                from = in(reg) from_above,
                from_stride = in(reg) from_stride,
                above = in(reg) above
            );
        } else {
            tile_asm!(
                "tileloadd tmm0, [{from} + {from_stride}]",
                "tileloadd tmm1, [{from} + {from_stride} + 64]",
                "tileloadd tmm2, [{from_below} + {from_stride}]",
                "tileloadd tmm3, [{from_below} + {from_stride} + 64]",
                ".p2align 5",
                "2:",
                "tileloadd tmm4, [{a} + {stride}]",
                "tileloadd tmm6, [{b} + {across}]",
                "tdpbusd tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b} + {across} + 64]",
                "tdpbusd tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a_below} + {stride}]",
                "tdpbusd tmm2, tmm5, tmm6",
                "tdpbusd tmm3, tmm5, tmm7",
                "add {a_below}, 64",
                "add {a}, 64",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{above} + 2*{across}], tmm0",
                "tilestored [{above} + 2*{across} + 64], tmm1",
                "tilestored [{below} + 2*{across}], tmm2",
                "tilestored [{below} + 2*{across} + 64], tmm3",
                a = inout(reg) a.as_ptr() => _,
                b = inout(reg) steps.as_ptr() => _,
                steps = inout(reg) steps.len() => _,
                stride = in(reg) stride,
                across = in(reg) 128usize,
                from = in(reg) from_above,
                from_stride = in(reg) from_stride,
                above = in(reg) above,
                a_below = inout(reg) a.as_ptr().add(HEIGHT * stride) => _,
                from_below = in(reg) from_below,
                below = in(reg) below
            );
        }
    }
}

/// Writes what the products with the groups of a panel are worth.
///
/// # Safety
/// The CPU must have AMX and the features below, and the operating system allow it.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
unsafe fn multiply_groups(
    vnni: Avx512Vnni,
    a: &[u8],
    stride: usize,
    panel: Panel4<'_>,
    (sums, reals): (&mut [SumRow], &mut [RealRow]),
    at: usize,
) {
    for reals in reals.iter_mut() {
        reals[at..at + panel_columns::<Amx>()].fill(0.0);
    }
    for (depth, blocks, group) in panel.groups() {
        let (steps, rest) = panel.blocks[blocks].as_chunks::<2>().0.as_chunks();
        if steps.is_empty() {
            for sums in sums.iter_mut() {
                sums[at..at + panel_columns::<Amx>()].fill(0);
            }
        } else {
            // SAFETY: the caller's promise.
            unsafe { multiply_tiles(&a[depth..], stride, steps, From::Zero, sums, at) }
        }
        if !rest.is_empty() {
            let a = &a[depth + WIDTH * steps.len()..];
            multiply_rest(vnni, a, stride, rest.as_flattened(), sums, at);
        }
        add_worth(sums, group, reals, at);
    }
}

/// Adds what the sums of a group are worth.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn add_worth(sums: &[SumRow], group: Group<'_>, reals: &mut [RealRow], at: usize) {
    let [first, second] = [0, COLUMNS];
    let column_sums = [first, second].map(|c| load_integers(&group.column_sums[c..]));
    let scales = [first, second].map(|c| load_reals(&group.scales[c..]));
    let (mut zero_point, mut offsets) = (0, [_mm512_setzero_si512(); 2]);
    for (r, (sums, reals)) in sums.iter().zip(reals).enumerate() {
        if group.zero_points[r] != zero_point {
            // Mostly it is the one of the row above.
            zero_point = group.zero_points[r];
            offsets = column_sums.map(|s| _mm512_mullo_epi32(_mm512_set1_epi32(zero_point), s));
        }
        for block in 0..2 {
            let sums = load_integers(&sums[at + COLUMNS * block..]);
            let sums = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, offsets[block]));
            let place = &mut reals[at + COLUMNS * block..];
            let worth = _mm512_mul_ps(sums, scales[block]);
            store_reals(_mm512_add_ps(load_reals(place), worth), place);
        }
    }
}

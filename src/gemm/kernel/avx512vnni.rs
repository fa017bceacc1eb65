//! AVX-512 VNNI: `vpdpbusd` multiplies 64 unsigned bytes by 64 signed ones and adds groups of four
//! products to 32-bit sums, without saturating on the way. Exact by nature.
#![allow(unsafe_code)]
// Loops over arrays of vectors index them: see `avx2`.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::avx2::fetch_ahead;
use super::{Group, MicroKernel, Panel4, RealRow, SumRow, Task, holds_rows};
use crate::gemm::pack::{Block, COLUMNS, DEPTHS, HalfBlock};
use crate::gemm::pairs::Part;

/// The proof that this CPU has AVX-512 F, BW, VL and VNNI: only [`detect`](Self::detect) makes one.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Avx512Vnni(());

impl Avx512Vnni {
    pub(in crate::gemm) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma");
        found.then_some(Self(()))
    }
}

impl MicroKernel for Avx512Vnni {
    const ROWS: usize = 12;
    // 12 vectors of sums of a group, and 12 of real sums.
    const PANEL_ROWS: usize = 6;
    const PACKED_ROWS: usize = 12;
    const BLOCKS: usize = 2;
    const STARTS_IN_REGISTERS: bool = true;
    type Activation = u8;

    #[inline(always)]
    fn activations<'a>(self, bytes: &'a [u8], _room: &'a mut Vec<u8>) -> &'a [u8] {
        bytes
    }

    #[inline(always)]
    fn enter<T: Task>(self, task: T) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { enter(task) }
    }

    #[inline(always)]
    fn unpack(self, halves: &[HalfBlock], blocks: &mut [Block]) {
        let (halves, blocks) = (halves.as_chunks().0, blocks.as_chunks_mut().0);
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { unpack(halves, blocks) }
    }

    #[inline(always)]
    fn multiply_panel(
        self,
        a: &[u8],
        stride: usize,
        panel: Panel4<'_>,
        (_, reals): (&mut [SumRow], &mut [RealRow]),
        at: usize,
    ) {
        let (halves, blocks) = (panel.halves.as_chunks().0, panel.blocks.as_chunks().0);
        // SAFETY: `self` proves that the CPU has the features.
        unsafe {
            match blocks {
                [] => multiply_panel::<[HalfBlock; 2]>(a, stride, halves, panel, reals, at),
                blocks => multiply_panel::<[Block; 2]>(a, stride, blocks, panel, reals, at),
            }
        }
    }

    #[inline(always)]
    fn multiply_row(self, a: &[u8], b: &[Block], sums: &mut SumRow) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { multiply_row(a, b.as_chunks::<2>().0, sums) }
    }

    #[inline(always)]
    fn multiply(self, a: &[u8], stride: usize, part: Part<'_>, sums: &mut [SumRow], at: usize) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { multiply_tile(None, a, stride, part, (sums, at)) }
    }

    #[inline(always)]
    fn multiply_from(
        self,
        start: &[i32],
        a: &[u8],
        stride: usize,
        part: Part<'_>,
        sums: (&mut [SumRow], usize),
    ) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { multiply_tile(Some(start), a, stride, part, sums) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn multiply_tile(
    start: Option<&[i32]>,
    a: &[u8],
    stride: usize,
    part: Part<'_>,
    sums: (&mut [SumRow], usize),
) {
    let b = part.blocks.as_chunks::<2>().0;
    match sums.0.len() {
        0 => {}
        1 => multiply::<1>(start, a, stride, b, sums),
        2 => multiply::<2>(start, a, stride, b, sums),
        3 => multiply::<3>(start, a, stride, b, sums),
        4 => multiply::<4>(start, a, stride, b, sums),
        5 => multiply::<5>(start, a, stride, b, sums),
        6 => multiply::<6>(start, a, stride, b, sums),
        7 => multiply::<7>(start, a, stride, b, sums),
        8 => multiply::<8>(start, a, stride, b, sums),
        9 => multiply::<9>(start, a, stride, b, sums),
        10 => multiply::<10>(start, a, stride, b, sums),
        11 => multiply::<11>(start, a, stride, b, sums),
        _ => multiply::<12>(start, a, stride, b, sums),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn enter<T: Task>(task: T) {
    task.run();
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn multiply<const R: usize>(
    start: Option<&[i32]>,
    a: &[u8],
    stride: usize,
    b: &[[Block; 2]],
    (rows, at): (&mut [SumRow], usize),
) {
    assert!(b.is_empty() || holds_rows(a, R, stride, b.len() * DEPTHS));
    let mut sums = [[_mm512_setzero_si512(); 2]; R];
    match start {
        Some(start) => sums = [[load_integers(start), load_integers(&start[COLUMNS..])]; R],
        None => {
            for r in 0..R {
                sums[r] = [load_sums(&rows[r], at), load_sums(&rows[r], at + COLUMNS)];
            }
        }
    }
    for (i, b) in b.iter().enumerate() {
        let b = [load_block(&b[0]), load_block(&b[1])];
        // SAFETY: 4·(i + 1) ≤ 4·len(b), and so many bytes of each row can be read, as asserted.
        unsafe { add_products(&mut sums, a, stride, i * DEPTHS, b) };
    }
    for r in 0..R {
        store_sums(sums[r][0], &mut rows[r], at);
        store_sums(sums[r][1], &mut rows[r], at + COLUMNS);
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn unpack(halves: &[[HalfBlock; 2]], blocks: &mut [[Block; 2]]) {
    for (blocks, halves) in blocks.iter_mut().zip(halves) {
        for (Block(place), weights) in blocks.iter_mut().zip(unpack_two(halves)) {
            // SAFETY: a block is 64 writable bytes.
            unsafe { _mm512_storeu_si512(place.as_mut_ptr().cast(), weights) }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn unpack_two(halves: &[HalfBlock; 2]) -> [__m512i; 2] {
    let (four_bits, eight) = (_mm512_set1_epi8(0xF), _mm512_set1_epi8(8));
    // SAFETY: two half blocks are 64 readable bytes.
    let bytes = unsafe { _mm512_loadu_si512(halves.as_ptr().cast()) };
    let low = _mm512_and_si512(bytes, four_bits); // columns 0 to 7 and 16 to 23
    let high = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), four_bits);
    [
        _mm512_sub_epi8(_mm512_shuffle_i64x2::<0b01_00_01_00>(low, high), eight),
        _mm512_sub_epi8(_mm512_shuffle_i64x2::<0b11_10_11_10>(low, high), eight),
    ]
}

/// Four depths of 32 columns of weights.
trait Weights {
    /// Columns 0 to 15, and 16 to 31.
    ///
    /// # Safety
    /// The CPU must have AVX-512 F and BW, and AVX2.
    unsafe fn load(&self) -> [__m512i; 2];
}

impl Weights for [Block; 2] {
    #[inline(always)]
    unsafe fn load(&self) -> [__m512i; 2] {
        // SAFETY: the caller's promise.
        unsafe { [load_block(&self[0]), load_block(&self[1])] }
    }
}

impl Weights for [HalfBlock; 2] {
    #[inline(always)]
    unsafe fn load(&self) -> [__m512i; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            fetch_ahead(self);
            unpack_two(self)
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn multiply_panel<W: Weights>(
    a: &[u8],
    stride: usize,
    b: &[W],
    panel: Panel4<'_>,
    rows: &mut [RealRow],
    at: usize,
) {
    match rows.len() {
        0 => {}
        1 => multiply_groups::<1, 4, W>(a, stride, b, panel, rows, at),
        2 => multiply_groups::<2, 2, W>(a, stride, b, panel, rows, at),
        3 => multiply_groups::<3, 2, W>(a, stride, b, panel, rows, at),
        4 => multiply_groups::<4, 1, W>(a, stride, b, panel, rows, at),
        5 => multiply_groups::<5, 1, W>(a, stride, b, panel, rows, at),
        6 => multiply_groups::<6, 1, W>(a, stride, b, panel, rows, at),
        7 => multiply_groups::<7, 1, W>(a, stride, b, panel, rows, at),
        8 => multiply_groups::<8, 1, W>(a, stride, b, panel, rows, at),
        9 => multiply_groups::<9, 1, W>(a, stride, b, panel, rows, at),
        10 => multiply_groups::<10, 1, W>(a, stride, b, panel, rows, at),
        11 => multiply_groups::<11, 1, W>(a, stride, b, panel, rows, at),
        _ => multiply_groups::<12, 1, W>(a, stride, b, panel, rows, at),
    }
}

/// With S sums for each row and vector, which take turns with every S-th four depths, so that no
/// instruction waits for the one before where there are few rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn multiply_groups<const R: usize, const S: usize, W: Weights>(
    a: &[u8],
    stride: usize,
    b: &[W],
    panel: Panel4<'_>,
    rows: &mut [RealRow],
    at: usize,
) {
    let mut reals = [[_mm512_setzero_ps(); 2]; R];
    for (depth, blocks, group) in panel.groups() {
        let (a, b) = (&a[depth..], &b[blocks.start / 2..blocks.end / 2]);
        assert!(holds_rows(a, R, stride, b.len() * DEPTHS));
        let mut sums = [[[_mm512_setzero_si512(); 2]; R]; S];
        sums[0] = [start(group.zero_points[0], group); R];
        if !group.one_zero_point {
            for r in 1..R {
                sums[0][r] = start(group.zero_points[r], group);
            }
        }
        let (turns, rest) = b.as_chunks::<S>();
        for (i, turn) in turns.iter().enumerate() {
            for s in 0..S {
                let at = (S * i + s) * DEPTHS;
                // SAFETY: this function has all of it; at + 4 ≤ 4·len(b), and so many bytes of each
                // row can be read, as asserted.
                unsafe { add_products(&mut sums[s], a, stride, at, turn[s].load()) };
            }
        }
        for (i, rest) in rest.iter().enumerate() {
            let at = (S * turns.len() + i) * DEPTHS;
            // SAFETY: the same.
            unsafe { add_products(&mut sums[0], a, stride, at, rest.load()) };
        }
        for r in 0..R {
            for s in 1..S {
                sums[0][r][0] = _mm512_add_epi32(sums[0][r][0], sums[s][r][0]);
                sums[0][r][1] = _mm512_add_epi32(sums[0][r][1], sums[s][r][1]);
            }
            add_worth(sums[0][r], group, &mut reals[r]);
        }
    }
    for r in 0..R {
        store_reals(reals[r][0], &mut rows[r][at..]);
        store_reals(reals[r][1], &mut rows[r][at + COLUMNS..]);
    }
}

/// Adds the products of 4 depths, `at` and following.
///
/// # Safety
/// Of each of the R rows of `a`, which begin `stride` bytes apart, 4 bytes from `at` on are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
unsafe fn add_products<const R: usize>(
    sums: &mut [[__m512i; 2]; R],
    a: &[u8],
    stride: usize,
    at: usize,
    b: [__m512i; 2],
) {
    for r in 0..R {
        // SAFETY: the caller's promise.
        let a = unsafe { a.as_ptr().add(r * stride + at).cast::<i32>() };
        // SAFETY: the same.
        let a = _mm512_set1_epi32(unsafe { a.read_unaligned() });
        sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], a, b[0]);
        sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], a, b[1]);
    }
}

/// What the sums of a group begin with: −z·Σ w.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn start(zero_point: i32, group: Group<'_>) -> [__m512i; 2] {
    if zero_point == 0 {
        return [_mm512_setzero_si512(); 2]; // and the sums of the columns are not read
    }
    let minus = _mm512_set1_epi32(-zero_point);
    [
        _mm512_mullo_epi32(minus, load_integers(group.column_sums)),
        _mm512_mullo_epi32(minus, load_integers(&group.column_sums[COLUMNS..])),
    ]
}

/// Adds what the sums of a row are worth.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn add_worth(sums: [__m512i; 2], group: Group<'_>, reals: &mut [__m512; 2]) {
    for block in 0..2 {
        let scales = load_reals(&group.scales[COLUMNS * block..]);
        let worth = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[block]), scales);
        reals[block] = _mm512_add_ps(reals[block], worth);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn multiply_row(a: &[u8], b: &[[Block; 2]], row: &mut SumRow) {
    let groups = b.len() / 2;
    let mut sums = [_mm512_setzero_si512(); 4];
    for (group, a) in a.as_chunks::<DEPTHS>().0.iter().enumerate().take(groups) {
        let a = _mm512_set1_epi32(i32::from_ne_bytes(*a));
        for panel in 0..2 {
            // SAFETY: panel·groups + group < 2·groups ≤ len(b).
            let b = unsafe { b.get_unchecked(panel * groups + group) };
            sums[2 * panel] = _mm512_dpbusd_epi32(sums[2 * panel], a, load_block(&b[0]));
            sums[2 * panel + 1] = _mm512_dpbusd_epi32(sums[2 * panel + 1], a, load_block(&b[1]));
        }
    }
    for i in 0..4 {
        let sum = _mm512_add_epi32(load_sums(row, COLUMNS * i), sums[i]);
        store_sums(sum, row, COLUMNS * i);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_block(block: &Block) -> __m512i {
    // SAFETY: a block is 64 readable bytes.
    unsafe { _mm512_loadu_si512(block.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_sums(row: &SumRow, at: usize) -> __m512i {
    load_integers(&row[at..at + COLUMNS])
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_integers(sixteen: &[i32]) -> __m512i {
    assert!(sixteen.len() >= COLUMNS);
    // SAFETY: 16 readable numbers of 32 bits, 64 bytes.
    unsafe { _mm512_loadu_si512(sixteen.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store_reals(reals: __m512, sixteen: &mut [f32]) {
    assert!(sixteen.len() >= COLUMNS);
    // SAFETY: 16 writable numbers of 32 bits, 64 bytes.
    unsafe { _mm512_storeu_ps(sixteen.as_mut_ptr(), reals) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_reals(sixteen: &[f32]) -> __m512 {
    assert!(sixteen.len() >= COLUMNS);
    // SAFETY: 16 readable numbers of 32 bits, 64 bytes.
    unsafe { _mm512_loadu_ps(sixteen.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_sums(sums: __m512i, row: &mut SumRow, at: usize) {
    let place = &mut row[at..at + COLUMNS];
    // SAFETY: 16 writable numbers of 32 bits, 64 bytes.
    unsafe { _mm512_storeu_si512(place.as_mut_ptr().cast(), sums) }
}

//! AVX2: `vpmaddubsw` on safe pairs of weights, `vpmaddwd` with ones to widen, and the remainders
//! eight columns at a time.
#![allow(unsafe_code)]
// Loops over arrays of vectors index them: through an iterator's closure, which is compiled without
// AVX2, vectors would pass by memory.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::{
    Group, MAX_STRIPS, MicroKernel, Panel4, RealRow, STRIP, SUMS, SumRow, Task, holds_rows,
};
use crate::gemm::pack::{Block, COLUMNS, DEPTHS, HalfBlock};
use crate::gemm::pairs::Part;
use crate::gemm::split::Remainders;

/// The panels of a row of sums.
pub(super) const PANELS: usize = SUMS / COLUMNS;

/// The proof that this CPU has AVX2 and FMA: only [`detect`](Self::detect) makes one.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Avx2(());

impl Avx2 {
    // ANCHOR: detect
    pub(in crate::gemm) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        found.then_some(Self(()))
    }
    // ANCHOR_END: detect
}

impl MicroKernel for Avx2 {
    // A sixth row would need more registers than there are: 12 for sums, 2 for weights, 1 for ones,
    // 1 for activations and 1 for products.
    const ROWS: usize = 5;
    const PANEL_ROWS: usize = 6;
    const BLOCKS: usize = 1;
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
    fn multiply(self, a: &[u8], stride: usize, part: Part<'_>, sums: &mut [SumRow], at: usize) {
        let b = part.blocks;
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe {
            match sums.len() {
                0 => {}
                1 => multiply::<1>(a, stride, b, sums, at),
                2 => multiply::<2>(a, stride, b, sums, at),
                3 => multiply::<3>(a, stride, b, sums, at),
                4 => multiply::<4>(a, stride, b, sums, at),
                _ => multiply::<5>(a, stride, b, sums, at),
            }
        }
    }

    #[inline(always)]
    fn unpack(self, halves: &[HalfBlock], blocks: &mut [Block]) {
        // SAFETY: `self` proves that the CPU has AVX2.
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
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe {
            match panel.blocks {
                [] => multiply_panel(a, stride, panel.halves, panel, reals, at),
                blocks => multiply_panel(a, stride, blocks, panel, reals, at),
            }
        }
    }

    #[inline(always)]
    fn multiply_row(self, a: &[u8], b: &[Block], sums: &mut SumRow) {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { multiply_row(a, b, sums) }
    }

    #[inline(always)]
    fn add_remainders(
        self,
        strips: &[[u8; STRIP]],
        across: usize,
        remainders: &Remainders,
        first: usize,
        sums: &mut [SumRow],
        at: usize,
    ) {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe {
            match across {
                0 => {}
                1 => add_remainders::<1>(strips, remainders, first, sums, at),
                2 => add_remainders::<2>(strips, remainders, first, sums, at),
                _ => add_remainders::<MAX_STRIPS>(strips, remainders, first, sums, at),
            }
        }
    }

    #[inline(always)]
    fn transpose(self, rows: &[u8], stride: usize) -> [[u8; 16]; 16] {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { transpose_bytes(rows, stride) }
    }
}

#[target_feature(enable = "avx2,fma")]
fn enter<T: Task>(task: T) {
    task.run();
}

#[inline]
#[target_feature(enable = "avx2")]
fn multiply<const R: usize>(a: &[u8], stride: usize, b: &[Block], rows: &mut [SumRow], at: usize) {
    let ones = _mm256_set1_epi16(1);
    assert!(b.is_empty() || holds_rows(a, R, stride, b.len() * DEPTHS));
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    for r in 0..R {
        sums[r] = [load_sums(&rows[r], at), load_sums(&rows[r], at + 8)];
    }
    for (group, b) in b.iter().enumerate() {
        let b = [load_block(b, 0), load_block(b, 1)];
        for r in 0..R {
            // SAFETY: r·stride + 4·(group + 1) ≤ (R − 1)·stride + 4·len(b) ≤ len(a), as asserted.
            let a = unsafe { a.as_ptr().add(r * stride + group * DEPTHS).cast::<i32>() };
            // SAFETY: these are 4 readable bytes.
            let a = _mm256_set1_epi32(unsafe { a.read_unaligned() });
            for half in 0..2 {
                let pairs = _mm256_maddubs_epi16(a, b[half]); // 16 bits: every pair is safe
                let fours = _mm256_madd_epi16(pairs, ones);
                sums[r][half] = _mm256_add_epi32(sums[r][half], fours);
            }
        }
    }
    for r in 0..R {
        store_sums(sums[r][0], &mut rows[r], at);
        store_sums(sums[r][1], &mut rows[r], at + 8);
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn unpack(halves: &[HalfBlock], blocks: &mut [Block]) {
    for (Block(block), half) in blocks.iter_mut().zip(halves) {
        let places = block.as_chunks_mut::<32>().0;
        for (place, weights) in places.iter_mut().zip(unpack_one(half)) {
            // SAFETY: 32 writable bytes.
            unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast(), weights) }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn unpack_one(half: &HalfBlock) -> [__m256i; 2] {
    let (four_bits, eight) = (_mm256_set1_epi8(0xF), _mm256_set1_epi8(8));
    // SAFETY: 32 readable bytes.
    let bytes = unsafe { _mm256_loadu_si256(half.0.as_ptr().cast()) };
    let low = _mm256_and_si256(bytes, four_bits);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), four_bits);
    [_mm256_sub_epi8(low, eight), _mm256_sub_epi8(high, eight)]
}

/// Four depths of 16 columns of weights.
trait Weights {
    /// Columns 0 to 7, and 8 to 15.
    ///
    /// # Safety
    /// The CPU must have AVX2.
    unsafe fn load(&self) -> [__m256i; 2];
}

impl Weights for Block {
    #[inline(always)]
    unsafe fn load(&self) -> [__m256i; 2] {
        // SAFETY: the caller's promise.
        unsafe { [load_block(self, 0), load_block(self, 1)] }
    }
}

impl Weights for HalfBlock {
    #[inline(always)]
    unsafe fn load(&self) -> [__m256i; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            fetch_ahead(self);
            unpack_one(self)
        }
    }
}

#[target_feature(enable = "avx2")]
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
        1 => multiply_groups::<1, W>(a, stride, b, panel, rows, at),
        2 => multiply_groups::<2, W>(a, stride, b, panel, rows, at),
        3 => multiply_groups::<3, W>(a, stride, b, panel, rows, at),
        4 => multiply_groups::<4, W>(a, stride, b, panel, rows, at),
        5 => multiply_groups::<5, W>(a, stride, b, panel, rows, at),
        _ => multiply_groups::<6, W>(a, stride, b, panel, rows, at),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn multiply_groups<const R: usize, W: Weights>(
    a: &[u8],
    stride: usize,
    b: &[W],
    panel: Panel4<'_>,
    rows: &mut [RealRow],
    at: usize,
) {
    let mut reals = [[_mm256_setzero_ps(); 2]; R];
    for (depth, blocks, group) in panel.groups() {
        let (a, b) = (&a[depth..], &b[blocks]);
        assert!(holds_rows(a, R, stride, b.len() * DEPTHS));
        let mut sums = [start(group.zero_points[0], group); R];
        if !group.one_zero_point {
            for r in 1..R {
                sums[r] = start(group.zero_points[r], group);
            }
        }
        for (run, b) in b.chunks(RUN).enumerate() {
            let mut pairs = [[_mm256_setzero_si256(); 2]; R];
            for (i, b) in b.iter().enumerate() {
                let at = (RUN * run + i) * DEPTHS;
                // SAFETY: this function has AVX2; at + 4 ≤ 4·len(b), and so many bytes of each row
                // can be read, as asserted.
                unsafe { add_pairs(&mut pairs, a, stride, at, b.load()) };
            }
            widen(&pairs, &mut sums);
        }
        for r in 0..R {
            add_worth(sums[r], group, &mut reals[r]);
        }
    }
    for r in 0..R {
        store_reals(reals[r][0], &mut rows[r][at..]);
        store_reals(reals[r][1], &mut rows[r][at + 8..]);
    }
}

/// Asks for the cache line that will be read some thousand bytes later.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn fetch_ahead<T>(now: *const T) {
    const AHEAD: usize = 4096;
    let later = now.wrapping_byte_add(AHEAD).cast();
    // A hint: it reads nothing that the program could see, and any address will do.
    _mm_prefetch::<_MM_HINT_T0>(later);
}

/// So many pairs of products with 4-bit weights fit 16 bits: 255·8·16 = 32 640.
const RUN: usize = 8;

/// Adds the products of 4 depths, `at` and following, in pairs.
///
/// # Safety
/// Of each of the R rows of `a`, which begin `stride` bytes apart, 4 bytes from `at` on are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_pairs<const R: usize>(
    pairs: &mut [[__m256i; 2]; R],
    a: &[u8],
    stride: usize,
    at: usize,
    b: [__m256i; 2],
) {
    for r in 0..R {
        // SAFETY: the caller's promise.
        let a = unsafe { a.as_ptr().add(r * stride + at).cast::<i32>() };
        // SAFETY: the same.
        let a = _mm256_set1_epi32(unsafe { a.read_unaligned() });
        for half in 0..2 {
            let products = _mm256_maddubs_epi16(a, b[half]);
            pairs[r][half] = _mm256_add_epi16(pairs[r][half], products);
        }
    }
}

/// Adds pairs to sums of 32 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn widen<const R: usize>(pairs: &[[__m256i; 2]; R], sums: &mut [[__m256i; 2]; R]) {
    let ones = _mm256_set1_epi16(1);
    for r in 0..R {
        for half in 0..2 {
            let fours = _mm256_madd_epi16(pairs[r][half], ones);
            sums[r][half] = _mm256_add_epi32(sums[r][half], fours);
        }
    }
}

/// What the sums of a group begin with: −z·Σ w.
#[inline]
#[target_feature(enable = "avx2")]
fn start(zero_point: i32, group: Group<'_>) -> [__m256i; 2] {
    if zero_point == 0 {
        return [_mm256_setzero_si256(); 2]; // and the sums of the columns are not read
    }
    let minus = _mm256_set1_epi32(-zero_point);
    [
        _mm256_mullo_epi32(minus, load_integers(group.column_sums)),
        _mm256_mullo_epi32(minus, load_integers(&group.column_sums[8..])),
    ]
}

/// Adds what the sums of a row are worth.
#[inline]
#[target_feature(enable = "avx2")]
fn add_worth(sums: [__m256i; 2], group: Group<'_>, reals: &mut [__m256; 2]) {
    for half in 0..2 {
        let scales = load_reals(&group.scales[8 * half..]);
        let worth = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[half]), scales);
        reals[half] = _mm256_add_ps(reals[half], worth);
    }
}

#[target_feature(enable = "avx2")]
fn multiply_row(a: &[u8], b: &[Block], row: &mut SumRow) {
    // Panel by panel: one stream that is asked for ahead is read faster than four at once.
    let ones = _mm256_set1_epi16(1);
    let groups = b.len() / PANELS;
    for panel in 0..PANELS {
        let mut sums = [_mm256_setzero_si256(); 2];
        let b = &b[panel * groups..][..groups];
        for (a, b) in a.as_chunks::<DEPTHS>().0.iter().zip(b) {
            fetch_ahead(b);
            let a = _mm256_set1_epi32(i32::from_ne_bytes(*a));
            for half in 0..2 {
                let pairs = _mm256_maddubs_epi16(a, load_block(b, half));
                let fours = _mm256_madd_epi16(pairs, ones);
                sums[half] = _mm256_add_epi32(sums[half], fours);
            }
        }
        for half in 0..2 {
            let at = panel * COLUMNS + 8 * half;
            store_sums(_mm256_add_epi32(load_sums(row, at), sums[half]), row, at);
        }
    }
}

#[target_feature(enable = "avx2")]
fn add_remainders<const S: usize>(
    strips: &[[u8; STRIP]],
    remainders: &Remainders,
    first: usize,
    rows: &mut [SumRow],
    at: usize,
) {
    let strips = strips.as_chunks::<S>().0;
    for half in [0, 8] {
        if (0..8).all(|lane| remainders.pairs(first + half + lane).is_empty()) {
            continue;
        }
        let mut columns = [[_mm256_setzero_si256(); 8]; 4 * MAX_STRIPS];
        for lane in 0..8 {
            let sums = strips_times_column(strips, remainders, first + half + lane);
            for strip in 0..S {
                for part in 0..4 {
                    columns[4 * strip + part][lane] = sums[strip][part];
                }
            }
        }
        for (columns, rows) in columns.iter().zip(rows.chunks_mut(8)) {
            let sums = transpose(columns);
            for (lane, row) in rows.iter_mut().enumerate() {
                let sum = _mm256_add_epi32(load_sums(row, at + half), sums[lane]);
                store_sums(sum, row, at + half);
            }
        }
    }
}

/// The sums of one column's remainders over the rows of S strips, eight rows a vector.
#[inline]
#[target_feature(enable = "avx2")]
fn strips_times_column<const S: usize>(
    strips: &[[[u8; STRIP]; S]],
    remainders: &Remainders,
    column: usize,
) -> [[__m256i; 4]; S] {
    let mut sums = [[_mm256_setzero_si256(); 4]; S];
    for pairs in remainders.runs(column) {
        // 16 bits, all along: a run's remainders of one sign sum to at most 128.
        let mut even = [_mm256_setzero_si256(); S]; // rows 0 to 7 and 16 to 23 of each strip
        let mut odd = [_mm256_setzero_si256(); S]; // rows 8 to 15 and 24 to 31
        for pair in pairs {
            let [a0, a1] = [pair.depth[0], pair.depth[1]];
            let (a0, a1) = (&strips[usize::from(a0)], &strips[usize::from(a1)]);
            let weights = _mm256_set1_epi16(i16::from_le_bytes(pair.weight.map(|w| w as u8)));
            for s in 0..S {
                let (a0, a1) = (load_strip(&a0[s]), load_strip(&a1[s]));
                let low = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(a0, a1), weights);
                let high = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(a0, a1), weights);
                even[s] = _mm256_add_epi16(even[s], low);
                odd[s] = _mm256_add_epi16(odd[s], high);
            }
        }
        for s in 0..S {
            let parts = [
                _mm256_castsi256_si128(even[s]),
                _mm256_castsi256_si128(odd[s]),
                _mm256_extracti128_si256::<1>(even[s]),
                _mm256_extracti128_si256::<1>(odd[s]),
            ];
            for part in 0..4 {
                let wide = _mm256_cvtepi16_epi32(parts[part]);
                sums[s][part] = _mm256_add_epi32(sums[s][part], wide);
            }
        }
    }
    sums
}

/// Eight vectors of eight numbers become the vectors of their first, second, … numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(v: &[__m256i; 8]) -> [__m256i; 8] {
    let mut fours = *v; // after the loop: numbers 0 and 4, 1 and 5, … of vectors 0 to 3; then 4 to 7
    for half in [0, 4] {
        let (low0, high0) = interleave(v[half], v[half + 1]);
        let (low1, high1) = interleave(v[half + 2], v[half + 3]);
        fours[half] = _mm256_unpacklo_epi64(low0, low1);
        fours[half + 1] = _mm256_unpackhi_epi64(low0, low1);
        fours[half + 2] = _mm256_unpacklo_epi64(high0, high1);
        fours[half + 3] = _mm256_unpackhi_epi64(high0, high1);
    }
    let mut rows = fours;
    for i in 0..4 {
        rows[i] = _mm256_permute2x128_si256::<0x20>(fours[i], fours[i + 4]);
        rows[i + 4] = _mm256_permute2x128_si256::<0x31>(fours[i], fours[i + 4]);
    }
    rows
}

#[inline]
#[target_feature(enable = "avx2")]
fn interleave(a: __m256i, b: __m256i) -> (__m256i, __m256i) {
    (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b))
}

/// Four perfect shuffles of 16 vectors of 16 bytes transpose them.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_bytes(rows: &[u8], stride: usize) -> [[u8; 16]; 16] {
    let mut v = [_mm_setzero_si128(); 16];
    for (row, v) in v.iter_mut().enumerate() {
        let bytes = &rows[row * stride..][..16];
        // SAFETY: 16 readable bytes.
        *v = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
    }
    for _ in 0..4 {
        let mut shuffled = v;
        for i in 0..8 {
            shuffled[2 * i] = _mm_unpacklo_epi8(v[i], v[i + 8]);
            shuffled[2 * i + 1] = _mm_unpackhi_epi8(v[i], v[i + 8]);
        }
        v = shuffled;
    }
    let mut columns = [[0; 16]; 16];
    for (column, v) in columns.iter_mut().zip(v) {
        // SAFETY: 16 writable bytes.
        unsafe { _mm_storeu_si128(column.as_mut_ptr().cast(), v) }
    }
    columns
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_strip(bytes: &[u8; STRIP]) -> __m256i {
    // SAFETY: 32 readable bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_block(block: &Block, half: usize) -> __m256i {
    let bytes = &block.0.as_chunks::<32>().0[half];
    // SAFETY: 32 readable bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_sums(row: &SumRow, at: usize) -> __m256i {
    load_integers(&row[at..at + 8])
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_integers(eight: &[i32]) -> __m256i {
    assert!(eight.len() >= 8);
    // SAFETY: 8 readable numbers of 32 bits, 32 bytes.
    unsafe { _mm256_loadu_si256(eight.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_reals(reals: __m256, eight: &mut [f32]) {
    assert!(eight.len() >= 8);
    // SAFETY: 8 writable numbers of 32 bits, 32 bytes.
    unsafe { _mm256_storeu_ps(eight.as_mut_ptr(), reals) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_reals(eight: &[f32]) -> __m256 {
    assert!(eight.len() >= 8);
    // SAFETY: 8 readable numbers of 32 bits, 32 bytes.
    unsafe { _mm256_loadu_ps(eight.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_sums(sums: __m256i, row: &mut SumRow, at: usize) {
    let place = &mut row[at..at + 8];
    // SAFETY: 8 writable numbers of 32 bits, 32 bytes.
    unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast(), sums) }
}

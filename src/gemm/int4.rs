//! Products of 8-bit activations and 4-bit weights whose groups have scales of their own (W4A8).
//!
//! The one idea: a group of weights, say 64 depths of one column, shares a scale, so its sum is an
//! exact integer, and only the sums of groups are added as real numbers. Two weights lie in a byte;
//! a panel of them is unpacked just before it is multiplied, and then used for many rows. For a few
//! rows, weights are unpacked on the way from memory to the registers. Chapter 17.

use ndarray::{ArrayView2, ArrayViewMut2};

use super::activations::Activations;
use super::driver::{self, Product, tiles};
use super::epilogue::{at, piece_by_piece, some, write_reals};
use super::kernel::{MicroKernel, Panel4, Row, SUMS, panel_columns};
use super::pack::{COLUMNS, DEPTHS, HalfBlock, MAX_DEPTH};
use super::rows::{Needs, PackedRows, Sums};
use super::{Kernel, same_shape};
use crate::error::{Error, Result, same_length};
use crate::qparams::QRange;

/// 4-bit weights in the order that one kernel reads, two to a byte, with a scale for each group.
#[derive(Debug, Clone)]
pub struct PackedWeights4 {
    kernel: Kernel,
    depth: usize,
    columns: usize,
    group_size: usize,
    /// Panel by panel; within a panel group by group; within that depth by depth, block by block.
    blocks: Vec<HalfBlock>,
    /// Panel by panel, and within it group by group: of its columns, and of those that fill up the
    /// last panel.
    scales: Vec<f32>,
    /// Σₖ w\[k, j\] of each group; likewise.
    group_sums: Vec<i32>,
}

/// What becomes of the real sums: y = sum·sᵢ + bias, and max(y, 0) if asked for.
#[derive(Debug, Clone, Copy)]
pub struct RealOutput<'a> {
    /// The scale of the activations: one, or one a row.
    pub row_scales: &'a [f32],
    /// What is added: nothing, or one number a column.
    pub bias: &'a [f32],
    /// Whether negative results become 0 (and NaN, which a bias may be, stays NaN).
    pub relu: bool,
}

impl PackedWeights4 {
    /// Packs `codes` of shape \[depth K, columns N\], each in −8..=7, whose scales, of shape
    /// \[⌈K / `group_size`⌉, N\], are shared by `group_size` depths of one column. The zero point
    /// of the weights is 0.
    ///
    /// # Errors
    /// [`Error::InvalidGroupSize`] if `group_size` is 0; [`Error::ShapeMismatch`] if there is not a
    /// scale for each group; [`Error::CodeOutOfRange`] with the first code that does not fit 4
    /// bits; [`Error::InvalidScale`] if a scale is NaN or infinite; [`Error::DepthTooLarge`].
    pub fn new(
        kernel: Kernel,
        codes: ArrayView2<'_, i8>,
        scales: ArrayView2<'_, f32>,
        group_size: usize,
    ) -> Result<Self> {
        let kernel = kernel.for_4_bit_weights();
        let (depth, columns) = codes.dim();
        if group_size == 0 {
            return Err(Error::InvalidGroupSize { size: group_size });
        }
        if depth > MAX_DEPTH {
            let max = MAX_DEPTH;
            return Err(Error::DepthTooLarge { depth, max });
        }
        let groups = depth.div_ceil(group_size);
        same_shape(
            "scales of the groups",
            [groups, columns],
            [scales.nrows(), scales.ncols()],
        )?;
        if let Some(&scale) = scales.iter().find(|scale| !scale.is_finite()) {
            return Err(Error::InvalidScale { scale });
        }
        let (min, max) = (QRange::I4.min(), QRange::I4.max());
        let outside = |&(_, &code): &(usize, &i8)| !QRange::I4.contains(code.into());
        if let Some((index, &code)) = codes.iter().enumerate().find(outside) {
            let code = code.into();
            return Err(Error::CodeOutOfRange {
                index,
                code,
                min,
                max,
            });
        }
        let width = kernel.blocks_across() * COLUMNS;
        let padded = columns.next_multiple_of(width);
        let mut packed = Self {
            kernel,
            depth,
            columns,
            group_size,
            blocks: Vec::new(),
            scales: vec![0.0; groups * padded],
            group_sums: vec![0; groups * padded],
        };
        let place = |group, column| (column / width * groups + group) * width + column % width;
        for ((group, column), scale) in scales.indexed_iter() {
            packed.scales[place(group, column)] = *scale;
        }
        for ((k, column), code) in codes.indexed_iter() {
            packed.group_sums[place(k / group_size, column)] += i32::from(*code);
        }
        let code = |k: usize, end: usize, column: usize| match k < end && column < columns {
            true => (codes[(k, column)] + 8) as u8,
            false => 8,
        };
        for panel in (0..padded).step_by(width) {
            for start in (0..depth).step_by(group_size) {
                let end = depth.min(start + group_size);
                for k in (start..end).step_by(DEPTHS) {
                    for first in (panel..panel + width).step_by(COLUMNS) {
                        packed.blocks.push(HalfBlock(std::array::from_fn(|at| {
                            let (lane, k) = (at / DEPTHS, k + at % DEPTHS);
                            let low = code(k, end, first + lane);
                            low | code(k, end, first + COLUMNS / 2 + lane) << 4
                        })));
                    }
                }
            }
        }
        Ok(packed)
    }

    /// The depth K.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The number of columns N.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The bytes that the packed weights and their scales take.
    pub fn bytes(&self) -> usize {
        size_of_val(self.blocks.as_slice()) + self.scales.len() * size_of::<f32>()
    }

    /// Multiplies and writes `out`, of shape \[M, N\]: y\[i, j\] = sᵢ·Σ_g s\[g, j\]·Σₖ (a\[i, k\] −
    /// zᵢ)·w\[k, j\] + bias\[j\], where g runs over the groups and k over the depths of one.
    ///
    /// The inner sums are exact. They are converted to f32, multiplied by their scales and added
    /// in the order of the groups, each step rounded, so that the result is the same on every
    /// instruction set.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] if the activations' depth is not that of the weights, or `out` is
    /// not \[M, N\]; [`Error::LengthMismatch`] if a scale or a bias is missing;
    /// [`Error::NotANumber`] if activations are quantized and one is NaN: then `out` is unspecified.
    pub fn multiply(
        &self,
        activations: &Activations<'_>,
        output: RealOutput<'_>,
        out: ArrayViewMut2<'_, f32>,
    ) -> Result<()> {
        let (rows, columns) = (activations.rows(), self.columns);
        same_shape(
            "activations",
            [rows, self.depth],
            [rows, activations.depth()],
        )?;
        same_shape("the product", [rows, columns], [out.nrows(), out.ncols()])?;
        if output.row_scales.len() != 1 {
            same_length("row scales", rows, output.row_scales.len())?;
        }
        if !output.bias.is_empty() {
            same_length("bias", columns, output.bias.len())?;
        }
        let product = Int4 {
            weights: self,
            output,
        };
        driver::multiply(self.kernel.0, activations, product, out)
    }

    /// The panel that begins at column `column`, for no rows yet.
    #[inline(always)]
    fn panel(&self, column: usize) -> Panel4<'_> {
        let across = self.kernel.blocks_across();
        let width = across * COLUMNS;
        let groups = self.depth.div_ceil(self.group_size);
        let full = self.group_size.div_ceil(DEPTHS);
        let last = (self.depth - (groups - 1) * self.group_size).div_ceil(DEPTHS);
        let (panel, down) = (column / width, (groups - 1) * full + last);
        let (halves, pairs) = (down * across, groups * width);
        Panel4 {
            halves: &self.blocks[panel * halves..][..halves],
            blocks: &[],
            group_size: self.group_size,
            group_blocks: full * across,
            zero_points: &[],
            column_sums: &self.group_sums[panel * pairs..][..pairs],
            scales: &self.scales[panel * pairs..][..pairs],
            width,
        }
    }
}

/// Weights, and what becomes of the sums of products with them.
#[derive(Clone, Copy)]
struct Int4<'a> {
    weights: &'a PackedWeights4,
    output: RealOutput<'a>,
}

impl Product for Int4<'_> {
    type Out = f32;

    fn needs(&self) -> Needs {
        Needs {
            depth: self.weights.depth,
            strips: false,
            row_sums: false,
        }
    }

    #[inline(always)]
    fn multiply_block<K: MicroKernel>(
        self,
        kernel: K,
        rows: &PackedRows<'_, K>,
        (first_row, first_column): (usize, usize),
        out: &mut [&mut [f32]],
        sums: &mut Sums,
    ) {
        let (weights, columns) = (self.weights, out.first().map_or(0, |row| row.len()));
        let mut room = Vec::new();
        let activations = kernel.activations(rows.bytes(), &mut room);
        let packed = rows.count() <= K::PACKED_ROWS;
        let (stride, width) = (rows.stride(), panel_columns::<K>());
        let height = if packed {
            K::PACKED_ROWS
        } else {
            K::PANEL_ROWS
        };
        let blocks = match packed || weights.depth == 0 {
            true => 0,
            false => weights.panel(first_column).halves.len(),
        };
        let (integers, reals, blocks) = sums.with_reals(rows.count(), blocks);
        for first in (0..columns).step_by(SUMS) {
            let count = SUMS.min(columns - first);
            if weights.depth == 0 {
                reals.fill(Row([0.0; SUMS]));
            }
            for at in (0..count).step_by(width) {
                if weights.depth == 0 {
                    break; // there are no panels
                }
                let mut panel = weights.panel(first_column + first + at);
                if !packed {
                    kernel.unpack(panel.halves, blocks);
                    panel.blocks = blocks;
                }
                for tile in tiles(rows.count(), height) {
                    panel.zero_points = &rows.zero_points()[tile.clone()];
                    let a = &activations[tile.start * stride..];
                    let sums = (&mut integers[tile.clone()], &mut reals[tile]);
                    kernel.multiply_panel(a, stride, panel, sums, at);
                }
            }
            for (i, (out, sums)) in out.iter_mut().zip(reals.iter()).enumerate() {
                let out = &mut out[first..first + count];
                self.finish(first_row + i, first_column + first, &sums[..count], out);
            }
        }
    }
}

impl Int4<'_> {
    #[inline(always)]
    fn finish(&self, row: usize, column: usize, sums: &[f32], out: &mut [f32]) {
        let scale = at(self.output.row_scales, row);
        piece_by_piece!(out.len(), |at| self.write_scaled(
            scale,
            column + at,
            &sums[at..],
            &mut out[at..]
        ));
    }

    /// Writes `N` columns from `column` on.
    #[inline(always)]
    fn write_scaled<const N: usize>(
        &self,
        scale: f32,
        column: usize,
        sums: &[f32],
        out: &mut [f32],
    ) {
        let reals: [f32; N] = some(sums, 0);
        let (bias, relu) = (self.output.bias, self.output.relu);
        write_reals(reals.map(|real| real * scale), bias, column, relu, out);
    }
}

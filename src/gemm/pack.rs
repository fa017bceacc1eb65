//! Weights in the order in which a micro-kernel reads them.
//!
//! They are cut into *panels* of 16 columns (or 32), and a panel into *blocks* of 16 columns by 4
//! depths: 64 bytes, one cache line. All kernels multiply 4 depths at a time. Chapter 17.

use std::ops::Range;

use ndarray::ArrayView2;

use super::activations::is_code;
use super::pairs::{CHUNK, Part, pair_up};
use super::split::{MAX_SPLIT_DEPTH, Remainders, make_safe};
use super::{Chosen, Kernel};
use crate::error::{Error, Result, same_length};
use crate::isa::Isa;
use crate::qparams::QRange;

/// Depths in a block.
pub(crate) const DEPTHS: usize = 4;
/// Columns in a block.
pub(crate) const COLUMNS: usize = 16;

/// With more remainders than this among the weights, they are not split.
const MAX_REMAINDERS: f64 = 0.04;

/// 16 columns by 4 depths, column by column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Block(pub(crate) [i8; COLUMNS * DEPTHS]);

/// The same of 4-bit weights, each 8 more than it is: the low halves of the bytes are columns 0 to 7,
/// the high halves 8 to 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(32))]
pub(crate) struct HalfBlock(pub(crate) [u8; COLUMNS * DEPTHS / 2]);

/// The depth up to which no sum can overflow: 255·128·depth ≤ 2³¹ − 1.
pub const MAX_DEPTH: usize = (i32::MAX / (255 * 128)) as usize;

/// The same for weights that have zero points of their own: 255·255·depth ≤ 2³¹ − 1.
pub const MAX_DEPTH_WITH_ZERO_POINTS: usize = (i32::MAX / (255 * 255)) as usize;

/// Weights in the order that one kernel reads, with what it needs to know about them.
///
/// Packing costs as much as a product with some hundred rows; do it once.
#[derive(Debug, Clone)]
pub struct PackedWeights {
    pub(super) kernel: Kernel,
    depth: usize,
    columns: usize,
    /// Panel by panel; within a panel depth by depth; within a depth block by block.
    blocks: Vec<Block>,
    /// For a kernel that pairs depths: each block's position in its [`CHUNK`], and how many blocks of each
    /// chunk are in pairs.
    positions: Vec<u8>,
    paired: Vec<usize>,
    /// Of each column, and 0 for those that fill up the last panel.
    column_sums: Vec<i32>,
    /// Likewise; none if all are 0.
    zero_points: Vec<i32>,
    remainders: Remainders,
}

impl PackedWeights {
    /// Packs `weights` of shape \[depth K, columns N\] for `kernel`.
    ///
    /// A linear layer that stores \[out, in\] passes its transposed view.
    ///
    /// ```
    /// use fewer_bits::gemm::{Activations, Kernel, PackedWeights};
    /// use ndarray::array;
    /// let weights = array![[1i8, -2], [3, 4], [-5, 6]];
    /// let packed = PackedWeights::new(Kernel::best(), weights.view())?;
    /// let a = array![[200u8, 100, 0]];
    /// assert_eq!(packed.product(Activations::u8(a.view(), 100))?, array![[600, -800]]);
    /// # Ok::<(), fewer_bits::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::DepthTooLarge`] if K exceeds [`MAX_DEPTH`], for then a sum might overflow i32.
    pub fn new(kernel: Kernel, weights: ArrayView2<'_, i8>) -> Result<Self> {
        Self::pack(kernel, weights, Vec::new(), MAX_DEPTH)
    }

    /// Packs weights that have a zero point each column, as ONNX allows.
    ///
    /// # Errors
    /// [`Error::DepthTooLarge`] if K exceeds [`MAX_DEPTH_WITH_ZERO_POINTS`];
    /// [`Error::LengthMismatch`] unless there is one zero point a column;
    /// [`Error::ZeroPointOutOfRange`] if one is not an `i8`.
    pub fn with_zero_points(
        kernel: Kernel,
        weights: ArrayView2<'_, i8>,
        zero_points: &[i32],
    ) -> Result<Self> {
        same_length(
            "zero points of the weights",
            weights.ncols(),
            zero_points.len(),
        )?;
        zero_points
            .iter()
            .try_for_each(|&z| is_code(z, QRange::I8))?;
        match zero_points.iter().all(|&z| z == 0) {
            true => Self::new(kernel, weights),
            false => Self::pack(
                kernel,
                weights,
                zero_points.to_vec(),
                MAX_DEPTH_WITH_ZERO_POINTS,
            ),
        }
    }

    fn pack(
        kernel: Kernel,
        weights: ArrayView2<'_, i8>,
        mut zero_points: Vec<i32>,
        max_depth: usize,
    ) -> Result<Self> {
        let (depth, columns) = weights.dim();
        if depth > max_depth {
            return Err(Error::DepthTooLarge {
                depth,
                max: max_depth,
            });
        }
        let width = kernel.blocks_across() * COLUMNS;
        let panels = columns.div_ceil(width);
        if !zero_points.is_empty() {
            zero_points.resize(panels * width, 0);
        }
        let mut column_sums = vec![0; panels * width];
        for (sum, weights) in column_sums.iter_mut().zip(weights.columns()) {
            *sum = weights.iter().map(|&w| i32::from(w)).sum();
        }
        let mut packed = Self {
            kernel,
            depth,
            columns,
            blocks: Vec::new(),
            positions: Vec::new(),
            paired: Vec::new(),
            column_sums,
            zero_points,
            remainders: Remainders::new(),
        };
        if kernel.saturates() {
            let most = (MAX_REMAINDERS / 2.0 * weights.len() as f64) as usize + columns;
            let fits = depth <= MAX_SPLIT_DEPTH && packed.fill(weights, Some(most));
            if fits {
                return Ok(packed);
            }
            packed.kernel = kernel.without_saturation();
            packed.remainders = Remainders::new();
        }
        packed.fill(weights, None);
        if packed.kernel.pairs_depths() {
            packed.pair_depths();
        }
        Ok(packed)
    }

    /// Brings the weights in order; if `most_pairs` is given, only safe ones, and no more than
    /// so many pairs of remainders: returns false if that fails.
    fn fill(&mut self, weights: ArrayView2<'_, i8>, most_pairs: Option<usize>) -> bool {
        let across = self.kernel.blocks_across();
        let groups = self.depth.div_ceil(DEPTHS);
        let panels = self.columns.div_ceil(across * COLUMNS);
        self.blocks.clear();
        let empty = Block([0; COLUMNS * DEPTHS]);
        self.blocks.resize(panels * groups * across, empty);
        let mut copy = vec![0i8; groups * DEPTHS];
        let mut taken = Vec::new();
        for (column, weights) in weights.columns().into_iter().enumerate() {
            for (copy, weight) in copy.iter_mut().zip(weights) {
                *copy = *weight;
            }
            if let Some(most_pairs) = most_pairs {
                make_column_safe(&mut copy, &mut taken);
                self.remainders.push_column(&taken);
                if self.remainders.len() > most_pairs {
                    return false;
                }
            }
            let (panel, within) = (column / (across * COLUMNS), column % (across * COLUMNS));
            let (block, lane) = (within / COLUMNS, within % COLUMNS);
            for (group, four) in copy.as_chunks::<DEPTHS>().0.iter().enumerate() {
                let at = (panel * groups + group) * across + block;
                self.blocks[at].0.as_chunks_mut::<DEPTHS>().0[lane] = *four;
            }
        }
        true
    }

    /// How many groups there are in all panels of a kernel that takes them in order, and how many could be in pairs.
    pub(super) fn groups_in_pairs(&self) -> [usize; 2] {
        let groups = self.depth.div_ceil(DEPTHS).max(1);
        let panels = self.blocks.chunks_exact(groups);
        let pairs = panels.flat_map(|panel| panel.chunks(CHUNK)).map(pair_up);
        [self.blocks.len(), pairs.map(|(_, paired)| paired).sum()]
    }

    /// Brings the depths of each panel in pairs.
    fn pair_depths(&mut self) {
        let groups = self.depth.div_ceil(DEPTHS).max(1);
        for panel in self.blocks.chunks_exact_mut(groups) {
            for chunk in panel.chunks_mut(CHUNK) {
                let (order, paired) = pair_up(chunk);
                let in_order = chunk.to_vec();
                for (block, position) in chunk.iter_mut().zip(&order) {
                    *block = in_order[usize::from(*position)];
                }
                self.positions.extend(order);
                self.paired.push(paired);
            }
        }
    }

    /// The depth K.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The number of columns N.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Σₖ w\[k, j\] of each column j.
    pub fn column_sums(&self) -> &[i32] {
        &self.column_sums[..self.columns]
    }

    /// The instruction set that the weights are packed for.
    pub fn isa(&self) -> Isa {
        self.kernel.isa()
    }

    /// Σₖ w\[k, j\] of `count` columns from `first`, which may include those that fill up the
    /// last panel.
    pub(super) fn sums_of(&self, first: usize, count: usize) -> &[i32] {
        &self.column_sums[first..][..count]
    }

    /// Whether any column has a zero point other than 0.
    pub(super) fn has_zero_points(&self) -> bool {
        !self.zero_points.is_empty()
    }

    /// The zero points of these columns; none if all columns have the zero point 0.
    pub(super) fn zero_points_of(&self, first: usize, count: usize) -> &[i32] {
        match self.zero_points.as_slice() {
            [] => &[],
            zero_points => &zero_points[first..][..count],
        }
    }

    /// The blocks of the panels that begin at column `first` and have `count` columns.
    pub(super) fn panels(&self, first: usize, count: usize) -> &[Block] {
        let groups = self.depth.div_ceil(DEPTHS);
        &self.blocks[first / COLUMNS * groups..][..count / COLUMNS * groups]
    }

    /// The groups of depths `groups` of the panel that begins at column `first`, for a kernel whose panels have
    /// `count` columns.
    #[inline(always)]
    pub(super) fn part(&self, first: usize, count: usize, groups: Range<usize>) -> Part<'_> {
        let (panel, across) = (first / count, count / COLUMNS);
        let blocks = &self.panels(first, count)[groups.start * across..groups.end * across];
        if self.positions.is_empty() {
            return Part::in_order(blocks);
        }
        let all = self.depth.div_ceil(DEPTHS);
        Part {
            blocks,
            paired: self.paired[panel * all.div_ceil(CHUNK) + groups.start / CHUNK],
            positions: &self.positions[panel * all..][groups],
        }
    }

    /// The micro-kernel that reads them.
    pub(super) fn chosen(&self) -> Chosen {
        self.kernel.0
    }

    /// What was taken from the columns to make their pairs safe.
    pub(super) fn remainders(&self) -> &Remainders {
        &self.remainders
    }
}

/// Makes each pair of a column safe, and writes what was taken, with its depth, to `taken`.
fn make_column_safe(weights: &mut [i8], taken: &mut Vec<(u16, i8)>) {
    taken.clear();
    for (pair, weights) in weights.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let (safe, rest) = make_safe(*weights);
        *weights = safe;
        for (i, rest) in rest.into_iter().enumerate().filter(|(_, rest)| *rest != 0) {
            taken.push(((2 * pair + i) as u16, rest));
        }
    }
}

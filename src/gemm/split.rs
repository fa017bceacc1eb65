//! Weights that the fast byte multiply cannot get wrong, and what remains.
//!
//! AVX2's `vpmaddubsw` multiplies 32 unsigned bytes by 32 signed ones and adds neighbouring products
//! in 16 bits, where they saturate. With activations up to 255 a pair of weights is *safe* when its
//! positive parts sum to at most 128 and its negative parts to at least −128, for 255·128 = 32 640
//! fits 16 bits. So a matrix W is split once, when it is packed, into W = S + R: every pair of S is
//! safe, and R is sparse, because two large weights of one sign seldom stand side by side. The
//! product with S runs at the speed of the kernels that ignore saturation; the product with R makes
//! it exact. Chapter 17.

/// The largest sum of one sign in a pair that cannot saturate: ⌊32 767 / 255⌋.
pub(crate) const SAFE_SUM: i32 = 128;

/// Makes a pair of weights safe: returns the pair and what was taken from the first or the second.
///
/// The larger one gives, so that a remainder lies between −128 and 126.
// ANCHOR: make_safe
pub(crate) fn make_safe(pair: [i8; 2]) -> ([i8; 2], [i8; 2]) {
    let [w0, w1] = pair.map(i32::from);
    let excess = match w0 + w1 {
        sum if w0 > 0 && w1 > 0 => (sum - SAFE_SUM).max(0),
        sum if w0 < 0 && w1 < 0 => (sum + SAFE_SUM).min(0),
        _ => 0,
    };
    let taken = match w0.abs() >= w1.abs() {
        true => [excess, 0],
        false => [0, excess],
    };
    let safe = [w0 - taken[0], w1 - taken[1]];
    (safe.map(|w| w as i8), taken.map(|w| w as i8))
}
// ANCHOR_END: make_safe

/// Two remainders of one column: their positions along the depth, and their values. An empty place
/// has the value 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) depth: [u16; 2],
    pub(crate) weight: [i8; 2],
}

/// The depth up to which positions fit a [`Pair`].
pub(crate) const MAX_SPLIT_DEPTH: usize = 1 << 16;

/// The remainders of a matrix, column by column; within a column, *runs* of pairs whose values of
/// one sign sum to at most 128, so that a whole run can be summed in 16 bits.
#[derive(Debug, Clone)]
pub(crate) struct Remainders {
    pairs: Vec<Pair>,
    /// Where each run begins; one more entry than there are runs.
    runs: Vec<u32>,
    /// Where each column's runs begin; one more entry than there are columns.
    columns: Vec<u32>,
}

impl Remainders {
    /// Those of a matrix without columns.
    pub(crate) fn new() -> Self {
        Self {
            pairs: Vec::new(),
            runs: vec![0],
            columns: vec![0],
        }
    }

    /// The remainders of the next column, from `(depth, weight)` in any order.
    pub(crate) fn push_column(&mut self, remainders: &[(u16, i8)]) {
        let mut rest = remainders;
        while !rest.is_empty() {
            let (run, after) = rest.split_at(run_length(rest));
            for two in run.chunks(2) {
                let mut pair = Pair::default();
                for (i, &(depth, weight)) in two.iter().enumerate() {
                    (pair.depth[i], pair.weight[i]) = (depth, weight);
                }
                self.pairs.push(pair);
            }
            self.runs.push(self.pairs.len() as u32);
            rest = after;
        }
        self.columns.push(self.runs.len() as u32 - 1);
    }

    /// The runs of a column, as only kernels that saturate need them; none for columns beyond the last.
    #[cfg(any(target_arch = "x86_64", test))]
    #[inline(always)]
    pub(crate) fn runs(&self, column: usize) -> impl Iterator<Item = &[Pair]> {
        let bounds = match self.columns.get(column..column + 2) {
            Some(&[start, end]) => &self.runs[start as usize..=end as usize],
            _ => &[],
        };
        let ends = bounds.iter().skip(1);
        bounds
            .iter()
            .zip(ends)
            .map(|(&start, &end)| &self.pairs[start as usize..end as usize])
    }

    /// The pairs of a column; none for columns beyond the last.
    #[inline(always)]
    pub(crate) fn pairs(&self, column: usize) -> &[Pair] {
        match self.columns.get(column..column + 2) {
            Some(&[start, end]) => {
                let [start, end] = [start, end].map(|run| self.runs[run as usize] as usize);
                &self.pairs[start..end]
            }
            _ => &[],
        }
    }

    /// The number of pairs.
    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

/// How many of the first remainders can be summed in 16 bits. At least one, for none exceeds 128.
fn run_length(remainders: &[(u16, i8)]) -> usize {
    let (mut positive, mut negative) = (0, 0);
    let fits = |&&(_, weight): &&(u16, i8)| {
        positive += i32::from(weight).max(0);
        negative += i32::from(weight).min(0);
        positive <= SAFE_SUM && negative >= -SAFE_SUM
    };
    remainders.iter().take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_becomes_safe_and_nothing_is_lost() {
        for w0 in i8::MIN..=i8::MAX {
            for w1 in i8::MIN..=i8::MAX {
                let (safe, taken) = make_safe([w0, w1]);
                for i in 0..2 {
                    assert_eq!(
                        i32::from(safe[i]) + i32::from(taken[i]),
                        i32::from([w0, w1][i])
                    );
                }
                let [s0, s1] = safe.map(i32::from);
                assert!(s0.max(0) + s1.max(0) <= SAFE_SUM, "{w0} {w1}");
                assert!(s0.min(0) + s1.min(0) >= -SAFE_SUM, "{w0} {w1}");
                let extremes = [s0.max(0) + s1.max(0), s0.min(0) + s1.min(0)];
                assert!(extremes.iter().all(|sum| i16::try_from(255 * sum).is_ok()));
            }
        }
    }

    #[test]
    fn runs_hold_what_was_pushed_and_can_be_summed_in_16_bits() {
        let pushed = [(7, -128), (3, 126), (2, 64), (9, -65), (1, 1), (65_535, -1)];
        let mut remainders = Remainders::new();
        remainders.push_column(&pushed);
        remainders.push_column(&[]);
        remainders.push_column(&pushed[..1]);
        let mut found = Vec::new();
        for run in remainders.runs(0) {
            let weights = run.iter().flat_map(|pair| pair.weight.map(i32::from));
            assert!(weights.clone().map(|w| w.max(0)).sum::<i32>() <= SAFE_SUM);
            assert!(weights.map(|w| w.min(0)).sum::<i32>() >= -SAFE_SUM);
            let pairs = run
                .iter()
                .flat_map(|pair| pair.depth.into_iter().zip(pair.weight));
            found.extend(pairs.filter(|&(_, weight)| weight != 0));
        }
        assert_eq!(found, pushed);
        assert_eq!(
            (remainders.runs(1).count(), remainders.pairs(1)),
            (0, &[][..])
        );
        assert_eq!(remainders.pairs(2).len(), 1);
        assert_eq!(
            (remainders.runs(3).count(), remainders.pairs(3)),
            (0, &[][..])
        );
    }
}

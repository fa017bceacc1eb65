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

/// Four remainders of one column: their positions along the depth, and their values.
///
/// Each value lies in −64..=64, so that any two of them are a safe pair; a larger remainder takes
/// two places. Empty places have the value 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Quad {
    pub(crate) depth: [u32; 4],
    pub(crate) weight: [i8; 4],
}

/// The remainders of a matrix, column by column.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remainders {
    quads: Vec<Quad>,
    /// Where each column's quads begin; one more entry than there are columns.
    starts: Vec<usize>,
}

impl Remainders {
    /// The remainders of the next column, from `(depth, weight)` in any order.
    pub(crate) fn push_column(&mut self, remainders: impl IntoIterator<Item = (usize, i8)>) {
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        let halves = remainders.into_iter().flat_map(|(depth, weight)| {
            let half = weight / 2;
            let parts = match weight {
                -64..=64 => [weight, 0],
                _ => [half, weight - half],
            };
            parts.map(|part| (depth as u32, part))
        });
        let mut places: Vec<_> = halves.filter(|&(_, weight)| weight != 0).collect();
        places.resize(places.len().next_multiple_of(4), (0, 0));
        self.quads
            .extend(places.as_chunks::<4>().0.iter().map(|four| Quad {
                depth: four.map(|(depth, _)| depth),
                weight: four.map(|(_, weight)| weight),
            }));
        self.starts.push(self.quads.len());
    }

    /// The quads of a column; none for columns beyond the last.
    pub(crate) fn column(&self, column: usize) -> &[Quad] {
        match (self.starts.get(column), self.starts.get(column + 1)) {
            (Some(&start), Some(&end)) => &self.quads[start..end],
            _ => &[],
        }
    }

    /// Whether there are none at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.quads.is_empty()
    }
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
    fn quads_hold_what_was_pushed_in_values_up_to_64() {
        let pushed = [(7, -128i8), (3, 126), (2, 64), (9, -65), (1, 1)];
        let mut remainders = Remainders::default();
        remainders.push_column(pushed);
        remainders.push_column([]);
        let mut sums = [0i32; 10];
        for quad in remainders.column(0) {
            for (depth, weight) in quad.depth.iter().zip(quad.weight) {
                assert!((-64..=64).contains(&weight));
                sums[*depth as usize] += i32::from(weight);
            }
        }
        for (depth, weight) in pushed {
            assert_eq!(sums[depth], i32::from(weight));
        }
        assert!(remainders.column(1).is_empty() && remainders.column(2).is_empty());
    }
}

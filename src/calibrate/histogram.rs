//! A histogram that does not depend on the order of the values.

use super::{Observer, ends};
use crate::error::{Error, Result};

/// Bins on each side of 0.
const HALF: i64 = 2048;
const HALF_BITS: i32 = 11;

/// Counts of values in bins of equal width, on both sides of 0.
///
/// The width is a power of two, the smallest at which 2048 bins on each side hold every value. When
/// a larger value comes, neighbours are joined until it fits; no count is ever split. So the
/// histogram of a set of values is one and the same in any order and in any parts:
/// [`merge`](Self::merge) of two histograms is the histogram of all their values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    ends: Option<(f32, f32)>,
    /// Bins are 2^exponent wide.
    exponent: i32,
    /// From the lowest bin, which begins at −2048·2^exponent; empty until a value is seen.
    counts: Vec<u64>,
}

impl Histogram {
    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        let Some((lo, hi)) = other.ends else {
            return;
        };
        self.make_room(lo, hi);
        for (bin, count) in (-HALF..HALF).zip(&other.counts) {
            let joined = bin >> (self.exponent - other.exponent).min(63);
            self.counts[(joined + HALF) as usize] += count;
        }
    }

    /// How many values were seen.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The bins that hold values, in order: where each begins, where it ends, and its count.
    pub fn bins(&self) -> impl Iterator<Item = (f64, f64, u64)> + '_ {
        let width = f64::from(self.exponent).exp2();
        (-HALF..HALF)
            .zip(&self.counts)
            .filter(|(_, count)| **count > 0)
            .map(move |(bin, count)| (bin as f64 * width, (bin + 1) as f64 * width, *count))
    }

    /// The range that holds a part `part` of the values: at most (1 − part)/2 of them lie below it,
    /// and at most as many above. Its ends are ends of bins, or the smallest and the largest value;
    /// `part` = 1 gives these two.
    ///
    /// # Errors
    /// [`Error::Empty`] if no value was seen; [`Error::InvalidSetting`] unless 0 < `part` ≤ 1.
    pub fn percentile(&self, part: f64) -> Result<(f32, f32)> {
        check_part(part)?;
        let (lo, hi) = self.ends.ok_or(Error::Empty)?;
        let outside = ((1.0 - part) / 2.0 * self.count() as f64) as u64;
        let (mut below, mut above) = (0, 0);
        let fits = |seen: &mut u64, count: u64| {
            *seen += count;
            *seen > outside
        };
        let bins: Vec<_> = self.bins().collect();
        let first = bins.iter().find(|bin| fits(&mut below, bin.2));
        let last = bins.iter().rev().find(|bin| fits(&mut above, bin.2));
        let clipped_lo = first.map_or(lo, |bin| bin.0 as f32).max(lo);
        let clipped_hi = last.map_or(hi, |bin| bin.1 as f32).min(hi);
        Ok((clipped_lo, clipped_hi))
    }

    /// Widens the ends, and the bins until they hold both.
    fn make_room(&mut self, lo: f32, hi: f32) {
        let needed = exponent_for(lo.abs().max(hi.abs()));
        let (old_lo, old_hi) = self.ends.unwrap_or((lo, hi));
        if self.counts.is_empty() {
            self.counts = vec![0; 2 * HALF as usize];
            self.exponent = needed;
        }
        if needed > self.exponent {
            let by = (needed - self.exponent).min(63);
            let old = std::mem::replace(&mut self.counts, vec![0; 2 * HALF as usize]);
            for (bin, count) in (-HALF..HALF).zip(old) {
                self.counts[((bin >> by) + HALF) as usize] += count;
            }
            self.exponent = needed;
        }
        self.ends = Some((lo.min(old_lo), hi.max(old_hi)));
    }
}

/// The smallest e at which every |x| ≤ `absmax` lies within 2048 bins of 2^e. Of 0, that of the
/// smallest positive f32.
fn exponent_for(absmax: f32) -> i32 {
    let (_, exponent) = libm::frexp(f64::from(absmax.max(f32::from_bits(1)))); // absmax < 2^exponent
    exponent - HALF_BITS
}

impl Observer for Histogram {
    fn observe(&mut self, x: &[f32]) -> Result<()> {
        let Some((lo, hi)) = ends(x)? else {
            return Ok(());
        };
        self.make_room(lo, hi);
        let width = f64::from(self.exponent).exp2();
        for x in x {
            let bin = (f64::from(*x) / width).floor() as i64; // exact: the width is a power of two
            self.counts[(bin + HALF) as usize] += 1;
        }
        Ok(())
    }

    /// From the smallest value to the largest.
    fn range(&self) -> Result<(f32, f32)> {
        self.ends.ok_or(Error::Empty)
    }
}

/// A histogram that answers with a percentile.
pub(super) struct Percentile {
    part: f64,
    histogram: Histogram,
}

impl Percentile {
    pub(super) fn new(part: f64) -> Result<Self> {
        check_part(part)?;
        let histogram = Histogram::default();
        Ok(Self { part, histogram })
    }
}

impl Observer for Percentile {
    fn observe(&mut self, x: &[f32]) -> Result<()> {
        self.histogram.observe(x)
    }

    fn range(&self) -> Result<(f32, f32)> {
        self.histogram.percentile(self.part)
    }
}

fn check_part(part: f64) -> Result<()> {
    if part > 0.0 && part <= 1.0 {
        return Ok(());
    }
    Err(Error::InvalidSetting {
        what: "the part of the values",
        value: part.to_string(),
        allowed: "it must be more than 0 and at most 1",
    })
}

//! Which range do the values have? Observers look at calibration data and answer.
//!
//! The one idea: an observer sees the values batch by batch and keeps little: two ends, or a
//! histogram. The range that it returns becomes a scale and a zero point by
//! [`Scheme::params`](crate::Scheme::params). Chapters 6 and 11.

mod histogram;
mod least_error;

pub use histogram::Histogram;
pub use least_error::least_squares;

use crate::elementwise::Kernel;
use crate::error::{Error, Result};

/// Sees values and says which range to quantize.
// ANCHOR: Observer
pub trait Observer {
    /// Takes note of one batch.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the index of a NaN or infinity: the observer is then
    /// as it was. A batch without values changes nothing.
    fn observe(&mut self, x: &[f32]) -> Result<()>;

    /// The range to quantize, the lower end first.
    ///
    /// # Errors
    /// [`Error::Empty`] if no value was seen.
    fn range(&self) -> Result<(f32, f32)>;
}
// ANCHOR_END: Observer

/// The smallest and the largest value.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MinMax(Option<(f32, f32)>);

impl Observer for MinMax {
    fn observe(&mut self, x: &[f32]) -> Result<()> {
        let Some((lo, hi)) = ends(x)? else {
            return Ok(());
        };
        self.0 = match self.0 {
            None => Some((lo, hi)),
            Some((old_lo, old_hi)) => Some((lo.min(old_lo), hi.max(old_hi))),
        };
        Ok(())
    }

    fn range(&self) -> Result<(f32, f32)> {
        self.0.ok_or(Error::Empty)
    }
}

/// Each end moves a part of the way towards that of each new batch: lo ← lo + m·(lo′ − lo), and hi
/// likewise. One wild batch then counts for little. (Jacob et al. 2018, section 3.1.)
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MovingAverage {
    momentum: f32,
    ends: Option<(f32, f32)>,
}

impl MovingAverage {
    /// `momentum` is the part m of the way, more than 0 and at most 1.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] for any other.
    pub fn new(momentum: f32) -> Result<Self> {
        if momentum > 0.0 && momentum <= 1.0 {
            let ends = None;
            return Ok(Self { momentum, ends });
        }
        Err(Error::InvalidSetting {
            what: "the momentum",
            value: momentum.to_string(),
            allowed: "it must be more than 0 and at most 1",
        })
    }
}

impl Observer for MovingAverage {
    fn observe(&mut self, x: &[f32]) -> Result<()> {
        let Some((lo, hi)) = ends(x)? else {
            return Ok(());
        };
        // (1 − m)·old + m·new lies between old and new, and cannot overflow as new − old can.
        let m = self.momentum;
        let step =
            |old: f32, new: f32| ((1.0 - m) * old + m * new).clamp(old.min(new), old.max(new));
        self.ends = match self.ends {
            None => Some((lo, hi)),
            Some((old_lo, old_hi)) => Some((step(old_lo, lo), step(old_hi, hi))),
        };
        Ok(())
    }

    fn range(&self) -> Result<(f32, f32)> {
        self.ends.ok_or(Error::Empty)
    }
}

/// How to choose the range: which observer to make for each site.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Method {
    /// [`MinMax`].
    #[default]
    MinMax,
    /// [`MovingAverage`] with this momentum.
    MovingAverage(f32),
    /// The [`Histogram`]'s [`percentile`](Histogram::percentile).
    Percentile(f64),
}

impl Method {
    /// A new observer.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] for a momentum or a percentile that means nothing.
    pub fn observer(self) -> Result<Box<dyn Observer + Send>> {
        Ok(match self {
            Self::MinMax => Box::new(MinMax::default()),
            Self::MovingAverage(momentum) => Box::new(MovingAverage::new(momentum)?),
            Self::Percentile(part) => Box::new(histogram::Percentile::new(part)?),
        })
    }
}

/// The smallest and the largest value; none of no values.
fn ends(x: &[f32]) -> Result<Option<(f32, f32)>> {
    match x {
        [] => Ok(None),
        x => Kernel::best().min_max(x).map(Some),
    }
}

//! The scale with the least squared error.

use crate::error::{Error, Result};
use crate::qparams::{QParams, QRange};

/// Ends that are tried, as parts of the largest magnitude: 1/100, 2/100, …, 1.
const TRIALS: u32 = 100;

/// Of the symmetric pairs whose codes reach a hundredth, two hundredths and so on of the largest
/// magnitude, the one with which Σ(x − x̂)² is least; the widest of several.
///
/// With few codes it pays to let the largest values saturate, for then the others have smaller
/// steps. Chapters 8 and 11.
///
/// # Errors
/// [`Error::Empty`] without values, [`Error::NotFinite`] with the index of a NaN or infinity, and
/// as [`QParams::symmetric`].
// ANCHOR: least_squares
pub fn least_squares(x: &[f32], range: QRange) -> Result<QParams> {
    let Some((lo, hi)) = super::ends(x)? else {
        return Err(Error::Empty);
    };
    let largest = hi.max(-lo);
    let squared = |pair: QParams| -> f64 {
        let error = |x: &f32| f64::from(x - pair.dequantize(pair.code(*x)));
        x.iter().map(|x| error(x).powi(2)).sum()
    };
    let mut best = QParams::symmetric(largest, range)?;
    let mut least = squared(best);
    for part in (1..TRIALS).rev() {
        let pair = QParams::symmetric(largest * (part as f32 / TRIALS as f32), range)?;
        let error = squared(pair);
        if error < least {
            (best, least) = (pair, error);
        }
    }
    Ok(best)
}
// ANCHOR_END: least_squares

//! What training makes small: softmax cross-entropy and the mean squared error.

use ndarray::{ArrayD, ArrayViewD, Axis};

use super::forward::from_values;
use crate::error::{Error, Result};

/// What the outputs should be, one entry for each sample. Its kind decides the loss.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Classes, counted from 0: the loss is the softmax cross-entropy.
    Labels(Vec<usize>),
    /// Numbers in the outputs' shape: the loss is the mean squared error.
    Values(ArrayD<f32>),
}

impl Targets {
    /// How many samples these are the targets of.
    pub fn len(&self) -> usize {
        match self {
            Self::Labels(labels) => labels.len(),
            Self::Values(values) => values.shape().first().copied().unwrap_or(0),
        }
    }

    /// True if there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The targets of the samples with these indices, each less than [`len`](Self::len).
    pub(super) fn select(&self, samples: &[usize]) -> Self {
        match self {
            Self::Labels(labels) => Self::Labels(samples.iter().map(|&i| labels[i]).collect()),
            Self::Values(values) => Self::Values(values.select(Axis(0), samples)),
        }
    }

    /// The mean loss over a batch of outputs, and its gradient with respect to them.
    ///
    /// # Errors
    /// As [`softmax_cross_entropy`] and [`mean_squared_error`].
    pub fn loss(&self, outputs: ArrayViewD<'_, f32>) -> Result<(f64, ArrayD<f32>)> {
        match self {
            Self::Labels(labels) => softmax_cross_entropy(outputs, labels),
            Self::Values(values) => mean_squared_error(outputs, values.view()),
        }
    }
}

/// −ln of the label's softmax, averaged over the batch, and its gradient (softmax − one-hot)/batch.
///
/// `logits` is `[batch, classes]`. The largest logit of a row is subtracted first, so that no
/// exponential overflows.
///
/// # Errors
/// [`Error::ShapeMismatch`] if there is not one row of logits for each label,
/// [`Error::LabelOutOfRange`] with its index, [`Error::Empty`] for an empty batch.
pub fn softmax_cross_entropy(
    logits: ArrayViewD<'_, f32>,
    labels: &[usize],
) -> Result<(f64, ArrayD<f32>)> {
    let classes = check_logits(&logits, labels)?;
    let mut loss = 0.0;
    let mut gradient = Vec::with_capacity(logits.len());
    for (row, &label) in logits.rows().into_iter().zip(labels) {
        let largest = row.fold(f32::NEG_INFINITY, |m, &x| m.max(x));
        let powers: Vec<f64> = row.iter().map(|x| f64::from(x - largest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        loss += sum.ln() - f64::from(row[label] - largest);
        gradient.extend((0..classes).map(|class| {
            let wanted = if class == label { 1.0 } else { 0.0 };
            ((powers[class] / sum - wanted) / labels.len() as f64) as f32
        }));
    }
    let gradient = from_values(logits.shape(), gradient);
    Ok((loss / labels.len() as f64, gradient))
}

/// The mean of (output − target)² over all elements, and its gradient 2·(output − target)/elements.
///
/// # Errors
/// [`Error::ShapeMismatch`] if the shapes differ, [`Error::Empty`] for an empty batch.
pub fn mean_squared_error(
    outputs: ArrayViewD<'_, f32>,
    targets: ArrayViewD<'_, f32>,
) -> Result<(f64, ArrayD<f32>)> {
    if outputs.shape() != targets.shape() {
        return Err(Error::ShapeMismatch {
            what: "the outputs",
            expected: targets.shape().to_vec(),
            actual: outputs.shape().to_vec(),
        });
    }
    if outputs.is_empty() {
        return Err(Error::Empty);
    }
    let errors = &outputs - &targets;
    let squares: f64 = errors.iter().map(|&e| f64::from(e) * f64::from(e)).sum();
    let count = errors.len() as f32;
    Ok((
        squares / errors.len() as f64,
        errors.mapv_into(|e| 2.0 * e / count),
    ))
}

/// How many rows have their largest logit at their label. A tie counts for the first of its classes, and a row with a NaN is
/// wrong.
///
/// # Errors
/// As [`softmax_cross_entropy`].
pub fn count_correct(logits: ArrayViewD<'_, f32>, labels: &[usize]) -> Result<usize> {
    check_logits(&logits, labels)?;
    let rows = logits.rows();
    let correct = rows.into_iter().zip(labels).filter(|(row, label)| {
        let wanted = row[**label];
        let beaten = |(class, &x): (usize, &f32)| {
            class == **label || x < wanted || (class > **label && x == wanted)
        };
        row.iter().enumerate().all(beaten)
    });
    Ok(correct.count())
}

/// The number of classes, if there is one row of logits for each label.
fn check_logits(logits: &ArrayViewD<'_, f32>, labels: &[usize]) -> Result<usize> {
    let classes = logits.shape().last().copied().unwrap_or(0);
    if logits.shape() != [labels.len(), classes] {
        return Err(Error::ShapeMismatch {
            what: "the logits",
            expected: vec![labels.len(), classes],
            actual: logits.shape().to_vec(),
        });
    }
    if logits.is_empty() {
        return Err(Error::Empty);
    }
    match labels.iter().position(|&label| label >= classes) {
        None => Ok(classes),
        Some(index) => Err(Error::LabelOutOfRange {
            index,
            label: labels[index],
            classes,
        }),
    }
}

//! Work on many elements, divided among threads so that their number changes no bit.
//!
//! Elements are taken in runs of a fixed length, whole rows of them. Sums are made for each run and
//! then added in order. What fits one run does not wake a second thread.

use std::ops::Range;

use rayon::prelude::*;

/// The elements of a run: 64 KiB, or a row if that is longer.
const ELEMENTS: usize = 1 << 14;

fn length(row: usize) -> usize {
    (ELEMENTS / row.max(1)).max(1) * row.max(1)
}

/// Hands each run of whole rows to `f`.
pub(super) fn each(values: &mut [f32], row: usize, f: impl Fn(&mut [f32]) + Send + Sync) {
    match values.len() <= length(row) {
        true => f(values),
        false => values.par_chunks_mut(length(row)).for_each(f),
    }
}

/// Hands each run of `values` to `f`, with the run of `others` in the same place.
pub(super) fn each_with(
    values: &mut [f32],
    others: &[f32],
    row: usize,
    f: impl Fn(&mut [f32], &[f32]) + Send + Sync,
) {
    if values.len() <= length(row) {
        return f(values, others);
    }
    let runs = values.par_chunks_mut(length(row));
    let runs = runs.zip(others.par_chunks(length(row)));
    runs.for_each(|(values, others)| f(values, others));
}

/// One sum for each of `channels` over the rows of `[…, channels]`, which has so many elements: `add`
/// adds to the sums what stands at a row's place.
pub(super) fn channel_sums(
    elements: usize,
    channels: usize,
    add: impl Fn(&mut [f64], Range<usize>) + Sync,
) -> Vec<f64> {
    let length = length(channels);
    let of_run = |run: usize| {
        let mut sums = vec![0.0; channels];
        let end = elements.min((run + 1) * length);
        for row in (run * length..end).step_by(channels.max(1)) {
            add(&mut sums, row..row + channels);
        }
        sums
    };
    let runs = elements.div_ceil(length);
    let parts: Vec<_> = match runs {
        0 | 1 => (0..runs).map(of_run).collect(),
        _ => (0..runs).into_par_iter().map(of_run).collect(),
    };
    let mut sums = vec![0.0; channels];
    for part in parts {
        let sums = sums.iter_mut().zip(part);
        sums.for_each(|(sum, part)| *sum += part);
    }
    sums
}

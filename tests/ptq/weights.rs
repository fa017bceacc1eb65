//! Weights as codes: how far they move, what they cost, and that nothing else changes.

use fewer_bits::nn::{Layer, fold_batch_norm};
use fewer_bits::ptq::{WeightsOnly, weight_scheme};
use ndarray::ArrayViewD;
use proptest::prelude::*;

use super::{network, strategies::rng};

fn largest(w: ArrayViewD<'_, f32>) -> f32 {
    w.iter().fold(0.0, |m, w| m.max(w.abs()))
}

proptest! {
    /// Half a step is half of the largest weight, of the output channel or the tensor, over the
    /// largest code; the slack is that of chapter 3, 5n·u steps with n < 2⁸.
    // ANCHOR: no_weight_moves_by_more_than_half_a_step
    #[test]
    fn no_weight_moves_by_more_than_half_a_step(
        mut rng in rng(), bits in 2u32..=8, per_channel: bool,
    ) {
        let (network, _) = network(&mut rng, 12);
        let folded = fold_batch_norm(&network).unwrap();
        let scheme = weight_scheme(bits, per_channel).unwrap();
        let quantized = WeightsOnly::new(&network, scheme).unwrap();
        let codes = (1 << (bits - 1)) - 1;
        let layers = folded.layers().zip(quantized.network().layers());
        for ((_, before), (_, after)) in layers {
            let (Some(w), Some(q)) = (before.weight(), after.weight()) else {
                prop_assert_eq!(before, after);
                continue;
            };
            let all = largest(w.view());
            for (w, q) in w.outer_iter().zip(q.outer_iter()) {
                let most = if per_channel { largest(w.view()) } else { all };
                let half_a_step = most / codes as f32 / 2.0;
                for (w, q) in w.iter().zip(q) {
                    prop_assert!((w - q).abs() <= half_a_step * 1.0002, "{w} {q}");
                }
            }
            prop_assert_eq!(bias(before), bias(after));
        }
    }
    // ANCHOR_END: no_weight_moves_by_more_than_half_a_step
}

fn bias(layer: &Layer) -> Vec<f32> {
    let parameters = layer.parameters().into_iter().skip(1);
    parameters
        .flat_map(|(_, p)| p.iter().copied().collect::<Vec<_>>())
        .collect()
}

//! What sharing a pair among fewer values can and cannot do.

use crate::strategies::*;
use fewer_bits::qtensor::choose_params;
use fewer_bits::{Granularity, Scheme};
use ndarray::{Array2, Axis};
use proptest::collection::vec;
use proptest::prelude::*;

/// A matrix of up to 8 × 8 values of any size, zeros among them.
fn any_matrix() -> impl Strategy<Value = Array2<f32>> {
    let element = prop_oneof![4 => -10.0f32..10.0, 1 => Just(0.0), 1 => tame_float()];
    (1usize..9, 1usize..9).prop_flat_map(move |(rows, columns)| {
        vec(element.clone(), rows * columns)
            .prop_map(move |values| Array2::from_shape_vec((rows, columns), values).unwrap())
    })
}

// The values of a group are values of its row, those of a row are values of the tensor. So the
// interval that a finer pair covers, widened to contain 0, lies inside that of the coarser pair; in
// f32 too, its width is not larger, and neither is width / steps: subtraction and division round
// monotonically. Where all values of a group are 0 the scale is 1 by convention, and there is no
// error.
// ANCHOR: a_finer_granularity_never_has_a_larger_scale
proptest! {
    #[test]
    fn a_finer_granularity_never_has_a_larger_scale(
        x in any_matrix(),
        scheme in any_scheme(&[1]),
        size in 1usize..9,
    ) {
        let scales = |granularity| -> Vec<f32> {
            let scheme = Scheme { granularity, ..scheme };
            let params = choose_params(x.view().into_dyn(), scheme).unwrap();
            params.iter().map(|pair| pair.scale()).collect()
        };
        let tensor = scales(Granularity::PerTensor)[0];
        let rows = scales(Granularity::PerChannel { axis: 0 });
        let groups = scales(Granularity::PerGroup { axis: 1, size });

        let mut group = groups.iter();
        for (row, &row_scale) in x.outer_iter().zip(&rows) {
            let row_is_zero = row.iter().all(|&v| v == 0.0);
            prop_assert!(row_scale <= tensor || row_is_zero);
            for values in row.axis_chunks_iter(Axis(0), size) {
                let &group_scale = group.next().unwrap();
                let group_is_zero = values.iter().all(|&v| v == 0.0);
                prop_assert!(group_scale <= row_scale || group_is_zero);
            }
        }
        prop_assert!(group.next().is_none());
    }
}
// ANCHOR_END: a_finer_granularity_never_has_a_larger_scale

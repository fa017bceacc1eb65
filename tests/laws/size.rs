//! What a tensor of codes weighs.

use fewer_bits::{Granularity, QRange, QTensor, Scheme, Symmetry};
use ndarray::ArrayD;
use proptest::prelude::*;

// ANCHOR: codes_take_as_many_bytes_as_their_bits
proptest! {
    #[test]
    fn codes_take_as_many_bytes_as_their_bits(
        values in proptest::collection::vec(-3.0f32..3.0, 1..100),
        bits in prop_oneof![Just(4u32), Just(8), Just(16)],
    ) {
        let scheme = Scheme {
            range: QRange::signed(bits).unwrap(),
            symmetry: Symmetry::Symmetric,
            granularity: Granularity::PerTensor,
        };
        let x = ArrayD::from_shape_vec(vec![values.len()], values).unwrap();

        let quantized = QTensor::quantize(x.view(), scheme).unwrap();

        prop_assert_eq!(quantized.code_bytes(), (x.len() * bits as usize).div_ceil(8));
    }
}
// ANCHOR_END: codes_take_as_many_bytes_as_their_bits

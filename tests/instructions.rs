//! The models of the instructions in chapter 16 are what they say, and so are its claims about them.

#[path = "../book/experiments/support/instructions.rs"]
#[allow(unreachable_pub)] // an experiment uses it, too
mod instructions;

use fewer_bits::Isa;
use fewer_bits::gemm::{Activations, Kernel, PackedWeights};
use instructions::*;
use ndarray::Array2;
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = ([u8; 32], [i8; 32])> {
    let a = prop_oneof![Just(0), Just(255), any::<u8>()];
    let w = prop_oneof![Just(-128), Just(127), any::<i8>()];
    (proptest::array::uniform32(a), proptest::array::uniform32(w))
}

/// A register whose first two bytes are these, and whose others are 0.
fn padded<T: Copy + Default>([first, second]: [T; 2]) -> [T; 32] {
    let mut register = [T::default(); 32];
    (register[0], register[1]) = (first, second);
    register
}

// ANCHOR: a_pair_never_saturates_exactly_when_it_is_safe
#[test]
fn a_pair_never_saturates_exactly_when_it_is_safe() {
    for w0 in i8::MIN..=i8::MAX {
        for w1 in i8::MIN..=i8::MAX {
            // Sums are linear in each activation: largest and smallest at the ends.
            let corners = [[0, 0], [0, 255], [255, 0], [255, 255]];
            let w = [w0, w1];
            let exact = |a| dot_bare(&padded(a), &padded(w)) == dot(&a, &w);
            let exact = corners.into_iter().all(exact);
            assert_eq!(exact, is_safe(w), "{w0} {w1}");
        }
    }
}
// ANCHOR_END: a_pair_never_saturates_exactly_when_it_is_safe

// ANCHOR: masked_pairs_never_saturate
#[test]
fn masked_pairs_never_saturate_and_lack_the_magnitudes_of_what_is_negative() {
    let mut products = Vec::new();
    for a in i8::MIN..=i8::MAX {
        for w in i8::MIN..=i8::MAX {
            let (magnitude, mask) = (a.unsigned_abs(), a >> 7);
            let product = i32::from(magnitude) * i32::from(w ^ mask);
            let lacks = if a < 0 { i32::from(magnitude) } else { 0 };
            assert_eq!(product + lacks, i32::from(a) * i32::from(w), "{a} {w}");
            products.push(product);
        }
    }
    let (least, largest) = (
        products.iter().min().unwrap(),
        products.iter().max().unwrap(),
    );
    assert_eq!((2 * least, 2 * largest), (i16::MIN.into(), 32_512));
}
// ANCHOR_END: masked_pairs_never_saturate

proptest! {
    #[test]
    fn widening_and_vnni_are_exact((a, w) in bytes()) {
        prop_assert_eq!(dot_widened(&a, &w), dot(&a, &w));
        prop_assert_eq!(dot_vnni(&a, &w), dot(&a, &w));
    }

    #[test]
    fn the_model_is_what_this_cpu_does((a, w) in bytes()) {
        if let Some(real) = real_vpmaddubsw(a, w) {
            prop_assert_eq!(vpmaddubsw(a, w), real);
        }
    }

    #[test]
    fn tiles_are_matrices_and_the_model_is_what_this_cpu_does(
        a in proptest::array::uniform16(proptest::array::uniform32(any::<[u8; 2]>())),
        w in proptest::array::uniform16(proptest::array::uniform32(any::<[i8; 2]>())),
        before in any::<i32>(),
    ) {
        let a = a.map(|row| <[u8; 64]>::try_from(row.as_flattened()).unwrap());
        let w = w.map(|line| <[i8; 64]>::try_from(line.as_flattened()).unwrap());
        let sums = tdpbusd([[before; 16]; 16], a, w);
        let columns = |column: usize| -> Vec<i8> {
            (0..64).map(|depth| w[depth / 4][4 * column + depth % 4]).collect()
        };
        for (row, sums) in sums.iter().enumerate() {
            for (column, sum) in sums.iter().enumerate() {
                prop_assert_eq!(*sum, before.wrapping_add(dot(&a[row], &columns(column))));
            }
        }
        if let Some(amx) = Kernel::new(Isa::Amx) {
            let a = Array2::from_shape_fn((16, 64), |(row, depth)| a[row][depth]);
            let w = Array2::from_shape_fn((64, 16), |(depth, column)| columns(column)[depth]);
            let packed = PackedWeights::new(amx, w.view()).unwrap();
            let product = packed.product(Activations::u8(a.view(), 0)).unwrap();
            let model = |(row, column): (usize, usize)| sums[row][column].wrapping_sub(before);
            prop_assert_eq!(product, Array2::from_shape_fn((16, 16), model));
        }
    }

    #[test]
    fn seven_bits_on_either_side_are_exact((a, w) in bytes()) {
        let (a7, w7) = (a.map(|a| a / 2), w.map(|w| w / 2));
        prop_assert_eq!(dot_bare(&a7, &w), dot(&a7, &w));
        prop_assert_eq!(dot_bare(&a, &w7), dot(&a, &w7));
    }
}

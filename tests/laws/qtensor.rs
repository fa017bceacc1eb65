//! The laws of quantized tensors: each is what the scalar definition gives, element by element.

use crate::strategies::*;
use fewer_bits::qtensor::choose_params;
use fewer_bits::{Codes, Granularity, QParams, QTensor, Scheme, Symmetry};
use ndarray::{ArrayD, ArrayViewD, Axis, Dimension, IxDyn, Slice};
use proptest::prelude::*;
use std::collections::HashMap;

/// The definition: which elements share a pair, said with indices. Elements with equal keys do.
fn key(index: &[usize], granularity: Granularity) -> Vec<usize> {
    match granularity {
        Granularity::PerTensor => vec![],
        Granularity::PerChannel { axis } => vec![index[axis]],
        Granularity::PerGroup { axis, size } => {
            let mut key = index.to_vec();
            key[axis] /= size;
            key
        }
    }
}

/// The smallest and largest value of each group.
fn naive_ends(x: ArrayViewD<f32>, granularity: Granularity) -> HashMap<Vec<usize>, (f32, f32)> {
    let mut ends = HashMap::new();
    for (index, &value) in x.indexed_iter() {
        let (lo, hi) = ends
            .entry(key(index.slice(), granularity))
            .or_insert((value, value));
        (*lo, *hi) = (lo.min(value), hi.max(value));
    }
    ends
}

/// The pair of each element.
fn naive_params(x: ArrayViewD<f32>, scheme: Scheme) -> ArrayD<QParams> {
    let ends = naive_ends(x.view(), scheme.granularity);
    ArrayD::from_shape_fn(x.raw_dim(), |index: IxDyn| {
        let (lo, hi) = ends[&key(index.slice(), scheme.granularity)];
        match scheme.symmetry {
            Symmetry::Asymmetric => QParams::affine(lo, hi, scheme.range).unwrap(),
            Symmetry::Symmetric => QParams::symmetric((-lo).max(hi), scheme.range).unwrap(),
        }
    })
}

fn agrees_with_the_definition(x: ArrayViewD<f32>, scheme: Scheme) -> Result<(), TestCaseError> {
    let quantized = QTensor::quantize(x.view(), scheme).unwrap();
    let restored = quantized.dequantize();
    prop_assert_eq!(quantized.shape(), x.shape());
    prop_assert_eq!(restored.shape(), x.shape());
    prop_assert_eq!(quantized.granularity(), scheme.granularity);
    let pairs = naive_params(x.view(), scheme);
    let codes = quantized.to_codes();
    prop_assert_eq!(codes.len(), x.len());
    // `iter` walks each view in row-major order of its indices, however it lies in memory.
    for (((x, pair), code), y) in x.iter().zip(&pairs).zip(codes).zip(&restored) {
        prop_assert_eq!(code, pair.quantize(*x).unwrap());
        prop_assert_eq!(*y, pair.dequantize(code));
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_quantized_tensor_is_what_the_scalar_definition_gives_at_every_granularity(
        (x, scheme) in tensor_and_scheme(),
    ) {
        agrees_with_the_definition(x.view(), scheme)?;
    }

    #[test]
    fn the_layout_in_memory_does_not_matter(
        (x, scheme) in tensor_and_scheme(),
        order in Just([0usize, 1, 2, 3]).prop_shuffle(),
        step in 1isize..4,
        reversed in any::<bool>(),
    ) {
        // A view of the same shape as x, but transposed, strided or reversed in memory.
        let order: Vec<usize> = order.into_iter().filter(|&a| a < x.ndim()).collect();
        let mut shape: Vec<usize> = order.iter().map(|&a| x.shape()[a]).collect();
        if let Some(last) = shape.last_mut() {
            *last *= step as usize;
        }
        let mut memory = ArrayD::from_elem(&shape[..], f32::NAN);
        let step = if reversed { -step } else { step };
        if let Some(last) = shape.len().checked_sub(1) {
            memory.slice_axis_inplace(Axis(last), Slice::new(0, None, step));
        }
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        memory.view_mut().permuted_axes(back.clone()).assign(&x);
        let view = memory.view().permuted_axes(back);
        prop_assert_eq!(view.shape(), x.shape());

        agrees_with_the_definition(view.view(), scheme)?;
        prop_assert_eq!(
            QTensor::quantize(view, scheme).unwrap(),
            QTensor::quantize(x.view(), scheme).unwrap()
        );
    }

    #[test]
    fn quantizing_with_the_chosen_pairs_is_quantizing((x, scheme) in tensor_and_scheme()) {
        let params = choose_params(x.view(), scheme).unwrap();
        let pairs: usize = scheme.granularity.params_shape(x.shape()).unwrap().iter().product();
        prop_assert_eq!(params.len(), pairs);
        prop_assert_eq!(
            QTensor::quantize_with(x.view(), scheme.granularity, params).unwrap(),
            QTensor::quantize(x.view(), scheme).unwrap()
        );
    }

    #[test]
    fn a_restored_tensor_quantizes_to_the_same_codes((x, scheme) in tensor_and_scheme()) {
        let once = QTensor::quantize(x.view(), scheme).unwrap();
        let restored = once.dequantize();
        let params = once.params().to_vec();
        let twice = QTensor::quantize_with(restored.view(), scheme.granularity, params).unwrap();
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn codes_are_stored_in_the_smallest_type((x, scheme) in tensor_and_scheme()) {
        let quantized = QTensor::quantize(x.view(), scheme).unwrap();
        let bits = 32 - scheme.range.steps().leading_zeros();
        let signed = scheme.range.min() < 0;
        let as_expected = match quantized.codes() {
            Codes::Packed4(_) => bits == 4,
            Codes::I8(_) => bits <= 8 && bits != 4 && signed,
            Codes::U8(_) => bits <= 8 && bits != 4 && !signed,
            Codes::I16(_) => bits == 16 && signed,
            Codes::U16(_) => bits == 16 && !signed,
        };
        prop_assert!(as_expected, "{:?} holds {}", quantized.codes(), scheme.range);
        let bytes = match bits {
            16 => 2 * x.len(),
            4 => x.len().div_ceil(2),
            _ => x.len(),
        };
        prop_assert_eq!(quantized.code_bytes(), bytes);
    }

    // Any floats, shapes (empty axes too) and schemes (axes that do not exist, groups of size 0),
    // and any number of pairs.
    #[test]
    fn nothing_panics(
        x in any_tensor(any_float().boxed(), 0..4),
        scheme in any_scheme(&[1; 6]),
        size in 0usize..4,
        params in proptest::collection::vec(any_params(), 0..4),
    ) {
        let scheme = match scheme.granularity {
            Granularity::PerGroup { axis, .. } => {
                Scheme { granularity: Granularity::PerGroup { axis, size }, ..scheme }
            }
            _ => scheme,
        };
        if let Ok(quantized) = QTensor::quantize(x.view(), scheme) {
            prop_assert!(quantized.dequantize().iter().all(|y| y.is_finite()));
        }
        if let Ok(quantized) = QTensor::quantize_with(x.view(), scheme.granularity, params) {
            prop_assert!(quantized.dequantize().iter().all(|y| y.is_finite()));
        }
    }
}

//! Every kernel that this machine can run gives what the scalar definition gives.

use crate::strategies::*;
use fewer_bits::elementwise::{Code, Kernel};
use fewer_bits::{Error, Isa, QParams, QRange};
use proptest::collection::vec;
use proptest::prelude::*;

/// Three blocks of 32 elements, and one to each side: every length that a loop may stumble over.
const LENGTHS: std::ops::RangeInclusive<usize> = 0..=97;

/// Up to nine blocks: what reads four places in turns needs four at least.
const MANY: std::ops::RangeInclusive<usize> = 0..=9 * 32;

/// Where a piece of a buffer starts: at every distance from a boundary of 32 elements.
const STARTS: std::ops::Range<usize> = 0..33;

/// Values around the codes of one pair, the ugly included, and a piece of them that starts anywhere,
/// so that nothing is aligned.
fn params_and_values() -> impl Strategy<Value = (QParams, Vec<f32>, usize)> {
    (any_params(), STARTS, LENGTHS).prop_flat_map(|(p, start, len)| {
        let steps = 1.2 * p.range().steps() as f32;
        let near = (-steps..steps).prop_map(move |k| k * p.scale());
        let half_way = (-steps..steps).prop_map(move |k| (k.round() + 0.5) * p.scale());
        let value = prop_oneof![4 => near, 2 => half_way, 2 => not_nan()];
        (Just(p), vec(value, start + len), Just(start))
    })
}

/// What each kernel makes of `x[start..]` in storage of type `T` equals the scalar definition.
fn codes_are_the_definition<T: Code>(
    (p, x, start): &(QParams, Vec<f32>, usize),
) -> Result<(), TestCaseError> {
    let x = &x[*start..];
    let expected: Vec<i32> = x.iter().map(|&x| p.quantize(x).unwrap()).collect();
    for kernel in kernels() {
        // The outputs start anywhere, too. What lies around them must stay as it is.
        let inside = start + 1..start + 1 + x.len();
        let mut out = vec![T::from_code(7); inside.end + 1];
        let outside = (0..out.len()).filter(|i| !inside.contains(i));
        kernel.quantize(*p, x, &mut out[inside.clone()]).unwrap();
        let codes: Vec<i32> = out[inside.clone()].iter().map(|c| c.code()).collect();
        prop_assert_eq!(&codes, &expected, "{}", kernel.isa());
        prop_assert!(outside.clone().all(|i| out[i] == T::from_code(7)));

        let mut values = vec![f32::NAN; out.len()];
        kernel
            .dequantize(*p, &out[inside.clone()], &mut values[inside.clone()])
            .unwrap();
        for (value, &code) in values[inside.clone()].iter().zip(&expected) {
            prop_assert_eq!(
                value.to_bits(),
                p.dequantize(code).to_bits(),
                "{}",
                kernel.isa()
            );
        }
        for i in outside {
            prop_assert!(values[i].is_nan());
        }
    }
    Ok(())
}

fn fits<T: Code>(range: QRange) -> bool {
    T::STORAGE.contains(range.min()) && T::STORAGE.contains(range.max())
}

// ANCHOR: each_kernel_agrees_with_the_scalar_definition
proptest! {
    #[test]
    fn each_kernel_agrees_with_the_scalar_definition(
        case in params_and_values(),
    ) {
        let range = case.0.range();
        if fits::<i8>(range) {
            codes_are_the_definition::<i8>(&case)?;
        }
        if fits::<u8>(range) {
            codes_are_the_definition::<u8>(&case)?;
        }
        if fits::<i16>(range) {
            codes_are_the_definition::<i16>(&case)?;
        }
        if fits::<u16>(range) {
            codes_are_the_definition::<u16>(&case)?;
        }
    }
}
// ANCHOR_END: each_kernel_agrees_with_the_scalar_definition

proptest! {
    // The storage may hold codes that are not of the range; they are dequantized all the same.
    #[test]
    fn each_kernel_dequantizes_every_code_that_the_storage_holds(
        p in any_params(),
        bytes in vec(any::<i8>(), LENGTHS),
        words in vec(any::<u16>(), LENGTHS),
    ) {
        for kernel in kernels() {
            let mut values = vec![0.0; bytes.len()];
            kernel.dequantize(p, &bytes, &mut values).unwrap();
            for (value, &code) in values.iter().zip(&bytes) {
                prop_assert_eq!(value.to_bits(), p.dequantize(code.into()).to_bits());
            }
            let mut values = vec![0.0; words.len()];
            kernel.dequantize(p, &words, &mut values).unwrap();
            for (value, &code) in values.iter().zip(&words) {
                prop_assert_eq!(value.to_bits(), p.dequantize(code.into()).to_bits());
            }
        }
    }

    #[test]
    fn each_kernel_finds_the_smallest_and_the_largest_value(
        x in vec(any_float().prop_filter("finite", |x| x.is_finite()), MANY),
        start in STARTS,
    ) {
        let x = &x[start.min(x.len())..];
        prop_assume!(!x.is_empty());
        let mut sorted = x.to_vec();
        sorted.sort_by(f32::total_cmp);
        let ends = (sorted[0], sorted[x.len() - 1]);
        for kernel in kernels() {
            let found = kernel.min_max(x).unwrap();
            prop_assert_eq!(found, ends);
        }
    }

    #[test]
    fn each_kernel_names_the_first_value_that_it_refuses(
        x in vec(-1.0f32..1.0, MANY),
        places in vec((any::<prop::sample::Index>(), prop::sample::select(vec![
            f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY,
        ])), 0..4),
    ) {
        prop_assume!(!x.is_empty());
        let mut x = x;
        places.iter().for_each(|(place, value)| {
            let index = place.index(x.len());
            x[index] = *value;
        });
        let p = QParams::affine(-1.0, 1.0, QRange::I8).unwrap();
        let nan = x.iter().position(|x| x.is_nan());
        let not_finite = x.iter().position(|x| !x.is_finite());
        for kernel in kernels() {
            let quantized = kernel.quantize(p, &x, &mut vec![0i8; x.len()]);
            prop_assert_eq!(quantized, nan.map_or(Ok(()), |index| Err(Error::NotANumber { index })));
            match (kernel.min_max(&x), not_finite) {
                (Ok((lo, hi)), None) => prop_assert!(-1.0 <= lo && lo <= hi && hi < 1.0),
                (Err(Error::NotFinite { index, value }), Some(first)) => {
                    prop_assert_eq!(index, first);
                    prop_assert_eq!(value.to_bits(), x[first].to_bits());
                }
                (found, expected) => prop_assert!(false, "{found:?}, but first at {expected:?}"),
            }
        }
    }
}

#[test]
fn zero_has_one_sign_as_an_end() {
    for x in [
        &[-0.0][..],
        &[-0.0, 0.0],
        &[0.0, -0.0],
        &[-0.0, 5.0],
        &[-5.0, -0.0],
        &[-0.0; 70],
    ] {
        for kernel in kernels() {
            let (lo, hi) = kernel.min_max(x).unwrap();
            assert!(lo.to_bits() != (-0.0f32).to_bits() && hi.to_bits() != (-0.0f32).to_bits());
        }
    }
}

/// Large enough for stores past the caches, and not a whole number of blocks.
#[test]
fn large_outputs_are_written_like_small_ones() {
    const LEN: usize = (7 << 20) + 5;
    let p = QParams::affine(-1.0, 2.0, QRange::U8).unwrap();
    let x: Vec<f32> = (0..LEN).map(|i| (i % 1021) as f32 / 300.0 - 1.2).collect();
    let expected: Vec<i32> = x.iter().map(|&x| p.quantize(x).unwrap()).collect();
    for kernel in kernels() {
        for start in [0, 1, 31] {
            let mut bytes = vec![0u8; LEN];
            kernel
                .quantize(p, &x[start..], &mut bytes[start..])
                .unwrap();
            let same = |(code, expected): (&u8, &i32)| i32::from(*code) == *expected;
            assert!(bytes.iter().zip(&expected).skip(start).all(same));
            let mut words = vec![0i16; LEN];
            kernel
                .quantize(p, &x[start..], &mut words[start..])
                .unwrap();
            let same = |(code, expected): (&i16, &i32)| i32::from(*code) == *expected;
            assert!(words.iter().zip(&expected).skip(start).all(same));
            let mut values = vec![0.0f32; LEN];
            kernel
                .dequantize(p, &bytes[start..], &mut values[start..])
                .unwrap();
            let same = |(value, code): (&f32, &i32)| *value == p.dequantize(*code);
            assert!(values.iter().zip(&expected).skip(start).all(same));
        }
    }
}

#[test]
fn the_best_kernel_is_the_first_that_is_available() {
    assert_eq!(Kernel::best().isa(), kernels()[0].isa());
    assert_eq!(kernels().last().unwrap().isa(), Isa::Portable);
    for isa in Isa::ALL {
        assert!(Kernel::new(isa).is_none_or(|kernel| kernel.isa() == isa));
    }
}

/// The machine's features decide what the other laws of this file have tried.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_machine_with_avx2_has_the_avx2_kernel() {
    let has =
        std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
    assert_eq!(Kernel::new(Isa::Avx2).is_some(), has);
}

#[test]
fn each_instruction_set_is_read_by_its_name() {
    for isa in Isa::ALL {
        assert_eq!(isa.to_string().parse(), Ok(isa));
    }
    let name = "avx3".to_owned();
    let error = "avx3".parse::<Isa>().unwrap_err();
    assert!(
        Isa::ALL
            .iter()
            .all(|isa| error.to_string().contains(isa.name()))
    );
    assert_eq!(error, Error::UnknownIsa { name });
}

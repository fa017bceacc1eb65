//! The laws of two codes in one byte.

use fewer_bits::{Error, Packed4, QRange};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Ranges that four bits hold, with codes of theirs.
fn range_and_codes() -> impl Strategy<Value = (QRange, Vec<i32>)> {
    let ranges = (2..=4).flat_map(|bits| {
        [
            QRange::signed(bits).unwrap(),
            QRange::unsigned(bits).unwrap(),
            QRange::narrow(bits).unwrap(),
        ]
    });
    select(ranges.collect::<Vec<_>>())
        .prop_flat_map(|range| (Just(range), vec(range.min()..=range.max(), 0..70)))
}

proptest! {
    #[test]
    fn packing_loses_nothing((range, codes) in range_and_codes()) {
        let packed = Packed4::from_codes(range, codes.iter().copied()).unwrap();
        prop_assert_eq!(packed.len(), codes.len());
        prop_assert_eq!(packed.is_empty(), codes.is_empty());
        prop_assert_eq!(packed.codes().len(), codes.len());
        prop_assert_eq!(packed.codes().collect::<Vec<_>>(), codes);
    }

    // The first code in the low half; what is left over is 0, so equal codes are equal bytes.
    #[test]
    fn two_codes_share_a_byte((range, codes) in range_and_codes()) {
        let packed = Packed4::from_codes(range, codes.iter().copied()).unwrap();
        let bytes: Vec<u8> = codes
            .chunks(2)
            .map(|pair| {
                let half = |i: usize| pair.get(i).map_or(0, |&code| code.rem_euclid(16) as u8);
                half(1) * 16 + half(0)
            })
            .collect();
        prop_assert_eq!(packed.bytes(), &bytes[..]);
    }

    #[test]
    fn a_code_outside_its_range_is_refused(
        (range, codes) in range_and_codes(),
        place in any::<proptest::sample::Index>(),
        outside in 1i32..1000,
        above in any::<bool>(),
    ) {
        let index = place.index(codes.len() + 1);
        let code = if above { range.max() + outside } else { range.min() - outside };
        let mut codes = codes;
        codes.insert(index, code);
        let (min, max) = (range.min(), range.max());
        let error = Packed4::from_codes(range, codes).unwrap_err();
        prop_assert!(error.to_string().contains(&code.to_string()));
        prop_assert_eq!(error, Error::CodeOutOfRange { index, code, min, max });
    }
}

#[test]
fn a_range_of_more_than_four_bits_is_refused() {
    for (range, storage) in [
        (QRange::U8, QRange::U4),
        (QRange::I8, QRange::I4),
        (QRange::signed(5).unwrap(), QRange::I4),
        (QRange::unsigned(5).unwrap(), QRange::U4),
    ] {
        let error = Packed4::from_codes(range, []).unwrap_err();
        let expected = Error::RangeDoesNotFit {
            min: range.min(),
            max: range.max(),
            storage_min: storage.min(),
            storage_max: storage.max(),
        };
        assert_eq!(error, expected);
        let message = error.to_string();
        assert!(message.contains(&range.to_string()) && message.contains(&storage.to_string()));
    }
}

//! Convolution and depthwise convolution equal loops that a reader can check by eye.

use fewer_bits::gemm::conv::{Images, PackedFilters, Sliding};
use fewer_bits::gemm::epilogue::Requantize;
use fewer_bits::{Error, QParams, QRange};
use ndarray::{Array4, ArrayView4, ShapeBuilder, s};
use proptest::prelude::*;
use rand::distr::{Distribution, StandardUniform};

use crate::operands::{kernels, uniform};

fn random<T>(seed: u64, shape: [usize; 4]) -> Array4<T>
where
    StandardUniform: Distribution<T>,
{
    let [a, b, c, d] = shape;
    let values = uniform(seed, 1, a * b * c * d);
    values.into_shape_with_order(shape).unwrap()
}

/// Seven loops. What lies outside the image adds nothing.
fn reference<T: Copy + Into<i32>>(
    x: ArrayView4<'_, T>,
    x_zero: i32,
    w: ArrayView4<'_, i8>,
    w_zeros: &[i32],
    sliding: Sliding,
    groups: usize,
) -> Array4<i32> {
    let (batch, height, width, _) = x.dim();
    let (outputs, kernel_height, kernel_width, channels) = w.dim();
    let size = |axis: usize, size: usize, kernel: usize| {
        let padded = size + sliding.padding[axis][0] + sliding.padding[axis][1];
        (padded - (kernel - 1) * sliding.dilation[axis] - 1) / sliding.stride[axis] + 1
    };
    let shape = (
        batch,
        size(0, height, kernel_height),
        size(1, width, kernel_width),
        outputs,
    );
    Array4::from_shape_fn(shape, |(n, oy, ox, output)| {
        let group = output / (outputs / groups);
        let mut sum = 0;
        for ky in 0..kernel_height {
            for kx in 0..kernel_width {
                let y = oy * sliding.stride[0] + ky * sliding.dilation[0];
                let x_at = ox * sliding.stride[1] + kx * sliding.dilation[1];
                let (Some(y), Some(x_at)) = (
                    y.checked_sub(sliding.padding[0][0]),
                    x_at.checked_sub(sliding.padding[1][0]),
                ) else {
                    continue;
                };
                if y >= height || x_at >= width {
                    continue;
                }
                for channel in 0..channels {
                    let x: i32 = x[(n, y, x_at, group * channels + channel)].into() - x_zero;
                    let zero = w_zeros.get(output).copied().unwrap_or(0);
                    sum += x * (i32::from(w[(output, ky, kx, channel)]) - zero);
                }
            }
        }
        sum
    })
}

#[derive(Debug, Clone)]
struct Case {
    images: [usize; 4],
    filters: [usize; 4],
    sliding: Sliding,
    groups: usize,
    with_zeros: bool,
    seed: u64,
    zero: u8,
}

fn case(depthwise: bool) -> impl Strategy<Value = Case> {
    let groups = if depthwise { 1usize..90 } else { 1..4 };
    (
        (0usize..3, 1usize..8, 1usize..8),
        (
            groups,
            if depthwise { 1usize..2 } else { 0..6 },
            if depthwise { 1usize..2 } else { 0..20 },
        ),
        (1usize..4, 1usize..4),
        prop::array::uniform2(1usize..4),
        prop::array::uniform2(prop::array::uniform2(0usize..3)),
        prop::array::uniform2(1usize..3),
        (any::<bool>(), any::<u64>(), any::<u8>()),
    )
        .prop_filter_map(
            "the window does not fit",
            |(size, (groups, channels, outputs), kernel, stride, padding, dilation, rest)| {
                let ((batch, height, width), (with_zeros, seed, zero)) = (size, rest);
                let groups = if outputs == 0 { 1 } else { groups }; // there is one of none
                let sliding = Sliding {
                    stride,
                    padding,
                    dilation,
                };
                sliding
                    .output_size([kernel.0, kernel.1], [height, width])
                    .ok()?;
                Some(Case {
                    images: [batch, height, width, groups * channels],
                    filters: [groups * outputs, kernel.0, kernel.1, channels],
                    sliding,
                    groups,
                    with_zeros,
                    seed,
                    zero,
                })
            },
        )
}

/// On every instruction set, for unsigned and for signed images.
fn all_equal_the_reference(case: &Case) {
    let w: Array4<i8> = random(case.seed, case.filters);
    let zeros: Vec<i32> = match case.with_zeros {
        true => (0..case.filters[0] as i32)
            .map(|j| (j * 37) % 256 - 128)
            .collect(),
        false => Vec::new(),
    };
    let unsigned: Array4<u8> = random(case.seed ^ 1, case.images);
    let signed: Array4<i8> = random(case.seed ^ 2, case.images);
    let signed_zero = (case.zero ^ 0x80) as i8;
    let (sliding, groups) = (case.sliding, case.groups);
    let expected = [
        reference(
            unsigned.view(),
            case.zero.into(),
            w.view(),
            &zeros,
            sliding,
            groups,
        ),
        reference(
            signed.view(),
            signed_zero.into(),
            w.view(),
            &zeros,
            sliding,
            groups,
        ),
    ];
    for kernel in kernels() {
        let filters = PackedFilters::new(kernel, w.view(), &zeros, sliding, groups).unwrap();
        let sums = filters
            .sums(&Images::u8(unsigned.view(), case.zero))
            .unwrap();
        assert!(sums == expected[0], "{} {case:?}", kernel.isa());
        let sums = filters
            .sums(&Images::i8(signed.view(), signed_zero))
            .unwrap();
        assert!(sums == expected[1], "{} {case:?}", kernel.isa());
    }
}

/// Strides, paddings and dilations far beyond the images, of which the output sees little.
fn far_case() -> impl Strategy<Value = Case> {
    let among = |values: &[usize]| prop::sample::select(values.to_vec());
    let padding = among(&[0, 1, 5, 11, 1000, 12_345, 1 << 30]);
    (
        prop::array::uniform2(0usize..6),
        prop::array::uniform2(1usize..5),
        prop::array::uniform2(among(&[1, 2, 3, 9, 1000, 1 << 30])),
        prop::array::uniform2(prop::array::uniform2(padding)),
        prop::array::uniform2(among(&[1, 2, 5, 1000, 1 << 30])),
        prop_oneof![
            Just((1, 3, 17)),
            (2usize..40).prop_map(|groups| (groups, 1, 1))
        ],
        (any::<bool>(), any::<u64>(), any::<u8>()),
    )
        .prop_filter_map(
            "no window fits, or too many do",
            |(size, kernel, stride, padding, dilation, (groups, channels, outputs), rest)| {
                let (with_zeros, seed, zero) = rest;
                let sliding = Sliding {
                    stride,
                    padding,
                    dilation,
                };
                let out = sliding.output_size(kernel, size).ok()?;
                (out[0].saturating_mul(out[1]) < 300).then_some(Case {
                    images: [2, size[0], size[1], groups * channels],
                    filters: [groups * outputs, kernel[0], kernel[1], channels],
                    sliding,
                    groups,
                    with_zeros,
                    seed,
                    zero,
                })
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn windows_may_see_far_beyond_an_image(case in far_case()) {
        all_equal_the_reference(&case);
    }

    #[test]
    fn every_kernel_convolves_like_the_reference(case in case(false)) {
        all_equal_the_reference(&case);
    }

    #[test]
    fn every_kernel_convolves_depthwise_like_the_reference(case in case(true)) {
        all_equal_the_reference(&case);
    }
}

fn one_of(images: [usize; 4], filters: [usize; 4], groups: usize) -> Case {
    Case {
        images,
        filters,
        sliding: Sliding {
            padding: [[1, 1], [1, 1]],
            ..Sliding::default()
        },
        groups,
        with_zeros: false,
        seed: 9,
        zero: 200,
    }
}

#[test]
fn one_pixel_and_no_channels_and_no_outputs_are_convolutions_too() {
    all_equal_the_reference(&one_of([2, 5, 4, 7], [9, 1, 1, 7], 1));
    all_equal_the_reference(&one_of([2, 5, 4, 0], [9, 3, 3, 0], 1));
    all_equal_the_reference(&one_of([2, 5, 4, 7], [0, 3, 3, 7], 1));
    all_equal_the_reference(&one_of([0, 5, 4, 7], [9, 3, 3, 7], 1));
    all_equal_the_reference(&one_of([1, 0, 3, 2], [3, 2, 2, 2], 1));
}

#[test]
fn depthwise_convolutions_of_any_channels_and_width_equal_the_reference() {
    for channels in 1..=70 {
        for width in 1..=9 {
            let mut case = one_of([1, 2, width, channels], [channels, 2, 3, 1], channels);
            case.sliding.stride = [1, 1 + (channels + width) % 3 / 2];
            all_equal_the_reference(&case);
        }
    }
}

#[test]
fn shallow_convolutions_of_any_outputs_and_width_equal_the_reference() {
    for outputs in 1..=35 {
        for width in 1..=9 {
            let mut case = one_of([1, 2, width, 2], [outputs, 2, 3, 2], 1);
            case.sliding.stride = [1, 1 + (outputs + width) % 3 / 2];
            all_equal_the_reference(&case);
        }
    }
}

#[test]
fn what_windows_see_may_be_too_much_to_be_padded_at_once() {
    // 2²⁰ values are kept: three lines of the one image, and not two of the other.
    for (width, height) in [(3_000, 4), (6_000, 1)] {
        let mut case = one_of([1, height, width, 100], [100, 2, 1, 1], 100);
        case.sliding.padding = [[0, 1], [0, 0]];
        case.sliding.stride = [2, 1];
        all_equal_the_reference(&case);
    }
}

#[test]
fn extremes_do_not_saturate() {
    for (x, z) in [(255u8, 0u8), (0, 255)] {
        for (groups, shape) in [(1, [3, 3, 3, 70]), (70, [70, 3, 3, 1])] {
            let (x, w) = (
                Array4::from_elem((1, 4, 4, 70), x),
                Array4::from_elem(shape, -128i8),
            );
            let zeros = vec![127; shape[0]];
            let sliding = Sliding::default();
            let expected = reference(x.view(), z.into(), w.view(), &zeros, sliding, groups);
            for kernel in kernels() {
                let filters =
                    PackedFilters::new(kernel, w.view(), &zeros, sliding, groups).unwrap();
                assert_eq!(filters.sums(&Images::u8(x.view(), z)).unwrap(), expected);
            }
        }
    }
}

#[test]
fn neither_threads_nor_strides_change_a_convolution() {
    for (groups, filters, images, stride) in [
        (1, [40, 3, 3, 24], [2, 20, 19, 24], [1, 1]),
        (2, [40, 3, 3, 12], [2, 20, 19, 24], [1, 1]),
        (150, [150, 3, 3, 1], [2, 20, 19, 150], [1, 1]),
        (150, [150, 3, 3, 1], [2, 20, 19, 150], [2, 1]),
        (1, [40, 3, 3, 1], [4, 20, 19, 1], [2, 1]),
    ] {
        let w: Array4<i8> = random(1, filters);
        let x: Array4<u8> = random(2, images);
        let sliding = Sliding {
            stride,
            padding: [[1, 1], [1, 1]],
            ..Sliding::default()
        };
        let expected = reference(x.view(), 5, w.view(), &[], sliding, groups);
        let mut channels_first = Array4::zeros([images[0], images[3], images[1], images[2]]);
        channels_first.assign(&x.view().permuted_axes([0, 3, 1, 2]));
        let strided = channels_first.view().permuted_axes([0, 2, 3, 1]);
        for kernel in kernels() {
            let packed = PackedFilters::new(kernel, w.view(), &[], sliding, groups).unwrap();
            for threads in [1, 2, 3, 5] {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                let sums = pool.install(|| packed.sums(&Images::u8(x.view(), 5)));
                assert!(sums.unwrap() == expected, "{} on {threads}", kernel.isa());
            }
            let sums = packed.sums(&Images::u8(strided, 5)).unwrap();
            assert!(sums == expected, "{} from channels first", kernel.isa());
            let mut out = Array4::zeros(expected.dim().f());
            let images = Images::u8(x.view(), 5);
            packed
                .convolve(&images, &fewer_bits::gemm::epilogue::Sums, out.view_mut())
                .unwrap();
            assert!(out == expected, "{} to other strides", kernel.isa());
        }
    }
}

#[test]
fn each_output_channel_has_its_own_requantization() {
    let y = QParams::new(0.5, 20, QRange::U8).unwrap();
    for (groups, filters) in [(1, [6, 3, 3, 6]), (2, [6, 3, 3, 3]), (6, [6, 3, 3, 1])] {
        let w: Array4<i8> = random(3, filters);
        let x: Array4<i8> = random(4, [2, 5, 5, 6]);
        let (scales, bias) = (
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
            [0, 100, -100, 2000, -2000, 1],
        );
        let sliding = Sliding {
            stride: [2, 1],
            ..Sliding::default()
        };
        let sums = reference(x.view(), -3, w.view(), &[], sliding, groups);
        let epilogue = Requantize::<u8>::new(0.01, &scales, y, &bias)
            .unwrap()
            .with_relu();
        for kernel in kernels() {
            let packed = PackedFilters::new(kernel, w.view(), &[], sliding, groups).unwrap();
            let mut out = Array4::zeros(sums.dim());
            packed
                .convolve(&Images::i8(x.view(), -3), &epilogue, out.view_mut())
                .unwrap();
            for ((at, &sum), &code) in sums.indexed_iter().zip(&out) {
                let m = 0.01 * scales[at.3] / 0.5;
                let steps = ((sum + bias[at.3]) as f32 * m).round_ties_even();
                assert_eq!(
                    f32::from(code),
                    (steps + 20.0).clamp(20.0, 255.0),
                    "{}",
                    kernel.isa()
                );
            }
        }
    }
}

#[test]
fn settings_and_shapes_that_mean_nothing_are_refused() {
    let kernel = kernels()[0];
    let w = Array4::<i8>::zeros((4, 3, 3, 2));
    let new = |sliding, groups| PackedFilters::new(kernel, w.view(), &[], sliding, groups);
    let base = Sliding::default();
    for sliding in [
        Sliding {
            stride: [0, 1],
            ..base
        },
        Sliding {
            dilation: [1, 0],
            ..base
        },
        Sliding {
            padding: [[usize::MAX, 0], [0, 0]],
            ..base
        },
    ] {
        assert!(
            matches!(new(sliding, 1), Err(Error::InvalidSetting { .. })),
            "{sliding:?}"
        );
    }
    for groups in [0, 3] {
        assert!(matches!(
            new(base, groups),
            Err(Error::InvalidSetting { .. })
        ));
    }
    let zeros = PackedFilters::new(kernel, w.view(), &[0; 3], base, 1);
    assert!(matches!(
        zeros,
        Err(Error::LengthMismatch {
            expected: 4,
            actual: 3,
            ..
        })
    ));
    let huge = Sliding {
        padding: [[1 << 30; 2]; 2],
        ..base
    };
    let shape = new(huge, 2).unwrap().output_shape([1, 5, 5, 4]);
    assert!(matches!(shape, Err(Error::TooManyElements { .. })));
    let deep = Array4::<i8>::zeros((2, 182, 182, 1));
    let refused = PackedFilters::new(kernel, deep.view(), &[], base, 2);
    assert!(matches!(
        refused,
        Err(Error::DepthTooLarge {
            depth: 33_124,
            max: 33_025
        })
    ));
    let packed = new(base, 2).unwrap();
    let shape = |height, channels| packed.output_shape([1, height, 5, channels]);
    assert!(matches!(shape(5, 2), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(shape(2, 4), Err(Error::WindowDoesNotFit { .. })));
    assert_eq!(shape(5, 4), Ok([1, 3, 3, 4]));
    let x = Array4::<u8>::zeros((1, 5, 5, 4));
    let mut out = Array4::zeros((1, 3, 2, 4));
    let sums = fewer_bits::gemm::epilogue::Sums;
    let refused = packed.convolve(
        &Images::u8(x.view(), 0),
        &sums,
        out.slice_mut(s![.., .., .., ..]),
    );
    assert!(matches!(
        refused,
        Err(Error::ShapeMismatch {
            what: "the convolution",
            ..
        })
    ));
}

//! The models against the instructions, where the machine has them, and the kernels that run on
//! models against the reference.

use std::marker::PhantomData;

use ndarray::{Array2, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::model::{Model, Modelled, Sdot, Vpdpbusd};
use crate::gemm::int4::RealOutput;
use crate::gemm::kernel::portable::Portable;
use crate::gemm::{Activations, Chosen, Kernel, PackedWeights, PackedWeights4, reference};

/// The kernels that run on models, and on an instruction with the same result as AVX-VNNI's.
fn kernels() -> Vec<(&'static str, Kernel)> {
    let models = [
        (
            "model of vpdpbusd",
            Chosen::VpdpbusdModel(Modelled(PhantomData)),
        ),
        ("model of sdot", Chosen::SdotModel(Modelled(PhantomData))),
    ];
    #[cfg(target_arch = "x86_64")]
    let alike = Evex::detect().map(|evex| ("vpdpbusd of AVX-512", Chosen::Evex(evex)));
    #[cfg(not(target_arch = "x86_64"))]
    let alike = None;
    let kernels = models.into_iter().chain(alike);
    kernels
        .map(|(name, chosen)| (name, Kernel(chosen)))
        .collect()
}

fn each_equals_the_reference(a: &Array2<u8>, a_zero: u8, b: &Array2<i8>) {
    let expected = reference(a.view(), a_zero.into(), b.view(), 0);
    let signed = a.mapv(|a| (a ^ 0x80) as i8);
    let signed_zero = (a_zero ^ 0x80) as i8;
    for (name, kernel) in kernels() {
        let packed = PackedWeights::new(kernel, b.view()).unwrap();
        for activations in [
            Activations::u8(a.view(), a_zero),
            Activations::i8(signed.view(), signed_zero),
        ] {
            let product = packed.product(activations).unwrap();
            assert!(product == expected, "{name} {:?} {:?}", a.dim(), b.dim());
        }
    }
}

#[test]
fn kernels_on_models_equal_the_reference_around_each_tile_edge() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for rows in [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 97] {
        for columns in [1, 15, 16, 17, 33, 65] {
            for depth in [0, 1, 3, 4, 5, 13, 15, 16, 17, 31] {
                let a = Array2::from_shape_simple_fn((rows, depth), || rng.random());
                let b = Array2::from_shape_simple_fn((depth, columns), || rng.random());
                each_equals_the_reference(&a, rng.random(), &b);
            }
        }
    }
    for depth in [1021, 1024, 1030, 2049] {
        let a = Array2::from_shape_simple_fn((7, depth), || rng.random());
        let b = Array2::from_shape_simple_fn((depth, 18), || rng.random());
        each_equals_the_reference(&a, rng.random(), &b);
    }
}

#[test]
fn kernels_on_models_are_exact_at_the_extremes() {
    for a in [0, 127, 128, 255] {
        for b in [[-128, -128], [127, 127], [-128, 127]] {
            let a = Array2::from_elem((7, 66), a);
            let b = Array2::from_shape_fn((66, 19), |(k, _)| b[k % 2]);
            for zero in [0, 128, 255] {
                each_equals_the_reference(&a, zero, &b);
            }
        }
    }
}

#[test]
fn kernels_on_models_follow_the_zero_points_of_weights() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let a = Array2::from_shape_simple_fn((9, 45), || rng.random::<u8>());
    let b = Array2::from_shape_simple_fn((45, 21), || rng.random::<i8>());
    let zeros: Vec<i32> = (0..21).map(|j| (j * 37) % 256 - 128).collect();
    for (name, kernel) in kernels() {
        let packed = PackedWeights::with_zero_points(kernel, b.view(), &zeros).unwrap();
        let product = packed.product(Activations::u8(a.view(), 77)).unwrap();
        for (j, &zero) in zeros.iter().enumerate() {
            let expected = reference(a.view(), 77, b.slice(s![.., j..j + 1]), zero);
            assert!(product.column(j) == expected.column(0), "{name}");
        }
    }
}

#[test]
fn kernels_on_models_multiply_groups_of_4_bit_weights_like_the_portable_one() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for (rows, depth, columns, group) in [(1, 50, 18, 7), (13, 33, 5, 16), (7, 70, 33, 70)] {
        let a = Array2::from_shape_simple_fn((rows, depth), || rng.random::<u8>());
        let b = Array2::from_shape_simple_fn((depth, columns), || rng.random_range(-8..8));
        let groups = depth.div_ceil(group);
        let scales = Array2::from_shape_simple_fn((groups, columns), || rng.random());
        let product = |kernel| {
            let packed = PackedWeights4::new(kernel, b.view(), scales.view(), group).unwrap();
            let output = RealOutput {
                row_scales: &[0.5],
                bias: &[],
                relu: false,
            };
            let mut out = Array2::zeros((rows, columns));
            let activations = Activations::u8(a.view(), 99);
            let done = packed.multiply(&activations, output, out.view_mut());
            done.map(|()| out).unwrap()
        };
        let expected = product(Kernel(Chosen::Portable(Portable)));
        for (name, kernel) in kernels() {
            assert_eq!(product(kernel), expected, "{name}");
        }
    }
}

/// Operands of an instruction on `N` sums: the extremes in all combinations, then random ones.
fn operands<const N: usize>() -> impl Iterator<Item = ([i32; N], [[u8; 4]; N], [[i8; 4]; N])> {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let sums = [0, 1, -1, i32::MAX, i32::MIN];
    let (a, w) = ([0, 1, 127, 128, 255], [0, 1, -1, 127, -127, -128]);
    let extremes = sums.into_iter().flat_map(move |sum| {
        let pairs = a.into_iter().flat_map(move |a| w.map(|w| (a, w)));
        pairs.map(move |(a, w)| ([sum; N], [[a; 4]; N], [[w; 4]; N]))
    });
    let random = std::iter::repeat_with(move || {
        let sums = std::array::from_fn(|_| rng.random());
        let a = std::array::from_fn(|_| rng.random());
        let w = std::array::from_fn(|_| std::array::from_fn(|_| rng.random()));
        (sums, a, w)
    });
    extremes.chain(random.take(10_000))
}

fn modelled<M: Model, const N: usize>(
    sums: [i32; N],
    a: [[u8; 4]; N],
    w: [[i8; 4]; N],
) -> [i32; N] {
    std::array::from_fn(|lane| M::add_four(sums[lane], a[lane], w[lane]))
}

#[test]
fn the_models_give_what_the_manuals_say_by_hand() {
    assert_eq!(
        Vpdpbusd::add_four(5, [255, 1, 0, 2], [-128, 127, -1, 3]),
        5 - 32_640 + 127 + 6
    );
    assert_eq!(Vpdpbusd::add_four(0, [255; 4], [-128; 4]), -130_560);
    assert_eq!(Vpdpbusd::add_four(i32::MAX, [1, 0, 0, 0], [1; 4]), i32::MIN);
    assert_eq!(
        Sdot::add_four(5, [255, 1, 0, 0x80], [-128, 127, -1, -128]),
        5 + 128 + 127 + 16_384
    );
    assert_eq!(Sdot::add_four(i32::MIN, [0xff, 0, 0, 0], [1; 4]), i32::MAX);
}

#[cfg(target_arch = "x86_64")]
pub(in crate::gemm) use x86::Evex;

/// The instruction of AVX-VNNI in the encoding of AVX-512, which more CPUs have.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use std::arch::x86_64::*;

    use super::*;
    use crate::gemm::kernel::Task;
    use crate::gemm::kernel::avxvnni;

    #[derive(Debug, Clone, Copy)]
    pub(in crate::gemm) struct Evex(());

    impl Evex {
        pub(super) fn detect() -> Option<Self> {
            let found = is_x86_feature_detected!("avx512vnni")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx2");
            found.then_some(Self(()))
        }
    }

    impl avxvnni::Vpdpbusd for Evex {
        #[inline(always)]
        fn enter<T: Task>(self, task: T) {
            // SAFETY: `self` proves that the CPU has the features.
            unsafe { enter(task) }
        }

        #[inline(always)]
        fn vpdpbusd(self, sums: __m256i, a: __m256i, w: __m256i) -> __m256i {
            // SAFETY: `self` proves that the CPU has the features.
            unsafe { _mm256_dpbusd_epi32(sums, a, w) }
        }
    }

    #[target_feature(enable = "avx2,avx512vl,avx512vnni")]
    fn enter<T: Task>(task: T) {
        task.run();
    }

    #[test]
    fn the_model_of_vpdpbusd_is_the_instruction() {
        let Some(evex) = Evex::detect() else {
            println!("skipped: this CPU has no AVX-512 VNNI");
            return;
        };
        for (sums, a, w) in operands::<8>() {
            let mut found = [0i32; 8];
            // SAFETY: arrays of 32 bytes; `evex` proves the features.
            unsafe {
                let [s, a, w] = [sums.as_ptr().cast(), a.as_ptr().cast(), w.as_ptr().cast()]
                    .map(|p: *const __m256i| _mm256_loadu_si256(p));
                let sums = avxvnni::Vpdpbusd::vpdpbusd(evex, s, a, w);
                _mm256_storeu_si256(found.as_mut_ptr().cast(), sums);
            }
            assert_eq!(found, modelled::<Vpdpbusd, 8>(sums, a, w));
        }
    }
}

#[cfg(target_arch = "aarch64")]
#[test]
fn the_model_of_sdot_is_the_instruction() {
    use super::DotProduct;
    use crate::gemm::kernel::{Row, SUMS, neon::NeonDotprod};
    use crate::gemm::pack::Block;

    let Some(neon) = NeonDotprod::detect() else {
        println!("skipped: this CPU has no dot product");
        return;
    };
    for (sums, a, w) in operands::<4>() {
        let (mut row, mut block) = (Row([0; SUMS]), Block([0; 64]));
        row[..4].copy_from_slice(&sums);
        block.0[..16].copy_from_slice(w.as_flattened());
        let vectors = (
            neon.load_activations(a.as_flattened().try_into().unwrap()),
            neon.load_weights(&block, 0),
        );
        let before = neon.load_sums(&row, 0);
        let found = [
            neon.add_products::<0>(before, vectors.0, vectors.1),
            neon.add_products::<1>(before, vectors.0, vectors.1),
            neon.add_products::<2>(before, vectors.0, vectors.1),
            neon.add_products::<3>(before, vectors.0, vectors.1),
        ];
        for (group, found) in found.into_iter().enumerate() {
            neon.store_sums(found, &mut row, 0);
            assert_eq!(row[..4], modelled::<Sdot, 4>(sums, [a[group]; 4], w));
        }
    }
}

//! Convolutions in 8 bits and in f32, and the right answers.

use std::sync::Arc;

use fewer_bits::gemm::Kernel;
use fewer_bits::gemm::conv::{Images, PackedFilters, Sliding};
use fewer_bits::gemm::epilogue::Sums;
use fewer_bits::nn::{DepthwiseConv2d, Executor, Float, Window, im2col};
use gemm::Parallelism;
use ndarray::{Array1, Array2, Array4, ArrayView4, ArrayViewMut4};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::operands::{Operands, Shape, Weights};
use super::{Contender, peers};

/// A convolution with stride 1 and so much padding that the image keeps its size.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    pub name: &'static str,
    /// Height and width of the image; there is one.
    pub size: usize,
    pub channels: usize,
    pub outputs: usize,
    /// Height and width of the window, odd.
    pub window: usize,
    pub groups: usize,
}

impl Convolution {
    pub const ALL: [Self; 4] = [
        Self::new("3x3", 28, 32, 64, 3),
        Self::new("3x3", 14, 128, 128, 3),
        Self::new("1x1", 28, 128, 256, 1),
        Self {
            groups: 256,
            ..Self::new("depthwise 3x3", 28, 256, 256, 3)
        },
    ];

    pub const fn new(
        name: &'static str,
        size: usize,
        channels: usize,
        outputs: usize,
        window: usize,
    ) -> Self {
        Self {
            name,
            size,
            channels,
            outputs,
            window,
            groups: 1,
        }
    }

    /// The product of matrices that it amounts to, within a group.
    pub fn product(&self) -> Shape {
        let depth = self.window * self.window * self.channels / self.groups;
        Shape(self.size * self.size, depth, self.outputs / self.groups)
    }

    /// Multiplications and additions.
    pub fn operations(&self) -> f64 {
        self.groups as f64 * self.product().operations()
    }

    pub fn is_depthwise(&self) -> bool {
        self.groups > 1
    }

    fn image_shape(&self) -> [usize; 4] {
        [1, self.size, self.size, self.channels]
    }

    fn padding(&self) -> usize {
        self.window / 2
    }

    /// How the window slides, for the integers.
    pub fn sliding(&self) -> Sliding {
        Sliding {
            padding: [[self.padding(); 2]; 2],
            ..Sliding::default()
        }
    }

    /// The same for [`im2col`].
    pub fn float_window(&self) -> Window {
        Window::new([self.window; 2], [1; 2], [self.padding(); 2]).unwrap()
    }

    /// Seven loops, in f64: each output, and the sum of the magnitudes of its products.
    fn by_loops(&self, x: ArrayView4<'_, f64>, w: ArrayView4<'_, f64>) -> Vec<(f64, f64)> {
        let (size, padding) = (self.size, self.padding());
        let (outputs, channels) = (self.outputs / self.groups, self.channels / self.groups);
        let mut all = Vec::with_capacity(size * size * self.outputs);
        for (oy, ox) in (0..size).flat_map(|oy| (0..size).map(move |ox| (oy, ox))) {
            for output in 0..self.outputs {
                let first = output / outputs * channels;
                let (mut sum, mut magnitude) = (0.0, 0.0);
                for (ky, kx) in
                    (0..self.window).flat_map(|ky| (0..self.window).map(move |kx| (ky, kx)))
                {
                    let (y, z) = (oy + ky, ox + kx);
                    let inside = padding..size + padding;
                    if inside.contains(&y) && inside.contains(&z) {
                        for channel in 0..channels {
                            let x = x[(0, y - padding, z - padding, first + channel)];
                            let product = x * w[(output, ky, kx, channel)];
                            sum += product;
                            magnitude += product.abs();
                        }
                    }
                }
                all.push((sum, magnitude));
            }
        }
        all
    }
}

impl std::fmt::Display for Convolution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            size,
            channels,
            outputs,
            ..
        } = self;
        write!(f, "{name} {size}x{size}x{channels} to {outputs}")
    }
}

/// One convolution in 8 bits.
pub struct ByteImages {
    pub of: Convolution,
    pub image: Arc<Array4<u8>>,
    pub zero_point: u8,
    /// \[outputs, height, width, channels of a group\]
    pub filters: Array4<i8>,
    pub sums: Vec<i32>,
}

impl ByteImages {
    /// A random image, and weights as models have them.
    pub fn new(of: Convolution) -> Self {
        let (zero_point, Shape(_, depth, _)) = (100, of.product());
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let image = Array4::from_shape_simple_fn(of.image_shape(), || rng.random::<u8>());
        let columns = Operands::new(Shape(1, depth, of.outputs), Weights::Normal).b;
        let shape = [of.outputs, of.window, of.window, of.channels / of.groups];
        let filters = columns.t().as_standard_layout().into_owned();
        let filters = filters.into_shape_with_order(shape).unwrap();
        let real = image.mapv(|x| f64::from(x) - f64::from(zero_point));
        let exact = of.by_loops(real.view(), filters.mapv(f64::from).view());
        Self {
            of,
            image: Arc::new(image),
            zero_point,
            filters,
            sums: exact.into_iter().map(|(sum, _)| sum as i32).collect(),
        }
    }

    /// This crate's convolution.
    pub fn ours(&self, who: String, kernel: Kernel) -> Contender<i32> {
        let (sliding, groups) = (self.of.sliding(), self.of.groups);
        let packed = PackedFilters::new(kernel, self.filters.view(), &[], sliding, groups).unwrap();
        let (image, zero_point, of) = (self.image.clone(), self.zero_point, self.of);
        Contender::new(who, move |out| {
            let out = ArrayViewMut4::from_shape([1, of.size, of.size, of.outputs], out).unwrap();
            let images = Images::u8(image.view(), zero_point);
            packed.convolve(&images, &Sums, out).unwrap();
        })
    }
}

/// Multiplies two matrices in standard layout.
type Product = fn(&Array2<f32>, &Array2<f32>, &mut [f32]);

/// One convolution in f32.
pub struct RealImages {
    pub of: Convolution,
    image: Array4<f32>,
    filters: Array4<f32>,
    exact: Vec<(f64, f64)>,
}

impl RealImages {
    pub fn new(of: Convolution) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
        let image = Array4::from_shape_simple_fn(of.image_shape(), &mut normal);
        let shape = [of.outputs, of.window, of.window, of.channels / of.groups];
        let filters = Array4::from_shape_simple_fn(shape, &mut normal);
        let exact = of.by_loops(image.mapv(f64::from).view(), filters.mapv(f64::from).view());
        Self {
            of,
            image,
            filters,
            exact,
        }
    }

    /// Whether each result is as near to the right one as any order of additions must be: within
    /// γ Σ|x·w|, γ = Ku / (1 − Ku), u = 2⁻²⁴.
    pub fn accepts(&self, out: &[f32]) -> bool {
        let u = self.of.product().1 as f64 / f64::from(1 << 24);
        let near = |(&y, &(exact, magnitude)): (&f32, &(f64, f64))| {
            (f64::from(y) - exact).abs() <= u / (1.0 - u) * magnitude
        };
        out.len() == self.exact.len() && out.iter().zip(&self.exact).all(near)
    }

    /// A depthwise convolution by this crate's f32 layer, which is plain Rust; the others by
    /// writing down all patches, as most libraries do, and calling peers' products.
    pub fn peers(&self) -> Vec<Contender<f32>> {
        if self.of.is_depthwise() {
            return vec![self.depthwise_layer()];
        }
        vec![
            self.by_product("im2col + gemm", |a, b, out| {
                peers::by_gemm(a, b, out, Parallelism::None);
            }),
            self.by_product("im2col + matrixmultiply", peers::by_matrixmultiply),
        ]
    }

    /// The patches under a window of one pixel are the image itself: nothing is to be written.
    fn by_product(&self, who: &str, product: Product) -> Contender<f32> {
        let Shape(rows, depth, outputs) = self.of.product();
        let columns = self.filters.view().into_shape_with_order((outputs, depth));
        let columns = columns.unwrap().t().as_standard_layout().into_owned();
        let (of, image) = (self.of, self.image.clone());
        let patches = image.iter().copied().cycle().take(rows * depth).collect();
        let mut patches = Array2::from_shape_vec((rows, depth), patches).unwrap();
        Contender::new(who, move |out: &mut [f32]| {
            if of.window > 1 {
                let mut room = std::mem::take(&mut patches).into_raw_vec_and_offset().0;
                room.clear();
                let (shape, image) = (of.image_shape(), image.as_slice().unwrap());
                im2col(image, shape, of.float_window(), 0.0, &mut room).unwrap();
                patches = Array2::from_shape_vec((rows, depth), room).unwrap();
            }
            product(&patches, &columns, out);
        })
    }

    fn depthwise_layer(&self) -> Contender<f32> {
        let (size, channels) = (self.of.size, self.of.channels);
        let shape = (channels, self.of.window, self.of.window);
        let weights = self.filters.clone().into_shape_with_order(shape).unwrap();
        let bias = Array1::zeros(channels);
        let layer = DepthwiseConv2d::new(weights, bias, 1, self.of.padding()).unwrap();
        let image = self.image.clone().into_dyn();
        Contender::new("f32 layer in plain Rust", move |out: &mut [f32]| {
            let y = Float.depthwise_conv2d("", &layer, image.clone()).unwrap();
            assert_eq!(y.len(), size * size * channels);
            out.copy_from_slice(y.as_slice().unwrap());
        })
    }
}

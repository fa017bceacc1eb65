//! Matrices to multiply, and the right answers.

use std::sync::Arc;

use fewer_bits::gemm::reference;
use fewer_bits::{QParams, QRange, QTensor, Scheme};
use ndarray::{Array1, Array2, Axis, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Rows, depth, columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape(pub usize, pub usize, pub usize);

impl Shape {
    /// Multiplications and additions of one product.
    pub fn operations(self) -> f64 {
        2.0 * self.0 as f64 * self.1 as f64 * self.2 as f64
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.0, self.1, self.2)
    }
}

/// What 8-bit weights are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// As models have them: normal, quantized per output channel.
    Normal,
    /// Uniform over −128 to 127, which no model has.
    Uniform,
}

/// One product in 8 bits, and in f32 the product that it stands for.
pub struct Operands {
    pub shape: Shape,
    pub a: Arc<Array2<u8>>,
    /// \[K, N\]
    pub b: Array2<i8>,
    /// One scale a column of `b`.
    pub scales: Vec<f32>,
    pub sums: Vec<i32>,
}

impl Operands {
    pub fn new(shape: Shape, weights: Weights) -> Self {
        let Shape(m, k, n) = shape;
        let mut rng = ChaCha8Rng::seed_from_u64(k as u64);
        let a = Array2::from_shape_simple_fn((m, k), || rng.random());
        let (b, scales) = match weights {
            Weights::Uniform => {
                let b = Array2::from_shape_simple_fn((k, n), || rng.random());
                (b, vec![1.0; n])
            }
            Weights::Normal => {
                let real = normal(&mut rng, n, k).into_dyn();
                let quantized = QTensor::quantize(real.view(), Scheme::weights(0)).unwrap();
                let codes: Vec<i8> = quantized.to_codes().iter().map(|&c| c as i8).collect();
                let by_column = Array2::from_shape_vec((n, k), codes).unwrap();
                let scales = quantized.params().iter().map(|p| p.scale()).collect();
                (by_column.t().as_standard_layout().into_owned(), scales)
            }
        };
        let sums = exact_sums(&a, &b);
        let a = Arc::new(a);
        Self {
            shape,
            a,
            b,
            scales,
            sums,
        }
    }

    /// An input of real numbers, and the pair that quantizes it.
    pub fn real_input(&self) -> (Arc<Array2<f32>>, QParams) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let x = normal(&mut rng, self.shape.0, self.shape.1);
        let pair = QParams::affine(-4.0, 4.0, QRange::U8).unwrap();
        (Arc::new(x), pair)
    }

    /// A whole linear layer for such an input by its definition: quantized, exact sums, scaled, and
    /// the bias added.
    pub fn linear(&self, x: &Array2<f32>, pair: QParams, bias: &[f32]) -> Vec<f32> {
        let codes = x.mapv(|x| pair.quantize(x).unwrap() as u8);
        let column_sums = self.b.mapv(i32::from).sum_axis(Axis(0));
        let sums = exact_sums(&codes, &self.b);
        let real = |(i, sum): (usize, i32)| {
            let column = i % self.shape.2;
            let sum = sum - pair.zero_point() * column_sums[column];
            sum as f32 * (pair.scale() * self.scales[column]) + bias[column]
        };
        sums.into_iter().enumerate().map(real).collect()
    }
}

/// A product of 8-bit activations and 4-bit weights in groups.
pub struct Operands4 {
    pub a: Arc<Array2<u8>>,
    /// \[K, N\], in −7 to 7.
    pub codes: Array2<i8>,
    /// \[K / group, N\]
    pub scales: Array2<f32>,
    pub product: Vec<f32>,
}

impl Operands4 {
    /// Depths that share a scale.
    pub const GROUP: usize = 64;

    /// Weights in 4 bits, made of those in 8, and the product by its definition: exact sums of
    /// groups, scaled and added in order.
    pub fn new(operands: &Operands) -> Self {
        let Shape(m, k, n) = operands.shape;
        let codes = operands.b.mapv(|w| w.clamp(-112, 112) / 16);
        let groups = k.div_ceil(Self::GROUP);
        let scale = |(g, j): (usize, usize)| 0.01 + (g * 31 + j * 7) as f32 % 13.0 / 1000.0;
        let scales = Array2::from_shape_fn((groups, n), scale);
        let mut product = vec![0f32; m * n];
        for g in 0..groups {
            let depths = g * Self::GROUP..k.min((g + 1) * Self::GROUP);
            let a = operands.a.slice(s![.., depths.clone()]).to_owned();
            let sums = exact_sums(&a, &codes.slice(s![depths, ..]).to_owned());
            for (i, (product, sum)) in product.iter_mut().zip(sums).enumerate() {
                *product += sum as f32 * scales[(g, i % n)];
            }
        }
        Self {
            a: operands.a.clone(),
            codes,
            scales,
            product,
        }
    }
}

/// A product in f32, and what each result may differ from the right one.
pub struct RealOperands {
    pub a: Arc<Array2<f32>>,
    pub b: Array2<f32>,
    pub product: Array2<f64>,
    slack: Array2<f64>,
}

impl RealOperands {
    pub fn new(Shape(m, k, n): Shape) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let a = Arc::new(normal(&mut rng, m, k));
        let b = normal(&mut rng, k, n);
        let (a64, b64) = (a.mapv(f64::from), b.mapv(f64::from));
        let lengths =
            |x: &Array2<f64>, axis| -> Array1<f64> { x.map_axis(axis, |v| v.dot(&v).sqrt()) };
        // A sum of K products in any order is off by at most γ Σ|a·b|, γ = Ku / (1 − Ku) with
        // u = 2⁻²⁴, and Σ|a·b| ≤ |a|·|b| (Cauchy-Schwarz).
        let u = k as f64 / f64::from(1 << 24);
        let (rows, columns) = (lengths(&a64, Axis(1)), lengths(&b64, Axis(0)));
        let slack = Array2::from_shape_fn((m, n), |(i, j)| u / (1.0 - u) * rows[i] * columns[j]);
        Self {
            product: a64.dot(&b64),
            slack,
            a,
            b,
        }
    }

    /// Whether a result is as near to the right one as any order of additions must be.
    pub fn accepts(&self, out: &[f32]) -> bool {
        let right = self.product.iter().zip(&self.slack);
        out.len() == self.product.len()
            && out
                .iter()
                .zip(right)
                .all(|(&y, (right, slack))| (f64::from(y) - right).abs() <= *slack)
    }
}

fn normal(rng: &mut ChaCha8Rng, rows: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_simple_fn((rows, columns), || StandardNormal.sample(rng))
}

/// The product of two integer matrices, by way of f64, in which all its sums are exact (they are
/// below 2⁵³). Some rows are computed by the crate's three loops, too, and must agree.
pub fn exact_sums(a: &Array2<u8>, b: &Array2<i8>) -> Vec<i32> {
    let sums = a.mapv(f64::from).dot(&b.mapv(f64::from)).mapv(|s| s as i32);
    let last = a.nrows() - 1;
    for row in [0, last / 2, last] {
        let only = s![row..row + 1, ..];
        let by_loops = reference(a.slice(only), 0, b.view(), 0);
        assert_eq!(by_loops, sums.slice(only), "two ways to the right answer");
    }
    sums.into_raw_vec_and_offset().0
}

//! ONNX's `MatMulInteger` and `QLinearMatMul`, and what they share with the convolutions.

use ndarray::{
    ArrayBase, ArrayD, ArrayView2, ArrayView4, ArrayViewD, Axis, Data, Dimension, Ix2, IxDyn, arr0,
};

use super::{in_shape, same_shape};
use crate::elementwise::Code;
use crate::error::{Error, Result, addressable};
use crate::gemm::conv::Images;
use crate::gemm::epilogue::{Codes, Multiplier, Sums, multiplier};
use crate::gemm::{Activations, Kernel, PackedWeights};
use crate::qparams::QParams;

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for i8 {}
}

/// The types of operands: `u8` and `i8`.
pub trait Byte: Code + Send + Sync + sealed::Sealed {
    /// What [`to_i8`](Self::to_i8) takes from a value.
    const OFFSET: i32;
    /// The value less [`OFFSET`](Self::OFFSET).
    fn to_i8(self) -> i8;
    /// Rows that share a zero point.
    fn activations(codes: ArrayView2<'_, Self>, zero_point: Self) -> Activations<'_>;
    /// Images, channels last, that share a zero point.
    fn images(codes: ArrayView4<'_, Self>, zero_point: Self) -> Images<'_>;
}

impl Byte for u8 {
    const OFFSET: i32 = 128;
    fn to_i8(self) -> i8 {
        (self ^ 0x80) as i8
    }
    fn activations(codes: ArrayView2<'_, Self>, zero_point: Self) -> Activations<'_> {
        Activations::u8(codes, zero_point)
    }
    fn images(codes: ArrayView4<'_, Self>, zero_point: Self) -> Images<'_> {
        Images::u8(codes, zero_point)
    }
}

impl Byte for i8 {
    const OFFSET: i32 = 0;
    fn to_i8(self) -> i8 {
        self
    }
    fn activations(codes: ArrayView2<'_, Self>, zero_point: Self) -> Activations<'_> {
        Activations::i8(codes, zero_point)
    }
    fn images(codes: ArrayView4<'_, Self>, zero_point: Self) -> Images<'_> {
        Images::i8(codes, zero_point)
    }
}

/// A tensor of codes with its scale and zero point, as the `QLinear` operators take it.
#[derive(Debug, Clone)]
pub struct Quantized<'a, T> {
    /// The codes.
    pub codes: ArrayViewD<'a, T>,
    /// The scale: a scalar, or what the operator allows.
    pub scale: ArrayViewD<'a, f32>,
    /// The zero point, in the shape of the scale.
    pub zero_point: ArrayViewD<'a, T>,
}

/// `MatMulInteger`: Σₖ (a\[…, i, k\] − a_zero)·(b\[…, k, j\] − b_zero) in i32, with the shapes of
/// `numpy.matmul`: vectors become matrices for the product, and the leading axes are broadcast.
///
/// `a_zero_point` is a scalar, of shape \[M\], or \[…, M, 1\]; `b_zero_point` is a scalar, of shape
/// \[N\], or \[…, 1, N\]; both are 0 if there are none. (ONNX's reference evaluator 1.23.2 subtracts
/// a vector for the rows of `a` from its columns instead. The text of the operator says rows.)
///
/// ```
/// use fewer_bits::onnx::mat_mul_integer;
/// use ndarray::{array, arr0};
/// let (a, b) = (array![[11u8, 7, 3], [10, 6, 2]].into_dyn(), array![[1i8], [2], [3]].into_dyn());
/// let a_zero = arr0(12u8).into_dyn();
/// let y = mat_mul_integer(a.view(), b.view(), Some(a_zero.view()), None)?;
/// assert_eq!(y, array![[-38], [-44]].into_dyn());
/// # Ok::<(), fewer_bits::Error>(())
/// ```
///
/// # Errors
/// [`ShapeMismatch`](crate::Error::ShapeMismatch) if shapes do not go together;
/// [`TooManyElements`](crate::Error::TooManyElements);
/// [`DepthTooLarge`](crate::Error::DepthTooLarge) if a sum might overflow.
pub fn mat_mul_integer<A: Byte, B: Byte>(
    a: ArrayViewD<'_, A>,
    b: ArrayViewD<'_, B>,
    a_zero_point: Option<ArrayViewD<'_, A>>,
    b_zero_point: Option<ArrayViewD<'_, B>>,
) -> Result<ArrayD<i32>> {
    let shape = Shape::of(a.shape(), b.shape())?;
    let sums = products(&shape, a, b, a_zero_point, b_zero_point)?;
    Ok(in_shape(&shape.result, sums.into_raw_vec_and_offset().0))
}

/// `QLinearMatMul`: the product of real numbers that `a` and `b` stand for, as codes of `y`:
/// saturate(round(sum · (a_scale·b_scale / y_scale)) + y_zero_point), rounding half to even.
///
/// Shapes are those of [`mat_mul_integer`]; scale and zero point of `y` are scalars, of shape
/// \[M\], or \[…, M, 1\]. The operations are in f32 in the order written; so does ONNX Runtime. The
/// text of the operator does not say with which precision to multiply; ONNX's reference evaluator
/// (1.23.2) multiplies the sum in f64 and rounds after it has added the zero point, so that it gives
/// another code where the product is a tie and the zero point is odd.
///
/// # Errors
/// As [`mat_mul_integer`]; what [`QParams::new`] refuses of `y`;
/// [`InvalidScale`](crate::Error::InvalidScale) for another scale that is not positive and normal,
/// and [`InvalidMultiplier`](crate::Error::InvalidMultiplier) if the factor overflows or vanishes.
pub fn qlinear_mat_mul<A: Byte, B: Byte, Y: Byte>(
    a: &Quantized<'_, A>,
    b: &Quantized<'_, B>,
    y_scale: ArrayViewD<'_, f32>,
    y_zero_point: ArrayViewD<'_, Y>,
) -> Result<ArrayD<Y>> {
    let shape = Shape::of(a.codes.shape(), b.codes.shape())?;
    let zero_points = (Some(a.zero_point.view()), Some(b.zero_point.view()));
    let sums = products(
        &shape,
        a.codes.view(),
        b.codes.view(),
        zero_points.0,
        zero_points.1,
    )?;
    let a_scale = shape.per_row("scales of a", a.scale.view())?;
    let b_scale = shape.per_column("scales of b", b.scale.view())?;
    let y_scale = shape.per_row("scales of y", y_scale)?;
    let y_zero_point = shape.per_row("zero points of y", y_zero_point)?;
    let scales = shape
        .over_all(&a_scale)
        .into_iter()
        .zip(shape.over_all(&b_scale));
    let outputs = shape
        .over_all(&y_scale)
        .into_iter()
        .zip(shape.over_all(&y_zero_point));
    let mut codes = Vec::with_capacity(sums.len());
    for ((sum, (&a, &b)), (&scale, &zero_point)) in sums.iter().zip(scales).zip(outputs) {
        let y = QParams::new(scale, zero_point.code(), Y::STORAGE)?;
        let code = multiplier::<f32>(a, b, y)?.code(*sum, Codes::of(y));
        codes.push(Y::from_code(code));
    }
    Ok(in_shape(&shape.result, codes))
}

/// The shapes of a product: of matrices, with the leading axes broadcast.
struct Shape {
    a: Vec<usize>,
    b: Vec<usize>,
    /// \[…, M, N\].
    product: Vec<usize>,
    /// Without the axes that vectors had lent.
    result: Vec<usize>,
}

impl Shape {
    fn of(a: &[usize], b: &[usize]) -> Result<Self> {
        let (mut full_a, mut full_b) = (a.to_vec(), b.to_vec());
        if a.len() == 1 {
            full_a.insert(0, 1);
        }
        if b.len() == 1 {
            full_b.push(1);
        }
        let ([lead_a @ .., m, k], [lead_b @ .., depth, n]) = (&full_a[..], &full_b[..]) else {
            let shape = Vec::new();
            return Err(Error::AxisOutOfRange { axis: 0, shape });
        };
        same_shape("depths of a and b", &[*k], &[*depth])?;
        let lead = broadcast(lead_a, lead_b)?;
        let (mut product, mut result) = (lead.clone(), lead.clone());
        product.extend([*m, *n]);
        if a.len() > 1 {
            result.push(*m);
        }
        if b.len() > 1 {
            result.push(*n);
        }
        let (a, b) = (
            [&lead[..], &[*m, *k]].concat(),
            [&lead[..], &[*k, *n]].concat(),
        );
        for shape in [&a, &b, &product] {
            addressable("the product", shape)?;
        }
        Ok(Self {
            a,
            b,
            product,
            result,
        })
    }

    /// A parameter for each row of `a`, \[…, M, 1\].
    fn per_row<T: Clone>(
        &self,
        what: &'static str,
        values: ArrayViewD<'_, T>,
    ) -> Result<ArrayD<T>> {
        let rows = match (values.ndim(), values.len()) {
            (1, 2..) => values.insert_axis(Axis(1)),
            _ => values,
        };
        self.without(self.product.len() - 1, what, rows)
    }

    /// A parameter for each column of `b`, \[…, 1, N\].
    fn per_column<T: Clone>(
        &self,
        what: &'static str,
        values: ArrayViewD<'_, T>,
    ) -> Result<ArrayD<T>> {
        self.without(self.product.len() - 2, what, values)
    }

    /// Spreads values over the product, all but its axis `axis`, which is 1.
    fn without<T: Clone>(
        &self,
        axis: usize,
        what: &'static str,
        values: ArrayViewD<'_, T>,
    ) -> Result<ArrayD<T>> {
        let mut expected = self.product.clone();
        expected[axis] = 1;
        match values.broadcast(IxDyn(&expected)) {
            Some(values) => Ok(values.to_owned()),
            None => Err(Error::ShapeMismatch {
                what,
                expected,
                actual: values.shape().to_vec(),
            }),
        }
    }

    /// Spreads what [`per_row`](Self::per_row) and [`per_column`](Self::per_column) gave over the
    /// product.
    fn over_all<'a, T>(&self, values: &'a ArrayD<T>) -> ArrayViewD<'a, T> {
        let spread = values.broadcast(IxDyn(&self.product));
        spread.expect("one axis is 1, the others are the product's")
    }
}

/// The shape of which both are parts, as numpy broadcasts.
fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let axes = a.len().max(b.len());
    let at = |shape: &[usize], axis: usize| match (axis + shape.len()).checked_sub(axes) {
        Some(axis) => shape[axis],
        None => 1,
    };
    let both = (0..axes).map(|axis| (at(a, axis), at(b, axis)));
    let joined = both.map(|pair| match pair {
        (1, len) | (len, 1) => Some(len),
        (a, b) => (a == b).then_some(a),
    });
    joined
        .collect::<Option<_>>()
        .ok_or_else(|| Error::ShapeMismatch {
            what: "leading axes of a and b",
            expected: a.to_vec(),
            actual: b.to_vec(),
        })
}

/// The sums, \[…, M, N\].
fn products<A: Byte, B: Byte>(
    shape: &Shape,
    mut a: ArrayViewD<'_, A>,
    mut b: ArrayViewD<'_, B>,
    a_zero_point: Option<ArrayViewD<'_, A>>,
    b_zero_point: Option<ArrayViewD<'_, B>>,
) -> Result<ArrayD<i32>> {
    if a.ndim() == 1 {
        a.insert_axis_inplace(Axis(0));
    }
    if b.ndim() == 1 {
        b.insert_axis_inplace(Axis(1));
    }
    let a_zeros = match a_zero_point {
        Some(zeros) => shape.per_row("zero points of a", zeros)?.mapv(Code::code),
        None => shape.per_row("zero points of a", arr0(0).into_dyn().view())?,
    };
    let b_zeros = match b_zero_point {
        Some(zeros) => zeros.mapv(Code::code),
        None => arr0(0).into_dyn(),
    };
    let b_zeros = shape.per_column("zero points of b", b_zeros.view())?;
    let mut sums = ArrayD::zeros(IxDyn(&shape.product));
    if sums.is_empty() {
        return Ok(sums);
    }
    let a = a.broadcast(IxDyn(&shape.a)).expect("a part of it");
    let b = b.broadcast(IxDyn(&shape.b)).expect("a part of it");
    let axes = shape.product.len();
    let operands = matrices(&a).zip(matrices(&b));
    let zeros = matrices(&a_zeros).zip(matrices(&b_zeros));
    let results = sums.view_mut();
    let results = results.into_shape_with_order((
        shape.product[..axes - 2].iter().product::<usize>(),
        shape.product[axes - 2],
        shape.product[axes - 1],
    ));
    let mut results = results.expect("newly made, in row-major order");
    for (((a, b), (a_zeros, b_zeros)), out) in operands.zip(zeros).zip(results.outer_iter_mut()) {
        let b_zeros: Vec<i32> = b_zeros.iter().map(|z| z - B::OFFSET).collect();
        let a_zeros: Vec<i32> = a_zeros.iter().copied().collect();
        let b = b.mapv(Byte::to_i8);
        let weights = PackedWeights::with_zero_points(Kernel::best(), b.view(), &b_zeros)?;
        let a = A::activations(a, A::default()).with_row_zero_points(&a_zeros)?;
        weights.multiply(&a, &Sums, out)?;
    }
    Ok(sums)
}

/// The matrices of which a tensor is a batch.
fn matrices<T>(
    batch: &ArrayBase<impl Data<Elem = T>, IxDyn>,
) -> impl Iterator<Item = ArrayView2<'_, T>> {
    let lead = batch.shape()[..batch.ndim() - 2].to_vec();
    ndarray::indices(lead).into_iter().map(move |at| {
        let mut matrix = batch.view();
        for &index in at.slice() {
            matrix = matrix.index_axis_move(Axis(0), index);
        }
        matrix
            .into_dimensionality::<Ix2>()
            .expect("two axes are left")
    })
}

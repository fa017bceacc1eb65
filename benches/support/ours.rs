//! This crate's products and element-wise operations, as contenders.

use std::sync::Arc;

use fewer_bits::gemm::epilogue::{Dequantize, Multiplier, Requantize, Sums};
use fewer_bits::gemm::int4::RealOutput;
use fewer_bits::gemm::ladder::Ready;
use fewer_bits::gemm::{Activations, Kernel, PackedWeights, PackedWeights4};
use fewer_bits::{Isa, QParams};
use ndarray::{Array2, ArrayViewMut2};

use super::Contender;

/// The kernels to measure: the one that `FEWER_BITS_ISA` names, or else the best one of this CPU
/// and, next to it, AVX-512 VNNI's and AVX2's.
pub fn kernels() -> Result<Vec<Kernel>, Box<dyn std::error::Error>> {
    if let Ok(name) = std::env::var("FEWER_BITS_ISA") {
        let kernel = Kernel::new(name.parse()?);
        return Ok(vec![kernel.ok_or(format!("this CPU cannot run {name}"))?]);
    }
    let mut isas = vec![Kernel::best().isa(), Isa::Avx512Vnni, Isa::Avx2];
    isas.dedup();
    Ok(isas.into_iter().filter_map(Kernel::new).collect())
}

/// "fewer-bits", with the instruction set if it is not the first of `kernels`.
pub fn name(index: usize, isa: Isa) -> String {
    match index {
        0 => "fewer-bits".to_owned(),
        _ => format!("fewer-bits ({isa})"),
    }
}

/// The sums, with each of `weights` in turn.
pub fn int8(who: String, a: &Arc<Array2<u8>>, weights: &Arc<Vec<PackedWeights>>) -> Contender<i32> {
    let (a, weights) = (a.clone(), weights.clone());
    let mut turns = (0..weights.len()).cycle();
    Contender::new(who, move |out| {
        let weights = &weights[turns.next().unwrap()];
        let out = ArrayViewMut2::from_shape((a.nrows(), weights.columns()), out).unwrap();
        let activations = Activations::u8(a.view(), 0);
        weights.multiply(&activations, &Sums, out).unwrap();
    })
}

/// The sums by a step of chapter 17's ladder.
pub fn step(who: String, a: &Arc<Array2<u8>>, ready: Ready) -> Contender<i32> {
    let a = a.clone();
    Contender::new(who, move |out| {
        let columns = out.len() / a.nrows();
        let out = ArrayViewMut2::from_shape((a.nrows(), columns), out).unwrap();
        ready.multiply(a.view(), 0, out).unwrap();
    })
}

/// A whole linear layer: f32 in, quantized, multiplied, dequantized, bias added, f32 out.
pub fn linear(
    who: String,
    x: &Arc<Array2<f32>>,
    pair: QParams,
    weights: PackedWeights,
    scales: Vec<f32>,
    bias: Vec<f32>,
) -> Contender<f32> {
    let x = x.clone();
    Contender::new(who, move |out| {
        let out = ArrayViewMut2::from_shape((x.nrows(), weights.columns()), out).unwrap();
        let pairs = [pair];
        let activations = Activations::quantizing(x.view(), &pairs).unwrap();
        let epilogue = Dequantize {
            row_scales: &[pair.scale()],
            column_scales: &scales,
            bias: &bias,
            relu: false,
        };
        weights.multiply(&activations, &epilogue, out).unwrap();
    })
}

/// 8-bit activations by 4-bit weights, in f32, with each of `weights` in turn.
pub fn int4(
    who: String,
    a: &Arc<Array2<u8>>,
    weights: &Arc<Vec<PackedWeights4>>,
) -> Contender<f32> {
    let (a, weights) = (a.clone(), weights.clone());
    let mut turns = (0..weights.len()).cycle();
    Contender::new(who, move |out| {
        let weights = &weights[turns.next().unwrap()];
        let out = ArrayViewMut2::from_shape((a.nrows(), weights.columns()), out).unwrap();
        let activations = Activations::u8(a.view(), 0);
        let output = RealOutput {
            row_scales: &[1.0],
            bias: &[],
            relu: false,
        };
        weights.multiply(&activations, output, out).unwrap();
    })
}

/// A product whose sums become bytes, by multipliers of the kind `M`.
pub fn requantized<M: Multiplier + 'static>(
    who: String,
    a: &Arc<Array2<u8>>,
    weights: PackedWeights,
    epilogue: Requantize<u8, M>,
) -> Contender<u8> {
    let a = a.clone();
    Contender::new(who, move |out| {
        let out = ArrayViewMut2::from_shape((a.nrows(), weights.columns()), out).unwrap();
        let activations = Activations::u8(a.view(), 0);
        weights.multiply(&activations, &epilogue, out).unwrap();
    })
}

//! Chapter 18: a layer in separate passes and in one, and convolutions with and without a matrix of
//! all patches.
//!
//! Every round runs each variant once; the tables give medians of the time on one core. Before they
//! are timed, the variants' results are compared.

pub mod support;

use std::hint::black_box;

use fewer_bits::gemm::conv::{Images, PackedFilters, Sliding};
use fewer_bits::gemm::epilogue::{Dequantize, Epilogue, Requantize, Sums};
use fewer_bits::gemm::{Activations, Kernel, PackedWeights};
use fewer_bits::nn::{Window, im2col};
use fewer_bits::{QParams, QRange, elementwise};
use ndarray::{Array2, Array4, ArrayView2, ArrayViewMut2, Axis, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::clock::{Run, disturbed, in_turns, on_cpu};
use support::{Evidence, Outcome};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 41;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.timing("ch18_fused.md", || on_one_thread(fused))?;
    evidence.timing("ch18_patches.md", || on_one_thread(patches))
}

/// Inside a pool of one thread, so that no kernel takes another.
fn on_one_thread(table: fn() -> std::result::Result<String, String>) -> Result<String> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    Ok(pool.install(table)?)
}

/// One linear layer: f32 to f32, or bytes to bytes.
struct Layer {
    x: Array2<f32>,
    pair: QParams,
    codes: Array2<u8>,
    weights: PackedWeights,
    scales: Vec<f32>,
    bias: Vec<f32>,
    whole_bias: Vec<i32>,
}

impl Layer {
    fn new(rows: usize, depth: usize, columns: usize) -> fewer_bits::Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(18);
        let x = Array2::from_shape_simple_fn((rows, depth), || rng.random_range(-1.0f32..1.0));
        let pair = QParams::affine(-1.0, 1.0, QRange::U8)?;
        // Sums of two uniform numbers: few large weights, as models have them.
        let weights = Array2::from_shape_simple_fn((depth, columns), || {
            rng.random_range(-63i8..=63) + rng.random_range(-63i8..=63)
        });
        let mut codes = Array2::zeros((rows, depth));
        quantize(pair, &x, &mut codes)?;
        Ok(Self {
            x,
            pair,
            codes,
            weights: PackedWeights::new(Kernel::best(), weights.view())?,
            scales: (0..columns).map(|j| 1e-3 + 1e-6 * j as f32).collect(),
            bias: (0..columns).map(|j| 0.01 * j as f32).collect(),
            whole_bias: (0..columns as i32).map(|j| 3 * j - 1000).collect(),
        })
    }

    fn activations(&self) -> fewer_bits::Result<Activations<'_>> {
        let zero_point = u8::try_from(self.pair.zero_point()).unwrap_or_default();
        Ok(Activations::u8(self.codes.view(), zero_point))
    }
}

fn quantize(pair: QParams, x: &Array2<f32>, codes: &mut Array2<u8>) -> fewer_bits::Result<()> {
    let codes = codes.as_slice_mut().unwrap_or_default();
    elementwise::Kernel::best().quantize(pair, x.as_slice().unwrap_or_default(), codes)
}

/// An epilogue as a pass of its own: over all rows, compiled for AVX2 where the CPU has it, as inside
/// the kernels.
fn pass<E: Epilogue>(epilogue: &E, sums: ArrayView2<'_, i32>, out: ArrayViewMut2<'_, E::Out>) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 was detected.
        return unsafe { pass_avx2(epilogue, sums, out) };
    }
    pass_plain(epilogue, sums, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn pass_avx2<E: Epilogue>(epilogue: &E, sums: ArrayView2<'_, i32>, out: ArrayViewMut2<'_, E::Out>) {
    pass_plain(epilogue, sums, out);
}

#[inline(always)]
fn pass_plain<E: Epilogue>(
    epilogue: &E,
    sums: ArrayView2<'_, i32>,
    mut out: ArrayViewMut2<'_, E::Out>,
) {
    for (row, (sums, mut out)) in sums.rows().into_iter().zip(out.rows_mut()).enumerate() {
        if let (Some(sums), Some(out)) = (sums.as_slice(), out.as_slice_mut()) {
            epilogue.finish(row, 0, sums, out);
        }
    }
}

fn fused() -> std::result::Result<String, String> {
    let mut table = String::from(
        "| layer | product alone | separate passes | fused | written and read between |\n|:--|--:|--:|--:|--:|\n",
    );
    let mut quiet = Vec::new();
    for (rows, depth, columns) in [(128, 384, 1536), (2048, 384, 1536)] {
        let layer = Layer::new(rows, depth, columns).map_err(|e| e.to_string())?;
        let shape = format!("{rows}×{depth}×{columns}");
        for (name, times, between) in [
            (
                "f32 to f32",
                real(&layer),
                rows * depth + 4 * rows * columns,
            ),
            ("u8 to u8", bytes(&layer), 4 * rows * columns),
        ] {
            let times = times.map_err(|e| e.to_string())?;
            let [alone, apart, fused] = [0, 1, 2].map(|i| 1e3 * on_cpu(&times[i]));
            table += &format!(
                "| {name}, {shape} | {alone:.2} ms | {apart:.2} ms | {fused:.2} ms | {:.1} MB |\n",
                2e-6 * between as f64
            );
            quiet.push(disturbed(&times));
        }
    }
    Ok(table + &footnote(&quiet))
}

fn footnote(disturbed: &[f64]) -> String {
    format!(
        "\nMedians of {ROUNDS} interleaved rounds on one core of a shared {}; others had the core for up to {:.0} % of the time, which is not counted.\n",
        support::machine(),
        100.0 * disturbed.iter().copied().fold(0.0, f64::max)
    )
}

type Times = Vec<Vec<support::clock::Time>>;

/// f32 to f32: the product alone, three passes, one.
fn real(layer: &Layer) -> Result<Times> {
    let shape = (layer.x.nrows(), layer.weights.columns());
    let (mut alone, mut between) = (Array2::<i32>::zeros(shape), Array2::<i32>::zeros(shape));
    let (mut apart, mut fused) = (Array2::<f32>::zeros(shape), Array2::<f32>::zeros(shape));
    let mut codes = layer.codes.clone();
    let (row_scales, pairs) = ([layer.pair.scale()], [layer.pair]);
    let epilogue = Dequantize {
        row_scales: &row_scales,
        column_scales: &layer.scales,
        bias: &layer.bias,
        relu: true,
    };
    let zero_point = u8::try_from(layer.pair.zero_point())?;
    let multiply = |a: &Activations<'_>, out: &mut Array2<i32>| {
        let done = layer.weights.multiply(a, &Sums, out.view_mut());
        done.expect("shapes fit");
    };
    let given = layer.activations()?;
    let mut runs: Vec<Run<'_>> = vec![
        Box::new(|| multiply(&given, &mut alone)),
        Box::new(|| {
            quantize(layer.pair, &layer.x, &mut codes).expect("numbers");
            multiply(&Activations::u8(codes.view(), zero_point), &mut between);
            pass(&epilogue, between.view(), apart.view_mut());
            black_box(&mut apart);
        }),
        Box::new(|| {
            let x = Activations::quantizing(layer.x.view(), &pairs).expect("a pair of bytes");
            let done = layer.weights.multiply(&x, &epilogue, fused.view_mut());
            done.expect("shapes fit");
            black_box(&mut fused);
        }),
    ];
    in_turns(1, &mut runs);
    let times = in_turns(ROUNDS, &mut runs);
    drop(runs);
    match apart == fused {
        true => Ok(times),
        false => Err("the passes and the fused layer differ".into()),
    }
}

/// Bytes to bytes: the product alone, two passes, one.
fn bytes(layer: &Layer) -> Result<Times> {
    let shape = (layer.x.nrows(), layer.weights.columns());
    let (mut alone, mut between) = (Array2::<i32>::zeros(shape), Array2::<i32>::zeros(shape));
    let (mut apart, mut fused) = (Array2::<u8>::zeros(shape), Array2::<u8>::zeros(shape));
    let y = QParams::new(0.1, 128, QRange::U8)?;
    let epilogue = Requantize::<u8>::new(layer.pair.scale(), &layer.scales, y, &layer.whole_bias)?;
    let given = layer.activations()?;
    let multiply = |out: &mut Array2<i32>| {
        let done = layer.weights.multiply(&given, &Sums, out.view_mut());
        done.expect("shapes fit");
    };
    let mut runs: Vec<Run<'_>> = vec![
        Box::new(|| multiply(&mut alone)),
        Box::new(|| {
            multiply(&mut between);
            pass(&epilogue, between.view(), apart.view_mut());
            black_box(&mut apart);
        }),
        Box::new(|| {
            let done = layer.weights.multiply(&given, &epilogue, fused.view_mut());
            done.expect("shapes fit");
            black_box(&mut fused);
        }),
    ];
    in_turns(1, &mut runs);
    let times = in_turns(ROUNDS, &mut runs);
    drop(runs);
    match apart == fused {
        true => Ok(times),
        false => Err("the passes and the fused layer differ".into()),
    }
}

/// Convolutions by way of all patches, and without.
fn patches() -> std::result::Result<String, String> {
    let mut table = String::from(
        "| convolution | image | patches | patches first | while packing |\n|:--|--:|--:|--:|--:|\n",
    );
    let mut quiet = Vec::new();
    for (size, channels, outputs) in [(28, 32, 64), (56, 64, 64)] {
        let times = convolutions(size, channels, outputs).map_err(|e| e.to_string())?;
        let [first, packing] = [0, 1].map(|i| 1e3 * on_cpu(&times[i]));
        let image = size * size * channels;
        table += &format!(
            "| 3×3, {size}×{size}×{channels} to {outputs} | {} KB | {} KB | {first:.2} ms | {packing:.2} ms |\n",
            image / 1000,
            9 * image / 1000
        );
        quiet.push(disturbed(&times));
    }
    let channels = 256;
    let times = depthwise(28, channels).map_err(|e| e.to_string())?;
    let [products, depthwise] = [0, 1].map(|i| 1e3 * on_cpu(&times[i]));
    quiet.push(disturbed(&times));
    table += &format!(
        "\nThe depthwise convolution 3×3 of 28×28×{channels} takes {depthwise:.2} ms in a loop over channels, and {products:.2} ms as {channels} products of matrices.\n"
    );
    Ok(table + &footnote(&quiet))
}

const ZERO_POINT: u8 = 100;

fn random_image(size: usize, channels: usize) -> Array4<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    Array4::from_shape_simple_fn((1, size, size, channels), || rng.random())
}

fn random_filters(outputs: usize, channels: usize) -> Array4<i8> {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut weight = || rng.random_range(-63i8..=63) + rng.random_range(-63i8..=63);
    Array4::from_shape_simple_fn((outputs, 3, 3, channels), &mut weight)
}

/// With the padding that keeps the size.
fn sliding() -> Sliding {
    Sliding {
        padding: [[1, 1]; 2],
        ..Sliding::default()
    }
}

fn convolutions(size: usize, channels: usize, outputs: usize) -> Result<Times> {
    let (image, filters) = (
        random_image(size, channels),
        random_filters(outputs, channels),
    );
    let packed = PackedFilters::new(Kernel::best(), filters.view(), &[], sliding(), 1)?;
    let flat = filters
        .view()
        .into_shape_with_order((outputs, 9 * channels))?;
    let weights = PackedWeights::new(Kernel::best(), flat.t())?;
    let window = Window::new([3, 3], [1, 1], [1, 1])?;
    let (pixels, depth) = (size * size, 9 * channels);
    let mut rows = Vec::with_capacity(pixels * depth);
    let mut first = Array2::<i32>::zeros((pixels, outputs));
    let mut packing = Array4::<i32>::zeros((1, size, size, outputs));
    let mut runs: Vec<Run<'_>> = vec![
        Box::new(|| {
            rows.clear();
            let (values, shape) = (image.as_slice().unwrap_or_default(), image.dim().into());
            im2col(values, shape, window, ZERO_POINT, &mut rows).expect("the image fits");
            let a = ArrayView2::from_shape((pixels, depth), &rows).expect("a row a pixel");
            let a = Activations::u8(a, ZERO_POINT);
            let done = weights.multiply(&a, &Sums, first.view_mut());
            done.expect("shapes fit");
        }),
        Box::new(|| {
            let images = Images::u8(image.view(), ZERO_POINT);
            let done = packed.convolve(&images, &Sums, packing.view_mut());
            done.expect("shapes fit");
        }),
    ];
    in_turns(1, &mut runs);
    let times = in_turns(ROUNDS, &mut runs);
    drop(runs);
    match first.iter().eq(&packing) {
        true => Ok(times),
        false => Err("the convolutions differ".into()),
    }
}

/// One product for each channel, with its patches written first; and the loop over channels.
fn depthwise(size: usize, channels: usize) -> Result<Times> {
    let (image, filters) = (random_image(size, channels), random_filters(channels, 1));
    let packed = PackedFilters::new(Kernel::best(), filters.view(), &[], sliding(), channels)?;
    let mut weights = Vec::new();
    for filter in filters.outer_iter() {
        let filter = filter.to_shape((9, 1))?;
        weights.push(PackedWeights::new(Kernel::best(), filter.view())?);
    }
    let window = Window::new([3, 3], [1, 1], [1, 1])?;
    let mut products = Array2::<i32>::zeros((size * size, channels));
    let mut looped = Array4::<i32>::zeros((1, size, size, channels));
    let mut rows = Vec::new();
    let mut runs: Vec<Run<'_>> = vec![
        Box::new(|| {
            for (channel, weights) in weights.iter().enumerate() {
                let values: Vec<u8> = image.index_axis(Axis(3), channel).iter().copied().collect();
                rows.clear();
                im2col(&values, [1, size, size, 1], window, ZERO_POINT, &mut rows)
                    .expect("it fits");
                let a = ArrayView2::from_shape((size * size, 9), &rows).expect("a row a pixel");
                let out = products.slice_mut(s![.., channel..channel + 1]);
                let done = weights.multiply(&Activations::u8(a, ZERO_POINT), &Sums, out);
                done.expect("shapes fit");
            }
        }),
        Box::new(|| {
            let images = Images::u8(image.view(), ZERO_POINT);
            let done = packed.convolve(&images, &Sums, looped.view_mut());
            done.expect("shapes fit");
        }),
    ];
    in_turns(1, &mut runs);
    let times = in_turns(ROUNDS, &mut runs);
    drop(runs);
    match products.iter().eq(&looped) {
        true => Ok(times),
        false => Err("the depthwise convolutions differ".into()),
    }
}

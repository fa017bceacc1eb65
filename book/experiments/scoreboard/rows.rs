//! What is measured: operations, shapes, and who does them.

use std::error::Error;
use std::sync::Arc;

use fewer_bits::gemm::{Kernel, PackedWeights, PackedWeights4};
use fewer_bits::{Isa, QParams, QRange, elementwise};
use ndarray::Array2;
use rayon::ThreadPool;

use super::bench::limits::Kind;
use super::bench::operands::{Operands, Operands4, RealOperands, Shape, Weights};
use super::bench::{Contender, ours, peers};

const PRODUCTS: [Shape; 5] = [
    Shape(512, 512, 512),
    Shape(1024, 1024, 1024),
    Shape(2048, 2048, 2048),
    Shape(128, 384, 1536),
    Shape(8, 1024, 1024),
];
const ONE_ROW: Shape = Shape(1, 4096, 4096);
const LINEAR: Shape = Shape(128, 384, 1536);
/// Elements of the element-wise operations: more than the caches hold.
const ELEMENTS: usize = 16 << 20;
/// What is to come out of memory takes turns, as the weights of a network do: as many copies as fill
/// so many bytes.
const COLD_BYTES: usize = 128 << 20;

/// One line of the scoreboard.
pub struct Row {
    pub op: String,
    pub shape: String,
    pub threads: usize,
    pub who: String,
    /// Whether results are those of the reference, to the last bit, extremes included.
    pub exact: bool,
    /// Operations of a call.
    pub operations: f64,
    /// Bytes that a call must move.
    pub bytes: f64,
    /// What limits it.
    pub limit: Kind,
    pub run: Box<dyn FnMut() + Send>,
    /// Of each call.
    pub seconds: Vec<f64>,
}

/// Builds rows, each of which is checked first.
pub struct Builder {
    pub pools: Vec<(usize, ThreadPool)>,
    kernels: Vec<Kernel>,
    pub rows: Vec<Row>,
}

/// What is the same for all contenders of one contest.
struct Contest {
    op: String,
    shape: Shape,
    bytes_of_a_weight: usize,
    cold: bool,
}

impl Contest {
    fn bytes(&self) -> f64 {
        let Shape(m, k, n) = self.shape;
        (self.bytes_of_a_weight * (m * k + k * n) + 4 * m * n) as f64
    }

    /// How many weights take turns.
    fn copies(&self) -> usize {
        let bytes = self.bytes_of_a_weight * self.shape.1 * self.shape.2;
        if self.cold {
            COLD_BYTES.div_ceil(bytes)
        } else {
            1
        }
    }
}

impl Builder {
    /// All rows.
    pub fn all() -> Result<Self, Box<dyn Error>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let mut builder = Self {
            pools: vec![(1, pool(1)?)],
            kernels: ours::kernels()?,
            rows: Vec::new(),
        };
        if cores > 1 {
            builder.pools.push((2, pool(2)?));
        }
        for shape in PRODUCTS {
            let contest = |op: &str| Contest {
                op: op.to_owned(),
                shape,
                bytes_of_a_weight: 1,
                cold: false,
            };
            let operands = Operands::new(shape, Weights::Normal);
            builder.int8(&contest("gemm_u8i8"), &operands, &[1, 2])?;
            builder.int4(&contest("gemm_w4a8"), &operands)?;
            if shape == LINEAR {
                builder.linear(&contest("linear_fused"), &operands)?;
            }
            let worst = Operands::new(shape, Weights::Uniform);
            builder.int8(&contest("gemm_u8i8_worst"), &worst, &[1])?;
            builder.float(shape)?;
        }
        let operands = Operands::new(ONE_ROW, Weights::Normal);
        for (op, cold) in [("gemv_u8i8", true), ("gemv_u8i8_again", false)] {
            let contest = Contest {
                op: op.to_owned(),
                shape: ONE_ROW,
                bytes_of_a_weight: 1,
                cold,
            };
            builder.int8(&contest, &operands, &[1, 2])?;
        }
        let contest = Contest {
            op: "gemv_w4a8".to_owned(),
            shape: ONE_ROW,
            bytes_of_a_weight: 1,
            cold: true,
        };
        builder.int4(&contest, &operands)?;
        builder.float(ONE_ROW)?;
        builder.elementwise()?;
        Ok(builder)
    }

    fn int8(
        &mut self,
        contest: &Contest,
        operands: &Operands,
        threads: &[usize],
    ) -> Result<(), Box<dyn Error>> {
        for (index, kernel) in self.kernels.clone().into_iter().enumerate() {
            let packed = PackedWeights::new(kernel, operands.b.view())?;
            let weights = Arc::new(vec![packed; contest.copies()]);
            for &threads in threads {
                let who = ours::name(index, kernel.isa());
                let contender = ours::int8(who, &operands.a, &weights);
                self.add_int8(contest, threads, contender, operands, Some(kernel.isa()))?;
            }
        }
        let weights = Arc::new(vec![operands.b.clone(); contest.copies()]);
        for &threads in threads {
            let mut contender = peers::int8(&operands.a, &weights);
            let exact = is_exact_at_extremes();
            contender.who += if exact { "" } else { " (saturates)" };
            self.add_int8(contest, threads, contender, operands, None)?;
        }
        Ok(())
    }

    /// `isa` is that of our own kernel, which must be right.
    fn add_int8(
        &mut self,
        contest: &Contest,
        threads: usize,
        contender: Contender<i32>,
        operands: &Operands,
        isa: Option<Isa>,
    ) -> Result<(), Box<dyn Error>> {
        let kind = Kind::Int8(isa.unwrap_or(self.kernels[0].isa()));
        let limit = match (contest.shape.0, contest.cold) {
            (1, true) => Kind::Read,
            (1, false) => Kind::ReadAgain,
            _ => kind,
        };
        let peer = isa.is_none();
        self.add(
            contest,
            threads,
            limit,
            contender,
            operands.sums.len(),
            |out| match out == operands.sums {
                true if peer => Ok(is_exact_at_extremes()),
                false if !peer => Err("sums differ from the reference"),
                right => Ok(right),
            },
        )
    }

    fn float(&mut self, shape: Shape) -> Result<(), Box<dyn Error>> {
        let operands = RealOperands::new(shape);
        let contest = Contest {
            op: "gemm_f32".to_owned(),
            shape,
            bytes_of_a_weight: 4,
            cold: shape.0 == 1,
        };
        let weights = vec![operands.b.clone(); contest.copies()];
        let limit = if shape.0 == 1 {
            Kind::Read
        } else {
            f32_limit()
        };
        for threads in [1, 2] {
            for contender in peers::float(&operands.a, &weights, threads) {
                let len = operands.product.len();
                self.add(
                    &contest,
                    threads,
                    limit,
                    contender,
                    len,
                    |out| match operands.accepts(out) {
                        true => Ok(false),
                        false => Err("a result is farther off than rounding can explain"),
                    },
                )?;
            }
        }
        Ok(())
    }

    fn int4(&mut self, contest: &Contest, operands: &Operands) -> Result<(), Box<dyn Error>> {
        let int4 = Operands4::new(operands);
        for (index, kernel) in self.kernels.clone().into_iter().enumerate() {
            let (codes, scales) = (int4.codes.view(), int4.scales.view());
            let packed = PackedWeights4::new(kernel, codes, scales, Operands4::GROUP)?;
            let bytes = packed.bytes();
            let copies = match contest.cold {
                true => COLD_BYTES.div_ceil(bytes),
                false => 1,
            };
            let weights = Arc::new(vec![packed; copies]);
            for threads in [1, 2] {
                let who = ours::name(index, kernel.isa());
                let contender = ours::int4(who, &int4.a, &weights);
                let limit = match contest.cold {
                    true => Kind::Read,
                    false => Kind::Int8(kernel.isa()),
                };
                self.add(
                    contest,
                    threads,
                    limit,
                    contender,
                    int4.product.len(),
                    |out| match out == int4.product {
                        true => Ok(true),
                        false => Err("a product in 4 bits differs from the definition"),
                    },
                )?;
                if let Some(row) = self.rows.last_mut() {
                    let Shape(m, k, n) = contest.shape;
                    row.bytes = (m * k + bytes + 4 * m * n) as f64;
                }
            }
        }
        Ok(())
    }

    fn linear(&mut self, contest: &Contest, operands: &Operands) -> Result<(), Box<dyn Error>> {
        let (x, pair) = operands.real_input();
        let bias: Vec<f32> = (0..contest.shape.2).map(|j| j as f32 / 100.0).collect();
        let codes = x.mapv(|x| pair.quantize(x).map_or(0, |q| q as u8));
        let sums =
            fewer_bits::gemm::reference(codes.view(), pair.zero_point(), operands.b.view(), 0);
        let right = Array2::from_shape_fn(sums.dim(), |(i, j)| {
            sums[(i, j)] as f32 * (pair.scale() * operands.scales[j]) + bias[j]
        });
        for (index, kernel) in self.kernels.clone().into_iter().enumerate() {
            let packed = PackedWeights::new(kernel, operands.b.view())?;
            for threads in [1, 2] {
                let who = ours::name(index, kernel.isa());
                let (scales, bias) = (operands.scales.clone(), bias.clone());
                let contender = ours::linear(who, &x, pair, packed.clone(), scales, bias);
                let limit = Kind::Int8(kernel.isa());
                self.add(
                    contest,
                    threads,
                    limit,
                    contender,
                    right.len(),
                    |out| match right.iter().eq(out) {
                        true => Ok(true),
                        false => Err("a layer's output differs from the formula"),
                    },
                )?;
            }
        }
        Ok(())
    }

    fn elementwise(&mut self) -> Result<(), Box<dyn Error>> {
        let wanted = std::env::var("FEWER_BITS_ISA").ok();
        let kernel = match wanted {
            Some(name) => elementwise::Kernel::new(name.parse()?),
            None => None,
        };
        let kernel = kernel.unwrap_or(elementwise::Kernel::best());
        let pair = QParams::affine(-1.0, 1.1, QRange::U8)?;
        let x: Arc<Vec<f32>> = Arc::new(
            (0..ELEMENTS)
                .map(|i| (i % 1021) as f32 / 500.0 - 1.0)
                .collect(),
        );
        let codes = x.iter().map(|&x| pair.quantize(x).map(|q| q as u8));
        let codes: Arc<Vec<u8>> = Arc::new(codes.collect::<Result<_, _>>()?);
        let values = codes.iter().map(|&q| pair.dequantize(q.into()));
        let values: Vec<f32> = values.collect();
        let ends = x
            .iter()
            .fold((0f32, 0f32), |(lo, hi), &x| (lo.min(x), hi.max(x)));
        let inputs = vec![x.to_vec(); COLD_BYTES / size_of_val(&x[..])];
        let mut turns = (0..inputs.len()).cycle();
        let codes2 = codes.clone();
        self.add_elementwise("quantize", 5, &codes, move |out| {
            kernel.quantize(pair, &x, out).unwrap();
        })?;
        self.add_elementwise("dequantize", 5, &values, move |out| {
            kernel.dequantize(pair, &codes2, out).unwrap();
        })?;
        self.add_elementwise("min_max", 4, &[ends], move |out| {
            let x = &inputs[turns.next().unwrap()];
            out[0] = kernel.min_max(x).unwrap();
        })
    }

    fn add_elementwise<T: Copy + Default + PartialEq + Send + 'static>(
        &mut self,
        op: &str,
        bytes: usize,
        right: &[T],
        run: impl FnMut(&mut [T]) + Send + 'static,
    ) -> Result<(), Box<dyn Error>> {
        let contest = Contest {
            op: op.to_owned(),
            shape: Shape(1, 1, ELEMENTS),
            bytes_of_a_weight: bytes,
            cold: false,
        };
        let contender = Contender::new("fewer-bits", run);
        let limit = if op == "min_max" {
            Kind::Read
        } else {
            Kind::Copy
        };
        self.add(&contest, 1, limit, contender, right.len(), |out| {
            match out == right {
                true => Ok(true),
                false => Err("a value differs from the definition"),
            }
        })?;
        let row = self.rows.last_mut().ok_or("added above")?;
        row.shape = ELEMENTS.to_string();
        row.operations = ELEMENTS as f64;
        row.bytes = (bytes * ELEMENTS) as f64;
        Ok(())
    }

    /// Runs the contender once on as many threads as it will have, and adds it if `check` agrees;
    /// `check` says whether it is exact.
    fn add<T: Copy + Default + Send + 'static>(
        &mut self,
        contest: &Contest,
        threads: usize,
        limit: Kind,
        mut contender: Contender<T>,
        len: usize,
        check: impl Fn(&[T]) -> Result<bool, &'static str>,
    ) -> Result<(), Box<dyn Error>> {
        let Some((_, pool)) = self.pools.iter().find(|(count, _)| *count == threads) else {
            return Ok(());
        };
        let mut out = vec![T::default(); len];
        pool.install(|| (contender.run)(&mut out));
        let exact = check(&out).map_err(|what| {
            format!("{} {} {}: {what}", contest.op, contest.shape, contender.who)
        })?;
        self.rows.push(Row {
            op: contest.op.clone(),
            shape: contest.shape.to_string(),
            threads,
            who: contender.who,
            exact,
            operations: contest.shape.operations(),
            bytes: contest.bytes(),
            limit,
            run: Box::new(move || (contender.run)(&mut out)),
            seconds: Vec::new(),
        });
        Ok(())
    }
}

/// The widest f32 instructions of this CPU.
pub fn f32_limit() -> Kind {
    #[cfg(target_arch = "x86_64")]
    return match is_x86_feature_detected!("avx512f") {
        true => Kind::F32(512),
        false => Kind::F32(256),
    };
    #[cfg(not(target_arch = "x86_64"))]
    Kind::F32(128)
}

/// Whether the peer's 8-bit product is right for the largest sums of each sign.
fn is_exact_at_extremes() -> bool {
    [127, -128].into_iter().all(|weight| {
        let a = Arc::new(Array2::from_elem((8, 64), 255u8));
        let b = Arc::new(vec![Array2::from_elem((64, 64), weight)]);
        let mut out = vec![0; 8 * 64];
        (peers::int8(&a, &b).run)(&mut out);
        out.iter().all(|&sum| sum == 64 * 255 * i32::from(weight))
    })
}

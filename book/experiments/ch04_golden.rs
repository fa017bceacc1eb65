//! Chapter 4: makes the golden vectors of `book/data/golden`, and shows what each of them catches.

pub mod golden;
pub mod support;

use fewer_bits::{QParams, QRange};
use golden::mistakes::MISTAKES;
use golden::verdict::verdict;
use golden::{Answer, Question, Vector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{Evidence, Outcome};

type Made<T> = Result<T, Box<dyn std::error::Error>>;

pub fn main() -> Outcome {
    std::fs::write(golden::path(), golden::to_json(&vectors()?))?;
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let vectors = vectors()?;
    let mut families: Vec<(&str, usize, usize)> = Vec::new();
    for vector in &vectors {
        let family = vector.name.split(',').next().unwrap_or_default();
        let values = vector.question.values().len();
        match families.iter_mut().find(|row| row.0 == family) {
            Some(row) => (row.1, row.2) = (row.1 + 1, row.2 + values),
            None => families.push((family, 1, values)),
        }
    }
    let mut table = String::from("| family | vectors | values |\n|:--|--:|--:|\n");
    for (family, count, values) in families {
        table += &format!("| {family} | {count} | {values} |\n");
    }
    evidence.text("ch04_golden.md", table);

    let mut table = String::from(
        "| a quantizer that … | first caught by | vectors that catch it |\n|:--|:--|--:|\n",
    );
    for mistake in &MISTAKES {
        let caught = vectors.iter().filter(|vector| {
            let line = mistake.answer(&vector.question);
            vector
                .answer
                .fault(&line, vector.question.values())
                .is_some()
        });
        let caught: Vec<_> = caught.map(|vector| vector.name.as_str()).collect();
        let first = caught.first().ok_or(mistake.does)?;
        table += &format!("| {} | {first} | {} |\n", mistake.does, caught.len());
    }
    evidence.text("ch04_mistakes.md", table);

    let answers: String = vectors
        .iter()
        .map(|vector| MISTAKES[0].answer(&vector.question) + "\n")
        .collect();
    let complaint = verdict(&vectors, &answers).err().ok_or(MISTAKES[0].does)?;
    evidence.text("ch04_complaint.md", format!("```text\n{complaint}```"));
    Ok(())
}

/// All vectors, by family.
pub fn vectors() -> Made<Vec<Vector>> {
    let mut made = Vec::new();
    for family in [ties, saturation, zero, one_sided, anywhere, near_ties] {
        for (name, range) in ranges()? {
            made.extend(family(&name, range)?);
        }
    }
    for (name, range) in [("i8", QRange::I8), ("u8", QRange::U8), ("i16", QRange::I16)] {
        made.extend(extreme_scales(name, range)?);
    }
    for (name, range) in ranges()? {
        made.extend(choices(&name, range)?);
    }
    Ok(made)
}

/// Signed, unsigned and narrow ranges of every width.
fn ranges() -> Made<Vec<(String, QRange)>> {
    let mut all = Vec::new();
    for bits in [8, 2, 3, 4, 5, 6, 7, 16] {
        all.push((format!("i{bits}"), QRange::signed(bits)?));
        all.push((format!("u{bits}"), QRange::unsigned(bits)?));
        all.push((format!("i{bits} narrow"), QRange::narrow(bits)?));
    }
    Ok(all)
}

fn quantize(name: String, why: &str, p: QParams, x: Vec<f32>) -> Made<Vector> {
    let codes = x.iter().map(|&x| p.quantize(x)).collect::<Result<_, _>>()?;
    Ok(Vector {
        name,
        why: why.to_owned(),
        question: Question::Quantize {
            qmin: p.range().min(),
            qmax: p.range().max(),
            scale: p.scale(),
            zero_point: p.zero_point(),
            x,
        },
        answer: Answer::Codes(codes),
    })
}

/// A zero point near the middle that is odd.
fn odd(range: QRange) -> i32 {
    range.center() | 1
}

fn ties(name: &str, range: QRange) -> Made<Vec<Vector>> {
    let x: Vec<_> = (-9..=9).map(|k| k as f32 / 4.0).collect();
    let why = "half-way between two multiples of the scale, the even multiple wins";
    let odd_why = "the even multiple of the scale wins, which is not the even code if the zero \
                   point is odd";
    Ok(vec![
        quantize(
            format!("half-way, {name}"),
            why,
            QParams::new(0.5, range.center(), range)?,
            x.clone(),
        )?,
        quantize(
            format!("half-way with odd zero point, {name}"),
            odd_why,
            QParams::new(0.5, odd(range), range)?,
            x,
        )?,
    ])
}

fn saturation(name: &str, range: QRange) -> Made<Vec<Vector>> {
    let p = QParams::new(0.25, range.center(), range)?;
    let (lo, hi) = p.representable();
    let beyond = [-1.0, -0.5, -0.4375, 0.0, 0.4375, 0.5, 1.0].map(|steps| steps * 0.25);
    let mut x: Vec<_> = [lo, hi]
        .iter()
        .flat_map(|end| beyond.map(|d| end + d))
        .collect();
    x.extend([1e5, -1e5, 3e9, -3e9, f32::MAX, f32::MIN]);
    let why = "a value beyond the last code gets the last code, however far away it is";
    Ok(vec![quantize(format!("saturation, {name}"), why, p, x)?])
}

fn zero(name: &str, range: QRange) -> Made<Vec<Vector>> {
    let tiny = f32::from_bits(1);
    let mut made = Vec::new();
    for z in [range.min(), range.max()] {
        let p = QParams::new(1.0, z, range)?;
        let x = vec![
            0.0,
            -0.0,
            tiny,
            -tiny,
            f32::MIN_POSITIVE,
            -f32::MIN_POSITIVE,
        ];
        let why = "zero, either zero, has the zero point as its code, and so has all that rounds \
                   to it";
        made.push(quantize(
            format!("zero, {name}, zero point {z}"),
            why,
            p,
            x,
        )?);
    }
    Ok(made)
}

fn one_sided(name: &str, range: QRange) -> Made<Vec<Vector>> {
    let mut made = Vec::new();
    for z in [range.min(), range.max()] {
        let p = QParams::new(2.0, z, range)?;
        let (lo, hi) = p.representable();
        let x = (0..=8).map(|k| lo + (hi - lo) / 8.0 * k as f32).collect();
        let why = "with the zero point at an end there are more steps on one side than the range \
                   has codes on that side of 0: add the zero point first, then saturate";
        made.push(quantize(
            format!("one-sided, {name}, zero point {z}"),
            why,
            p,
            x,
        )?);
    }
    Ok(made)
}

/// A seed that depends on the range alone.
fn seeded(range: QRange, family: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(family << 32 | (range.steps() as u64) << 8 | (range.min() < 0) as u64)
}

fn random_pair(rng: &mut ChaCha8Rng, range: QRange) -> Made<QParams> {
    let scale = rng.random_range(1.0f32..2.0) * 2f32.powi(rng.random_range(-8..2));
    let zero_point = rng.random_range(range.min()..=range.max());
    Ok(QParams::new(scale, zero_point, range)?)
}

fn anywhere(name: &str, range: QRange) -> Made<Vec<Vector>> {
    let mut rng = seeded(range, 1);
    let p = random_pair(&mut rng, range)?;
    let (lo, hi) = p.representable();
    let x = (0..12)
        .map(|_| lo + (hi - lo) * rng.random_range(-0.1f32..1.1))
        .collect();
    let why = "nothing special: any values";
    Ok(vec![quantize(format!("anywhere, {name}"), why, p, x)?])
}

fn near_ties(name: &str, range: QRange) -> Made<Vec<Vector>> {
    let mut rng = seeded(range, 2);
    let mut made = Vec::new();
    for number in 1..=2 {
        let p = random_pair(&mut rng, range)?;
        let mut x = Vec::new();
        for _ in 0..6 {
            let code = rng.random_range(range.min()..range.max());
            let steps = (code - p.zero_point()) as f32 + 0.5;
            let half_way = steps * p.scale();
            x.extend([half_way.next_down(), half_way, half_way.next_up()]);
        }
        let why = "so near to half-way that it matters how the quotient was rounded: it is x / s, \
                   divided in f32";
        made.push(quantize(
            format!("nearly half-way, {name}, {number}"),
            why,
            p,
            x,
        )?);
    }
    Ok(made)
}

fn extreme_scales(name: &str, range: QRange) -> Made<Vec<Vector>> {
    let small = f32::MIN_POSITIVE;
    let p = QParams::new(small, range.center(), range)?;
    let mut x: Vec<_> = (-7..=7).map(|k| k as f32 * (small / 4.0)).collect();
    x.extend([small.next_down(), 1e-30, -1e30]);
    let why = "subnormal values count: the smallest scale is 2^-126, and half of it is not 0";
    let smallest = quantize(format!("smallest scale, {name}"), why, p, x)?;

    let large = f32::MAX / range.steps() as f32 * 1.5;
    let p = QParams::new(large, range.center(), range)?;
    let x = [0.4, 0.5, 0.6, 1.0, 1.5, 2.0, 2.5].map(|steps| steps * large);
    let mut x: Vec<_> = x.iter().flat_map(|&x| [x, -x]).collect();
    x.extend([f32::MAX, f32::MIN, small]);
    let why = "large numbers: 1/s would be so small that it has lost digits";
    Ok(vec![
        smallest,
        quantize(format!("largest scale, {name}"), why, p, x)?,
    ])
}

fn choices(name: &str, range: QRange) -> Made<Vec<Vector>> {
    let mut rng = seeded(range, 3);
    let a = rng.random_range(0.1f32..1.0);
    let n = range.steps() as f32;
    let cases: [(&str, &str, Vec<f32>); 10] = [
        (
            "five numbers",
            "the interval, computed in f32",
            vec![-1.0, -0.5, 0.0, 0.5, 1.0],
        ),
        (
            "half-way",
            "lo / s = -0.5 becomes the even number, 0, before it is subtracted from qmin",
            vec![-0.5, n - 0.5],
        ),
        (
            "symmetric",
            "round lo / s first, then subtract it from qmin",
            vec![-a, a],
        ),
        (
            "shifted",
            "the zero point is rounded, the ends are not kept",
            vec![-0.9, 0.1, 2.1],
        ),
        (
            "positive",
            "widen the interval to contain 0 before anything else",
            vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        ),
        (
            "negative",
            "widen the interval to contain 0 before anything else",
            vec![-10.0, -7.5, -5.0],
        ),
        (
            "constant",
            "widened, the interval of a constant has a width",
            vec![3.0, 3.0, 3.0],
        ),
        (
            "zeros",
            "the scale of zeros alone is 1, for it must divide",
            vec![0.0, -0.0],
        ),
        (
            "tiny",
            "a scale is never subnormal: 2^-126 is the smallest",
            vec![f32::from_bits(1), -0.0],
        ),
        (
            "huge",
            "lo and hi are large, their difference is not infinite",
            vec![-1.5e38, 1e-3, 1.5e38],
        ),
    ];
    let mut made = Vec::new();
    for (case, why, x) in cases {
        let lo = x.iter().copied().fold(f32::INFINITY, f32::min);
        let hi = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let p = QParams::affine(lo, hi, range)?;
        made.push(Vector {
            name: format!("choose, {name}, {case}"),
            why: why.to_owned(),
            question: Question::Choose {
                qmin: range.min(),
                qmax: range.max(),
                x,
            },
            answer: Answer::Pair(p.scale(), p.zero_point()),
        });
    }
    Ok(made)
}

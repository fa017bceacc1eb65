//! The golden vectors: questions to a quantizer, with the right answers.
//!
//! A question is a line of words, so that a program in any language can read it:
//!
//! - `quantize QMIN QMAX SCALE ZERO_POINT X X …`, answered by a code for each X;
//! - `choose QMIN QMAX X X …`, answered by a scale and a zero point.
#![allow(dead_code, unreachable_pub)] // each program uses its own part of this module

pub mod mistakes;
pub mod verdict;

use serde_json::Value;
use std::error::Error;
use std::path::PathBuf;

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// The code of each value.
    Quantize {
        qmin: i32,
        qmax: i32,
        scale: f32,
        zero_point: i32,
        x: Vec<f32>,
    },
    /// The scale and the zero point for values.
    Choose { qmin: i32, qmax: i32, x: Vec<f32> },
}

/// What is right.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Codes(Vec<i32>),
    Pair(f32, i32),
}

/// A question with its answer, a name, and what it is there to show.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    pub name: String,
    pub why: String,
    pub question: Question,
    pub answer: Answer,
}

impl Question {
    /// The question as a line.
    pub fn line(&self) -> String {
        match self {
            Self::Quantize {
                qmin,
                qmax,
                scale,
                zero_point,
                x,
            } => format!(
                "quantize {qmin} {qmax} {} {zero_point} {}",
                number(*scale),
                joined(x, " ")
            ),
            Self::Choose { qmin, qmax, x } => format!("choose {qmin} {qmax} {}", joined(x, " ")),
        }
    }

    /// The values that are asked about.
    pub fn values(&self) -> &[f32] {
        match self {
            Self::Quantize { x, .. } | Self::Choose { x, .. } => x,
        }
    }
}

impl Answer {
    /// What is wrong with a line that should say this, if anything is.
    pub fn fault(&self, line: &str, x: &[f32]) -> Option<String> {
        let words: Vec<_> = line.split_whitespace().collect();
        let expected = match self {
            Self::Codes(codes) => codes.len(),
            Self::Pair(..) => 2,
        };
        if words.len() != expected {
            let got = words.len();
            return Some(format!("{expected} numbers are expected, got {got}"));
        }
        match self {
            Self::Codes(codes) => {
                codes
                    .iter()
                    .zip(x)
                    .zip(words)
                    .enumerate()
                    .find_map(|(index, ((code, x), word))| {
                        let right = word.parse() == Ok(*code);
                        let x = number(*x);
                        (!right)
                            .then(|| format!("x[{index}] = {x} has the code {code}, not {word}"))
                    })
            }
            Self::Pair(scale, zero_point) => {
                // Read as f64 first, as most languages do; an f32 survives that.
                let same = words[0].parse().is_ok_and(|s: f64| s as f32 == *scale);
                let scale = number(*scale);
                if !same {
                    Some(format!("the scale is {scale}, not {}", words[0]))
                } else if words[1].parse() != Ok(*zero_point) {
                    Some(format!("the zero point is {zero_point}, not {}", words[1]))
                } else {
                    None
                }
            }
        }
    }
}

/// An f32 in decimal, exactly: reading it as f64 or as f32 gives the same number.
pub fn number(x: f32) -> String {
    let wide = f64::from(x);
    if x == 0.0 && x.is_sign_negative() {
        "-0.0".to_owned()
    } else if x == 0.0 || (1e-5..1e10).contains(&wide.abs()) {
        format!("{wide}")
    } else {
        format!("{wide:e}")
    }
}

fn joined(x: &[f32], separator: &str) -> String {
    let words: Vec<_> = x.iter().map(|&x| number(x)).collect();
    words.join(separator)
}

/// The vectors as JSON, one a line.
pub fn to_json(vectors: &[Vector]) -> String {
    let lines: Vec<_> = vectors.iter().map(|v| format!("  {}", json(v))).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

fn json(vector: &Vector) -> String {
    let head = format!("\"name\": {:?}, \"why\": {:?}", vector.name, vector.why);
    let body = match (&vector.question, &vector.answer) {
        (
            Question::Quantize {
                qmin,
                qmax,
                scale,
                zero_point,
                x,
            },
            Answer::Codes(codes),
        ) => {
            let (scale, x) = (number(*scale), joined(x, ", "));
            format!(
                "\"ask\": \"quantize\", \"qmin\": {qmin}, \"qmax\": {qmax}, \"scale\": {scale}, \
                 \"zero_point\": {zero_point}, \"x\": [{x}], \"codes\": {codes:?}"
            )
        }
        (question, answer) => {
            let (Question::Choose { qmin, qmax, x }, Answer::Pair(scale, zero_point)) =
                (question, answer)
            else {
                unreachable!("a question to quantize is answered by codes, one to choose by a pair")
            };
            let (scale, x) = (number(*scale), joined(x, ", "));
            format!(
                "\"ask\": \"choose\", \"qmin\": {qmin}, \"qmax\": {qmax}, \"x\": [{x}], \
                 \"scale\": {scale}, \"zero_point\": {zero_point}"
            )
        }
    };
    format!("{{{head}, {body}}}")
}

/// Where the vectors are kept.
pub fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("book/data/golden/quantizer.json")
}

/// The committed vectors.
pub fn load() -> Result<Vec<Vector>, Box<dyn Error>> {
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path())?)?;
    let all = all.as_array().ok_or("the file is an array")?;
    all.iter()
        .map(|v| Ok(vector(v).ok_or("a field is missing")?))
        .collect()
}

fn vector(v: &Value) -> Option<Vector> {
    let int = |v: &Value| i32::try_from(v.as_i64()?).ok();
    let float = |v: &Value| Some(v.as_f64()? as f32);
    let text = |key: &str| Some(v[key].as_str()?.to_owned());
    let (qmin, qmax) = (int(&v["qmin"])?, int(&v["qmax"])?);
    let (scale, zero_point) = (float(&v["scale"])?, int(&v["zero_point"])?);
    let x = v["x"]
        .as_array()?
        .iter()
        .map(float)
        .collect::<Option<_>>()?;
    let (question, answer) = if v["ask"] == "quantize" {
        let codes = v["codes"].as_array()?.iter().map(int);
        let question = Question::Quantize {
            qmin,
            qmax,
            scale,
            zero_point,
            x,
        };
        (question, Answer::Codes(codes.collect::<Option<_>>()?))
    } else {
        let question = Question::Choose { qmin, qmax, x };
        (question, Answer::Pair(scale, zero_point))
    };
    Some(Vector {
        name: text("name")?,
        why: text("why")?,
        question,
        answer,
    })
}

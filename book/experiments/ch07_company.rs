//! Chapter 7: what the rest of a batch does to an image.

pub mod support;

use std::error::Error;

use fewer_bits::exec::Scope;
use fewer_bits::nn::{Dataset, fold_batch_norm};
use fewer_bits::ptq::Dynamic;
use fewer_bits::{QParams, QRange, Scheme};
use ndarray::{ArrayD, Axis, Slice, concatenate};
use support::networks::{self, correct, predictions};
use support::{Evidence, Outcome};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Images in a batch.
const BATCH: usize = 50;

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let mut company = String::from(
        "| network | images | others, one pair for the tensor | largest change of a logit | others, a pair for each row | largest change |\n\
         |:--|--:|--:|--:|--:|--:|\n",
    );
    let mut outlier = String::from(
        "| network | images | among others | beside 20 × | beside 255 × | a pair for each row, beside 255 × |\n\
         |:--|--:|--:|--:|--:|--:|\n",
    );
    for name in networks::NAMES {
        let trial = Trial::new(name)?;
        company += &trial.company()?;
        outlier += &trial.outlier()?;
    }
    evidence.text("ch07_company.md", company);
    evidence.text("ch07_outlier.md", outlier);
    evidence.text("ch07_steps.md", steps()?);
    Ok(())
}

struct Trial {
    name: &'static str,
    scopes: [Dynamic; 2],
    test: Dataset,
}

impl Trial {
    fn new(name: &'static str) -> Result<Self> {
        let network = fold_batch_norm(&networks::trained(name)?)?;
        let of = |scope| Dynamic::new(&network, Scheme::weights(0), scope);
        Ok(Self {
            name,
            scopes: [of(Scope::Tensor)?, of(Scope::Row)?],
            test: networks::first(&networks::committed(name)?.1, 250)?,
        })
    }

    /// The outputs in batches of `size`.
    fn outputs(&self, model: &Dynamic, size: usize) -> Result<ArrayD<f32>> {
        let mut parts = Vec::new();
        for batch in self.test.inputs().axis_chunks_iter(Axis(0), size) {
            parts.push(model.forward(batch)?);
        }
        let parts: Vec<_> = parts.iter().map(|part| part.view()).collect();
        Ok(concatenate(Axis(0), &parts)?)
    }

    /// Alone and in company.
    fn company(&self) -> Result<String> {
        let mut row = format!("| {} | {} |", self.name, self.test.len());
        for model in &self.scopes {
            let (alone, together) = (self.outputs(model, 1)?, self.outputs(model, BATCH)?);
            let pairs = alone.iter().zip(&together);
            let change = pairs.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            let others = predictions(&alone).into_iter().zip(predictions(&together));
            let others = others.filter(|(a, b)| a != b).count();
            row += &format!(" {others} | {change:.2} |");
        }
        Ok(row + "\n")
    }

    /// Each batch gets one more image, which is the last one made brighter, and is not counted.
    fn beside(&self, model: &Dynamic, brighter: f32) -> Result<usize> {
        let mut found = Vec::new();
        for batch in self.test.inputs().axis_chunks_iter(Axis(0), BATCH) {
            let last = batch.slice_axis(Axis(0), Slice::from(-1..));
            let bright = last.mapv(|x| brighter * x);
            let with = concatenate(Axis(0), &[batch.view(), bright.view()])?;
            let mut all = predictions(&model.forward(with.view())?);
            all.pop();
            found.extend(all);
        }
        Ok(correct(&found, &self.test))
    }

    fn outlier(&self) -> Result<String> {
        let [tensor, row] = &self.scopes;
        let cells = [
            self.test.len(),
            self.beside(tensor, 1.0)?,
            self.beside(tensor, 20.0)?,
            self.beside(tensor, 255.0)?,
            self.beside(row, 255.0)?,
        ];
        let cells: Vec<String> = cells.iter().map(usize::to_string).collect();
        Ok(format!("| {} | {} |\n", self.name, cells.join(" | ")))
    }
}

/// How many codes are left for the pixels of an image, 0 to 1, when another goes to `brightest`.
fn steps() -> Result<String> {
    let mut table = String::from(
        "| the brightest pixel | 1 | 2 | 5 | 20 | 100 | 255 |\n|:--|--:|--:|--:|--:|--:|--:|\n| codes for 0 to 1 |",
    );
    for brightest in [1.0, 2.0, 5.0, 20.0, 100.0, 255.0] {
        let pair = QParams::affine(0.0, brightest, QRange::U8)?;
        table += &format!(" {} |", pair.quantize(1.0)? + 1);
    }
    Ok(table + "\n")
}

//! The integers and their simulation, side by side.

use ndarray::ArrayD;

use super::{FakeQuantize, Integer, Value};
use crate::error::Result;
use crate::nn::*;

/// How far apart the codes of one site are.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteDifference {
    /// The site.
    pub site: String,
    /// The largest difference of two codes.
    pub largest: u32,
    /// How many codes differ.
    pub differing: usize,
    /// How many codes there are.
    pub of: usize,
}

/// Runs each layer on the integers and, on the real numbers that these stand for, in the
/// simulation, and notes where the codes differ. The integers go on to the next layer, so each site
/// is judged by itself.
#[derive(Debug, Clone)]
pub struct Compare<'a> {
    integer: Integer<'a>,
    fake: FakeQuantize<'a>,
    differences: Vec<SiteDifference>,
}

impl<'a> Compare<'a> {
    /// An executor that has compared nothing.
    pub fn new(integer: Integer<'a>, fake: FakeQuantize<'a>) -> Self {
        let differences = Vec::new();
        Self {
            integer,
            fake,
            differences,
        }
    }

    /// What was found at each site whose output is codes.
    pub fn into_differences(self) -> Vec<SiteDifference> {
        self.differences
    }

    fn note(&mut self, site: &str, y: Value, simulated: ArrayD<f32>) -> Value {
        if let Value::Codes(codes, pair) = &y {
            // A layer that has its successor's ReLU in it saturates where the ReLU cuts.
            let apart = codes.iter().zip(&simulated);
            let apart = apart.map(|(q, x)| i32::from(*q).abs_diff(pair.code(*x)));
            let (mut largest, mut differing) = (0, 0);
            for apart in apart {
                largest = largest.max(apart);
                differing += usize::from(apart > 0);
            }
            self.differences.push(SiteDifference {
                site: site.to_owned(),
                largest,
                differing,
                of: codes.len(),
            });
        }
        y
    }

    /// The input rounded to its codes, for both.
    fn input(&self, x: Value) -> Result<(Value, ArrayD<f32>)> {
        let x = match x {
            Value::Real(x) => Value::Real(super::fake::rounded(x, self.integer.input)?),
            codes => codes,
        };
        Ok((x.clone(), x.into_real()))
    }
}

macro_rules! side_by_side {
    ($($name:ident: $layer:ty),*) => {$(
        fn $name(&mut self, site: &str, layer: $layer, x: Value) -> Result<Value> {
            let (codes, real) = self.input(x)?;
            let y = self.integer.$name(site, layer, codes)?;
            let simulated = self.fake.$name(site, layer, real)?;
            Ok(self.note(site, y, simulated))
        }
    )*};
}

impl Executor for Compare<'_> {
    type Value = Value;

    side_by_side! {
        linear: &Linear, conv2d: &Conv2d, depthwise_conv2d: &DepthwiseConv2d,
        batch_norm: &BatchNorm, activation: Activation, pool: Pool
    }

    fn flatten(&mut self, site: &str, x: Value) -> Result<Value> {
        self.integer.flatten(site, x)
    }
}

//! What a network's walk can compute besides f32: ranges, simulated codes, and integers.
//!
//! The one idea: each is an [`Executor`](crate::nn::Executor) that walks the one
//! [`Network`](crate::nn::Network). [`Calibrate`] computes in f32 and shows each layer's output to
//! an observer; [`FakeQuantize`] rounds to codes and back; [`Integer`] computes with the codes
//! alone; [`Compare`] runs the last two side by side; [`Dynamic`] reads its scales off each batch.
//! Chapters 6, 7 and 10.

mod calibrate;
mod compare;
mod dynamic;
mod fake;
mod integer;
mod pairs;
mod pool;
mod product;
mod requantize;

pub use calibrate::Calibrate;
pub use compare::{Compare, SiteDifference};
pub use dynamic::{Dynamic, DynamicLayer, Scope};
pub use fake::FakeQuantize;
pub use integer::{Integer, Step, Value};
pub use pairs::{Pairs, rounded_sites};
pub(crate) use pairs::{is_relu, weight_granularity};
pub use product::Product;
pub use requantize::{Requantize, Rounding};

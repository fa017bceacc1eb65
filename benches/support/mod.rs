//! What the bench and the scoreboard share: this machine's limits, operands with their right
//! answers, and those who multiply them.
#![allow(dead_code, unreachable_pub)] // each program uses its own part of this module

#[path = "ceilings.rs"]
pub mod ceilings;
pub mod convolutions;
pub mod limits;
pub mod operands;
pub mod ours;
pub mod peers;

/// Somebody who can do one thing again and again, writing the result over `out`, row by row.
pub struct Contender<T> {
    pub who: String,
    pub run: Run<T>,
}

type Run<T> = Box<dyn FnMut(&mut [T]) + Send>;

impl<T> Contender<T> {
    pub fn new(who: impl Into<String>, run: impl FnMut(&mut [T]) + Send + 'static) -> Self {
        Self {
            who: who.into(),
            run: Box::new(run),
        }
    }
}

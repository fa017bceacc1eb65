//! The laws of the crate, as properties over all inputs, the ugly ones included.
//!
//! A law's name is the sentence that it proves. Where a law needs a tolerance, its comment derives
//! it; `u` is the unit roundoff of f32, 2⁻²⁴: a rounded result is the exact one times 1 + δ with
//! |δ| ≤ u.

mod bad_input;
mod qparams;
mod strategies;

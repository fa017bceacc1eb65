//! The laws of the crate, as properties over all inputs, the ugly ones included.
//!
//! A law's name is the sentence that it proves. Where a law needs a tolerance, its comment derives
//! it; `u` is the unit roundoff of f32, 2⁻²⁴: a rounded result is the exact one times 1 + δ with
//! |δ| ≤ u.

mod bad_onnx;
mod bad_params;
mod bad_tensors;
mod elementwise;
mod onnx;
mod onnx_integer;
mod packed4;
mod qparams;
mod qtensor;
mod schemes;
mod size;
mod strategies;

/// The message of an error contains each of these.
fn message_names(error: &fewer_bits::Error, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "`{message}` does not say `{part}`");
    }
}

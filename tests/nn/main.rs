//! The laws of `fewer_bits::nn`.

mod bad_networks;
mod forward;
mod reference;
mod strategies;

//! The laws of `fewer_bits::nn`.

mod bad_networks;
mod forward;
mod gradients;
mod reference;
mod strategies;
mod trained;
mod training;

//! The laws of the kernels: each equals the reference bit for bit, on every instruction set that
//! this machine has.

mod conv;
mod epilogue;
mod gemm;
mod int4;
mod ladder;
mod operands;

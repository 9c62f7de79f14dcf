//! LLVM: the only user of inkwell. One function per routine and per piece of it, explicit vector instructions, no
//! fast-math, so that the same bits come out however the code is run and on however many threads.

mod bf16;
mod common;
mod emit;
mod gemm;
mod jam;
mod kernel;
mod machine;
mod module;
mod nest;
mod operations;
mod orthonormalize;
mod pack;
mod piece;
mod routine;
mod scalars;
mod share;

pub use gemm::scratch_bytes;
pub use machine::{host_features, host_triple};
pub use module::{Engine, Module, compile, load};
pub use routine::symbol;

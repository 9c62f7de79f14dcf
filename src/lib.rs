//! `blkc`: the compiler for `.blk`, a declarative language for networks made of blocks.
//!
//! The pipeline, each stage with its own immutable type (see ARCHITECTURE.md):
//! `Sources → Ast → Hir → Ir → Plan → Loops → LLVM module → jit function | object file`.

pub mod axes;
pub mod cli;
pub mod codegen;
pub mod compile;
pub mod diag;
pub mod driver;
pub mod hessian;
mod ids;
pub mod intrinsics;
pub mod ir;
pub mod loops;
pub mod lower;
pub mod manifest;
pub mod numeric;
pub mod plot;
pub mod resolve;
pub mod shape;
pub mod source;
pub mod stdlib;
pub mod sym;
pub mod syntax;
pub mod trainer;

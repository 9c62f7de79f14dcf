//! From loops to machine code: one LLVM module, two sinks (the process itself, or an object file for the linker).

pub mod aot;
pub mod family;
pub mod jit;
pub mod link;
pub mod llvm;
mod pieces;
pub mod target;

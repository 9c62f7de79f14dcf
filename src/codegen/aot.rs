//! Code as files: objects for native trainers, assembly and LLVM IR for reading.

use blk_runtime::manifest::{ENTRIES_SYMBOL, MANIFEST_LEN_SYMBOL, MANIFEST_SYMBOL};

use super::llvm;
use super::target::Target;
use crate::loops::Program;

/// Object code of a verified program with its table of level functions and its manifest (JSON). An error says why
/// the target has no code.
pub fn object(program: &Program, target: &Target, manifest: &[u8]) -> Result<Vec<u8>, String> {
    let module = llvm::compile(program, target)?;
    module.add_entries(ENTRIES_SYMBOL);
    module.add_bytes(MANIFEST_SYMBOL, manifest);
    module.add_u64(MANIFEST_LEN_SYMBOL, manifest.len() as u64);
    module.object()
}

/// Assembly of a verified program, for reading.
pub fn assembly(program: &Program, target: &Target) -> Result<String, String> {
    llvm::compile(program, target)?.assembly()
}

/// Optimized LLVM IR of a verified program, for reading.
pub fn llvm_ir(program: &Program, target: &Target) -> Result<String, String> {
    Ok(llvm::compile(program, target)?.ir())
}

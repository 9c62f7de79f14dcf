//! Code as files: objects for native trainers, assembly and LLVM IR for reading.

use blk_runtime::manifest::{PATHS_LEN_SYMBOL, PATHS_SYMBOL};

use super::llvm::{self, Module};
use super::target::Target;
use crate::loops::Program;

/// A verified program for one kind of machine.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    pub program: &'a Program,
    pub target: &'a Target,
    /// JSON.
    pub manifest: &'a [u8],
}

/// Object code of the paths (at least one, all of one architecture), in the order in which a machine tries them, with
/// their manifests. An error says why a target has no code.
pub fn object(paths: &[Path]) -> Result<Vec<u8>, String> {
    all(paths)?.object()
}

/// Assembly for reading, without the manifests.
pub fn assembly(paths: &[Path]) -> Result<String, String> {
    all(&bare(paths))?.assembly()
}

/// Optimized LLVM IR for reading, without the manifests.
pub fn llvm_ir(paths: &[Path]) -> Result<String, String> {
    Ok(all(&bare(paths))?.ir())
}

fn bare<'a>(paths: &[Path<'a>]) -> Vec<Path<'a>> {
    paths.iter().map(|path| Path { manifest: b"", ..*path }).collect()
}

fn all(paths: &[Path]) -> Result<Module, String> {
    // The last needs least: its machine's code generator serves the functions of all, which name their features.
    let (least, wider) = paths.split_last().ok_or("no target")?;
    let name = |number: usize| format!("blk_path_{number}");
    let module = compile(least, &name(wider.len()))?;
    for (number, path) in wider.iter().enumerate() {
        module.absorb(&compile(path, &name(number))?)?;
    }
    module.add_pointers(PATHS_SYMBOL, &(0..paths.len()).map(name).collect::<Vec<_>>());
    module.add_u64(PATHS_LEN_SYMBOL, paths.len() as u64);
    Ok(module)
}

/// One path's code under that name, which is all that is seen of it outside.
fn compile(path: &Path, name: &str) -> Result<Module, String> {
    let module = llvm::compile(path.program, path.target)?;
    module.add_path(name, &path.target.features.join(","), path.manifest);
    Ok(module)
}

//! The pipeline from a checked network to running code: derive, lower, compile, describe. Each step is a value.

use std::time::{Duration, Instant};

use blk_runtime::features;
use blk_runtime::manifest::Manifest;
use blk_runtime::pool::Pool;
use blk_runtime::program::Program;

use crate::codegen::{aot, jit::Jit, llvm, target::Target};
use crate::hessian::{Plan, program, ranks::Ranks};
use crate::ir::{Network, Precision};
use crate::loops::{self, Arithmetic};
use crate::lower::{self, Lowered};
use crate::manifest::manifest;

/// A network's expressions and their loops.
pub struct Planned {
    pub plan: Plan,
    pub lowered: Lowered,
}

/// Derives and lowers. An error is a limit of the lowering, in words for the user.
pub fn plan(network: &Network) -> Result<Planned, String> {
    plan_for(network, Ranks::Alone)
}

/// The like for ranks that take every step together.
pub fn plan_for(network: &Network, ranks: Ranks) -> Result<Planned, String> {
    let plan = program::derive_for(network, ranks)?;
    let options = lower::Options { arithmetic: arithmetic(network), ..lower::Options::default() };
    let lowered = lower::lower(&plan, &options)?;
    Ok(Planned { plan, lowered })
}

/// What the network's precision allows its products.
fn arithmetic(network: &Network) -> Arithmetic {
    let precision = network.training.as_ref().map(|training| training.settings.precision);
    match precision.unwrap_or_default() {
        Precision::F32 => Arithmetic::F32,
        Precision::F32Strict => Arithmetic::Fma,
        Precision::Bf16 => Arithmetic::Bf16,
    }
}

impl Planned {
    /// Bytes that a step needs: the arena, and scratch for as many threads as this machine has.
    pub fn peak_bytes(&self) -> usize {
        let program = &self.lowered.program;
        program.arena_bytes + Pool::available() * llvm::scratch_bytes(program, &Target::native())
    }
}

/// Loops with their description, ready for a sink.
pub struct Compiled {
    pub program: loops::Program,
    pub manifest: Manifest,
    pub target: Target,
}

/// Derives, lowers and describes `network` for `target`.
pub fn compile(network: &Network, target: &Target) -> Result<Compiled, String> {
    compile_for(network, target, Ranks::Alone)
}

/// The like for ranks that take every step together.
pub fn compile_for(network: &Network, target: &Target, ranks: Ranks) -> Result<Compiled, String> {
    let Planned { plan, lowered } = plan_for(network, ranks)?;
    let scratch = llvm::scratch_bytes(&lowered.program, target);
    let manifest = manifest(network, &plan, &lowered, ranks, target, scratch);
    Ok(Compiled { program: lowered.program, manifest, target: target.clone() })
}

/// A program in this process: the code lives as long as the runtime's view of it.
pub struct Loaded {
    pub program: Program,
    /// From loops to callable code.
    pub compile_time: Duration,
    // Dropped after `program`, whose functions it holds.
    _code: Jit,
}

/// Compiles just in time.
pub fn load(compiled: &Compiled) -> Result<Loaded, String> {
    features::check(&compiled.manifest.target).map_err(|error| error.to_string())?;
    let start = Instant::now();
    let code = Jit::new(&compiled.program, &compiled.target)?;
    let compile_time = start.elapsed();
    // SAFETY: the code was compiled with this manifest and is kept beside the program.
    let program = unsafe { Program::new(compiled.manifest.clone(), |symbol| Some(code.routine(symbol))) }
        .map_err(|error| error.to_string())?;
    Ok(Loaded { program, compile_time, _code: code })
}

/// Calls `write` with the program's paths, as [`aot`] takes them: the same network compiled for one or several machines,
/// the widest first.
pub fn with_paths<T>(
    paths: &[Compiled],
    write: impl FnOnce(&[aot::Path]) -> Result<T, String>,
) -> Result<T, String> {
    let manifest = |path: &Compiled| serde_json::to_vec(&path.manifest).map_err(|error| error.to_string());
    let manifests = paths.iter().map(manifest).collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<aot::Path> = paths
        .iter()
        .zip(&manifests)
        .map(|(path, manifest)| aot::Path { program: &path.program, target: &path.target, manifest })
        .collect();
    write(&parts)
}

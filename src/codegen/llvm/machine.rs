//! LLVM's description of the host and of the target.

use std::sync::Once;

use inkwell::OptimizationLevel;
use inkwell::targets::{
    CodeModel, InitializationConfig, RelocMode, Target as LlvmTarget, TargetMachine, TargetTriple,
};

use crate::codegen::target::Target;

/// Features of this machine, in LLVM's names.
pub fn host_features() -> Vec<String> {
    let features = TargetMachine::get_host_cpu_features().to_string();
    features.split(',').filter_map(|feature| feature.strip_prefix('+')).map(str::to_string).collect()
}

/// Triple of this machine.
pub fn host_triple() -> String {
    TargetMachine::get_default_triple().as_str().to_string_lossy().into_owned()
}

/// LLVM's code generator for a target; an error names the architectures that there are.
pub fn machine(target: &Target) -> Result<TargetMachine, String> {
    static START: Once = Once::new();
    START.call_once(|| {
        LlvmTarget::initialize_x86(&InitializationConfig::default());
        LlvmTarget::initialize_aarch64(&InitializationConfig::default());
    });
    let triple = TargetTriple::create(&target.triple);
    let unknown = || format!("no code generator for `{}`; there are x86_64 and aarch64", target.triple);
    let known = LlvmTarget::from_triple(&triple).map_err(|_| unknown())?;
    known
        .create_target_machine(
            &triple,
            target.baseline(),
            &target.feature_string(),
            OptimizationLevel::Default,
            RelocMode::PIC,
            CodeModel::Default,
        )
        .ok_or_else(unknown)
}

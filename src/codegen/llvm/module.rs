//! A compiled module, and its two uses: an engine in this process, or bytes of an object file.

use std::ptr::NonNull;

use inkwell::OptimizationLevel;
use inkwell::context::Context;
use inkwell::execution_engine::ExecutionEngine;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{FileType, TargetMachine};
use inkwell::types::BasicType;

use super::emit::Emitter;
use super::{level, machine};
use crate::codegen::target::Target;
use crate::loops::Program;

/// What cleans up after the emitters. They write explicit vectors and place invariants themselves, so that neither
/// vectorizers nor unrollers are needed.
const PASSES: &str = "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,\
                      loop-mssa(licm),early-cse<memssa>,simplifycfg),globaldce";

/// Keeps the context in which a module lives.
struct Owned(NonNull<Context>);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the pointer comes from a box, and what borrowed from it was declared, hence dropped, before it.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// Optimized code of a program for a target.
pub struct Module {
    module: inkwell::module::Module<'static>,
    machine: TargetMachine,
    symbols: Vec<String>,
    context: Owned,
}

/// Compiles a program that `loops::verify` accepts. Each level gets a function named by `symbol`. An error says why
/// LLVM cannot produce code for the target.
pub fn compile(program: &Program, target: &Target) -> Result<Module, String> {
    let machine = machine::machine(target)?;
    let owned = Owned(NonNull::from(Box::leak(Box::new(Context::create()))));
    // SAFETY: the context lives in a box of its own until `owned`, the last field of the result, is dropped.
    let context: &'static Context = unsafe { owned.0.as_ref() };
    let emitter = Emitter::new(context, "blk", target);
    emitter.module.set_triple(&machine.get_triple());
    emitter.module.set_data_layout(&machine.get_target_data().get_data_layout());
    let mut symbols = Vec::new();
    for routine in &program.routines {
        for (number, level) in routine.levels.iter().enumerate() {
            let symbol = level::symbol(&routine.name, number);
            level::emit(&emitter, program, level, &symbol);
            symbols.push(symbol);
        }
    }
    let Emitter { module, builder, .. } = emitter;
    drop(builder);
    let module = Module { module, machine, symbols, context: owned };
    if cfg!(debug_assertions) {
        module.module.verify().map_err(|error| format!("LLVM refuses the module: {error}"))?;
    }
    module
        .module
        .run_passes(PASSES, &module.machine, PassBuilderOptions::create())
        .map_err(|error| error.to_string())?;
    Ok(module)
}

impl Module {
    /// Symbols of the level functions, routine by routine.
    pub fn symbols(&self) -> &[String] {
        &self.symbols
    }

    /// The optimized module as LLVM IR.
    pub fn ir(&self) -> String {
        self.module.print_to_string().to_string()
    }

    /// The code as assembly.
    pub fn assembly(&self) -> Result<String, String> {
        self.file(FileType::Assembly).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The code as bytes of an object file.
    pub fn object(&self) -> Result<Vec<u8>, String> {
        self.file(FileType::Object)
    }

    fn file(&self, kind: FileType) -> Result<Vec<u8>, String> {
        let buffer =
            self.machine.write_to_memory_buffer(&self.module, kind).map_err(|error| error.to_string())?;
        let mut bytes = buffer.as_slice().to_vec();
        if kind == FileType::Assembly && bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }

    /// Adds a constant under an external name.
    pub fn add_bytes(&self, name: &str, bytes: &[u8]) {
        let value = self.context().const_string(bytes, false);
        self.constant(name, &value);
    }

    /// Adds a u64 constant under an external name.
    pub fn add_u64(&self, name: &str, value: u64) {
        self.constant(name, &self.context().i64_type().const_int(value, false));
    }

    /// Adds the table of the level functions under an external name.
    pub fn add_entries(&self, name: &str) {
        let pointer = self.context().ptr_type(inkwell::AddressSpace::default());
        let addresses: Vec<_> = self
            .symbols
            .iter()
            .filter_map(|symbol| self.module.get_function(symbol))
            .map(|function| function.as_global_value().as_pointer_value())
            .collect();
        self.constant(name, &pointer.const_array(&addresses));
    }

    fn context(&self) -> inkwell::context::ContextRef<'static> {
        self.module.get_context()
    }

    fn constant(&self, name: &str, value: &dyn inkwell::values::BasicValue<'static>) {
        let value = value.as_basic_value_enum();
        let global = self.module.add_global(value.get_type().as_basic_type_enum(), None, name);
        global.set_initializer(&value);
        global.set_constant(true);
        global.set_alignment(64);
    }

    /// Loads the code into this process.
    pub fn engine(self) -> Result<Engine, String> {
        let engine = self
            .module
            .create_jit_execution_engine(OptimizationLevel::Default)
            .map_err(|error| error.to_string())?;
        for (name, address) in library() {
            if let Some(function) = self.module.get_function(name) {
                engine.add_global_mapping(&function, address);
            }
        }
        Ok(Engine { engine, _module: self.module, _context: self.context })
    }
}

/// Functions of the C library that code may call, at their addresses in this process.
fn library() -> [(&'static str, usize); 5] {
    unsafe extern "C" {
        fn exp(x: f64) -> f64;
        fn log(x: f64) -> f64;
        fn sin(x: f64) -> f64;
        fn cos(x: f64) -> f64;
        fn pow(x: f64, y: f64) -> f64;
    }
    let of = |function: unsafe extern "C" fn(f64) -> f64| function as usize;
    [
        ("exp", of(exp)),
        ("log", of(log)),
        ("sin", of(sin)),
        ("cos", of(cos)),
        ("pow", pow as *const () as usize),
    ]
}

/// Code in this process.
pub struct Engine {
    engine: ExecutionEngine<'static>,
    _module: inkwell::module::Module<'static>,
    _context: Owned,
}

impl Engine {
    /// Address of a function, valid as long as the engine lives.
    pub fn address(&self, symbol: &str) -> Option<usize> {
        self.engine.get_function_address(symbol).ok()
    }
}

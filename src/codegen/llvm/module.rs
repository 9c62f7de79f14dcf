//! A compiled module, and its two uses: an engine in this process, or bytes of an object file.

use std::ptr::NonNull;
use std::sync::Arc;

use inkwell::OptimizationLevel;
use inkwell::context::Context;
use inkwell::execution_engine::ExecutionEngine;
use inkwell::module::Linkage;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{FileType, TargetMachine};
use inkwell::types::BasicType;
use inkwell::values::{BasicValue, GlobalValue};

use super::common::Common;
use super::emit::Emitter;
use super::{machine, piece, routine, share};
use crate::codegen::pieces::Pieces;
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

/// Optimized code for a target.
pub struct Module {
    module: inkwell::module::Module<'static>,
    machine: TargetMachine,
    /// Of functions that are called from outside.
    symbols: Vec<String>,
    context: Owned,
}

/// Compiles a program that `loops::verify` accepts into one module. Each routine gets a function named by `symbol`. An
/// error says why LLVM cannot produce code for the target.
pub fn compile(program: &Program, target: &Target) -> Result<Module, String> {
    let pieces = Pieces::of(program);
    Module::new(target, None, |emitter| {
        for number in 0..pieces.list.len() {
            piece::emit(emitter, &pieces, number).set_linkage(Linkage::Internal);
        }
        routines(emitter, program, &pieces)
    })
}

/// Emits the functions of all routines and returns their names.
fn routines(emitter: &Emitter, program: &Program, pieces: &Pieces) -> Vec<String> {
    for (of, calls) in program.routines.iter().zip(&pieces.levels) {
        routine::emit(emitter, of, calls);
    }
    program.routines.iter().map(|of| routine::symbol(&of.name)).collect()
}

impl Module {
    /// What `emit` writes, optimized; it returns names of functions, as `symbols`.
    fn new(
        target: &Target,
        common: Option<Arc<Common>>,
        emit: impl FnOnce(&Emitter) -> Vec<String>,
    ) -> Result<Module, String> {
        let machine = machine::machine(target)?;
        let owned = Owned(NonNull::from(Box::leak(Box::new(Context::create()))));
        // SAFETY: the context lives in a box of its own until `owned`, the last field of the result, is dropped.
        let context: &'static Context = unsafe { owned.0.as_ref() };
        let emitter = Emitter::new(context, "blk", target, common);
        emitter.module.set_triple(&machine.get_triple());
        emitter.module.set_data_layout(&machine.get_target_data().get_data_layout());
        let symbols = emit(&emitter);
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

    /// Adds a u64 constant under an external name.
    pub fn add_u64(&self, name: &str, value: u64) {
        self.constant(name, &self.int(value));
    }

    /// Adds a table of pointers to what has these names.
    pub fn add_pointers(&self, name: &str, to: &[String]) {
        let addresses: Vec<_> = to
            .iter()
            .filter_map(|name| self.module.get_global(name))
            .map(|global| global.as_pointer_value())
            .collect();
        self.constant(name, &self.pointer().const_array(&addresses));
    }

    /// Adds a `blk_runtime::manifest::Path` under an external name; the routines are seen through it alone.
    pub fn add_path(&self, name: &str, features: &str, manifest: &[u8]) {
        let functions = self.symbols.iter().filter_map(|symbol| self.module.get_function(symbol));
        let entries: Vec<_> = functions
            .map(|function| {
                function.set_linkage(Linkage::Internal);
                function.as_global_value().as_pointer_value()
            })
            .collect();
        let inner = |value: &dyn BasicValue<'static>| {
            let global = self.constant("", value);
            global.set_linkage(Linkage::Private);
            global.as_pointer_value().as_basic_value_enum()
        };
        let bytes = |bytes: &[u8]| inner(&self.context().const_string(bytes, false));
        let length = |bytes: &[u8]| self.int(bytes.len() as u64).as_basic_value_enum();
        let fields = [
            bytes(features.as_bytes()),
            length(features.as_bytes()),
            bytes(manifest),
            length(manifest),
            inner(&self.pointer().const_array(&entries)),
        ];
        self.constant(name, &self.context().const_struct(&fields, false));
    }

    /// Takes in the code of another module for the same architecture.
    pub fn absorb(&self, other: &Module) -> Result<(), String> {
        let bitcode = other.module.write_bitcode_to_memory();
        let context = self.context();
        let copy = context.create_module_from_ir(bitcode).map_err(|error| error.to_string())?;
        self.module.link_in_module(copy).map_err(|error| error.to_string())
    }

    fn pointer(&self) -> inkwell::types::PointerType<'static> {
        self.context().ptr_type(inkwell::AddressSpace::default())
    }

    fn int(&self, value: u64) -> inkwell::values::IntValue<'static> {
        self.context().i64_type().const_int(value, false)
    }

    fn context(&self) -> inkwell::context::ContextRef<'static> {
        self.module.get_context()
    }

    fn constant(&self, name: &str, value: &dyn BasicValue<'static>) -> GlobalValue<'static> {
        let value = value.as_basic_value_enum();
        let global = self.module.add_global(value.get_type().as_basic_type_enum(), None, name);
        global.set_initializer(&value);
        global.set_constant(true);
        global.set_alignment(64);
        global
    }

    /// Loads the code into this process; `others` are functions that it calls, by name and address.
    fn engine(self, others: &[(String, usize)]) -> Result<Part, String> {
        let engine = self
            .module
            .create_jit_execution_engine(OptimizationLevel::Default)
            .map_err(|error| error.to_string())?;
        let others = others.iter().map(|(name, address)| (name.as_str(), *address));
        for (name, address) in library().into_iter().chain(others) {
            if let Some(function) = self.module.get_function(name) {
                engine.add_global_mapping(&function, address);
            }
        }
        Ok(Part { engine, _module: self.module, _context: self.context })
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

/// A module's code in this process.
struct Part {
    engine: ExecutionEngine<'static>,
    _module: inkwell::module::Module<'static>,
    _context: Owned,
}

// SAFETY: a part has a context of its own and shares nothing with others; it goes from one thread to another as a whole.
unsafe impl Send for Part {}

impl Part {
    fn address(&self, symbol: &str) -> Option<usize> {
        self.engine.get_function_address(symbol).ok()
    }
}

/// Code in this process.
pub struct Engine {
    routines: Part,
    /// The functions that `routines` call, and where these find each other.
    pieces: Vec<Part>,
    _common: Arc<Common>,
}

impl Engine {
    /// How many were compiled, each by one thread.
    pub fn modules(&self) -> usize {
        self.pieces.len() + 1
    }

    /// Address of a function, valid as long as the engine lives.
    pub fn address(&self, symbol: &str) -> Option<usize> {
        self.routines.address(symbol)
    }
}

/// Compiles a program that `loops::verify` accepts into this process, on up to `threads` threads. The code does not
/// depend on their number.
pub fn load(program: &Program, target: &Target, threads: usize) -> Result<Engine, String> {
    let pieces = Pieces::of(program);
    let shares = share::shares(&pieces, threads);
    if shares.len() <= 1 {
        let routines = compile(program, target)?.engine(&[])?;
        return Ok(Engine { routines, pieces: Vec::new(), _common: Arc::default() });
    }
    let common = Arc::default();
    let compiled =
        share::on_threads(threads, shares, |share| compile_pieces(&pieces, &share, target, &common));
    let compiled = compiled.into_iter().collect::<Result<Vec<_>, String>>()?;
    let (parts, addresses): (Vec<Part>, Vec<_>) = compiled.into_iter().unzip();
    let addresses = addresses.concat();
    addresses.iter().for_each(|(name, address)| common.fill(name, *address));
    let routines = Module::new(target, None, |emitter| routines(emitter, program, &pieces))?;
    Ok(Engine { routines: routines.engine(&addresses)?, pieces: parts, _common: common })
}

/// Code of some pieces, and where its functions are.
fn compile_pieces(
    pieces: &Pieces,
    share: &[usize],
    target: &Target,
    common: &Arc<Common>,
) -> Result<(Part, Vec<(String, usize)>), String> {
    let module = Module::new(target, Some(Arc::clone(common)), |emitter| {
        let emit = |&number: &usize| {
            piece::emit(emitter, pieces, number);
            piece::symbol(number)
        };
        let pieces: Vec<String> = share.iter().map(emit).collect();
        [pieces, emitter.offered()].concat()
    })?;
    let symbols = module.symbols.clone();
    let part = module.engine(&[])?;
    let address = |symbol: String| {
        let address = part.address(&symbol).ok_or_else(|| format!("no code for `{symbol}`"))?;
        Ok((symbol, address))
    };
    let addresses = symbols.into_iter().map(address).collect::<Result<_, String>>()?;
    Ok((part, addresses))
}

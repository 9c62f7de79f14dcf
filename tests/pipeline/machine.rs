//! One program through every engine: its routines' values by expressions, interpreter, machine code and linked code.

use std::collections::HashMap;

use blkc::codegen::{
    aot,
    jit::{Jit, run_levels},
    link, llvm,
    target::Target,
};
use blkc::driver::{FrontOptions, front};
use blkc::hessian::{Plan, Routine, Write, program};
use blkc::ir::{Network, NodeId};
use blkc::loops::{Program, interpret, verify};
use blkc::lower::{Lowered, Options, lower};
use blkc::source::MemoryLoader;
use blkc::sym::{Expr, Storage, Symbol, SymbolInfo, Tensor, evaluate};

#[path = "../programs/mod.rs"]
mod programs;
use programs::Memory;

use crate::reference::noise;

pub type Values = HashMap<Symbol, Tensor>;

/// The added routine that leaves behind what training computes and throws away.
pub const PROBE: &str = "probe";

/// The first network of a program without mistakes.
pub fn network(text: &str, batch: Option<usize>) -> Network {
    let loader = MemoryLoader([("case.blk".to_string(), text.to_string())].into());
    let front = front("case.blk", &loader, &FrontOptions { batch, ..FrontOptions::default() });
    assert!(front.diagnostics.is_empty(), "{:#?}\n{text}", front.diagnostics);
    front.networks.into_iter().next().expect("a network")
}

/// Symbols of the routine [`PROBE`].
pub struct Probe {
    /// z_b and ∂l/∂z_b by block.
    pub outputs: Vec<Symbol>,
    pub output_gradients: Vec<Symbol>,
    /// By `ParamId`.
    pub gradients: Vec<Symbol>,
}

pub struct Pipeline {
    pub network: Network,
    pub plan: Plan,
    pub probe: Probe,
    pub lowered: Lowered,
}

impl Pipeline {
    pub fn new(network: Network) -> Pipeline {
        let mut plan = program::derive(&network);
        let probe = probe(&network, &mut plan);
        let lowered = lower(&plan, &Options::default()).expect("lowers");
        verify::verify(&lowered.program).unwrap_or_else(|problems| panic!("{problems:#?}"));
        Pipeline { network, plan, probe, lowered }
    }

    pub fn routine(&self, name: &str) -> Option<&Routine> {
        self.plan.routines.iter().find(|routine| routine.name == name)
    }

    /// A value over a symbol's axes.
    pub fn tensor(&self, symbol: Symbol, entries: Vec<f64>) -> Tensor {
        Tensor::new(&self.plan.graph.axes, &self.plan.graph.symbol_info(symbol).axes, entries)
    }

    pub fn size(&self, symbol: Symbol) -> usize {
        self.plan.graph.axes.size(&self.plan.graph.symbol_info(symbol).axes)
    }

    /// Everything zero, but the hyper-parameters and the step.
    pub fn start(&self) -> Values {
        let symbols = self.plan.graph.symbols().map(|(symbol, _)| symbol);
        let mut values: Values =
            symbols.map(|symbol| (symbol, self.tensor(symbol, vec![0.0; self.size(symbol)]))).collect();
        let hypers = self.network.training.iter().flat_map(|training| &training.hypers);
        values.extend(
            self.plan.symbols.hypers.iter().zip(hypers).map(|(&at, hyper)| (at, Tensor::scalar(hyper.value))),
        );
        values.insert(self.plan.symbols.step, Tensor::scalar(1.0));
        values
    }

    /// What a routine writes, by the meaning of its expressions in f64.
    pub fn evaluate(&self, routine: &str, values: &Values) -> Values {
        let writes = &self.routine(routine).expect("a routine of the plan").writes;
        let roots: Vec<Expr> = writes.iter().map(|write| write.value).collect();
        let results = evaluate(&self.plan.graph, values, &roots);
        writes
            .iter()
            .map(|write| write.symbol)
            .zip(results)
            .map(|(at, value)| (at, self.stored(at, &value)))
            .collect()
    }

    /// In the symbol's order of axes.
    fn stored(&self, symbol: Symbol, value: &Tensor) -> Tensor {
        let axes = &self.plan.graph.symbol_info(symbol).axes;
        Tensor { axes: axes.clone(), values: value.along(&self.plan.graph.axes, axes) }
    }

    /// What a routine writes, by an engine.
    pub fn run(&self, engine: &Engine, routine: &str, values: &Values) -> Values {
        let program = &self.lowered.program;
        let mut memory = Memory::new(program.arena_bytes);
        let arena = &mut memory.bytes()[..program.arena_bytes];
        for (symbol, info) in self.plan.graph.symbols() {
            let axes = &self.lowered.symbol_axes[&symbol];
            let entries = values[&symbol].along(&self.plan.graph.axes, axes);
            write(arena, self.lowered.symbol_offsets[&symbol], info.storage, entries.iter().copied());
        }
        engine.run(program, routine, arena);
        let writes = &self.routine(routine).expect("a routine of the plan").writes;
        writes.iter().map(|write| (write.symbol, self.read(arena, write.symbol))).collect()
    }

    fn read(&self, arena: &[u8], symbol: Symbol) -> Tensor {
        let info = self.plan.graph.symbol_info(symbol);
        let axes = &self.lowered.symbol_axes[&symbol];
        let entries = read(arena, self.lowered.symbol_offsets[&symbol], info.storage, self.size(symbol));
        self.stored(symbol, &Tensor::new(&self.plan.graph.axes, axes, entries))
    }

    /// Values as they are stored: floats in single precision.
    pub fn rounded(&self, mut values: Values) -> Values {
        for (symbol, value) in &mut values {
            if self.plan.graph.symbol_info(*symbol).storage == Storage::Float {
                value.values.mapv_inplace(|entry| f64::from(entry as f32));
            }
        }
        values
    }

    /// What single precision may lose of the largest entry: rounding errors grow with the longest sum.
    pub fn tolerance(&self) -> f64 {
        let axes = self.plan.graph.symbols().flat_map(|(_, info)| &info.axes);
        let longest = axes.map(|&axis| self.plan.graph.axes.extent(axis)).max().unwrap_or(1);
        f64::from(f32::EPSILON) * (32 + 4 * longest) as f64
    }

    /// `actual` is `expected`: each symbol to `tolerance` of its largest entry, or of a twentieth of the largest of all
    /// (sums that cancel keep the errors of their terms).
    pub fn agree(&self, what: &str, actual: &Values, expected: &Values, tolerance: f64) {
        self.agree_but(what, actual, expected, tolerance, &Values::new());
    }

    /// As [`Pipeline::agree`], and each entry may be off by its `slack` besides.
    pub fn agree_but(&self, what: &str, actual: &Values, expected: &Values, tolerance: f64, slack: &Values) {
        let floor = expected.values().map(largest).fold(0.0, f64::max) / 20.0;
        for (symbol, expected) in expected {
            let allowed = tolerance * largest(expected).max(floor);
            let name = &self.plan.graph.symbol_info(*symbol).name;
            let slack: Option<Vec<f64>> =
                slack.get(symbol).map(|slack| slack.values.iter().copied().collect());
            for (place, (have, want)) in actual[symbol].values.iter().zip(&expected.values).enumerate() {
                let allowed = allowed + slack.as_ref().map_or(0.0, |slack| slack[place]);
                assert!(
                    (have - want).abs() <= allowed,
                    "{what}: {name}[{place}]: {have:e} is not {want:e} ± {allowed:e}"
                );
            }
        }
    }

    /// How far the results of a routine move when each float that it reads moves by some units in its last place: what
    /// a computation in single precision cannot do better than.
    pub fn conditioning(&self, routine: &str, values: &Values, expected: &Values) -> Values {
        const UNITS: f64 = 128.0;
        let mut moved = values.clone();
        for (symbol, value) in &mut moved {
            if self.plan.graph.symbol_info(*symbol).storage == Storage::Float {
                let noise = noise(symbol.0, value.values.len());
                let by = |noise: f64| 1.0 + UNITS * f64::from(f32::EPSILON) * noise;
                value.values.iter_mut().zip(noise).for_each(|(entry, noise)| *entry *= by(noise));
            }
        }
        let mut results = self.evaluate(routine, &moved);
        for (symbol, value) in &mut results {
            value.values -= &expected[symbol].values;
            value.values.mapv_inplace(f64::abs);
        }
        results
    }
}

fn largest(value: &Tensor) -> f64 {
    value.values.iter().fold(0.0, |largest, x| largest.max(x.abs()))
}

fn probe(network: &Network, plan: &mut Plan) -> Probe {
    let mut writes = Vec::new();
    let mut outputs = Vec::new();
    let mut output_gradients = Vec::new();
    let mut gradients = vec![None; network.params.len()];
    let blocks = plan.blocks.clone();
    for (block, exprs) in network.blocks.iter().zip(&blocks) {
        outputs.push(watch(network, plan, &mut writes, block.output, exprs.output));
        output_gradients.push(watch(network, plan, &mut writes, block.output, exprs.gradient));
        for param in &exprs.params {
            let axes = network.param(param.id).axes.clone();
            gradients[param.id.index()] = Some(watch_over(plan, &mut writes, axes, param.gradient));
        }
    }
    plan.routines.push(Routine { name: PROBE, writes });
    let gradients = gradients.into_iter().map(|symbol| symbol.expect("every parameter belongs to a block"));
    Probe { outputs, output_gradients, gradients: gradients.collect() }
}

fn watch(network: &Network, plan: &mut Plan, writes: &mut Vec<Write>, like: NodeId, value: Expr) -> Symbol {
    watch_over(plan, writes, network.node(like).ty.axes.clone(), value)
}

fn watch_over(plan: &mut Plan, writes: &mut Vec<Write>, axes: Vec<blkc::axes::Axis>, value: Expr) -> Symbol {
    let name = format!("probe.{}", writes.len());
    let value = plan.graph.spread(value, &axes);
    let symbol =
        plan.graph.new_symbol(SymbolInfo { name: name.clone(), label: name, axes, storage: Storage::Float });
    writes.push(Write { symbol, value });
    symbol
}

/// What runs loops.
pub enum Engine {
    Interpreter,
    Jit(Box<Jit>),
    /// Object code, linked into a shared library and loaded.
    #[cfg(target_os = "linux")]
    Native(native::Library),
}

impl Engine {
    pub fn jit(program: &Program) -> Engine {
        Engine::Jit(Box::new(Jit::new(program, &Target::native()).expect("code")))
    }

    pub fn all(program: &Program) -> Vec<Engine> {
        let mut engines = vec![Engine::Interpreter, Engine::jit(program)];
        #[cfg(target_os = "linux")]
        engines.push(Engine::Native(native::Library::new(program)));
        engines
    }

    pub fn name(&self) -> &'static str {
        match self {
            Engine::Interpreter => "interpreter",
            Engine::Jit(_) => "JIT",
            #[cfg(target_os = "linux")]
            Engine::Native(_) => "native",
        }
    }

    fn run(&self, program: &Program, routine: &str, arena: &mut [u8]) {
        let mut scratch = Memory::new(llvm::scratch_bytes(program, &Target::native()));
        let (base, scratch) = (arena.as_mut_ptr(), scratch.bytes().as_mut_ptr());
        match self {
            Engine::Interpreter => interpret::run(program, routine, arena),
            // SAFETY: the arena and the scratch are as large as the program asks for, and aligned.
            Engine::Jit(jit) => unsafe { jit.run(program, routine, base, scratch) },
            #[cfg(target_os = "linux")]
            // SAFETY: the same.
            Engine::Native(library) => unsafe { library.run(program, routine, base, scratch) },
        }
    }
}

#[cfg(target_os = "linux")]
mod native {
    use std::ffi::{CStr, CString, c_char, c_int, c_void};
    use std::os::unix::ffi::OsStrExt;

    use blk_runtime::manifest::{PATHS_SYMBOL, Path, RoutineFn};

    use super::*;

    unsafe extern "C" {
        fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
        fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
        fn dlerror() -> *const c_char;
    }

    /// The functions of the routines, in their order. The library stays loaded until the process ends.
    pub struct Library(Vec<RoutineFn>);

    impl Library {
        pub fn new(program: &Program) -> Library {
            let target = Target::native();
            let object =
                aot::object(&[aot::Path { program, target: &target, manifest: b"{}" }]).expect("object");
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("libcase.so");
            let tools = link::Tools::of(&target);
            link::link(&object, b"", link::Output::Shared(&[]), &tools, &path).expect("linked");
            Library(entries(&path, program.routines.len()))
        }

        /// # Safety
        /// As [`Jit::run`].
        pub unsafe fn run(&self, program: &Program, routine: &str, base: *mut u8, scratch: *mut u8) {
            let known = program.routines.iter().zip(&self.0).find(|(known, _)| known.name == routine);
            let (known, function) = known.expect("a routine");
            // SAFETY: as the caller promises.
            unsafe { run_levels(known, *function, base, scratch) };
        }
    }

    fn entries(path: &std::path::Path, count: usize) -> Vec<RoutineFn> {
        const NOW: c_int = 2;
        let path = CString::new(path.as_os_str().as_bytes()).expect("no zero");
        let name = CString::new(PATHS_SYMBOL).expect("no zero");
        // SAFETY: the names are C strings, and the table has one function for every routine.
        unsafe {
            let library = dlopen(path.as_ptr(), NOW);
            assert!(!library.is_null(), "{:?}", CStr::from_ptr(dlerror()));
            let table = dlsym(library, name.as_ptr());
            assert!(!table.is_null(), "no table of paths");
            let path: &Path = &**table.cast::<*const Path>();
            std::slice::from_raw_parts(path.entries, count).to_vec()
        }
    }
}

pub fn write(arena: &mut [u8], offset: usize, storage: Storage, entries: impl Iterator<Item = f64>) {
    let bytes: Vec<u8> = match storage {
        Storage::Float => entries.flat_map(|entry| (entry as f32).to_ne_bytes()).collect(),
        Storage::Double => entries.flat_map(f64::to_ne_bytes).collect(),
        Storage::Label | Storage::Seed => entries.flat_map(|entry| (entry as u32).to_ne_bytes()).collect(),
    };
    arena[offset..offset + bytes.len()].copy_from_slice(&bytes);
}

pub fn read(arena: &[u8], offset: usize, storage: Storage, count: usize) -> Vec<f64> {
    let words = |width: usize| arena[offset..offset + count * width].chunks_exact(width);
    let word = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).expect("four bytes");
    match storage {
        Storage::Float => words(4).map(|bytes| f64::from(f32::from_ne_bytes(word(bytes)))).collect(),
        Storage::Double => words(8).map(|b| f64::from_ne_bytes(b.try_into().expect("eight bytes"))).collect(),
        Storage::Label | Storage::Seed => {
            words(4).map(|bytes| f64::from(u32::from_ne_bytes(word(bytes)))).collect()
        }
    }
}

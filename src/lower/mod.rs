//! From the plan's assignments over one expression graph to loop programs: which expressions get memory, which loops
//! compute them, what is fused, which tasks run side by side and where every buffer lies. General: no pattern here
//! names a layer.
//!
//! What lasts is arranged first ([`symbols`]). Each routine passes through: [`algebra`], [`renames`] and [`prepare`] (regroup) →
//! [`materialize`] (what becomes a buffer; with [`bounds`] once more, where one buffer serves for two) → [`stage`] (one loop computation each, with its dependences) → [`group`]
//! (parallel groups on levels) →
//! [`exchange`] (between which levels ranks meet) → [`fuse`] (statements) → [`nest`] and [`gemm`] (loops) → [`succession`]
//! and [`memory`] (one arena).

mod algebra;
mod border;
mod bounds;
mod cost;
mod depend;
mod emit;
mod exchange;
mod fuse;
mod gemm;
mod group;
mod layout;
mod materialize;
mod memory;
mod nest;
mod power;
mod precision;
mod prepare;
mod random;
mod renames;
mod routine;
mod split;
mod stage;
mod succession;
mod symbols;
mod terms;
mod view;
mod window;

use std::collections::HashMap;

use crate::axes::Axis;
use crate::hessian::Plan;
use crate::loops::{Arithmetic, Buffer, BufferId, Elem, Program};
use crate::sym::graph::Tag;
use crate::sym::{Expr, Graph, Storage, Symbol};

/// What lowering may be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that will likely run the program. Only decides whether levels are shared at all; chunks and results
    /// do not depend on it.
    pub threads_hint: usize,
    /// Of the products of contractions. With [`Arithmetic::Bf16`] large values of each sample are kept as bf16 too.
    pub arithmetic: Arithmetic,
}

impl Default for Options {
    fn default() -> Self {
        Options { threads_hint: 2, arithmetic: Arithmetic::F32 }
    }
}

/// The loop program and what the manifest has to know of it.
#[derive(Clone, Debug)]
pub struct Lowered {
    pub program: Program,
    /// Bytes from the start of the arena, for every symbol of the graph.
    pub symbol_offsets: HashMap<Symbol, usize>,
    /// Axes of every symbol from the outermost in memory on.
    pub symbol_axes: HashMap<Symbol, Vec<Axis>>,
    /// Floating-point operations of contractions in one run of `train`, by block and pass.
    pub flops: HashMap<Tag, u64>,
    /// What the buffers that a step writes hold.
    pub origins: HashMap<BufferId, Origin>,
    /// What products were allowed, as the options said.
    pub arithmetic: Arithmetic,
}

/// The value in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Of the plan's graph, where lowering did not rewrite it.
    pub expr: Expr,
    pub tag: Option<Tag>,
}

/// The routine whose contractions are counted: one optimizer step.
const STEP_ROUTINE: &str = "train";
/// The rest of a step that accumulates gradients.
const UPDATE_ROUTINE: &str = "update";

/// Lowers every routine of the plan. Fails on expressions that have no machine form (an elementwise function that
/// the registry does not lower), in words for the user.
pub fn lower(plan: &Plan, options: &Options) -> Result<Lowered, String> {
    let mut buffers = Vec::new();
    let graph = symbols::arranged(plan);
    let symbols = symbol_buffers(&graph, &mut buffers);
    let mut routines = Vec::new();
    let mut lives = Vec::new();
    let mut successions = Vec::new();
    let (mut flops, mut origins) = (HashMap::new(), HashMap::new());
    for routine in &plan.routines {
        let lowered = routine::lower(&graph, routine, &symbols, &mut buffers, options)?;
        if routine.name == STEP_ROUTINE {
            flops = lowered.flops;
        }
        if [STEP_ROUTINE, UPDATE_ROUTINE].contains(&routine.name) {
            origins.extend(lowered.origins);
        }
        let own = memory::lives(&lowered.routine, buffers.len());
        successions.extend(succession::successions(&lowered.routine, &own, &buffers));
        lives.push(own);
        routines.push(lowered.routine);
    }
    let arena_bytes = memory::place(&mut buffers, &lives, &successions);
    let symbol_offsets = symbols.iter().map(|(&symbol, &id)| (symbol, buffers[id.index()].offset)).collect();
    let symbol_axes = graph.symbols().map(|(symbol, info)| (symbol, info.axes.clone())).collect();
    let program = Program { buffers, arena_bytes, routines };
    Ok(Lowered { program, symbol_offsets, symbol_axes, flops, origins, arithmetic: options.arithmetic })
}

/// One persistent buffer per symbol, in the graph's order.
fn symbol_buffers(graph: &Graph, buffers: &mut Vec<Buffer>) -> HashMap<Symbol, BufferId> {
    let mut result = HashMap::new();
    for (symbol, info) in graph.symbols() {
        let id = BufferId(buffers.len() as u32);
        let len = graph.axes.size(&info.axes);
        let elem = element(info.storage);
        buffers.push(Buffer { name: info.name.clone(), elem, len, offset: 0, persistent: true });
        result.insert(symbol, id);
    }
    result
}

fn element(storage: Storage) -> Elem {
    match storage {
        Storage::Float => Elem::F32,
        Storage::Double => Elem::F64,
        Storage::Label | Storage::Seed => Elem::I32,
    }
}

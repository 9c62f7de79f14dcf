//! Where the runtime looks for a number that is not finite: what each level of the training step leaves in memory.

use std::collections::{HashMap, HashSet};

use blk_runtime::manifest as rt;

use super::pass_name;
use crate::hessian::Plan;
use crate::loops::{BufferId, Elem, Group, Level, Scalars, Stmt};
use crate::lower::{Lowered, Origin};
use crate::sym::Expr;
use crate::sym::graph::{Pass, Tag};

pub(super) struct Probes<'a> {
    plan: &'a Plan,
    lowered: &'a Lowered,
    /// Values that have a meaning beyond their name.
    known: HashMap<Expr, String>,
    /// Names of the tensors that outlive a step.
    lasting: HashSet<&'a str>,
}

impl<'a> Probes<'a> {
    pub fn new(plan: &'a Plan, lowered: &'a Lowered) -> Self {
        let symbols = &plan.symbols;
        let lasting = symbols.params.iter().chain(&symbols.stats).chain(&symbols.states);
        let lasting = lasting.map(|&symbol| plan.graph.symbol_info(symbol).name.as_str()).collect();
        Probes { plan, lowered, known: known(plan), lasting }
    }

    /// In the order of computation. Scale factors and what they are made of are left out: the step guards itself
    /// against those that are no numbers.
    pub fn of(&self, level: &Level) -> Vec<rt::Probe> {
        let mut seen = HashSet::new();
        let written = level.groups.iter().flat_map(written).filter(|&buffer| seen.insert(buffer));
        written.filter_map(|buffer| self.probe(buffer)).collect()
    }

    fn probe(&self, id: BufferId) -> Option<rt::Probe> {
        let buffer = &self.lowered.program.buffers[id.index()];
        let Origin { expr, tag } = *self.lowered.origins.get(&id)?;
        let lasting = self.lasting.contains(buffer.name.as_str());
        let Tag { block, pass } = tag?;
        let float = matches!(buffer.elem, Elem::F32 | Elem::Bf16);
        if !float || (pass == Pass::Update && !lasting) {
            return None;
        }
        let name = if buffer.persistent { format!("`{}`", buffer.name) } else { self.name(expr, pass) };
        let pass = pass_name(pass).into();
        let (block, bf16) = (Some(block), buffer.elem == Elem::Bf16);
        Some(rt::Probe { name, block, pass, offset: buffer.offset, len: buffer.len, bf16 })
    }

    fn name(&self, expr: Expr, pass: Pass) -> String {
        let named = || self.plan.graph.name_of(expr).map(|name| format!("`{name}`"));
        let unnamed = || match pass {
            Pass::Forward => "a value on the way to its output",
            Pass::Backward => "a value on the way to its gradients",
            Pass::Update => "a value of its update",
        };
        self.known.get(&expr).cloned().or_else(named).unwrap_or_else(|| unnamed().to_string())
    }
}

fn known(plan: &Plan) -> HashMap<Expr, String> {
    let mut known = HashMap::new();
    for block in &plan.blocks {
        known.insert(block.output, "its output".to_string());
        known.entry(block.gradient).or_insert("the gradient at its output".into());
        for param in &block.params {
            let name = &plan.graph.symbol_info(plan.symbols.params[param.id.index()]).name;
            known.entry(param.gradient).or_insert(format!("the gradient of `{name}`"));
        }
    }
    known
}

/// The buffers that a group stores to, statement by statement.
fn written(group: &Group) -> Vec<BufferId> {
    let stores = |scalars: &Scalars| scalars.stores.iter().map(|store| store.buffer).collect::<Vec<_>>();
    let of = |statement: &Stmt| match statement {
        Stmt::Nest(nest) => [stores(&nest.body), stores(&nest.finish)].concat(),
        Stmt::Gemm(gemm) => stores(&gemm.epilogue),
        Stmt::Orthonormalize { buffer, .. } => vec![*buffer],
    };
    group.body.iter().flat_map(of).collect()
}

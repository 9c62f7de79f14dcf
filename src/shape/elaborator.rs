//! The state of elaborating one network: the graph under construction, the expansions that led here, the budget.

use std::collections::HashMap;

use super::limits;
use super::paths::{Paths, Scope};
use super::value::Value;
use crate::axes::{Axis, AxisTable, BATCH};
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::ir::{
    self, BlockId, Elem, Expansion, HyperId, Leaf, Node, NodeId, Op, Origin, OriginId, ParamId, Type,
};
use crate::resolve::hir::Hir;
use crate::source::{Sources, Span};

/// A parameter while its path is not final.
pub struct PendingParam {
    pub param: ir::Param,
    pub scope: Scope,
}

pub struct PendingStat {
    pub stat: ir::Statistic,
    pub scope: Scope,
}

pub struct PendingBlock {
    pub block: ir::Block,
    pub scope: Scope,
}

/// What kind of text is being expanded: it decides which statements and values make sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The chain of blocks, outside any.
    Chain,
    Block(BlockId),
    Loss,
    Init,
    Update(ParamId),
    Schedule,
}

pub struct Elaborator<'h> {
    pub hir: &'h Hir,
    pub sources: &'h Sources,
    pub axes: AxisTable,
    pub nodes: Vec<Node>,
    pub origins: Vec<Origin>,
    pub blocks: Vec<PendingBlock>,
    pub params: Vec<PendingParam>,
    pub stats: Vec<PendingStat>,
    pub hypers: Vec<ir::Hyper>,
    pub states: Vec<ir::State>,
    /// Random draws so far: no two share their stream.
    pub streams: i64,
    pub paths: Paths,
    pub scope: Option<Scope>,
    pub stage: Stage,
    /// The end of the chain so far: input of the next block.
    pub head: Option<NodeId>,
    pub loss: Option<super::network::LossEnd>,
    pub target: Option<super::network::TargetSpec<'h>>,
    pub stack: Vec<Expansion>,
    /// Changes with every change of `stack`.
    serial: u64,
    next_serial: u64,
    origin_cache: HashMap<(Span, u64), OriginId>,
    numbers: HashMap<u64, NodeId>,
    leaves: HashMap<Leaf, NodeId>,
    steps: u64,
    depth: usize,
    /// A limit was passed: everything is poison from here on.
    pub exhausted: bool,
    pub entries: usize,
    pub diagnostics: Diagnostics,
}

impl<'h> Elaborator<'h> {
    pub fn new(hir: &'h Hir, sources: &'h Sources, batch: usize) -> Self {
        Elaborator {
            hir,
            sources,
            axes: AxisTable::new(batch),
            nodes: Vec::new(),
            origins: Vec::new(),
            blocks: Vec::new(),
            params: Vec::new(),
            stats: Vec::new(),
            hypers: Vec::new(),
            states: Vec::new(),
            streams: 0,
            paths: Paths::default(),
            scope: None,
            stage: Stage::Chain,
            head: None,
            loss: None,
            target: None,
            stack: Vec::new(),
            serial: 0,
            next_serial: 1,
            origin_cache: HashMap::new(),
            numbers: HashMap::new(),
            leaves: HashMap::new(),
            steps: 0,
            depth: 0,
            exhausted: false,
            entries: 0,
            diagnostics: Vec::new(),
        }
    }

    // Diagnostics

    /// An error at `span`. Inside the library the caller's line comes first and the definition second; inside a
    /// definition of the user's, the calls that led there follow.
    pub fn error(&self, code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        let inner = self.stack.iter().rev().take_while(|step| self.hir.is_library(step.call.file)).count();
        let hidden = self.hir.is_library(span.file);
        let outer = &self.stack[..self.stack.len() - if hidden { inner } else { 0 }];
        let (place, rest) = match outer.split_last() {
            Some((call, rest)) if hidden => (call.call, rest),
            _ => (span, outer),
        };
        let mut diagnostic = Diagnostic::error(code, place, message);
        if hidden && place != span {
            diagnostic = diagnostic.label(span, "in this definition");
        }
        let mut shown = vec![place, span];
        for step in rest.iter().rev() {
            if shown.len() < 6 && !shown.contains(&step.call) {
                shown.push(step.call);
                diagnostic = diagnostic.label(step.call, format!("expanded from `{}` here", step.name));
            }
        }
        diagnostic
    }

    /// Reports and gives the poison value.
    pub fn fail(&mut self, diagnostic: Diagnostic) -> Value {
        self.diagnostics.push(diagnostic);
        Value::Poison
    }

    pub fn fail_at(&mut self, code: Code, span: Span, message: impl Into<String>) -> Value {
        let diagnostic = self.error(code, span, message);
        self.fail(diagnostic)
    }

    /// Reports a limit once; afterwards everything is poison.
    pub fn exhaust(&mut self, code: Code, span: Span, message: String, help: &str) -> Value {
        if self.exhausted {
            return Value::Poison;
        }
        let diagnostic = self.error(code, span, message).help(help);
        self.exhausted = true;
        self.fail(diagnostic)
    }

    // Budget

    /// Counts one evaluation; false when the budget is spent.
    pub fn step_in(&mut self, span: Span) -> bool {
        if self.exhausted {
            return false;
        }
        self.steps += 1;
        if self.steps > limits::STEPS {
            let message = format!("expanding this network takes more than {} steps", limits::STEPS);
            self.exhaust("L002", span, message, "are loops or ops nested too deeply?");
            return false;
        }
        if self.depth >= limits::EVALUATION_DEPTH {
            let message = format!("expressions nested more than {} deep", limits::EVALUATION_DEPTH);
            self.exhaust("L001", span, message, "give inner parts names of their own");
            return false;
        }
        self.depth += 1;
        true
    }

    pub fn step_out(&mut self) {
        self.depth -= 1;
    }

    /// Notes that `name` is expanded for `call`; false when that is too deep.
    pub fn push_expansion(&mut self, name: &str, call: Span) -> bool {
        if self.stack.len() >= limits::EXPANSION_DEPTH {
            let message = format!("definitions expanded more than {} deep", limits::EXPANSION_DEPTH);
            self.exhaust("L001", call, message, "does an op receive itself?");
            return false;
        }
        self.stack.push(Expansion { name: name.into(), call });
        self.new_serial();
        true
    }

    pub fn pop_expansion(&mut self) {
        self.stack.pop();
        self.new_serial();
    }

    fn new_serial(&mut self) {
        self.serial = if self.stack.is_empty() { 0 } else { self.next_serial };
        self.next_serial += 1;
    }

    // Graph

    pub fn origin(&mut self, span: Span) -> OriginId {
        if let Some(&known) = self.origin_cache.get(&(span, self.serial)) {
            return known;
        }
        let id = OriginId(self.origins.len() as u32);
        self.origins.push(Origin { span, stack: self.stack.clone() });
        self.origin_cache.insert((span, self.serial), id);
        id
    }

    pub fn push_node(&mut self, op: Op, inputs: Vec<NodeId>, ty: Type, span: Span) -> NodeId {
        let origin = self.origin(span);
        if self.nodes.len() >= limits::NODES {
            let message = format!("a network of more than {} operations", limits::NODES);
            self.exhaust("L003", span, message, "the network is too large for one program");
            return NodeId(0);
        }
        self.nodes.push(Node { op, inputs, ty, origin, name: None });
        NodeId(self.nodes.len() as u32 - 1)
    }

    pub fn number(&mut self, value: f64, span: Span) -> NodeId {
        if let Some(&known) = self.numbers.get(&value.to_bits()) {
            return known;
        }
        let node = self.push_node(Op::Number(value), vec![], Type::float(vec![]), span);
        self.numbers.insert(value.to_bits(), node);
        node
    }

    /// The node of a leaf, one per leaf.
    pub fn leaf(&mut self, leaf: Leaf, ty: Type, span: Span) -> NodeId {
        if let Some(&known) = self.leaves.get(&leaf) {
            return known;
        }
        let node = self.push_node(Op::Leaf(leaf), vec![], ty, span);
        self.leaves.insert(leaf, node);
        node
    }

    pub fn hyper(&mut self, name: &str, value: f64, span: Span) -> NodeId {
        let known = self.hypers.iter().position(|hyper| hyper.name == name);
        let index = known.unwrap_or_else(|| {
            self.hypers.push(ir::Hyper { name: name.into(), value });
            self.hypers.len() - 1
        });
        self.leaf(Leaf::Hyper(HyperId(index as u32)), Type::float(vec![]), span)
    }

    pub fn ty(&self, node: NodeId) -> &Type {
        &self.nodes[node.index()].ty
    }

    /// Where a node was made, as the user sees it: the innermost place outside the library.
    pub fn place(&self, node: NodeId) -> Span {
        let origin = &self.origins[self.nodes[node.index()].origin.0 as usize];
        let calls = origin.stack.iter().rev().map(|step| step.call);
        std::iter::once(origin.span)
            .chain(calls)
            .find(|span| !self.hir.is_library(span.file))
            .unwrap_or(origin.span)
    }

    // Words

    /// `[c: 3, h: 32, w: 32]`; the batch axis of activations goes without saying.
    pub fn shape(&self, ty: &Type) -> String {
        let axes: Vec<Axis> = ty.axes.iter().copied().filter(|&axis| axis != BATCH).collect();
        match ty.elem {
            Elem::Class(axis) => format!("class[{}]", self.axes.extent(axis)),
            _ => self.axes_shape(&axes),
        }
    }

    pub fn axes_shape(&self, axes: &[Axis]) -> String {
        let entry = |&axis: &Axis| {
            let (name, extent) = (self.axes.name(axis), self.axes.extent(axis));
            if name.parse::<usize>().is_ok() { extent.to_string() } else { format!("{name}: {extent}") }
        };
        format!("[{}]", axes.iter().map(entry).collect::<Vec<_>>().join(", "))
    }
}

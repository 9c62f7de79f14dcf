//! Stages: each computes one kept value into its buffer, or copies one into a symbol.

use std::collections::HashMap;

use super::cost::Costs;
use super::depend::{self, Dependences};
use super::gemm::Shape;
use super::layout::{Layout, Layouts};
use super::materialize::Choice;
use super::precision;
use super::view::Source;
use crate::axes::Axis;
use crate::loops::{Arithmetic, Buffer, BufferId, Combine, Elem, Ty};
use crate::sym::graph::Tag;
use crate::sym::{Expr, Graph, Node, Reduction, Symbol};

/// Index of a stage; producers come before consumers only after sorting by dependence.
pub(super) type StageId = usize;

/// What a stage's loops do.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Pointwise,
    Reduce,
    /// A sum of products as a loop nest.
    Contract,
    Gemm(Shape),
    Orthonormal,
}

#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub expr: Expr,
    pub kind: Kind,
    /// Kept axes, in the order of the buffer.
    pub axes: Vec<Axis>,
    /// How the buffer lies.
    pub layout: Layout,
    pub reduced: Vec<Axis>,
    /// Where the value is stored; `None` while nobody needs it in memory.
    pub buffer: Option<BufferId>,
    pub elem: Elem,
    /// Reads the value of `expr` from memory, where it already is.
    pub copy: bool,
    /// In operations, roughly.
    pub work: u64,
    pub tag: Option<Tag>,
}

/// The stages of a routine, with what they read.
pub(super) struct Stages<'a> {
    pub graph: &'a Graph,
    pub layouts: Layouts,
    pub symbols: &'a HashMap<Symbol, BufferId>,
    /// Of products.
    pub arithmetic: Arithmetic,
    pub list: Vec<Stage>,
    /// The stage that computes a kept expression.
    pub of: HashMap<Expr, StageId>,
    pub dependences: Dependences,
}

/// A GEMM's operation costs this share of a loop nest's: it runs from registers.
const GEMM_ADVANTAGE: u64 = 4;

impl<'a> Stages<'a> {
    /// Builds the stages of `writes`. Those that write a symbol have its buffer from the start.
    pub fn build(
        graph: &'a Graph,
        symbols: &'a HashMap<Symbol, BufferId>,
        writes: &[(Symbol, Expr)],
        mut choice: Choice,
        buffers: &[Buffer],
        arithmetic: Arithmetic,
    ) -> Self {
        let layouts = std::mem::take(&mut choice.layouts);
        let dependences = Dependences::default();
        let mut stages =
            Stages { graph, layouts, symbols, arithmetic, list: vec![], of: HashMap::new(), dependences };
        let roots: Vec<Expr> = writes.iter().map(|write| write.1).collect();
        let order = graph.reachable(&roots);
        let functions = Costs::default();
        let costs = functions.inlined(graph, &stages.layouts, &order);
        for expr in order {
            if stages.layouts.contains_key(&expr) {
                let stage = stages.stage(expr, &choice, &functions, costs[&expr]);
                stages.of.insert(expr, stages.list.len());
                stages.list.push(stage);
            }
        }
        stages.dependences = depend::reads(&stages);
        for &(symbol, value) in writes {
            stages.assign(symbol, value, buffers);
        }
        precision::maxima(&mut stages);
        stages
    }

    fn stage(&self, expr: Expr, choice: &Choice, functions: &Costs, cost: u32) -> Stage {
        let graph = self.graph;
        let layout = self.layouts[&expr].clone();
        let axes = layout.axes.clone();
        let (kind, reduced) = match graph.node(expr) {
            Node::Reduce(_, over, arg) => (Kind::Reduce, present(graph.axes_of(*arg), over)),
            Node::Contract { left, over, .. } => match choice.gemms.get(&expr) {
                Some(shape) => (Kind::Gemm(shape.clone()), over.clone()),
                None => (Kind::Contract, in_order(over, graph.axes_of(*left))),
            },
            Node::Orthonormal(_) => (Kind::Orthonormal, vec![]),
            _ => (Kind::Pointwise, vec![]),
        };
        let elem = if choice.doubles.contains(&expr) {
            Elem::F64
        } else if choice.parts.contains(&expr) {
            Elem::F32
        } else {
            precision::elem(graph, &self.layouts, functions, expr, self.arithmetic)
        };
        let points = (graph.axes.size(&axes) as u64).saturating_mul(graph.axes.size(&reduced) as u64);
        let work = match &kind {
            Kind::Gemm(shape) => shape.flops(graph) / GEMM_ADVANTAGE,
            Kind::Orthonormal => points.saturating_mul(points),
            _ => points.saturating_mul(u64::from(cost) + 1),
        };
        let tag = graph.tag_of(expr);
        Stage { expr, kind, axes, layout, reduced, buffer: None, elem, copy: false, work, tag }
    }

    /// `symbol ← value`: the value's stage writes the symbol's own memory where that is safe, else it is copied last.
    fn assign(&mut self, symbol: Symbol, value: Expr, buffers: &[Buffer]) {
        let target = self.symbols[&symbol];
        let fitting = |&stage: &StageId| self.fits(stage, symbol, &buffers[target.index()]);
        let own = self.of.get(&value).copied().filter(fitting);
        if let Some(stage) = own.filter(|&stage| self.dependences.overwrite(stage, symbol)) {
            self.list[stage].buffer = Some(target);
            self.list[stage].elem = buffers[target.index()].elem;
            return;
        }
        let axes = self.graph.symbol_info(symbol).axes.clone();
        let work = self.graph.axes.size(&axes) as u64;
        let elem = buffers[target.index()].elem;
        let tag = self.graph.tag_of(value);
        let (kind, reduced) = (Kind::Pointwise, vec![]);
        let (layout, buffer) = (Layout::plain(axes.clone()), Some(target));
        let stage = Stage { expr: value, kind, axes, layout, reduced, buffer, elem, copy: true, work, tag };
        self.list.push(stage);
        let id = self.list.len() - 1;
        let mut dependences = std::mem::take(&mut self.dependences);
        dependences.add(self, id);
        self.dependences = dependences;
        // Copies have no users, and what they read is no assigned symbol: nothing can be in the way.
        let free = self.dependences.overwrite(id, symbol);
        debug_assert!(free, "a copy cannot be in the way of its own target");
    }

    /// Whether the stage's buffer may be the symbol's: same order and precision, and not another symbol's already.
    fn fits(&self, stage: StageId, symbol: Symbol, target: &Buffer) -> bool {
        let stage = &self.list[stage];
        stage.buffer.is_none()
            && stage.axes == self.graph.symbol_info(symbol).axes
            && stage.layout.is_plain()
            && Ty::from(stage.elem) == Ty::from(target.elem)
    }

    /// Gives the stage a buffer of its own if it has none.
    pub fn store(&mut self, stage: StageId, buffers: &mut Vec<Buffer>) {
        let stage = &mut self.list[stage];
        if stage.buffer.is_none() {
            let own = || format!("t{}", stage.expr.0);
            let name = self.graph.name_of(stage.expr).map_or_else(own, str::to_owned);
            let len = stage.layout.len(&self.graph.axes);
            stage.buffer = Some(BufferId(buffers.len() as u32));
            buffers.push(Buffer { name, elem: stage.elem, len, offset: 0, persistent: false });
        }
    }

    /// The memory behind a view.
    pub fn buffer(&self, source: Source) -> Result<BufferId, String> {
        match source {
            Source::Symbol(symbol) => Ok(self.symbols[&symbol]),
            Source::Value(expr) => {
                let buffer = self.list[self.of[&expr]].buffer;
                buffer.ok_or_else(|| "a value is read that was not stored".into())
            }
        }
    }

    /// The axes of the stage's loops: kept axes, then reduced ones.
    pub fn domain(&self, stage: StageId) -> impl Iterator<Item = Axis> + '_ {
        self.list[stage].axes.iter().chain(&self.list[stage].reduced).copied()
    }

    /// How the ranks put their values of the stage together, where they do.
    pub fn exchange(&self, stage: StageId) -> Option<Combine> {
        let stage = &self.list[stage];
        match self.graph.node(stage.expr) {
            Node::Exchange(Reduction::Max, _) if !stage.copy => Some(Combine::Max),
            Node::Exchange(..) if !stage.copy => Some(Combine::Sum),
            _ => None,
        }
    }

    /// Axes along which the stage may be cut into tasks.
    pub fn chunkable(&self, stage: StageId) -> Vec<Axis> {
        let padded: Vec<Axis> = self.list[stage].layout.padded().collect();
        let mut axes = match &self.list[stage].kind {
            Kind::Gemm(shape) => shape.chunkable(),
            Kind::Orthonormal => vec![],
            _ => self.list[stage].axes.clone(),
        };
        // Every task writes the zeros around its own chunk.
        axes.retain(|axis| !padded.contains(axis));
        axes
    }
}

fn present(axes: &[Axis], among: &[Axis]) -> Vec<Axis> {
    axes.iter().copied().filter(|axis| among.contains(axis)).collect()
}

/// `axes`, those of `leading` first and in its order.
fn in_order(axes: &[Axis], leading: &[Axis]) -> Vec<Axis> {
    let mut result = present(leading, axes);
    result.extend(axes.iter().filter(|axis| !leading.contains(axis)));
    result
}

//! Which values are kept as bf16, and which products may be made of bf16.
//!
//! What a step computes for every sample (activations and their gradients) makes up its memory and its arithmetic, and
//! bears rounding well. Everything else stays f32: parameters, states, statistics, sums over many entries, and numbers
//! that count.

use std::collections::HashSet;

use super::cost::Costs;
use super::layout::Layouts;
use super::materialize::pointwise;
use super::stage::{Stage, Stages};
use super::view::{Source, view};
use crate::axes::{Axis, BATCH};
use crate::loops::{Arithmetic, Elem};
use crate::sym::{Expr, Graph, Node, Reduction};

/// Smaller buffers are not worth rounding: logits, and numbers per sample.
const LARGE: usize = 4096;
/// A sum of more entries than a pooling window has is a statistic.
const WINDOW: usize = 64;
/// Rows of fewer neighbours, as the channels of an image, fill no vector: products with such terms are of f32 where they are
/// shorter still, and read them in place.
const SHORT_ROW: usize = 16;

/// How a kept value lies in memory, if it is not a symbol's.
pub(super) fn elem(graph: &Graph, layouts: &Layouts, costs: &Costs, expr: Expr, how: Arithmetic) -> Elem {
    let half = how == Arithmetic::Bf16 && may_round(graph, layouts, expr);
    if half && !is_statistic(graph, expr) && !counts(graph, layouts, costs, expr) {
        Elem::Bf16
    } else {
        Elem::F32
    }
}

/// Whether the value is one of each sample, and large enough.
fn may_round(graph: &Graph, layouts: &Layouts, expr: Expr) -> bool {
    let large = graph.axes.size(graph.axes_of(expr)) >= LARGE;
    let row = layouts.get(&expr).and_then(|layout| graph.axes.nearest(&layout.axes));
    let row = row.filter(|&axis| axis != BATCH).map_or(1, |axis| graph.axes.extent(axis));
    large && row >= SHORT_ROW && per_sample(graph, expr)
}

/// Keeps maxima of what lies in memory as bf16 as bf16 too: each is one of the entries. Where all stages lie must be known.
pub(super) fn maxima(stages: &mut Stages) {
    for id in 0..stages.list.len() {
        let Stage { expr, buffer: None, .. } = stages.list[id] else { continue };
        let Node::Reduce(Reduction::Max, _, entries) = stages.graph.node(expr) else { continue };
        let source = view(stages.graph, &stages.layouts, *entries).map(|view| view.source);
        let Some(Source::Value(kept)) = source else { continue };
        let halves = stages.list[stages.of[&kept]].elem == Elem::Bf16;
        if halves && may_round(stages.graph, &stages.layouts, expr) {
            stages.list[id].elem = Elem::Bf16;
        }
    }
}

/// Reductions of which others are made entry by entry, as those of the rows of a large one: statistics, however few entries
/// each of them has. `order` has operands first.
pub(super) fn reduced_again(graph: &Graph, order: &[Expr]) -> HashSet<Expr> {
    let mut read = HashSet::new();
    for &expr in order.iter().rev() {
        let passes = pointwise(graph, expr) && read.contains(&expr);
        if passes || matches!(graph.node(expr), Node::Reduce(..)) {
            read.extend(graph.node(expr).args());
        }
    }
    read.retain(|&expr| matches!(graph.node(expr), Node::Reduce(..)));
    read
}

/// Products of what all samples share stay f32 whatever the precision.
pub(super) fn arithmetic(graph: &Graph, operands: [Expr; 2], how: Arithmetic) -> Arithmetic {
    match how {
        Arithmetic::Bf16 if !operands.iter().any(|&operand| per_sample(graph, operand)) => Arithmetic::F32,
        how => how,
    }
}

fn per_sample(graph: &Graph, expr: Expr) -> bool {
    graph.axes_of(expr).contains(&BATCH)
}

/// Maxima count as statistics: entries are compared with them. But see [`maxima`].
fn is_statistic(graph: &Graph, expr: Expr) -> bool {
    match graph.node(expr) {
        Node::Reduce(Reduction::Max, ..) => true,
        Node::Reduce(_, over, arg) => {
            let reduced: Vec<Axis> =
                graph.axes_of(*arg).iter().copied().filter(|axis| over.contains(axis)).collect();
            graph.axes.size(&reduced) > WINDOW
        }
        _ => false,
    }
}

/// Whether positions or random draws go into the value entry by entry: it may be a number that has to be exact. What
/// only conditions depend on is not in it.
fn counts(graph: &Graph, layouts: &Layouts, costs: &Costs, root: Expr) -> bool {
    let mut seen = HashSet::from([root]);
    let mut open = vec![root];
    while let Some(expr) = open.pop() {
        match graph.node(expr) {
            Node::Index(_) | Node::Random { .. } => return true,
            Node::Reduce(..) | Node::Contract { .. } => continue,
            node => {
                let inside = |arg: &Expr| !layouts.contains_key(arg) && !costs.condition(graph, *arg);
                open.extend(node.args().into_iter().filter(inside).filter(|&arg| seen.insert(arg)));
            }
        }
    }
    false
}

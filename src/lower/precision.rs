//! Which values are kept as bf16, and which products may be made of bf16.
//!
//! What a step computes for every sample (activations and their gradients) makes up its memory and its arithmetic, and
//! bears rounding well. Everything else stays f32: parameters, states, statistics, sums over many entries, and numbers
//! that count.

use std::collections::HashSet;

use super::cost::Costs;
use super::layout::Layouts;
use super::view::{Source, view};
use crate::axes::{Axis, BATCH};
use crate::loops::{Arithmetic, Elem};
use crate::sym::{Expr, Graph, Node, Reduction};

/// Smaller buffers are not worth rounding: logits, and numbers per sample.
const LARGE: usize = 4096;
/// A sum of more entries than a pooling window has is a statistic.
const WINDOW: usize = 64;
/// Rows of fewer neighbours, as the channels of an image, fill no vector: products with so short terms are of f32, and read
/// them in place.
const SHORT_ROW: usize = 16;

/// How a kept value lies in memory, if it is not a symbol's.
pub(super) fn elem(graph: &Graph, layouts: &Layouts, costs: &Costs, expr: Expr, how: Arithmetic) -> Elem {
    let halves = |arg: Expr| match view(graph, layouts, arg).map(|view| view.source) {
        Some(Source::Value(kept)) => elem(graph, layouts, costs, kept, how) == Elem::Bf16,
        _ => false,
    };
    let large = graph.axes.size(graph.axes_of(expr)) >= LARGE;
    let row =
        layouts.get(&expr).and_then(|layout| layout.axes.last()).map_or(1, |&axis| graph.axes.extent(axis));
    let half = how == Arithmetic::Bf16 && large && row >= SHORT_ROW && per_sample(graph, expr);
    if half && !is_statistic(graph, expr, halves) && !counts(graph, layouts, costs, expr) {
        Elem::Bf16
    } else {
        Elem::F32
    }
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

/// Maxima count as statistics, as entries are compared with them: but where all entries are kept as bf16 (`halves`), the
/// largest is one.
fn is_statistic(graph: &Graph, expr: Expr, halves: impl Fn(Expr) -> bool) -> bool {
    match graph.node(expr) {
        Node::Reduce(Reduction::Max, _, arg) => !halves(*arg),
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

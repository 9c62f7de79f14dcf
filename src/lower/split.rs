//! Reductions to almost nothing in two steps, so that the first has something to be shared along.

use super::window::Windows;
use crate::axes::Axis;
use crate::sym::{Expr, Graph, Node, Reduction};

/// A result with fewer entries than this offers too little to cut into chunks.
const FEW_ENTRIES: usize = 64;
/// With fewer than this it offers less than an outermost axis that is long enough.
const SOME_ENTRIES: usize = 256;
const LONG_AXIS: usize = 16;
/// Sums of shorter rows are too many to be written and read again.
const SHORT_ROW: usize = 8;
/// A reduction over fewer entries than this is quick enough in one task.
const MANY_ENTRIES: usize = 1 << 13;

/// Sum over (o, i) → sum over o of the sums over i, when little is kept.
pub(super) fn reduction(
    graph: &mut Graph,
    windows: &Windows,
    how: Reduction,
    over: Vec<Axis>,
    arg: Expr,
) -> Expr {
    match outermost(graph, windows, &over, arg) {
        Some((outer, inner)) => {
            let rows = graph.intern(Node::Reduce(how, inner, arg));
            graph.intern(Node::Reduce(how, vec![outer], rows))
        }
        None => graph.intern(Node::Reduce(how, over, arg)),
    }
}

pub(super) fn contraction(
    graph: &mut Graph,
    windows: &Windows,
    (left, right): (Expr, Expr),
    over: Vec<Axis>,
) -> Expr {
    let whole = graph.intern(Node::Contract { left, right, over: over.clone() });
    let alike =
        over.iter().all(|axis| graph.axes_of(left).contains(axis) && graph.axes_of(right).contains(axis));
    match outermost(graph, windows, &over, left) {
        Some((outer, inner)) if alike && graph.axes_of(whole).is_empty() => {
            let rows = graph.intern(Node::Contract { left, right, over: inner });
            graph.intern(Node::Reduce(Reduction::Sum, vec![outer], rows))
        }
        _ => whole,
    }
}

/// The reduced axis that lies outermost in memory, and the others, when the reduction is large and keeps little.
pub(super) fn outermost(
    graph: &Graph,
    windows: &Windows,
    over: &[Axis],
    arg: Expr,
) -> Option<(Axis, Vec<Axis>)> {
    let axes = graph.axes_of(arg);
    let reduced: Vec<Axis> = axes.iter().copied().filter(|axis| over.contains(axis)).collect();
    let all = graph.axes.size(axes);
    let kept = all / graph.axes.size(&reduced);
    if reduced.len() < 2 || reduced.len() < over.len() || all < MANY_ENTRIES {
        return None;
    }
    let outer = windows.outermost_first(&reduced)[0];
    let few = if graph.axes.extent(outer) < LONG_AXIS { FEW_ENTRIES } else { SOME_ENTRIES };
    let inner: Vec<Axis> = reduced.into_iter().filter(|&axis| axis != outer).collect();
    (kept < few && graph.axes.size(&inner) >= SHORT_ROW).then_some((outer, inner))
}

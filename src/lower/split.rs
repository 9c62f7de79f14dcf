//! Reductions to almost nothing in two steps, so that the first has something to be shared along.

use super::cost::FAR;
use super::materialize::same_set;
use super::window::Windows;
use crate::axes::{Axis, BATCH};
use crate::sym::{Expr, Graph, Node, Reduction};

/// A result with fewer entries than this offers too little to cut into chunks.
const FEW_ENTRIES: usize = 64;
/// With fewer than this it offers less than an outermost axis that is long enough.
const SOME_ENTRIES: usize = 256;
const LONG_AXIS: usize = 16;
/// Or with fewer than this, where so many are reduced that they lie in memory rather than in a cache: they are walked in order.
const MOST_ENTRIES: usize = 2048;
const FAR_ENTRIES: usize = FAR / size_of::<f32>();
/// Products that a row of a product should sum.
const LONG_SUM: usize = 256;
/// Sums of shorter rows are too many to be written and read again.
const SHORT_ROW: usize = 8;
/// A reduction over fewer entries than this is quick enough in one task.
const MANY_ENTRIES: usize = 1 << 13;

/// Sum over (o, i) → sum over o of the sums over i, when little is kept. `deviation` is what [`deviation`] found.
pub(super) fn reduction(
    graph: &mut Graph,
    windows: &Windows,
    (how, over, arg): (Reduction, Vec<Axis>, Expr),
    deviation: Option<[Expr; 2]>,
) -> Expr {
    let Some((outer, inner)) = outermost(graph, windows, &over, arg) else {
        return graph.intern(Node::Reduce(how, over, arg));
    };
    let rows = match deviation {
        Some(deviation) => deviations_of_rows(graph, how, inner, deviation),
        None => graph.intern(Node::Reduce(how, inner, arg)),
    };
    graph.intern(Node::Reduce(how, vec![outer], rows))
}

/// x and its mean where `node` sums (x − mean x)². The mean must not be split yet.
pub(super) fn deviation(graph: &Graph, node: &Node) -> Option<[Expr; 2]> {
    let Node::Reduce(Reduction::Sum | Reduction::Mean, over, arg) = node else { return None };
    let Node::Pow(difference, exponent) = graph.node(*arg) else { return None };
    let Node::Add(terms) = graph.node(*difference) else { return None };
    let &[left, right] = &terms[..] else { return None };
    if graph.as_number(*exponent) != Some(2.0) {
        return None;
    }
    [(left, right), (right, left)].into_iter().find_map(|(x, term)| {
        let mean = negated(graph, term)?;
        let Node::Reduce(Reduction::Mean, axes, of) = graph.node(mean) else { return None };
        (*of == x && same_set(axes, over)).then_some([x, mean])
    })
}

/// What rows o add to the squared deviations of x from its mean m, by the means m_o of their n entries i:
/// Σ_oi (x − m)² = Σ_o [Σ_i (x − m_o)² + n (m_o − m)²]. Nobody has to see x again once m is known. Chan, Golub and LeVeque,
/// "Algorithms for computing the sample variance", 1983.
fn deviations_of_rows(graph: &mut Graph, how: Reduction, inner: Vec<Axis>, [x, mean]: [Expr; 2]) -> Expr {
    let entries = if how == Reduction::Sum { graph.axes.size(&inner) as f64 } else { 1.0 };
    let entries = graph.number(entries);
    let row_mean = graph.intern(Node::Reduce(Reduction::Mean, inner.clone(), x));
    let within = squared_difference(graph, x, row_mean);
    let within = graph.intern(Node::Reduce(how, inner, within));
    let between = squared_difference(graph, row_mean, mean);
    let between = graph.mul(&[entries, between]);
    graph.add(&[within, between])
}

/// y where `expr` is −y.
fn negated(graph: &Graph, expr: Expr) -> Option<Expr> {
    let Node::Mul(factors) = graph.node(expr) else { return None };
    match factors[..] {
        [sign, y] if graph.as_number(sign) == Some(-1.0) => Some(y),
        _ => None,
    }
}

fn squared_difference(graph: &mut Graph, a: Expr, b: Expr) -> Expr {
    let difference = graph.sub(a, b);
    graph.square(difference)
}

/// Σ over (o, i) of a product → Σ over o of the sums over i, where nothing is kept, or so little that tasks along it would each
/// walk all of the operands. `slides` says that an operand is seen through a window, by which products go along it.
pub(super) fn contraction(
    graph: &mut Graph,
    windows: &Windows,
    (left, right, over): (Expr, Expr, Vec<Axis>),
    slides: bool,
) -> Expr {
    let whole = graph.intern(Node::Contract { left, right, over: over.clone() });
    let alike =
        over.iter().all(|axis| graph.axes_of(left).contains(axis) && graph.axes_of(right).contains(axis));
    let split = match graph.axes_of(whole).is_empty() {
        true => outermost(graph, windows, &over, left),
        false if slides => None,
        false => long_product(graph, windows, [left, right], (whole, &over)),
    };
    match split.filter(|_| alike) {
        Some((outer, inner)) => {
            let rows = graph.intern(Node::Contract { left, right, over: inner });
            graph.intern(Node::Reduce(Reduction::Sum, vec![outer], rows))
        }
        None => whole,
    }
}

/// The same for a product if its operands lie in memory and its rows are few beside them.
fn long_product(
    graph: &Graph,
    windows: &Windows,
    operands: [Expr; 2],
    (whole, over): (Expr, &[Axis]),
) -> Option<(Axis, Vec<Axis>)> {
    let size = |expr: Expr| graph.axes.size(graph.axes_of(expr));
    let (outer, inner) = rows(graph, windows, over, operands[0])?;
    let all = operands.into_iter().map(size).fold(0, usize::saturating_add);
    let parts = graph.axes.extent(outer).saturating_mul(size(whole));
    let long = graph.axes.extent(outer) >= LONG_AXIS && graph.axes.size(&inner) >= LONG_SUM;
    // A part for each sample would count as one of its values, and might be rounded.
    let fits = outer != BATCH && long && all >= FAR_ENTRIES && parts <= all / 4;
    fits.then_some((outer, inner))
}

/// The same for a reduction that is large and keeps little.
fn outermost(graph: &Graph, windows: &Windows, over: &[Axis], arg: Expr) -> Option<(Axis, Vec<Axis>)> {
    let (outer, inner) = rows(graph, windows, over, arg)?;
    let all = graph.axes.size(graph.axes_of(arg));
    let kept = all / graph.axes.size(over);
    let few = match graph.axes.extent(outer) {
        extent if extent < LONG_AXIS => FEW_ENTRIES,
        _ if all < FAR_ENTRIES => SOME_ENTRIES,
        _ => MOST_ENTRIES,
    };
    (all >= MANY_ENTRIES && kept < few && graph.axes.size(&inner) >= SHORT_ROW).then_some((outer, inner))
}

/// The reduced axis that lies outermost in memory, and the others; all of several must be axes of the argument.
fn rows(graph: &Graph, windows: &Windows, over: &[Axis], arg: Expr) -> Option<(Axis, Vec<Axis>)> {
    let reduced: Vec<Axis> = graph.axes_of(arg).iter().copied().filter(|axis| over.contains(axis)).collect();
    if reduced.len() < 2 || reduced.len() < over.len() {
        return None;
    }
    let outer = windows.outermost_first(&reduced)[0];
    Some((outer, reduced.into_iter().filter(|&axis| axis != outer).collect()))
}

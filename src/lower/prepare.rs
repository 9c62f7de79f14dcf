//! Rewrites that give fusion better pieces: factors with the same few axes are multiplied among themselves first,
//! terms whose sum vanishes are not summed, and a reduction to almost nothing goes in two steps, so that the first has something to be shared along.

use std::collections::HashMap;

use super::materialize::{pointwise, same_set};
use super::view::Shift;
use super::window::Windows;
use crate::axes::Axis;
use crate::intrinsics::{Eq, Lt, Where};
use crate::sym::window::Windowed;
use crate::sym::{Expr, Function, Graph, Node, Reduction};

/// A result with fewer entries than this offers too little to cut into chunks.
const FEW_ENTRIES: usize = 64;
/// A reduction over fewer entries than this is quick enough in one task.
const MANY_ENTRIES: usize = 1 << 13;

/// Rewrites `roots` and everything below them.
pub(super) fn prepare(graph: &mut Graph, roots: &[Expr]) -> Vec<Expr> {
    let mut done = HashMap::new();
    let order = graph.reachable(roots);
    let windows = Windows::of(graph, &order);
    for expr in order {
        let renewed = rewrite(graph, &windows, expr, &done);
        let renewed = if windows.is_empty() {
            renewed
        } else {
            let beside = graph.node(expr).args().into_iter().any(|arg| windows.slides(arg));
            arranged(graph, &windows, renewed, Free { slides: windows.slides(expr), beside })
        };
        done.insert(expr, renewed);
    }
    graph.current_tag = None;
    roots.iter().map(|root| done[root]).collect()
}

fn rewrite(graph: &mut Graph, windows: &Windows, expr: Expr, done: &HashMap<Expr, Expr>) -> Expr {
    let node = match chosen_sum(graph, graph.node(expr)) {
        Some((over, entries)) => Node::Reduce(Reduction::Max, over, entries),
        None => graph.node(expr).clone(),
    };
    let node = node.map(|arg| done[&arg]);
    graph.current_tag = graph.tag_of(expr);
    let renewed = match node {
        Node::Mul(factors) => grouped_product(graph, factors),
        Node::Reduce(how, over, arg) => match without_vanishing_terms(graph, how, &over, arg) {
            Some(sum) => sum,
            None => split_reduction(graph, windows, how, over, arg),
        },
        Node::Contract { left, right, over } => split_contraction(graph, windows, (left, right), over),
        Node::ArgMax(over, arg) => first_largest(graph, &over, arg),
        other => graph.intern(other),
    };
    if let Some(name) = graph.name_of(expr).map(str::to_owned) {
        graph.set_name(renewed, name);
    }
    renewed
}

/// a[f]·x[b,f]·c[f] → x·(a·c): the small product is computed once, not for every sample.
fn grouped_product(graph: &mut Graph, factors: Vec<Expr>) -> Expr {
    let mut kinds: Vec<(Vec<Axis>, Vec<Expr>)> = Vec::new();
    for factor in factors.iter().copied() {
        let mut axes = graph.axes_of(factor).to_vec();
        axes.sort();
        match kinds.iter_mut().find(|kind| kind.0 == axes) {
            Some(kind) => kind.1.push(factor),
            None => kinds.push((axes, vec![factor])),
        }
    }
    if kinds.len() < 2 {
        return graph.intern(Node::Mul(factors));
    }
    let full = kinds.iter().map(|kind| kind.0.len()).max().unwrap_or(0);
    let mut grouped = Vec::new();
    for (axes, members) in kinds {
        if axes.len() == full || members.len() == 1 {
            grouped.extend(members);
        } else {
            grouped.push(graph.intern(Node::Mul(members)));
        }
    }
    graph.intern(Node::Mul(grouped))
}

/// The first largest entry, by two maxima: of the entries, and of ranks that count down among those not below it.
fn first_largest(graph: &mut Graph, over: &[Axis], arg: Expr) -> Expr {
    let rank = rank(graph, over);
    let [zero, one] = [0.0, 1.0].map(|number| graph.number(number));
    let largest = graph.reduce(Reduction::Max, over, arg);
    let below = graph.apply(&Lt, &[arg, largest]);
    let ranks = graph.apply(&Where, &[below, zero, rank]);
    let best = graph.reduce(Reduction::Max, over, ranks);
    // The best rank tells the entry: nobody has to look at the entries again.
    let chosen = graph.apply(&Eq, &[rank, best]);
    let chosen = graph.apply(&Where, &[chosen, one, zero]);
    let axes = graph.axes_of(arg).to_vec();
    graph.spread(chosen, &axes)
}

/// Numbers that count down from the first entry along `over` to 1.
fn rank(graph: &mut Graph, over: &[Axis]) -> Expr {
    let mut rank = graph.number(graph.axes.size(over) as f64);
    let mut step = 1;
    for &axis in over.iter().rev() {
        let (position, step_by) = (graph.index(axis), graph.number(-f64::from(step)));
        let down = graph.mul(&[step_by, position]);
        rank = graph.add(&[rank, down]);
        step *= graph.axes.extent(axis) as u32;
    }
    rank
}

/// Σ x · (x is the first largest) → max x.
fn chosen_sum(graph: &Graph, node: &Node) -> Option<(Vec<Axis>, Expr)> {
    let (over, factors) = match node {
        Node::Reduce(Reduction::Sum, over, arg) => match graph.node(*arg) {
            Node::Mul(factors) => (over, factors.clone()),
            _ => return None,
        },
        Node::Contract { left, right, over } => (over, vec![*left, *right]),
        _ => return None,
    };
    let &[left, right] = &factors[..] else { return None };
    [(left, right), (right, left)].into_iter().find_map(|(choice, entries)| {
        let Node::ArgMax(among, candidates) = graph.node(choice) else { return None };
        let lowest = |expr: &Expr| graph.as_number(*expr) == Some(f64::NEG_INFINITY);
        let same = match graph.node(*candidates) {
            // Entries outside are never chosen.
            Node::Apply(function, args) if function.0.name() == Function::name(&Where) => {
                args[1] == entries && lowest(&args[2])
            }
            _ => *candidates == entries,
        };
        (same && same_set(among, over)).then(|| (among.clone(), *candidates))
    })
}

/// What needs no copy because the matrix product that reads it skips what lies outside.
#[derive(Clone, Copy)]
struct Free {
    /// The expression is such a window over its operand.
    slides: bool,
    /// Such a window is its other operand.
    beside: bool,
}

/// Copies in front of windows and matrix products where the operand lies as somebody else wants it: parameters and
/// inputs, what is reshaped, and what needs zeros between its entries. `free` windows need none: matrix products skip them.
fn arranged(graph: &mut Graph, windows: &Windows, expr: Expr, free: Free) -> Expr {
    match graph.node(expr).clone() {
        // Entries of images do not lie in the order in which they are numbered.
        Node::Reshape { arg, from, to }
            if !from.iter().all(|&axis| windows.is_spatial(axis))
                && from.len() > 1
                && !matches!(graph.node(arg), Node::Symbol(_)) =>
        {
            let arg = copy(graph, arg);
            graph.intern(Node::Reshape { arg, from, to })
        }
        Node::Contract { left, right, over } => {
            let [left, right] =
                [(left, right), (right, left)].map(|sides| arranged_operand(graph, sides, &over, free));
            graph.intern(Node::Contract { left, right, over })
        }
        _ => expr,
    }
}

/// The first of the two operands, copied where it should be.
fn arranged_operand(graph: &mut Graph, (operand, other): (Expr, Expr), over: &[Axis], free: Free) -> Expr {
    let patches = |graph: &Graph, expr| Windowed::of(graph, graph.node(expr)).is_some();
    let is_window = |graph: &Graph, expr| matches!(graph.node(expr), Node::Window(_));
    if patches(graph, operand) || is_window(graph, operand) {
        return operand;
    }
    let node = Node::Contract { left: operand, right: other, over: over.to_vec() };
    let shift = Windowed::of(graph, &node).and_then(|windowed| Shift::of(&windowed));
    let slides = shift.is_some();
    let spaced = !free.slides && shift.is_some_and(|shift| shift.spacing > 1);
    let given = !is_computed(graph, operand);
    let ordered = slides || !free.beside && patches(graph, other);
    let remade = slides && is_elementwise(graph, operand);
    if spaced || remade || given && ordered { copied(graph, operand) } else { operand }
}

/// Whether the value, under whichever names of its axes, is made by loops of its own.
fn is_computed(graph: &Graph, expr: Expr) -> bool {
    !matches!(
        graph.node(unnamed(graph, expr)),
        Node::Symbol(_) | Node::Number(_) | Node::Index(_) | Node::Reshape { .. } | Node::Spread(..)
    )
}

/// Whether the value, under whichever names of its axes, is computed entry by entry: what windows see of it gets a place
/// of its own, so that others may compute it anew and the place is free as soon as the windows are done.
fn is_elementwise(graph: &Graph, expr: Expr) -> bool {
    pointwise(graph, unnamed(graph, expr))
}

/// The value without the names that renaming gave its axes.
fn unnamed(graph: &Graph, mut expr: Expr) -> Expr {
    while let Node::Rename(arg, _) = graph.node(expr) {
        expr = *arg;
    }
    expr
}

/// A copy, under the same names.
fn copied(graph: &mut Graph, expr: Expr) -> Expr {
    match graph.node(expr).clone() {
        Node::Rename(arg, pairs) => {
            let arg = copied(graph, arg);
            graph.intern(Node::Rename(arg, pairs))
        }
        _ => copy(graph, expr),
    }
}

/// The same value with a place of its own: a repetition along no axis is nothing but a name for it.
fn copy(graph: &mut Graph, expr: Expr) -> Expr {
    match graph.node(expr) {
        Node::Spread(_, along) if along.is_empty() => expr,
        _ => graph.intern(Node::Spread(expr, vec![])),
    }
}

/// mean(x + y) → mean(x) where mean(y) = 0, as for deviations from the mean: their sum is one pass less.
fn without_vanishing_terms(graph: &mut Graph, how: Reduction, over: &[Axis], arg: Expr) -> Option<Expr> {
    let Node::Add(terms) = graph.node(arg).clone() else { return None };
    if how == Reduction::Max {
        return None;
    }
    let mut parts: Vec<Expr> = terms.iter().map(|&term| graph.reduce(how, over, term)).collect();
    parts.retain(|&part| graph.as_number(part) != Some(0.0));
    (parts.len() < terms.len()).then(|| graph.add(&parts))
}

/// Sum over (o, i) → sum over o of the sums over i, when little is kept.
fn split_reduction(graph: &mut Graph, windows: &Windows, how: Reduction, over: Vec<Axis>, arg: Expr) -> Expr {
    match outermost(graph, windows, &over, arg) {
        Some((outer, inner)) => {
            let rows = graph.intern(Node::Reduce(how, inner, arg));
            graph.intern(Node::Reduce(how, vec![outer], rows))
        }
        None => graph.intern(Node::Reduce(how, over, arg)),
    }
}

fn split_contraction(
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
fn outermost(graph: &Graph, windows: &Windows, over: &[Axis], arg: Expr) -> Option<(Axis, Vec<Axis>)> {
    let axes = graph.axes_of(arg);
    let reduced: Vec<Axis> = axes.iter().copied().filter(|axis| over.contains(axis)).collect();
    let all = graph.axes.size(axes);
    let kept = all / graph.axes.size(&reduced);
    if reduced.len() < 2 || reduced.len() < over.len() || kept >= FEW_ENTRIES || all < MANY_ENTRIES {
        return None;
    }
    let outer = windows.outermost_first(&reduced)[0];
    Some((outer, reduced.into_iter().filter(|&axis| axis != outer).collect()))
}

//! What regrouped expressions ask for before anything gets memory: a reduction to almost nothing goes in two steps, and
//! copies stand in front of windows where their operand lies as somebody else wants it.

use std::collections::HashMap;

use super::materialize::pointwise;
use super::view::Shift;
use super::window::Windows;
use super::{algebra, renames, split};
use crate::axes::Axis;
use crate::sym::window::Windowed;
use crate::sym::{Expr, Graph, Node};

/// Rewrites `roots` and everything below them.
pub(super) fn prepare(graph: &mut Graph, roots: &[Expr]) -> Vec<Expr> {
    let roots = algebra::rewritten(graph, roots);
    let roots = renames::floated(graph, &roots);
    let windows = Windows::of(graph, &roots);
    renewed(graph, &roots, |graph, expr, done| {
        let beside = graph.node(expr).args().into_iter().any(|arg| windows.slides(arg));
        let split = match graph.node(expr).clone().map(|arg| done[&arg]) {
            Node::Reduce(how, over, arg) => {
                let deviation = split::deviation(graph, graph.node(expr));
                let deviation = deviation.map(|parts| parts.map(|part| done[&part]));
                split::reduction(graph, &windows, (how, over, arg), deviation)
            }
            Node::Contract { left, right, over } => {
                split::contraction(graph, &windows, (left, right, over), beside)
            }
            other => graph.intern(other),
        };
        if windows.is_empty() {
            return split;
        }
        arranged(graph, &windows, split, Free { slides: windows.slides(expr), beside })
    })
}

/// Renews everything below `roots`, operands first: `rewrite` gets an expression and what has become of all below it.
pub(super) fn renewed(
    graph: &mut Graph,
    roots: &[Expr],
    rewrite: impl Fn(&mut Graph, Expr, &HashMap<Expr, Expr>) -> Expr,
) -> Vec<Expr> {
    let mut done: HashMap<Expr, Expr> = HashMap::new();
    for expr in graph.reachable(roots) {
        graph.current_tag = graph.tag_of(expr);
        let new = rewrite(graph, expr, &done);
        if let Some(name) = graph.name_of(expr).map(str::to_owned) {
            graph.set_name(new, name);
        }
        done.insert(expr, new);
    }
    graph.current_tag = None;
    roots.iter().map(|root| done[root]).collect()
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
        // Nor do the entries of what was a row of features.
        Node::Reshape { arg, from, to }
            if from.len() == 1 && mixed(graph, windows, &to) && is_computed(graph, arg) =>
        {
            copy(graph, expr)
        }
        Node::Contract { left, right, over } => {
            let [left, right] =
                [(left, right), (right, left)].map(|sides| arranged_operand(graph, sides, &over, free));
            graph.intern(Node::Contract { left, right, over })
        }
        _ => expr,
    }
}

/// Whether there are positions among the axes, and others.
fn mixed(graph: &Graph, windows: &Windows, axes: &[Axis]) -> bool {
    let long = || axes.iter().filter(|&&axis| graph.axes.extent(axis) > 1);
    long().any(|&axis| windows.is_spatial(axis)) && long().any(|&axis| !windows.is_spatial(axis))
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

//! Contractions: matrix products and their kin.

use super::{Rule, bare, count};
use crate::axes::{Axis, BATCH};
use crate::sym::graph::{Expr, Graph, Node, Reduction};
use crate::sym::window::Windowed;

pub(super) const RULES: &[Rule] = &[
    Rule { name: "contraction over nothing", identity: "Σ_{} x·y = x·y", rewrite: over_nothing },
    Rule {
        name: "contraction of a repeated value",
        identity: "Σ_k spread(x)·y = spread(Σ_k x·y)",
        rewrite: of_spread,
    },
    Rule {
        name: "window that numbers its axis",
        identity: "Σ_h S·x = reshape(x) where the window's axes number h in row-major order; and backwards",
        rewrite: of_numbering,
    },
    Rule {
        name: "window of a constant",
        identity: "Σ_{i,k} S·y_i = Σ_k (Σ_i S·y_i)",
        rewrite: window_of_constant,
    },
    Rule {
        name: "a window meets the factor that it moves",
        identity: "Σ_{i,k} S_ik·Σ_c x_ci·w_ck = Σ_{c,k} (Σ_i S_ik·x_ci)·w_ck",
        rewrite: window_of_product,
    },
    Rule {
        name: "sum one side first",
        identity: "Σ_k x·y_k = x·Σ_k y_k; Σ_k x·y = |k|·x·y",
        rewrite: one_sided,
    },
    Rule {
        name: "scalar out of a contraction",
        identity: "Σ_k (a·x)·y = a·Σ_k x·y for scalar a",
        rewrite: scalars_out,
    },
    Rule {
        name: "entrywise contraction",
        identity: "Σ_k x·y is a sum of entrywise products where y has no axis that x lacks",
        rewrite: entrywise,
    },
];

fn parts(node: &Node) -> Option<(Expr, Expr, &[Axis])> {
    match node {
        Node::Contract { left, right, over } => Some((*left, *right, over)),
        _ => None,
    }
}

fn over_nothing(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (left, right, over) = parts(node)?;
    over.is_empty().then(|| graph.mul(&[left, right]))
}

fn of_spread(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (left, right, over) = parts(node)?;
    let (sides, along) = bare(graph, &[left, right]);
    if along.is_empty() {
        return None;
    }
    let product = graph.contract(sides[0], sides[1], over);
    let rest: Vec<Axis> = along.into_iter().filter(|axis| !over.contains(axis)).collect();
    Some(graph.spread(product, &rest))
}

fn of_numbering(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let Windowed { window, arg, over } = Windowed::of(graph, node)?;
    let by = window.as_reshape(&graph.axes)?;
    let all = |axes: &[Axis]| over.len() == axes.len() && axes.iter().all(|axis| over.contains(axis));
    // A value that lacks the axis is summed with the window alone.
    let varies = graph.axes_of(arg).iter().any(|axis| over.contains(axis));
    if !varies {
        return None;
    }
    if all(&[window.axis]) {
        return Some(graph.reshape(arg, &[window.axis], &by));
    }
    all(&by).then(|| graph.reshape(arg, &by, &[window.axis]))
}

fn window_of_constant(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let Windowed { window, arg, over } = Windowed::of(graph, node)?;
    let (present, lacking): (Vec<Axis>, Vec<Axis>) =
        over.iter().partition(|axis| graph.axes_of(arg).contains(axis));
    let inner = lacking.iter().all(|&axis| window.step(axis).is_some());
    if lacking.is_empty() || present.is_empty() || !inner {
        return None;
    }
    let window = graph.window(window);
    let moved = graph.contract(window, arg, &present);
    Some(graph.sum(&lacking, moved))
}

/// Of the two factors the window moves the one that varies with the batch, else the one with more positions: taps
/// stay with the weights.
fn window_of_product(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let Windowed { window, arg, over } = Windowed::of(graph, node)?;
    let Node::Contract { left, right, over: summed } = graph.visible(arg).clone() else { return None };
    let [first, second] = over[..] else { return None };
    // What a window has moved already is a view, not a product.
    if Windowed::of(graph, graph.visible(arg)).is_some() {
        return None;
    }
    let own = |graph: &Graph, side, axis, other| {
        graph.axes_of(side).contains(&axis) && !graph.axes_of(side).contains(&other)
    };
    let (a, b) = if own(graph, left, first, second) { (first, second) } else { (second, first) };
    if !own(graph, left, a, b) || !own(graph, right, b, a) {
        return None;
    }
    let rank = |side, axis| (graph.axes_of(side).contains(&BATCH), graph.axes.extent(axis));
    let (moved, axis, other, tap) =
        if rank(left, a) >= rank(right, b) { (left, a, right, b) } else { (right, b, left, a) };
    let window = graph.window(window);
    let moved = graph.contract(window, moved, &[axis]);
    Some(graph.contract(moved, other, &[&summed[..], &[tap]].concat()))
}

fn one_sided(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (left, right, over) = parts(node)?;
    let has = |graph: &Graph, side, axis: &Axis| graph.axes_of(side).contains(axis);
    let both: Vec<Axis> =
        over.iter().copied().filter(|a| has(graph, left, a) && has(graph, right, a)).collect();
    if both.len() == over.len() {
        return None;
    }
    let only = |graph: &Graph, side, other| -> Vec<Axis> {
        over.iter().copied().filter(|a| has(graph, side, a) && !has(graph, other, a)).collect()
    };
    let neither: Vec<Axis> =
        over.iter().copied().filter(|a| !has(graph, left, a) && !has(graph, right, a)).collect();
    let (left_only, right_only) = (only(graph, left, right), only(graph, right, left));
    let (left, right) = (graph.sum(&left_only, left), graph.sum(&right_only, right));
    let times = graph.number(count(graph, &neither));
    let product = graph.contract(left, right, &both);
    Some(graph.mul(&[times, product]))
}

fn scalars_out(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (left, right, over) = parts(node)?;
    let (mut scalars, left) = split_scalars(graph, left);
    let (others, right) = split_scalars(graph, right);
    scalars.extend(others);
    if scalars.is_empty() {
        return None;
    }
    let (left, right) = (graph.mul(&left), graph.mul(&right));
    scalars.push(graph.contract(left, right, over));
    Some(graph.mul(&scalars))
}

/// The factors over no axes, and the others.
fn split_scalars(graph: &Graph, expr: Expr) -> (Vec<Expr>, Vec<Expr>) {
    match graph.visible(expr) {
        Node::Mul(factors) => factors.iter().partition(|&&factor| graph.axes_of(factor).is_empty()),
        _ => (vec![], vec![expr]),
    }
}

/// No matrix product: the sum may be fused with what makes the factors. A matrix times a vector stays a contraction.
fn entrywise(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (left, right, over) = parts(node)?;
    let (a, b) = (graph.axes_of(left), graph.axes_of(right));
    let same = a.len() == b.len() && a.iter().all(|axis| b.contains(axis));
    if !same {
        return None;
    }
    let product = graph.mul(&[left, right]);
    Some(graph.reduce(Reduction::Sum, over, product))
}

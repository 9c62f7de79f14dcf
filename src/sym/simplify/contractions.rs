//! Contractions: matrix products and their kin.

use super::{Rule, bare, count};
use crate::axes::Axis;
use crate::sym::graph::{Expr, Graph, Node, Reduction};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "contraction over nothing", identity: "Σ_{} x·y = x·y", rewrite: over_nothing },
    Rule {
        name: "contraction of a repeated value",
        identity: "Σ_k spread(x)·y = spread(Σ_k x·y)",
        rewrite: of_spread,
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

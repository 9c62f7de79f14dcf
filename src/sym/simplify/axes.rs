//! Renaming, reshaping and repeating.

use super::Rule;
use crate::axes::Axis;
use crate::sym::graph::{Expr, Graph, Node};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "trivial renaming",
        identity: "axes that are absent or keep their names drop out",
        rewrite: trivial,
    },
    Rule { name: "renaming composed", identity: "rename(rename(x)) is one renaming", rewrite: composed },
    Rule {
        name: "renamed position or repetition",
        identity: "rename(index(k)) = index(k'), and so for windows; rename(spread(x)) = spread(rename(x))",
        rewrite: renamed,
    },
    Rule {
        name: "reshape of one axis",
        identity: "one axis for one axis is a renaming; the same axes in the same order: nothing",
        rewrite: reshape_as_rename,
    },
    Rule {
        name: "reshape of single positions",
        identity: "reshape(x) to no axes is sum(x) over single positions, and from none spread(x)",
        rewrite: reshape_of_single_positions,
    },
    Rule {
        name: "reshape composed",
        identity: "reshape(reshape(x)) is one reshape",
        rewrite: reshape_composed,
    },
    Rule {
        name: "reshape of a constant",
        identity: "reshape(x) = x where x lacks the axes",
        rewrite: reshape_constant,
    },
    Rule { name: "single position", identity: "index(k) = 0 where |k| = 1", rewrite: single_position },
    Rule {
        name: "repetition",
        identity: "spread along present axes is nothing; spread(spread(x)) is one",
        rewrite: spread,
    },
];

fn renaming(node: &Node) -> Option<(Expr, &[(Axis, Axis)])> {
    match node {
        Node::Rename(arg, pairs) => Some((*arg, pairs)),
        _ => None,
    }
}

fn trivial(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (arg, pairs) = renaming(node)?;
    let matters = |pair: &&(Axis, Axis)| pair.0 != pair.1 && graph.axes_of(arg).contains(&pair.0);
    let kept: Vec<(Axis, Axis)> = pairs.iter().filter(matters).copied().collect();
    if kept.is_empty() {
        return Some(arg);
    }
    (kept.len() < pairs.len()).then(|| graph.rename(arg, &kept))
}

fn composed(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (arg, outer) = renaming(node)?;
    let Node::Rename(x, inner) = graph.visible(arg).clone() else { return None };
    let lookup =
        |pairs: &[(Axis, Axis)], axis: Axis| pairs.iter().find(|p| p.0 == axis).map_or(axis, |p| p.1);
    let pair = |&axis: &Axis| (axis, lookup(outer, lookup(&inner, axis)));
    let pairs: Vec<(Axis, Axis)> = graph.axes_of(x).iter().map(pair).collect();
    Some(graph.rename(x, &pairs))
}

fn renamed(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (arg, pairs) = renaming(node)?;
    let new = |axis: Axis| pairs.iter().find(|pair| pair.0 == axis).map_or(axis, |pair| pair.1);
    match graph.visible(arg).clone() {
        Node::Index(axis) => Some(graph.index(new(axis))),
        Node::Window(window) => Some(graph.window(window.renamed(new))),
        Node::Spread(x, along) => {
            let along: Vec<Axis> = along.into_iter().map(new).collect();
            let x = graph.rename(x, pairs);
            Some(graph.spread(x, &along))
        }
        _ => None,
    }
}

fn reshape(node: &Node) -> Option<(Expr, &[Axis], &[Axis])> {
    match node {
        Node::Reshape { arg, from, to } => Some((*arg, from, to)),
        _ => None,
    }
}

fn reshape_as_rename(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (arg, from, to) = reshape(node)?;
    match (from, to) {
        _ if from == to => Some(arg),
        ([old], [new]) => Some(graph.rename(arg, &[(*old, *new)])),
        _ => None,
    }
}

fn reshape_of_single_positions(graph: &mut Graph, node: &Node) -> Option<Expr> {
    match reshape(node)? {
        (arg, from, []) => Some(graph.sum(from, arg)),
        (arg, [], to) => Some(graph.spread(arg, to)),
        _ => None,
    }
}

fn reshape_composed(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (arg, from, to) = reshape(node)?;
    match graph.visible(arg).clone() {
        Node::Reshape { arg: x, from: first, to: middle } if middle == from => {
            Some(graph.reshape(x, &first, to))
        }
        _ => None,
    }
}

fn reshape_constant(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (arg, from, to) = reshape(node)?;
    let present = from.iter().filter(|axis| graph.axes_of(arg).contains(axis)).count();
    if present == from.len() {
        return None;
    }
    if present == 0 {
        return Some(arg);
    }
    let full = graph.spread(arg, from);
    Some(graph.reshape(full, from, to))
}

fn single_position(graph: &mut Graph, node: &Node) -> Option<Expr> {
    match node {
        Node::Index(axis) if graph.axes.extent(*axis) == 1 => Some(graph.number(0.0)),
        _ => None,
    }
}

fn spread(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let Node::Spread(arg, along) = node else { return None };
    let (x, inner) = match graph.visible(*arg).clone() {
        Node::Spread(x, inner) => (x, inner),
        _ => (*arg, vec![]),
    };
    let wanted = inner.iter().chain(along).copied();
    let mut missing: Vec<Axis> = wanted.filter(|axis| !graph.axes_of(x).contains(axis)).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Some(x);
    }
    (x != *arg || missing != *along).then(|| graph.spread(x, &missing))
}

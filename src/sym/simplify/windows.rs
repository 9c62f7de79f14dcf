//! Windows alone.

use super::Rule;
use crate::axes::Axis;
use crate::sym::graph::{Expr, Graph, Node};
use crate::sym::window::Window;

pub(super) const RULES: &[Rule] = &[Rule {
    name: "single position of a window",
    identity: "S_hik = S_hi where |k| = 1",
    rewrite: single_position,
}];

fn single_position(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let Node::Window(window) = node else { return None };
    let single = |axis: Axis| graph.axes.extent(axis) == 1;
    let mut by = window.by.clone();
    by.retain(|entry| !single(entry.0));
    (by.len() < window.by.len()).then(|| graph.window(Window { by, ..window.clone() }))
}

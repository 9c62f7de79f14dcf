//! How lasting tensors lie in memory. Everybody outside sees them row-major; inside, taps of a window come first, so that what
//! a matrix product reads or updates for one tap is one piece.

use std::collections::HashSet;

use super::window::Windows;
use crate::hessian::Plan;
use crate::sym::{Expr, Graph, Node, Symbol};

/// The plan's graph with the axes of parameters, statistics and states in the order in which they lie.
pub(super) fn arranged(plan: &Plan) -> Graph {
    let mut graph = plan.graph.clone();
    let roots: Vec<Expr> =
        plan.routines.iter().flat_map(|routine| &routine.writes).map(|write| write.value).collect();
    let windows = Windows::of(&graph, &roots);
    let whole = reinterpreted(&graph, &graph.reachable(&roots));
    let symbols = &plan.symbols;
    for &symbol in symbols.params.iter().chain(&symbols.stats).chain(&symbols.states) {
        if !whole.contains(&symbol) {
            let axes = windows.outermost_first(&graph.symbol_info(symbol).axes);
            graph.arrange(symbol, axes);
        }
    }
    graph
}

/// Symbols of which several axes are taken as one somewhere: these have to lie as they are numbered.
fn reinterpreted(graph: &Graph, order: &[Expr]) -> HashSet<Symbol> {
    let reshaped = order.iter().filter_map(|&expr| match graph.node(expr) {
        Node::Reshape { arg, from, .. } if from.len() > 1 => Some(*arg),
        _ => None,
    });
    reshaped.filter_map(|arg| symbol_behind(graph, arg)).collect()
}

fn symbol_behind(graph: &Graph, mut expr: Expr) -> Option<Symbol> {
    loop {
        match graph.node(expr) {
            Node::Symbol(symbol) => return Some(*symbol),
            Node::Rename(arg, _) | Node::Spread(arg, _) | Node::Reshape { arg, .. } => expr = *arg,
            _ => return None,
        }
    }
}

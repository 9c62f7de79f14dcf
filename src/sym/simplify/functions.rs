//! Elementwise functions: constants folded, and the identities that each function brings along.

use super::{Rule, bare};
use crate::sym::graph::{Expr, Graph, Node};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "function of a repeated value",
        identity: "f(spread(x)) = spread(f(x))",
        rewrite: of_spread,
    },
    Rule { name: "function of numbers", identity: "f(a) is computed", rewrite: of_numbers },
    Rule { name: "identity of the function", identity: "as the function's own rule says", rewrite: own },
];

fn of_spread(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let Node::Apply(function, args) = node else { return None };
    let (args, along) = bare(graph, args);
    if along.is_empty() {
        return None;
    }
    let value = graph.apply(function.0, &args);
    Some(graph.spread(value, &along))
}

fn of_numbers(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let Node::Apply(function, args) = node else { return None };
    let values: Option<Vec<f64>> = args.iter().map(|&arg| graph.as_number(arg)).collect();
    Some(graph.number(function.0.eval(&values?)))
}

fn own(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let Node::Apply(function, args) = node else { return None };
    function.0.simplify(graph, args).map(|(_, equal)| equal)
}

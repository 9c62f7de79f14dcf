//! Powers with numeric exponents.

use super::{Rule, bare, is_nonnegative};
use crate::sym::graph::{Expr, Graph, Node};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "power of a repeated value", identity: "spread(x)^n = spread(x^n)", rewrite: of_spread },
    Rule {
        name: "trivial power",
        identity: "x^0 = 1; x^1 = x; 1^x = 1; numbers are computed",
        rewrite: trivial,
    },
    Rule {
        name: "power of a power",
        identity: "(x^a)^b = x^(a·b), unless a is even and neither b nor a·b/2 is an integer",
        rewrite: of_power,
    },
    Rule {
        name: "power of a product",
        identity: "(x·y)^n = x^n · y^n for integer n, or where x is known not to be negative",
        rewrite: of_product,
    },
    Rule { name: "power of an indicator", identity: "1{c}^n = 1{c} for n > 0", rewrite: of_indicator },
];

/// Base and numeric exponent.
fn parts(graph: &Graph, node: &Node) -> Option<(Expr, f64)> {
    match node {
        Node::Pow(base, exponent) => Some((*base, graph.as_number(*exponent)?)),
        _ => None,
    }
}

fn of_spread(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (args, along) = bare(graph, &node.args());
    if along.is_empty() {
        return None;
    }
    let power = graph.pow(args[0], args[1]);
    Some(graph.spread(power, &along))
}

fn trivial(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let Node::Pow(base, exponent) = *node else { return None };
    match (graph.as_number(base), graph.as_number(exponent)) {
        (_, Some(0.0)) => Some(graph.number(1.0)),
        (_, Some(1.0)) => Some(base),
        (Some(1.0), _) => Some(base),
        (Some(base), Some(exponent)) => Some(graph.number(base.powf(exponent))),
        _ => None,
    }
}

fn of_power(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (base, outer) = parts(graph, node)?;
    let (inner_base, inner) = parts(graph, &graph.visible(base).clone())?;
    let even = |n: f64| n % 2.0 == 0.0;
    let loses_sign = even(inner) && outer.fract() != 0.0 && !even(inner * outer);
    if loses_sign && !is_nonnegative(graph, inner_base) {
        return None;
    }
    Some(graph.powf(inner_base, inner * outer))
}

fn of_product(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (base, exponent) = parts(graph, node)?;
    let Node::Mul(factors) = graph.visible(base).clone() else { return None };
    let splits = |&factor: &Expr| exponent.fract() == 0.0 || is_nonnegative(graph, factor);
    let (out, within): (Vec<Expr>, Vec<Expr>) = factors.into_iter().partition(splits);
    if out.is_empty() {
        return None;
    }
    let mut result: Vec<Expr> = out.into_iter().map(|factor| graph.powf(factor, exponent)).collect();
    if !within.is_empty() {
        let within = graph.mul(&within);
        result.push(graph.powf(within, exponent));
    }
    Some(graph.mul(&result))
}

fn of_indicator(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (base, exponent) = parts(graph, node)?;
    match graph.visible(base) {
        Node::Apply(function, args) if exponent > 0.0 && function.0.is_indicator(graph, args) => Some(base),
        Node::Window(_) | Node::ArgMax(..) if exponent > 0.0 => Some(base),
        _ => None,
    }
}

//! Simplification: every identity that the constructors apply, by name, in one place.
//!
//! A constructor hands its node to [`rewrite`]; the first rule of the node's kind that applies gives the equal
//! expression, whose parts went through the constructors themselves. Rules keep what is shared: products of sums are
//! never multiplied out, and a sum inside a sum is opened only when that leaves fewer terms, so that x − mean(x) stays
//! one value and a chain of residual sums does not grow with its length. No rule looks inside a sealed value.

mod axes;
mod contractions;
mod functions;
mod powers;
mod products;
mod reductions;
mod sums;
#[cfg(test)]
mod tests;
mod windows;

use super::graph::{Expr, Graph, Node};
use crate::axes::Axis;

/// An identity, read from left to right.
pub struct Rule {
    pub name: &'static str,
    /// The identity as text; S is the set of axes that are summed.
    pub identity: &'static str,
    /// The equal expression, where the rule applies.
    rewrite: fn(&mut Graph, &Node) -> Option<Expr>,
}

const TABLES: [&[Rule]; 8] = [
    sums::RULES,
    products::RULES,
    powers::RULES,
    functions::RULES,
    reductions::RULES,
    contractions::RULES,
    axes::RULES,
    windows::RULES,
];

/// All rules, in the order in which they are tried.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    TABLES.iter().copied().flatten()
}

/// The equal, simpler expression of a node whose arguments are simple already; `None`: it stays as it is.
pub fn rewrite(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let table = match node {
        Node::Add(_) => sums::RULES,
        Node::Mul(_) => products::RULES,
        Node::Pow(..) => powers::RULES,
        Node::Apply(..) => functions::RULES,
        Node::Reduce(..) => reductions::RULES,
        Node::Contract { .. } => contractions::RULES,
        Node::Rename(..) | Node::Reshape { .. } | Node::Index(_) | Node::Spread(..) => axes::RULES,
        Node::Window(_) => windows::RULES,
        Node::Number(_)
        | Node::Symbol(_)
        | Node::ArgMax(..)
        | Node::Random { .. }
        | Node::Orthonormal(_)
        | Node::Exchange(..) => return None,
    };
    table.iter().find_map(|rule| (rule.rewrite)(graph, node))
}

/// The expressions without the repetition around them, and the axes along which they were repeated: entrywise
/// operations broadcast anyway.
fn bare(graph: &Graph, args: &[Expr]) -> (Vec<Expr>, Vec<Axis>) {
    let mut along = Vec::new();
    let strip = |&arg: &Expr| match graph.visible(arg) {
        Node::Spread(inner, axes) => {
            along.extend_from_slice(axes);
            *inner
        }
        _ => arg,
    };
    (args.iter().map(strip).collect(), along)
}

/// Number of positions along `axes`, as a factor.
fn count(graph: &Graph, axes: &[Axis]) -> f64 {
    axes.iter().map(|&axis| graph.axes.extent(axis) as f64).product()
}

fn varies_along(graph: &Graph, expr: Expr, axes: &[Axis]) -> bool {
    graph.axes_of(expr).iter().any(|axis| axes.contains(axis))
}

/// Whether the value is known never to be negative (a NaN aside).
fn is_nonnegative(graph: &Graph, expr: Expr) -> bool {
    never_negative(graph, expr, &mut 256)
}

/// Gives up, and says no, after `visits` nodes.
fn never_negative(graph: &Graph, expr: Expr, visits: &mut u32) -> bool {
    if *visits == 0 {
        return false;
    }
    *visits -= 1;
    let mut ask = |expr: Expr| never_negative(graph, expr, visits);
    match graph.node(expr) {
        Node::Number(number) => number.value() >= 0.0,
        Node::Pow(base, exponent) => match graph.as_number(*exponent) {
            Some(n) => n % 2.0 == 0.0 || n.fract() != 0.0 || ask(*base),
            None => ask(*base),
        },
        Node::Add(args) | Node::Mul(args) => args.iter().all(|&arg| ask(arg)),
        Node::Apply(function, args) => function.0.is_nonnegative() || function.0.is_indicator(graph, args),
        Node::Reduce(_, _, arg) | Node::Rename(arg, _) | Node::Reshape { arg, .. } | Node::Spread(arg, _) => {
            ask(*arg)
        }
        Node::Index(_) | Node::Window(_) | Node::ArgMax(..) | Node::Random { .. } => true,
        Node::Contract { left, right, .. } => ask(*left) && ask(*right),
        Node::Symbol(_) | Node::Orthonormal(_) | Node::Exchange(..) => false,
    }
}

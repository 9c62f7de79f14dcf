//! Products in normal form: one number in front, equal bases collected into powers.

use super::{Rule, bare};
use crate::sym::graph::{Expr, Graph, Node};

pub(super) const RULES: &[Rule] = &[Rule {
    name: "collect powers",
    identity: "x^a · x^b = x^(a+b); 0 · x = 0; numbers are multiplied",
    rewrite: |graph, node| match node {
        Node::Mul(factors) => Some(collect(graph, factors)),
        _ => None,
    },
}];

/// Longer products keep their inner products closed, so that chains of products over many blocks stay linear in size.
const LONGEST: usize = 24;

fn collect(graph: &mut Graph, factors: &[Expr]) -> Expr {
    let (factors, along) = bare(graph, factors);
    let mut number = 1.0;
    let mut powers: Vec<(Expr, f64)> = Vec::new();
    for factor in opened(graph, &factors) {
        if let Some(value) = graph.as_number(factor) {
            number *= value;
            continue;
        }
        let (base, exponent) = split_exponent(graph, factor);
        match powers.iter_mut().find(|power| power.0 == base) {
            Some(power) => power.1 += exponent,
            None => powers.push((base, exponent)),
        }
    }
    let product = if number == 0.0 { graph.number(0.0) } else { build(graph, number, &powers) };
    graph.spread(product, &along)
}

/// The factors with products among them opened.
fn opened(graph: &Graph, factors: &[Expr]) -> Vec<Expr> {
    let mut result: Vec<Expr> = Vec::new();
    for &factor in factors {
        match graph.visible(factor) {
            Node::Mul(inner) => result.extend_from_slice(inner),
            _ => result.push(factor),
        }
    }
    if result.len() <= LONGEST { result } else { factors.to_vec() }
}

/// The base and its numeric exponent.
fn split_exponent(graph: &Graph, expr: Expr) -> (Expr, f64) {
    match graph.visible(expr) {
        Node::Pow(base, exponent) => match graph.as_number(*exponent) {
            Some(exponent) => (*base, exponent),
            None => (expr, 1.0),
        },
        _ => (expr, 1.0),
    }
}

fn build(graph: &mut Graph, number: f64, powers: &[(Expr, f64)]) -> Expr {
    let mut factors: Vec<Expr> = Vec::new();
    let mut again = false;
    for &(base, exponent) in powers {
        let factor = graph.powf(base, exponent);
        // A power may itself become a number, a product, or a power of another base that is present already.
        again |= split_exponent(graph, factor) != (base, exponent) && !factor_is_whole(graph, factor, base);
        factors.push(factor);
    }
    if number != 1.0 || factors.is_empty() {
        factors.insert(0, graph.number(number));
    }
    if let [one] = factors[..] {
        return one;
    }
    if again { collect(graph, &factors) } else { graph.intern(Node::Mul(factors)) }
}

/// Whether the factor is the very base that it was made of (an indicator is all its powers).
fn factor_is_whole(graph: &Graph, factor: Expr, base: Expr) -> bool {
    factor == base && !matches!(graph.visible(base), Node::Mul(_) | Node::Number(_))
}

//! Sums in normal form: like terms collected, the constant last.

use super::{Rule, bare};
use crate::sym::graph::{Expr, Graph, Node, Number};

pub(super) const RULES: &[Rule] = &[Rule {
    name: "collect like terms",
    identity: "a·x + b·x = (a+b)·x; 0·x = 0; (x + y) − x = y",
    rewrite: |graph, node| match node {
        Node::Add(terms) => Some(collect(graph, terms)),
        _ => None,
    },
}];

fn collect(graph: &mut Graph, terms: &[Expr]) -> Expr {
    let (terms, along) = bare(graph, terms);
    let mut form = LinearForm::default();
    for term in terms {
        form.add(graph, term, 1.0);
    }
    let form = form.opened(graph);
    let sum = form.build(graph);
    graph.spread(sum, &along)
}

/// A constant plus numbers times expressions, in order of first appearance.
#[derive(Clone, Default)]
struct LinearForm {
    constant: f64,
    terms: Vec<(Expr, f64)>,
}

impl LinearForm {
    fn add(&mut self, graph: &mut Graph, expr: Expr, coefficient: f64) {
        let (number, rest) = split_number(graph, expr);
        let coefficient = coefficient * number;
        match rest {
            None => self.constant += coefficient,
            Some(rest) => match self.terms.iter_mut().find(|term| term.0 == rest) {
                Some(term) => term.1 += coefficient,
                None => self.terms.push((rest, coefficient)),
            },
        }
    }

    fn len(&self) -> usize {
        self.terms.iter().filter(|term| term.1 != 0.0).count() + usize::from(self.constant != 0.0)
    }

    /// With sums among the terms opened where that leaves no more terms: all at once if it can be, else one by one.
    fn opened(self, graph: &mut Graph) -> LinearForm {
        let nested: Vec<Expr> = self.terms.iter().map(|term| term.0).filter(|&e| is_sum(graph, e)).collect();
        if nested.is_empty() {
            return self;
        }
        let all = self.open(graph, &nested);
        if all.len() <= self.len() {
            return all;
        }
        nested.iter().fold(self, |form, &one| {
            let opened = form.open(graph, &[one]);
            if opened.len() <= form.len() { opened } else { form }
        })
    }

    fn open(&self, graph: &mut Graph, sums: &[Expr]) -> LinearForm {
        let mut form = LinearForm { constant: self.constant, terms: Vec::new() };
        for &(expr, coefficient) in &self.terms {
            if !sums.contains(&expr) {
                form.add(graph, expr, coefficient);
                continue;
            }
            for inner in graph.visible(expr).args() {
                form.add(graph, inner, coefficient);
            }
        }
        form
    }

    fn build(self, graph: &mut Graph) -> Expr {
        let kept: Vec<(Expr, f64)> = self.terms.into_iter().filter(|term| term.1 != 0.0).collect();
        let mut terms: Vec<Expr> = kept.into_iter().map(|(expr, c)| scaled(graph, c, expr)).collect();
        if self.constant != 0.0 || terms.is_empty() {
            terms.push(graph.number(self.constant));
        }
        if let [one] = terms[..] { one } else { graph.intern(Node::Add(terms)) }
    }
}

fn is_sum(graph: &Graph, expr: Expr) -> bool {
    matches!(graph.visible(expr), Node::Add(_))
}

/// number · rest; `None`: the expression is a number.
fn split_number(graph: &mut Graph, expr: Expr) -> (f64, Option<Expr>) {
    match graph.visible(expr) {
        Node::Number(number) => (number.value(), None),
        Node::Mul(factors) => {
            let Some(number) = graph.as_number(factors[0]) else { return (1.0, Some(expr)) };
            let rest = factors[1..].to_vec();
            let rest = if let [one] = rest[..] { one } else { graph.intern(Node::Mul(rest)) };
            (number, Some(rest))
        }
        _ => (1.0, Some(expr)),
    }
}

/// number · expr in the normal form of products, where `expr` carries no number.
fn scaled(graph: &mut Graph, number: f64, expr: Expr) -> Expr {
    if number == 1.0 {
        return expr;
    }
    let mut factors = vec![graph.intern(Node::Number(Number::new(number)))];
    match graph.visible(expr) {
        Node::Mul(inner) => factors.extend_from_slice(inner),
        _ => factors.push(expr),
    }
    graph.intern(Node::Mul(factors))
}

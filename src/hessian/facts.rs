//! Facts about values that simplify operators: standardized values and shares of a sum, found by what they are
//! made of, never by the name of a layer.

use super::rules::{self, Rule};
use crate::sym::formula::text::text;
use crate::sym::graph::{Expr, Graph, Node, Reduction};
use crate::sym::letters::pretty_name;
use crate::sym::operator::{Factor, Operator, Term};

/// A rule that was used, with what it was used on.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    pub rule: &'static Rule,
    /// Where it acted.
    pub detail: String,
}

/// Names values while it rewrites operators with them.
#[derive(Default)]
pub struct Facts {
    pub steps: Vec<Step>,
}

/// A value that a sum of squares (or a sum) normalizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalized {
    /// e·(mean_S e² + c)^(−½): the standardized value, printed x̂.
    Standardized,
    /// e·(Σ_S e)^(−1): shares that sum to one, printed p.
    Share,
}

/// What `base`, raised to a negative power, normalizes: `value` itself, or its square within a sum plus constants.
pub fn normalized_by(graph: &Graph, value: Expr, base: Expr) -> Option<Normalized> {
    if let Node::Reduce(Reduction::Sum, _, arg) = graph.node(base) {
        return (*arg == value).then_some(Normalized::Share);
    }
    let squares = |expr: &Expr| match graph.node(*expr) {
        Node::Reduce(Reduction::Mean, _, arg) => is_square_of(graph, *arg, value),
        _ => false,
    };
    let found = match graph.node(base) {
        Node::Add(terms) => terms.iter().any(squares),
        _ => squares(&base),
    };
    found.then_some(Normalized::Standardized)
}

fn is_square_of(graph: &Graph, expr: Expr, value: Expr) -> bool {
    match graph.node(expr) {
        Node::Pow(base, exponent) => *base == value && graph.as_number(*exponent) == Some(2.0),
        _ => false,
    }
}

/// Base and numeric exponent.
pub fn power_of(graph: &Graph, expr: Expr) -> (Expr, f64) {
    match graph.node(expr) {
        Node::Pow(base, exponent) => match graph.as_number(*exponent) {
            Some(power) => (*base, power),
            None => (expr, 1.0),
        },
        _ => (expr, 1.0),
    }
}

impl Facts {
    pub fn new() -> Self {
        Facts::default()
    }

    /// Rewrites products e·(…)^(−k) in every term with the named values x̂ and p.
    pub fn name_values(&mut self, graph: &mut Graph, operator: &mut Operator) {
        for term in &mut operator.terms {
            while self.name_one(graph, term) {}
        }
        operator.simplify(graph);
    }

    fn name_one(&mut self, graph: &mut Graph, term: &mut Term) -> bool {
        for i in 0..term.factors.len() {
            for j in 0..term.factors.len() {
                if i != j && self.try_pair(graph, term, i, j) {
                    return true;
                }
            }
        }
        false
    }

    /// Moves one normalizing power from factor `j` into factor `i`, where that is what `j` is for.
    fn try_pair(&mut self, graph: &mut Graph, term: &mut Term, i: usize, j: usize) -> bool {
        let (value, times) = power_of(graph, term.factors[i].expr);
        let (base, power) = power_of(graph, term.factors[j].expr);
        let inside = term.factors[j].at.iter().all(|index| term.factors[i].at.contains(index));
        let Some(kind) = normalized_by(graph, value, base) else { return false };
        let each = match kind {
            Normalized::Standardized => -0.5,
            Normalized::Share => -1.0,
        };
        if !inside || times < 1.0 || times.fract() != 0.0 || power > each * times + 1e-12 {
            return false;
        }
        let normalized = self.normalized_value(graph, value, base, kind);
        let rest = graph.powf(base, power - each * times);
        let at = term.factors[j].at.clone();
        term.factors[i].expr = graph.powf(normalized, times);
        term.factors[j] = Factor { expr: rest, at };
        if graph.as_number(rest).is_some() {
            term.factors.remove(j);
        }
        true
    }

    fn normalized_value(&mut self, graph: &mut Graph, value: Expr, base: Expr, kind: Normalized) -> Expr {
        let (power, name, rule): (f64, &str, &Rule) = match kind {
            Normalized::Standardized => (-0.5, "x_hat", &rules::STANDARDIZED),
            Normalized::Share => (-1.0, "p", &rules::SHARE),
        };
        let inverse = graph.powf(base, power);
        let product = graph.mul(&[value, inverse]);
        graph.set_name(product, name);
        let detail = format!("a named value: {}", text(&pretty_name(name).into()));
        self.steps.push(Step { rule, detail });
        product
    }
}

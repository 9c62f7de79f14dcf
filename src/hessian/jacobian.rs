//! Jacobians of whole blocks: the chain rule over everything between an output and an argument, simplified by named
//! rules. What looks like the knowledge of a layer (a batch norm's projector) comes out of facts about values.

use std::collections::HashMap;

use super::facts::{Facts, Step};
use super::rules::{self, Rule};
use crate::sym::differentiate::local_jacobians;
use crate::sym::graph::{Expr, Graph};
use crate::sym::operator::{Operator, Term};

/// A block whose Jacobian has more terms than this is not expanded.
pub const MAX_TERMS: usize = 96;

/// Why there is no Jacobian in closed form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TooManyTerms {
    pub terms: usize,
}

impl std::fmt::Display for TooManyTerms {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "the Jacobian has {} terms, more than {MAX_TERMS}", self.terms)
    }
}

/// ∂output/∂wrt as an operator from wrt's space to the output's, with wrt as an independent variable.
pub fn jacobian(graph: &mut Graph, output: Expr, wrt: Expr) -> Result<Operator, TooManyTerms> {
    jacobian_of(graph, output, wrt, &|_, _| false, &|_| true)
}

/// As [`jacobian`], for showing: data stay apart from their means, with the rules that were used.
pub fn jacobian_with_steps(
    graph: &mut Graph,
    output: Expr,
    wrt: Expr,
) -> Result<(Operator, Vec<Step>), TooManyTerms> {
    let mut steps = Vec::new();
    let mut operator = derive(graph, output, wrt, &|_, _| false, &|_| true, &mut steps)?;
    add_slopes(graph, &mut operator, true, &mut steps);
    Ok((operator, steps))
}

/// As [`jacobian`], with the expressions for which `held` is true taken as constants, and only the terms that `keep`
/// keeps, here and in every intermediate result.
pub fn jacobian_of(
    graph: &mut Graph,
    output: Expr,
    wrt: Expr,
    held: &dyn Fn(&Graph, Expr) -> bool,
    keep: &dyn Fn(&Term) -> bool,
) -> Result<Operator, TooManyTerms> {
    let mut operator = derive(graph, output, wrt, held, keep, &mut Vec::new())?;
    add_slopes(graph, &mut operator, false, &mut Vec::new());
    Ok(operator)
}

fn add_slopes(graph: &mut Graph, operator: &mut Operator, entrywise: bool, steps: &mut Vec<Step>) {
    // Sums of two kinds may need a turn each: first data, then slopes.
    let mut saved = 0;
    while let more @ 1.. = operator.merge_diagonals(graph, entrywise) {
        saved += more;
    }
    if saved > 0 {
        note(steps, &rules::SLOPES, "slopes of one value are added");
    }
}

fn derive(
    graph: &mut Graph,
    output: Expr,
    wrt: Expr,
    held: &dyn Fn(&Graph, Expr) -> bool,
    keep: &dyn Fn(&Term) -> bool,
    steps: &mut Vec<Step>,
) -> Result<Operator, TooManyTerms> {
    let mut known: HashMap<Expr, Operator> = HashMap::new();
    let domain = graph.axes_of(wrt).to_vec();
    let path = graph.between(&[output], &[wrt]);
    note(steps, &rules::CHAIN, &through(path.len().saturating_sub(2)));
    for expr in path {
        let mut operator =
            Operator { domain: domain.clone(), codomain: graph.axes_of(expr).to_vec(), terms: vec![] };
        if expr == wrt {
            operator = Operator::identity(&domain);
        } else if !held(graph, expr) {
            for local in local_jacobians(graph, expr) {
                let Some(inner) = known.get(&local.arg) else { continue };
                let outer = Term::local(graph, expr, &local);
                operator.terms.extend(inner.terms.iter().map(|term| outer.compose(term)));
            }
            simplify(graph, &mut operator, steps);
            operator.terms.retain(keep);
        }
        if operator.terms.len() > MAX_TERMS {
            return Err(TooManyTerms { terms: operator.terms.len() });
        }
        known.insert(expr, operator);
    }
    let codomain = graph.axes_of(output).to_vec();
    let mut result = known.remove(&output).unwrap_or(Operator { domain, codomain, terms: vec![] });
    let mut facts = Facts::new();
    facts.name_values(graph, &mut result);
    for step in facts.steps {
        note(steps, step.rule, &step.detail);
    }
    Ok(result)
}

/// Simplifies, and notes which rules did it.
fn simplify(graph: &mut Graph, operator: &mut Operator, steps: &mut Vec<Step>) {
    let done = operator.simplify(graph);
    if done.vanished > 0 {
        note(steps, &rules::CENTRED, "a path through a mean of a centred value vanishes");
    }
    if done.merged > 0 {
        note(steps, &rules::PATHS, "paths to the same place are one");
    }
    if done.summed > 0 {
        note(steps, &rules::AVERAGES, "an average next to a diagonal is a number per channel");
    }
}

fn through(values: usize) -> String {
    match values {
        0 => "directly".to_string(),
        1 => "through 1 value in between".to_string(),
        _ => format!("through {values} values in between"),
    }
}

fn note(steps: &mut Vec<Step>, rule: &'static Rule, detail: &str) {
    let step = Step { rule, detail: detail.to_string() };
    if !steps.contains(&step) {
        steps.push(step);
    }
}

/// The Hessian of the scalar `loss` with respect to `wrt`: the Jacobian of its gradient.
pub fn hessian(graph: &mut Graph, loss: Expr, wrt: Expr) -> Result<Operator, TooManyTerms> {
    let gradient = gradient(graph, loss, wrt);
    jacobian(graph, gradient, wrt)
}

/// The gradient of the scalar `loss` with respect to `wrt`, over the axes of `wrt`.
pub fn gradient(graph: &mut Graph, loss: Expr, wrt: Expr) -> Expr {
    let one = graph.number(1.0);
    graph.vjp(&[(loss, one)], &[wrt])[&wrt]
}

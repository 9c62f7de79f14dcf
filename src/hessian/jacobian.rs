//! Jacobians of whole blocks: the chain rule over everything between an output and an argument, simplified by named
//! rules. What looks like the knowledge of a layer (a batch norm's projector) comes out of facts about values.

use std::collections::HashMap;

use super::facts::Facts;
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

/// As [`jacobian`], with the expressions for which `held` is true taken as constants, and only the terms that `keep`
/// keeps, here and in every intermediate result.
pub fn jacobian_of(
    graph: &mut Graph,
    output: Expr,
    wrt: Expr,
    held: &dyn Fn(&Graph, Expr) -> bool,
    keep: &dyn Fn(&Term) -> bool,
) -> Result<Operator, TooManyTerms> {
    let mut known: HashMap<Expr, Operator> = HashMap::new();
    let domain = graph.axes_of(wrt).to_vec();
    for expr in graph.between(&[output], &[wrt]) {
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
            operator.simplify(graph);
            operator.terms.retain(keep);
        }
        if operator.terms.len() > MAX_TERMS {
            return Err(TooManyTerms { terms: operator.terms.len() });
        }
        known.insert(expr, operator);
    }
    let codomain = graph.axes_of(output).to_vec();
    let mut result = known.remove(&output).unwrap_or(Operator { domain, codomain, terms: vec![] });
    Facts::new().name_values(graph, &mut result);
    Ok(result)
}

/// The Hessian of the scalar `loss` with respect to `wrt`: the Jacobian of its gradient.
pub fn hessian(graph: &mut Graph, loss: Expr, wrt: Expr) -> Result<Operator, TooManyTerms> {
    let one = graph.number(1.0);
    let gradient = graph.vjp(&[(loss, one)], &[wrt])[&wrt];
    jacobian(graph, gradient, wrt)
}

//! Traces of Gauss–Newton Hessians as tensor networks: tr(Jᵀ H J) is a sum over pairs of terms of J of closed
//! networks, each contracted by variable elimination into an ordinary expression.

use crate::sym::graph::{Expr, Graph};
use crate::sym::operator::{Operator, Term};

/// tr(Jᵀ H J); without H, ‖J‖²_F.
pub fn gauss_newton_trace(graph: &mut Graph, jacobian: &Operator, hessian: Option<&Operator>) -> Expr {
    let networks = gram_networks(jacobian, hessian);
    let parts: Vec<Expr> = networks.into_iter().map(|network| contract_closed(graph, network)).collect();
    graph.add(&parts)
}

/// The closed networks whose sum is tr(Jᵀ H J), pairs of different terms counted twice where H is the identity.
pub fn gram_networks(jacobian: &Operator, hessian: Option<&Operator>) -> Vec<Term> {
    let mut networks = Vec::new();
    for (i, left) in jacobian.terms.iter().enumerate() {
        for (j, right) in jacobian.terms.iter().enumerate() {
            match hessian {
                None if j < i => {}
                None => networks.push(pair(left, right, None, if i == j { 1.0 } else { 2.0 })),
                Some(h) => networks.extend(h.terms.iter().map(|middle| pair(left, right, Some(middle), 1.0))),
            }
        }
    }
    networks
}

fn pair(left: &Term, right: &Term, middle: Option<&Term>, weight: f64) -> Term {
    let adjoint = left.transpose();
    let product = match middle {
        None => adjoint.compose(right),
        Some(hessian) => adjoint.compose(&hessian.compose(right)),
    };
    let mut network = product.closed();
    network.coefficient *= weight;
    network
}

/// The value of a closed network.
pub fn contract_closed(graph: &mut Graph, network: Term) -> Expr {
    network.normalize(graph).contract(graph, &[])
}

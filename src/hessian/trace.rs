//! Traces of Gauss–Newton Hessians as tensor networks: tr(Jᵀ H J) is a sum over pairs of terms of J of closed
//! networks, each contracted by variable elimination into an ordinary expression.

use crate::axes::{Axis, AxisTable};
use crate::intrinsics::{Eq, Where};
use crate::sym::graph::{Expr, Graph, Node};
use crate::sym::operator::{Operator, Term, Var};

/// One summand of tr(Jᵀ H J).
#[derive(Clone, Debug)]
pub struct Pair {
    /// The exact closed network.
    pub network: Term,
    /// The same with equal positions inside the two copies of a term made one, so that cross terms between different
    /// hidden units are left out; only where both copies are of one term.
    pub decorrelated: Option<Term>,
}

/// tr(Jᵀ H J); without H, ‖J‖²_F.
pub fn gauss_newton_trace(graph: &mut Graph, jacobian: &Operator, hessian: Option<&Operator>) -> Expr {
    let pairs = pairs(graph, jacobian, hessian);
    let parts: Vec<Expr> = pairs.into_iter().map(|pair| contract_closed(graph, pair.network)).collect();
    graph.add(&parts)
}

/// The closed networks whose sum is tr(Jᵀ H J), pairs of different terms counted twice where H is the identity.
pub fn pairs(graph: &mut Graph, jacobian: &Operator, hessian: Option<&Operator>) -> Vec<Pair> {
    let mut found = Vec::new();
    for (i, left) in jacobian.terms.iter().enumerate() {
        for (j, right) in jacobian.terms.iter().enumerate() {
            match hessian {
                None if j < i => {}
                None => {
                    let weight = if i == j { 1.0 } else { 2.0 };
                    found.push(pair(&graph.axes, [left, right], None, i == j, weight));
                }
                Some(h) => {
                    let through = |middle| pair(&graph.axes, [left, right], Some(middle), i == j, 1.0);
                    found.extend(h.terms.iter().map(through));
                }
            }
        }
    }
    let mut open = |mut network: Term| {
        network.identify_by_windows(graph);
        network.without_diagonals(graph, &delta)
    };
    let separate =
        |pair: Pair| Pair { network: open(pair.network), decorrelated: pair.decorrelated.map(&mut open) };
    found.into_iter().map(separate).collect()
}

/// 1 where two positions agree, else 0.
pub(super) fn delta(graph: &mut Graph, a: Axis, b: Axis) -> Expr {
    let (a, b) = (graph.index(a), graph.index(b));
    let agree = graph.apply(&Eq, &[a, b]);
    let (one, zero) = (graph.number(1.0), graph.number(0.0));
    let delta = graph.apply(&Where, &[agree, one, zero]);
    graph.set_name(delta, "I");
    delta
}

fn pair(
    table: &AxisTable,
    [left, right]: [&Term; 2],
    middle: Option<&Term>,
    same: bool,
    weight: f64,
) -> Pair {
    let right_side = middle.map_or_else(|| right.clone(), |hessian| hessian.compose(right));
    let (mut product, map) = left.transpose().compose_tracked(&right_side);
    product.coefficient *= weight;
    let twins: Vec<(Var, Var)> = left
        .internal()
        .into_iter()
        .chain(left.codomain.iter().map(|index| index.1))
        .map(|var| (map[&var], var))
        .collect();
    let decorrelated = same.then(|| {
        let mut network = product.clone();
        network.identify_all(table, &twins);
        network.closed(table)
    });
    Pair { network: product.closed(table), decorrelated }
}

/// The value of a closed network.
pub fn contract_closed(graph: &mut Graph, network: Term) -> Expr {
    network.normalize(graph).contract(graph, &[])
}

/// Whether evaluating `expr` needs only elementwise passes and reductions over what `network` is made of: no matrix
/// product, and nothing larger than the network's own tensors.
pub fn is_cheap(graph: &Graph, expr: Expr, network: &Term) -> bool {
    let size = |expr: Expr| graph.axes.size(graph.axes_of(expr));
    let given: Vec<Expr> = network.factors.iter().map(|factor| factor.expr).collect();
    let largest = given.iter().map(|&expr| size(expr)).max().unwrap_or(1);
    let mut stack = vec![expr];
    while let Some(expr) = stack.pop() {
        if given.contains(&expr) {
            continue;
        }
        if size(expr) > largest || is_matrix_product(graph, expr) {
            return false;
        }
        match graph.node(expr) {
            Node::Rename(arg, _) if given.contains(arg) => {}
            node => stack.extend(node.args()),
        }
    }
    true
}

fn is_matrix_product(graph: &Graph, expr: Expr) -> bool {
    let Node::Contract { left, right, .. } = graph.node(expr) else { return false };
    let private = |a: Expr, b: Expr| graph.axes_of(a).iter().any(|axis| !graph.axes_of(b).contains(axis));
    private(*left, *right) && private(*right, *left)
}

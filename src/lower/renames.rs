//! What is done with a contraction entry by entry is done under its own names of axes, so that it can be its epilogue: x + rename(c)
//! becomes rename(rename⁻¹(x) + c).

use std::collections::{HashMap, HashSet};

use super::materialize::{pointwise, same_set};
use super::prepare::renewed;
use crate::axes::Axis;
use crate::sym::{Expr, Graph, Node};

/// Rewrites `roots` and everything below them, where a contraction is used under other names and for one thing only.
pub(super) fn floated(graph: &mut Graph, roots: &[Expr]) -> Vec<Expr> {
    let chains = Chains::of(graph, roots);
    renewed(graph, roots, |graph, expr, done| {
        let node = graph.node(expr).clone().map(|arg| done[&arg]);
        let operands = if chains.assigned.contains(&expr) { vec![] } else { chains.operands(graph, expr) };
        let renamed = operands.into_iter().find_map(|operand| {
            let Node::Rename(_, pairs) = graph.node(done[&operand]) else { return None };
            fits(graph, &node, pairs).then(|| pairs.clone())
        });
        match renamed {
            Some(pairs) => under_own_names(graph, node, &pairs),
            None => graph.intern(node),
        }
    })
}

/// Contractions, and what becomes of them entry by entry, where nobody needs what it was before.
struct Chains {
    members: HashSet<Expr>,
    /// What has one user.
    once: HashSet<Expr>,
    /// What ends, entry by entry, in a value that is assigned: under the names of its symbol.
    assigned: HashSet<Expr>,
}

impl Chains {
    fn of(graph: &Graph, roots: &[Expr]) -> Chains {
        let assigned = roots.iter().copied().collect();
        let mut chains = Chains { members: HashSet::new(), once: used_once(graph, roots), assigned };
        let order = graph.reachable(roots);
        for &expr in &order {
            let member = match graph.node(expr) {
                Node::Contract { .. } => true,
                Node::Rename(arg, _) => chains.goes_on(*arg),
                _ => !chains.operands(graph, expr).is_empty(),
            };
            if member {
                chains.members.insert(expr);
            }
        }
        for &expr in order.iter().rev() {
            if chains.assigned.contains(&expr) {
                chains.assigned.extend(chains.operands(graph, expr));
            }
        }
        chains
    }

    fn goes_on(&self, expr: Expr) -> bool {
        self.once.contains(&expr) && self.members.contains(&expr)
    }

    /// The operands of an elementwise expression that are such chains and have all of its axes.
    fn operands(&self, graph: &Graph, expr: Expr) -> Vec<Expr> {
        let whole = |arg: &Expr| same_set(graph.axes_of(*arg), graph.axes_of(expr));
        let mut operands = if pointwise(graph, expr) { graph.node(expr).args() } else { vec![] };
        operands.retain(|arg| self.goes_on(*arg) && whole(arg));
        operands
    }
}

fn used_once(graph: &Graph, roots: &[Expr]) -> HashSet<Expr> {
    let mut users: HashMap<Expr, usize> = HashMap::new();
    let args = graph.reachable(roots).into_iter().flat_map(|expr| graph.node(expr).args());
    args.chain(roots.iter().copied()).for_each(|used| *users.entry(used).or_default() += 1);
    users.into_iter().filter(|entry| entry.1 == 1).map(|entry| entry.0).collect()
}

/// Whether the old names are free for all operands.
fn fits(graph: &Graph, node: &Node, pairs: &[(Axis, Axis)]) -> bool {
    let taken = |old: Axis| node.args().into_iter().any(|arg| graph.axes_of(arg).contains(&old));
    pairs.iter().all(|&(old, _)| !taken(old))
}

fn under_own_names(graph: &mut Graph, node: Node, pairs: &[(Axis, Axis)]) -> Expr {
    let args = node.args();
    let mut own: HashMap<Expr, Expr> = HashMap::new();
    for arg in args {
        let back: Vec<(Axis, Axis)> = pairs
            .iter()
            .filter(|(_, new)| graph.axes_of(arg).contains(new))
            .map(|&(old, new)| (new, old))
            .collect();
        own.insert(arg, if back.is_empty() { arg } else { graph.rename(arg, &back) });
    }
    let result = graph.intern(node.map(|arg| own[&arg]));
    graph.rename(result, pairs)
}

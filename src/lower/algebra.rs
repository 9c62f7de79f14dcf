//! Rewrites by identities that give fusion better pieces: factors with the same few axes are multiplied among themselves
//! first, terms whose sum vanishes are not summed, maxima stand for sums over what they choose.

use super::materialize::same_set;
use super::prepare::renewed;
use crate::axes::Axis;
use crate::intrinsics::{Eq, Lt, Where};
use crate::sym::{Expr, Function, Graph, Node, Reduction};

/// Rewrites `roots` and everything below them.
pub(super) fn rewritten(graph: &mut Graph, roots: &[Expr]) -> Vec<Expr> {
    renewed(graph, roots, |graph, expr, done| {
        // A choice among entries is recognised before it is rewritten itself.
        let node = match chosen_sum(graph, graph.node(expr)) {
            Some((over, entries)) => Node::Reduce(Reduction::Max, over, entries),
            None => graph.node(expr).clone(),
        };
        match node.map(|arg| done[&arg]) {
            Node::Mul(factors) => grouped_product(graph, factors),
            Node::Reduce(how, over, arg) => without_vanishing_terms(graph, how, &over, arg)
                .unwrap_or_else(|| graph.intern(Node::Reduce(how, over, arg))),
            Node::ArgMax(over, arg) => first_largest(graph, &over, arg),
            other => graph.intern(other),
        }
    })
}

/// a[f]·x[b,f]·c[f] → x·(a·c): the small product is computed once, not for every sample.
fn grouped_product(graph: &mut Graph, factors: Vec<Expr>) -> Expr {
    let mut kinds: Vec<(Vec<Axis>, Vec<Expr>)> = Vec::new();
    for factor in factors.iter().copied() {
        let mut axes = graph.axes_of(factor).to_vec();
        axes.sort();
        match kinds.iter_mut().find(|kind| kind.0 == axes) {
            Some(kind) => kind.1.push(factor),
            None => kinds.push((axes, vec![factor])),
        }
    }
    if kinds.len() < 2 {
        return graph.intern(Node::Mul(factors));
    }
    let full = kinds.iter().map(|kind| kind.0.len()).max().unwrap_or(0);
    let mut grouped = Vec::new();
    for (axes, members) in kinds {
        if axes.len() == full || members.len() == 1 {
            grouped.extend(members);
        } else {
            grouped.push(graph.intern(Node::Mul(members)));
        }
    }
    graph.intern(Node::Mul(grouped))
}

/// The first largest entry, by two maxima: of the entries, and of ranks that count down among those not below it.
fn first_largest(graph: &mut Graph, over: &[Axis], arg: Expr) -> Expr {
    let rank = rank(graph, over);
    let [zero, one] = [0.0, 1.0].map(|number| graph.number(number));
    let largest = graph.reduce(Reduction::Max, over, arg);
    let below = graph.apply(&Lt, &[arg, largest]);
    let ranks = graph.apply(&Where, &[below, zero, rank]);
    let best = graph.reduce(Reduction::Max, over, ranks);
    // The best rank tells the entry: nobody has to look at the entries again.
    let chosen = graph.apply(&Eq, &[rank, best]);
    let chosen = graph.apply(&Where, &[chosen, one, zero]);
    let axes = graph.axes_of(arg).to_vec();
    graph.spread(chosen, &axes)
}

/// Numbers that count down from the first entry along `over` to 1.
fn rank(graph: &mut Graph, over: &[Axis]) -> Expr {
    let mut rank = graph.number(graph.axes.size(over) as f64);
    let mut step = 1;
    for &axis in over.iter().rev() {
        let (position, step_by) = (graph.index(axis), graph.number(-f64::from(step)));
        let down = graph.mul(&[step_by, position]);
        rank = graph.add(&[rank, down]);
        step *= graph.axes.extent(axis) as u32;
    }
    rank
}

/// Σ x · (x is the first largest) → max x.
fn chosen_sum(graph: &Graph, node: &Node) -> Option<(Vec<Axis>, Expr)> {
    let (over, factors) = match node {
        Node::Reduce(Reduction::Sum, over, arg) => match graph.node(*arg) {
            Node::Mul(factors) => (over, factors.clone()),
            _ => return None,
        },
        Node::Contract { left, right, over } => (over, vec![*left, *right]),
        _ => return None,
    };
    let &[left, right] = &factors[..] else { return None };
    [(left, right), (right, left)].into_iter().find_map(|(choice, entries)| {
        let Node::ArgMax(among, candidates) = graph.node(choice) else { return None };
        let lowest = |expr: &Expr| graph.as_number(*expr) == Some(f64::NEG_INFINITY);
        let same = match graph.node(*candidates) {
            // Entries outside are never chosen.
            Node::Apply(function, args) if function.0.name() == Function::name(&Where) => {
                args[1] == entries && lowest(&args[2])
            }
            _ => *candidates == entries,
        };
        (same && same_set(among, over)).then(|| (among.clone(), *candidates))
    })
}

/// mean(x + y) → mean(x) where mean(y) = 0, as for deviations from the mean: their sum is one pass less.
fn without_vanishing_terms(graph: &mut Graph, how: Reduction, over: &[Axis], arg: Expr) -> Option<Expr> {
    let Node::Add(terms) = graph.node(arg).clone() else { return None };
    if how == Reduction::Max {
        return None;
    }
    let mut parts: Vec<Expr> = terms.iter().map(|&term| graph.reduce(how, over, term)).collect();
    parts.retain(|&part| graph.as_number(part) != Some(0.0));
    (parts.len() < terms.len()).then(|| graph.add(&parts))
}

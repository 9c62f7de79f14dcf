//! What is compared with a bound is read where it has been bounded: a value need not be kept for the sign of it beside max(value, 0).

use std::collections::{HashMap, HashSet};

use super::layout::Layouts;
use super::prepare::renewed;
use crate::intrinsics::{Gt, Lt, Max, Min, Where};
use crate::sym::graph::FunctionRef;
use crate::sym::{Expr, Function, Graph, Node};

/// Rewrites `roots` and everything below them, where something is compared that has a place in `layouts`, or that has what the
/// comparison chooses there; else `None`.
pub(super) fn compared_as_bounded(graph: &mut Graph, roots: &[Expr], layouts: &Layouts) -> Option<Vec<Expr>> {
    let computed: HashSet<Expr> = graph.reachable(roots).into_iter().collect();
    let chosen: HashSet<Expr> = layouts.keys().filter_map(|&kept| condition(graph, kept)).collect();
    let kept = |expr: Expr, value: Expr| layouts.contains_key(&value) || chosen.contains(&expr);
    let bounded = |expr: &Expr| {
        let found = bounded(graph, &computed, *expr)?;
        kept(*expr, found.operand).then_some((*expr, found))
    };
    let comparisons: HashMap<Expr, Bounded> = computed.iter().filter_map(bounded).collect();
    let rewrite = |graph: &mut Graph, expr: Expr, done: &HashMap<Expr, Expr>| match comparisons.get(&expr) {
        Some(bounded) => compared(graph, expr, bounded, done),
        None => {
            let node = graph.node(expr).clone().map(|arg| done[&arg]);
            graph.intern(node)
        }
    };
    (!comparisons.is_empty()).then(|| renewed(graph, roots, rewrite))
}

/// The condition by which a value chooses one of two numbers, such as 1 where a derivative is not zero.
fn condition(graph: &Graph, value: Expr) -> Option<Expr> {
    match graph.node(value) {
        Node::Apply(function, args) if function.0.name() == Function::name(&Where) => {
            args[1..].iter().all(|&number| graph.axes_of(number).is_empty()).then_some(args[0])
        }
        _ => None,
    }
}

/// An operand of a comparison.
struct Bounded {
    operand: Expr,
    /// Its place.
    place: usize,
    /// max(operand, the other) or min(operand, the other): compared with the other, it comes out as the operand does.
    value: Expr,
}

/// Finds the operand that has more axes than the other, its bound, where the bounded value is `computed` anyway.
fn bounded(graph: &Graph, computed: &HashSet<Expr>, expr: Expr) -> Option<Bounded> {
    let Node::Apply(function, args) = graph.node(expr) else { return None };
    let &[left, right] = &args[..] else { return None };
    // a > b ⇔ max(a, b) > b ⇔ a > min(a, b), and a < b the other way round.
    let places: [(&'static dyn Function, usize); 2] = match function.0.name() {
        name if name == Function::name(&Gt) => [(&Max, 0), (&Min, 1)],
        name if name == Function::name(&Lt) => [(&Min, 0), (&Max, 1)],
        _ => return None,
    };
    places.into_iter().find_map(|(bound, place)| {
        let axes = |place: usize| graph.axes_of(args[place]).len();
        let in_order = |args: [Expr; 2]| graph.known(&Node::Apply(FunctionRef(bound), args.to_vec()));
        let mut known = [[left, right], [right, left]].into_iter().filter_map(in_order);
        let value = known.find(|value| computed.contains(value))?;
        (axes(place) > axes(1 - place)).then_some(Bounded { operand: args[place], place, value })
    })
}

fn compared(graph: &mut Graph, expr: Expr, bounded: &Bounded, done: &HashMap<Expr, Expr>) -> Expr {
    // The bounded value belongs to the block and pass in which it is computed first.
    let tag = graph.current_tag;
    graph.current_tag = graph.tag_of(bounded.value);
    let value = graph.node(bounded.value).clone().map(|arg| done[&arg]);
    let value = graph.intern(value);
    graph.current_tag = tag;
    let comparison = match graph.node(expr).clone().map(|arg| done[&arg]) {
        Node::Apply(function, mut args) => {
            args[bounded.place] = value;
            Node::Apply(function, args)
        }
        other => other,
    };
    graph.intern(comparison)
}

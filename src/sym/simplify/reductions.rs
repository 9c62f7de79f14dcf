//! Sums, means and maxima over axes.

use super::{Rule, bare, count, varies_along};
use crate::axes::Axis;
use crate::sym::graph::{Expr, Graph, Node, Reduction, without};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "no axes", identity: "Σ_{} x = x", rewrite: over_nothing },
    Rule {
        name: "constant along the axes",
        identity: "Σ_S x = |S|·x, mean_S x = x, max_S x = x where x does not vary along S",
        rewrite: constant,
    },
    Rule {
        name: "nested reductions",
        identity: "Σ_S Σ_T x = Σ_{S∪T} x; the like for mean and max",
        rewrite: nested,
    },
    Rule {
        name: "reduction of a renamed value",
        identity: "Σ_S rename(x) = rename(Σ_S' x)",
        rewrite: of_rename,
    },
    Rule {
        name: "reduction of a reshaped value",
        identity: "Σ_S reshape(x) = Σ_S' x where S covers the new axes",
        rewrite: of_reshape,
    },
    Rule {
        name: "sum of a window",
        identity: "Σ_h S_hik = 1 where all positions lie inside h; Σ_hik S_hik is a number",
        rewrite: of_window,
    },
    Rule {
        name: "sum of a choice",
        identity: "Σ_S argmax_T x = 1 per position along the other axes of S, where S covers T",
        rewrite: of_arg_max,
    },
    Rule {
        name: "factor out",
        identity: "Σ_S c·x = c·Σ_S x where c does not vary along S",
        rewrite: factor_out,
    },
    Rule {
        name: "separate sums",
        identity: "Σ_{S∪T} x·y = Σ_S x · Σ_T y where x does not vary along T, nor y along S",
        rewrite: separate,
    },
    Rule {
        name: "deviations from the mean vanish",
        identity: "mean_S(x − mean_S x) = 0; mean_S(x + c) = mean_S x + c where that leaves fewer terms",
        rewrite: deviations,
    },
    Rule {
        name: "sum of a contraction",
        identity: "Σ_i Σ_k x_ik·y_ik = Σ_ik x_ik·y_ik",
        rewrite: of_contraction,
    },
    Rule { name: "matrix product", identity: "Σ_k x_ik·y_kj is a contraction", rewrite: matrix_product },
    Rule {
        name: "sum and mean",
        identity: "Σ_S x = |S|·mean_S x, whichever is there already",
        rewrite: sum_and_mean,
    },
];

fn parts(node: &Node) -> Option<(Reduction, &[Axis], Expr)> {
    match node {
        Node::Reduce(how, over, arg) => Some((*how, over, *arg)),
        _ => None,
    }
}

/// Sum or mean: what is linear.
fn linear(node: &Node) -> Option<(Reduction, &[Axis], Expr)> {
    parts(node).filter(|(how, ..)| *how != Reduction::Max)
}

fn over_nothing(_graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (_, over, arg) = parts(node)?;
    over.is_empty().then_some(arg)
}

fn constant(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (how, over, whole) = parts(node)?;
    let (args, along) = bare(graph, &[whole]);
    let arg = args[0];
    let (present, lacking): (Vec<Axis>, Vec<Axis>) =
        over.iter().partition(|axis| graph.axes_of(arg).contains(axis));
    if lacking.is_empty() && arg == whole {
        return None;
    }
    let reduced = graph.reduce(how, &present, arg);
    let times = if how == Reduction::Sum { count(graph, &lacking) } else { 1.0 };
    let times = graph.number(times);
    let value = graph.mul(&[times, reduced]);
    let rest: Vec<Axis> = along.into_iter().filter(|axis| !over.contains(axis)).collect();
    Some(graph.spread(value, &rest))
}

fn nested(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (outer, over, arg) = parts(node)?;
    let Node::Reduce(inner, within, x) = graph.visible(arg).clone() else { return None };
    let both = [over, &within[..]].concat();
    let factor = match (outer, inner) {
        (a, b) if a == b => return Some(graph.reduce(outer, &both, x)),
        (Reduction::Mean, Reduction::Sum) => 1.0 / count(graph, over),
        (Reduction::Sum, Reduction::Mean) => 1.0 / count(graph, &within),
        _ => return None,
    };
    let factor = graph.number(factor);
    let sum = graph.sum(&both, x);
    Some(graph.mul(&[factor, sum]))
}

fn of_rename(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (how, over, arg) = parts(node)?;
    let Node::Rename(x, pairs) = graph.visible(arg).clone() else { return None };
    let old = |axis: &Axis| pairs.iter().find(|pair| pair.1 == *axis).map_or(*axis, |pair| pair.0);
    let inner: Vec<Axis> = over.iter().map(old).collect();
    let reduced = graph.reduce(how, &inner, x);
    let kept: Vec<(Axis, Axis)> = pairs.into_iter().filter(|pair| !over.contains(&pair.1)).collect();
    Some(graph.rename(reduced, &kept))
}

fn of_reshape(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (how, over, arg) = parts(node)?;
    let Node::Reshape { arg: x, from, to } = graph.visible(arg).clone() else { return None };
    if !to.iter().all(|axis| over.contains(axis)) {
        return None;
    }
    let inner = [&without(over, &to)[..], &from[..]].concat();
    Some(graph.reduce(how, &inner, x))
}

fn of_window(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (how, over, arg) = linear(node)?;
    let Node::Window(window) = graph.visible(arg) else { return None };
    let sum = if window.axes().iter().all(|axis| over.contains(axis)) {
        window.count(&graph.axes) as f64
    } else if over.contains(&window.axis) && window.is_inside(&graph.axes) {
        count(graph, &without(over, &[window.axis]))
    } else {
        return None;
    };
    let rest: Vec<Axis> = window.by.iter().map(|by| by.0).filter(|axis| !over.contains(axis)).collect();
    let value = graph.number(if how == Reduction::Mean { sum / count(graph, over) } else { sum });
    Some(graph.spread(value, &rest))
}

fn of_arg_max(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (how, over, arg) = linear(node)?;
    let Node::ArgMax(along, _) = graph.visible(arg).clone() else { return None };
    if !along.iter().all(|axis| over.contains(axis)) {
        return None;
    }
    let sum = count(graph, &without(over, &along));
    let value = graph.number(if how == Reduction::Mean { sum / count(graph, over) } else { sum });
    let rest = without(graph.axes_of(arg), over);
    Some(graph.spread(value, &rest))
}

fn factor_out(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (how, over, arg) = linear(node)?;
    let Node::Mul(factors) = graph.visible(arg).clone() else { return None };
    let (within, mut out): (Vec<Expr>, Vec<Expr>) =
        factors.into_iter().partition(|&factor| varies_along(graph, factor, over));
    if out.is_empty() {
        return None;
    }
    let within = graph.mul(&within);
    out.push(graph.reduce(how, over, within));
    Some(graph.mul(&out))
}

fn separate(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (how, over, arg) = linear(node)?;
    let Node::Mul(factors) = graph.visible(arg).clone() else { return None };
    // The first factor's connected component: factors that share summed axes, directly or through others.
    let mut axes: Vec<Axis> = Vec::new();
    let mut group: Vec<Expr> = Vec::new();
    let mut rest = factors;
    loop {
        let joins = |&factor: &Expr| group.is_empty() || varies_along(graph, factor, &axes);
        let Some(place) = rest.iter().position(joins) else { break };
        let factor = rest.remove(place);
        axes.extend(graph.axes_of(factor).iter().filter(|axis| over.contains(axis)));
        group.push(factor);
    }
    if rest.is_empty() {
        return None;
    }
    let (group, rest) = (graph.mul(&group), graph.mul(&rest));
    axes.sort_unstable();
    axes.dedup();
    let first = graph.reduce(how, &axes, group);
    let second = graph.reduce(how, &without(over, &axes), rest);
    Some(graph.mul(&[first, second]))
}

fn deviations(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (how, over, arg) = linear(node)?;
    let Node::Add(terms) = graph.visible(arg).clone() else { return None };
    let worth =
        |&term: &Expr| !varies_along(graph, term, over) || matches!(graph.visible(term), Node::Add(_));
    if !terms.iter().any(worth) {
        return None;
    }
    let means: Vec<Expr> = terms.iter().map(|&term| graph.mean(over, term)).collect();
    let mean = graph.add(&means);
    let left = if let Node::Add(left) = graph.visible(mean) {
        left.len()
    } else {
        usize::from(graph.as_number(mean).is_none())
    };
    if left >= terms.len() {
        return None;
    }
    let times = if how == Reduction::Sum { count(graph, over) } else { 1.0 };
    let times = graph.number(times);
    Some(graph.mul(&[times, mean]))
}

fn of_contraction(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (how, over, arg) = linear(node)?;
    let Node::Contract { left, right, over: summed } = graph.visible(arg).clone() else { return None };
    let in_both = |axis: &Axis| graph.axes_of(left).contains(axis) && graph.axes_of(right).contains(axis);
    if !over.iter().all(in_both) {
        return None;
    }
    let times = if how == Reduction::Mean { 1.0 / count(graph, over) } else { 1.0 };
    let times = graph.number(times);
    let sum = graph.contract(left, right, &[over, &summed[..]].concat());
    Some(graph.mul(&[times, sum]))
}

fn matrix_product(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (how, over, arg) = linear(node)?;
    let Node::Mul(factors) = graph.visible(arg).clone() else { return None };
    let widest = factors.iter().copied().max_by_key(|&factor| graph.axes_of(factor).len())?;
    let leading = graph.axes_of(widest).to_vec();
    let beside = |&factor: &Expr| graph.axes_of(factor).iter().all(|axis| leading.contains(axis));
    let (left, right): (Vec<Expr>, Vec<Expr>) = factors.into_iter().partition(beside);
    if right.is_empty() {
        return None;
    }
    let (left, right) = (graph.mul(&left), graph.mul(&right));
    let has_own =
        |graph: &Graph, a, b| !without(&without(graph.axes_of(a), over), graph.axes_of(b)).is_empty();
    let covers = |graph: &Graph, a| over.iter().all(|axis| graph.axes_of(a).contains(axis));
    if !(covers(graph, left)
        && covers(graph, right)
        && has_own(graph, left, right)
        && has_own(graph, right, left))
    {
        return None;
    }
    let times = if how == Reduction::Mean { 1.0 / count(graph, over) } else { 1.0 };
    let times = graph.number(times);
    let product = graph.contract(left, right, over);
    Some(graph.mul(&[times, product]))
}

fn sum_and_mean(graph: &mut Graph, node: &Node) -> Option<Expr> {
    let (how, over, arg) = linear(node)?;
    let (other, times) = match how {
        Reduction::Sum => (Reduction::Mean, count(graph, over)),
        _ => (Reduction::Sum, 1.0 / count(graph, over)),
    };
    let known = graph.known(&Node::Reduce(other, over.to_vec(), arg))?;
    let times = graph.number(times);
    Some(graph.mul(&[times, known]))
}

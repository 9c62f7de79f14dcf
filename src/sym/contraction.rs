//! Sums of products of tensors by variable elimination: the one place where a product over shared axes becomes
//! elementwise products, reductions and matrix products.

use super::graph::{Expr, Graph};
use crate::axes::Axis;

/// Σ over `over` of the product of `factors`, over the union of the other axes. An axis that no factor has
/// multiplies by its extent. Axes are eliminated cheapest first.
pub fn sum_product(graph: &mut Graph, factors: Vec<Expr>, over: &[Axis]) -> Expr {
    let mut pool = factors;
    let mut open = over.to_vec();
    while let Some(axis) = cheapest(graph, &pool, &open) {
        let touched = touching(graph, &pool, axis);
        let group: Vec<Axis> =
            open.iter().copied().filter(|&other| touching(graph, &pool, other) == touched).collect();
        open.retain(|axis| !group.contains(axis));
        let chosen: Vec<Expr> = touched.iter().map(|&index| pool[index]).collect();
        let mut index = 0;
        pool.retain(|_| {
            index += 1;
            !touched.contains(&(index - 1))
        });
        let summed = eliminate(graph, chosen, &group);
        pool.push(summed);
    }
    graph.mul(&pool)
}

/// Indices of the factors that have `axis`.
fn touching(graph: &Graph, pool: &[Expr], axis: Axis) -> Vec<usize> {
    (0..pool.len()).filter(|&index| graph.axes_of(pool[index]).contains(&axis)).collect()
}

/// The open axis whose elimination multiplies the fewest entries, then the fewest factors; ties by the axis.
fn cheapest(graph: &Graph, pool: &[Expr], open: &[Axis]) -> Option<Axis> {
    let cost = |&axis: &Axis| {
        let touched: Vec<Expr> = touching(graph, pool, axis).iter().map(|&index| pool[index]).collect();
        (graph.axes.size(&union(graph, &touched)), touched.len(), axis)
    };
    open.iter().copied().min_by_key(cost)
}

fn union(graph: &Graph, factors: &[Expr]) -> Vec<Axis> {
    let mut axes = Vec::new();
    for &axis in factors.iter().flat_map(|&factor| graph.axes_of(factor)) {
        if !axes.contains(&axis) {
            axes.push(axis);
        }
    }
    axes
}

/// Σ over `group` of the product of factors that all have every axis of it.
fn eliminate(graph: &mut Graph, factors: Vec<Expr>, group: &[Axis]) -> Expr {
    if factors.is_empty() {
        let extent = graph.axes.size(group) as f64;
        return graph.number(extent);
    }
    match pair_up(graph, factors)[..] {
        [one] => graph.sum(group, one),
        [left, right] => graph.contract(left, right, group),
        _ => unreachable!("pairing leaves one factor or two"),
    }
}

/// Multiplies factors together until one is left, or two of which neither has all axes of the other.
fn pair_up(graph: &mut Graph, mut factors: Vec<Expr>) -> Vec<Expr> {
    while factors.len() > 1 {
        let (left, right, nested) = best_pair(graph, &factors);
        if factors.len() == 2 && !nested {
            break;
        }
        let (a, b) = (factors[left], factors[right]);
        factors.remove(right);
        factors[left] = graph.mul(&[a, b]);
    }
    factors
}

/// The two factors whose product is smallest, and whether one has all axes of the other.
fn best_pair(graph: &Graph, factors: &[Expr]) -> (usize, usize, bool) {
    let mut best = (0, 1, false);
    let mut best_growth = usize::MAX;
    for left in 0..factors.len() {
        for right in left + 1..factors.len() {
            let pair = [factors[left], factors[right]];
            let size = graph.axes.size(&union(graph, &pair));
            let largest =
                pair.iter().map(|&factor| graph.axes.size(graph.axes_of(factor))).max().unwrap_or(1);
            let nested =
                union(graph, &pair).len() == pair.iter().map(|&f| graph.axes_of(f).len()).max().unwrap_or(0);
            let growth = if nested { 0 } else { size / largest.max(1) + 1 };
            if growth < best_growth {
                (best, best_growth) = ((left, right, nested), growth);
            }
        }
    }
    best
}

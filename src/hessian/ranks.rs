//! Data-parallel steps: several processes, the ranks, run the same program on their own samples and exchange what must be
//! the same on all of them.

use std::collections::HashMap;

use super::{BlockExprs, Plan, Symbols};
use crate::axes::{Axis, BATCH};
use crate::intrinsics::{Eq, Where};
use crate::sym::graph::Reduction;
use crate::sym::{Expr, Graph, Node};

/// How ranks share a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ranks {
    /// There is one.
    #[default]
    Alone,
    /// The network's batch is a rank's own, statistics of the batch among it. Gradients are averaged, and so is all else
    /// that a step leaves behind.
    Averaging,
    /// The network's batch is that of so many ranks: every reduction over it goes over all of them, and nothing else of the
    /// program changes.
    Synchronized(usize),
}

/// Whether a value may differ from rank to rank.
pub fn depends_on_samples(graph: &Graph, symbols: &Symbols, value: Expr) -> bool {
    let mut seen = vec![false; graph.len()];
    let mut open = vec![value];
    while let Some(expr) = open.pop() {
        if std::mem::replace(&mut seen[expr.0 as usize], true) {
            continue;
        }
        match graph.node(expr) {
            // From here on it is the same for all.
            Node::Exchange(..) => continue,
            Node::Symbol(symbol)
                if [symbols.input, symbols.target].contains(symbol)
                    || symbols.share.is_some() && symbols.gradients.contains(symbol) =>
            {
                return true;
            }
            Node::Index(BATCH) => return true,
            Node::Random { axes, .. } if axes.contains(&BATCH) => return true,
            node => open.extend(node.args()),
        }
    }
    false
}

/// The sum over all ranks of `share`·`value`.
pub(super) fn sum(graph: &mut Graph, share: Expr, value: Expr) -> Expr {
    let part = graph.mul(&[share, value]);
    graph.exchange(Reduction::Sum, part)
}

/// From the program of the whole batch to that of one of `count` ranks: every reduction over the batch becomes one over the
/// rank's own samples and an exchange. Fails where the batch is used in another way.
pub(super) fn localize(plan: &mut Plan, count: usize) -> Result<(), String> {
    let whole = plan.graph.axes.extent(BATCH);
    if count == 0 || !whole.is_multiple_of(count) {
        return Err(format!("a batch of {whole} samples cannot be shared by {count} ranks"));
    }
    let roots: Vec<Expr> =
        plan.routines.iter().flat_map(|routine| &routine.writes).map(|write| write.value).collect();
    let mut local = HashMap::new();
    for expr in plan.graph.reachable(&roots) {
        let renewed = localized(&mut plan.graph, count, expr, &local)?;
        local.insert(expr, renewed);
    }
    plan.graph.current_tag = None;
    plan.graph.axes.set_batch(whole / count);
    for write in plan.routines.iter_mut().flat_map(|routine| &mut routine.writes) {
        write.value = local[&write.value];
    }
    for block in &mut plan.blocks {
        rename(block, &local);
    }
    Ok(())
}

/// What the rest of the compiler knows a block's values by.
fn rename(block: &mut BlockExprs, local: &HashMap<Expr, Expr>) {
    let renew = |expr: &mut Expr| *expr = local.get(expr).copied().unwrap_or(*expr);
    [&mut block.input, &mut block.output, &mut block.gradient].into_iter().for_each(renew);
    block.loss.iter_mut().chain(&mut block.input_gradient).for_each(renew);
    block.params.iter_mut().for_each(|param| renew(&mut param.gradient));
}

fn localized(
    graph: &mut Graph,
    count: usize,
    expr: Expr,
    local: &HashMap<Expr, Expr>,
) -> Result<Expr, String> {
    let node = graph.node(expr).clone().map(|arg| local[&arg]);
    check(graph, &node)?;
    graph.current_tag = graph.tag_of(expr);
    let over_batch = match &node {
        Node::Reduce(how, over, _) if over.contains(&BATCH) => Some(*how),
        Node::Contract { over, .. } if over.contains(&BATCH) => Some(Reduction::Sum),
        _ => None,
    };
    let own = match node {
        Node::Rename(arg, pairs) => renamed(graph, arg, pairs),
        node => graph.intern(node),
    };
    let renewed = match over_batch {
        None => own,
        Some(Reduction::Mean) => {
            let share = graph.number(1.0 / count as f64);
            sum(graph, share, own)
        }
        Some(how) => graph.exchange(how, own),
    };
    if let Some(name) = graph.name_of(expr).map(str::to_owned) {
        graph.set_name(renewed, name);
    }
    Ok(renewed)
}

/// Samples of the batch under another axis are set against each other: there it has those of all ranks.
fn renamed(graph: &mut Graph, arg: Expr, mut pairs: Vec<(Axis, Axis)>) -> Expr {
    let mut value = arg;
    let take = |pairs: &mut Vec<(Axis, Axis)>, is: fn(&(Axis, Axis)) -> bool| {
        pairs.iter().position(is).map(|place| pairs.remove(place))
    };
    let away = take(&mut pairs, |pair| pair.0 == BATCH);
    let home = take(&mut pairs, |pair| pair.1 == BATCH);
    if let Some((_, to)) = away {
        let all = match home {
            Some(_) => graph.axes.fresh("all", graph.axes.extent(to)),
            None => to,
        };
        let placed = picked(graph, value, all, BATCH);
        value = graph.exchange(Reduction::Sum, placed);
        if all != to {
            pairs.push((all, to));
        }
    }
    if let Some((from, _)) = home {
        value = picked(graph, value, from, from);
    }
    if pairs.is_empty() { value } else { graph.intern(Node::Rename(value, pairs)) }
}

/// Σ over `over` of the entries whose position along `all` is that of a sample of this rank.
fn picked(graph: &mut Graph, value: Expr, all: Axis, over: Axis) -> Expr {
    let [zero, one] = [0.0, 1.0].map(|number| graph.number(number));
    let (position, sample) = (graph.index(all), graph.index(BATCH));
    let same = graph.apply(&Eq, &[position, sample]);
    let same = graph.apply(&Where, &[same, one, zero]);
    graph.intern(Node::Contract { left: value, right: same, over: vec![over] })
}

/// Rows of samples are cut, and largest ones among them found, by no exchange.
fn check(graph: &Graph, node: &Node) -> Result<(), String> {
    let is_batch = |axis: &Axis| *axis == BATCH || graph.axes.copied(*axis).is_some_and(|of| of.0 == BATCH);
    let met = match node {
        Node::Reshape { from, to, .. } => from.iter().chain(to).any(is_batch),
        Node::ArgMax(over, _) => over.contains(&BATCH),
        Node::Window(window) => window.axes().contains(&BATCH),
        _ => false,
    };
    if !met {
        return Ok(());
    }
    Err("this network cuts the batch, or looks for a place in it: such statistics cannot be synchronized over ranks".into())
}

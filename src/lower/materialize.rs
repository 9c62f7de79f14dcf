//! Decides which expressions get a buffer; all others are computed inside their consumers' loops.

use std::collections::{HashMap, HashSet};

use super::cost::Costs;
use super::gemm::{self, Shape};
use super::layout::{Layout, Layouts};
use super::precision;
use super::terms::Known;
use super::view::{Source, behind, operand as gemm_operand, view};
use super::window::Windows;
use crate::axes::Axis;
use crate::sym::window::Windowed;
use crate::sym::{Expr, Graph, Node, Storage, Symbol};

/// A value used by several computations is kept when computing it takes at least this many operations per entry.
const DEAR: u32 = 8;
/// A scalar is computed ahead when it takes at least this many operations.
const DEAR_SCALAR: u32 = 4;
/// A value counts as small beside a loop that has this many times its entries.
const SMALLER: usize = 8;

/// What gets memory, and how.
pub(super) struct Choice {
    pub layouts: Layouts,
    /// The contractions that become matrix products.
    pub gemms: HashMap<Expr, Shape>,
    /// Scalars computed in f64.
    pub doubles: HashSet<Expr>,
    /// Reductions that are parts of others, and so statistics.
    pub parts: HashSet<Expr>,
}

/// Chooses for the assignments `writes` (symbol ← value).
pub(super) fn choose(graph: &Graph, writes: &[(Symbol, Expr)]) -> Choice {
    let roots: Vec<Expr> = writes.iter().map(|write| write.1).collect();
    let order = graph.reachable(&roots);
    let doubles = doubles(graph, &order);
    let windows = Windows::of(graph, &roots);
    let layouts = root_layouts(graph, writes, &windows);
    let parts = precision::reduced_again(graph, &order);
    let mut choice = Choice { layouts, gemms: HashMap::new(), doubles, parts };
    let preferred = preferred_layouts(graph, &choice.layouts);
    for &expr in &order {
        keep_results(graph, &mut choice, (&preferred, &windows), expr);
    }
    for &expr in &order {
        keep_reshaped(graph, &mut choice, &windows, expr);
    }
    let mut known = Known::default();
    for &expr in &order {
        keep_operands(graph, &mut choice, &windows, &mut known, expr);
    }
    let parents = parents(graph, &order);
    keep_finished_products(graph, &mut choice, &parents);
    share(graph, &mut choice, &windows, &order, &parents);
    drop_copies(graph, &mut choice);
    choice
}

/// A copy of what is kept in the same layout anyway is that.
fn drop_copies(graph: &Graph, choice: &mut Choice) {
    let same = |expr: &Expr| match graph.node(*expr) {
        Node::Spread(arg, along) => along.is_empty() && choice.layouts.get(arg) == choice.layouts.get(expr),
        _ => false,
    };
    let copies: Vec<Expr> = choice.layouts.keys().copied().filter(same).collect();
    for copy in copies {
        choice.layouts.remove(&copy);
    }
}

/// Values that are assigned lie in the order of their symbol. A symbol's content that goes to another symbol is kept
/// too where it is itself assigned anew.
fn root_layouts(graph: &Graph, writes: &[(Symbol, Expr)], windows: &Windows) -> Layouts {
    let mut layouts = Layouts::new();
    for &(symbol, value) in writes {
        let leaf = match view(graph, &Layouts::new(), value).map(|view| view.source) {
            Some(Source::Symbol(read)) => read == symbol || !writes.iter().any(|write| write.0 == read),
            _ => matches!(graph.node(value), Node::Number(_)),
        };
        let axes = &graph.symbol_info(symbol).axes;
        if !leaf && !windows.is_base(value) && same_set(axes, graph.axes_of(value)) {
            layouts.entry(value).or_insert_with(|| Layout::plain(axes.clone()));
        }
    }
    layouts
}

pub(super) fn same_set(a: &[Axis], b: &[Axis]) -> bool {
    a.len() == b.len() && a.iter().all(|axis| b.contains(axis))
}

/// Contractions and reductions that feed an assigned value entry by entry best lie in its order.
fn preferred_layouts(graph: &Graph, roots: &Layouts) -> Layouts {
    let mut preferred = Layouts::new();
    let mut ordered: Vec<Expr> = roots.keys().copied().collect();
    ordered.sort();
    for root in ordered {
        let mut open = vec![root];
        let mut seen = HashSet::new();
        while let Some(expr) = open.pop() {
            if pointwise(graph, expr) || is_exchange(graph, expr) {
                if is_exchange(graph, expr) {
                    preferred.entry(expr).or_insert_with(|| roots[&root].clone());
                }
                let alike = |arg: &Expr| same_set(graph.axes_of(*arg), &roots[&root].axes);
                open.extend(
                    graph.node(expr).args().into_iter().filter(alike).filter(|arg| seen.insert(*arg)),
                );
            } else if matches!(graph.node(expr), Node::Contract { .. } | Node::Reduce(..)) {
                preferred.entry(expr).or_insert_with(|| roots[&root].clone());
            }
        }
    }
    preferred
}

pub(super) fn pointwise(graph: &Graph, expr: Expr) -> bool {
    matches!(graph.node(expr), Node::Add(_) | Node::Mul(_) | Node::Pow(..) | Node::Apply(..))
}

/// A value that the ranks exchange lies in memory of its own, which changes when it has been computed everywhere.
pub(super) fn is_exchange(graph: &Graph, expr: Expr) -> bool {
    matches!(graph.node(expr), Node::Exchange(..))
}

fn mark(graph: &Graph, layouts: &mut Layouts, windows: &Windows, expr: Expr) {
    layouts.entry(expr).or_insert_with(|| windows.layout(graph, expr));
}

/// What is finished only when its loops are, and what windows slide over. Patches are not kept: they are views.
fn keep_results(graph: &Graph, choice: &mut Choice, (preferred, windows): (&Layouts, &Windows), expr: Expr) {
    // A repetition along no axis asks for a place of its own.
    let copy = matches!(graph.node(expr), Node::Spread(_, along) if along.is_empty());
    if copy || windows.is_base(expr) {
        return mark(graph, &mut choice.layouts, windows, expr);
    }
    let results = matches!(
        graph.node(expr),
        Node::Contract { .. } | Node::Reduce(..) | Node::Orthonormal(_) | Node::Exchange(..)
    );
    let patches = || Windowed::of(graph, graph.node(expr)).is_some();
    if results && !(patches() && (windows.slides(expr) || behind(graph, &choice.layouts, expr).is_some())) {
        let layout = || preferred.get(&expr).cloned().unwrap_or_else(|| windows.layout(graph, expr));
        choice.layouts.entry(expr).or_insert_with(layout);
    }
}

/// What is reinterpreted has to lie in one piece.
fn keep_reshaped(graph: &Graph, choice: &mut Choice, windows: &Windows, expr: Expr) {
    let Node::Reshape { arg, from, .. } = graph.node(expr) else { return };
    if behind(graph, &choice.layouts, expr).is_none() {
        mark(graph, &mut choice.layouts, windows, *arg);
    }
    if behind(graph, &choice.layouts, expr).is_none() {
        let rest = graph.axes_of(*arg).iter().copied().filter(|axis| !from.contains(axis));
        choice.layouts.insert(*arg, Layout::plain(rest.chain(from.iter().copied()).collect()));
    }
}

/// Matrix products read their operands from memory.
fn keep_operands(graph: &Graph, choice: &mut Choice, windows: &Windows, known: &mut Known, expr: Expr) {
    let Node::Contract { left, right, over } = graph.node(expr) else { return };
    let Some(layout) = choice.layouts.get(&expr).cloned() else { return };
    if !gemm::is_product(graph, *left, *right, over) {
        return;
    }
    for operand in [*left, *right] {
        if gemm_operand(graph, &choice.layouts, operand).is_none() {
            mark(graph, &mut choice.layouts, windows, operand);
        }
    }
    let shape = gemm::shape(graph, &choice.layouts, (*left, *right), over, &layout, known);
    for operand in [*left, *right] {
        if shape.is_none() && view(graph, &choice.layouts, operand).is_none() {
            mark(graph, &mut choice.layouts, windows, operand);
        }
    }
    choice.gemms.extend(shape.map(|shape| (expr, shape)));
}

type Parents = HashMap<Expr, Vec<Expr>>;

fn parents(graph: &Graph, order: &[Expr]) -> Parents {
    let mut result = Parents::new();
    for &expr in order {
        for arg in graph.node(expr).args() {
            let users = result.entry(arg).or_default();
            if !users.contains(&expr) {
                users.push(expr);
            }
        }
    }
    result
}

/// Where a matrix product is only used through one elementwise chain, the end of the chain is kept in its place: its
/// epilogue computes it.
fn keep_finished_products(graph: &Graph, choice: &mut Choice, parents: &Parents) {
    let mut products: Vec<Expr> = choice.gemms.keys().copied().collect();
    products.sort();
    for product in products {
        let mut end = product;
        while !(end != product && choice.layouts.contains_key(&end)) {
            let Some([only]) = parents.get(&end).map(Vec::as_slice) else { break };
            let alike = (pointwise(graph, *only) || is_exchange(graph, *only))
                && same_set(graph.axes_of(*only), graph.axes_of(product));
            if !alike {
                break;
            }
            end = *only;
        }
        if end != product {
            let layout = choice.layouts[&product].clone();
            choice.layouts.entry(end).or_insert(layout);
        }
    }
}

/// What an expression that is computed inside other computations is used for.
#[derive(Clone, Default)]
struct Use {
    /// The kept computations it ends up in.
    owners: HashSet<Expr>,
    /// Entries of the largest loop that computes it.
    domain: usize,
    /// Whether a computation in another precision uses it.
    outside_doubles: bool,
}

/// Why an expression may be worth a buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// Few entries, computed for many; or a scalar in f64.
    Hoist,
    /// Dear, and computed in several places.
    Share,
}

/// Keeps what would be computed for many entries although it has few, then what would be computed several times
/// dearly: the second judges by what is left to compute.
fn share(graph: &Graph, choice: &mut Choice, windows: &Windows, order: &[Expr], parents: &Parents) {
    let costs = Costs::default();
    for reason in [Reason::Hoist, Reason::Share] {
        let cost = costs.inlined(graph, &choice.layouts, order);
        let mut uses: HashMap<Expr, Use> = HashMap::new();
        for &expr in order.iter().rev() {
            if choice.layouts.contains_key(&expr) {
                continue;
            }
            let usage = usage(graph, choice, &uses, parents.get(&expr).map_or(&[], Vec::as_slice), expr);
            let free = matches!(
                graph.node(expr),
                Node::Number(_) | Node::Index(_) | Node::Rename(..) | Node::Spread(..)
            ) || view(graph, &choice.layouts, expr).is_some()
                || windows.slides(expr);
            if !free && worth_keeping(graph, choice, &usage, expr, cost[&expr], reason) {
                mark(graph, &mut choice.layouts, windows, expr);
            }
            uses.insert(expr, usage);
        }
    }
}

fn worth_keeping(graph: &Graph, choice: &Choice, usage: &Use, expr: Expr, cost: u32, reason: Reason) -> bool {
    let axes = graph.axes_of(expr);
    if reason == Reason::Share {
        return usage.owners.len() > 1 && cost >= DEAR;
    }
    let small = graph.axes.size(axes).saturating_mul(SMALLER) <= usage.domain;
    let hoist = small && cost >= if axes.is_empty() { DEAR_SCALAR } else { 1 };
    let double = choice.doubles.contains(&expr) && usage.outside_doubles && cost >= 1;
    hoist || double
}

fn usage(graph: &Graph, choice: &Choice, uses: &HashMap<Expr, Use>, users: &[Expr], expr: Expr) -> Use {
    let mut result = Use::default();
    for &user in users {
        result.outside_doubles |= !choice.doubles.contains(&user);
        if choice.layouts.contains_key(&user) || !uses.contains_key(&user) {
            result.owners.insert(user);
            result.domain = result.domain.max(loop_size(graph, user, expr));
        } else {
            let above = &uses[&user];
            result.owners.extend(&above.owners);
            result.domain = result.domain.max(above.domain);
        }
    }
    result
}

/// Iterations of the loops that compute `user`.
fn loop_size(graph: &Graph, user: Expr, arg: Expr) -> usize {
    let own = graph.axes.size(graph.axes_of(user));
    match graph.node(user) {
        Node::Reduce(..) => graph.axes.size(graph.axes_of(arg)),
        Node::Contract { over, .. } => own.saturating_mul(graph.axes.size(over)),
        _ => own,
    }
}

/// Scalars made of f64 symbols and numbers alone.
fn doubles(graph: &Graph, order: &[Expr]) -> HashSet<Expr> {
    let mut result = HashSet::new();
    for &expr in order {
        let double = match graph.node(expr) {
            Node::Number(_) => true,
            Node::Symbol(symbol) => graph.symbol_info(*symbol).storage == Storage::Double,
            Node::Add(_) | Node::Mul(_) | Node::Pow(..) | Node::Apply(..) => {
                graph.node(expr).args().iter().all(|arg| result.contains(arg))
            }
            _ => false,
        };
        if double && graph.axes_of(expr).is_empty() {
            result.insert(expr);
        }
    }
    result
}

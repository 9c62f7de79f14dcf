//! The paper's form of a block's local Hessians (Zhang, Chen and Liu, NeurIPS 2018, Case 3): of a batch norm right behind
//! the block's one weight, with its statistics held constant, ε and γ left out, and what follows ignored.
//!
//! The standardized value â = (a − mean a)/√Var a is differentiated with mean and variance as constants. Per sample
//! H̃_z = Jᵀ J = Σᵢ wᵢ wᵢᵀ/Varᵢ; and per row i H̃_W = Σⱼ zⱼ zⱼᵀ/(M·Varᵢ), the mean over the M entries
//! that the statistics average over (m samples; at every position of an image).

use super::BlockExprs;
use super::factors::{WEIGHT_ROLE, matrix_of};
use super::facts::{Normalized, normalized_by};
use super::jacobian::jacobian_of;
use super::trace::delta;
use crate::axes::{Axis, BATCH};
use crate::sym::graph::{Expr, Graph, Node, Reduction};
use crate::sym::operator::{Factor, Indices, Operator, Term, Var, index_of};

/// A symmetric matrix as an expression: over `shared` (one matrix per position), `rows`, then `columns`, which are copies
/// of the rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    pub expr: Expr,
    pub shared: Vec<Axis>,
    pub rows: Vec<Axis>,
    pub columns: Vec<Axis>,
}

/// Both Hessians in the paper's form.
#[derive(Clone, Debug, PartialEq)]
pub struct PaperForm {
    /// H̃_z, n_in × n_in.
    pub of_input: Kernel,
    /// H̃_W, an n_in × n_in matrix per row of the weight.
    pub of_weight: Kernel,
}

/// A standardized value, before ε and the affine part.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardized {
    pub weight: Expr,
    /// a = W z, its deviation from the batch mean, and its variance.
    pub value: Expr,
    pub centred: Expr,
    pub variance: Expr,
    /// What the statistics average over: the batch, and positions where there are any.
    pub over: Vec<Axis>,
}

/// The batch norm that directly follows the block's one weight; `None` where the paper gives no form.
pub fn standardized(graph: &Graph, block: &BlockExprs) -> Option<Standardized> {
    let weights: Vec<_> = block.params.iter().filter(|param| param.role == WEIGHT_ROLE).collect();
    let [weight] = weights[..] else { return None };
    let (weight, value) = (weight.value, matrix_of(graph, block, weight.value)?.output);
    let above = graph.between(&[block.output], &[value]);
    above.into_iter().find_map(|variance| {
        let (centred, over) = centred_by(graph, variance, value)?;
        Some(Standardized { weight, value, centred, variance, over })
    })
}

/// What `variance` is the mean square of over the batch (and over what else), where that is `value` less its mean.
fn centred_by(graph: &Graph, variance: Expr, value: Expr) -> Option<(Expr, Vec<Axis>)> {
    let Node::Reduce(Reduction::Mean, over, square) = graph.node(variance) else { return None };
    let Node::Pow(centred, _) = graph.node(*square) else { return None };
    let Node::Add(terms) = graph.node(*centred) else { return None };
    let standardizes = normalized_by(graph, *centred, variance) == Some(Normalized::Standardized);
    let directly = terms.iter().any(|&term| is_shift_of(graph, term, value));
    (directly && over.contains(&BATCH) && standardizes).then(|| (*centred, over.clone()))
}

/// Whether `expr` is `value`, or a sum of it and something else, such as a bias.
fn is_shift_of(graph: &Graph, expr: Expr, value: Expr) -> bool {
    let summand = |terms: &Vec<Expr>| terms.iter().any(|&term| is_shift_of(graph, term, value));
    expr == value || matches!(graph.node(expr), Node::Add(terms) if summand(terms))
}

/// The Jacobians of the standardized value with its statistics held constant: by the block's input, and by the weight.
/// H̃_z is JᵀJ of the first per sample, H̃_W is (1/M) JᵀJ of the second.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub by_input: Operator,
    pub by_weight: Operator,
    /// M, over how many entries the statistics average: the samples, at every position of an image.
    pub entries: usize,
}

/// The map of the paper's form differentiated, where the paper gives one.
pub fn held_jacobians(graph: &mut Graph, block: &BlockExprs) -> Option<Held> {
    let found = standardized(graph, block)?;
    let root = graph.powf(found.variance, -0.5);
    let output = graph.mul(&[found.centred, root]);
    let constants: Vec<Expr> = match graph.node(found.centred) {
        Node::Add(terms) => terms.iter().copied().filter(|&t| !is_shift_of(graph, t, found.value)).collect(),
        _ => vec![],
    };
    let held = |_: &Graph, expr: Expr| expr == found.variance || constants.contains(&expr);
    Some(Held {
        entries: graph.axes.size(&found.over),
        by_input: jacobian_of(graph, output, block.input, &held, &|_| true).ok()?,
        by_weight: jacobian_of(graph, output, found.weight, &held, &|_| true).ok()?,
    })
}

/// The paper's form, where it gives one.
pub fn paper_form(graph: &mut Graph, block: &BlockExprs) -> Option<PaperForm> {
    let held = held_jacobians(graph, block)?;
    let entries = held.entries as f64;
    Some(PaperForm {
        of_input: per_sample(graph, &gram(&held.by_input, 1.0))?,
        of_weight: per_row(graph, &gram(&held.by_weight, 1.0 / entries))?,
    })
}

/// scale · JᵀJ
fn gram(jacobian: &Operator, scale: f64) -> Operator {
    let mut gram = jacobian.transpose().compose(jacobian);
    gram.terms.iter_mut().for_each(|term| term.coefficient *= scale);
    gram
}

/// The matrix of one sample, where it is the same for all.
fn per_sample(graph: &mut Graph, gram: &Operator) -> Option<Kernel> {
    let mut gram = gram.clone();
    for space in [&mut gram.domain, &mut gram.codomain] {
        space.retain(|&axis| axis != BATCH);
    }
    for term in &mut gram.terms {
        *term = term.clone().normalize(graph);
        let sample = index_of(&term.domain, BATCH)?;
        let same = index_of(&term.codomain, BATCH) == Some(sample);
        if !same || term.factors.iter().any(|factor| factor.has(sample)) {
            return None;
        }
        term.domain.retain(|index| index.0 != BATCH);
        term.codomain.retain(|index| index.0 != BATCH);
    }
    Some(kernel(graph, &gram, &[]))
}

/// A matrix per position along the axes on which every term is the identity.
fn per_row(graph: &mut Graph, gram: &Operator) -> Option<Kernel> {
    let shared: Vec<Axis> =
        gram.domain.iter().copied().filter(|&axis| gram.is_identity_along(axis)).collect();
    (shared.len() < gram.domain.len()).then(|| kernel(graph, gram, &shared))
}

fn kernel(graph: &mut Graph, operator: &Operator, shared: &[Axis]) -> Kernel {
    let rows: Vec<Axis> = operator.codomain.iter().copied().filter(|axis| !shared.contains(axis)).collect();
    let columns: Vec<Axis> = rows.iter().map(|&axis| graph.axes.copy(axis, 1)).collect();
    let mut parts = Vec::new();
    for term in &operator.terms {
        let term = without_diagonals(graph, term.clone(), &rows);
        let vars = |indices: &Indices, axes: &[Axis]| -> Vec<Var> {
            axes.iter().filter_map(|&axis| index_of(indices, axis)).collect()
        };
        let open =
            [vars(&term.domain, shared), vars(&term.codomain, &rows), vars(&term.domain, &rows)].concat();
        parts.push(term.contract(graph, &open));
    }
    Kernel { expr: graph.add(&parts), shared: shared.to_vec(), rows, columns }
}

/// Gives domain and codomain variables of their own along `axes`: an identity there becomes a factor δ.
fn without_diagonals(graph: &mut Graph, mut term: Term, axes: &[Axis]) -> Term {
    for &axis in axes {
        let var = index_of(&term.codomain, axis);
        let Some(index) = term.domain.iter_mut().find(|index| index.0 == axis && Some(index.1) == var) else {
            continue;
        };
        term.axes.push(axis);
        let (row, column) = (index.1, Var(term.axes.len() - 1));
        index.1 = column;
        let copy = graph.axes.copy(axis, 1);
        let expr = delta(graph, axis, copy);
        term.factors.push(Factor { expr, at: vec![(axis, row), (copy, column)] });
    }
    term
}

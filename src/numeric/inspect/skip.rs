//! Blocks y = S z + φ(z): what the shortcut does to the condition of the Jacobian S + Φ, Φ = ∂φ/∂z.
//!
//! The paper's remark: with some s in (0, 1), σ_max(Φ) < 1 − s and C(Φ) > (1 + s)/(1 − s) make C(I + Φ) < C(Φ). As
//! printed it fails for s < ½ (Φ = diag(−.89, .89, .70), s = 0.1: C(Φ) = 1.27, C(I + Φ) = 17.2), because
//! C(I + Φ) ≤ (1 + σ)/(1 − σ) with σ = σ_max(Φ) is what is known. Either condition mends it: σ_max(Φ) < s, or
//! C(Φ) ≥ (2 − s)/s. Both say that C(Φ) exceeds (1 + σ)/(1 − σ).

use ndarray::{Array2, Axis as Dim, Slice};

use crate::axes::BATCH;
use crate::hessian::BlockExprs;
use crate::hessian::jacobian::jacobian;
use crate::numeric::eigen;
use crate::numeric::point::Point;
use crate::sym::graph::Node;
use crate::sym::operator::Operator;
use crate::sym::{Expr, Graph, dense};

/// Entries of the largest Jacobian that is written out.
const MOST_ENTRIES: usize = 1 << 20;

/// A sum of a shortcut and a branch.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    /// S z + φ(z), the block's output or what an elementwise function makes the output of.
    pub total: Expr,
    pub shortcut: Expr,
    /// S is the identity.
    pub identity: bool,
}

/// What was found of one block with a shortcut.
#[derive(Clone, Debug, PartialEq)]
pub struct Skip {
    pub identity: bool,
    /// One per sample where samples do not meet, else one for the batch; none when the Jacobian is too large.
    pub jacobians: Vec<Conditions>,
    /// The Jacobian is that of one sample.
    pub per_sample: bool,
}

/// One Jacobian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// σ_max(Φ).
    pub sigma: f64,
    /// C(Φ) and C(S + Φ), condition numbers.
    pub branch: f64,
    pub whole: f64,
}

impl Skip {
    /// The Jacobian whose C(S + Φ) is largest.
    pub fn worst(&self) -> Option<&Conditions> {
        self.jacobians.iter().max_by(|a, b| a.whole.total_cmp(&b.whole))
    }
}

impl Conditions {
    /// (1 + σ)/(1 − σ), above which C(I + Φ) cannot lie; infinite from σ = 1 on.
    pub fn bound(&self) -> f64 {
        if self.sigma < 1.0 { (1.0 + self.sigma) / (1.0 - self.sigma) } else { f64::INFINITY }
    }

    /// The printed conditions hold for some s, the smallest being the easiest: σ < 1 and C(Φ) > 1.
    pub fn printed(&self) -> bool {
        self.sigma < 1.0 && self.branch > 1.0
    }

    /// The printed conditions hold and their conclusion does not.
    pub fn contradicts(&self) -> bool {
        self.printed() && !self.improves()
    }

    /// The corrected conditions hold for some s.
    pub fn corrected(&self) -> bool {
        self.sigma < 1.0 && self.branch > self.bound()
    }

    /// What both conclude.
    pub fn improves(&self) -> bool {
        self.whole < self.branch
    }
}

/// The sum of a shortcut and a branch that a block computes last, found by what it is made of: two parts that depend on
/// the block's input, one of which is the input itself or a projection, a shorter path through a weight.
pub fn find(graph: &Graph, block: &BlockExprs) -> Option<Sum> {
    let varying = graph.between(&[block.output], &[block.input]);
    let mut total = block.output;
    // An activation behind the sum acts on each entry alone.
    while let Node::Apply(_, args) = graph.node(total) {
        let inner: Vec<Expr> = args.iter().copied().filter(|arg| varying.contains(arg)).collect();
        let [only] = inner[..] else { return None };
        total = only;
    }
    let Node::Add(terms) = graph.node(total) else { return None };
    let parts: Vec<Expr> = terms.iter().copied().filter(|term| varying.contains(term)).collect();
    if parts.len() < 2 {
        return None;
    }
    if parts.contains(&block.input) {
        return Some(Sum { total, shortcut: block.input, identity: true });
    }
    let length = |part: &Expr| graph.between(&[*part], &[block.input]).len();
    let projects = |part: &Expr| {
        let weights = block.params.iter().map(|param| param.value);
        weights.into_iter().any(|weight| contracts(graph, *part, weight))
    };
    let shortcut = parts.into_iter().filter(projects).min_by_key(length)?;
    Some(Sum { total, shortcut, identity: false })
}

/// Whether a part is made of a product with `weight`.
fn contracts(graph: &Graph, part: Expr, weight: Expr) -> bool {
    let path = graph.between(&[part], &[weight]);
    path.into_iter().any(|expr| {
        matches!(graph.node(expr), Node::Contract { .. }) && graph.node(expr).args().contains(&weight)
    })
}

/// The conditions at the point; `None` for a block without a shortcut.
pub fn inspect(point: &mut Point, block: usize) -> Option<Skip> {
    let block = point.blocks[block].clone();
    let Sum { total, shortcut, identity } = find(&point.graph, &block)?;
    let whole = jacobian(&mut point.graph, total, block.input).ok()?;
    let straight = jacobian(&mut point.graph, shortcut, block.input).ok()?;
    let per_sample = [&whole, &straight].iter().all(|operator| operator.is_identity_along(BATCH));
    let mut skip = Skip { identity, jacobians: vec![], per_sample };
    let samples = if per_sample { point.samples() } else { 1 };
    let (rows, columns) = (point.size(total), point.size(block.input));
    if rows.saturating_mul(columns) / samples > MOST_ENTRIES {
        return Some(skip);
    }
    let whole = blocks(point, &whole, per_sample);
    let straight = blocks(point, &straight, per_sample);
    skip.jacobians =
        whole.iter().zip(&straight).map(|(whole, straight)| conditions(whole, straight)).collect();
    Some(skip)
}

/// The Jacobian of every sample, or the whole.
fn blocks(point: &mut Point, operator: &Operator, per_sample: bool) -> Vec<Array2<f64>> {
    if !per_sample {
        return vec![dense::matrix(&mut point.graph, &mut point.values, operator)];
    }
    let samples = point.samples();
    let stacked = dense::stacked(&mut point.graph, &mut point.values, operator, BATCH);
    let height = stacked.nrows() / samples;
    let sample = |j: usize| {
        let rows = Slice::from(j * height..(j + 1) * height);
        stacked.slice_axis(Dim(0), rows).to_owned()
    };
    (0..samples).map(sample).collect()
}

fn conditions(whole: &Array2<f64>, straight: &Array2<f64>) -> Conditions {
    let branch = eigen::singular_values(&(whole - straight));
    let whole = eigen::singular_values(whole);
    Conditions {
        sigma: branch.first().copied().unwrap_or(0.0),
        branch: condition(&branch),
        whole: condition(&whole),
    }
}

/// σ_max/σ_min of values that descend.
fn condition(values: &[f64]) -> f64 {
    match (values.first(), values.last()) {
        (Some(largest), Some(smallest)) if *smallest > 1e-13 * largest => largest / smallest,
        _ => f64::INFINITY,
    }
}

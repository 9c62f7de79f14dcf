//! Every formula of the derivation against finite differences of the network's hand-written references.
//!
//! Of each block: the gradients that training uses, the Jacobians, Hess(l), the Gauss–Newton Hessians, the residual that
//! they leave out, the exact Hessians of the back-matching losses, and the factors of mode `trace`. Differences are
//! of z_b and of the loss, evaluated by [`crate::ir::evaluate`]; nothing of the derivation enters them but the
//! constant g = ∂l/∂z_b, which is compared itself.

mod compare;
mod derived;
mod difference;
mod directions;
mod reference;
mod report;

pub use self::derived::Derivation;
pub use self::report::{BlockReport, Check, Formula, Report, Worst};

use self::compare::Comparison;
use self::derived::Derived;
use self::reference::Reference;
use super::batch::{Batch, Targets};
use super::point::{Parameters, Point, initial_parameters};
use crate::axes::{Axis, BATCH};
use crate::hessian::Plan;
use crate::ir::{Elem, Network, ParamId};
use crate::sym::random;

/// The largest error relative to a formula's largest magnitude. Differences of first order reach 10⁻¹¹, of second order
/// 10⁻⁸; a wrong factor, even 1 − 1/m in place of 1, is off by more than 10⁻³.
pub const TOLERANCE: f64 = 1e-6;

/// How often a point with a kink at it is moved.
const MOVES: u32 = 4;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub tolerance: f64,
    /// Of directions, random draws of the network, and moves of the point.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { tolerance: TOLERANCE, seed: 1 }
    }
}

/// Compares the formulas of `derivation` with `network` at a point.
///
/// # Errors
/// A network that is not finite at the point.
pub fn verify(
    network: &Network,
    derivation: &dyn Derivation,
    parameters: &Parameters,
    batch: &Batch,
    options: Options,
) -> Result<Report, String> {
    let mut report = at(network, derivation, parameters, batch, options)?;
    let mut size = 1e-3;
    for nth in 0..MOVES {
        if report.failures().next().is_some() || report.undecided().next().is_none() {
            break;
        }
        let (parameters, batch) = moved(parameters, batch, options.seed, nth, size);
        report = at(network, derivation, &parameters, &batch, options)?;
        let why = "a kink lies within the smallest step, or rounding hides the differences";
        report.notes = vec![format!("the point was moved by {size:e} of its size: there {why}")];
        size *= 4.0;
    }
    Ok(report)
}

fn at(
    network: &Network,
    derivation: &dyn Derivation,
    parameters: &Parameters,
    batch: &Batch,
    options: Options,
) -> Result<Report, String> {
    let mut point = Point::new(network, derivation.plan().clone(), parameters, options.seed, batch);
    let parts = (&point.graph, &point.symbols, &point.blocks[..]);
    let reference = Reference::new(network, parts, (parameters, batch), options.seed)?;
    let mut blocks = Vec::new();
    for block in 0..point.blocks.len() {
        let name = point.blocks[block].name.clone();
        let derived = Derived::new(&mut point, derivation, block);
        let checks = Comparison::new(&reference, derived, block, options)?.checks()?;
        blocks.push(BlockReport { name, checks });
    }
    Ok(Report { tolerance: options.tolerance, blocks, notes: vec![] })
}

/// The point moved at random by a share of its size, so that it comes off a kink.
fn moved(parameters: &Parameters, batch: &Batch, seed: u64, nth: u32, size: f64) -> (Parameters, Batch) {
    let seed = seed as u32 ^ 0x51ed_270b;
    let apart = |values: &[f64], stream: u32| {
        let square = values.iter().map(|value| value * value).sum::<f64>() / values.len().max(1) as f64;
        let scale = if square > 0.0 { square.sqrt() } else { 1.0 };
        let by = |place: usize| 2.0 * random::uniform(stream, &[seed, nth], place as u32) - 1.0;
        values.iter().enumerate().map(|(place, value)| value + size * scale * by(place)).collect::<Vec<f64>>()
    };
    let parameters = parameters.iter().map(|(&id, values)| (id, apart(values, id.0 + 1))).collect();
    (parameters, Batch { inputs: apart(&batch.inputs, 0), ..batch.clone() })
}

/// Initial weights with every entry moved by up to a fifth of the tensor's size, and tensors of zeros drawn: where γ
/// is 1 and b is 0, a formula without them would pass.
pub fn generic_parameters(plan: &Plan, seed: u64) -> Parameters {
    let words = [seed as u32, (seed >> 32) as u32, 0xa511_e9b3];
    let apart = |(id, values): (ParamId, Vec<f64>)| {
        let size = values.iter().fold(0.0f64, |size, value| size.max(value.abs()));
        let reach = if size > 0.0 { 0.2 * size } else { 0.2 };
        let by = |place: usize| reach * (2.0 * random::uniform(id.0, &words, place as u32) - 1.0);
        (id, values.iter().enumerate().map(|(place, value)| value + by(place)).collect())
    };
    initial_parameters(plan, seed).into_iter().map(apart).collect()
}

/// A batch of normal inputs with random targets.
pub fn random_batch(network: &Network, seed: u64) -> Batch {
    let words = [seed as u32, (seed >> 32) as u32, 0x6c62_272e];
    let uniform = |stream: u32, place: usize| random::uniform(stream, &words, place as u32);
    let normal = |stream: u32, place: usize| {
        let (radius, angle) = (uniform(stream, place), uniform(stream + 1, place));
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    };
    let size = |axes: &[Axis]| network.axes.size(axes);
    let target = &network.node(network.target).ty;
    let targets = match target.elem {
        Elem::Class(axis) => {
            let classes = network.axes.extent(axis);
            let label = |sample| (uniform(2, sample) * classes as f64) as i64;
            Targets::Class((0..network.axes.extent(BATCH)).map(label).collect())
        }
        _ => Targets::Float((0..size(&target.axes)).map(|place| normal(3, place)).collect()),
    };
    let inputs = size(&network.node(network.input).ty.axes);
    let inputs = (0..inputs).map(|place| normal(0, place)).collect();
    Batch { inputs, targets, source: format!("random normal inputs and targets of seed {seed}") }
}

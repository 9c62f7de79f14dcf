//! Evaluation of a network's nodes in f64 with the intrinsics' hand-written references: the independent measure of
//! the derivation and of the compiled code.

use std::borrow::Cow;
use std::collections::HashMap;

use ndarray::ArrayD;

use super::{Leaf, Network, NodeId, Op};
use crate::axes::Axis;
use crate::intrinsics::Tensor;

/// Batch statistics are taken over the batch, or replaced by given running averages.
#[derive(Clone, Copy)]
pub enum Mode<'a> {
    Training,
    /// Running averages by statistic.
    Evaluation(&'a dyn Fn(super::StatId) -> Option<Tensor>),
}

/// What random draws are counted by, as in the compiled program: the words of the seed, and the step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub seed: Vec<u32>,
    pub step: Vec<u32>,
}

/// What an evaluation starts from.
pub struct Given<'a> {
    /// Parameters, input, target, gradients, … over their axes.
    pub leaves: &'a dyn Fn(Leaf) -> Option<Tensor>,
    pub mode: Mode<'a>,
    pub counters: Counters,
    /// Nodes that are taken as given rather than computed.
    pub known: HashMap<NodeId, Cow<'a, Tensor>>,
}

/// The values of `roots`. `leaves` gives parameters, input, target, gradients, … over their axes.
///
/// # Errors
/// A leaf without a value, named; or one whose axes are not those of the node.
pub fn evaluate(
    network: &Network,
    leaves: &dyn Fn(Leaf) -> Option<Tensor>,
    mode: Mode,
    roots: &[NodeId],
) -> Result<Vec<Tensor>, String> {
    evaluate_given(
        network,
        Given { leaves, mode, counters: Counters::default(), known: HashMap::new() },
        roots,
    )
}

/// The values of `roots`, in part from what is given.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_given(network: &Network, given: Given, roots: &[NodeId]) -> Result<Vec<Tensor>, String> {
    let Given { leaves, mode, counters, known: mut values } = given;
    for &root in roots {
        let mut stack = vec![(root, false)];
        while let Some((id, ready)) = stack.pop() {
            if values.contains_key(&id) {
                continue;
            }
            let averaged = matches!((&network.node(id).op, mode), (Op::Statistic(_), Mode::Evaluation(_)));
            if ready || averaged {
                let value = node(network, id, leaves, mode, &counters, &values)?;
                values.insert(id, Cow::Owned(value));
            } else {
                stack.push((id, true));
                stack.extend(network.node(id).inputs.iter().map(|&input| (input, false)));
            }
        }
    }
    Ok(roots.iter().map(|root| values[root].clone().into_owned()).collect())
}

fn node(
    network: &Network,
    id: NodeId,
    leaves: &dyn Fn(Leaf) -> Option<Tensor>,
    mode: Mode,
    counters: &Counters,
    values: &HashMap<NodeId, Cow<Tensor>>,
) -> Result<Tensor, String> {
    let node = network.node(id);
    let input = |position: usize| &*values[&node.inputs[position]];
    match &node.op {
        Op::Number(value) => Ok(scalar(*value)),
        Op::Leaf(Leaf::Training) => Ok(scalar(f64::from(u8::from(matches!(mode, Mode::Training))))),
        Op::Leaf(leaf) => fitting(leaves(*leaf), &node.ty.axes, || format!("{leaf:?}")),
        Op::Statistic(stat) => match mode {
            Mode::Training => Ok(input(0).clone()),
            Mode::Evaluation(averages) => {
                fitting(averages(*stat), &node.ty.axes, || network.stats[stat.index()].name.clone())
            }
        },
        Op::Apply { intrinsic, attrs } => {
            let args: Vec<&Tensor> = (0..node.inputs.len()).map(input).collect();
            let drawn = intrinsic.drawn(&network.axes, attrs, &node.ty, counters);
            let values = drawn.unwrap_or_else(|| intrinsic.reference(&network.axes, &args, attrs, &node.ty));
            Ok(Tensor { axes: node.ty.axes.clone(), values })
        }
    }
}

fn scalar(value: f64) -> Tensor {
    Tensor { axes: vec![], values: ArrayD::from_elem(vec![], value) }
}

fn fitting(value: Option<Tensor>, axes: &[Axis], name: impl Fn() -> String) -> Result<Tensor, String> {
    let value = value.ok_or_else(|| format!("no value for {}", name()))?;
    if value.axes != axes {
        return Err(format!("{} has axes {:?}, not {axes:?}", name(), value.axes));
    }
    Ok(value)
}

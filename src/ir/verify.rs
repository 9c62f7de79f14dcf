//! Checks that a network keeps the rules of the IR:
//!
//! - nodes read only nodes before them; every id points into its table;
//! - no tensor has an axis twice, the batch axis stands first, every axis is in the table;
//! - an application gets as many tensors as its intrinsic takes and has all its attributes, and inferring its type
//!   again gives the node's axes' extents;
//! - block b reads the output of block b−1 (the first: the input) and nothing else of the chain; the output of the
//!   last block is the network's; a block's parameters and statistics are its own;
//! - leaves have the types of what they stand for; the loss is over the batch alone;
//! - initial values and updates fit their parameters and states, every parameter has one update, and only updates
//!   read gradients, factors, states and steps.

use std::collections::HashSet;

use super::{Block, BlockId, Elem, Leaf, Network, Node, NodeId, Op, Training, Type};
use crate::axes::{Axis, AxisTable, BATCH};

/// The first rule that is broken, in words.
pub fn verify(network: &Network) -> Result<(), String> {
    // Inferring types again may add axes; one copy takes them all.
    let mut table = network.axes.clone();
    for index in 0..network.nodes.len() {
        node(network, NodeId(index as u32), &mut table)
            .map_err(|error| format!("{}: {error}", NodeId(index as u32)))?;
    }
    chain(network)?;
    ends(network)?;
    params(network)?;
    match &network.training {
        Some(training) => self::training(network, training),
        None => Ok(()),
    }
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

fn node(network: &Network, id: NodeId, table: &mut AxisTable) -> Result<(), String> {
    let node = network.node(id);
    for input in &node.inputs {
        ensure(input.0 < id.0, || format!("reads {input}, which does not stand before it"))?;
    }
    axes(network, &node.ty)?;
    ensure((node.origin.0 as usize) < network.origins.len(), || "has no origin".into())?;
    match &node.op {
        Op::Number(_) => ensure(node.inputs.is_empty() && node.ty.axes.is_empty(), || {
            "a number with inputs or axes".into()
        }),
        Op::Leaf(leaf) => self::leaf(network, node, *leaf),
        Op::Apply { .. } => apply(network, node, table),
        Op::Statistic(stat) => {
            let stat = network.stats.get(stat.index()).ok_or("an unknown statistic")?;
            ensure(node.inputs == [stat.value] && node.ty.axes == stat.axes, || {
                "does not fit its statistic".into()
            })
        }
    }
}

fn axes(network: &Network, ty: &Type) -> Result<(), String> {
    let distinct: HashSet<&Axis> = ty.axes.iter().collect();
    ensure(distinct.len() == ty.axes.len(), || "an axis stands twice".into())?;
    ensure(ty.axes.iter().all(|axis| (axis.0 as usize) < network.axes.len()), || "an unknown axis".into())?;
    ensure(ty.axes.iter().skip(1).all(|&axis| axis != BATCH), || "the batch does not stand first".into())
}

fn apply(network: &Network, node: &Node, table: &mut AxisTable) -> Result<(), String> {
    let Op::Apply { intrinsic, attrs } = &node.op else { return Ok(()) };
    let signature = intrinsic.signature();
    ensure(signature.tensors.len() == node.inputs.len(), || {
        format!("{intrinsic:?} with a wrong number of tensors")
    })?;
    let complete =
        signature.attrs.len() == attrs.len() && signature.attrs.iter().all(|attr| attrs.contains_key(attr.0));
    ensure(complete, || format!("{intrinsic:?} without all its attributes"))?;
    let types: Vec<Type> = node.inputs.iter().map(|&input| network.node(input).ty.clone()).collect();
    let inferred = intrinsic.infer(table, &types, attrs).map_err(|error| error.message)?;
    let extents = |axes: &[Axis]| axes.iter().map(|&axis| table.extent(axis)).collect::<Vec<_>>();
    ensure(extents(&inferred.axes) == extents(&node.ty.axes), || format!("{intrinsic:?} has the wrong type"))
}

fn leaf(network: &Network, node: &Node, leaf: Leaf) -> Result<(), String> {
    ensure(node.inputs.is_empty(), || "a leaf with inputs".into())?;
    let training = network.training.as_ref();
    let axes: &[Axis] = match leaf {
        Leaf::Input | Leaf::Target => return Ok(()),
        Leaf::Param(id) | Leaf::Gradient(id) => {
            &network.params.get(id.index()).ok_or("an unknown parameter")?.axes
        }
        Leaf::State(id) => {
            &training.and_then(|plan| plan.states.get(id.index())).ok_or("an unknown state")?.axes
        }
        Leaf::Hyper(id) => {
            training.and_then(|plan| plan.hypers.get(id.index())).ok_or("an unknown number")?;
            &[]
        }
        Leaf::ScaleM(id) | Leaf::ScaleW(id) => {
            network.params.get(id.index()).ok_or("an unknown parameter")?;
            &[]
        }
        Leaf::Step | Leaf::Training | Leaf::Time | Leaf::TotalTime => &[],
    };
    ensure(node.ty.axes == axes, || format!("{leaf:?} with the wrong axes"))
}

fn chain(network: &Network) -> Result<(), String> {
    let mut input = network.input;
    for (index, block) in network.blocks.iter().enumerate() {
        ensure(block.input == input, || format!("block {} does not continue the chain", block.name))?;
        if let Some(stranger) = outside_reach(&network.nodes, block) {
            return Err(format!("block {} reads {stranger}", block.name));
        }
        let own = |id: &super::ParamId| {
            network.params.get(id.index()).is_some_and(|p| p.block == BlockId(index as u32))
        };
        ensure(block.params.iter().all(own), || {
            format!("block {} claims parameters of another", block.name)
        })?;
        input = block.output;
    }
    ensure(network.output == input, || "the output is not the last block's".into())
}

/// A node that the block's map reads although it is neither its input nor its own: the network's input or a node that
/// belongs to no block's map (target, gradient, …).
pub fn outside_reach(nodes: &[Node], block: &Block) -> Option<NodeId> {
    let mut seen: HashSet<NodeId> = HashSet::from([block.input]);
    let mut stack = vec![block.output];
    while let Some(id) = stack.pop() {
        if !seen.insert(id) {
            continue;
        }
        let node = nodes.get(id.index())?;
        match node.op {
            Op::Leaf(Leaf::Param(param)) if !block.params.contains(&param) => return Some(id),
            Op::Leaf(Leaf::Param(_) | Leaf::Training) | Op::Number(_) => {}
            Op::Leaf(_) => return Some(id),
            _ => stack.extend(&node.inputs),
        }
    }
    None
}

fn ends(network: &Network) -> Result<(), String> {
    let op = |id: NodeId| network.nodes.get(id.index()).map(|node| &node.op);
    ensure(matches!(op(network.input), Some(Op::Leaf(Leaf::Input))), || "the input is no input".into())?;
    ensure(matches!(op(network.target), Some(Op::Leaf(Leaf::Target))), || "the target is no target".into())?;
    let loss = network.nodes.get(network.loss.index()).ok_or("no loss")?;
    ensure(loss.ty.axes == [BATCH] && loss.ty.elem == Elem::Float, || {
        "the loss is not one number per sample".into()
    })
}

fn params(network: &Network) -> Result<(), String> {
    let mut names = HashSet::new();
    let all = network.params.iter().map(|p| &p.name).chain(network.stats.iter().map(|s| &s.name));
    for name in all.chain(network.blocks.iter().map(|block| &block.name)) {
        ensure(names.insert(name), || format!("two things are called {name}"))?;
    }
    for param in &network.params {
        fits(network, param.init, &param.axes)
            .map_err(|error| format!("initial value of {}: {error}", param.name))?;
    }
    Ok(())
}

fn fits(network: &Network, value: NodeId, axes: &[Axis]) -> Result<(), String> {
    let ty = &network.nodes.get(value.index()).ok_or("an unknown node")?.ty;
    ensure(ty.axes.iter().all(|axis| axes.contains(axis)), || "has other axes".into())
}

fn training(network: &Network, training: &Training) -> Result<(), String> {
    ensure(training.updates.len() == network.params.len(), || "not one update per parameter".into())?;
    for (index, update) in training.updates.iter().enumerate() {
        ensure(update.param.index() == index, || format!("update {index} belongs to {}", update.param))?;
        fits(network, update.value, &network.params[index].axes)
            .map_err(|error| format!("update {index}: {error}"))?;
        for (state, value) in &update.states {
            let state = training.states.get(state.index()).ok_or("an unknown state")?;
            fits(network, *value, &state.axes).map_err(|error| format!("state {}: {error}", state.name))?;
        }
    }
    match training.schedule {
        Some(schedule) => fits(network, schedule, &[]).map_err(|error| format!("schedule: {error}")),
        None => Ok(()),
    }
}

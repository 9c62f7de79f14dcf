//! The network by the hand-written references of its intrinsics: block maps and losses as functions of arguments that
//! move away from a point. Nothing here comes from the derivation.

use std::borrow::Cow;
use std::collections::HashMap;

use ndarray::{Axis as Dim, IxDyn};

use crate::axes::Axis;
use crate::hessian::{BlockExprs, Symbols};
use crate::intrinsics::Tensor;
use crate::ir::evaluate::{Counters, Given, Mode, evaluate_given};
use crate::ir::{Block, Leaf, Network, NodeId, Op, ParamId};
use crate::numeric::batch::{Batch, Targets};
use crate::numeric::point::Parameters;
use crate::sym::Graph;

/// What a block's functions are differentiated by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Argument {
    /// z_{b−1}
    Input,
    /// A parameter, by its place among the block's.
    Param(usize),
    /// z_b, of the loss alone.
    Output,
}

/// An argument moved along a direction over its axes.
#[derive(Clone, Copy)]
pub struct Move<'a> {
    pub argument: Argument,
    pub direction: &'a [f64],
    pub by: f64,
}

/// Axes of z_{b−1}, the parameters and z_b, in the storage order of the derivation.
pub struct Spaces {
    pub input: Vec<Axis>,
    pub params: Vec<Vec<Axis>>,
    pub output: Vec<Axis>,
}

impl Spaces {
    fn of(graph: &Graph, block: &BlockExprs) -> Spaces {
        let axes = |expr| graph.axes_of(expr).to_vec();
        Spaces {
            input: axes(block.input),
            params: block.params.iter().map(|param| axes(param.value)).collect(),
            output: axes(block.output),
        }
    }

    pub fn axes(&self, argument: Argument) -> &[Axis] {
        match argument {
            Argument::Input => &self.input,
            Argument::Param(place) => &self.params[place],
            Argument::Output => &self.output,
        }
    }
}

/// z_b and the loss per sample.
pub struct Values {
    pub output: Vec<f64>,
    pub losses: Vec<f64>,
}

pub struct Reference<'a> {
    network: &'a Network,
    pub spaces: Vec<Spaces>,
    /// Every node at the point.
    there: HashMap<NodeId, Tensor>,
}

impl<'a> Reference<'a> {
    /// The network at a point, in training: statistics are those of the batch, random draws those of the first step.
    ///
    /// # Errors
    /// A value that is not finite, with its block.
    pub fn new(
        network: &'a Network,
        (graph, symbols, blocks): (&Graph, &Symbols, &[BlockExprs]),
        (parameters, batch): (&Parameters, &Batch),
        seed: u64,
    ) -> Result<Reference<'a>, String> {
        let words = [seed & 0xffff_ffff, seed >> 32].map(|word| word as u32);
        let counters = Counters { seed: words.to_vec(), step: vec![1] };
        let leaves = leaves(network, graph, symbols, parameters, batch);
        let leaves = |leaf: Leaf| leaves.get(&leaf).cloned();
        let nodes = below(network);
        let given = Given { leaves: &leaves, mode: Mode::Training, counters, known: HashMap::new() };
        let there: HashMap<NodeId, Tensor> =
            nodes.iter().copied().zip(evaluate_given(network, given, &nodes)?).collect();
        let ends =
            network.blocks.iter().flat_map(|block| [block.input, block.output].map(|id| (&*block.name, id)));
        for (name, id) in ends.chain([("the loss", network.loss)]) {
            if there[&id].values.iter().any(|entry| !entry.is_finite()) {
                return Err(format!("{name} is not finite at this point"));
            }
        }
        let spaces = blocks.iter().map(|block| Spaces::of(graph, block)).collect();
        Ok(Reference { network, spaces, there })
    }

    fn block(&self, block: usize) -> &'a Block {
        &self.network.blocks[block]
    }

    /// An argument at the point, over its space.
    pub fn at_the_point(&self, block: usize, argument: Argument) -> Vec<f64> {
        let nodes = self.nodes(block, argument);
        restricted(&self.there[&nodes[0]], self.spaces[block].axes(argument))
    }

    /// The nodes that are an argument of a block, one at least: a declared parameter is a node.
    fn nodes(&self, block: usize, argument: Argument) -> Vec<NodeId> {
        match argument {
            Argument::Input => vec![self.block(block).input],
            Argument::Output => vec![self.block(block).output],
            Argument::Param(place) => {
                let param = Leaf::Param(self.block(block).params[place]);
                let is = |op: &Op| matches!(op, Op::Leaf(leaf) if *leaf == param);
                self.there.keys().copied().filter(|&id| is(&self.network.node(id).op)).collect()
            }
        }
    }

    /// z_b = F_b with its arguments moved.
    pub fn output(&self, block: usize, moves: &[Move]) -> Result<Vec<f64>, String> {
        let root = self.block(block).output;
        let values = self.moved(block, moves, &[root])?;
        Ok(restricted(&values[0], &self.spaces[block].output))
    }

    /// The loss per sample as a function of a block's arguments or its output, through the blocks above.
    pub fn losses(&self, block: usize, moves: &[Move]) -> Result<Vec<f64>, String> {
        let values = self.moved(block, moves, &[self.network.loss])?;
        Ok(values[0].values.iter().copied().collect())
    }

    /// Both.
    pub fn output_and_losses(&self, block: usize, moves: &[Move]) -> Result<Values, String> {
        let values = self.moved(block, moves, &[self.block(block).output, self.network.loss])?;
        let output = restricted(&values[0], &self.spaces[block].output);
        Ok(Values { output, losses: values[1].values.iter().copied().collect() })
    }

    /// The roots with a block's arguments moved. What does not follow from these, and what derivatives take as constant, is as
    /// it is at the point.
    fn moved(&self, block: usize, moves: &[Move], roots: &[NodeId]) -> Result<Vec<Tensor>, String> {
        let mut moved: HashMap<NodeId, Tensor> = HashMap::new();
        for step in moves {
            let axes = self.spaces[block].axes(step.argument);
            let direction = Tensor::new(&self.network.axes, axes, step.direction.to_vec());
            for node in self.nodes(block, step.argument) {
                let value = moved.entry(node).or_insert_with(|| self.there[&node].clone());
                let along = direction.along(&self.network.axes, &value.axes);
                value.values.zip_mut_with(&along, |entry, by| *entry += step.by * by);
            }
        }
        let follows = self.follows(&moved, self.block(block).input);
        let stay = self.there.iter().filter(|(id, _)| !follows[id.index()]);
        let mut known: HashMap<NodeId, Cow<Tensor>> =
            stay.map(|(&id, value)| (id, Cow::Borrowed(value))).collect();
        known.extend(moved.into_iter().map(|(id, value)| (id, Cow::Owned(value))));
        let (leaves, counters) = (|_| None, Counters::default());
        evaluate_given(self.network, Given { leaves: &leaves, mode: Mode::Training, counters, known }, roots)
    }

    /// Which nodes change with those moved, but for what is held and for the block's input.
    fn follows(&self, moved: &HashMap<NodeId, Tensor>, input: NodeId) -> Vec<bool> {
        let mut follows = vec![false; self.network.nodes.len()];
        // Inputs stand before what reads them.
        for (index, node) in self.network.nodes.iter().enumerate() {
            let id = NodeId(index as u32);
            let stays = id == input || is_held(&node.op);
            follows[index] =
                moved.contains_key(&id) || (!stays && node.inputs.iter().any(|input| follows[input.index()]));
        }
        follows
    }
}

/// Whether derivatives take the value as constant.
fn is_held(op: &Op) -> bool {
    matches!(op, Op::Apply { intrinsic, .. } if intrinsic.is_held())
}

/// The parameters, the loss, the ends of blocks, and everything that these are computed from.
fn below(network: &Network) -> Vec<NodeId> {
    let is_param = |id: &NodeId| matches!(network.node(*id).op, Op::Leaf(Leaf::Param(_)));
    let all = || (0..network.nodes.len()).map(|index| NodeId(index as u32));
    let mut seen = vec![false; network.nodes.len()];
    let mut open: Vec<NodeId> = all().filter(is_param).chain([network.loss]).collect();
    open.extend(network.blocks.iter().flat_map(|block| [block.input, block.output]));
    while let Some(id) = open.pop() {
        if !std::mem::replace(&mut seen[id.index()], true) {
            open.extend(&network.node(id).inputs);
        }
    }
    all().filter(|id| seen[id.index()]).collect()
}

fn leaves(
    network: &Network,
    graph: &Graph,
    symbols: &Symbols,
    parameters: &Parameters,
    batch: &Batch,
) -> HashMap<Leaf, Tensor> {
    let tensor =
        |symbol, entries: Vec<f64>| Tensor::new(&network.axes, &graph.symbol_info(symbol).axes, entries);
    let targets = match &batch.targets {
        Targets::Class(labels) => labels.iter().map(|&label| label as f64).collect(),
        Targets::Float(values) => values.clone(),
    };
    let mut leaves = HashMap::from([
        (Leaf::Input, tensor(symbols.input, batch.inputs.clone())),
        (Leaf::Target, tensor(symbols.target, targets)),
    ]);
    for (index, param) in network.params.iter().enumerate() {
        let id = ParamId(index as u32);
        let value = Tensor::new(&network.axes, &param.axes, parameters[&id].clone());
        leaves.insert(Leaf::Param(id), value);
    }
    leaves
}

/// Entries over `axes`, row-major; along axes that these lack the value does not vary, and its first entry stands for
/// all.
fn restricted(tensor: &Tensor, axes: &[Axis]) -> Vec<f64> {
    let mut kept = tensor.axes.clone();
    let mut values = tensor.values.view();
    for place in (0..tensor.axes.len()).rev() {
        if !axes.contains(&tensor.axes[place]) {
            values = values.index_axis_move(Dim(place), 0);
            kept.remove(place);
        }
    }
    let order = axes.iter().filter_map(|axis| kept.iter().position(|own| own == axis));
    values.permuted_axes(IxDyn(&order.collect::<Vec<usize>>())).iter().copied().collect()
}

//! The network by the hand-written references of its intrinsics: block maps and losses as functions of arguments that
//! move away from a point. Nothing here comes from the derivation.

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
    leaves: HashMap<Leaf, Tensor>,
    counters: Counters,
    /// At the point: what derivatives take as constants, and the blocks' inputs and outputs.
    held: HashMap<NodeId, Tensor>,
    chain: HashMap<NodeId, Tensor>,
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
        let spaces = blocks.iter().map(|block| Spaces::of(graph, block)).collect();
        let (held, chain) = (HashMap::new(), HashMap::new());
        let mut reference = Reference { network, spaces, leaves, counters, held, chain };
        reference.look_at_the_point()?;
        Ok(reference)
    }

    fn look_at_the_point(&mut self) -> Result<(), String> {
        let network = self.network;
        let is_held = |op: &Op| matches!(op, Op::Apply { intrinsic, .. } if intrinsic.is_held());
        let blocks = network.blocks.iter().flat_map(|block| [block.input, block.output]);
        let chain: Vec<NodeId> = blocks.collect();
        let below = below(network, &[&chain[..], &[network.loss]].concat());
        let held: Vec<NodeId> = below.into_iter().filter(|&id| is_held(&network.node(id).op)).collect();
        let roots = [&chain[..], &held, &[network.loss]].concat();
        let values = self.evaluate(&HashMap::new(), None, &roots)?;
        for (place, value) in values.iter().enumerate() {
            if value.values.iter().any(|entry| !entry.is_finite()) {
                let block = chain.get(place).map_or("the loss", |_| &network.blocks[place / 2].name);
                return Err(format!("{block} is not finite at this point"));
            }
        }
        let mut pairs = roots.iter().copied().zip(values);
        self.chain = pairs.by_ref().take(chain.len()).collect();
        self.held = pairs.take(held.len()).collect();
        Ok(())
    }

    fn block(&self, block: usize) -> &'a Block {
        &self.network.blocks[block]
    }

    /// An argument at the point, over its space.
    pub fn at_the_point(&self, block: usize, argument: Argument) -> Vec<f64> {
        let value = match argument {
            Argument::Input => &self.chain[&self.block(block).input],
            Argument::Output => &self.chain[&self.block(block).output],
            Argument::Param(place) => &self.leaves[&Leaf::Param(self.block(block).params[place])],
        };
        restricted(value, self.spaces[block].axes(argument))
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

    fn moved(&self, block: usize, moves: &[Move], roots: &[NodeId]) -> Result<Vec<Tensor>, String> {
        let (input, output) = (self.block(block).input, self.block(block).output);
        let mut known = self.held.clone();
        known.insert(input, self.chain[&input].clone());
        let mut param = HashMap::new();
        for step in moves {
            let place = match step.argument {
                Argument::Input => known.get_mut(&input).expect("inserted above"),
                Argument::Output => known.entry(output).or_insert_with(|| self.chain[&output].clone()),
                Argument::Param(place) => {
                    let leaf = Leaf::Param(self.block(block).params[place]);
                    param.entry(leaf).or_insert_with(|| self.leaves[&leaf].clone())
                }
            };
            let axes = self.spaces[block].axes(step.argument);
            let direction = Tensor::new(&self.network.axes, axes, step.direction.to_vec());
            let along = direction.along(&self.network.axes, &place.axes);
            place.values.zip_mut_with(&along, |entry, by| *entry += step.by * by);
        }
        self.evaluate(&known, Some(&param), roots)
    }

    fn evaluate(
        &self,
        known: &HashMap<NodeId, Tensor>,
        params: Option<&HashMap<Leaf, Tensor>>,
        roots: &[NodeId],
    ) -> Result<Vec<Tensor>, String> {
        let moved = |leaf: &Leaf| params.and_then(|params| params.get(leaf));
        let leaves = |leaf: Leaf| moved(&leaf).or_else(|| self.leaves.get(&leaf)).cloned();
        let (known, counters) = (known.clone(), self.counters.clone());
        let given = Given { leaves: &leaves, mode: Mode::Training, counters, known };
        evaluate_given(self.network, given, roots)
    }
}

/// Everything that the roots are computed from.
fn below(network: &Network, roots: &[NodeId]) -> Vec<NodeId> {
    let mut seen = vec![false; network.nodes.len()];
    let mut open = roots.to_vec();
    while let Some(id) = open.pop() {
        if !std::mem::replace(&mut seen[id.index()], true) {
            open.extend(&network.node(id).inputs);
        }
    }
    (0..network.nodes.len()).filter(|&index| seen[index]).map(|index| NodeId(index as u32)).collect()
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

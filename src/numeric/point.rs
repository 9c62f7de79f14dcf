//! A point: the network's training step in f64, at weights and on a batch.

use std::collections::HashMap;

use super::batch::Batch;
use crate::axes::{Axis, BATCH};
use crate::hessian::exact::Cotangent;
use crate::hessian::{BlockExprs, Plan, Symbols};
use crate::ir::{Network, ParamId};
use crate::sym::{Expr, Graph, Symbol, Tensor, Values};

/// Parameter values by id, each over the axes of its parameter, row-major.
pub type Parameters = HashMap<ParamId, Vec<f64>>;

/// The expressions of a training step and their values. Derivations add expressions to the graph.
pub struct Point {
    pub graph: Graph,
    pub values: Values,
    pub symbols: Symbols,
    /// In chain order.
    pub blocks: Vec<BlockExprs>,
    /// ∂l/∂z_b as constants, by block, where one was asked for.
    pub(super) cotangents: Vec<Option<Cotangent>>,
}

impl Point {
    /// `plan` at `parameters` on `batch`; both must fit the network ([`super::batch`], [`super::weights`]).
    pub fn new(network: &Network, plan: Plan, parameters: &Parameters, seed: u64, batch: &Batch) -> Point {
        let Plan { mut graph, symbols, blocks, .. } = plan;
        graph.current_tag = None;
        let mut known = seed_values(&graph, &symbols, seed);
        for (index, &symbol) in symbols.params.iter().enumerate() {
            let entries = parameters[&ParamId(index as u32)].clone();
            known.insert(symbol, tensor(&graph, symbol, entries));
        }
        known.insert(symbols.input, tensor(&graph, symbols.input, batch.inputs.clone()));
        known.insert(symbols.target, tensor(&graph, symbols.target, batch.targets.entries()));
        debug_assert_eq!(symbols.params.len(), network.params.len());
        let cotangents = vec![None; blocks.len()];
        Point { graph, values: Values::new(known), symbols, blocks, cotangents }
    }

    /// Samples in the batch, m.
    pub fn samples(&self) -> usize {
        self.graph.axes.extent(BATCH)
    }

    /// Entries of an expression in the storage order of its axes: sample after sample, row-major.
    pub fn entries(&mut self, expr: Expr) -> Vec<f64> {
        let axes = self.graph.axes_of(expr).to_vec();
        self.entries_along(expr, &axes)
    }

    /// The like over `axes`, repeated along those that the expression lacks.
    pub fn entries_along(&mut self, expr: Expr, axes: &[Axis]) -> Vec<f64> {
        let value = self.values.of(&self.graph, expr);
        value.along(&self.graph.axes, axes).into_raw_vec_and_offset().0
    }

    /// The value of an expression over no axes.
    pub fn number(&mut self, expr: Expr) -> f64 {
        self.entries(expr)[0]
    }

    pub fn size(&self, expr: Expr) -> usize {
        self.graph.axes.size(self.graph.axes_of(expr))
    }

    /// Gives a symbol over some axes its entries, row-major.
    pub fn set(&mut self, symbol: Symbol, entries: Vec<f64>) {
        let value = tensor(&self.graph, symbol, entries);
        self.values.set(&self.graph, symbol, value);
    }
}

/// The parameters that training would start from, drawn in f64 from `seed`.
pub fn initial_parameters(plan: &Plan, seed: u64) -> Parameters {
    let graph = &plan.graph;
    let mut values = Values::new(seed_values(graph, &plan.symbols, seed));
    let init = plan.routines.iter().find(|routine| routine.name == "init");
    let mut parameters = Parameters::new();
    for write in init.iter().flat_map(|routine| &routine.writes) {
        if let Some(index) = plan.symbols.params.iter().position(|&symbol| symbol == write.symbol) {
            let axes = &graph.symbol_info(write.symbol).axes;
            let entries = values.of(graph, write.value).along(&graph.axes, axes);
            parameters.insert(ParamId(index as u32), entries.into_raw_vec_and_offset().0);
        }
    }
    parameters
}

/// What random draws are counted by: the seed's words, and the first step.
fn seed_values(graph: &Graph, symbols: &Symbols, seed: u64) -> HashMap<Symbol, Tensor> {
    let words = [seed & 0xffff_ffff, seed >> 32].map(|word| word as f64);
    let seeds = symbols.seed.into_iter().zip(words);
    let all = seeds.chain([(symbols.step, 1.0)]);
    all.map(|(symbol, value)| (symbol, tensor(graph, symbol, vec![value]))).collect()
}

fn tensor(graph: &Graph, symbol: Symbol, entries: Vec<f64>) -> Tensor {
    Tensor::new(&graph.axes, &graph.symbol_info(symbol).axes, entries)
}

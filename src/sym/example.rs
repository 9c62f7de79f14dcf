//! Test support: a graph with symbols of random values, at which both sides of an identity are computed.

use std::collections::HashMap;

use super::evaluate::Tensor;
use super::graph::{Expr, Graph, Storage, Symbol, SymbolInfo};
use crate::axes::{Axis, AxisTable};

/// Numbers in (−1, 1), always the same for a seed, and a graph over a batch and named axes.
pub(crate) struct Example {
    pub graph: Graph,
    pub values: HashMap<Symbol, Tensor>,
    pub state: u64,
}

impl Example {
    /// `axes` get the numbers from 1.
    pub fn over(batch: usize, axes: &[(&str, usize)], seed: u64) -> Self {
        let mut table = AxisTable::new(batch);
        for &(name, extent) in axes {
            table.fresh(name, extent);
        }
        Example { graph: Graph::new(table), values: HashMap::new(), state: seed }
    }

    pub fn draw(&mut self) -> f64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// A fresh symbol with random values.
    pub fn tensor(&mut self, axes: &[Axis]) -> Expr {
        let name = format!("t{}", self.values.len());
        let info = SymbolInfo { label: name.clone(), name, axes: axes.to_vec(), storage: Storage::Float };
        let symbol = self.graph.new_symbol(info);
        let entries = (0..self.graph.axes.size(axes)).map(|_| self.draw()).collect();
        self.values.insert(symbol, Tensor::new(&self.graph.axes, axes, entries));
        self.graph.symbol(symbol)
    }
}

//! The network's own nodes by the hand-written references of the intrinsics, in f64: nothing of the derivation.

use blkc::ir::evaluate::{Mode, evaluate};
use blkc::ir::{Leaf, NodeId, ParamId};
use blkc::sym::{Symbol, Tensor};

use crate::machine::{Pipeline, Values};

impl Pipeline {
    /// Nodes by reference, each repeated along the axes of the symbol that holds its expression's value.
    pub fn reference(&self, values: &Values, mode: Mode, roots: &[(NodeId, Symbol)]) -> Values {
        let nodes: Vec<NodeId> = roots.iter().map(|root| root.0).collect();
        let results = evaluate(&self.network, &|leaf| self.leaf(values, leaf), mode, &nodes)
            .expect("every leaf has a value");
        let spread = |symbol: Symbol, value: &Tensor| {
            let axes = &self.plan.graph.symbol_info(symbol).axes;
            Tensor { axes: axes.clone(), values: value.along(&self.network.axes, axes) }
        };
        roots.iter().zip(&results).map(|(&(_, symbol), value)| (symbol, spread(symbol, value))).collect()
    }

    fn leaf(&self, values: &Values, leaf: Leaf) -> Option<Tensor> {
        let symbols = &self.plan.symbols;
        let block = |param: ParamId| self.network.param(param).block.index();
        let symbol = match leaf {
            Leaf::Input => symbols.input,
            Leaf::Target => symbols.target,
            Leaf::Param(id) => symbols.params[id.index()],
            Leaf::Gradient(id) => self.probe.gradients[id.index()],
            Leaf::State(id) => symbols.states[id.index()],
            Leaf::Hyper(id) => symbols.hypers[id.index()],
            Leaf::ScaleM(id) => symbols.m[block(id)],
            Leaf::ScaleW(id) => return values.get(&symbols.m_w[id.index()]?).map(guarded),
            Leaf::Step => symbols.step,
            Leaf::Time => symbols.time,
            Leaf::TotalTime => symbols.total_time,
            Leaf::Training => return None,
        };
        values.get(&symbol).cloned()
    }

    /// The mean loss of the batch by reference.
    pub fn reference_loss(&self, values: &Values) -> f64 {
        let root = [(self.network.loss, self.plan.symbols.sample_loss)];
        let losses = self.reference(values, Mode::Training, &root);
        losses[&self.plan.symbols.sample_loss].values.mean().expect("samples")
    }

    /// The forward pass, running averages aside.
    pub fn reference_blocks(&self, values: &Values) -> Values {
        let outputs = self.network.blocks.iter().zip(&self.probe.outputs);
        let roots: Vec<_> = outputs.map(|(block, &symbol)| (block.output, symbol)).collect();
        self.reference(values, Mode::Training, &roots)
    }

    /// Everything that `train` updates; `values` holds gradients and scale factors too.
    pub fn reference_updates(&self, values: &Values) -> Values {
        let training = self.network.training.as_ref().expect("a training plan");
        let symbols = &self.plan.symbols;
        let mut roots = Vec::new();
        for update in &training.updates {
            roots.push((update.value, symbols.params[update.param.index()]));
            roots.extend(update.states.iter().map(|&(state, node)| (node, symbols.states[state.index()])));
        }
        self.reference(values, Mode::Training, &roots)
    }

    /// Running averages after the step.
    pub fn reference_averages(&self, values: &Values) -> Values {
        let stats = self.network.stats.iter().zip(&self.plan.symbols.stats);
        let roots: Vec<_> = stats.clone().map(|(stat, &symbol)| (stat.value, symbol)).collect();
        let mut averages = self.reference(values, Mode::Training, &roots);
        for (stat, symbol) in stats {
            let old = &values[symbol].values * (1.0 - stat.momentum);
            let average = averages.get_mut(symbol).expect("a value for every root");
            average.values = old + &average.values * stat.momentum;
        }
        averages
    }

    /// Loss per sample and output with running averages.
    pub fn reference_evaluation(&self, values: &Values) -> Values {
        let symbols = &self.plan.symbols;
        let averages = |stat: blkc::ir::StatId| values.get(&symbols.stats[stat.index()]).cloned();
        let roots = [(self.network.loss, symbols.sample_loss), (self.network.output, symbols.output)];
        self.reference(values, Mode::Evaluation(&averages), &roots)
    }
}

/// A factor that is not positive leaves the gradient as it is.
fn guarded(factor: &Tensor) -> Tensor {
    Tensor { axes: vec![], values: factor.values.mapv(|factor| if factor > 0.0 { factor } else { 1.0 }) }
}

/// Numbers in (−1, 1), the same at every call with the same stream.
pub fn noise(stream: u32, count: usize) -> Vec<f64> {
    let number = |index: usize| {
        let hash =
            (index as u32).wrapping_mul(0x9E37_79B1) ^ stream.wrapping_add(1).wrapping_mul(0x85EB_CA6B);
        let hash = (hash ^ (hash >> 15)).wrapping_mul(0xC2B2_AE35);
        let hash = (hash ^ (hash >> 13)).wrapping_mul(0x27D4_EB2F);
        f64::from((hash ^ (hash >> 16)) >> 8) / f64::from(1 << 23) - 1.0
    };
    (0..count).map(number).collect()
}

/// The slope of `loss` along a direction of the parameter, by central differences.
pub fn slope(values: &Values, at: Symbol, direction: &Tensor, loss: &dyn Fn(&Values) -> f64) -> f64 {
    const STEP: f64 = 1e-6;
    let moved = |by: f64| {
        let mut values = values.clone();
        let value = values.get_mut(&at).expect("a value for every symbol");
        value.values = &value.values + &(&direction.values * by);
        loss(&values)
    };
    (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
}

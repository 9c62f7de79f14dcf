//! From the IR to the expressions of every routine: the whole training program over one graph.
//!
//! The gradient of a block is Jᵀ applied to the gradient of its output, block by block from the last to the first:
//! one step of gradient descent on each block's back-matching loss (Zhang, Chen and Liu, NeurIPS 2018).

use std::collections::HashMap;

use super::ranks::{self, Ranks};
use super::symbols::{class_axis, declare, is_amended};
use super::{BlockExprs, BlockParam, Plan, Routine, Symbols, Write, factors};
use crate::axes::BATCH;
use crate::intrinsics::{And, Eq, Ge, Gt, Lt, Max, Where};
use crate::ir::{
    Block, HyperId, Leaf, Network, NodeId, Op, ParamId, ScaleOptions, State, StateId, Training, Type,
};
use crate::sym::graph::{Pass, Reduction, Tag};
use crate::sym::{Expr, Graph, Symbol};

/// Factors outside of this range would carry a gradient out of the range of f32. (What the runtime warns of is checked
/// against it where the two meet, in the manifest.)
pub const FACTOR_RANGE: (f64, f64) = (1e-18, 1e18);

/// Derives everything that the compiled program computes, for a program that runs alone.
pub fn derive(network: &Network) -> Plan {
    build(network, Ranks::Alone)
}

/// The like for ranks that take every step together. With [`Ranks::Synchronized`] the network's batch is that of all ranks;
/// that a step cannot be shared like this is an error, in words for the user.
pub fn derive_for(network: &Network, ranks: Ranks) -> Result<Plan, String> {
    let mut plan = build(network, ranks);
    if let Ranks::Synchronized(count) = ranks {
        ranks::localize(&mut plan, count)?;
    }
    Ok(plan)
}

fn build(network: &Network, ranks: Ranks) -> Plan {
    let mut builder = Builder::new(network, ranks);
    let init = builder.init();
    let mut scope = builder.scope(true);
    let blocks = builder.blocks(&mut scope);
    let step = builder.step(&mut scope, &blocks);
    let eval = builder.eval();
    let last = [Some(eval), builder.schedule()].into_iter().flatten();
    Plan {
        graph: builder.graph,
        symbols: builder.symbols,
        routines: std::iter::once(init).chain(step).chain(last).collect(),
        blocks,
    }
}

struct Builder<'a> {
    network: &'a Network,
    graph: Graph,
    symbols: Symbols,
    ranks: Ranks,
}

/// What leaves and nodes mean in the routine being built.
struct Scope {
    training: bool,
    leaves: HashMap<Leaf, Expr>,
    known: HashMap<NodeId, Expr>,
}

impl<'a> Builder<'a> {
    fn new(network: &'a Network, ranks: Ranks) -> Self {
        let mut graph = Graph::new(network.axes.clone());
        let symbols = declare(network, ranks, &mut graph);
        graph.counters = vec![symbols.seed[0], symbols.seed[1], symbols.step];
        graph.first_sample = symbols.first_sample;
        Builder { network, graph, symbols, ranks }
    }

    /// The mean over ranks that average what they have computed of their own samples.
    fn average(&mut self, value: Expr) -> Expr {
        match (self.ranks, self.symbols.share) {
            (Ranks::Averaging, Some(share))
                if ranks::depends_on_samples(&self.graph, &self.symbols, value) =>
            {
                let share = self.graph.symbol(share);
                ranks::sum(&mut self.graph, share, value)
            }
            _ => value,
        }
    }

    /// A scope in which every leaf is its symbol.
    fn scope(&mut self, training: bool) -> Scope {
        let symbols = self.symbols.clone();
        let single = [
            (Leaf::Input, symbols.input),
            (Leaf::Target, symbols.target),
            (Leaf::Step, symbols.step),
            (Leaf::Time, symbols.time),
            (Leaf::TotalTime, symbols.total_time),
        ];
        let all = single
            .into_iter()
            .chain(numbered(&symbols.params, |id| Leaf::Param(ParamId(id))))
            .chain(numbered(&symbols.states, |id| Leaf::State(StateId(id))))
            .chain(numbered(&symbols.hypers, |id| Leaf::Hyper(HyperId(id))));
        let mut leaves: HashMap<Leaf, Expr> =
            all.map(|(leaf, symbol)| (leaf, self.graph.symbol(symbol))).collect();
        let condition = self.graph.number(if training { 1.0 } else { 0.0 });
        leaves.insert(Leaf::Training, condition);
        Scope { training, leaves, known: HashMap::new() }
    }

    fn tag(&mut self, block: usize, pass: Pass) {
        self.graph.current_tag = Some(Tag { block: block as u32, pass });
    }

    /// The expression of a node. Inputs come before their users in the arena, so a stack of unknown nodes is enough.
    fn translate(&mut self, scope: &mut Scope, root: NodeId) -> Expr {
        let mut stack = vec![root];
        while let Some(&id) = stack.last() {
            let unknown = |input: &&NodeId| !scope.known.contains_key(input);
            let open: Vec<NodeId> = self.inputs(scope, id).iter().filter(unknown).copied().collect();
            if open.is_empty() {
                stack.pop();
                if !scope.known.contains_key(&id) {
                    let expr = self.express(scope, id);
                    scope.known.insert(id, expr);
                }
            } else {
                stack.extend(open);
            }
        }
        scope.known[&root]
    }

    fn inputs(&self, scope: &Scope, id: NodeId) -> &'a [NodeId] {
        let node = self.network.node(id);
        match node.op {
            Op::Statistic(_) if !scope.training => &[],
            _ => &node.inputs,
        }
    }

    fn express(&mut self, scope: &Scope, id: NodeId) -> Expr {
        let node = self.network.node(id);
        let args: Vec<Expr> = self.inputs(scope, id).iter().map(|input| scope.known[input]).collect();
        let expr = match &node.op {
            Op::Number(value) => self.graph.number(*value),
            Op::Leaf(leaf) => scope.leaves[leaf],
            Op::Apply { intrinsic, attrs } => {
                let types: Vec<Type> =
                    node.inputs.iter().map(|&input| self.network.node(input).ty.clone()).collect();
                intrinsic.express(&mut self.graph, &args, &types, attrs, &node.ty)
            }
            Op::Statistic(_) if scope.training => args[0],
            Op::Statistic(stat) => {
                let symbol = self.symbols.stats[stat.index()];
                self.graph.symbol(symbol)
            }
        };
        if let Some(name) = &node.name {
            self.graph.set_name(expr, name.clone());
        }
        expr
    }

    /// Parameters, states and running statistics before the first step.
    fn init(&mut self) -> Routine {
        self.graph.current_tag = None;
        let mut scope = self.scope(true);
        let mut writes = Vec::new();
        for (index, param) in self.network.params.iter().enumerate() {
            let value = self.translate(&mut scope, param.init);
            writes.push(self.fill(self.symbols.params[index], value));
        }
        for (index, stat) in self.network.stats.iter().enumerate() {
            let value = self.graph.number(stat.start);
            writes.push(self.fill(self.symbols.stats[index], value));
        }
        for (index, state) in self.states().iter().enumerate() {
            let value = self.translate(&mut scope, state.init);
            writes.push(self.fill(self.symbols.states[index], value));
        }
        Routine { name: "init", writes }
    }

    fn states(&self) -> &'a [State] {
        self.network.training.as_ref().map_or(&[], |training| &training.states)
    }

    /// A write that repeats the value along the symbol's axes.
    fn fill(&mut self, symbol: Symbol, value: Expr) -> Write {
        let axes = self.graph.symbol_info(symbol).axes.clone();
        Write { symbol, value: self.graph.spread(value, &axes) }
    }

    /// The forward pass, and the gradients from the last block to the first.
    fn blocks(&mut self, scope: &mut Scope) -> Vec<BlockExprs> {
        let maps: Vec<(Expr, Expr)> =
            (0..self.network.blocks.len()).map(|b| self.forward(scope, b)).collect();
        let last = maps.len() - 1;
        self.tag(last, Pass::Forward);
        let sample_loss = self.translate(scope, self.network.loss);
        let loss = self.graph.mean(&[BATCH], sample_loss);
        let one = self.graph.number(1.0);
        self.tag(last, Pass::Backward);
        let mut gradient = self.graph.vjp(&[(loss, one)], &[maps[last].1])[&maps[last].1];
        let mut blocks = Vec::new();
        for (index, &(input, output)) in maps.iter().enumerate().rev() {
            let block = self.backward(scope, index, input, output, gradient);
            gradient = block.input_gradient.unwrap_or(gradient);
            blocks.push(BlockExprs { loss: (index == last).then_some(loss), ..block });
        }
        blocks.reverse();
        blocks
    }

    /// z_{b-1} and z_b.
    fn forward(&mut self, scope: &mut Scope, index: usize) -> (Expr, Expr) {
        self.tag(index, Pass::Forward);
        let block = &self.network.blocks[index];
        let (input, output) = (self.translate(scope, block.input), self.translate(scope, block.output));
        // The next block's derivation takes its input as a variable: no rule may look through it.
        self.graph.seal(output);
        (input, output)
    }

    /// Jᵀg with respect to the block's input and parameters.
    fn backward(
        &mut self,
        scope: &mut Scope,
        index: usize,
        input: Expr,
        output: Expr,
        gradient: Expr,
    ) -> BlockExprs {
        self.tag(index, Pass::Backward);
        let block: &Block = &self.network.blocks[index];
        let values: Vec<Expr> = block.params.iter().map(|param| scope.leaves[&Leaf::Param(*param)]).collect();
        let mut wrt = values.clone();
        if index > 0 {
            wrt.push(input);
        }
        let gradients = self.graph.vjp(&[(output, gradient)], &wrt);
        let params = block
            .params
            .iter()
            .zip(&values)
            .map(|(&id, &value)| self.block_param(id, value, gradients[&value]));
        BlockExprs {
            name: block.name.clone(),
            input,
            output,
            params: params.collect(),
            loss: None,
            gradient,
            input_gradient: (index > 0).then(|| gradients[&input]),
        }
    }

    fn block_param(&self, id: ParamId, value: Expr, gradient: Expr) -> BlockParam {
        let param = self.network.param(id);
        BlockParam { id, name: param.short.clone(), role: param.role.clone(), value, gradient }
    }

    /// One update from one batch: `train`; or from several: `train` for each of them, then `update`.
    fn step(&mut self, scope: &mut Scope, blocks: &[BlockExprs]) -> Vec<Routine> {
        let mut train = Routine { name: "train", writes: self.reports(scope, blocks) };
        train.writes.extend(self.running(scope));
        let Some(training) = &self.network.training else { return vec![train] };
        if let Some(options) = training.scale {
            train.writes.extend(self.scale(scope, blocks, options));
        }
        let gradients = blocks.iter().flat_map(|block| &block.params).map(|param| (param.id, param.gradient));
        let gradients: Vec<(ParamId, Expr)> = gradients.collect();
        if self.symbols.gradients.is_empty() {
            let gradients = self.averages(gradients);
            train.writes.extend(self.updates(scope, gradients, training));
            return vec![train];
        }
        train.writes.extend(self.accumulated(&gradients, training.settings.accumulate));
        vec![train, self.update(training)]
    }

    fn averages(&mut self, gradients: Vec<(ParamId, Expr)>) -> Vec<(ParamId, Expr)> {
        let average = |(id, gradient): (ParamId, Expr)| {
            self.tag(self.network.param(id).block.index(), Pass::Backward);
            (id, self.average(gradient))
        };
        gradients.into_iter().map(average).collect()
    }

    /// Sums g/k over k batches: in the end the gradient of their mean loss.
    fn accumulated(&mut self, gradients: &[(ParamId, Expr)], batches: u32) -> Vec<Write> {
        let share = self.graph.number(1.0 / f64::from(batches));
        let add = |&(id, gradient): &(ParamId, Expr)| {
            self.tag(self.network.param(id).block.index(), Pass::Backward);
            let symbol = self.symbols.gradients[id.index()];
            let (before, part) = (self.graph.symbol(symbol), self.graph.mul(&[share, gradient]));
            let value = self.graph.add(&[before, part]);
            self.fill(symbol, value)
        };
        gradients.iter().map(add).collect()
    }

    /// The update from the accumulated gradients, which begin anew. Scale factors are those of the last batch.
    fn update(&mut self, training: &Training) -> Routine {
        let mut scope = self.scope(true);
        for (index, param) in self.network.params.iter().enumerate() {
            let Some(m_w) = self.symbols.m_w[index] else { continue };
            let id = ParamId(index as u32);
            let (m, m_w) = (self.graph.symbol(self.symbols.m[param.block.index()]), self.graph.symbol(m_w));
            let guarded = self.guard(m_w);
            scope.leaves.extend([(Leaf::ScaleM(id), m), (Leaf::ScaleW(id), guarded)]);
        }
        let symbols = self.symbols.gradients.clone();
        let gradients = symbols
            .iter()
            .enumerate()
            .map(|(index, &symbol)| (ParamId(index as u32), self.graph.symbol(symbol)))
            .collect();
        let gradients = self.averages(gradients);
        let mut writes = self.updates(&mut scope, gradients, training);
        let zero = self.graph.number(0.0);
        writes.extend(symbols.iter().map(|&symbol| self.fill(symbol, zero)));
        Routine { name: "update", writes }
    }

    /// The batch's mean loss and accuracy.
    fn reports(&mut self, scope: &mut Scope, blocks: &[BlockExprs]) -> Vec<Write> {
        let last = blocks.len() - 1;
        self.tag(last, Pass::Forward);
        let loss = blocks[last].loss.expect("the last block carries the loss");
        let mut writes = vec![Write { symbol: self.symbols.loss, value: self.average(loss) }];
        if let (Some(symbol), Some(hit)) = (self.symbols.accuracy, self.hit(scope, blocks[last].output)) {
            let hits = self.graph.mean(&[BATCH], hit);
            writes.push(Write { symbol, value: self.average(hits) });
        }
        writes
    }

    /// Per sample 1 where the first largest logit is the label's, else 0; none for float targets.
    fn hit(&mut self, scope: &Scope, logits: Expr) -> Option<Expr> {
        let class = class_axis(self.network)?;
        let axis = *self.graph.axes_of(logits).last()?;
        let target = scope.leaves[&Leaf::Target];
        let graph = &mut self.graph;
        let largest = graph.reduce(Reduction::Max, &[axis], logits);
        let is_largest = graph.apply(&Ge, &[logits, largest]);
        // Counting down makes the first of equal logits the winner.
        let count = graph.number(graph.axes.extent(class) as f64);
        let position = graph.index(axis);
        let (rank, zero, one) = (graph.sub(count, position), graph.number(0.0), graph.number(1.0));
        let ranks = graph.apply(&Where, &[is_largest, rank, zero]);
        let best = graph.reduce(Reduction::Max, &[axis], ranks);
        let winner = graph.sub(count, best);
        let right = graph.apply(&Eq, &[winner, target]);
        Some(graph.apply(&Where, &[right, one, zero]))
    }

    /// running ← (1−momentum)·running + momentum·value
    fn running(&mut self, scope: &mut Scope) -> Vec<Write> {
        let mut writes = Vec::new();
        for (index, stat) in self.network.stats.iter().enumerate() {
            self.tag(stat.block.index(), Pass::Forward);
            let value = self.translate(scope, stat.value);
            let value = self.average(value);
            let symbol = self.symbols.stats[index];
            let (old, momentum, keep) = (
                self.graph.symbol(symbol),
                self.graph.number(stat.momentum),
                self.graph.number(1.0 - stat.momentum),
            );
            let (kept, added) = (self.graph.mul(&[keep, old]), self.graph.mul(&[momentum, value]));
            writes.push(Write { symbol, value: self.graph.add(&[kept, added]) });
        }
        writes
    }

    /// Algorithm 2 of the paper: m = 1; from the last block down: δW_b is divided by m·m_W, then m ← m·m_z. The
    /// factors are read off the weights and the batch before the step.
    fn scale(&mut self, scope: &mut Scope, blocks: &[BlockExprs], options: ScaleOptions) -> Vec<Write> {
        let mut writes = Vec::new();
        let one = self.graph.number(1.0);
        let mut m = one;
        for (index, block) in blocks.iter().enumerate().rev() {
            self.tag(index, Pass::Update);
            let factors = factors::factors(&mut self.graph, block, options.mode);
            let m_z = self.average(factors.m_z);
            let m_here = if options.accumulate { m } else { one };
            writes.push(Write { symbol: self.symbols.m[index], value: m_here });
            writes.push(Write { symbol: self.symbols.m_z[index], value: m_z });
            for (param, &m_w) in block.params.iter().zip(&factors.m_w) {
                if !is_amended(options, &param.role) {
                    continue;
                }
                let m_w = self.average(m_w);
                let guarded = self.guard(m_w);
                scope.leaves.insert(Leaf::ScaleM(param.id), m_here);
                scope.leaves.insert(Leaf::ScaleW(param.id), guarded);
                let symbol = self.symbols.m_w[param.id.index()].expect("amended parameters have a factor");
                writes.push(Write { symbol, value: m_w });
            }
            let m_z = self.guard(m_z);
            let product = self.graph.mul(&[m, m_z]);
            m = self.guard(product);
        }
        writes
    }

    /// A factor that vanishes, explodes or is no number leaves the gradient unscaled.
    fn guard(&mut self, factor: Expr) -> Expr {
        let [least, most, one] =
            [FACTOR_RANGE.0, FACTOR_RANGE.1, 1.0].map(|number| self.graph.number(number));
        let above = self.graph.apply(&Gt, &[factor, least]);
        let below = self.graph.apply(&Lt, &[factor, most]);
        let fits = self.graph.apply(&And, &[above, below]);
        self.graph.apply(&Where, &[fits, factor, one])
    }

    fn updates(
        &mut self,
        scope: &mut Scope,
        gradients: Vec<(ParamId, Expr)>,
        training: &Training,
    ) -> Vec<Write> {
        let gradients = match training.clip {
            Some(bound) => self.clipped(gradients, bound),
            None => gradients,
        };
        scope.leaves.extend(gradients.into_iter().map(|(id, gradient)| (Leaf::Gradient(id), gradient)));
        let mut writes = Vec::new();
        for update in &training.updates {
            self.tag(self.network.param(update.param).block.index(), Pass::Update);
            let value = self.translate(scope, update.value);
            writes.push(self.fill(self.symbols.params[update.param.index()], value));
            for &(state, value) in &update.states {
                let value = self.translate(scope, value);
                writes.push(self.fill(self.symbols.states[state.index()], value));
            }
        }
        writes
    }

    /// g·min(1, c/‖g‖) with the norm over all parameters together (Pascanu, Mikolov and Bengio, "On the difficulty of
    /// training recurrent neural networks", 2013), written c/max(‖g‖, c) so that nothing is divided by zero.
    fn clipped(&mut self, gradients: Vec<(ParamId, Expr)>, bound: HyperId) -> Vec<(ParamId, Expr)> {
        let squares: Vec<Expr> = gradients.iter().map(|&(id, gradient)| self.square(id, gradient)).collect();
        let bound = self.graph.symbol(self.symbols.hypers[bound.index()]);
        let sum = self.graph.add(&squares);
        let norm = self.graph.sqrt(sum);
        let largest = self.graph.apply(&Max, &[norm, bound]);
        let factor = self.graph.div(bound, largest);
        gradients.into_iter().map(|(id, gradient)| (id, self.graph.mul(&[factor, gradient]))).collect()
    }

    /// Sum of the squares of a parameter's gradient.
    fn square(&mut self, id: ParamId, gradient: Expr) -> Expr {
        let param = self.network.param(id);
        self.tag(param.block.index(), Pass::Update);
        let gradient = self.graph.spread(gradient, &param.axes);
        let square = self.graph.square(gradient);
        self.graph.sum(&param.axes, square)
    }

    /// Per-sample results with running statistics.
    fn eval(&mut self) -> Routine {
        let mut scope = self.scope(false);
        for index in 0..self.network.blocks.len() {
            self.forward(&mut scope, index);
        }
        let output = self.translate(&mut scope, self.network.output);
        let loss = self.translate(&mut scope, self.network.loss);
        let mut writes =
            vec![self.fill(self.symbols.sample_loss, loss), self.fill(self.symbols.output, output)];
        if let (Some(symbol), Some(hit)) = (self.symbols.sample_hit, self.hit(&scope, output)) {
            writes.push(Write { symbol, value: hit });
        }
        Routine { name: "eval", writes }
    }

    /// The multiplier of the learning rate.
    fn schedule(&mut self) -> Option<Routine> {
        self.graph.current_tag = None;
        let root = self.network.training.as_ref()?.schedule?;
        let mut scope = self.scope(true);
        let value = self.translate(&mut scope, root);
        let symbol = self.symbols.multiplier;
        Some(Routine { name: "schedule", writes: vec![Write { symbol, value }] })
    }
}

fn numbered(symbols: &[Symbol], leaf: fn(u32) -> Leaf) -> impl Iterator<Item = (Leaf, Symbol)> {
    symbols.iter().enumerate().map(move |(index, &symbol)| (leaf(index as u32), symbol))
}

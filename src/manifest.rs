//! From the compiled network to the runtime's manifest: where everything lies, and what a run starts from.

use std::collections::HashMap;

use blk_runtime::manifest as rt;
use blk_runtime::program::{TRAIN, UPDATE};

mod probes;

use probes::Probes;

use crate::axes::BATCH;
use crate::codegen::{family, llvm, target::Target};
use crate::hessian::{Plan, program::FACTOR_RANGE, ranks::Ranks};
use crate::ir::{Network, Settings, print, softmax};
use crate::loops;
use crate::lower::Lowered;
use crate::sym::Symbol;
use crate::sym::graph::{Pass, Tag};

// The runtime warns of the factors that the compiled step does not divide by.
const _: () = assert!(FACTOR_RANGE.0 == rt::FACTOR_RANGE.0 && FACTOR_RANGE.1 == rt::FACTOR_RANGE.1);

/// Describes the code of `lowered`, compiled for `target`, to the runtime.
pub fn manifest(
    network: &Network,
    plan: &Plan,
    lowered: &Lowered,
    ranks: Ranks,
    target: &Target,
    scratch: usize,
) -> rt::Manifest {
    let describe = Describe { network, plan, lowered };
    let outline = outline(network, ranks);
    rt::Manifest {
        format: rt::FORMAT,
        compiler: env!("CARGO_PKG_VERSION").into(),
        network: network.name.clone(),
        spec_hash: outline.spec_hash,
        spec: outline.spec,
        target: target.described(),
        batch: outline.batch,
        ranks: outline.ranks,
        accumulate: outline.accumulate,
        precision: network.training.as_ref().map_or("f32".into(), |t| t.settings.precision.name().into()),
        kernels: family::describe(lowered.arithmetic, target),
        input_shape: outline.input_shape,
        task: outline.task,
        softmax: softmax::reads_softmax(network),
        arena_bytes: lowered.program.arena_bytes,
        scratch_bytes: scratch,
        routines: lowered.program.routines.iter().map(|routine| describe.routine(routine)).collect(),
        tensors: describe.tensors(),
        scalars: describe.scalars(),
        hypers: describe.hypers(),
        blocks: describe.blocks(),
        optimizer: network.training.as_ref().map_or(String::new(), |t| t.optimizer.clone()),
        defaults: outline.defaults,
    }
}

/// What the runtime has to know of a network to read its data and options, before there is code.
pub fn outline(network: &Network, ranks: Ranks) -> rt::Outline {
    let spec = spec(network);
    let training = network.training.as_ref();
    let hypers = training.into_iter().flat_map(|training| &training.hypers);
    rt::Outline {
        spec_hash: digest(&spec),
        spec,
        batch: match ranks {
            Ranks::Synchronized(count) => network.axes.extent(BATCH) / count.max(1),
            Ranks::Alone | Ranks::Averaging => network.axes.extent(BATCH),
        },
        ranks: match ranks {
            Ranks::Alone => rt::Ranks::Alone,
            Ranks::Averaging => rt::Ranks::Averaging,
            Ranks::Synchronized(count) => rt::Ranks::Synchronized(count),
        },
        accumulate: training.map_or(1, |training| training.settings.accumulate as usize),
        input_shape: network.sample_shape(),
        task: network.task(),
        hypers: hypers.map(|hyper| (hyper.name.clone(), hyper.value)).collect(),
        defaults: defaults(training.map(|training| &training.settings)),
    }
}

/// What shapes the training, line by line; numbers that may be set at run time are not part of it.
fn spec(network: &Network) -> Vec<String> {
    print::print(network).lines().map(str::to_string).collect()
}

fn defaults(settings: Option<&Settings>) -> rt::Defaults {
    rt::Defaults {
        data: settings.and_then(|settings| settings.data.clone()),
        epochs: settings.map_or(1, |settings| settings.epochs),
        seed: settings.map_or(0, |settings| settings.seed),
        normalize: settings.is_none_or(|settings| settings.normalize),
        augment: settings.map_or(vec![], |settings| settings.augment.clone()),
        validation: settings.and_then(|settings| settings.validation),
        patience: settings.and_then(|settings| settings.patience),
        checkpoint: settings.and_then(|settings| settings.checkpoint),
    }
}

struct Describe<'a> {
    network: &'a Network,
    plan: &'a Plan,
    lowered: &'a Lowered,
}

impl Describe<'_> {
    fn offset(&self, symbol: Symbol) -> usize {
        self.lowered.symbol_offsets[&symbol]
    }

    fn tensors(&self) -> Vec<rt::Tensor> {
        let symbols = &self.plan.symbols;
        let network = self.network;
        let params = network
            .params
            .iter()
            .zip(&symbols.params)
            .map(|(param, &symbol)| self.tensor(symbol, rt::TensorKind::Parameter, &param.role));
        let stats = symbols.stats.iter().map(|&symbol| self.tensor(symbol, rt::TensorKind::Statistic, ""));
        let states = symbols.states.iter().map(|&symbol| self.tensor(symbol, rt::TensorKind::State, ""));
        params.chain(stats).chain(states).collect()
    }

    fn tensor(&self, symbol: Symbol, kind: rt::TensorKind, role: &str) -> rt::Tensor {
        let info = self.plan.graph.symbol_info(symbol);
        let shape = info.axes.iter().map(|&axis| self.network.axes.extent(axis)).collect();
        let place = |axis| info.axes.iter().position(|own| own == axis).expect("the same axes");
        let order: Vec<usize> = self.lowered.symbol_axes[&symbol].iter().map(place).collect();
        let order = if order.is_sorted() { vec![] } else { order };
        let (name, offset) = (info.name.clone(), self.offset(symbol));
        rt::Tensor { name, kind, role: role.into(), shape, order, offset }
    }

    fn scalars(&self) -> rt::Scalars {
        let symbols = &self.plan.symbols;
        rt::Scalars {
            input: self.offset(symbols.input),
            target: self.offset(symbols.target),
            step: self.offset(symbols.step),
            seed: symbols.seed.map(|symbol| self.offset(symbol)),
            share: symbols.share.map(|symbol| self.offset(symbol)),
            first_sample: symbols.first_sample.map(|symbol| self.offset(symbol)),
            loss: self.offset(symbols.loss),
            accuracy: symbols.accuracy.map(|symbol| self.offset(symbol)),
            sample_loss: self.offset(symbols.sample_loss),
            sample_hit: symbols.sample_hit.map(|symbol| self.offset(symbol)),
            output: self.offset(symbols.output),
            time: self.offset(symbols.time),
            total_time: self.offset(symbols.total_time),
            multiplier: self.offset(symbols.multiplier),
        }
    }

    fn hypers(&self) -> Vec<rt::Hyper> {
        let hypers = self.network.training.iter().flat_map(|training| &training.hypers);
        let place = |(hyper, &symbol): (&crate::ir::Hyper, &Symbol)| rt::Hyper {
            name: hyper.name.clone(),
            value: hyper.value,
            offset: self.offset(symbol),
        };
        hypers.zip(&self.plan.symbols.hypers).map(place).collect()
    }

    fn blocks(&self) -> Vec<rt::Block> {
        (0..self.network.blocks.len()).map(|index| self.block(index)).collect()
    }

    fn block(&self, index: usize) -> rt::Block {
        let block = &self.network.blocks[index];
        let symbols = &self.plan.symbols;
        let factor = |of: &[Symbol]| of.get(index).map(|&symbol| self.offset(symbol));
        let m_w = block.params.iter().filter_map(|&param| {
            let symbol = symbols.m_w[param.index()]?;
            Some((self.network.param(param).name.clone(), self.offset(symbol)))
        });
        rt::Block {
            name: block.name.clone(),
            m_z: factor(&symbols.m_z),
            m: factor(&symbols.m),
            m_w: m_w.collect(),
            flops_forward: flops(&self.lowered.flops, index, Pass::Forward),
            flops_backward: flops(&self.lowered.flops, index, Pass::Backward),
        }
    }

    fn exchange(&self, exchange: &loops::Exchange) -> rt::Exchange {
        let buffer = &self.lowered.program.buffers[exchange.buffer.index()];
        let op = match exchange.op {
            loops::Combine::Sum => rt::ExchangeOp::Sum,
            loops::Combine::Max => rt::ExchangeOp::Max,
        };
        rt::Exchange { op, offset: buffer.offset, len: buffer.len }
    }

    fn routine(&self, routine: &loops::Routine) -> rt::Routine {
        let probes =
            [TRAIN, UPDATE].contains(&routine.name.as_str()).then(|| Probes::new(self.plan, self.lowered));
        let level = |level: &loops::Level| rt::Level {
            serial: level.serial,
            groups: level.groups.iter().map(|of| group(of, &self.lowered.program.buffers)).collect(),
            exchanges: level.exchanges.iter().map(|exchange| self.exchange(exchange)).collect(),
            probes: probes.as_ref().map_or(vec![], |probes| probes.of(level)),
        };
        let (name, symbol) = (routine.name.clone(), llvm::symbol(&routine.name));
        rt::Routine { name, symbol, levels: routine.levels.iter().map(level).collect() }
    }
}

fn flops(table: &HashMap<Tag, u64>, block: usize, pass: Pass) -> u64 {
    table.get(&Tag { block: block as u32, pass }).copied().unwrap_or(0)
}

fn group(group: &loops::Group, buffers: &[loops::Buffer]) -> rt::Group {
    let loops::traffic::Traffic { read, written } = loops::traffic::traffic(buffers, group);
    let pass = match group.pass {
        loops::Pass::Forward => Pass::Forward,
        loops::Pass::Backward => Pass::Backward,
        loops::Pass::Update => Pass::Update,
    };
    rt::Group {
        label: group.label.clone(),
        tasks: group.tasks(),
        block: group.block,
        pass: pass_name(pass).into(),
        bytes_read: read,
        bytes_written: written,
    }
}

fn pass_name(pass: Pass) -> &'static str {
    match pass {
        Pass::Forward => "forward",
        Pass::Backward => "backward",
        Pass::Update => "update",
    }
}

/// FNV-1a over the lines: a name for the spec, whose lines are compared where it matters.
fn digest(lines: &[String]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in lines.iter().flat_map(|line| line.bytes().chain([b'\n'])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

//! The named tensors of a training program.

use super::Symbols;
use super::factors::WEIGHT_ROLE;
use super::ranks::Ranks;
use crate::axes::{Axis, BATCH};
use crate::ir::{Elem, Network, ScaleOptions};
use crate::sym::graph::{Storage, SymbolInfo};
use crate::sym::{Graph, Symbol};

/// Makes a symbol for everything that a routine of `network` reads from outside or leaves behind.
pub(super) fn declare(network: &Network, ranks: Ranks, graph: &mut Graph) -> Symbols {
    let mut make = Maker { graph };
    let input = &network.node(network.input).ty.axes;
    let target = &network.node(network.target).ty.axes;
    let output = &network.node(network.output).ty.axes;
    let training = network.training.as_ref();
    let scale = training.and_then(|training| training.scale);
    let classes = class_axis(network);
    let target_storage = if classes.is_some() { Storage::Label } else { Storage::Float };
    let scaled_blocks = if scale.is_some() { network.blocks.as_slice() } else { &[] };
    Symbols {
        input: make.symbol("input", "z₀", input, Storage::Float),
        target: make.symbol("target", "y", target, target_storage),
        params: network.params.iter().map(|p| make.float(&p.name, &p.short, &p.axes)).collect(),
        stats: network.stats.iter().map(|s| make.float(&s.name, &s.name, &s.axes)).collect(),
        states: training
            .iter()
            .flat_map(|training| &training.states)
            .map(|s| {
                make.float(&format!("state.{}.{}", s.name, network.param(s.param).name), &s.name, &s.axes)
            })
            .collect(),
        hypers: training
            .iter()
            .flat_map(|training| &training.hypers)
            .map(|h| make.double(&format!("hyper.{}", h.name), &h.name))
            .collect(),
        step: make.double("step", "step"),
        seed: ["seed.low", "seed.high"].map(|name| make.symbol(name, name, &[], Storage::Seed)),
        loss: make.float("loss", "l", &[]),
        accuracy: classes.map(|_| make.float("accuracy", "accuracy", &[])),
        sample_loss: make.float("sample.loss", "l", &[BATCH]),
        sample_hit: classes.map(|_| make.float("sample.hit", "hit", &[BATCH])),
        output: make.float("output", "z_B", output),
        gradients: if training.is_some_and(|training| training.settings.accumulate > 1) {
            network.params.iter().map(|p| make.float(&format!("gradient.{}", p.name), "g", &p.axes)).collect()
        } else {
            vec![]
        },
        share: (ranks == Ranks::Averaging).then(|| make.double("ranks.share", "1/K")),
        first_sample: (ranks != Ranks::Alone)
            .then(|| make.symbol("ranks.first_sample", "j₀", &[], Storage::Seed)),
        time: make.double("time", "t"),
        total_time: make.double("total_time", "T"),
        multiplier: make.double("multiplier", "multiplier"),
        m_z: scaled_blocks.iter().map(|b| make.float(&format!("m_z.{}", b.name), "m_z", &[])).collect(),
        m: scaled_blocks.iter().map(|b| make.float(&format!("m.{}", b.name), "m", &[])).collect(),
        m_w: network
            .params
            .iter()
            .map(|p| scale.filter(|&options| is_amended(options, &p.role)).map(|_| &p.name))
            .map(|name| name.map(|name| make.float(&format!("m_W.{name}"), "m_W", &[])))
            .collect(),
    }
}

struct Maker<'a> {
    graph: &'a mut Graph,
}

impl Maker<'_> {
    fn symbol(&mut self, name: &str, label: &str, axes: &[Axis], storage: Storage) -> Symbol {
        let info = SymbolInfo { name: name.into(), label: label.into(), axes: axes.to_vec(), storage };
        self.graph.new_symbol(info)
    }

    fn float(&mut self, name: &str, label: &str, axes: &[Axis]) -> Symbol {
        self.symbol(name, label, axes, Storage::Float)
    }

    fn double(&mut self, name: &str, label: &str) -> Symbol {
        self.symbol(name, label, &[], Storage::Double)
    }
}

/// Whether a parameter's gradient is divided by its factor.
pub(super) fn is_amended(options: ScaleOptions, role: &str) -> bool {
    options.amend_all || role == WEIGHT_ROLE
}

/// The class axis of the targets, where they are labels.
pub(super) fn class_axis(network: &Network) -> Option<Axis> {
    match network.node(network.target).ty.elem {
        Elem::Class(axis) => Some(axis),
        _ => None,
    }
}

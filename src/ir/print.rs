//! The readable dump of a network (`--emit=ir`). Stable: it shows ids in the order in which they are first met, not
//! those of the arena.

use std::collections::HashMap;
use std::fmt::Write;

use super::{Elem, Leaf, Network, NodeId, Op, Training, Type};
use crate::axes::Axis;
use crate::intrinsics::Attr;

/// The whole network as text.
pub fn print(network: &Network) -> String {
    let mut printer = Printer { network, out: String::new(), ids: HashMap::new(), axes: HashMap::new() };
    printer.network();
    printer.out
}

struct Printer<'a> {
    network: &'a Network,
    out: String,
    ids: HashMap<NodeId, usize>,
    axes: HashMap<Axis, String>,
}

impl Printer<'_> {
    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn network(&mut self) {
        let network = self.network;
        self.line(&format!("network {}", network.name));
        self.root("input", network.input);
        self.root("target", network.target);
        for block in &network.blocks {
            self.line(&format!("block {}", block.name));
            for &param in &block.params {
                let param = network.param(param);
                let shape = self.shape(&param.axes);
                let role = if param.role.is_empty() { String::new() } else { format!(" as {}", param.role) };
                let init = self.value(param.init);
                self.line(&format!("  param {}: {shape}{role} ~ {init}", param.name));
            }
            self.root("  output", block.output);
        }
        self.root("loss", network.loss);
        if let Some(training) = &network.training {
            self.training(training);
        }
    }

    fn training(&mut self, training: &Training) {
        self.line(&format!("train {} {:?}", training.optimizer, training.settings));
        for hyper in &training.hypers {
            self.line(&format!("  {} = {}", hyper.name, hyper.value));
        }
        if let Some(scale) = training.scale {
            self.line(&format!(
                "  scale mode {} accumulate {} amend {}",
                scale.mode.name(),
                scale.accumulate,
                if scale.amend_all { "all" } else { "weights" }
            ));
        }
        for update in &training.updates {
            let name = &self.network.param(update.param).name;
            self.line(&format!("update {name}"));
            for &(state, value) in &update.states {
                let name = training.states[state.index()].name.clone();
                self.root(&format!("  {name} ←"), value);
            }
            self.root("  ←", update.value);
        }
        if let Some(schedule) = training.schedule {
            self.root("schedule", schedule);
        }
    }

    /// The nodes that a root needs and that were not printed yet, then the root.
    fn root(&mut self, label: &str, root: NodeId) {
        let value = self.value(root);
        self.line(&format!("{label} {value}"));
    }

    /// Prints what the node needs; gives how to refer to it.
    fn value(&mut self, root: NodeId) -> String {
        let mut stack = vec![(root, false)];
        while let Some((id, ready)) = stack.pop() {
            if self.ids.contains_key(&id) || self.inline(id).is_some() {
                continue;
            }
            if ready {
                self.node(id);
            } else {
                stack.push((id, true));
                stack.extend(self.network.node(id).inputs.iter().rev().map(|&input| (input, false)));
            }
        }
        self.reference(root)
    }

    fn reference(&self, id: NodeId) -> String {
        self.inline(id).unwrap_or_else(|| format!("%{}", self.ids.get(&id).copied().unwrap_or(usize::MAX)))
    }

    fn node(&mut self, id: NodeId) {
        let number = self.ids.len();
        self.ids.insert(id, number);
        let node = self.network.node(id);
        let mut text = format!("  %{number}");
        if let Some(name) = &node.name {
            let _ = write!(text, " ({name})");
        }
        let inputs: Vec<String> = node.inputs.iter().map(|&input| self.reference(input)).collect();
        let operation = match &node.op {
            Op::Leaf(leaf) => format!("{leaf:?}").to_lowercase(),
            Op::Statistic(stat) => format!("statistic {}", self.network.stats[stat.index()].name),
            Op::Apply { intrinsic, .. } => intrinsic.name().to_string(),
            Op::Number(value) => value.to_string(),
        };
        let _ = write!(text, " = {}", format!("{operation} {}", inputs.join(" ")).trim_end());
        if let Op::Apply { attrs, .. } = &node.op {
            for (name, attr) in attrs {
                let attr = self.attr(attr);
                let _ = write!(text, " {name}={attr}");
            }
        }
        let ty = self.ty(&node.ty);
        let text = format!("{} : {ty}", text.trim_end());
        self.line(&text);
    }

    /// Numbers and named leaves are written where they are used.
    fn inline(&self, id: NodeId) -> Option<String> {
        let network = self.network;
        match network.node(id).op {
            Op::Number(value) => Some(value.to_string()),
            Op::Leaf(Leaf::Param(param)) => Some(network.param(param).name.clone()),
            Op::Leaf(Leaf::Gradient(param)) => Some(format!("gradient({})", network.param(param).name)),
            Op::Leaf(Leaf::ScaleM(param)) => Some(format!("scale.m({})", network.param(param).name)),
            Op::Leaf(Leaf::ScaleW(param)) => Some(format!("scale.W({})", network.param(param).name)),
            Op::Leaf(Leaf::Hyper(id)) => {
                network.training.as_ref().map(|plan| plan.hypers[id.index()].name.clone())
            }
            Op::Leaf(Leaf::State(id)) => {
                let state = &network.training.as_ref()?.states[id.index()];
                Some(format!("state({}, {})", state.name, network.param(state.param).name))
            }
            _ => None,
        }
    }

    fn attr(&mut self, attr: &Attr) -> String {
        match attr {
            Attr::Int(value) => value.to_string(),
            Attr::Float(value) => value.to_string(),
            Attr::Bool(value) => value.to_string(),
            Attr::Axes(axes) => self.names(axes),
        }
    }

    fn ty(&mut self, ty: &Type) -> String {
        let shape = self.shape(&ty.axes);
        match ty.elem {
            Elem::Float => shape,
            Elem::Bool => format!("bool{shape}"),
            Elem::Class(axis) => format!("class({}){shape}", self.axis(axis)),
        }
    }

    fn names(&mut self, axes: &[Axis]) -> String {
        let names: Vec<String> = axes.iter().map(|&axis| self.axis(axis)).collect();
        format!("[{}]", names.join(", "))
    }

    fn shape(&mut self, axes: &[Axis]) -> String {
        let entry =
            |this: &mut Self, axis: Axis| format!("{}: {}", this.axis(axis), this.network.axes.extent(axis));
        let entries: Vec<String> = axes.iter().map(|&axis| entry(self, axis)).collect();
        format!("[{}]", entries.join(", "))
    }

    /// The axis' name, with a prime for each other axis of this name met before.
    fn axis(&mut self, axis: Axis) -> String {
        if let Some(known) = self.axes.get(&axis) {
            return known.clone();
        }
        let name = self.network.axes.name(axis);
        let namesakes = self.axes.keys().filter(|&&other| self.network.axes.name(other) == name).count();
        let shown = match namesakes {
            0 => name.to_string(),
            _ => format!("{name}.{namesakes}"),
        };
        self.axes.insert(axis, shown.clone());
        shown
    }
}

//! The typed block graph: a network as a chain of blocks of tensor expressions, every node with its shape and its
//! origin. Complete by construction: shapes are known, names are gone, nothing is filled in later.
//!
//! One arena of nodes holds the blocks' maps, the loss, the initializers, the optimizer's updates and the
//! schedule; what a root means is said by the structure that points to it.

pub mod evaluate;
pub mod print;
pub mod softmax;
pub mod verify;

use blk_runtime::data::augment::Augmentation;
use blk_runtime::manifest::Task;

use crate::axes::{Axis, AxisTable, BATCH};
use crate::ids::ids;
use crate::intrinsics::{Attrs, Intrinsic};
use crate::source::Span;

ids! {
    NodeId "%"
    BlockId "b"
    ParamId "p"
    /// A `batch` statistic with its running average.
    StatId "s"
    /// A state tensor of the optimizer, one per parameter and declaration.
    StateId "v"
    /// A number of the optimizer or schedule that may be changed at run time (`lr`, `momentum`, …).
    HyperId "h"
    OriginId "o"
}

/// The element kind of a tensor and its axes in storage order (row-major; the batch first where there is one).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Type {
    pub elem: Elem,
    pub axes: Vec<Axis>,
}

impl Type {
    pub fn float(axes: Vec<Axis>) -> Self {
        Type { elem: Elem::Float, axes }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Elem {
    Float,
    /// Integer labels `0..k` into the axis.
    Class(Axis),
    /// The result of a comparison.
    Bool,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub op: Op,
    pub inputs: Vec<NodeId>,
    pub ty: Type,
    pub origin: OriginId,
    /// The name that the source gave this value (`mu`, `var`, `trust`), for printing.
    pub name: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Op {
    Number(f64),
    Leaf(Leaf),
    /// An intrinsic applied to `inputs`.
    Apply {
        intrinsic: &'static dyn Intrinsic,
        attrs: Attrs,
    },
    /// A batch statistic: its one input in training, its running average in evaluation.
    Statistic(StatId),
}

/// What an expression may read besides other expressions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Leaf {
    Input,
    Target,
    Param(ParamId),
    /// In the update of a parameter: the gradient of the loss with respect to it.
    Gradient(ParamId),
    /// In the update of a parameter: `scale.m`, the factors m_z accumulated over the blocks above.
    ScaleM(ParamId),
    /// In the update of a parameter: `scale.W`, the factor m_W of this tensor.
    ScaleW(ParamId),
    State(StateId),
    Hyper(HyperId),
    /// Updates counted from 1.
    Step,
    /// A condition: true in training, false in evaluation (the pseudo-constant `training`).
    Training,
    /// In a schedule: epochs passed, fractionally.
    Time,
    /// In a schedule: epochs in all.
    TotalTime,
}

/// Where a node comes from: a span, and the expansions that led there, outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub span: Span,
    pub stack: Vec<Expansion>,
}

/// The expansion of a definition: its name and the call that expanded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expansion {
    pub name: String,
    pub call: Span,
}

/// A whole network with its training plan.
#[derive(Clone, Debug)]
pub struct Network {
    pub name: String,
    pub docs: Option<String>,
    pub axes: AxisTable,
    pub nodes: Vec<Node>,
    pub origins: Vec<Origin>,
    pub input: NodeId,
    pub target: NodeId,
    /// In chain order; block `b` reads only the output of block `b-1` (the first: `input`).
    pub blocks: Vec<Block>,
    /// The last block's output: logits, or the prediction of floats.
    pub output: NodeId,
    /// The loss per sample, over the batch axis alone. The objective is its mean over the batch.
    pub loss: NodeId,
    pub params: Vec<Param>,
    pub stats: Vec<Statistic>,
    /// Present when a `train` item names this network.
    pub training: Option<Training>,
}

/// The unit z_b = F_b(W_b, z_{b-1}).
#[derive(Clone, Debug)]
pub struct Block {
    /// Stable path such as `conv[3]`, or `h1`.
    pub name: String,
    pub input: NodeId,
    pub output: NodeId,
    pub params: Vec<ParamId>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Param {
    /// Path as in weight files: `h1.dense.W`.
    pub name: String,
    /// Name as declared: `W`.
    pub short: String,
    pub axes: Vec<Axis>,
    /// `weight`, `bias`, `scale`, `shift`, or what the source says after `as`; empty when it says nothing.
    pub role: String,
    /// The initial value, over `axes` or some of them (`zeros` is a number), along the others repeated.
    pub init: NodeId,
    pub block: BlockId,
    pub origin: OriginId,
}

/// `batch mu = value running momentum from start`: running ← (1−momentum)·running + momentum·value.
#[derive(Clone, Debug)]
pub struct Statistic {
    /// Path as in weight files: `h1.batch_norm.mu`.
    pub name: String,
    pub axes: Vec<Axis>,
    /// The value over the mini-batch.
    pub value: NodeId,
    pub momentum: f64,
    pub start: f64,
    pub block: BlockId,
}

#[derive(Clone, Debug)]
pub struct Training {
    pub optimizer: String,
    pub hypers: Vec<Hyper>,
    pub states: Vec<State>,
    pub updates: Vec<Update>,
    /// Options of `scale` where the optimizer takes it.
    pub scale: Option<ScaleOptions>,
    /// The multiplier of `lr`, over no axes, reading [`Leaf::Time`] and [`Leaf::TotalTime`].
    pub schedule: Option<NodeId>,
    /// The largest norm of the gradient over all parameters; the updates see it scaled down to that.
    pub clip: Option<HyperId>,
    pub settings: Settings,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Hyper {
    /// `lr`, `momentum`, …; a schedule's are written `schedule.warmup`.
    pub name: String,
    pub value: f64,
}

#[derive(Clone, Debug)]
pub struct State {
    /// `v` or `m`.
    pub name: String,
    pub param: ParamId,
    pub axes: Vec<Axis>,
    pub init: NodeId,
}

/// One optimizer step of one parameter tensor; all right-hand sides read the values before the step except where
/// the optimizer's own text reads a state that it has just assigned (then the node is that new value).
#[derive(Clone, Debug)]
pub struct Update {
    pub param: ParamId,
    /// Over the parameter's axes or some of them, like the values of the states.
    pub value: NodeId,
    pub states: Vec<(StateId, NodeId)>,
}

/// MATH.md §14: which simplification of the trace, whether m accumulates, and what is amended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleOptions {
    pub mode: ScaleMode,
    pub accumulate: bool,
    /// Amend every parameter by its own factor, not only those of role `weight`.
    pub amend_all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScaleMode {
    Paper,
    Analytic,
    Measured,
    Trace,
}

impl ScaleMode {
    pub const ALL: [ScaleMode; 4] =
        [ScaleMode::Paper, ScaleMode::Analytic, ScaleMode::Measured, ScaleMode::Trace];

    pub fn name(self) -> &'static str {
        match self {
            ScaleMode::Paper => "paper",
            ScaleMode::Analytic => "analytic",
            ScaleMode::Measured => "measured",
            ScaleMode::Trace => "trace",
        }
    }
}

/// Number format of a training.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Precision {
    /// At least the accuracy of f32, in the fastest way that the machine has.
    #[default]
    F32,
    /// f32 by multiply-adds only.
    F32Strict,
    /// Activations and their gradients in bf16, products of bf16 added in f32; all else in f32.
    Bf16,
}

impl Precision {
    /// The names in programs and options, the default first.
    pub const NAMES: [&str; 3] = ["f32", "f32_strict", "bf16"];

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    pub fn named(name: &str) -> Option<Precision> {
        [Precision::F32, Precision::F32Strict, Precision::Bf16].into_iter().find(|known| known.name() == name)
    }
}

/// What the `train` item says beside the optimizer.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `digits`, `csv:FILE`, …, as on the command line.
    pub data: Option<String>,
    pub batch: usize,
    pub epochs: u32,
    pub seed: u64,
    pub precision: Precision,
    /// Normalize bytes per channel; `normalize = none` switches it off.
    pub normalize: bool,
    /// Changes of training images, one after the other.
    pub augment: Vec<Augmentation>,
    /// Share of the training set that is held back.
    pub validation: Option<f64>,
    /// Epochs without a smaller validation loss after which training ends.
    pub patience: Option<u32>,
    /// Batches whose mean gradient makes one update.
    pub accumulate: u32,
    /// Steps between two saves within an epoch.
    pub checkpoint: Option<u64>,
}

impl Network {
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    pub fn param(&self, id: ParamId) -> &Param {
        &self.params[id.index()]
    }

    /// Extents of one sample of the input.
    pub fn sample_shape(&self) -> Vec<usize> {
        let axes = self.node(self.input).ty.axes.iter();
        axes.filter(|axis| **axis != BATCH).map(|&axis| self.axes.extent(axis)).collect()
    }

    /// What a sample's target is.
    pub fn task(&self) -> Task {
        let target = &self.node(self.target).ty;
        match target.elem {
            Elem::Class(axis) => Task::Class { classes: self.axes.extent(axis) },
            _ => Task::Float { size: self.axes.size(&target.axes) / self.axes.extent(BATCH) },
        }
    }

    pub fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.index()]
    }
}

//! Per block: back-matching loss, Jacobians, local Hessians and scale factors, as symbolic expressions; and the
//! whole training program as a list of routines over one expression graph.

pub mod alike;
pub mod exact;
pub mod explain;
pub mod factors;
pub mod facts;
pub mod jacobian;
pub mod local;
pub mod moments;
pub mod paper;
pub mod program;
pub mod ranks;
pub mod rules;
pub mod structure;
mod symbols;
pub mod trace;

use crate::ir::ParamId;
use crate::sym::{Expr, Graph, Symbol};

/// Which form of a block's local Hessians.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Form {
    /// JᵀJ, of the last block Jᵀ Hess(l) J.
    #[default]
    GaussNewton,
    /// The like with the residual Σᵢ gᵢ ∇²Fᵢ.
    Exact,
    /// Zhang, Chen and Liu's approximation: statistics held constant.
    Paper,
}

impl Form {
    pub const ALL: [Form; 3] = [Form::GaussNewton, Form::Exact, Form::Paper];

    pub fn name(self) -> &'static str {
        match self {
            Form::GaussNewton => "gauss-newton",
            Form::Exact => "exact",
            Form::Paper => "paper",
        }
    }
}

/// Everything that the compiled program computes, and everything that `explain` prints, over ONE graph.
#[derive(Clone, Debug)]
pub struct Plan {
    pub graph: Graph,
    pub symbols: Symbols,
    /// `init`, `train`, `update`, `eval`, `schedule` (where the network has them).
    pub routines: Vec<Routine>,
    /// The blocks as the `train` routine computes them, in chain order.
    pub blocks: Vec<BlockExprs>,
}

/// One block z_b = F_b(W_b, z_{b-1}) in the graph of the training step.
#[derive(Clone, Debug)]
pub struct BlockExprs {
    pub name: String,
    /// z_{b-1}; derivations take it as an independent variable. Outputs of blocks are sealed ([`Graph::seal`]), so that
    /// nothing made of them loses sight of them.
    pub input: Expr,
    /// z_b
    pub output: Expr,
    pub params: Vec<BlockParam>,
    /// Of the last block: the mean loss over the batch, through which its local loss goes.
    pub loss: Option<Expr>,
    /// ∂l/∂z_b, so that the target is z_b − ∂l/∂z_b.
    pub gradient: Expr,
    /// ∂l/∂z_{b-1}; absent for the first block, where nothing asks for it.
    pub input_gradient: Option<Expr>,
}

/// A parameter of a block, with the gradient of the loss.
#[derive(Clone, Debug)]
pub struct BlockParam {
    pub id: ParamId,
    /// Name as declared, `W`.
    pub name: String,
    pub role: String,
    pub value: Expr,
    pub gradient: Expr,
}

/// A function of the compiled program: all writes happen after all reads of the old values.
#[derive(Clone, Debug)]
pub struct Routine {
    pub name: &'static str,
    pub writes: Vec<Write>,
}

/// `symbol ← value`; the value's axes are the symbol's, as a set.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    pub symbol: Symbol,
    pub value: Expr,
}

/// Which symbol holds what. Indices follow the IR's ids.
#[derive(Clone, Debug)]
pub struct Symbols {
    /// The batch of samples, over the batch and the network's input axes.
    pub input: Symbol,
    /// The batch of targets: labels over the batch, or floats.
    pub target: Symbol,
    pub params: Vec<Symbol>,
    /// Running averages, by `StatId`.
    pub stats: Vec<Symbol>,
    /// Optimizer states, by `StateId`.
    pub states: Vec<Symbol>,
    /// Hyper-parameters, by `HyperId`; f64.
    pub hypers: Vec<Symbol>,
    /// Counted from 1, f64: in `train` the batches, by which random numbers are drawn, in `update` the updates; one and the
    /// same where no gradients are accumulated.
    pub step: Symbol,
    /// Seed of initialization and dropout; two u32 words of the run's seed.
    pub seed: [Symbol; 2],
    /// Written by `train`: the mean loss of the batch, f32.
    pub loss: Symbol,
    /// Written by `train` where targets are classes: fraction of samples whose label has the largest logit.
    pub accuracy: Option<Symbol>,
    /// Written by `eval`: per-sample loss, 0/1 hit (classes), and the output itself.
    pub sample_loss: Symbol,
    pub sample_hit: Option<Symbol>,
    pub output: Symbol,
    /// Where gradients are accumulated, by `ParamId`: `train` adds its share of the mean over the batches, `update` takes it
    /// and begins anew at 0. Else empty.
    pub gradients: Vec<Symbol>,
    /// Of ranks that average: 1/K for K of them, f64.
    pub share: Option<Symbol>,
    /// Where there may be several ranks: see [`Graph::first_sample`]; a u32 word.
    pub first_sample: Option<Symbol>,
    /// Read and written by `schedule`: time, total, multiplier; f64.
    pub time: Symbol,
    pub total_time: Symbol,
    pub multiplier: Symbol,
    /// Written by `train`, per block: m_z and the accumulated m, f32 over no axes (empty without scale factors).
    pub m_z: Vec<Symbol>,
    pub m: Vec<Symbol>,
    /// Written by `train`, per parameter that is amended: m_W.
    pub m_w: Vec<Option<Symbol>>,
}

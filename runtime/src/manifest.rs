//! The contract between generated code and the runtime.
//!
//! Generated code is a function for each routine over one arena of memory. The manifest, JSON beside the code, says where
//! everything lies in the arena, how the tasks of each routine are ordered, and what the run's defaults are.

use serde::{Deserialize, Serialize};

use crate::data::augment::Augmentation;

/// Scale factors outside of this range, or that are no numbers, count as 1 in the compiled step: they would carry a
/// gradient out of the range of f32.
pub const FACTOR_RANGE: (f64, f64) = (1e-18, 1e18);

/// Raised when the meaning of the manifest changes; a runtime refuses another one.
pub const FORMAT: u32 = 6;

/// A routine's function: runs task `task` of it on the arena at `base`; tasks are numbered level after level, and within a level
/// group after group. `scratch` is private to the thread, 64-byte aligned, of [`Manifest::scratch_bytes`] bytes. In its first
/// [`NOTE_BYTES`] a task notes what it leaves there for the thread's next task of the same level; who runs tasks wipes the note
/// ([`wipe_note`]) before a thread's first task of a level.
pub type RoutineFn = unsafe extern "C" fn(base: *mut u8, task: u32, scratch: *mut u8);

/// Bytes of the note at the start of scratch memory.
pub const NOTE_BYTES: usize = 64;

/// Makes a thread forget what its tasks have left in its scratch memory: another level may have changed what that was made of.
///
/// # Safety
/// `scratch` points to [`NOTE_BYTES`] bytes, aligned to 8, of this thread.
pub unsafe fn wipe_note(scratch: *mut u8) {
    // SAFETY: promised by the caller.
    unsafe { scratch.cast::<u64>().write(0) };
}

/// Symbols of a native trainer's code: `[*const Path; n]`, the widest vectors first, and n as u64.
pub const PATHS_SYMBOL: &str = "blk_paths";
pub const PATHS_LEN_SYMBOL: &str = "blk_paths_len";

/// A program compiled for one kind of machine. Those of one trainer do the same, in code for different machines.
#[repr(C)]
pub struct Path {
    /// The features that it needs, in the names of LLVM, with commas between.
    pub features: *const u8,
    pub features_len: u64,
    /// Its [`Manifest`] as JSON.
    pub manifest: *const u8,
    pub manifest_len: u64,
    /// The functions of routines in the manifest's order.
    pub entries: *const RoutineFn,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Version of the compiler that wrote it.
    pub compiler: String,
    pub network: String,
    /// Digest of everything that shapes the training: network, optimizer, batch, precision (not data, epochs, seed).
    pub spec_hash: String,
    /// The spec in words, line by line, so that a difference can be shown.
    pub spec: Vec<String>,
    pub target: Target,
    /// Samples of one run of `train`, of one rank.
    pub batch: usize,
    /// How processes that train together share a step.
    pub ranks: Ranks,
    /// Batches of one step. Where there are several, `train` adds their gradients up and `update` changes the parameters.
    pub accumulate: usize,
    /// `f32`, `f32_strict`, `bf16`.
    pub precision: String,
    /// How the code multiplies matrices, in words: `bf16 by vdpbf16ps`.
    #[serde(default)]
    pub kernels: String,
    /// Extents of one sample.
    pub input_shape: Vec<usize>,
    pub task: Task,
    /// The loss takes the outputs for logits: their softmax are the probabilities of the classes.
    pub softmax: bool,
    pub arena_bytes: usize,
    pub scratch_bytes: usize,
    /// `init`, `train`, `update`, `eval`, `schedule`, those that exist.
    pub routines: Vec<Routine>,
    pub tensors: Vec<Tensor>,
    pub scalars: Scalars,
    /// f64 numbers that may be set at run time.
    pub hypers: Vec<Hyper>,
    pub blocks: Vec<Block>,
    /// Name of the optimizer, for display.
    pub optimizer: String,
    pub defaults: Defaults,
}

/// How processes that train together share a step. Without [`Ranks::Synchronized`] the spec is that of a rank, with it that
/// of one process with the batches of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ranks {
    /// The code runs alone.
    #[default]
    Alone,
    /// Any number of ranks average gradients; batch statistics are each rank's own.
    Averaging,
    /// So many ranks compute what one process would with their batches as one.
    Synchronized(usize),
}

/// The machine for which the code was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub triple: String,
    /// Features that the code needs (`avx512f`, …), in the names of LLVM.
    pub features: Vec<String>,
}

/// What the network predicts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Task {
    Class { classes: usize },
    Float { size: usize },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Routine {
    pub name: String,
    /// Name of its function's symbol.
    pub symbol: String,
    pub levels: Vec<Level>,
}

impl Routine {
    pub fn tasks(&self) -> usize {
        self.levels.iter().map(Level::tasks).sum()
    }
}

/// Tasks that do not wait for each other; those of the next level wait for all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    pub serial: bool,
    pub groups: Vec<Group>,
    /// What the ranks exchange when the tasks are done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exchanges: Vec<Exchange>,
    /// In `train`: the floats that the level leaves, in the order in which they are computed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
}

/// `len` f32 from `offset` on (bytes from the start of the arena) become those of all ranks, put together entry by entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    pub op: ExchangeOp,
    pub offset: usize,
    pub len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeOp {
    Sum,
    Max,
}

impl Level {
    pub fn tasks(&self) -> usize {
        self.groups.iter().map(|group| group.tasks).sum()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub label: String,
    pub tasks: usize,
    /// Index into [`Manifest::blocks`].
    pub block: Option<u32>,
    /// `forward`, `backward`, `update`.
    pub pass: String,
    /// Bytes that its tasks read from memory and write to it, counted in the program.
    #[serde(default)]
    pub bytes_read: u64,
    #[serde(default)]
    pub bytes_written: u64,
}

/// A value of a training step, valid at the end of its level: where a number that is not finite is looked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// In words: `the output`, `the gradient of h1.dense.W`.
    pub name: String,
    /// Index into [`Manifest::blocks`].
    pub block: Option<u32>,
    /// As in [`Group`].
    pub pass: String,
    /// Bytes from the start of the arena.
    pub offset: usize,
    /// Entries: f32, or bf16.
    pub len: usize,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bf16: bool,
}

impl Probe {
    /// Bytes of an entry.
    pub fn width(&self) -> usize {
        if self.bf16 { 2 } else { 4 }
    }
}

/// A tensor that outlives a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tensor {
    /// `h1.dense.W`, `h1.batch_norm.mu`, `state.v.h1.dense.W`.
    pub name: String,
    pub kind: TensorKind,
    /// Role of a parameter (`weight`, …).
    pub role: String,
    /// Of f32 entries; empty for a scalar.
    pub shape: Vec<usize>,
    /// Axes of `shape` from the outermost in memory on; empty where that is row-major.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<usize>,
    /// Bytes from the start of the arena.
    pub offset: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TensorKind {
    Parameter,
    Statistic,
    State,
}

/// Offsets in bytes of what a step reads and writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scalars {
    /// f32, batch × input_shape.
    pub input: usize,
    /// i32 labels, or f32 batch × size.
    pub target: usize,
    /// f64: counted from 1, in `train` the batches, in `update` the updates (where nothing is accumulated both are one).
    pub step: usize,
    /// Two u32.
    pub seed: [usize; 2],
    /// f64: one over the number of ranks, where the code averages over them.
    #[serde(default)]
    pub share: Option<usize>,
    /// u32: the number of this rank's first sample in the batch of all ranks, where the code has use for it.
    #[serde(default)]
    pub first_sample: Option<usize>,
    /// f32: mean loss of the batch, after `train`.
    pub loss: usize,
    /// f32: fraction of hits, after `train`.
    pub accuracy: Option<usize>,
    /// f32 × batch, after `eval`.
    pub sample_loss: usize,
    pub sample_hit: Option<usize>,
    /// f32, batch × classes (or size), after `eval`.
    pub output: usize,
    /// f64: epochs passed, epochs in all, and the multiplier of `lr` after `schedule`.
    pub time: usize,
    pub total_time: usize,
    pub multiplier: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hyper {
    pub name: String,
    pub value: f64,
    pub offset: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    pub name: String,
    /// Offsets of f32 factors, after `train`: m_z, the accumulated m, and m_W by parameter name.
    pub m_z: Option<usize>,
    pub m: Option<usize>,
    pub m_w: Vec<(String, usize)>,
    /// Floating-point operations per step of contractions.
    pub flops_forward: u64,
    pub flops_backward: u64,
}

/// What the `train` item said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Defaults {
    pub data: Option<String>,
    pub epochs: u32,
    pub seed: u64,
    pub normalize: bool,
    /// Changes of training images, one after the other.
    pub augment: Vec<Augmentation>,
    /// Share of the training set that is held back, by which the best weights are chosen.
    pub validation: Option<f64>,
    /// Epochs without a smaller validation loss after which a run ends.
    pub patience: Option<u32>,
    /// Steps between two saves within an epoch; by default the clock decides.
    pub checkpoint: Option<u64>,
}

/// The part of a manifest that is known before there is code: what the network takes and what a run starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    pub spec_hash: String,
    pub spec: Vec<String>,
    pub batch: usize,
    pub ranks: Ranks,
    pub accumulate: usize,
    pub input_shape: Vec<usize>,
    pub task: Task,
    /// Names and values.
    pub hypers: Vec<(String, f64)>,
    pub defaults: Defaults,
}

impl From<&Manifest> for Outline {
    fn from(manifest: &Manifest) -> Self {
        Outline {
            spec_hash: manifest.spec_hash.clone(),
            spec: manifest.spec.clone(),
            batch: manifest.batch,
            ranks: manifest.ranks,
            accumulate: manifest.accumulate,
            input_shape: manifest.input_shape.clone(),
            task: manifest.task,
            hypers: manifest.hypers.iter().map(|hyper| (hyper.name.clone(), hyper.value)).collect(),
            defaults: manifest.defaults.clone(),
        }
    }
}

//! Bounds on what a program may ask of the compiler and of the machine; passing one is a diagnostic.

/// Evaluations of subexpressions per network, counting every expansion.
pub const STEPS: u64 = 1_000_000;

/// Definitions inside definitions.
pub const EXPANSION_DEPTH: usize = 200;

/// Expressions inside expressions, over all expansions together; the stack is sized for it.
pub const EVALUATION_DEPTH: usize = 6_000;

/// Nodes of a network's graph.
pub const NODES: usize = 1 << 18;

/// Links of a network's chain.
pub const BLOCKS: usize = 4096;

/// Entries of one tensor.
pub const TENSOR_ENTRIES: usize = 1 << 31;

/// Parameters of a network, in entries.
pub const PARAMETERS: usize = 1 << 32;

/// Entries of a list.
pub const LIST: usize = 100_000;

/// Rounds of one `for`.
pub const ROUNDS: i64 = 100_000;

/// Samples of a batch.
pub const BATCH: i64 = 1 << 20;

/// Batches of an update.
pub const ACCUMULATE: i64 = 1 << 20;

/// Epochs of a training run.
pub const EPOCHS: i64 = 1_000_000;

/// Stack for elaboration: at most [`EVALUATION_DEPTH`] levels of an unoptimized build.
pub const STACK_BYTES: usize = 512 << 20;

//! What generated code needs at run time: thread pool, data, training loop, checkpoints, metrics. A library for the
//! just-in-time compiler, a static library for native trainers. Imports nothing of the compiler.
//!
//! [`program::Program`] joins compiled routines with their manifest and memory; [`train::train`] runs it on data
//! and tells a [`report::Reporter`].

mod bandwidth;
pub mod batch;
pub mod bench;
mod busy;
pub mod checkpoint;
mod clock;
pub mod data;
mod divergence;
mod error;
mod events;
pub mod features;
mod feed;
pub mod header;
pub mod interrupt;
#[cfg(feature = "trainer")]
pub mod library;
pub mod manifest;
pub mod memory;
pub mod metrics;
pub mod options;
mod pace;
pub mod peak;
pub mod pool;
pub mod predict;
pub mod program;
pub mod progress;
pub mod random;
pub mod ranks;
pub mod report;
mod resident;
pub mod run;
pub mod settings;
mod subnormal;
pub mod train;
pub mod trainer;

pub use error::Error;
pub use options::TrainOptions;
pub use program::Program;
pub use train::train;

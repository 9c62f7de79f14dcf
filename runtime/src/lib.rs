//! What generated code needs at run time: thread pool, data, training loop, checkpoints, metrics. A library for the
//! just-in-time compiler, a static library for native trainers. Imports nothing of the compiler.

pub mod manifest;

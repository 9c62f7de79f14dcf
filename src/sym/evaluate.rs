//! Expressions as f64 arrays.

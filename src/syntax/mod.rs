//! Source text to syntax tree. The only user of pest.

pub mod ast;

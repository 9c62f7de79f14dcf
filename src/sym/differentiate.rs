//! The chain rule: the local Jacobian of every kind of node, and what is composed from it.

use std::collections::HashMap;

use super::graph::{Expr, Graph};

impl Graph {
    /// Vector–Jacobian products in reverse order: given ∂l/∂(seed.0) = seed.1 for every seed, the gradients of l with
    /// respect to `wrt`, each over the axes of its expression (zero where l does not depend on it).
    pub fn vjp(&mut self, _seeds: &[(Expr, Expr)], _wrt: &[Expr]) -> HashMap<Expr, Expr> {
        unimplemented!("being written")
    }
}

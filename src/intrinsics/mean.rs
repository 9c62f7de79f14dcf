//! Mean over axes: the sum divided by the number of positions.

use super::reduction::{Reducing, Reduction};
use crate::axes::Axis;
use crate::sym::{Expr, Graph};

pub(super) static INTRINSIC: Reduction = Reduction { name: "mean", meaning: &Meaning };

struct Meaning;

impl Reducing for Meaning {
    fn formula(&self, graph: &mut Graph, arg: Expr, over: &[Axis]) -> Expr {
        graph.mean(over, arg)
    }

    fn of(&self, entries: &[f64]) -> f64 {
        entries.iter().sum::<f64>() / entries.len() as f64
    }
}

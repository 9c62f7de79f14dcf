//! Euclidean norm over axes.

use super::reduction::{Reducing, Reduction};
use crate::axes::Axis;
use crate::sym::{Expr, Graph};

pub(super) static INTRINSIC: Reduction = Reduction { name: "norm", meaning: &Meaning };

struct Meaning;

impl Reducing for Meaning {
    fn formula(&self, graph: &mut Graph, arg: Expr, over: &[Axis]) -> Expr {
        let square = graph.square(arg);
        let sum = graph.sum(over, square);
        graph.sqrt(sum)
    }

    fn of(&self, entries: &[f64]) -> f64 {
        entries.iter().fold(0.0f64, |norm, entry| norm.hypot(*entry))
    }
}

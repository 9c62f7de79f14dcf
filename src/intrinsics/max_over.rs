//! Largest entry over axes.

use super::reduction::{Reducing, Reduction};
use crate::axes::Axis;
use crate::sym::{self, Expr, Graph};

pub(super) static INTRINSIC: Reduction = Reduction { name: "max", meaning: &Meaning };

struct Meaning;

impl Reducing for Meaning {
    fn formula(&self, graph: &mut Graph, arg: Expr, over: &[Axis]) -> Expr {
        graph.reduce(sym::Reduction::Max, over, arg)
    }

    fn of(&self, entries: &[f64]) -> f64 {
        entries.iter().copied().fold(f64::NEG_INFINITY, |a, b| if b > a { b } else { a })
    }
}

//! Largest entry over axes. Its derivative is shared evenly by all entries that attain it: the maximum is written as
//! the mean of the entries equal to it.

use super::eq::Eq;
use super::reduction::{Reducing, Reduction};
use super::select::Where;
use super::stop::Stop;
use crate::axes::Axis;
use crate::sym::{self, Expr, Graph};

pub(super) static INTRINSIC: Reduction = Reduction { name: "max", meaning: &Meaning };

struct Meaning;

impl Reducing for Meaning {
    fn formula(&self, graph: &mut Graph, arg: Expr, over: &[Axis]) -> Expr {
        let largest = graph.reduce(sym::Reduction::Max, over, arg);
        let largest = graph.apply(&Stop, &[largest]);
        let attains = graph.apply(&Eq, &[arg, largest]);
        let [one, zero] = [graph.number(1.0), graph.number(0.0)];
        let entry = graph.apply(&Where, &[attains, arg, zero]);
        let hit = graph.apply(&Where, &[attains, one, zero]);
        let (sum, hits) = (graph.sum(over, entry), graph.sum(over, hit));
        graph.div(sum, hits)
    }

    fn of(&self, entries: &[f64]) -> f64 {
        entries.iter().copied().fold(f64::NEG_INFINITY, |a, b| if b > a { b } else { a })
    }
}

//! Mean of each window, padding counted as zeros.

use super::patches::patches;
use super::pooling::{Call, Pool, Pooling};
use crate::sym::{Expr, Graph};

pub(super) static INTRINSIC: Pool = Pool { name: "avg_pool", meaning: &Meaning };

struct Meaning;

impl Pooling for Meaning {
    fn formula(&self, graph: &mut Graph, x: Expr, call: &Call) -> Expr {
        let &Call { plane, windows, taps, geometry } = call;
        let entries = patches(graph, x, plane, windows, taps, [geometry; 2]);
        graph.mean(&taps, entries)
    }

    fn of(&self, entries: &[Option<f64>]) -> f64 {
        entries.iter().flatten().sum::<f64>() / entries.len() as f64
    }
}

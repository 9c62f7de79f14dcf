//! Largest entry of each window; padding never wins. Its derivative goes to the first largest entry, row by row.

use super::gt::Gt;
use super::patches::patches;
use super::pooling::{Call, Pool, Pooling};
use super::select::Where;
use crate::sym::{Expr, Graph};

pub(super) static INTRINSIC: Pool = Pool { name: "max_pool", meaning: &Meaning };

struct Meaning;

impl Pooling for Meaning {
    /// The sum over a window's entries of the entry times whether it is the first largest.
    fn formula(&self, graph: &mut Graph, x: Expr, call: &Call) -> Expr {
        let &Call { plane, windows, taps, geometry } = call;
        let entries = patches(graph, x, plane, windows, taps, [geometry; 2]);
        let [zero, lowest] = [0.0, f64::NEG_INFINITY].map(|number| graph.number(number));
        let sides = [0, 1].map(|i| {
            let window = graph.window(geometry.window(plane[i], windows[i], taps[i]));
            graph.sum(&[plane[i]], window)
        });
        let inside = graph.mul(&sides);
        let inside = graph.apply(&Gt, &[inside, zero]);
        let candidates = graph.apply(&Where, &[inside, entries, lowest]);
        let candidates = graph.spread(candidates, &taps);
        let chosen = graph.arg_max(&taps, candidates);
        let entry = graph.mul(&[chosen, entries]);
        graph.sum(&taps, entry)
    }

    fn of(&self, entries: &[Option<f64>]) -> f64 {
        entries.iter().flatten().copied().fold(f64::NEG_INFINITY, |a, b| if b > a { b } else { a })
    }
}

//! log Σ exp(x) over axes. The largest entry is taken out first, so that nothing overflows; the value does not depend
//! on that shift, so the derivative holds it constant.

use super::exp::Exp;
use super::log::Log;
use super::reduction::{Reducing, Reduction};
use super::stop::Stop;
use crate::axes::Axis;
use crate::sym::{self, Expr, Graph};

pub(super) static INTRINSIC: Reduction = Reduction { name: "log_sum_exp", meaning: &Meaning };

struct Meaning;

impl Reducing for Meaning {
    fn formula(&self, graph: &mut Graph, arg: Expr, over: &[Axis]) -> Expr {
        let largest = graph.reduce(sym::Reduction::Max, over, arg);
        let shift = graph.apply(&Stop, &[largest]);
        let shifted = graph.sub(arg, shift);
        let exp = graph.apply(&Exp, &[shifted]);
        let sum = graph.sum(over, exp);
        let log = graph.apply(&Log, &[sum]);
        graph.add(&[shift, log])
    }

    fn of(&self, entries: &[f64]) -> f64 {
        let largest = entries.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        largest + entries.iter().map(|entry| (entry - largest).exp()).sum::<f64>().ln()
    }
}

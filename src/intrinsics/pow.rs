//! Entrywise power. A negative base has a power only for whole exponents.
//!
//! An exponent that may be trained, or depends on data, is written as exp(exponent · log base), whose derivative
//! follows; numbers, hyper-parameters and step counts stay exponents.

use std::collections::HashSet;

use super::elementwise::{Elementwise, Kind};
use super::exp::Exp;
use super::log::Log;
use crate::sym::{Expr, Graph, Node, Storage};

pub(super) struct Pow;

impl Elementwise for Pow {
    const NAME: &'static str = "pow";
    const OPERATOR: Option<&'static str> = Some("^");
    const ARGS: &'static [&'static str] = &["base", "exponent"];
    const TAKES: &'static [Kind] = &[Kind::Number, Kind::Number];
    const RANGE: (f64, f64) = (0.2, 3.0);
    const POINTS: &'static [f64] = &[1.0, 2.0];

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        if !depends_on_data(graph, args[1]) {
            return graph.pow(args[0], args[1]);
        }
        let log = graph.apply(&Log, &[args[0]]);
        let product = graph.mul(&[args[1], log]);
        graph.apply(&Exp, &[product])
    }

    fn at(&self, args: &[f64]) -> f64 {
        args[0].powf(args[1])
    }
}

/// Whether any symbol but scalars of the schedule and the optimizer occurs in it.
fn depends_on_data(graph: &Graph, expr: Expr) -> bool {
    let (mut open, mut seen) = (vec![expr], HashSet::new());
    while let Some(expr) = open.pop() {
        match graph.node(expr) {
            Node::Symbol(symbol) if graph.symbol_info(*symbol).storage == Storage::Float => return true,
            node if seen.insert(expr) => open.extend(node.args()),
            _ => (),
        }
    }
    false
}

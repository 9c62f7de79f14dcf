//! Entrywise quotient.

use super::elementwise::{Elementwise, Kind};
use crate::sym::{Expr, Graph};

pub(super) struct Div;

impl Elementwise for Div {
    const NAME: &'static str = "div";
    const OPERATOR: Option<&'static str> = Some("/");
    const ARGS: &'static [&'static str] = &["a", "b"];
    const TAKES: &'static [Kind] = &[Kind::Number, Kind::Number];
    const RANGE: (f64, f64) = (0.3, 3.0);
    const POINTS: &'static [f64] = &[1.0, -2.0];

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.div(args[0], args[1])
    }

    fn at(&self, args: &[f64]) -> f64 {
        args[0] / args[1]
    }
}

//! Sign change.

use super::elementwise::{Elementwise, Kind};
use crate::sym::{Expr, Graph};

pub(super) struct Neg;

impl Elementwise for Neg {
    const NAME: &'static str = "neg";
    const OPERATOR: Option<&'static str> = Some("-");
    const ARGS: &'static [&'static str] = &["a"];
    const TAKES: &'static [Kind] = &[Kind::Number];

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.neg(args[0])
    }

    fn at(&self, args: &[f64]) -> f64 {
        -args[0]
    }
}

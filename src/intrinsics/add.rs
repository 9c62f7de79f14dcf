//! Entrywise sum.

use super::elementwise::{Elementwise, Kind};
use crate::sym::{Expr, Graph};

pub(super) struct Add;

impl Elementwise for Add {
    const NAME: &'static str = "add";
    const OPERATOR: Option<&'static str> = Some("+");
    const ARGS: &'static [&'static str] = &["a", "b"];
    const TAKES: &'static [Kind] = &[Kind::Number, Kind::Number];

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.add(args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        args[0] + args[1]
    }
}

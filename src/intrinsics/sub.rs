//! Entrywise difference.

use super::elementwise::{Elementwise, Kind};
use crate::sym::{Expr, Graph};

pub(super) struct Sub;

impl Elementwise for Sub {
    const NAME: &'static str = "sub";
    const OPERATOR: Option<&'static str> = Some("-");
    const ARGS: &'static [&'static str] = &["a", "b"];
    const TAKES: &'static [Kind] = &[Kind::Number, Kind::Number];

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.sub(args[0], args[1])
    }

    fn at(&self, args: &[f64]) -> f64 {
        args[0] - args[1]
    }
}

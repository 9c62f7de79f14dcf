//! Entrywise power. A negative base has a power only for whole exponents.

use super::elementwise::{Elementwise, Kind};
use crate::sym::{Expr, Graph};

pub(super) struct Pow;

impl Elementwise for Pow {
    const NAME: &'static str = "pow";
    const OPERATOR: Option<&'static str> = Some("^");
    const ARGS: &'static [&'static str] = &["base", "exponent"];
    const TAKES: &'static [Kind] = &[Kind::Number, Kind::Number];
    const RANGE: (f64, f64) = (0.2, 3.0);
    const POINTS: &'static [f64] = &[1.0, 2.0];

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.pow(args[0], args[1])
    }

    fn at(&self, args: &[f64]) -> f64 {
        args[0].powf(args[1])
    }
}

//! Square root, which the algebra knows as the power ½.

use super::elementwise::{Elementwise, Kind};
use crate::sym::{Expr, Graph};

pub(super) struct Sqrt;

impl Elementwise for Sqrt {
    const NAME: &'static str = "sqrt";
    const ARGS: &'static [&'static str] = &["x"];
    const TAKES: &'static [Kind] = &[Kind::Number];
    const RANGE: (f64, f64) = (0.1, 4.0);
    const POINTS: &'static [f64] = &[1.0, 4.0];

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.sqrt(args[0])
    }

    fn at(&self, args: &[f64]) -> f64 {
        args[0].sqrt()
    }
}

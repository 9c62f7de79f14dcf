//! The smaller of two numbers. At a tie the derivative goes to the second, so min(t, 0) has derivative 0 at its kink.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use super::lt::Lt;
use super::select::Where;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg};
use crate::sym::{Expr, Function, Graph};

pub(crate) struct Min;

impl Elementwise for Min {
    const NAME: &'static str = "min";
    const ARGS: &'static [&'static str] = &["a", "b"];
    const TAKES: &'static [Kind] = &[Kind::Number, Kind::Number];
    const POINTS: &'static [f64] = &[0.0, 0.0, 0.0, 1.0, 1.0];

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Min)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Min, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        args[0].min(args[1])
    }
}

impl Function for Min {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        2
    }

    fn eval(&self, args: &[f64]) -> f64 {
        if args[1] < args[0] { args[1] } else { args[0] }
    }

    fn derivative(&self, graph: &mut Graph, i: usize, args: &[Expr]) -> Expr {
        let less = graph.apply(&Lt, args);
        let [one, zero] = [graph.number(1.0), graph.number(0.0)];
        let (then, otherwise) = if i == 0 { (one, zero) } else { (zero, one) };
        graph.apply(&Where, &[less, then, otherwise])
    }

    fn simplify(&self, graph: &mut Graph, args: &[Expr]) -> Option<(&'static str, Expr)> {
        let _ = graph;
        (args[0] == args[1]).then_some(("min(x, x) = x", args[0]))
    }
}

impl Scalar for Min {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        builder.binary(Binary::Min, args[0], args[1])
    }
}

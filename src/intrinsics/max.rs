//! The larger of two numbers. At a tie the derivative goes to the second, so max(t, 0) has derivative 0 at its kink.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use super::gt::Gt;
use super::select::Where;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg};
use crate::sym::{Expr, Function, Graph};

pub(crate) struct Max;

impl Elementwise for Max {
    const NAME: &'static str = "max";
    const ARGS: &'static [&'static str] = &["a", "b"];
    const TAKES: &'static [Kind] = &[Kind::Number, Kind::Number];
    const POINTS: &'static [f64] = &[0.0, 0.0, 0.0, 1.0, 1.0];

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Max)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Max, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        args[0].max(args[1])
    }
}

impl Function for Max {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        2
    }

    fn eval(&self, args: &[f64]) -> f64 {
        if args[1] > args[0] { args[1] } else { args[0] }
    }

    fn derivative(&self, graph: &mut Graph, i: usize, args: &[Expr]) -> Expr {
        let greater = graph.apply(&Gt, args);
        let [one, zero] = [graph.number(1.0), graph.number(0.0)];
        let (then, otherwise) = if i == 0 { (one, zero) } else { (zero, one) };
        graph.apply(&Where, &[greater, then, otherwise])
    }

    fn simplify(&self, graph: &mut Graph, args: &[Expr]) -> Option<(&'static str, Expr)> {
        let _ = graph;
        (args[0] == args[1]).then_some(("max(x, x) = x", args[0]))
    }
}

impl Scalar for Max {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        builder.binary(Binary::Max, args[0], args[1])
    }
}

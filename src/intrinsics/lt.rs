//! Whether a < b; false for NaN.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use super::scalar::same_type;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg};
use crate::sym::graph::Style;
use crate::sym::{Expr, Function, Graph};

pub(crate) struct Lt;

impl Elementwise for Lt {
    const NAME: &'static str = "lt";
    const OPERATOR: Option<&'static str> = Some("<");
    const ARGS: &'static [&'static str] = &["a", "b"];
    const TAKES: &'static [Kind] = &[Kind::Number, Kind::Number];
    const GIVES: Kind = Kind::Condition;
    const RANGE: (f64, f64) = (-1.0, 1.0);
    const POINTS: &'static [f64] = &[0.0, 0.0, 1.0, 1.0, -1.0];

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Lt)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Lt, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        if args[0] < args[1] { 1.0 } else { 0.0 }
    }
}

impl Function for Lt {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        2
    }

    fn style(&self) -> Style {
        Style::Infix("<")
    }

    fn eval(&self, args: &[f64]) -> f64 {
        f64::from(u8::from(args[0] < args[1]))
    }

    fn derivative(&self, graph: &mut Graph, _i: usize, _args: &[Expr]) -> Expr {
        graph.number(0.0)
    }

    fn is_indicator(&self, _graph: &Graph, _args: &[Expr]) -> bool {
        true
    }
}

impl Scalar for Lt {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        let [a, b] = same_type(builder, args);
        builder.binary(Binary::Lt, a, b)
    }
}

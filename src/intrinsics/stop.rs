//! The argument itself, held constant by differentiation.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use crate::loops::Reg;
use crate::loops::build::ScalarBuilder;
use crate::sym::graph::Style;
use crate::sym::{Expr, Function, Graph};

pub(super) struct Stop;

impl Elementwise for Stop {
    const NAME: &'static str = "stop";
    const ARGS: &'static [&'static str] = &["x"];
    const TAKES: &'static [Kind] = &[Kind::Number];
    const IS_HELD: bool = true;

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Stop)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Stop, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        args[0]
    }
}

impl Function for Stop {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        1
    }

    fn style(&self) -> Style {
        Style::Itself
    }

    fn eval(&self, args: &[f64]) -> f64 {
        args[0]
    }

    fn derivative(&self, graph: &mut Graph, _i: usize, _args: &[Expr]) -> Expr {
        graph.number(0.0)
    }
}

impl Scalar for Stop {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        let _ = &builder;
        args[0]
    }
}

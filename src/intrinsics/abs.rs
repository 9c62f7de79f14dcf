//! Magnitude; its derivative at 0 is 0.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use super::gt::Gt;
use super::lt::Lt;
use super::select::Where;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Reg, Unary};
use crate::sym::graph::Style;
use crate::sym::{Expr, Function, Graph};

pub(super) struct Abs;

impl Elementwise for Abs {
    const NAME: &'static str = "abs";
    const ARGS: &'static [&'static str] = &["x"];
    const TAKES: &'static [Kind] = &[Kind::Number];
    const POINTS: &'static [f64] = &[0.0, 1.0, -1.0];

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Abs)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Abs, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        if args[0] < 0.0 { -args[0] } else { args[0] + 0.0 }
    }
}

impl Function for Abs {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        1
    }

    fn style(&self) -> Style {
        Style::Bars
    }

    fn eval(&self, args: &[f64]) -> f64 {
        args[0].abs()
    }

    fn derivative(&self, graph: &mut Graph, _i: usize, args: &[Expr]) -> Expr {
        let (zero, one) = (graph.number(0.0), graph.number(1.0));
        let positive = graph.apply(&Gt, &[args[0], zero]);
        let negative = graph.apply(&Lt, &[args[0], zero]);
        let above = graph.apply(&Where, &[positive, one, zero]);
        let below = graph.apply(&Where, &[negative, one, zero]);
        graph.sub(above, below)
    }

    fn is_nonnegative(&self) -> bool {
        true
    }
}

impl Scalar for Abs {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        builder.unary(Unary::Abs, args[0])
    }
}

//! Largest whole number not above; its derivative is 0 everywhere.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use crate::loops::build::ScalarBuilder;
use crate::loops::{Reg, Unary};
use crate::sym::{Expr, Function, Graph};

pub(super) struct Floor;

impl Elementwise for Floor {
    const NAME: &'static str = "floor";
    const ARGS: &'static [&'static str] = &["x"];
    const TAKES: &'static [Kind] = &[Kind::Number];
    const POINTS: &'static [f64] = &[0.0, 1.0, -1.0, 2.5];

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Floor)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Floor, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        args[0] - args[0].rem_euclid(1.0)
    }
}

impl Function for Floor {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        1
    }

    fn eval(&self, args: &[f64]) -> f64 {
        args[0].floor()
    }

    fn derivative(&self, graph: &mut Graph, _i: usize, _args: &[Expr]) -> Expr {
        graph.number(0.0)
    }
}

impl Scalar for Floor {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        builder.unary(Unary::Floor, args[0])
    }
}

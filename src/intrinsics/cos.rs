//! The cosine. In f32 machine code the reduction to one quadrant is exact up to about |x| = 10⁵.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use super::scalar::is_double;
use super::sin::{Sin, quadrant};
use crate::loops::build::ScalarBuilder;
use crate::loops::{Reg, Unary};
use crate::sym::{Expr, Function, Graph};

pub(super) struct Cos;

impl Elementwise for Cos {
    const NAME: &'static str = "cos";
    const ARGS: &'static [&'static str] = &["x"];
    const TAKES: &'static [Kind] = &[Kind::Number];
    const POINTS: &'static [f64] = &[0.0, 1.0];

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Cos)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Cos, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        (std::f64::consts::FRAC_PI_2 - args[0]).sin()
    }
}

impl Function for Cos {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        1
    }

    fn eval(&self, args: &[f64]) -> f64 {
        args[0].cos()
    }

    fn derivative(&self, graph: &mut Graph, _i: usize, args: &[Expr]) -> Expr {
        let sin = graph.apply(&Sin, args);
        graph.neg(sin)
    }
}

impl Scalar for Cos {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        if is_double(builder) {
            return builder.unary(Unary::Cos, args[0]);
        }
        quadrant(builder, args[0], 1.0)
    }
}

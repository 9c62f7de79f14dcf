//! log(1 + x), accurate for small x.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use super::log::Log;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg};
use crate::sym::graph::Style;
use crate::sym::{Expr, Function, Graph};

pub(super) struct Log1p;

impl Elementwise for Log1p {
    const NAME: &'static str = "log1p";
    const ARGS: &'static [&'static str] = &["x"];
    const TAKES: &'static [Kind] = &[Kind::Number];
    const RANGE: (f64, f64) = (-0.8, 4.0);
    const POINTS: &'static [f64] = &[0.0, 1e-9];

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Log1p)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Log1p, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        2.0 * (args[0] / (2.0 + args[0])).atanh()
    }
}

impl Function for Log1p {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        1
    }

    fn style(&self) -> Style {
        Style::OnePlus("log")
    }

    fn eval(&self, args: &[f64]) -> f64 {
        args[0].ln_1p()
    }

    fn derivative(&self, graph: &mut Graph, _i: usize, args: &[Expr]) -> Expr {
        let one = graph.number(1.0);
        let sum = graph.add(&[one, args[0]]);
        graph.powf(sum, -1.0)
    }
}

impl Scalar for Log1p {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        log1p(builder, args[0])
    }
}

/// log u + (x − (u − 1))/u with u = 1 + x rounded: what rounding lost is put back to first order.
fn log1p(builder: &mut ScalarBuilder, x: Reg) -> Reg {
    let (zero, one, large) = (builder.number(0.0), builder.number(1.0), builder.number(1e18));
    let u = builder.add(x, one);
    let log = Log.lower(builder, &[u]);
    let rounded = builder.sub(u, one);
    let lost = builder.sub(x, rounded);
    let correction = builder.div(lost, u);
    let inside = builder.binary(Binary::Lt, zero, u);
    let below = builder.binary(Binary::Lt, x, large);
    let matters = builder.binary(Binary::And, inside, below);
    let correction = builder.select(matters, correction, zero);
    builder.add(log, correction)
}

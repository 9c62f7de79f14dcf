//! Whether at least one condition holds.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg};
use crate::sym::graph::Style;
use crate::sym::{Expr, Function, Graph};

pub(super) struct Or;

impl Elementwise for Or {
    const NAME: &'static str = "or";
    const OPERATOR: Option<&'static str> = Some("or");
    const ARGS: &'static [&'static str] = &["a", "b"];
    const TAKES: &'static [Kind] = &[Kind::Condition, Kind::Condition];
    const GIVES: Kind = Kind::Condition;

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Or)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Or, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        f64::from(u8::from(args[0] != 0.0 || args[1] != 0.0))
    }
}

impl Function for Or {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        2
    }

    fn style(&self) -> Style {
        Style::Infix("∨")
    }

    fn eval(&self, args: &[f64]) -> f64 {
        args[0].max(args[1])
    }

    fn derivative(&self, graph: &mut Graph, _i: usize, _args: &[Expr]) -> Expr {
        graph.number(0.0)
    }

    fn is_indicator(&self, _graph: &Graph, _args: &[Expr]) -> bool {
        true
    }

    fn simplify(&self, graph: &mut Graph, args: &[Expr]) -> Option<(&'static str, Expr)> {
        for (one, other) in [(args[0], args[1]), (args[1], args[0])] {
            match graph.as_number(one) {
                Some(0.0) => return Some(("false or c = c", other)),
                Some(_) => return Some(("true or c = true", one)),
                None => (),
            }
        }
        (args[0] == args[1]).then_some(("c or c = c", args[0]))
    }
}

impl Scalar for Or {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        builder.binary(Binary::Or, args[0], args[1])
    }
}

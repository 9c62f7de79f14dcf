//! Whether both conditions hold.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg};
use crate::sym::graph::Style;
use crate::sym::{Expr, Function, Graph};

pub(crate) struct And;

impl Elementwise for And {
    const NAME: &'static str = "and";
    const OPERATOR: Option<&'static str> = Some("and");
    const ARGS: &'static [&'static str] = &["a", "b"];
    const TAKES: &'static [Kind] = &[Kind::Condition, Kind::Condition];
    const GIVES: Kind = Kind::Condition;

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&And)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&And, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        f64::from(u8::from(args[0] != 0.0 && args[1] != 0.0))
    }
}

impl Function for And {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        2
    }

    fn style(&self) -> Style {
        Style::Infix("∧")
    }

    fn eval(&self, args: &[f64]) -> f64 {
        args[0] * args[1]
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
                Some(0.0) => return Some(("false and c = false", one)),
                Some(_) => return Some(("true and c = c", other)),
                None => (),
            }
        }
        (args[0] == args[1]).then_some(("c and c = c", args[0]))
    }
}

impl Scalar for And {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        builder.binary(Binary::And, args[0], args[1])
    }
}

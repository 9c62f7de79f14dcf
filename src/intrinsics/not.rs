//! Whether the condition does not hold.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use crate::loops::build::ScalarBuilder;
use crate::loops::{Reg, Unary};
use crate::sym::graph::Style;
use crate::sym::{Expr, Function, Graph, Node};

pub(super) struct Not;

impl Elementwise for Not {
    const NAME: &'static str = "not";
    const OPERATOR: Option<&'static str> = Some("not");
    const ARGS: &'static [&'static str] = &["a"];
    const TAKES: &'static [Kind] = &[Kind::Condition];
    const GIVES: Kind = Kind::Condition;

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Not)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Not, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        f64::from(u8::from(args[0] == 0.0))
    }
}

impl Function for Not {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        1
    }

    fn style(&self) -> Style {
        Style::Around("¬(", ")")
    }

    fn eval(&self, args: &[f64]) -> f64 {
        1.0 - args[0]
    }

    fn derivative(&self, graph: &mut Graph, _i: usize, _args: &[Expr]) -> Expr {
        graph.number(0.0)
    }

    fn is_indicator(&self, _graph: &Graph, _args: &[Expr]) -> bool {
        true
    }

    fn simplify(&self, graph: &mut Graph, args: &[Expr]) -> Option<(&'static str, Expr)> {
        match graph.node(args[0]) {
            Node::Apply(function, inner) if function.0.name() == Self::NAME => {
                Some(("not not c = c", inner[0]))
            }
            _ => None,
        }
    }
}

impl Scalar for Not {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        builder.unary(Unary::Not, args[0])
    }
}

//! `where(condition, a, b)`: a where the condition holds, b elsewhere.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use crate::loops::Reg;
use crate::loops::build::ScalarBuilder;
use crate::sym::graph::Style;
use crate::sym::{Expr, Function, Graph};

pub(crate) struct Where;

impl Elementwise for Where {
    const NAME: &'static str = "where";
    const ARGS: &'static [&'static str] = &["condition", "a", "b"];
    const TAKES: &'static [Kind] = &[Kind::Condition, Kind::Number, Kind::Number];

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Where)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Where, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        [args[2], args[1]][usize::from(args[0] == 1.0)]
    }
}

impl Function for Where {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        3
    }

    fn style(&self) -> Style {
        Style::Choice
    }

    fn eval(&self, args: &[f64]) -> f64 {
        if args[0] != 0.0 { args[1] } else { args[2] }
    }

    fn derivative(&self, graph: &mut Graph, i: usize, args: &[Expr]) -> Expr {
        let [one, zero] = [graph.number(1.0), graph.number(0.0)];
        match i {
            0 => zero,
            1 => graph.apply(&Where, &[args[0], one, zero]),
            _ => graph.apply(&Where, &[args[0], zero, one]),
        }
    }

    fn simplify(&self, graph: &mut Graph, args: &[Expr]) -> Option<(&'static str, Expr)> {
        if args[1] == args[2] {
            return Some(("where(c, x, x) = x", args[1]));
        }
        match graph.as_number(args[0])? {
            0.0 => Some(("where(false, x, y) = y", args[2])),
            _ => Some(("where(true, x, y) = x", args[1])),
        }
    }

    fn is_indicator(&self, graph: &Graph, args: &[Expr]) -> bool {
        args[1..].iter().all(|&arg| matches!(graph.as_number(arg), Some(0.0 | 1.0)))
    }
}

impl Scalar for Where {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        let float = builder.float_type();
        let (then, otherwise) = (builder.convert(args[1], float), builder.convert(args[2], float));
        builder.select(args[0], then, otherwise)
    }
}

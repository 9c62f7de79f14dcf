//! Whether both conditions hold.

use super::elementwise::Kind;
use super::predicate::Predicate;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg};
use crate::sym::graph::Style;
use crate::sym::{Expr, Graph};

pub(crate) struct And;

impl Predicate for And {
    const SELF: &'static Self = &And;
    const NAME: &'static str = "and";
    const OPERATOR: &'static str = "and";
    const STYLE: Style = Style::Infix("∧");
    const TAKES: &'static [Kind] = &[Kind::Condition, Kind::Condition];

    fn holds(args: &[f64]) -> bool {
        args[0] != 0.0 && args[1] != 0.0
    }

    fn code(builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        builder.binary(Binary::And, args[0], args[1])
    }

    fn identity(graph: &mut Graph, args: &[Expr]) -> Option<(&'static str, Expr)> {
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

//! Whether at least one condition holds.

use super::elementwise::Kind;
use super::predicate::Predicate;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg};
use crate::sym::graph::Style;
use crate::sym::{Expr, Graph};

pub(super) struct Or;

impl Predicate for Or {
    const SELF: &'static Self = &Or;
    const NAME: &'static str = "or";
    const OPERATOR: &'static str = "or";
    const STYLE: Style = Style::Infix("∨");
    const TAKES: &'static [Kind] = &[Kind::Condition, Kind::Condition];

    fn holds(args: &[f64]) -> bool {
        args[0] != 0.0 || args[1] != 0.0
    }

    fn code(builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        builder.binary(Binary::Or, args[0], args[1])
    }

    fn identity(graph: &mut Graph, args: &[Expr]) -> Option<(&'static str, Expr)> {
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

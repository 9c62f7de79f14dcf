//! Whether the condition does not hold.

use super::elementwise::Kind;
use super::predicate::Predicate;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Reg, Unary};
use crate::sym::graph::Style;
use crate::sym::{Expr, Graph, Node};

pub(super) struct Not;

impl Predicate for Not {
    const SELF: &'static Self = &Not;
    const NAME: &'static str = "not";
    const OPERATOR: &'static str = "not";
    const STYLE: Style = Style::Not;
    const ARGS: &'static [&'static str] = &["a"];
    const TAKES: &'static [Kind] = &[Kind::Condition];

    fn holds(args: &[f64]) -> bool {
        args[0] == 0.0
    }

    fn code(builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        builder.unary(Unary::Not, args[0])
    }

    fn identity(graph: &mut Graph, args: &[Expr]) -> Option<(&'static str, Expr)> {
        match graph.node(args[0]) {
            Node::Apply(function, inner) if function.0.name() == <Self as Predicate>::NAME => {
                Some(("not not c = c", inner[0]))
            }
            _ => None,
        }
    }
}

//! Whether a ≠ b; true for NaN.

use super::predicate::Predicate;
use super::scalar::same_type;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg, Unary};
use crate::sym::graph::Style;

pub(super) struct Ne;

impl Predicate for Ne {
    const SELF: &'static Self = &Ne;
    const NAME: &'static str = "ne";
    const OPERATOR: &'static str = "!=";
    const STYLE: Style = Style::Infix("≠");

    fn holds(args: &[f64]) -> bool {
        args[0] != args[1]
    }

    fn code(builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        let [a, b] = same_type(builder, args);
        let equal = builder.binary(Binary::Eq, a, b);
        builder.unary(Unary::Not, equal)
    }
}

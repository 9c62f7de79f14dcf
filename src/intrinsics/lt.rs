//! Whether a < b; false for NaN.

use super::predicate::Predicate;
use super::scalar::same_type;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg};
use crate::sym::graph::Style;

pub(crate) struct Lt;

impl Predicate for Lt {
    const SELF: &'static Self = &Lt;
    const NAME: &'static str = "lt";
    const OPERATOR: &'static str = "<";
    const STYLE: Style = Style::Infix("<");

    fn holds(args: &[f64]) -> bool {
        args[0] < args[1]
    }

    fn code(builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        let [a, b] = same_type(builder, args);
        builder.binary(Binary::Lt, a, b)
    }
}

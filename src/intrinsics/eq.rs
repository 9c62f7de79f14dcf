//! Whether a = b; false for NaN.

use super::predicate::Predicate;
use super::scalar::same_type;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg};
use crate::sym::graph::Style;

pub(crate) struct Eq;

impl Predicate for Eq {
    const SELF: &'static Self = &Eq;
    const NAME: &'static str = "eq";
    const OPERATOR: &'static str = "==";
    const STYLE: Style = Style::Infix("=");

    fn holds(args: &[f64]) -> bool {
        args[0] == args[1]
    }

    fn code(builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        let [a, b] = same_type(builder, args);
        builder.binary(Binary::Eq, a, b)
    }
}

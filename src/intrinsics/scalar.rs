//! Small machine idioms that several entrywise functions share.

use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg, Ty};
use crate::sym::{Expr, Graph, Node};

/// Two numbers in one type: integers (positions and labels) stay so among themselves, otherwise the builder's float.
pub(super) fn same_type(builder: &mut ScalarBuilder, args: &[Reg]) -> [Reg; 2] {
    if args.iter().all(|&arg| builder.type_of(arg) == Ty::I32) {
        return [args[0], args[1]];
    }
    let float = builder.float_type();
    [builder.convert(args[0], float), builder.convert(args[1], float)]
}

/// Whether formulas are computed in f64, where the C library serves.
pub(super) fn is_double(builder: &ScalarBuilder) -> bool {
    builder.float_type() == Ty::F64
}

/// `a` with the sign of `x` where `a` is not negative: −a for negative x.
pub(super) fn with_sign(builder: &mut ScalarBuilder, a: Reg, x: Reg) -> Reg {
    let zero = builder.number(0.0);
    let negative = builder.binary(Binary::Lt, x, zero);
    let minus = builder.sub(zero, a);
    builder.select(negative, minus, a)
}

/// x where `expr` is the function `name` of x.
pub(super) fn inverse(graph: &Graph, expr: Expr, name: &str) -> Option<Expr> {
    match graph.node(expr) {
        Node::Apply(function, args) if function.0.name() == name => Some(args[0]),
        _ => None,
    }
}

//! Entrywise power. A negative base has a power only for whole exponents.
//!
//! An exponent that may be trained, or depends on data, is written as exp(exponent · log base), whose derivative
//! follows; numbers, hyper-parameters and step counts stay exponents.

use std::collections::HashSet;

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use super::exp::Exp;
use super::log::Log;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg, Ty, Unary};
use crate::sym::{Expr, Graph, Node, Storage};

pub(super) struct Pow;

impl Elementwise for Pow {
    const NAME: &'static str = "pow";
    const OPERATOR: Option<&'static str> = Some("^");
    const ARGS: &'static [&'static str] = &["base", "exponent"];
    const TAKES: &'static [Kind] = &[Kind::Number, Kind::Number];
    const RANGE: (f64, f64) = (0.2, 3.0);
    const POINTS: &'static [f64] = &[1.0, 2.0];

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        if !depends_on_data(graph, args[1]) {
            return graph.pow(args[0], args[1]);
        }
        let log = graph.apply(&Log, &[args[0]]);
        let product = graph.mul(&[args[1], log]);
        graph.apply(&Exp, &[product])
    }

    fn at(&self, args: &[f64]) -> f64 {
        args[0].powf(args[1])
    }
}

/// Whether any symbol but scalars of the schedule and the optimizer occurs in it.
fn depends_on_data(graph: &Graph, expr: Expr) -> bool {
    let (mut open, mut seen) = (vec![expr], HashSet::new());
    while let Some(expr) = open.pop() {
        match graph.node(expr) {
            Node::Symbol(symbol) if graph.symbol_info(*symbol).storage == Storage::Float => return true,
            node if seen.insert(expr) => open.extend(node.args()),
            _ => (),
        }
    }
    false
}

/// base^exponent in machine operations, for exponents that are not known. In f64 by the library; in f32 by
/// exp(y·log |x|) with the sign of whole powers.
pub fn lower(builder: &mut ScalarBuilder, base: Reg, exponent: Reg) -> Reg {
    if builder.float_type() == Ty::F64 {
        return builder.binary(Binary::Pow, base, exponent);
    }
    let size = builder.unary(Unary::Abs, base);
    let log = Log.lower(builder, &[size]);
    let scaled = builder.mul(exponent, log);
    let power = Exp.lower(builder, &[scaled]);
    let (zero, half, one, none) =
        (builder.number(0.0), builder.number(0.5), builder.number(1.0), builder.number(f64::NAN));
    let halved = builder.mul(exponent, half);
    let (whole, even) = (is_whole(builder, exponent), is_whole(builder, halved));
    let negated = builder.unary(Unary::Neg, power);
    let odd = builder.select(whole, negated, none);
    let mirrored = builder.select(even, power, odd);
    let below = builder.binary(Binary::Lt, base, zero);
    let signed = builder.select(below, mirrored, power);
    let trivial = builder.binary(Binary::Eq, exponent, zero);
    builder.select(trivial, one, signed)
}

fn is_whole(builder: &mut ScalarBuilder, value: Reg) -> Reg {
    let floor = builder.unary(Unary::Floor, value);
    builder.binary(Binary::Eq, floor, value)
}

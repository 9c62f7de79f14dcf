//! The exponential function.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use super::log::Log;
use super::scalar::{inverse, is_double};
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg, Ty, Unary};
use crate::sym::{Expr, Function, Graph};

pub(super) struct Exp;

impl Elementwise for Exp {
    const NAME: &'static str = "exp";
    const ARGS: &'static [&'static str] = &["x"];
    const TAKES: &'static [Kind] = &[Kind::Number];
    const POINTS: &'static [f64] = &[0.0, 1.0, -1.0];

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Exp)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Exp, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        std::f64::consts::E.powf(args[0])
    }
}

impl Function for Exp {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        1
    }

    fn is_exponential(&self) -> bool {
        true
    }

    fn eval(&self, args: &[f64]) -> f64 {
        args[0].exp()
    }

    fn derivative(&self, graph: &mut Graph, _i: usize, args: &[Expr]) -> Expr {
        graph.apply(&Exp, args)
    }

    fn simplify(&self, graph: &mut Graph, args: &[Expr]) -> Option<(&'static str, Expr)> {
        inverse(graph, args[0], Log.name()).map(|x| ("exp(log x) = x", x))
    }

    fn is_nonnegative(&self) -> bool {
        true
    }
}

impl Scalar for Exp {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        if is_double(builder) {
            return builder.unary(Unary::Exp, args[0]);
        }
        exp(builder, args[0])
    }
}

/// f32: x = n·log 2 + r with |r| ≤ ½ log 2, a polynomial for exp r, and 2ⁿ put into the exponent bits in two halves, so
/// that overflow and gradual underflow come out right. NaN stays NaN.
fn exp(builder: &mut ScalarBuilder, x: Reg) -> Reg {
    // Beyond these bounds the result is 0 or ∞ anyway.
    let (lowest, highest) = (builder.number(-105.0), builder.number(89.5));
    let x = builder.binary(Binary::Max, x, lowest);
    let x = builder.binary(Binary::Min, x, highest);
    let n = scaled_round(builder, x);
    let (hi, lo) = (builder.number(-0.693_145_751_953_125), builder.number(-1.428_606_820_309_417_3e-6));
    let r = builder.mul_add(n, hi, x);
    let r = builder.mul_add(n, lo, r);
    let value = builder.polynomial(r, &EXP);
    // NaN would not convert to an integer.
    let floor = builder.number(-160.0);
    let n = builder.binary(Binary::Max, floor, n);
    let half = builder.number(0.5);
    let first = builder.mul(n, half);
    let first = builder.unary(Unary::Floor, first);
    let second = builder.sub(n, first);
    let (first, second) = (power_of_two(builder, first), power_of_two(builder, second));
    let value = builder.mul(value, first);
    builder.mul(value, second)
}

fn scaled_round(builder: &mut ScalarBuilder, x: Reg) -> Reg {
    let scale = builder.number(std::f64::consts::LOG2_E);
    let scaled = builder.mul(x, scale);
    builder.unary(Unary::Round, scaled)
}

/// 2ⁿ for a whole f32 n between −126 and 127.
fn power_of_two(builder: &mut ScalarBuilder, n: Reg) -> Reg {
    let n = builder.unary(Unary::ToInt, n);
    let (bias, shift) = (builder.int(127), builder.int(23));
    let biased = builder.add(n, bias);
    let bits = builder.binary(Binary::Shl, biased, shift);
    builder.bits(bits, Ty::F32)
}

/// exp on |r| ≤ ½ log 2, relative error 3·10⁻¹⁰; highest power first. Fitted at Chebyshev nodes.
const EXP: [f64; 8] = [
    0.0001991145667566042,
    0.0013952079357072626,
    0.008333277531653737,
    0.04166616421934159,
    0.16666666808592115,
    0.5000000127797494,
    0.9999999999943607,
    1.0,
];

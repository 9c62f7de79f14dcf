//! The natural logarithm: −∞ at 0, NaN below.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use super::exp::Exp;
use super::scalar::{inverse, is_double};
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg, Ty, Unary};
use crate::sym::{Expr, Function, Graph};

pub(super) struct Log;

impl Elementwise for Log {
    const NAME: &'static str = "log";
    const ARGS: &'static [&'static str] = &["x"];
    const TAKES: &'static [Kind] = &[Kind::Number];
    const RANGE: (f64, f64) = (0.1, 4.0);
    const POINTS: &'static [f64] = &[1.0];

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Log)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Log, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        args[0].log2() * std::f64::consts::LN_2
    }
}

impl Function for Log {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        1
    }

    fn eval(&self, args: &[f64]) -> f64 {
        args[0].ln()
    }

    fn derivative(&self, graph: &mut Graph, _i: usize, args: &[Expr]) -> Expr {
        graph.powf(args[0], -1.0)
    }

    fn simplify(&self, graph: &mut Graph, args: &[Expr]) -> Option<(&'static str, Expr)> {
        inverse(graph, args[0], Exp.name()).map(|x| ("log(exp x) = x", x))
    }
}

impl Scalar for Log {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        if is_double(builder) {
            return builder.unary(Unary::Log, args[0]);
        }
        log(builder, args[0])
    }
}

/// f32: x = m·2ᵉ with √½ ≤ m < √2 by the exponent bits, and log m = f − f²/2 + f³·P(f) with f = m − 1.
fn log(builder: &mut ScalarBuilder, x: Reg) -> Reg {
    let (normal, lift) = lift_subnormal(builder, x);
    let bits = builder.bits(normal, Ty::I32);
    // Exponents counted from √½: the offset makes the fraction's carry decide.
    let (offset, shift, bias) = (builder.int(0x004A_FB0D), builder.int(23), builder.int(127));
    let shifted = builder.add(bits, offset);
    let exponent = builder.binary(Binary::Shr, shifted, shift);
    let exponent = builder.sub(exponent, bias);
    let exponent_bits = builder.binary(Binary::Shl, exponent, shift);
    let mantissa = builder.sub(bits, exponent_bits);
    let mantissa = builder.bits(mantissa, Ty::F32);
    let one = builder.number(1.0);
    let f = builder.sub(mantissa, one);
    let e = builder.convert(exponent, Ty::F32);
    let e = builder.add(e, lift);
    let value = combine(builder, f, e);
    special(builder, x, value)
}

/// Numbers below the normal range are multiplied by 2²³; the second value is what the exponent loses by it.
fn lift_subnormal(builder: &mut ScalarBuilder, x: Reg) -> (Reg, Reg) {
    let (least, scale) = (builder.number(f64::from(f32::MIN_POSITIVE)), builder.number(8_388_608.0));
    let (minus, zero) = (builder.number(-23.0), builder.number(0.0));
    let small = builder.binary(Binary::Lt, x, least);
    let scaled = builder.mul(x, scale);
    (builder.select(small, scaled, x), builder.select(small, minus, zero))
}

/// log(1 + f) + e·log 2.
fn combine(builder: &mut ScalarBuilder, f: Reg, e: Reg) -> Reg {
    let square = builder.mul(f, f);
    let cube = builder.mul(square, f);
    let tail = builder.polynomial(f, &LOG);
    let (hi, lo) = (builder.number(0.693_145_751_953_125), builder.number(1.428_606_820_309_417_3e-6));
    let small = builder.mul(e, lo);
    let small = builder.mul_add(tail, cube, small);
    let minus_half = builder.number(-0.5);
    let small = builder.mul_add(square, minus_half, small);
    let sum = builder.add(f, small);
    builder.mul_add(e, hi, sum)
}

/// −∞ at 0, NaN below, ∞ and NaN as they are.
fn special(builder: &mut ScalarBuilder, x: Reg, value: Reg) -> Reg {
    let (zero, infinity) = (builder.number(0.0), builder.number(f64::INFINITY));
    let (minus, nan) = (builder.number(f64::NEG_INFINITY), builder.number(f64::NAN));
    let finite = builder.binary(Binary::Lt, x, infinity);
    let value = builder.select(finite, value, x);
    let is_zero = builder.binary(Binary::Eq, x, zero);
    let value = builder.select(is_zero, minus, value);
    let negative = builder.binary(Binary::Lt, x, zero);
    builder.select(negative, nan, value)
}

/// (log(1+f) − f + f²/2)/f³ on √½ − 1 ≤ f ≤ √2 − 1, error 5·10⁻⁹; highest power first. Fitted at Chebyshev nodes.
const LOG: [f64; 10] = [
    -0.06201500119018334,
    0.10530864738938345,
    -0.10646191638199634,
    0.1103778335905502,
    -0.12450743320911725,
    0.14286524547786641,
    -0.16668001523071926,
    0.20000010039684973,
    -0.24999990275042186,
    0.33333333281199246,
];

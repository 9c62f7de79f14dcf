//! The hyperbolic tangent.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use super::exp::Exp;
use super::scalar::{is_double, with_sign};
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg, Unary};
use crate::sym::{Expr, Function, Graph};

pub(super) struct Tanh;

impl Elementwise for Tanh {
    const NAME: &'static str = "tanh";
    const ARGS: &'static [&'static str] = &["x"];
    const TAKES: &'static [Kind] = &[Kind::Number];
    const POINTS: &'static [f64] = &[0.0, 1.0, 0.625, -12.0];

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Tanh)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Tanh, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        1.0 - 2.0 / ((2.0 * args[0]).exp() + 1.0)
    }
}

impl Function for Tanh {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        1
    }

    fn eval(&self, args: &[f64]) -> f64 {
        args[0].tanh()
    }

    fn derivative(&self, graph: &mut Graph, _i: usize, args: &[Expr]) -> Expr {
        let value = graph.apply(&Tanh, args);
        let square = graph.square(value);
        let one = graph.number(1.0);
        graph.sub(one, square)
    }
}

impl Scalar for Tanh {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        tanh(builder, args[0])
    }
}

/// 1 − 2/(exp 2|x| + 1) with the sign of x; near 0 a polynomial in x², where that difference would cancel.
fn tanh(builder: &mut ScalarBuilder, x: Reg) -> Reg {
    let (one, two) = (builder.number(1.0), builder.number(2.0));
    let magnitude = builder.unary(Unary::Abs, x);
    let twice = builder.add(magnitude, magnitude);
    let exp = Exp.lower(builder, &[twice]);
    let below = builder.add(exp, one);
    let quotient = builder.div(two, below);
    let far = builder.sub(one, quotient);
    let far = with_sign(builder, far, x);
    let square = builder.mul(x, x);
    let tail =
        if is_double(builder) { small_double(builder, square) } else { builder.polynomial(square, &TANH) };
    let cube = builder.mul(square, x);
    let near = builder.mul_add(tail, cube, x);
    let limit = builder.number(if is_double(builder) { 0.1 } else { 0.625 });
    let small = builder.binary(Binary::Lt, magnitude, limit);
    builder.select(small, near, far)
}

/// (tanh x − x)/x³ for x² < 0.01: the Taylor series, error below 10⁻¹⁵.
fn small_double(builder: &mut ScalarBuilder, square: Reg) -> Reg {
    const SERIES: [f64; 7] = [
        -929_569.0 / 638_512_875.0,
        21_844.0 / 6_081_075.0,
        -1_382.0 / 155_925.0,
        62.0 / 2_835.0,
        -17.0 / 315.0,
        2.0 / 15.0,
        -1.0 / 3.0,
    ];
    builder.polynomial(square, &SERIES)
}

/// (tanh x − x)/x³ by s = x² ≤ 0.4, error 2·10⁻⁹; highest power first. Fitted at Chebyshev nodes.
const TANH: [f64; 6] = [
    0.002269501684162354,
    -0.008323187058278775,
    0.021762502907359264,
    -0.0539584616274522,
    0.13333300146188914,
    -0.33333333149374506,
];

//! The sine. In f32 machine code the reduction to one quadrant is exact up to about |x| = 10⁵.

use super::Scalar;
use super::cos::Cos;
use super::elementwise::{Elementwise, Kind};
use super::scalar::is_double;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg, Unary};
use crate::sym::{Expr, Function, Graph};

pub(super) struct Sin;

impl Elementwise for Sin {
    const NAME: &'static str = "sin";
    const ARGS: &'static [&'static str] = &["x"];
    const TAKES: &'static [Kind] = &[Kind::Number];
    const POINTS: &'static [f64] = &[0.0, 1.0];

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Sin)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Sin, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        (std::f64::consts::FRAC_PI_2 - args[0]).cos()
    }
}

impl Function for Sin {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        1
    }

    fn eval(&self, args: &[f64]) -> f64 {
        args[0].sin()
    }

    fn derivative(&self, graph: &mut Graph, _i: usize, args: &[Expr]) -> Expr {
        graph.apply(&Cos, args)
    }
}

impl Scalar for Sin {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        if is_double(builder) {
            return builder.unary(Unary::Sin, args[0]);
        }
        quadrant(builder, args[0], 0.0)
    }
}

/// f32: sin(x + shift·π/2). x = q·π/2 + r with |r| ≤ π/4, π/2 in three parts; the quadrant q + shift chooses between
/// ± sin r and ± cos r.
pub(super) fn quadrant(builder: &mut ScalarBuilder, x: Reg, shift: f64) -> Reg {
    let per = builder.number(std::f64::consts::FRAC_2_PI);
    let turns = builder.mul(x, per);
    let q = builder.unary(Unary::Round, turns);
    let mut r = x;
    for part in [-1.570_796_370_506_286_6, 4.371_138_828_673_793e-8, 1.715_124_510_005_881_9e-15] {
        let part = builder.number(part);
        r = builder.mul_add(q, part, r);
    }
    let (shift, quarter, four) = (builder.number(shift), builder.number(0.25), builder.number(-4.0));
    let place = builder.add(q, shift);
    let rounds = builder.mul(place, quarter);
    let rounds = builder.unary(Unary::Floor, rounds);
    let place = builder.mul_add(rounds, four, place);
    let (sin, cos) = (small_sin(builder, r), small_cos(builder, r));
    let (zero, one, two, three) =
        (builder.number(0.0), builder.number(1.0), builder.number(2.0), builder.number(3.0));
    let (second, fourth) = (builder.binary(Binary::Eq, place, one), builder.binary(Binary::Eq, place, three));
    let odd = builder.binary(Binary::Or, second, fourth);
    let value = builder.select(odd, cos, sin);
    let negative = builder.sub(zero, value);
    let upper = builder.binary(Binary::Lt, place, two);
    builder.select(upper, value, negative)
}

/// r + r³·P(r²).
fn small_sin(builder: &mut ScalarBuilder, r: Reg) -> Reg {
    let square = builder.mul(r, r);
    let tail = builder.polynomial(square, &SIN);
    let cube = builder.mul(square, r);
    builder.mul_add(tail, cube, r)
}

/// 1 − r²/2 + r⁴·P(r²).
fn small_cos(builder: &mut ScalarBuilder, r: Reg) -> Reg {
    let square = builder.mul(r, r);
    let tail = builder.polynomial(square, &COS);
    let fourth = builder.mul(square, square);
    let (minus_half, one) = (builder.number(-0.5), builder.number(1.0));
    let head = builder.mul_add(square, minus_half, one);
    builder.mul_add(tail, fourth, head)
}

/// (sin r − r)/r³ by r² on |r| ≤ π/4, error 3·10⁻¹¹; highest power first. Fitted at Chebyshev nodes.
const SIN: [f64; 4] =
    [2.724340926404085e-06, -0.00019840035943066543, 0.00833333177968258, -0.16666666663608304];

/// (cos r − 1 + r²/2)/r⁴ by r² on |r| ≤ π/4, error 3·10⁻¹²; highest power first. Fitted at Chebyshev nodes.
const COS: [f64; 4] =
    [-2.72955202138196e-07, 2.4800557984865608e-05, -0.0013888887592708222, 0.04166666666411509];

//! The error function 2/√π ∫₀ˣ exp(−t²) dt.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use super::exp::Exp;
use super::scalar::{is_double, with_sign};
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg, Unary};
use crate::sym::{Expr, Function, Graph};

pub(super) struct Erf;

impl Elementwise for Erf {
    const NAME: &'static str = "erf";
    const ARGS: &'static [&'static str] = &["x"];
    const TAKES: &'static [Kind] = &[Kind::Number];
    const POINTS: &'static [f64] = &[0.0, 1.0, 0.9, -3.0];

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(&Erf)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(&Erf, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        integral(args[0])
    }
}

impl Function for Erf {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn arity(&self) -> usize {
        1
    }

    fn eval(&self, args: &[f64]) -> f64 {
        libm::erf(args[0])
    }

    fn derivative(&self, graph: &mut Graph, _i: usize, args: &[Expr]) -> Expr {
        let scale = graph.number(std::f64::consts::FRAC_2_SQRT_PI);
        let square = graph.square(args[0]);
        let negative = graph.neg(square);
        let exp = graph.apply(&Exp, &[negative]);
        graph.mul(&[scale, exp])
    }
}

impl Scalar for Erf {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        erf(builder, args[0])
    }
}

/// A polynomial near 0; beyond, 1 − erfc|x| with the sign of x.
fn erf(builder: &mut ScalarBuilder, x: Reg) -> Reg {
    let double = is_double(builder);
    let (one, end) = (builder.number(1.0), builder.number(if double { 6.0 } else { 4.0 }));
    let magnitude = builder.unary(Unary::Abs, x);
    let square = builder.mul(x, x);
    let near = if double { series(builder, x, square) } else { small(builder, x, square) };
    let bounded = builder.binary(Binary::Min, magnitude, end);
    let complement = if double { fraction(builder, bounded) } else { large(builder, bounded) };
    let far = builder.sub(one, complement);
    let far = with_sign(builder, far, x);
    let limit = builder.number(if double { 2.5 } else { 0.92 });
    let is_near = builder.binary(Binary::Lt, magnitude, limit);
    builder.select(is_near, near, far)
}

fn small(builder: &mut ScalarBuilder, x: Reg, square: Reg) -> Reg {
    let value = builder.polynomial(square, &NEAR);
    builder.mul_add(value, x, x)
}

/// erfc by the exponential of a polynomial.
fn large(builder: &mut ScalarBuilder, x: Reg) -> Reg {
    let exponent = builder.polynomial(x, &FAR);
    Exp.lower(builder, &[exponent])
}

/// f64: 2/√π · exp(−x²) · x · Σₙ (2x²)ⁿ/(2n+1)!!, whose terms are all positive.
fn series(builder: &mut ScalarBuilder, x: Reg, square: Reg) -> Reg {
    let mut coefficients = vec![std::f64::consts::FRAC_2_SQRT_PI];
    for n in 1..60 {
        coefficients.push(coefficients[n - 1] * 2.0 / (2 * n + 1) as f64);
    }
    coefficients.reverse();
    let sum = builder.polynomial(square, &coefficients);
    let exp = gauss(builder, square);
    let product = builder.mul(sum, exp);
    builder.mul(product, x)
}

/// f64: erfc x = exp(−x²)/√π / (x + ½/(x + 1/(x + 3/2/(x + …)))), for x ≥ 2.5.
fn fraction(builder: &mut ScalarBuilder, x: Reg) -> Reg {
    let mut below = x;
    for n in (1..60).rev() {
        let numerator = builder.number(0.5 * f64::from(n));
        let quotient = builder.div(numerator, below);
        below = builder.add(x, quotient);
    }
    let square = builder.mul(x, x);
    let exp = gauss(builder, square);
    let scale = builder.number(0.5 * std::f64::consts::FRAC_2_SQRT_PI);
    let above = builder.mul(exp, scale);
    builder.div(above, below)
}

fn gauss(builder: &mut ScalarBuilder, square: Reg) -> Reg {
    let negative = builder.unary(Unary::Neg, square);
    Exp.lower(builder, &[negative])
}

/// erf(x)/x − 1 by x² on |x| ≤ 0.92, error 5·10⁻¹⁰; highest power first. Fitted at Chebyshev nodes.
const NEAR: [f64; 7] = [
    8.35189708074996e-05,
    -0.000813879238574507,
    0.005200729666707884,
    -0.026859297260767107,
    0.11283694149671573,
    -0.3761263368813302,
    0.1283791666383223,
];

/// log erfc x on 0.9 ≤ x ≤ 4, error 4·10⁻⁹; highest power first. Fitted at Chebyshev nodes.
const FAR: [f64; 11] = [
    -5.129404896039071e-08,
    1.224663467779793e-06,
    -1.123030434894678e-05,
    3.221797805709131e-05,
    0.00029173460225340967,
    -0.0039640839089905774,
    0.025015899246182357,
    -0.10841958226154455,
    -0.6330826393283515,
    -1.129683210372156,
    0.0002142085420819855,
];

/// The defining integral, by Simpson's rule.
fn integral(x: f64) -> f64 {
    let end = x.clamp(-7.0, 7.0);
    let steps = 2000;
    let f = |i: usize| (-(end * i as f64 / steps as f64).powi(2)).exp();
    let weight = |i: usize| if i == 0 || i == steps { 1.0 } else { [2.0, 4.0][i % 2] };
    let sum: f64 = (0..=steps).map(|i| weight(i) * f(i)).sum();
    std::f64::consts::FRAC_2_SQRT_PI * sum * end / (3 * steps) as f64
}

//! Powers by the cheapest machine operations.

use crate::intrinsics::pow;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Reg, Unary};

/// Larger whole exponents go through the general power.
const LARGEST_WHOLE: f64 = 64.0;

/// base^exponent for a known exponent: multiplications, square root and division where they do.
pub(super) fn by_number(builder: &mut ScalarBuilder, base: Reg, exponent: f64) -> Reg {
    let doubled = exponent.abs() * 2.0;
    if exponent.abs() > LARGEST_WHOLE || doubled.fract() != 0.0 {
        let exponent = builder.number(exponent);
        return pow::lower(builder, base, exponent);
    }
    let positive = half_steps(builder, base, doubled as u32);
    if exponent >= 0.0 {
        return positive;
    }
    let one = builder.number(1.0);
    builder.div(one, positive)
}

/// base^(halves/2).
fn half_steps(builder: &mut ScalarBuilder, base: Reg, halves: u32) -> Reg {
    let whole = (halves / 2 > 0).then(|| repeated(builder, base, halves / 2));
    let root = (halves % 2 == 1).then(|| builder.unary(Unary::Sqrt, base));
    match (whole, root) {
        (Some(whole), Some(root)) => builder.mul(whole, root),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => builder.number(1.0),
    }
}

/// base^count by squaring, count ≥ 1.
fn repeated(builder: &mut ScalarBuilder, base: Reg, count: u32) -> Reg {
    if count == 1 {
        return base;
    }
    let half = repeated(builder, base, count / 2);
    let square = builder.mul(half, half);
    if count % 2 == 1 { builder.mul(square, base) } else { square }
}

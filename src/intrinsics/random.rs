//! Uniform numbers in (0, 1), fresh at each step: for dropout.

use super::draw::{Draw, Drawing};
use crate::sym::{Expr, Graph};

pub(super) static INTRINSIC: Draw = Draw { name: "random", each_step: true, meaning: &Meaning };

struct Meaning;

impl Drawing for Meaning {
    fn formula(&self, _graph: &mut Graph, [uniform, _]: [Expr; 2]) -> Expr {
        uniform
    }

    fn of(&self, [uniform, _]: [f64; 2]) -> f64 {
        uniform
    }
}

//! Uniform numbers in (0, 1), fixed by the seed: for initializers.

use super::draw::{Draw, Drawing};
use crate::sym::{Expr, Graph};

pub(super) static INTRINSIC: Draw = Draw { name: "uniform01", each_step: false, meaning: &Meaning };

struct Meaning;

impl Drawing for Meaning {
    fn formula(&self, _graph: &mut Graph, [uniform, _]: [Expr; 2]) -> Expr {
        uniform
    }

    fn of(&self, [uniform, _]: [f64; 2]) -> f64 {
        uniform
    }
}

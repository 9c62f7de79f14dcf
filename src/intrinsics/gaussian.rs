//! Standard normal numbers by Box and Muller, √(−2 log u)·cos(2π v), fixed by the seed: for initializers.

use super::cos::Cos;
use super::draw::{Draw, Drawing};
use super::log::Log;
use crate::sym::{Expr, Graph};

pub(super) static INTRINSIC: Draw = Draw { name: "gaussian", each_step: false, meaning: &Meaning };

struct Meaning;

impl Drawing for Meaning {
    fn formula(&self, graph: &mut Graph, [u, v]: [Expr; 2]) -> Expr {
        let log = graph.apply(&Log, &[u]);
        let minus_two = graph.number(-2.0);
        let square = graph.mul(&[minus_two, log]);
        let radius = graph.sqrt(square);
        let turn = graph.number(std::f64::consts::TAU);
        let angle = graph.mul(&[turn, v]);
        let cos = graph.apply(&Cos, &[angle]);
        graph.mul(&[radius, cos])
    }

    fn of(&self, [u, v]: [f64; 2]) -> f64 {
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

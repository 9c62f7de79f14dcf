//! The linear maps of Winograd's F(2, 3) and F(4, 3), after Lavin and Gray, "Fast algorithms for convolutional neural
//! networks" (CVPR 2016, §4), on vectors of numbers. With D, G and L below, and ⊙ entry by entry,
//!
//! y = Lᵀ [(G w) ⊙ (D x)]
//!
//! are two (four) results of a window w of three taps on four (six) inputs x; the same both ways gives those of a window of
//! 3×3, and the adjoint of the whole w's gradient from that of y:
//!
//! ∂w = Gᵀ [(D x) ⊙ (L ∂y)].
//!
//! F(4, 3) evaluates polynomials at 0, ±3/4, ±3/2 and ∞. With these points, whose powers differ little, rounding errors are
//! about half of those at the usual 0, ±1, ±2 and ∞ (Barabasz et al., "Error analysis and improving the accuracy of Winograd
//! convolution for deep neural networks", TOMS 2020, study the choice).

use inkwell::values::InstructionOpcode;

use super::super::emit::{Emitter, Value};
use super::patch::TAPS;
use crate::loops::Ty;

/// What does not exist is zero.
pub type Number<'ctx> = Option<Value<'ctx>>;

/// A linear map between the numbers of a patch along one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {
    /// D: inputs to factors.
    Input,
    /// G: taps to factors.
    Filter,
    /// Gᵀ: products to taps.
    Taps,
    /// L: results to factors.
    Spread,
    /// Lᵀ: products to results.
    Results,
}

/// Points of F(4, 3) beside 0 and ∞: these and their opposites.
const POINTS: [f64; 2] = [0.75, 1.5];

impl Map {
    /// How many numbers go in where a patch gives so many results.
    pub fn arguments(self, results: usize) -> usize {
        match self {
            Map::Input | Map::Taps | Map::Results => results + TAPS - 1,
            Map::Filter => TAPS,
            Map::Spread => results,
        }
    }

    /// Maps the numbers of a side with so many results, 2 or 4.
    pub fn apply<'ctx>(
        self,
        emitter: &Emitter<'ctx>,
        results: usize,
        numbers: &[Number<'ctx>],
    ) -> Vec<Number<'ctx>> {
        let maths = Maths { emitter };
        match (self, results, numbers) {
            (Map::Input, 2, &[a, b, c, d]) => maths.input_2([a, b, c, d]),
            (Map::Filter, 2, &[a, b, c]) => maths.filter_2([a, b, c]),
            (Map::Taps, 2, &[a, b, c, d]) => maths.taps_2([a, b, c, d]),
            (Map::Spread, 2, &[a, b]) => maths.spread_2([a, b]),
            (Map::Results, 2, &[a, b, c, d]) => maths.results_2([a, b, c, d]),
            (Map::Input, 4, &[a, b, c, d, e, f]) => maths.input_4([a, b, c, d, e, f]),
            (Map::Filter, 4, &[a, b, c]) => maths.filter_4([a, b, c]),
            (Map::Taps, 4, &[a, b, c, d, e, f]) => maths.taps_4([a, b, c, d, e, f]),
            (Map::Spread, 4, &[a, b, c, d]) => maths.spread_4([a, b, c, d]),
            (Map::Results, 4, &[a, b, c, d, e, f]) => maths.results_4([a, b, c, d, e, f]),
            _ => unreachable!("{self:?} takes {} numbers for {results} results", self.arguments(results)),
        }
    }
}

/// 1 / Π (p − q) over the other finite points q of F(4, 3): of 0, and of each of [`POINTS`] (and its opposite).
fn weights() -> (f64, [f64; 2]) {
    let [a, b] = POINTS.map(|point| point * point);
    (1.0 / (a * b), [1.0 / (2.0 * a * (a - b)), 1.0 / (2.0 * b * (b - a))])
}

struct Maths<'e, 'ctx> {
    emitter: &'e Emitter<'ctx>,
}

impl<'ctx> Maths<'_, 'ctx> {
    fn input_2(&self, [a, b, c, d]: [Number<'ctx>; 4]) -> Vec<Number<'ctx>> {
        vec![self.minus(a, c), self.plus(b, c), self.minus(c, b), self.minus(b, d)]
    }

    fn filter_2(&self, [a, b, c]: [Number<'ctx>; 3]) -> Vec<Number<'ctx>> {
        let outside = self.plus(a, c);
        vec![a, self.times(self.plus(outside, b), 0.5), self.times(self.minus(outside, b), 0.5), c]
    }

    fn taps_2(&self, [a, b, c, d]: [Number<'ctx>; 4]) -> Vec<Number<'ctx>> {
        let both = self.times(self.plus(b, c), 0.5);
        vec![self.plus(a, both), self.times(self.minus(b, c), 0.5), self.plus(both, d)]
    }

    fn spread_2(&self, [a, b]: [Number<'ctx>; 2]) -> Vec<Number<'ctx>> {
        vec![a, self.plus(a, b), self.minus(a, b), self.minus(None, b)]
    }

    fn results_2(&self, [a, b, c, d]: [Number<'ctx>; 4]) -> Vec<Number<'ctx>> {
        vec![self.plus(a, self.plus(b, c)), self.minus(self.minus(b, c), d)]
    }

    fn input_4(&self, [x0, x1, x2, x3, x4, x5]: [Number<'ctx>; 6]) -> Vec<Number<'ctx>> {
        let [a, b] = POINTS.map(|point| point * point);
        let ends = |low, middle, high| self.add(self.add(high, middle, -a - b), low, a * b);
        // At ±p, whose square's fellow is q²: x4 − q² x2 ± p (x3 − q² x1).
        let pair =
            |fellow: f64, point| self.both(self.add(x4, x2, -fellow), self.add(x3, x1, -fellow), point);
        let ([x, opposite_x], [y, opposite_y]) = (pair(b, POINTS[0]), pair(a, POINTS[1]));
        vec![ends(x0, x2, x4), x, opposite_x, y, opposite_y, ends(x1, x3, x5)]
    }

    fn filter_4(&self, [w0, w1, w2]: [Number<'ctx>; 3]) -> Vec<Number<'ctx>> {
        let (at_zero, at_points) = weights();
        let pair = |number: usize| {
            let (point, weight) = (POINTS[number], at_points[number]);
            self.both(self.times(self.add(w0, w2, point * point), weight), w1, point * weight)
        };
        let ([x, opposite_x], [y, opposite_y]) = (pair(0), pair(1));
        vec![self.times(w0, at_zero), x, opposite_x, y, opposite_y, w2]
    }

    fn taps_4(&self, [zero, a, b, c, d, infinity]: [Number<'ctx>; 6]) -> Vec<Number<'ctx>> {
        let (at_zero, at_points) = weights();
        let power =
            |exponent: i32| [0, 1].map(|number: usize| at_points[number] * POINTS[number].powi(exponent));
        let [sums, differences] = self.folded([a, b, c, d]);
        vec![
            self.add_both(self.times(zero, at_zero), sums, power(0)),
            self.add_both(None, differences, power(1)),
            self.add_both(infinity, sums, power(2)),
        ]
    }

    fn spread_4(&self, [y0, y1, y2, y3]: [Number<'ctx>; 4]) -> Vec<Number<'ctx>> {
        let pair =
            |point: f64| self.both(self.add(y0, y2, point * point), self.add(y1, y3, point * point), point);
        let ([x, opposite_x], [y, opposite_y]) = (pair(POINTS[0]), pair(POINTS[1]));
        vec![y0, x, opposite_x, y, opposite_y, y3]
    }

    fn results_4(&self, [zero, a, b, c, d, infinity]: [Number<'ctx>; 6]) -> Vec<Number<'ctx>> {
        let power = |exponent: i32| POINTS.map(|point| point.powi(exponent));
        let [sums, differences] = self.folded([a, b, c, d]);
        vec![
            self.plus(zero, self.plus(sums[0], sums[1])),
            self.add_both(None, differences, power(1)),
            self.add_both(None, sums, power(2)),
            self.add_both(infinity, differences, power(3)),
        ]
    }

    /// Sums and differences of the numbers of F(4, 3) at each point and its opposite.
    fn folded(&self, [x, opposite_x, y, opposite_y]: [Number<'ctx>; 4]) -> [[Number<'ctx>; 2]; 2] {
        let sums = [self.plus(x, opposite_x), self.plus(y, opposite_y)];
        [sums, [self.minus(x, opposite_x), self.minus(y, opposite_y)]]
    }

    /// even ± factor·odd.
    fn both(&self, even: Number<'ctx>, odd: Number<'ctx>, factor: f64) -> [Number<'ctx>; 2] {
        [self.add(even, odd, factor), self.add(even, odd, -factor)]
    }

    fn add_both(&self, a: Number<'ctx>, more: [Number<'ctx>; 2], factors: [f64; 2]) -> Number<'ctx> {
        self.add(self.add(a, more[0], factors[0]), more[1], factors[1])
    }

    fn plus(&self, a: Number<'ctx>, b: Number<'ctx>) -> Number<'ctx> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.emitter.binop(InstructionOpcode::FAdd, a, b)),
            (a, b) => a.or(b),
        }
    }

    fn minus(&self, a: Number<'ctx>, b: Number<'ctx>) -> Number<'ctx> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.emitter.binop(InstructionOpcode::FSub, a, b)),
            (None, Some(b)) => Some(self.emitter.negate(b)),
            (a, None) => a,
        }
    }

    fn times(&self, a: Number<'ctx>, factor: f64) -> Number<'ctx> {
        a.map(|a| self.emitter.binop(InstructionOpcode::FMul, a, self.constant(factor)))
    }

    /// a + factor·b.
    fn add(&self, a: Number<'ctx>, b: Number<'ctx>, factor: f64) -> Number<'ctx> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.emitter.mul_add(b, self.constant(factor), a)),
            (None, b) => self.times(b, factor),
            (a, None) => a,
        }
    }

    fn constant(&self, value: f64) -> Value<'ctx> {
        self.emitter.splat(self.emitter.float(value, Ty::F32), self.emitter.target.lanes())
    }
}

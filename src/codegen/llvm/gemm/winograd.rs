//! The linear maps of Winograd's F(m, r) on vectors of numbers, after Lavin and Gray, "Fast algorithms for convolutional neural
//! networks" (CVPR 2016, §4), made of the points at which polynomials are evaluated. With D, G and L below, and ⊙ entry by entry,
//!
//! y = Lᵀ [(G w) ⊙ (D x)]
//!
//! are m results of a window w of r taps on the m + r − 1 inputs x that they see; the same both ways gives those of a window of
//! r×r, and the adjoint of the whole w's gradient from that of y:
//!
//! ∂w = Gᵀ [(D x) ⊙ (L ∂y)].
//!
//! For points p (and ∞) L evaluates the polynomial with coefficients y, G the one with coefficients w over Π (p − q) of the other
//! finite points q, and D takes the coefficients of Π (t − q). Four points are 0, ±1 and ∞, six are 0, ±3/4, ±3/2 and ∞:
//! with these, whose powers differ little, rounding errors are about half of those at the usual 0, ±1, ±2 and ∞ (Barabasz
//! et al., "Error analysis and improving the accuracy of Winograd convolution for deep neural networks", TOMS 2020, study the
//! choice).

use inkwell::values::InstructionOpcode;

use super::super::emit::{Emitter, Value};
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

impl Map {
    /// How many numbers go in where a window has so many taps and a patch gives so many results.
    pub fn arguments(self, taps: usize, results: usize) -> usize {
        match self {
            Map::Input | Map::Taps | Map::Results => results + taps - 1,
            Map::Filter => taps,
            Map::Spread => results,
        }
    }

    /// Maps the numbers of a side with so many taps and results.
    pub fn apply<'ctx>(
        self,
        emitter: &Emitter<'ctx>,
        (taps, results): (usize, usize),
        numbers: &[Number<'ctx>],
    ) -> Vec<Number<'ctx>> {
        let fits = |pairs: &&&[f64]| points(pairs) == results + taps - 1;
        let pairs = PAIRS.iter().find(fits).expect("patches are made for these points");
        let maths = Maths { emitter, pairs };
        match self {
            Map::Input => maths.input(numbers),
            Map::Filter => maths.evaluated(numbers, &Weights::of(pairs)),
            Map::Taps => maths.summed(numbers, taps, &Weights::of(pairs)),
            Map::Spread => maths.evaluated(numbers, &Weights::ones(pairs)),
            Map::Results => maths.summed(numbers, results, &Weights::ones(pairs)),
        }
    }
}

/// Where polynomials are evaluated, beside 0 and ∞, the most points first: at these and their opposites.
pub const PAIRS: [&[f64]; 2] = [&[0.75, 1.5], &[1.0]];

/// How many points that makes, as many as a patch has products along a side.
pub fn points(pairs: &[f64]) -> usize {
    2 * pairs.len() + 2
}

/// What evaluations are multiplied with: at 0, and at each point and its opposite.
struct Weights {
    zero: f64,
    pairs: Vec<f64>,
}

impl Weights {
    /// 1 / Π (p − q) over the other finite points q. That of 0 without its sign, which [`Maths::input`] leaves out too.
    fn of(pairs: &[f64]) -> Weights {
        let squares = pairs.iter().map(|point| point * point);
        let others = |own: f64| squares.clone().filter(move |&square| square != own);
        let pairs = squares.clone().map(|own| {
            let product: f64 = others(own).map(|other| own - other).product();
            1.0 / (2.0 * own * product)
        });
        Weights { zero: 1.0 / squares.clone().product::<f64>(), pairs: pairs.collect() }
    }

    fn ones(pairs: &[f64]) -> Weights {
        Weights { zero: 1.0, pairs: vec![1.0; pairs.len()] }
    }
}

struct Maths<'e, 'ctx> {
    emitter: &'e Emitter<'ctx>,
    pairs: &'static [f64],
}

impl<'ctx> Maths<'_, 'ctx> {
    /// Σ x c over the coefficients c of Π (t − q) of the other finite points q: at 0 (up to its sign), at each point and its
    /// opposite, and at ∞.
    fn input(&self, x: &[Number<'ctx>]) -> Vec<Number<'ctx>> {
        let squares: Vec<f64> = self.pairs.iter().map(|point| point * point).collect();
        let all = coefficients(&squares);
        let sign = if squares.len() % 2 == 1 { -1.0 } else { 1.0 };
        let at_zero: Vec<f64> = all.iter().map(|coefficient| sign * coefficient).collect();
        let mut factors = vec![self.series(None, &every_other(&x[..x.len() - 1]), &at_zero)];
        for (number, &point) in self.pairs.iter().enumerate() {
            let mut others = squares.clone();
            others.remove(number);
            // t (t ± p) Π (t² − q²)
            let others = coefficients(&others);
            let [even, odd] = [2, 1].map(|first| {
                let numbers = every_other(&x[first..first + 2 * others.len() - 1]);
                self.series(None, &numbers, &others)
            });
            factors.extend(self.both(even, odd, point));
        }
        factors.push(self.series(None, &every_other(&x[1..]), &all));
        factors
    }

    /// The polynomial with these coefficients at 0, each point and its opposite, and ∞.
    fn evaluated(&self, numbers: &[Number<'ctx>], weights: &Weights) -> Vec<Number<'ctx>> {
        let mut values = vec![self.times(numbers[0], weights.zero)];
        for (&point, &weight) in self.pairs.iter().zip(&weights.pairs) {
            let powers: Vec<f64> = (0..numbers.len() as i32).map(|k| point.powi(2 * k)).collect();
            let [even, odd] = [0, 1].map(|first| self.series(None, &every_other(&numbers[first..]), &powers));
            values.extend(self.both(self.times(even, weight), odd, point * weight));
        }
        values.push(numbers[numbers.len() - 1]);
        values
    }

    /// The transpose: Σ v p^k over the values v at all points p, for each of `count` coefficients k.
    fn summed(&self, values: &[Number<'ctx>], count: usize, weights: &Weights) -> Vec<Number<'ctx>> {
        let (pairs, infinity) = (&values[1..values.len() - 1], values[values.len() - 1]);
        let sums: Vec<Number> = pairs.chunks(2).map(|pair| self.plus(pair[0], pair[1])).collect();
        let differences: Vec<Number> = pairs.chunks(2).map(|pair| self.minus(pair[0], pair[1])).collect();
        let coefficient = |k: usize| {
            let start = match k {
                0 => self.times(values[0], weights.zero),
                _ if k + 1 == count => infinity,
                _ => None,
            };
            let powers =
                self.pairs.iter().zip(&weights.pairs).map(|(point, weight)| weight * point.powi(k as i32));
            self.series(
                start,
                if k.is_multiple_of(2) { &sums } else { &differences },
                &powers.collect::<Vec<_>>(),
            )
        };
        (0..count).map(coefficient).collect()
    }

    /// start + Σ factor·number.
    fn series(&self, start: Number<'ctx>, numbers: &[Number<'ctx>], factors: &[f64]) -> Number<'ctx> {
        numbers.iter().zip(factors).fold(start, |sum, (&number, &factor)| self.add(sum, number, factor))
    }

    /// even ± factor·odd.
    fn both(&self, even: Number<'ctx>, odd: Number<'ctx>, factor: f64) -> [Number<'ctx>; 2] {
        [self.add(even, odd, factor), self.add(even, odd, -factor)]
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
        match factor {
            1.0 => a,
            _ => a.map(|a| self.emitter.binop(InstructionOpcode::FMul, a, self.constant(factor))),
        }
    }

    /// a + factor·b.
    fn add(&self, a: Number<'ctx>, b: Number<'ctx>, factor: f64) -> Number<'ctx> {
        match (a, b) {
            _ if factor == 1.0 => self.plus(a, b),
            _ if factor == -1.0 => self.minus(a, b),
            (Some(a), Some(b)) => Some(self.emitter.mul_add(b, self.constant(factor), a)),
            (None, b) => self.times(b, factor),
            (a, None) => a,
        }
    }

    fn constant(&self, value: f64) -> Value<'ctx> {
        self.emitter.splat(self.emitter.float(value, Ty::F32), self.emitter.target.lanes())
    }
}

/// The coefficients of Π (t − s) over the numbers s, from that of 1 on.
fn coefficients(zeros: &[f64]) -> Vec<f64> {
    zeros.iter().fold(vec![1.0], |product, zero| {
        let mut next = vec![0.0; product.len() + 1];
        for (k, &coefficient) in product.iter().enumerate() {
            next[k] -= zero * coefficient;
            next[k + 1] += coefficient;
        }
        next
    })
}

fn every_other<'ctx>(numbers: &[Number<'ctx>]) -> Vec<Number<'ctx>> {
    numbers.iter().copied().step_by(2).collect()
}

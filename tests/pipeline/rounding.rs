//! Forward error analysis: how far single precision may be off in each entry of a result, with the magnitudes of what
//! cancels carried along (running error analysis; Higham, "Accuracy and Stability of Numerical Algorithms", §3.3).
//! Rounding errors add up as independent ones do, in squares: sums of worst cases would allow almost anything.

use std::collections::HashMap;

use blkc::axes::Axis;
use blkc::sym::{self, Expr, Graph, Node, Reduction, Tensor};

use crate::machine::{Pipeline, Values};

/// Half the distance of 1 from the next number of single precision.
const UNIT: f64 = 1.0 / 16_777_216.0;
/// Standard deviations that are allowed, for errors that are not independent after all.
const DEVIATIONS: f64 = 8.0;
/// Units in which a machine function may be off (tests/intrinsics.rs holds them to it).
const FUNCTION: f64 = 8.0;

impl Pipeline {
    /// By how much each entry that a routine writes may be off, to first order.
    pub fn rounding(&self, routine: &str, values: &Values) -> Values {
        let writes = &self.routine(routine).expect("a routine of the plan").writes;
        let roots: Vec<Expr> = writes.iter().map(|write| write.value).collect();
        let graph = &self.plan.graph;
        let mut analysis =
            Analysis { graph, values: sym::Values::new(values.clone()), errors: HashMap::new() };
        for expr in graph.reachable(&roots) {
            let errors = analysis.of(expr);
            analysis.errors.insert(expr, errors);
        }
        let error = |symbol, expr: Expr| {
            let axes = &graph.symbol_info(symbol).axes;
            let errors = analysis.error_along(expr, axes).into_iter().map(|error| DEVIATIONS * error);
            Tensor::new(&graph.axes, axes, errors.collect())
        };
        writes.iter().map(|write| (write.symbol, error(write.symbol, write.value))).collect()
    }
}

struct Analysis<'a> {
    graph: &'a Graph,
    values: sym::Values,
    errors: HashMap<Expr, Tensor>,
}

impl Analysis<'_> {
    fn error_along(&self, expr: Expr, axes: &[Axis]) -> Vec<f64> {
        self.errors[&expr].along(&self.graph.axes, axes).iter().copied().collect()
    }

    fn along(&mut self, expr: Expr, axes: &[Axis]) -> Vec<f64> {
        self.values.of(self.graph, expr).along(&self.graph.axes, axes).iter().copied().collect()
    }

    fn of(&mut self, expr: Expr) -> Tensor {
        let axes = self.graph.axes_of(expr).to_vec();
        let own = |errors: Vec<f64>| Tensor::new(&self.graph.axes, &axes, errors);
        let zeros = || own(vec![0.0; self.graph.axes.size(&axes)]);
        match self.graph.node(expr).clone() {
            Node::Symbol(_) | Node::Index(_) | Node::Random { .. } | Node::Window(_) | Node::ArgMax(..) => {
                zeros()
            }
            Node::Number(number) => own(vec![(number.value() - f64::from(number.value() as f32)).abs()]),
            Node::Add(args) => self.entrywise(&axes, &args, |values, errors| {
                let steps = values.len() as f64;
                root(errors.iter().copied().chain(values.iter().map(|value| UNIT * steps * value)))
            }),
            Node::Mul(args) => self.entrywise(&axes, &args, |values, errors| {
                let others = |place: usize| {
                    let rest = values[..place].iter().chain(&values[place + 1..]);
                    rest.product::<f64>() * errors[place]
                };
                let own = UNIT * values.len() as f64 * values.iter().product::<f64>();
                root((0..values.len()).map(others).chain([own]))
            }),
            Node::Pow(base, exponent) => {
                // Exponents are small whole or half numbers, which are exact.
                self.entrywise(&axes, &[base, exponent], |values, errors| {
                    moved(&values[..1], &errors[..1], &|at| at[0].powf(values[1]))
                })
            }
            Node::Apply(function, args) => self
                .entrywise(&axes, &args, |values, errors| moved(values, errors, &|at| function.0.eval(at))),
            Node::Reduce(Reduction::Max, over, arg) => {
                self.reduced(arg, &over, |_, errors| errors.iter().copied().fold(0.0, f64::max))
            }
            Node::Reduce(how, over, arg) => {
                let count = self.graph.axes.size(&over) as f64;
                let share = if how == Reduction::Mean { 1.0 / count } else { 1.0 };
                self.reduced(arg, &over, |values, errors| {
                    let own = values.iter().map(|value| UNIT * (count + 1.0).sqrt() * value);
                    share * root(errors.iter().copied().chain(own))
                })
            }
            Node::Contract { left, right, over } => self.contracted(left, right, &over),
            Node::Rename(arg, _) => own(self.error_along(arg, self.graph.axes_of(arg))),
            Node::Reshape { arg, from, to } => {
                let rest: Vec<Axis> =
                    self.graph.axes_of(arg).iter().copied().filter(|axis| !from.contains(axis)).collect();
                let flat = self.error_along(arg, &[&rest[..], &from].concat());
                let moved = Tensor::new(&self.graph.axes, &[&rest[..], &to].concat(), flat);
                own(moved.along(&self.graph.axes, &axes).iter().copied().collect())
            }
            Node::Spread(arg, _) => own(self.error_along(arg, &axes)),
            Node::Orthonormal(_) => unreachable!("initializers are not analysed"),
            Node::Exchange(..) => unreachable!("the program runs alone"),
        }
    }

    fn entrywise(&mut self, axes: &[Axis], args: &[Expr], f: impl Fn(&[f64], &[f64]) -> f64) -> Tensor {
        let values: Vec<Vec<f64>> = args.iter().map(|&arg| self.along(arg, axes)).collect();
        let errors: Vec<Vec<f64>> = args.iter().map(|&arg| self.error_along(arg, axes)).collect();
        let at = |all: &[Vec<f64>], place: usize| all.iter().map(|one| one[place]).collect::<Vec<f64>>();
        let entry = |place| f(&at(&values, place), &at(&errors, place));
        Tensor::new(&self.graph.axes, axes, (0..self.graph.axes.size(axes)).map(entry).collect())
    }

    /// Over the axes of the argument but those of `over`, whose entries `f` sees together.
    fn reduced(&mut self, arg: Expr, over: &[Axis], f: impl Fn(&[f64], &[f64]) -> f64) -> Tensor {
        let kept: Vec<Axis> =
            self.graph.axes_of(arg).iter().copied().filter(|axis| !over.contains(axis)).collect();
        let all = [&kept[..], over].concat();
        let (values, errors) = (self.along(arg, &all), self.error_along(arg, &all));
        let count = self.graph.axes.size(over);
        let entries =
            values.chunks(count).zip(errors.chunks(count)).map(|(values, errors)| f(values, errors));
        Tensor::new(&self.graph.axes, &kept, entries.collect())
    }

    fn contracted(&mut self, left: Expr, right: Expr, over: &[Axis]) -> Tensor {
        let mut kept = self.graph.axes_of(left).to_vec();
        kept.extend(self.graph.axes_of(right).iter().filter(|axis| !self.graph.axes_of(left).contains(axis)));
        kept.retain(|axis| !over.contains(axis));
        let all = [&kept[..], over].concat();
        let [l, r] = [left, right].map(|side| (self.along(side, &all), self.error_along(side, &all)));
        let steps = (self.graph.axes.size(over) as f64 + 1.0).sqrt();
        let error = |place: usize| {
            let (l, r) = ((l.0[place], l.1[place]), (r.0[place], r.1[place]));
            root([l.0 * r.1, l.1 * r.0, steps * UNIT * l.0 * r.0])
        };
        let errors: Vec<f64> = (0..self.graph.axes.size(&all)).map(error).collect();
        let sums = errors.chunks(self.graph.axes.size(over)).map(|chunk| root(chunk.iter().copied()));
        Tensor::new(&self.graph.axes, &kept, sums.collect())
    }
}

/// Of independent errors together.
fn root(errors: impl IntoIterator<Item = f64>) -> f64 {
    errors.into_iter().map(|error| error * error).sum::<f64>().sqrt()
}

/// How far a function moves as its arguments do, one after the other, and its own rounding. Conditions that flip within
/// the error of what they compare count as flipped.
fn moved(values: &[f64], errors: &[f64], f: &dyn Fn(&[f64]) -> f64) -> f64 {
    let here = f(values);
    let reach = |place: usize, by: f64| {
        let mut at = values.to_vec();
        at[place] += by;
        let there = f(&at);
        if there.is_nan() { f64::INFINITY } else { (there - here).abs() }
    };
    let varying = errors.iter().enumerate().filter(|(_, error)| **error > 0.0);
    let moves = varying.map(|(place, &error)| reach(place, error).max(reach(place, -error)));
    root(moves.chain([FUNCTION * UNIT * here]))
}

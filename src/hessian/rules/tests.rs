//! Every rule of the derivation at random values: both sides of its identity, computed apart.

use ndarray::{Array1, Array2, Axis as Dim};

use super::{ALL, Rule};
use crate::axes::{Axis, BATCH};
use crate::hessian::jacobian::jacobian;
use crate::hessian::trace::gauss_newton_trace;
use crate::sym::Values;
use crate::sym::dense::{jacobian_matrix, matrix};
use crate::sym::example::Example;
use crate::sym::graph::{Expr, Graph};

const M: usize = 5;
const N: Axis = Axis(1);
const D: Axis = Axis(2);

/// A batch of 5 and axes of 3 and 4.
fn fresh() -> Example {
    Example::over(M, &[("n", 3), ("d", 4)], 3)
}

impl Example {
    fn array(&mut self, rows: usize, columns: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, columns), |_| self.draw())
    }

    fn vector(&mut self, length: usize) -> Array1<f64> {
        Array1::from_shape_fn(length, |_| self.draw())
    }

    fn number(&self, expr: Expr) -> f64 {
        Values::new(self.values.clone()).of(&self.graph, expr).values.sum()
    }

    /// The Jacobian as an operator and by products in forward order.
    fn both(&mut self, output: Expr, wrt: Expr) -> (Array2<f64>, Array2<f64>) {
        let operator = jacobian(&mut self.graph, output, wrt).expect("few terms");
        let mut values = Values::new(self.values.clone());
        let as_operator = matrix(&mut self.graph, &mut values, &operator);
        (as_operator, jacobian_matrix(&mut self.graph, &mut values, output, wrt))
    }

    /// W z less its mean over the batch, over its deviation.
    fn standardized(&mut self) -> (Expr, Expr) {
        let (w, z) = (self.tensor(&[N, D]), self.tensor(&[BATCH, D]));
        let g = &mut self.graph;
        let a = g.contract(w, z, &[D]);
        let mean = g.mean(&[BATCH], a);
        let centred = g.sub(a, mean);
        let square = g.square(centred);
        let variance = g.mean(&[BATCH], square);
        let eps = g.number(1e-3);
        let guarded = g.add(&[variance, eps]);
        let inverse = g.powf(guarded, -0.5);
        (g.mul(&[centred, inverse]), z)
    }
}

fn averages() -> Array2<f64> {
    Array2::from_elem((M, M), 1.0 / M as f64)
}

fn trace(a: &Array2<f64>) -> f64 {
    a.diag().sum()
}

/// Both sides of the rule's identity; equal where it holds.
fn sides(rule: &Rule, e: &mut Example) -> (Array2<f64>, Array2<f64>) {
    let one = |a: f64, b: f64| (Array2::from_elem((1, 1), a), Array2::from_elem((1, 1), b));
    match rule.name {
        "chain rule" | "deviations from the mean vanish" | "standardized value" => {
            let (value, z) = e.standardized();
            e.both(value, z)
        }
        "equal terms add" => {
            let (a, x, y) = (e.array(3, 4), e.draw(), e.draw());
            (&a * x + &a * y, a * (x + y))
        }
        "average of a diagonal" => {
            let v = e.vector(M);
            let left = averages().dot(&Array2::from_diag(&v)).dot(&averages());
            (left, averages() * v.mean().unwrap())
        }
        "diagonals add" => {
            let (u, v, a) = (e.vector(3), e.vector(3), e.array(3, 4));
            let sum = Array2::from_diag(&(&u + &v)).dot(&a);
            (Array2::from_diag(&u).dot(&a) + Array2::from_diag(&v).dot(&a), sum)
        }
        "share of a sum" => {
            let weights = e.vector(6).mapv(f64::exp);
            let shares = &weights / weights.sum();
            one(shares.sum(), 1.0)
        }
        "gradient differentiated" => gradient_differentiated(e),
        "trace of a Gram operator" => {
            let (value, z) = e.standardized();
            let operator = jacobian(&mut e.graph, value, z).expect("few terms");
            let closed = gauss_newton_trace(&mut e.graph, &operator, None);
            let (dense, _) = e.both(value, z);
            one(e.number(closed), trace(&dense.t().dot(&dense)))
        }
        "trace through the loss" => {
            let (value, z) = e.standardized();
            let operator = jacobian(&mut e.graph, value, z).expect("few terms");
            let weights = e.tensor(&[BATCH, N]);
            let scaled = e.graph.mul(&[weights, value]);
            let curvature = jacobian(&mut e.graph, scaled, value).expect("few terms");
            let closed = gauss_newton_trace(&mut e.graph, &operator, Some(&curvature));
            let (j, h) = (e.both(value, z).0, e.both(scaled, value).0);
            one(e.number(closed), trace(&j.t().dot(&h).dot(&j)))
        }
        "elimination" => {
            let (x, y) = (e.vector(3), e.array(3, 4));
            let all: f64 =
                (0..3).flat_map(|i| (0..4).map(move |j| (i, j))).map(|(i, j)| x[i] * y[(i, j)]).sum();
            one(all, (&x * &y.sum_axis(Dim(1))).sum())
        }
        "leading terms" => leading_terms(e),
        "decorrelation" => decorrelation(e),
        "expectation" => {
            // A mean over a whole grid of equally likely values is the expectation.
            let grid: Vec<f64> = (0..1000).map(|k| (f64::from(k) + 0.5) / 500.0 - 1.0).collect();
            let mean = grid.iter().map(|u| u * u).sum::<f64>() / grid.len() as f64;
            one((mean - 1.0 / 3.0).abs().max(1e-6), 1e-6)
        }
        "statistics held" => {
            let (w, variance) = (e.array(3, 4), e.draw().abs() + 0.5);
            let held = &w / variance.sqrt();
            one(trace(&held.t().dot(&held)), trace(&w.t().dot(&w)) / variance)
        }
        "white input" => {
            // Columns ±√d along each axis have mean 0 and covariance I.
            let (w, d) = (e.vector(4), 4.0);
            let variance =
                w.iter().map(|entry| 2.0 * (entry * f64::sqrt(d)).powi(2)).sum::<f64>() / (2.0 * d);
            one(variance, w.dot(&w))
        }
        "equal rows" => {
            let mut w = e.array(3, 4);
            w.outer_iter_mut().for_each(|mut row| {
                let norm = row.dot(&row).sqrt();
                row /= norm;
            });
            let norms: Vec<f64> = w.outer_iter().map(|row| row.dot(&row)).collect();
            one(norms[1], norms.iter().sum::<f64>() / 3.0)
        }
        "one position" => {
            // W ⊗ I over three positions.
            let w = e.array(3, 4);
            let everywhere =
                Array2::from_shape_fn((9, 12), |(i, j)| if i / 3 == j / 4 { w[(i % 3, j % 4)] } else { 0.0 });
            one(trace(&everywhere.t().dot(&everywhere)), 3.0 * trace(&w.t().dot(&w)))
        }
        other => panic!("the rule `{other}` has no test"),
    }
}

/// ∂(Jᵀg) against Σᵢ gᵢ ∇²Fᵢ by second differences of gᵀF for F(z) = (W z)³.
fn gradient_differentiated(e: &mut Example) -> (Array2<f64>, Array2<f64>) {
    let (w, z, g) = (e.tensor(&[N, D]), e.tensor(&[D]), e.tensor(&[N]));
    let a = e.graph.contract(w, z, &[D]);
    let cube = e.graph.powf(a, 3.0);
    let gradient = e.graph.vjp(&[(cube, g)], &[z])[&z];
    let derived = e.both(gradient, z).0;
    // Σᵢ gᵢ 6 aᵢ wᵢ wᵢᵀ
    let mut values = Values::new(e.values.clone());
    let numbers =
        |values: &mut Values, graph: &Graph, expr| values.of(graph, expr).values.iter().copied().collect();
    let weights: Vec<f64> = numbers(&mut values, &e.graph, w);
    let (inner, outer): (Vec<f64>, Vec<f64>) =
        (numbers(&mut values, &e.graph, a), numbers(&mut values, &e.graph, g));
    let expected = Array2::from_shape_fn((4, 4), |(k, l)| {
        (0..3).map(|i| 6.0 * outer[i] * inner[i] * weights[4 * i + k] * weights[4 * i + l]).sum()
    });
    (derived, expected)
}

/// P = I − 11ᵀ/M − x̂x̂ᵀ/M has tr P² = M − 2 for a standardized x̂: the dropped share is 2/M.
fn leading_terms(e: &mut Example) -> (Array2<f64>, Array2<f64>) {
    let raw = e.vector(M);
    let centred = &raw - raw.mean().unwrap();
    let x = &centred / (centred.dot(&centred) / M as f64).sqrt();
    let column = x.insert_axis(Dim(1));
    let p = Array2::eye(M) - averages() - column.dot(&column.t()) / M as f64;
    let whole = trace(&p.dot(&p));
    (Array2::from_elem((1, 1), whole), Array2::from_elem((1, 1), M as f64 - 2.0))
}

/// The mean of WᵀW-like Gram matrices over all signs of the rows of W is diagonal.
fn decorrelation(e: &mut Example) -> (Array2<f64>, Array2<f64>) {
    let w = e.array(3, 4);
    let mut mean = Array2::zeros((3, 3));
    for signs in 0..8u32 {
        let sign = |i: usize| if signs >> i & 1 == 1 { -1.0 } else { 1.0 };
        let turned = Array2::from_shape_fn((3, 4), |(i, k)| sign(i) * w[(i, k)]);
        mean += &(turned.dot(&turned.t()) / 8.0);
    }
    let diagonal = Array2::from_diag(&w.dot(&w.t()).diag().to_owned());
    (mean, diagonal)
}

#[test]
fn every_rule_holds() {
    for rule in ALL {
        let mut e = fresh();
        let (left, right) = sides(rule, &mut e);
        assert_eq!(left.dim(), right.dim(), "{}", rule.name);
        for (a, b) in left.iter().zip(&right) {
            assert!((a - b).abs() <= 1e-10 * (1.0 + b.abs()), "{}: {a} is not {b}", rule.name);
        }
    }
}

#[test]
fn names_are_told_apart() {
    for (place, rule) in ALL.iter().enumerate() {
        assert!(ALL[..place].iter().all(|other| other.name != rule.name), "{}", rule.name);
    }
}

//! The statements of Zhang, Chen and Liu, "On the Local Hessian in Back-propagation" (NeurIPS 2018), by name; where one
//! holds only under conditions, the conditions and counterexamples. Closed forms are written by hand here, and compared
//! with the matrices that the derivation evaluates to.

mod algebra;
mod algorithm;
mod cases;
mod global;
mod normalization;
mod remarks;
mod skip;

use blkc::driver::{FrontOptions, front};
use blkc::hessian::Routine;
use blkc::hessian::program::derive;
use blkc::ir::{Network, ParamId};
use blkc::numeric::batch::Batch;
use blkc::numeric::point::{Parameters, Point};
use blkc::numeric::verify::{generic_parameters, random_batch};
use blkc::source::MemoryLoader;
use blkc::sym::Expr;
use ndarray::{Array1, Array2, s};

/// A network at a point that can be changed.
pub struct At {
    pub network: Network,
    pub parameters: Parameters,
    pub batch: Batch,
    pub seed: u64,
}

impl At {
    /// `blocks` from `inputs` features to the loss, with generic weights.
    pub fn new(inputs: usize, target: &str, blocks: &str, batch: usize, seed: u64) -> At {
        At::program(&format!("network net(x: f32[{inputs}]) -> {target} {{ x {blocks} }}\n"), batch, seed)
    }

    /// The network of a whole program.
    pub fn program(text: &str, batch: usize, seed: u64) -> At {
        let loader = MemoryLoader([("case.blk".to_string(), text.to_string())].into());
        let front = front("case.blk", &loader, &FrontOptions { batch: Some(batch), network: None });
        assert!(front.diagnostics.is_empty(), "{:#?}\n{text}", front.diagnostics);
        let network = front.networks.into_iter().next().expect("a network");
        let parameters = generic_parameters(&derive(&network), seed);
        let batch = random_batch(&network, seed);
        At { network, parameters, batch, seed }
    }

    pub fn point(&self) -> Point {
        Point::new(&self.network, derive(&self.network), &self.parameters, self.seed, &self.batch)
    }

    /// Before the first step of training, and the step: hyper-parameters as the program has them, states at zero.
    pub fn training_point(&self) -> (Point, Routine) {
        let plan = derive(&self.network);
        let train = plan.routines.iter().find(|routine| routine.name == "train").expect("trains").clone();
        let hypers = &self.network.training.as_ref().expect("trains").hypers;
        let mut point = Point::new(&self.network, plan, &self.parameters, self.seed, &self.batch);
        for (&symbol, hyper) in point.symbols.hypers.clone().iter().zip(hypers) {
            point.set(symbol, vec![hyper.value]);
        }
        for symbol in point.symbols.states.clone() {
            let size = point.graph.axes.size(&point.graph.symbol_info(symbol).axes);
            point.set(symbol, vec![0.0; size]);
        }
        (point, train)
    }

    fn id(&self, name: &str) -> ParamId {
        let place = self.network.params.iter().position(|param| param.name == name);
        ParamId(place.unwrap_or_else(|| panic!("no parameter {name}")) as u32)
    }

    /// A matrix, or a vector as one row.
    pub fn param(&self, name: &str) -> Array2<f64> {
        let id = self.id(name);
        let axes = &self.network.param(id).axes;
        let extents: Vec<usize> = axes.iter().map(|&axis| self.network.axes.extent(axis)).collect();
        let (rows, columns) = if extents.len() == 2 { (extents[0], extents[1]) } else { (1, extents[0]) };
        Array2::from_shape_vec((rows, columns), self.parameters[&id].clone()).expect("a matrix")
    }

    pub fn set(&mut self, name: &str, value: &Array2<f64>) {
        let id = self.id(name);
        self.parameters.insert(id, value.iter().copied().collect());
    }

    /// A parameter with every row multiplied by its number.
    pub fn scaled(mut self, name: &str, by: impl Fn(usize) -> f64) -> At {
        let mut value = self.param(name);
        value.rows_mut().into_iter().enumerate().for_each(|(row, mut entries)| entries *= by(row));
        self.set(name, &value);
        self
    }
}

/// What the tests read off a point.
pub trait Matrices {
    fn rows(&mut self, expr: Expr) -> Array2<f64>;
    fn z(&mut self, block: usize) -> Array2<f64>;
    fn g(&mut self, block: usize) -> Array2<f64>;
    fn newton(&mut self, block: usize, wrt: Expr) -> Array2<f64>;
    fn exact(&mut self, block: usize, wrt: Expr) -> Array2<f64>;
    fn wrt(&self, block: usize, name: &str) -> Expr;
}

impl Matrices for Point {
    /// Samples by features.
    fn rows(&mut self, expr: Expr) -> Array2<f64> {
        let samples = self.samples();
        let entries = self.entries(expr);
        Array2::from_shape_vec((samples, entries.len() / samples), entries).expect("samples")
    }

    /// z_{b−1}
    fn z(&mut self, block: usize) -> Array2<f64> {
        let input = self.blocks[block].input;
        self.rows(input)
    }

    /// ∂l/∂z_b
    fn g(&mut self, block: usize) -> Array2<f64> {
        let (gradient, output) = (self.blocks[block].gradient, self.blocks[block].output);
        let axes = self.graph.axes_of(output).to_vec();
        let entries = self.entries_along(gradient, &axes);
        let samples = self.samples();
        Array2::from_shape_vec((samples, entries.len() / samples), entries).expect("samples")
    }

    fn newton(&mut self, block: usize, wrt: Expr) -> Array2<f64> {
        let jacobian = self.jacobian(block, wrt);
        self.gauss_newton(block, &jacobian)
    }

    fn exact(&mut self, block: usize, wrt: Expr) -> Array2<f64> {
        self.newton(block, wrt) + self.residual(block, &[wrt])
    }

    /// `z`, or the first parameter declared under this name.
    fn wrt(&self, block: usize, name: &str) -> Expr {
        let block = &self.blocks[block];
        let param = block.params.iter().find(|param| param.name == name);
        if name == "z" { block.input } else { param.unwrap_or_else(|| panic!("no {name}")).value }
    }
}

/// Equal to `tolerance` of the largest entry.
#[track_caller]
pub fn same(found: &Array2<f64>, expected: &Array2<f64>, tolerance: f64, what: &str) {
    assert_eq!(found.dim(), expected.dim(), "{what}");
    let scale = expected.iter().fold(1e-12f64, |scale, entry| scale.max(entry.abs()));
    let off = (found - expected).iter().fold(0.0f64, |off, entry| off.max(entry.abs()));
    assert!(off <= tolerance * scale, "{what}: off by {off:e} of {scale:e}");
}

/// How far apart, relative to the first.
pub fn distance(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    let norm = |m: &Array2<f64>| m.iter().map(|x| x * x).sum::<f64>().sqrt();
    norm(&(a - b)) / norm(a)
}

pub fn eye(n: usize) -> Array2<f64> {
    Array2::eye(n)
}

pub fn diagonal(entries: &[f64]) -> Array2<f64> {
    Array2::from_diag(&Array1::from(entries.to_vec()))
}

pub fn outer(a: &[f64], b: &[f64]) -> Array2<f64> {
    Array2::from_shape_fn((a.len(), b.len()), |(i, j)| a[i] * b[j])
}

/// Kronecker product.
pub fn kron(a: &Array2<f64>, b: &Array2<f64>) -> Array2<f64> {
    let (p, q) = b.dim();
    Array2::from_shape_fn((a.nrows() * p, a.ncols() * q), |(i, j)| a[[i / p, j / q]] * b[[i % p, j % q]])
}

/// Square matrices along the diagonal.
pub fn block_diagonal(parts: &[Array2<f64>]) -> Array2<f64> {
    let size = parts.iter().map(|part| part.nrows()).sum();
    let mut all = Array2::zeros((size, size));
    let mut at = 0;
    for part in parts {
        let end = at + part.nrows();
        all.slice_mut(s![at..end, at..end]).assign(part);
        at = end;
    }
    all
}

pub fn trace(a: &Array2<f64>) -> f64 {
    a.diag().sum()
}

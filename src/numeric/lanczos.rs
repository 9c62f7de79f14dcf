//! Spectra of matrices that are too large to write down, from products with vectors.
//!
//! Lanczos' method with full reorthogonalization (Golub and Van Loan, *Matrix Computations*, §10.1): from a start vector v,
//! k steps give a tridiagonal T. An eigenvalue θ of T with eigenvector s lies within β_k |s_k| of an eigenvalue of the
//! matrix. The pairs (θᵢ, s²_{1i}) are the Gauss quadrature of the spectrum as v sees it; their average over random v is
//! the spectral density (Ubaru, Chen and Saad, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature", 2017).
//! The first step's vᵀHv gives the trace (Hutchinson, 1990), with the standard error of the mean over the probes.

use blk_runtime::random::SplitMix64;
use ndarray::{Array1, Array2};

use super::eigen;

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Random start vectors.
    pub probes: usize,
    /// Steps that every probe takes, and at most.
    pub least: usize,
    pub most: usize,
    /// The largest eigenvalue's residual, relative to it, that ends the search.
    pub tolerance: f64,
}

impl Default for Effort {
    fn default() -> Self {
        Effort { probes: 8, least: 32, most: 80, tolerance: 1e-9 }
    }
}

/// A number, and how far off it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounded {
    pub value: f64,
    pub error: f64,
}

/// What is known of a spectrum from products.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    pub dim: usize,
    pub probes: usize,
    pub steps: usize,
    /// Some eigenvalue lies within `error` (the residual's norm) of `value`; none above is known.
    pub max: Bounded,
    /// The like at the lower end; the smallest eigenvalue is not above `value`.
    pub min: Bounded,
    /// With the standard error of the mean over the probes.
    pub trace: Bounded,
    /// ‖H‖²_F, likewise.
    pub square: Bounded,
    /// Quadrature of the density: values and weights that sum to one, by value. Values within their residual of zero are
    /// zero.
    pub nodes: Vec<(f64, f64)>,
}

/// A symmetric matrix by its products: rows of the argument are vectors, rows of the result their images.
pub type Apply<'a> = dyn FnMut(&Array2<f64>) -> Array2<f64> + 'a;

/// Estimates the spectrum of a matrix of `dim` rows. The same `seed` gives the same numbers.
pub fn estimate(dim: usize, apply: &mut Apply, seed: u64, effort: Effort) -> Estimate {
    let mut random = SplitMix64::stream(seed, dim as u64);
    let probes = effort.probes.max(2);
    let mut runs: Vec<Run> = (0..probes).map(|_| Run::start(dim, &mut random)).collect();
    let mut steps = 0;
    while steps < effort.most.min(dim) {
        let live: Vec<usize> = (0..probes).filter(|&i| !runs[i].ended).collect();
        if live.is_empty() || (steps >= effort.least && steps % 8 == 0 && converged(&runs, effort.tolerance))
        {
            break;
        }
        let vectors = Array2::from_shape_fn((live.len(), dim), |(i, j)| runs[live[i]].last()[j]);
        let images = apply(&vectors);
        for (row, &run) in live.iter().enumerate() {
            runs[run].step(images.row(row).to_owned());
        }
        steps += 1;
    }
    summary(dim, steps, &runs)
}

/// An eigenvalue of T, its weight in the quadrature, its residual's norm.
type Ritz = (f64, f64, f64);

/// One probe: an orthonormal basis of its Krylov space, and the tridiagonal matrix.
struct Run {
    basis: Vec<Array1<f64>>,
    alpha: Vec<f64>,
    beta: Vec<f64>,
    /// The Krylov space is exhausted: T is exact on it.
    ended: bool,
}

impl Run {
    /// Random signs, so that vᵀHv varies least.
    fn start(dim: usize, random: &mut SplitMix64) -> Run {
        let entry = 1.0 / (dim as f64).sqrt();
        let signs = (0..dim).map(|_| if random.next_u64() >> 63 == 0 { entry } else { -entry });
        Run { basis: vec![signs.collect()], alpha: vec![], beta: vec![], ended: false }
    }

    fn last(&self) -> &Array1<f64> {
        self.basis.last().expect("a start vector")
    }

    fn step(&mut self, mut image: Array1<f64>) {
        let size = image.dot(&image).sqrt();
        self.alpha.push(self.last().dot(&image));
        // Twice is enough (Parlett, The Symmetric Eigenvalue Problem, §6.9).
        for _ in 0..2 {
            for vector in &self.basis {
                let along = vector.dot(&image);
                image.scaled_add(-along, vector);
            }
        }
        let beta = image.dot(&image).sqrt();
        self.ended = beta <= 1e-13 * size.max(f64::MIN_POSITIVE) || self.basis.len() == image.len();
        self.beta.push(if self.ended { 0.0 } else { beta });
        if !self.ended {
            self.basis.push(image / beta);
        }
    }

    /// Eigenvalues of T ascending, each with its quadrature weight and its residual's norm.
    fn ritz(&self) -> Vec<Ritz> {
        let k = self.alpha.len();
        let t = Array2::from_shape_fn((k, k), |(i, j)| match i.abs_diff(j) {
            0 => self.alpha[i],
            1 => self.beta[i.min(j)],
            _ => 0.0,
        });
        let (values, vectors) = eigen::symmetric(&t);
        let residual = self.beta.last().copied().unwrap_or(0.0);
        let of = |i: usize| (values[i], vectors[[0, i]].powi(2), residual * vectors[[k - 1, i]].abs());
        (0..k).map(of).collect()
    }
}

/// Whether the largest eigenvalue is known well by the probe that sees it best.
fn converged(runs: &[Run], tolerance: f64) -> bool {
    let ends = runs.iter().filter_map(|run| run.ritz().last().copied());
    ends.reduce(|best, end| if end.0 > best.0 { end } else { best })
        .is_some_and(|(value, _, residual)| residual <= tolerance * value.abs())
}

fn summary(dim: usize, steps: usize, runs: &[Run]) -> Estimate {
    let all: Vec<Vec<Ritz>> = runs.iter().map(Run::ritz).collect();
    let end = |pick: fn(&[Ritz]) -> Option<Ritz>, sign: f64| {
        let ends = all.iter().filter_map(|ritz| pick(ritz));
        let best = ends.reduce(|best, end| if sign * end.0 > sign * best.0 { end } else { best });
        best.map_or(Bounded { value: 0.0, error: 0.0 }, |(value, _, error)| Bounded { value, error })
    };
    let n = dim as f64;
    let first = |of: fn(&Run) -> f64| mean(&runs.iter().map(|run| n * of(run)).collect::<Vec<f64>>());
    let share = 1.0 / runs.len() as f64;
    // What cannot be told from zero counts as zero.
    let resolved = |value: f64, error: f64| if value.abs() > error { value } else { 0.0 };
    let node = |&(value, weight, error): &Ritz| (resolved(value, error), weight * share);
    let mut nodes: Vec<(f64, f64)> = all.iter().flatten().map(node).collect();
    nodes.sort_by(|a, b| a.0.total_cmp(&b.0));
    Estimate {
        dim,
        probes: runs.len(),
        steps,
        max: end(|ritz| ritz.last().copied(), 1.0),
        min: end(|ritz| ritz.first().copied(), -1.0),
        trace: first(|run| run.alpha[0]),
        square: first(|run| run.alpha[0].powi(2) + run.beta[0].powi(2)),
        nodes,
    }
}

/// The mean with its standard error.
fn mean(samples: &[f64]) -> Bounded {
    let count = samples.len() as f64;
    let value = samples.iter().sum::<f64>() / count;
    let spread = samples.iter().map(|x| (x - value).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    Bounded { value, error: (spread / count).sqrt() }
}

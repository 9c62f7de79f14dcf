//! The eigenvalues of WᵀW against the law of Marchenko and Pastur (1967): of a matrix with independent entries of mean 0 and
//! variance σ² the nonzero ones fill [λ₋, λ₊] = σ²(√n_out ± √n_in)².

use ndarray::Array2;

use crate::numeric::eigen;

/// The spectrum of WᵀW and how it departs from the law.
#[derive(Clone, Debug, PartialEq)]
pub struct MarchenkoPastur {
    /// Name of the weight.
    pub weight: String,
    pub law: Law,
    /// The nonzero eigenvalues, min(n_out, n_in) of them, ascending.
    pub eigenvalues: Vec<f64>,
    /// The mean of the entries in units of their deviation: the law takes it as 0.
    pub mean_over_deviation: f64,
    /// Eigenvalues beyond an edge by more than `slack`, the scale on which edges of finite matrices fluctuate.
    pub below: usize,
    pub above: usize,
    pub slack: f64,
    /// The largest distance between the distributions of the nonzero eigenvalues (Kolmogorov and Smirnov).
    pub distance: f64,
}

/// The law for WᵀW, W of n_out × n_in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Law {
    pub outputs: usize,
    pub inputs: usize,
    /// σ², of the entries.
    pub variance: f64,
}

/// Steps of the quadrature of the density.
const STEPS: usize = 2000;

/// Units of the Tracy–Widom scale by which the largest eigenvalue of a random matrix may lie beyond the edge: beyond three
/// and more the law of the fluctuation has less than one in ten thousand.
const UNITS: f64 = 3.0;

impl Law {
    fn roots(&self) -> (f64, f64) {
        ((self.outputs as f64).sqrt(), (self.inputs as f64).sqrt())
    }

    /// λ₋ and λ₊, the edges of the nonzero part.
    pub fn edges(&self) -> (f64, f64) {
        let (a, b) = self.roots();
        (self.variance * (a - b).powi(2), self.variance * (a + b).powi(2))
    }

    /// The density of the nonzero part, of mass one.
    pub fn density(&self, at: f64) -> f64 {
        let (low, high) = self.edges();
        if at <= low || at >= high || at <= 0.0 {
            return 0.0;
        }
        let smaller = self.outputs.min(self.inputs) as f64;
        ((high - at) * (at - low)).sqrt() / (std::f64::consts::TAU * self.variance * smaller * at)
    }

    /// The share of the nonzero part below each of some values, which ascend.
    ///
    /// With λ = λ₋ + (λ₊ − λ₋) sin²(t/2) the density has no pole at the edges, not even at λ₋ = 0.
    pub fn shares(&self, values: &[f64]) -> Vec<f64> {
        let (low, high) = self.edges();
        let place = |t: f64| low + (high - low) * (t / 2.0).sin().powi(2);
        let step = std::f64::consts::PI / STEPS as f64;
        let mass = |i: usize| {
            let t = (i as f64 + 0.5) * step;
            self.density(place(t)) * (high - low) * 0.5 * t.sin() * step
        };
        let mut sum = 0.0;
        let cumulated: Vec<f64> = std::iter::once(0.0)
            .chain((0..STEPS).map(|i| {
                sum += mass(i);
                sum
            }))
            .collect();
        let share = |&value: &f64| {
            let inside = ((value - low) / (high - low).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
            let t = 2.0 * inside.sqrt().asin() / step;
            let i = (t as usize).min(STEPS - 1);
            (cumulated[i] + (t - i as f64) * (cumulated[i + 1] - cumulated[i])) / sum
        };
        values.iter().map(share).collect()
    }

    /// How far the extreme eigenvalues of a finite matrix lie off the edge: σ²(√n_out + √n_in)(1/√n_out + 1/√n_in)^⅓
    /// (Johnstone, "On the distribution of the largest eigenvalue in principal components analysis", 2001).
    pub fn fluctuation(&self) -> f64 {
        let (a, b) = self.roots();
        self.variance * (a + b) * (1.0 / a + 1.0 / b).cbrt()
    }
}

/// Compares WᵀW with the law for the variance of W's entries. `None` for a matrix without entries or of zeros.
pub fn compare(name: &str, matrix: &Array2<f64>) -> Option<MarchenkoPastur> {
    let (outputs, inputs) = matrix.dim();
    let variance = matrix.iter().map(|entry| entry * entry).sum::<f64>() / matrix.len().max(1) as f64;
    if variance <= 0.0 || !variance.is_finite() {
        return None;
    }
    let law = Law { outputs, inputs, variance };
    let mut eigenvalues: Vec<f64> = eigen::singular_values(matrix).iter().map(|s| s * s).collect();
    eigenvalues.sort_by(f64::total_cmp);
    let ((low, high), slack) = (law.edges(), UNITS * law.fluctuation());
    let mean = matrix.iter().sum::<f64>() / matrix.len() as f64;
    Some(MarchenkoPastur {
        weight: name.to_string(),
        law,
        mean_over_deviation: mean / variance.sqrt(),
        below: eigenvalues.iter().filter(|&&value| value < low - slack).count(),
        above: eigenvalues.iter().filter(|&&value| value > high + slack).count(),
        slack,
        distance: distance(&law.shares(&eigenvalues)),
        eigenvalues,
    })
}

/// sup |F_n − F| for the values F(x₁) ≤ F(x₂) ≤ … of a sample.
fn distance(shares: &[f64]) -> f64 {
    let n = shares.len() as f64;
    let at =
        |(i, share): (usize, &f64)| (share - i as f64 / n).abs().max((share - (i as f64 + 1.0) / n).abs());
    shares.iter().enumerate().map(at).fold(0.0, f64::max)
}

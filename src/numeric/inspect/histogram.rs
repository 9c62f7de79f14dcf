//! The density of a spectrum over a logarithmic axis, zeros and negative eigenvalues apart.

use crate::numeric::spectrum::{RANK_TOLERANCE, Spectrum};

/// Shares of the eigenvalues; `bins`, `zero` and `negative` sum to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Of equal width in log₁₀ λ, from `low` to `high`.
    pub bins: Vec<f64>,
    pub low: f64,
    pub high: f64,
    /// Eigenvalues that count as zero, and those below them.
    pub zero: f64,
    pub negative: f64,
}

/// Decades that a plot shows at most: what lies lower goes into its first bin.
const DECADES: f64 = 12.0;

impl Histogram {
    /// `None` for a matrix without positive eigenvalues.
    pub fn of(spectrum: &Spectrum, count: usize) -> Option<Histogram> {
        let density = spectrum.density();
        let largest = density.iter().map(|node| node.0.abs()).fold(0.0, f64::max);
        let tolerance = RANK_TOLERANCE * largest;
        let positive: Vec<(f64, f64)> =
            density.iter().filter(|node| node.0 > tolerance).map(|node| (node.0.log10(), node.1)).collect();
        let high = positive.iter().map(|node| node.0).reduce(f64::max)?;
        let low = positive.iter().map(|node| node.0).fold(high, f64::min).max(high - DECADES);
        // A single value gets a decade around it.
        let (low, high) = if high - low < 1e-3 { (low - 0.5, high + 0.5) } else { (low, high) };
        let mut bins = vec![0.0; count];
        for (place, weight) in positive {
            let at = ((place - low) / (high - low) * count as f64).max(0.0) as usize;
            bins[at.min(count - 1)] += weight;
        }
        let share = |keep: &dyn Fn(f64) -> bool| {
            density.iter().filter(|node| keep(node.0)).map(|node| node.1).sum::<f64>()
        };
        let zero = share(&|value| value.abs() <= tolerance);
        let negative = share(&|value| value < -tolerance);
        Some(Histogram { bins, low: 10_f64.powf(low), high: 10_f64.powf(high), zero, negative })
    }
}

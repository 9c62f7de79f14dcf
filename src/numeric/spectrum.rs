//! What is said of a symmetric matrix by its eigenvalues: all of them where the matrix falls into blocks that fit, else
//! estimates from products.

use super::eigen;
use super::lanczos::{self, Effort, Estimate};
use super::point::Point;
use super::products::Products;

/// Eigenvalues up to this share of the largest one in magnitude count as zero.
pub const RANK_TOLERANCE: f64 = 1e-10;
/// Rows of the largest block whose eigenvalues are all computed.
pub const LARGEST_BLOCK: usize = 2048;
/// Entries of all blocks together.
const MOST_ENTRIES: usize = 1 << 25;

#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    pub dim: usize,
    pub trace: f64,
    pub min: f64,
    pub max: f64,
    /// max|λ|/min|λ|; infinite where an eigenvalue counts as zero. Of an estimated spectrum a lower bound, not a number
    /// where there are eigenvalues of both signs.
    pub condition: f64,
    /// The like over the eigenvalues that do not count as zero; `None` where only estimates are known.
    pub condition_nonzero: Option<f64>,
    /// Eigenvalues that do not count as zero.
    pub rank: f64,
    /// (Σ|λ|)²/Σλ², the participation ratio: how many equal eigenvalues would have this sum and sum of squares.
    pub effective_rank: f64,
    pub known: Known,
}

/// Where the numbers come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// Every eigenvalue, ascending, from this many diagonal blocks.
    Full { eigenvalues: Vec<f64>, blocks: usize },
    /// By Lanczos' method. The trace is exact where `trace_is_exact`.
    Estimated { estimate: Estimate, trace_is_exact: bool },
}

impl Spectrum {
    /// Of all eigenvalues, in any order.
    pub fn of_eigenvalues(mut eigenvalues: Vec<f64>, blocks: usize) -> Spectrum {
        eigenvalues.sort_by(f64::total_cmp);
        let largest = eigenvalues.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let nonzero = eigenvalues.iter().map(|value| value.abs());
        let nonzero: Vec<f64> = nonzero.filter(|&size| size > RANK_TOLERANCE * largest).collect();
        let smallest = nonzero.iter().copied().fold(f64::INFINITY, f64::min);
        let full = nonzero.len() == eigenvalues.len() && !nonzero.is_empty();
        Spectrum {
            dim: eigenvalues.len(),
            trace: eigenvalues.iter().sum(),
            min: eigenvalues.first().copied().unwrap_or(0.0),
            max: eigenvalues.last().copied().unwrap_or(0.0),
            condition: if full { largest / smallest } else { f64::INFINITY },
            condition_nonzero: (!nonzero.is_empty()).then(|| largest / smallest),
            rank: nonzero.len() as f64,
            effective_rank: participation(nonzero.iter().sum(), nonzero.iter().map(|size| size * size).sum()),
            known: Known::Full { eigenvalues, blocks },
        }
    }

    /// From products: `trace` where it is known exactly, `rank_bound` what the shapes alone allow.
    fn estimated(estimate: Estimate, trace: Option<f64>, rank_bound: usize) -> Spectrum {
        let largest = estimate.max.value.abs().max(estimate.min.value.abs());
        let is_zero = |value: f64| value.abs() <= RANK_TOLERANCE * largest;
        let nonzero: f64 =
            estimate.nodes.iter().filter(|node| !is_zero(node.0)).map(|node| node.1).sum::<f64>();
        let absolute: f64 =
            estimate.nodes.iter().map(|node| node.0.abs() * node.1).sum::<f64>() * estimate.dim as f64;
        let condition = match estimate.min.value {
            _ if rank_bound < estimate.dim => f64::INFINITY,
            min if is_zero(min) => f64::INFINITY,
            // The smallest eigenvalue is not above the estimate.
            min if min > 0.0 => largest / min,
            _ => f64::NAN,
        };
        Spectrum {
            dim: estimate.dim,
            trace: trace.unwrap_or(estimate.trace.value),
            min: estimate.min.value,
            max: estimate.max.value,
            condition,
            condition_nonzero: None,
            rank: (nonzero * estimate.dim as f64).min(rank_bound as f64),
            effective_rank: participation(absolute, estimate.square.value),
            known: Known::Estimated { estimate, trace_is_exact: trace.is_some() },
        }
    }

    /// tr H / dim, the mean eigenvalue.
    pub fn mean(&self) -> f64 {
        if self.dim == 0 { 0.0 } else { self.trace / self.dim as f64 }
    }

    /// Of the positive eigenvalues that do not count as zero.
    pub fn geometric_mean(&self) -> f64 {
        let positive = self.density().into_iter().filter(|node| node.0 > RANK_TOLERANCE * self.max);
        let (logarithms, mass) = positive
            .fold((0.0, 0.0), |(sum, mass), (value, weight)| (sum + weight * value.ln(), mass + weight));
        if mass > 0.0 { (logarithms / mass).exp() } else { 0.0 }
    }

    /// The density as values and weights that sum to one: the eigenvalues themselves, or the quadrature's nodes.
    pub fn density(&self) -> Vec<(f64, f64)> {
        match &self.known {
            Known::Full { eigenvalues, .. } => {
                let weight = 1.0 / eigenvalues.len().max(1) as f64;
                eigenvalues.iter().map(|&value| (value, weight)).collect()
            }
            Known::Estimated { estimate, .. } => estimate.nodes.clone(),
        }
    }
}

fn participation(sum: f64, squares: f64) -> f64 {
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// Where the numbers of one spectrum are to come from.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Rows of the largest block whose eigenvalues are all computed.
    pub largest_block: usize,
    pub effort: Effort,
    pub seed: u64,
    /// The trace, where a closed form gave it.
    pub trace: Option<f64>,
    /// The rank that the shapes allow.
    pub rank_bound: usize,
}

/// The spectrum of a Hessian that is known by its products. An error says that its entries are not finite.
pub fn spectrum(point: &mut Point, products: &Products, request: Request) -> Result<Spectrum, NotFinite> {
    let groups = products.groups();
    let (count, size) = (groups.count(), groups.size());
    if size <= request.largest_block && count.saturating_mul(size * size) <= MOST_ENTRIES {
        let blocks = products.blocks(point);
        if blocks.iter().flatten().any(|entry| !entry.is_finite()) {
            return Err(NotFinite);
        }
        return Ok(Spectrum::of_eigenvalues(blocks.iter().flat_map(eigen::eigenvalues).collect(), count));
    }
    let mut finite = true;
    let mut apply = |vectors: &ndarray::Array2<f64>| {
        let images = products.apply(point, vectors);
        // Lanczos' method goes on with zeros, to be given up below.
        let good = images.iter().all(|entry| entry.is_finite());
        finite &= good;
        if good { images } else { ndarray::Array2::zeros(images.raw_dim()) }
    };
    let estimate = lanczos::estimate(products.dim(), &mut apply, request.seed, request.effort);
    if finite { Ok(Spectrum::estimated(estimate, request.trace, request.rank_bound)) } else { Err(NotFinite) }
}

/// Entries of a Hessian overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFinite;

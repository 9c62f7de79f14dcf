//! A block's part of the whole network's Gauss–Newton matrix, G_b = (∂z_B/∂W_b)ᵀ Hess(l) (∂z_B/∂W_b), against products
//! of local quantities.
//!
//! With Ĥ_B = Hess(l) and Ĥ_{b−1} = J_bᵀ Ĥ_b J_b: G_b = A_bᵀ Ĥ_b A_b, A_b = ∂z_b/∂W_b, so that the nonzero eigenvalues of
//! G_b are those of Ĥ_b A_b A_bᵀ, and with h_b = tr Ĥ_b/N_b, K = J_b J_bᵀ and ° for the traceless part
//! h_{b−1} = h_b m_z + tr(Ĥ_b° K°)/N_{b−1}. That tr(G_b)/p_b is m_W ∏ m_z, which the scale factors assume, is a
//! heuristic: it leaves the last term out.

use ndarray::Array2;

use super::ModeFactors;
use crate::ir::ScaleMode;
use crate::numeric::eigen;
use crate::numeric::lanczos::Effort;
use crate::numeric::point::Point;
use crate::numeric::products::Products;
use crate::numeric::spectrum::{NotFinite, Request, Spectrum, spectrum};

/// Entries of the largest matrix that takes part in the exact identities.
const MOST_ENTRIES: usize = 1 << 21;

#[derive(Clone, Debug)]
pub struct Global {
    /// The spectrum of G_b.
    pub spectrum: Spectrum,
    /// tr(G_b)/p_b, and what the scale factors make of it.
    pub mean: f64,
    pub heuristic: f64,
    pub identities: Option<Identities>,
}

/// What holds exactly, evaluated where the matrices fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Identities {
    /// The largest difference between the nonzero eigenvalues of G_b and of Ĥ_b A_b A_bᵀ, over the largest one.
    pub spectra_differ: f64,
    /// h_b and h_{b−1}.
    pub above: f64,
    pub below: f64,
    /// h_b m_z, and tr(Ĥ_b° K°)/N_{b−1}: they sum to h_{b−1}.
    pub product: f64,
    pub correlation: f64,
}

/// Ĥ_b of every block that fits, from the last block down.
pub fn curvatures(point: &mut Point) -> Vec<Option<Array2<f64>>> {
    let count = point.blocks.len();
    let mut found: Vec<Option<Array2<f64>>> = vec![None; count];
    for index in (0..count).rev() {
        let output = point.size(point.blocks[index].output);
        if output * output > MOST_ENTRIES {
            break;
        }
        found[index] = match index + 1 == count {
            true => point.loss_hessian(index),
            false => below(point, index + 1, found[index + 1].clone()),
        };
    }
    found
}

/// J_bᵀ Ĥ_b J_b.
fn below(point: &mut Point, block: usize, above: Option<Array2<f64>>) -> Option<Array2<f64>> {
    let (above, input) = (above?, point.blocks[block].input);
    if point.size(input) * above.nrows() > MOST_ENTRIES {
        return None;
    }
    let jacobian = point.jacobian(block, input);
    Some(jacobian.t().dot(&above.dot(&jacobian)))
}

pub struct Setting<'a> {
    pub factors: &'a [ModeFactors],
    pub largest_block: usize,
    pub effort: Effort,
    pub seed: u64,
}

/// `above` is Ĥ_b, where it fits.
pub fn inspect(
    point: &mut Point,
    block: usize,
    above: Option<&Array2<f64>>,
    setting: &Setting,
) -> Result<Option<Global>, NotFinite> {
    let wrt = point.parameters_of(block);
    if wrt.is_empty() {
        return Ok(None);
    }
    let entries: usize = wrt.iter().map(|&expr| point.size(expr)).sum();
    let rank_bound = entries.min(point.size(point.blocks[point.blocks.len() - 1].output));
    let Setting { largest_block, effort, seed, .. } = *setting;
    let request = Request { largest_block, effort, seed, trace: None, rank_bound };
    let products = Products::global(point, &wrt);
    let found = spectrum(point, &products, request)?;
    let identities = above.and_then(|above| identities(point, block, above, &found));
    let heuristic = heuristic(point, block, setting.factors);
    Ok(Some(Global { mean: found.mean(), heuristic, spectrum: found, identities }))
}

/// m_W ∏_{k>b} m_z in mode `trace`, over all parameters of the block. Both carry the 1/m of Hess(l) and the sum over
/// samples that the normalized factors leave out: they cancel.
fn heuristic(point: &Point, block: usize, factors: &[ModeFactors]) -> f64 {
    let Some(exact) = factors.iter().find(|factors| factors.mode == ScaleMode::Trace) else {
        return f64::NAN;
    };
    let sizes = point.blocks[block].params.iter().map(|param| point.size(param.value) as f64);
    let weighted: f64 = sizes.clone().zip(&exact.m_w).map(|(size, m_w)| size * m_w).sum();
    exact.m * weighted / sizes.sum::<f64>()
}

fn identities(point: &mut Point, block: usize, above: &Array2<f64>, found: &Spectrum) -> Option<Identities> {
    let wrt = point.parameters_of(block);
    let input = point.blocks[block].input;
    let columns: usize = wrt.iter().map(|&expr| point.size(expr)).sum();
    if above.nrows() * columns.max(point.size(input)) > MOST_ENTRIES {
        return None;
    }
    let a = point.jacobians(block, &wrt);
    let spectra_differ = difference(&found.density(), &co_gram(above, &a));
    let jacobian = point.jacobian(block, input);
    let (rows, columns) = jacobian.dim();
    let (n, k) = (rows as f64, jacobian.dot(&jacobian.t()));
    let trace = |matrix: &Array2<f64>| matrix.diag().sum();
    let joint = (above * &k.t()).sum();
    Some(Identities {
        spectra_differ,
        above: trace(above) / n,
        below: joint / columns as f64,
        product: trace(above) / n * trace(&k) / columns as f64,
        correlation: (joint - trace(above) * trace(&k) / n) / columns as f64,
    })
}

/// Eigenvalues of Ĥ A Aᵀ through the symmetric R A Aᵀ R, R = Ĥ^½: the same but for zeros.
fn co_gram(above: &Array2<f64>, a: &Array2<f64>) -> Vec<f64> {
    let (values, vectors) = eigen::symmetric(above);
    let root = Array2::from_diag(
        &values.iter().map(|value| value.max(0.0).sqrt()).collect::<ndarray::Array1<f64>>(),
    );
    let half = root.dot(&vectors.t().dot(a));
    eigen::eigenvalues(&half.dot(&half.t()))
}

/// The largest difference of two lists of eigenvalues from the largest down, zeros filled up.
fn difference(density: &[(f64, f64)], other: &[f64]) -> f64 {
    let mut own: Vec<f64> = density.iter().map(|node| node.0).collect();
    let mut other = other.to_vec();
    let length = own.len().max(other.len());
    for list in [&mut own, &mut other] {
        list.resize(length, 0.0);
        list.sort_by(|a, b| b.total_cmp(a));
    }
    let scale = own.first().copied().unwrap_or(0.0).abs().max(f64::MIN_POSITIVE);
    own.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / scale
}

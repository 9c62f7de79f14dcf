//! Eigenvalues of small symmetric matrices, by Jacobi's rotations: independent of what the library uses.

use ndarray::Array2;

/// Eigenvalues in ascending order, and the eigenvectors as columns.
pub fn eigen(matrix: &Array2<f64>) -> (Vec<f64>, Array2<f64>) {
    let n = matrix.nrows();
    let (mut a, mut vectors) = ((matrix + &matrix.t()) / 2.0, Array2::eye(n));
    let total = a.iter().map(|x| x * x).sum::<f64>();
    for _ in 0..60 {
        let off: f64 = a.indexed_iter().filter(|((i, j), _)| i != j).map(|(_, x)| x * x).sum();
        if off <= 1e-30 * total {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut vectors, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[[i, i]].total_cmp(&a[[j, j]]));
    let values = order.iter().map(|&i| a[[i, i]]).collect();
    (values, Array2::from_shape_fn((n, n), |(i, j)| vectors[[i, order[j]]]))
}

fn rotate(a: &mut Array2<f64>, vectors: &mut Array2<f64>, p: usize, q: usize) {
    if a[[p, q]] == 0.0 {
        return;
    }
    let theta = (a[[q, q]] - a[[p, p]]) / (2.0 * a[[p, q]]);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let t = if theta == 0.0 { 1.0 } else { t };
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..a.nrows() {
        let (x, y) = (a[[k, p]], a[[k, q]]);
        (a[[k, p]], a[[k, q]]) = (c * x - s * y, s * x + c * y);
    }
    for k in 0..a.nrows() {
        let (x, y) = (a[[p, k]], a[[q, k]]);
        (a[[p, k]], a[[q, k]]) = (c * x - s * y, s * x + c * y);
        let (x, y) = (vectors[[k, p]], vectors[[k, q]]);
        (vectors[[k, p]], vectors[[k, q]]) = (c * x - s * y, s * x + c * y);
    }
}

pub fn eigenvalues(matrix: &Array2<f64>) -> Vec<f64> {
    eigen(matrix).0
}

/// A root of a positive semidefinite matrix: L with L Lᵀ = H.
pub fn root(matrix: &Array2<f64>) -> Array2<f64> {
    let (values, vectors) = eigen(matrix);
    let mut root = vectors;
    for (mut column, value) in root.columns_mut().into_iter().zip(values) {
        column *= value.max(0.0).sqrt();
    }
    root
}

/// Singular values, ascending.
pub fn singular(matrix: &Array2<f64>) -> Vec<f64> {
    eigenvalues(&matrix.t().dot(matrix)).into_iter().map(|value| value.max(0.0).sqrt()).collect()
}

/// Largest over smallest singular value.
pub fn condition(matrix: &Array2<f64>) -> f64 {
    let values = singular(matrix);
    values[values.len() - 1] / values[0]
}

/// Those of both spectra that are not zero agree.
#[track_caller]
pub fn same_spectrum(a: &Array2<f64>, b: &Array2<f64>, tolerance: f64, what: &str) {
    let largest = |values: &[f64]| values.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    let (mut left, mut right) = (eigenvalues(a), eigenvalues(b));
    let scale = largest(&left);
    left.retain(|value| value.abs() > tolerance * scale);
    right.retain(|value| value.abs() > tolerance * scale);
    assert_eq!(left.len(), right.len(), "{what}: {left:?} {right:?}");
    for (x, y) in left.iter().zip(&right) {
        assert!((x - y).abs() <= tolerance * scale, "{what}: {x} is not {y}");
    }
}

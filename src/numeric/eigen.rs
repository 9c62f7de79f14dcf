//! Dense symmetric eigenvalues and singular values, by faer.

use faer::{Mat, Side};
use ndarray::Array2;

/// Eigenvalues ascending, and the eigenvectors as columns. The matrix is taken as symmetric and must be finite.
pub fn symmetric(matrix: &Array2<f64>) -> (Vec<f64>, Array2<f64>) {
    let n = matrix.nrows();
    if n == 0 {
        return (vec![], Array2::zeros((0, 0)));
    }
    let found = faer_of(matrix).self_adjoint_eigen(Side::Lower).expect("finite and symmetric");
    let values = found.S().column_vector().iter().copied().collect();
    let vectors = found.U();
    (values, Array2::from_shape_fn((n, n), |(i, j)| vectors[(i, j)]))
}

/// Eigenvalues of a symmetric finite matrix, ascending.
pub fn eigenvalues(matrix: &Array2<f64>) -> Vec<f64> {
    if matrix.is_empty() {
        return vec![];
    }
    let mean = |i: usize, j: usize| 0.5 * (matrix[[i, j]] + matrix[[j, i]]);
    let n = matrix.nrows();
    let symmetric = Mat::from_fn(n, n, mean);
    let mut values = symmetric.self_adjoint_eigenvalues(Side::Lower).expect("finite and symmetric");
    values.sort_by(f64::total_cmp);
    values
}

/// Singular values of a finite matrix, descending; as many as its smaller side.
pub fn singular_values(matrix: &Array2<f64>) -> Vec<f64> {
    if matrix.is_empty() {
        return vec![];
    }
    let mut values = faer_of(matrix).singular_values().expect("finite");
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

fn faer_of(matrix: &Array2<f64>) -> Mat<f64> {
    Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[[i, j]])
}

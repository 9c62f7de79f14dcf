//! Case 3: a dense layer with batch normalization, against the closed forms with P and T.

use ndarray::{Array1, Array2, Axis, s};

use crate::algebra::eigenvalues;
use crate::{At, Matrices, block_diagonal, diagonal, eye, kron, outer, same};

const M: usize = 6;
const IN: usize = 3;
const OUT: usize = 4;

/// What the closed forms are made of, per feature of the output.
struct Case {
    at: At,
    x: Array2<f64>,
    w: Array2<f64>,
    gamma: Vec<f64>,
    g: Array2<f64>,
    /// √(v + ε)
    s: Vec<f64>,
    /// x̂_i over the samples, as columns.
    standardized: Array2<f64>,
    q: Vec<f64>,
}

impl Case {
    fn new(eps: f64, affine: bool, seed: u64) -> Case {
        let norm = format!("batch_norm(eps = {eps:?}, affine = {affine})");
        let chain = format!(
            "|> block a {{ dense({OUT}, bias = true) |> {norm} }} |> block out {{ dense(2) }} |> cross_entropy"
        );
        let at = At::new(IN, "class[2]", &chain, M, seed);
        let mut point = at.point();
        let (x, g, w) = (point.z(0), point.g(0), at.param("a.dense.W"));
        let gamma = if affine { at.param("a.batch_norm.gamma").row(0).to_vec() } else { vec![1.0; OUT] };
        let mut a = x.dot(&w.t());
        a -= &a.mean_axis(Axis(0)).expect("samples");
        let v = a.mapv(|a| a * a).mean_axis(Axis(0)).expect("samples");
        let s = v.mapv(|v| (v + eps).sqrt()).to_vec();
        let standardized = &a / &Array1::from(s.clone());
        let q = v.iter().map(|v| v / (v + eps)).collect();
        Case { at, x, w, gamma, g, s, standardized, q }
    }

    fn hat(&self, i: usize) -> Vec<f64> {
        self.standardized.column(i).to_vec()
    }

    fn centring() -> Array2<f64> {
        eye(M) - Array2::from_elem((M, M), 1.0 / M as f64)
    }

    /// P_i² = I − 11ᵀ/M − (2 − q) x̂x̂ᵀ/M.
    fn squared_projector(&self, i: usize) -> Array2<f64> {
        let hat = self.hat(i);
        Case::centring() - outer(&hat, &hat) * ((2.0 - self.q[i]) / M as f64)
    }

    /// Σ_j g_j ∂²x̂_j.
    fn second(&self, i: usize) -> Array2<f64> {
        let (hat, p0) = (self.hat(i), Case::centring());
        let g = p0.dot(&self.g.column(i)).to_vec();
        let c: f64 = self.g.column(i).iter().zip(&hat).map(|(g, x)| g * x).sum();
        let m = M as f64;
        (p0 * -c - outer(&g, &hat) - outer(&hat, &g) + outer(&hat, &hat) * (3.0 * c / m))
            / (m * self.s[i].powi(2))
    }

    /// γ²P²/s² per feature, with γT where the Hessian is exact.
    fn curvature(&self, i: usize, exact: bool) -> Array2<f64> {
        let newton = self.squared_projector(i) * (self.gamma[i] / self.s[i]).powi(2);
        if exact { newton + self.second(i) * self.gamma[i] } else { newton }
    }

    fn row(&self, i: usize) -> Vec<f64> {
        self.w.row(i).to_vec()
    }

    /// Biased covariance of the input.
    fn covariance(&self) -> Array2<f64> {
        self.x.t().dot(&Case::centring()).dot(&self.x) / M as f64
    }
}

#[test]
fn case_3_dense_with_batch_norm() {
    for (eps, affine, seed) in [(1e-5, true, 1), (0.3, true, 2), (0.0, false, 3)] {
        let case = Case::new(eps, affine, seed);
        let mut point = case.at.point();
        let [z, weight, bias] = ["z", "W", "b"].map(|name| point.wrt(0, name));
        let found =
            [[point.newton(0, z), point.newton(0, weight)], [point.exact(0, z), point.exact(0, weight)]];
        for (exact, [by_z, by_w]) in [false, true].into_iter().zip(found) {
            let what = format!("ε = {eps}, exact: {exact}");
            let sum = (0..OUT).fold(Array2::zeros((M * IN, M * IN)), |sum: Array2<f64>, i| {
                sum + kron(&case.curvature(i, exact), &outer(&case.row(i), &case.row(i)))
            });
            same(&by_z, &sum, 1e-11, &format!("H_z, {what}"));
            let rows: Vec<Array2<f64>> =
                (0..OUT).map(|i| case.x.t().dot(&case.curvature(i, exact)).dot(&case.x)).collect();
            same(&by_w, &block_diagonal(&rows), 1e-11, &format!("H_W, {what}"));
        }
        let c = case.covariance();
        let rows: Vec<Array2<f64>> = (0..OUT)
            .map(|i| {
                let cw = c.dot(&case.w.row(i)).to_vec();
                let scale = M as f64 * (case.gamma[i] / case.s[i]).powi(2);
                (&c - &(outer(&cw, &cw) * ((2.0 - case.q[i]) / case.s[i].powi(2)))) * scale
            })
            .collect();
        same(&point.newton(0, weight), &block_diagonal(&rows), 1e-10, "H_W by the covariance of the input");
        let jacobian = point.jacobian(0, bias);
        assert!(
            jacobian.iter().all(|entry| entry.abs() < 1e-12),
            "a bias before the normalization does nothing"
        );
        if affine {
            let [gamma, beta] = ["gamma", "beta"].map(|name| point.wrt(0, name));
            let q: Vec<f64> = case.q.iter().map(|q| M as f64 * q).collect();
            same(&point.newton(0, gamma), &diagonal(&q), 1e-11, "H_γ = diag(m q)");
            same(&point.newton(0, beta), &(eye(OUT) * M as f64), 1e-11, "H_β = m I");
        }
    }
}

/// ε = 0: H_W,i w_i = 0, exactly −∂l/∂w_i; the sample blocks of H_z sum to zero; ranks are as counted.
#[test]
fn null_spaces_of_case_3() {
    let case = Case::new(0.0, true, 4);
    let mut point = case.at.point();
    let [z, weight] = ["z", "W"].map(|name| point.wrt(0, name));
    let (newton, exact, by_z) = (point.newton(0, weight), point.exact(0, weight), point.newton(0, z));
    let gradient = point.entries(point.blocks[0].params[0].gradient);
    let gradient = Array2::from_shape_vec((OUT, IN), gradient).expect("a matrix");
    for i in 0..OUT {
        let rows = s![i * IN..(i + 1) * IN, i * IN..(i + 1) * IN];
        let column = case.w.row(i).to_owned().insert_axis(Axis(1));
        let size = newton.iter().fold(0.0f64, |size, entry| size.max(entry.abs()));
        let image = newton.slice(rows).dot(&column);
        assert!(image.iter().all(|entry| entry.abs() < 1e-12 * size), "H_W w = 0: {image}");
        let expected = gradient.row(i).mapv(|g| -g).insert_axis(Axis(1));
        same(&exact.slice(rows).dot(&column), &expected, 1e-9, "exact: H_W w = −∂l/∂w");
    }
    let mut sum = Array2::zeros((IN, IN));
    for j in 0..M {
        for k in 0..M {
            sum += &by_z.slice(s![j * IN..(j + 1) * IN, k * IN..(k + 1) * IN]);
        }
    }
    assert!(sum.iter().all(|entry: &f64| entry.abs() < 1e-10), "a common shift of all samples does nothing");
    let rank = |matrix| {
        let values = eigenvalues(matrix);
        values.iter().filter(|value| **value > 1e-9 * values[values.len() - 1]).count()
    };
    assert_eq!(rank(&newton), OUT * (IN - 1).min(M - 2), "rank of H_W");
    // Besides a common shift of all samples, scaling them about their mean does nothing to a normalized block.
    assert_eq!(rank(&by_z), ((M - 1) * IN - 1).min(OUT * (M - 2)), "rank of H_z");
}

/// The paper's forms hold mean and variance constant and take a mean over the batch: H̃_z is the mean of the sample
/// blocks but for 1 − 2/m, H̃_W lacks the factor m, the centring and the rank-one term.
#[test]
fn the_papers_form_of_case_3_and_what_it_leaves_out() {
    let case = Case::new(0.0, false, 6);
    let mut point = case.at.point();
    let [z, weight] = ["z", "W"].map(|name| point.wrt(0, name));
    let (by_z, by_w) = (point.newton(0, z), point.newton(0, weight));
    let paper_z = (0..OUT).fold(Array2::zeros((IN, IN)), |sum: Array2<f64>, i| {
        sum + outer(&case.row(i), &case.row(i)) / case.s[i].powi(2)
    });
    let m = M as f64;
    let mut mean = Array2::zeros((IN, IN));
    for j in 0..M {
        mean += &by_z.slice(s![j * IN..(j + 1) * IN, j * IN..(j + 1) * IN]);
        for k in 0..M {
            let expected = (0..OUT).fold(Array2::zeros((IN, IN)), |sum: Array2<f64>, i| {
                let bracket = f64::from(u8::from(j == k)) - (1.0 + case.hat(i)[j] * case.hat(i)[k]) / m;
                sum + outer(&case.row(i), &case.row(i)) * (bracket / case.s[i].powi(2))
            });
            let block = by_z.slice(s![j * IN..(j + 1) * IN, k * IN..(k + 1) * IN]).to_owned();
            same(&block, &expected, 1e-10, "a sample block");
        }
    }
    same(&(mean / m), &(paper_z * (1.0 - 2.0 / m)), 1e-10, "mean of the sample blocks");
    let mu = case.x.mean_axis(Axis(0)).expect("samples").to_vec();
    let c = case.covariance();
    for i in 0..OUT {
        let variance = case.s[i].powi(2);
        let paper_w = case.x.t().dot(&case.x) / (m * variance);
        let cw = c.dot(&case.w.row(i)).to_vec();
        let expected = (paper_w - outer(&mu, &mu) / variance - outer(&cw, &cw) / variance.powi(2)) * m;
        let block = by_w.slice(s![i * IN..(i + 1) * IN, i * IN..(i + 1) * IN]).to_owned();
        same(&block, &expected, 1e-10, "H_W,i = m[H̃_W,i − μμᵀ/Var − C w wᵀ C/Var²]");
    }
}

/// With statistics that are held, as in inference, the paper's H̃_z and m·H̃_W are exact, times γ² where there is one.
#[test]
fn the_papers_form_is_exact_for_held_statistics() {
    let text = "op held_norm()(x: [n]) {
    let mu = stop(mean(x, over = [batch]))
    let var = stop(mean((x - mu)^2, over = [batch]))
    (x - mu) / sqrt(var)
}
network net(x: f32[3]) -> class[2] { x |> block a { dense(4) |> held_norm } |> block out { dense(2) } |> cross_entropy }
";
    let at = At::program(text, M, 8);
    let (mut point, w) = (at.point(), at.param("a.dense.W"));
    let x = point.z(0);
    let mut a = x.dot(&w.t());
    a -= &a.mean_axis(Axis(0)).expect("samples");
    let variance = a.mapv(|a| a * a).mean_axis(Axis(0)).expect("samples");
    let inverse = diagonal(&variance.mapv(|v| 1.0 / v).to_vec());
    let [z, weight] = ["z", "W"].map(|name| point.wrt(0, name));
    same(&point.newton(0, z), &kron(&eye(M), &w.t().dot(&inverse).dot(&w)), 1e-11, "H_z = I ⊗ H̃_z");
    same(&point.newton(0, weight), &kron(&inverse, &x.t().dot(&x)), 1e-11, "H_W = m H̃_W");
    same(&point.exact(0, z), &point.newton(0, z), 1e-12, "affine");
}

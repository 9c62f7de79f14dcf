//! Case 2: blocks with a skip connection, and the remark on their conditioning.

use ndarray::Array2;

use crate::algebra::{condition, eigenvalues, singular};
use crate::{At, Matrices, block_diagonal, diagonal, eye, same};

/// H_z = (S + Φ)ᵀ(S + Φ) with Φ = W₂ D W₁; in H_W the skip drops out.
#[test]
fn case_2_skip() {
    let branch = "dense(5) |> relu |> dense(4)";
    let chain =
        |body: String| format!("|> block a {{ {body} }} |> block out {{ dense(2) }} |> cross_entropy");
    for (body, shortcut) in
        [(format!("residual({branch})"), false), (format!("residual({branch}, shortcut = dense(4))"), true)]
    {
        let at = At::new(4, "class[2]", &chain(body), 3, 5);
        let mut point = at.point();
        let x = point.z(0);
        let weights: Vec<Array2<f64>> = at.network.params[..at.network.params.len() - 1]
            .iter()
            .map(|param| at.param(&param.name))
            .collect();
        // The branch stands before its shortcut.
        let (w1, w2) = (&weights[0], &weights[1]);
        let s = if shortcut { weights[2].clone() } else { eye(4) };
        let part = |j: usize| {
            let active = w1.dot(&x.row(j)).mapv(|a| f64::from(u8::from(a > 0.0)));
            let whole = &s + &w2.dot(&diagonal(&active.to_vec())).dot(w1);
            whole.t().dot(&whole)
        };
        let z = point.wrt(0, "z");
        same(&point.newton(0, z), &block_diagonal(&[part(0), part(1), part(2)]), 1e-12, "H_z");
        let mut plain = At::new(4, "class[2]", &chain(branch.to_string()), 3, 5);
        let names: Vec<String> = plain.network.params[..2].iter().map(|param| param.name.clone()).collect();
        plain.set(&names[0], w1);
        plain.set(&names[1], w2);
        plain.batch = at.batch.clone();
        let mut without = plain.point();
        for place in 0..2 {
            let [with, alone] = [&point, &without].map(|point| point.blocks[0].params[place].value);
            same(&point.newton(0, with), &without.newton(0, alone), 1e-12, "H_W of the branch");
        }
    }
}

/// cond(I + Φ) by the library: the root of cond(H_z) of residual(dense) with W = Φ.
fn conditioning(at: &mut At, phi: &Array2<f64>) -> (f64, Vec<f64>) {
    let name = at.network.params[0].name.clone();
    at.set(&name, phi);
    let mut point = at.point();
    let z = point.wrt(0, "z");
    let values = eigenvalues(&point.newton(0, z));
    ((values[values.len() - 1] / values[0]).sqrt(), values)
}

fn residual_dense(n: usize) -> At {
    let chain = format!("|> block a {{ residual(dense({n})) }} |> block out {{ dense(2) }} |> squared_error");
    At::new(n, "f32[2]", &chain, 1, 1)
}

/// σ_max(Φ) < 1 − s and C(Φ) > (1+s)/(1−s) do not give C(I+Φ) < C(Φ) for s < ½.
#[test]
fn the_skip_remark_is_false_as_printed() {
    let (mut at, s) = (residual_dense(3), 0.1);
    let phi = diagonal(&[-0.89, 0.89, 0.70]);
    let sigma = singular(&phi);
    assert!(sigma[2] < 1.0 - s && condition(&phi) > (1.0 + s) / (1.0 - s), "both premises hold");
    let (with_skip, _) = conditioning(&mut at, &phi);
    assert!((condition(&phi) - 0.89 / 0.70).abs() < 1e-9);
    assert!((with_skip - 1.89 / 0.11).abs() < 1e-6, "17.2 and not below 1.27: {with_skip}");
    // A whole family: Φ = diag(−r, r, r/t).
    for s in [0.05, 0.2, 0.35, 0.45] {
        let r: f64 = (1.0 - s) * (1.0 - 1e-6);
        let t = ((1.0 + s) / (1.0 - s) * 1.001).min((1.0 + r) / (1.0 - r));
        let phi = diagonal(&[-r, r, r / t]);
        assert!(condition(&phi) > (1.0 + s) / (1.0 - s) && singular(&phi)[2] < 1.0 - s);
        assert!(conditioning(&mut at, &phi).0 > condition(&phi), "s = {s}");
    }
}

/// With σ_max(Φ) < s in place of 1 − s, or C(Φ) ≥ (2−s)/s in place of (1+s)/(1−s), it holds for every s, as it does as
/// printed for s ≥ ½; and always (1−σ)² ≤ λ(H_z) ≤ (1+σ)².
#[test]
fn the_skip_remark_holds_as_corrected() {
    let mut at = residual_dense(3);
    let mut applied = [0; 3];
    for draw in 0..240u32 {
        let uniform = |place: u32| 2.0 * blkc::sym::random::uniform(draw, &[17], place) - 1.0;
        let raw = Array2::from_shape_fn((3, 3), |(i, j)| uniform((3 * i + j) as u32));
        let s = 0.5 * (uniform(9) + 1.0) * 0.98 + 0.01;
        // A share of the draws nearly as large as each premise allows, with a spread of singular values.
        let limit = if draw % 3 == 0 { s } else { 1.0 - s };
        let largest = singular(&raw)[2];
        let phi = raw * (limit * (0.9 + 0.099 * (uniform(10) + 1.0) / 2.0) / largest);
        let (sigma, c) = (singular(&phi)[2], condition(&phi));
        let (with_skip, values) = conditioning(&mut at, &phi);
        assert!(values[0] >= (1.0 - sigma).powi(2) - 1e-9 && values[2] <= (1.0 + sigma).powi(2) + 1e-9);
        let premises = [
            sigma < s && c > (1.0 + s) / (1.0 - s),
            sigma < 1.0 - s && c >= (2.0 - s) / s,
            s >= 0.5 && sigma < 1.0 - s && c > (1.0 + s) / (1.0 - s),
        ];
        for (count, holds) in applied.iter_mut().zip(premises) {
            *count += usize::from(holds);
            assert!(!holds || with_skip < c, "draw {draw}: {with_skip} is not below {c}");
        }
    }
    assert!(applied.iter().all(|&count| count >= 10), "the premises were met {applied:?} times");
}

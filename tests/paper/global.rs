//! The global Gauss–Newton Hessian and the local ones: what of "a product of local Hessians" holds; and the law of
//! Marchenko and Pastur at initialization.

use blkc::numeric::point::{Point, initial_parameters};
use blkc::sym::dense::jacobian_matrix;
use ndarray::{Array2, s};

use crate::algebra::{eigenvalues, root, same_spectrum};
use crate::{At, Matrices, distance, eye, kron, same, trace};

/// Ĥ_B = Hess(l), Ĥ_{b−1} = J_bᵀ Ĥ_b J_b: by block, Ĥ_b.
fn chained(point: &mut Point) -> Vec<Array2<f64>> {
    let last = point.blocks.len() - 1;
    let mut all = vec![point.loss_hessian(last).expect("the last block")];
    for block in (1..=last).rev() {
        let z = point.wrt(block, "z");
        let jacobian = point.jacobian(block, z);
        let above = &all[all.len() - 1];
        all.push(jacobian.t().dot(&above.dot(&jacobian)));
    }
    all.reverse();
    all
}

fn chains() -> Vec<At> {
    let blocks = [
        (
            "class[3]",
            "|> block a { dense(4) |> tanh } |> block b { dense(3) |> batch_norm(eps = 0.1) } |> block out { dense(3, bias = true) } |> cross_entropy",
        ),
        (
            "f32[2]",
            "|> block a { dense(3) |> relu } |> block b { residual(dense(3) |> gelu) } |> block out { dense(2) } |> squared_error",
        ),
    ];
    blocks.iter().map(|(target, blocks)| At::new(3, target, blocks, 4, 3)).collect()
}

/// G_b = A_bᵀ Ĥ_b A_b, against the Jacobian of the whole network from W_b to the output.
#[test]
fn the_global_hessian_is_the_chain_around_the_local_jacobian() {
    for at in chains() {
        let mut point = at.point();
        let chain = chained(&mut point);
        let output = point.blocks[point.blocks.len() - 1].output;
        for (block, above) in chain.iter().enumerate() {
            let w = point.wrt(block, "W").to_owned();
            let local = point.jacobian(block, w);
            let whole = jacobian_matrix(&mut point.graph, &mut point.values, output, w);
            let global = whole.t().dot(&chain[chain.len() - 1].dot(&whole));
            same(&local.t().dot(&above.dot(&local)), &global, 1e-11, &at.network.name);
        }
    }
}

/// The nonzero spectrum of G_b is that of Ĥ_b·A_bA_bᵀ: the product is with the co-Gram A Aᵀ, not with H_W = AᵀA.
#[test]
fn the_spectrum_of_the_global_hessian_is_that_of_a_product_with_the_co_gram() {
    for at in chains() {
        let mut point = at.point();
        let chain = chained(&mut point);
        for (block, above) in chain.iter().enumerate() {
            let w = point.wrt(block, "W");
            let local = point.jacobian(block, w);
            let half = root(above);
            let product = half.t().dot(&local.dot(&local.t())).dot(&half);
            same_spectrum(&local.t().dot(&above.dot(&local)), &product, 1e-8, "co-Gram");
        }
        // The block below the last: Ĥ is its neighbour's local Hessian.
        let last = chain.len() - 1;
        let z = point.wrt(last, "z");
        same(&point.newton(last, z), &chain[last - 1], 1e-11, "Ĥ_{B−1} = H_z of the last block");
    }
}

/// Deep linear networks with squared loss: G_b = (TᵀT) ⊗ (S/m), all products of the eigenvalues of both.
#[test]
fn eigenvalues_multiply_in_deep_linear_networks_with_squared_loss() {
    let chain = "|> block a { dense(4) } |> block b { dense(3) } |> block out { dense(2) } |> squared_error";
    let at = At::new(3, "f32[2]", chain, 5, 7);
    let mut point = at.point();
    let chain = chained(&mut point);
    let x = point.z(0);
    let t = at.param("out.dense.W").dot(&at.param("b.dense.W"));
    let w = point.wrt(0, "W");
    let local = point.jacobian(0, w);
    let global = local.t().dot(&chain[0].dot(&local));
    same(&global, &kron(&t.t().dot(&t), &(x.t().dot(&x) / 5.0)), 1e-11, "G_b");
}

/// With three factors the claim is false, even linear, square and of one sample; it holds for scaled orthogonal weights.
#[test]
fn the_product_of_three_local_hessians_has_another_spectrum() {
    let chain = "|> block a { dense(4) } |> block b { dense(4) } |> block out { dense(4) } |> squared_error";
    let mut at = At::new(4, "f32[4]", chain, 1, 2);
    let spectra = |at: &At| {
        let mut point = at.point();
        let chain = chained(&mut point);
        let [below, above] = [1, 2].map(|block| {
            let z = point.wrt(block, "z");
            point.newton(block, z)
        });
        let half = root(&above);
        // The eigenvalues of the product H_z·H_z by its symmetric form.
        (eigenvalues(&chain[0]), eigenvalues(&half.t().dot(&below).dot(&half)))
    };
    let off = |(chain, product): (Vec<f64>, Vec<f64>)| {
        let worst = chain.iter().zip(&product).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        worst / chain[chain.len() - 1]
    };
    assert!(off(spectra(&at)) > 0.05, "false in general");
    let rotation = Array2::from_shape_fn((4, 4), |(i, j)| {
        let signs =
            [[1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0], [1.0, -1.0, -1.0, 1.0]];
        1.7 * 0.5 * signs[i][j]
    });
    at.set("b.dense.W", &rotation);
    assert!(off(spectra(&at)) < 1e-9, "true where all but one are scaled orthogonal");
}

/// h_{b−1} = h_b·m_z + tr(Ĥ°K°)/N_{b−1}: what Algorithm 2 multiplies is the first part, the second vanishes on average.
#[test]
fn the_trace_recursion_of_algorithm_2_and_its_correction() {
    for at in chains() {
        let mut point = at.point();
        let chain = chained(&mut point);
        for block in 1..chain.len() {
            let z = point.wrt(block, "z");
            let jacobian = point.jacobian(block, z);
            let (above, k) = (&chain[block], jacobian.dot(&jacobian.t()));
            let (outputs, inputs) = (jacobian.nrows() as f64, jacobian.ncols() as f64);
            let traceless = |m: &Array2<f64>| m - &(eye(m.nrows()) * (trace(m) / m.nrows() as f64));
            let m_z = trace(&k) / inputs;
            let correction = trace(&traceless(above).dot(&traceless(&k))) / inputs;
            let (h, below) = (trace(above) / outputs, trace(&chain[block - 1]) / inputs);
            assert!((below - (h * m_z + correction)).abs() < 1e-12 * below.abs(), "block {block}");
            if block + 1 < chain.len() {
                let newton = point.newton(block, z);
                assert!((m_z - trace(&newton) / inputs).abs() < 1e-12, "m_z = tr H_z/N");
            }
        }
    }
}

/// λ_max of the chain is at most the product of the local ones.
#[test]
fn the_largest_eigenvalues_multiply_to_a_bound() {
    for at in chains() {
        let mut point = at.point();
        let chain = chained(&mut point);
        let top = |matrix: &Array2<f64>| *eigenvalues(matrix).last().expect("not empty");
        let w = point.wrt(0, "W");
        let local = point.jacobian(0, w);
        let mut bound = top(&local.t().dot(&local));
        for block in 1..chain.len() {
            let z = point.wrt(block, "z");
            bound *= top(&point.newton(block, z));
        }
        assert!(top(&local.t().dot(&chain[0].dot(&local))) <= bound * (1.0 + 1e-12));
    }
}

/// The local Hessian of a dense block at initialization: edges σ²(√n_out ± √n_in)², the density between them, and
/// n_in − n_out zeros where the layer narrows.
#[test]
fn marchenko_pastur_at_initialization() {
    for (rows, columns) in [(96usize, 48usize), (48, 48), (48, 120)] {
        let chain = format!("|> block a {{ dense({rows}) }} |> block out {{ dense(2) }} |> squared_error");
        let mut at = At::new(columns, "f32[2]", &chain, 1, 1);
        at.parameters = initial_parameters(&blkc::hessian::program::derive(&at.network), 5);
        let mut point = at.point();
        let z = point.wrt(0, "z");
        let values = eigenvalues(&point.newton(0, z));
        let variance = 2.0 / columns as f64;
        let (n_out, n_in) = (rows as f64, columns as f64);
        let [low, high] = [-1.0, 1.0].map(|sign| variance * (n_out.sqrt() + sign * n_in.sqrt()).powi(2));
        let zeros = values.iter().filter(|value| **value < 1e-9 * high).count();
        assert_eq!(zeros, columns.saturating_sub(rows));
        let unit = variance * (n_out.sqrt() + n_in.sqrt()) * (1.0 / n_out.sqrt() + 1.0 / n_in.sqrt()).cbrt();
        let (first, last) = (values[zeros], values[values.len() - 1]);
        assert!((last - high).abs() < 6.0 * unit && first > low - 6.0 * unit, "{first} to {last}");
        let nonzero = &values[zeros..];
        let cumulated = distribution(low, high);
        let count = nonzero.len() as f64;
        let ks =
            nonzero.iter().enumerate().map(|(i, &value)| (cumulated(value) - (i as f64 + 0.5) / count).abs());
        let ks = ks.fold(0.0, f64::max);
        assert!(ks < 0.06, "{rows} × {columns}: Kolmogorov–Smirnov distance {ks}");
    }
}

/// The share of nonzero eigenvalues below λ: √((λ₊ − λ)(λ − λ₋))/λ, integrated and normalized. With λ = centre −
/// radius·cos t the roots at the edges cancel.
fn distribution(low: f64, high: f64) -> impl Fn(f64) -> f64 {
    const STEPS: usize = 4000;
    let (centre, radius) = ((low + high) / 2.0, (high - low) / 2.0);
    let mut sums = vec![0.0];
    for step in 0..STEPS {
        let t = std::f64::consts::PI * (step as f64 + 0.5) / STEPS as f64;
        sums.push(sums[step] + (radius * t.sin()).powi(2) / (centre - radius * t.cos()));
    }
    move |value| {
        let cosine = ((centre - value) / radius).clamp(-1.0, 1.0);
        let place = cosine.acos() / std::f64::consts::PI * STEPS as f64;
        sums[place.round() as usize] / sums[STEPS]
    }
}

/// Per sample the Hessian of a dense block is one and the same matrix.
#[test]
fn samples_share_the_hessian_of_a_linear_block() {
    let at = At::new(3, "f32[2]", "|> block a { dense(4) } |> block out { dense(2) } |> squared_error", 3, 1);
    let mut point = at.point();
    let z = point.wrt(0, "z");
    let all = point.newton(0, z);
    let [first, third] = [0, 2].map(|j| all.slice(s![3 * j..3 * j + 3, 3 * j..3 * j + 3]).to_owned());
    assert!(distance(&first, &third) < 1e-14);
}

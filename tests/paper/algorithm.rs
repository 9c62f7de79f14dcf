//! Algorithm 2 and the paper's scale factors.

use std::collections::HashMap;

use blkc::hessian::factors::factors;
use blkc::ir::ScaleMode;
use ndarray::{Array2, Axis};

use crate::{At, Matrices};

/// m_z and the first parameter's m_W of every block.
fn scale_factors(at: &At, mode: ScaleMode) -> Vec<(f64, f64)> {
    let mut point = at.point();
    let blocks = point.blocks.clone();
    let numbers = |block: &blkc::hessian::BlockExprs| {
        let found = factors(&mut point.graph, block, mode);
        (point.number(found.m_z), point.number(found.m_w[0]))
    };
    blocks.iter().map(numbers).collect()
}

/// What one step of training subtracts from each parameter, over its learning rate; and the gradient.
fn steps(at: &At, rate: f64) -> HashMap<String, (Vec<f64>, Vec<f64>)> {
    let (mut point, train) = at.training_point();
    let mut found = HashMap::new();
    for param in point.blocks.clone().iter().flat_map(|block| &block.params) {
        let symbol = point.symbols.params[param.id.index()];
        let write = train.writes.iter().find(|write| write.symbol == symbol).expect("updated");
        let axes = point.graph.symbol_info(symbol).axes.clone();
        let (before, after) = (point.entries(param.value), point.entries_along(write.value, &axes));
        let step = before.iter().zip(after).map(|(before, after)| (before - after) / rate).collect();
        let gradient = point.entries_along(param.gradient, &axes);
        found.insert(at.network.param(param.id).name.clone(), (step, gradient));
    }
    found
}

const NORMALIZED: &str = "|> block a { dense(7) |> batch_norm(eps = 0.0) |> relu } |> block b { dense(4) |> batch_norm(eps = 0.0) |> relu } |> block out { dense(3) } |> cross_entropy";

fn trained(mode: &str) -> At {
    let text = format!(
        "network net(x: f32[5]) -> class[3] {{ x {NORMALIZED} }}\ntrain net {{ optimizer = scale_amended(lr = 0.1, mode = {mode}) }}\n"
    );
    At::program(&text, 8, 4)
}

fn square(matrix: &Array2<f64>) -> f64 {
    matrix.iter().map(|entry| entry * entry).sum()
}

/// ‖Wᵀ‖²₂,μ/‖W‖²₂,μ is n_out/n_in whatever the weights; m_W = n_out/‖W‖²_F.
#[test]
fn the_papers_m_z_is_the_ratio_of_widths() {
    let at = At::new(5, "class[3]", NORMALIZED, 8, 4).scaled("a.dense.W", |row| 1.0 + row as f64);
    let found = scale_factors(&at, ScaleMode::Paper);
    for ((m_z, m_w), (name, rows, columns)) in
        found.into_iter().zip([("a.dense.W", 7.0, 5.0), ("b.dense.W", 4.0, 7.0), ("out.dense.W", 3.0, 4.0)])
    {
        assert!((m_z - rows / columns).abs() < 1e-12, "{name}: {m_z}");
        assert!((m_w * square(&at.param(name)) / rows - 1.0).abs() < 1e-12, "{name}: {m_w}");
    }
}

/// The products of the paper's factors telescope: δ′W_b = δW_b ‖W_b‖²_F/n_B.
#[test]
fn the_papers_factors_telescope() {
    let at = trained("paper");
    let steps = steps(&at, 0.1);
    for name in ["a.dense.W", "b.dense.W", "out.dense.W"] {
        let (step, gradient) = &steps[name];
        let factor = square(&at.param(name)) / 3.0;
        for (step, gradient) in step.iter().zip(gradient) {
            assert!((step - factor * gradient).abs() < 1e-9 * (factor * gradient).abs().max(1e-6), "{name}");
        }
    }
    // Biases, γ and β keep their gradients.
    let (step, gradient) = &steps["a.batch_norm.gamma"];
    assert!(step.iter().zip(gradient).all(|(step, gradient)| (step - gradient).abs() < 1e-9));
}

/// ε = 0: W_b → α_b W_b in blocks with batch normalization gives steps α_b times as large, so that training does not see
/// the scale. Plain gradients shrink instead.
#[test]
fn steps_follow_the_scale_of_normalized_weights() {
    const ALPHA: f64 = 3.0;
    for mode in ["paper", "trace"] {
        let before = steps(&trained(mode), 0.1);
        let after = steps(&trained(mode).scaled("b.dense.W", |_| ALPHA), 0.1);
        for (name, by, plain) in [("a.dense.W", 1.0, 1.0), ("b.dense.W", ALPHA, 1.0 / ALPHA)] {
            let (old, new) = (&before[name], &after[name]);
            let size = |values: &[f64]| values.iter().fold(0.0f64, |size, value| size.max(value.abs()));
            for i in 0..old.0.len() {
                assert!((new.0[i] - by * old.0[i]).abs() < 1e-8 * size(&new.0), "{mode}: {name}");
                assert!((new.1[i] - plain * old.1[i]).abs() < 1e-8 * size(&new.1), "{mode}: {name}");
            }
        }
    }
}

/// A batch of mean zero and covariance I: Gram–Schmidt on centred columns.
fn white(samples: usize, features: usize) -> Array2<f64> {
    let uniform = |i: usize, j: usize| blkc::sym::random::uniform(3, &[j as u32], i as u32) - 0.5;
    let mut x = Array2::from_shape_fn((samples, features), |(i, j)| uniform(i, j));
    for j in 0..features {
        let mean = x.column(j).sum() / samples as f64;
        x.column_mut(j).mapv_inplace(|entry| entry - mean);
        for k in 0..j {
            let earlier = x.column(k).to_owned();
            let share = earlier.dot(&x.column(j)) / samples as f64;
            x.column_mut(j).scaled_add(-share, &earlier);
        }
        let norm = (x.column(j).dot(&x.column(j)) / samples as f64).sqrt();
        x.column_mut(j).mapv_inplace(|entry| entry / norm);
    }
    x
}

/// White input, ε = 0, γ = 1: exactly m_z = (1 − 2/m) n_out/n_in and m_W = (1 − 1/n_in)·mean 1/‖w‖², where the paper
/// has n_out/n_in and 1/mean ‖w‖²: a constant apart, and an arithmetic mean in place of a harmonic one.
#[test]
fn white_input_identities() {
    let (m, inputs, outputs) = (9, 4, 6);
    let chain = format!(
        "|> block a {{ dense({outputs}) |> batch_norm(eps = 0.0, affine = false) }} |> block out {{ dense(2) }} |> cross_entropy"
    );
    let mut at = At::new(inputs, "class[2]", &chain, m, 3).scaled("a.dense.W", |row| 0.5 + row as f64);
    let x = white(m, inputs);
    let covariance = x.t().dot(&x) / m as f64;
    assert!((covariance - Array2::<f64>::eye(inputs)).iter().all(|entry| entry.abs() < 1e-12));
    at.batch.inputs = x.iter().copied().collect();
    let (m_z, m_w) = scale_factors(&at, ScaleMode::Trace)[0];
    let norms = at.param("a.dense.W").map_axis(Axis(1), |row| row.dot(&row));
    let (m, n_in, n_out) = (m as f64, inputs as f64, outputs as f64);
    assert!((m_z - (1.0 - 2.0 / m) * n_out / n_in).abs() < 1e-11, "{m_z}");
    let harmonic = norms.mapv(f64::recip).mean().expect("rows");
    assert!((m_w - (1.0 - 1.0 / n_in) * harmonic).abs() < 1e-11, "{m_w}");
    let (paper_z, paper_w) = scale_factors(&at, ScaleMode::Paper)[0];
    assert!((paper_z * (1.0 - 2.0 / m) - m_z).abs() < 1e-11);
    let jensen = norms.mean().expect("rows") * harmonic;
    assert!(jensen > 1.5 && (m_w - (1.0 - 1.0 / n_in) * jensen * paper_w).abs() < 1e-11);
    // The traces themselves, of the dense Hessians.
    let mut point = at.point();
    let [z, w] = ["z", "W"].map(|name| point.wrt(0, name));
    let (by_z, by_w) = (crate::trace(&point.newton(0, z)), crate::trace(&point.newton(0, w)));
    assert!((by_z / (m * n_in) - m_z).abs() < 1e-11 && (by_w / (m * n_in * n_out) - m_w).abs() < 1e-11);
}

/// Covariance τ²I divides m_z by τ², which the paper's factor does not see, and leaves m_W.
#[test]
fn the_papers_m_z_does_not_see_the_scale_of_the_input() {
    let chain = "|> block a { dense(6) |> batch_norm(eps = 0.0, affine = false) } |> block out { dense(2) } |> cross_entropy";
    let mut at = At::new(4, "class[2]", chain, 9, 3);
    let before = [ScaleMode::Trace, ScaleMode::Paper].map(|mode| scale_factors(&at, mode)[0]);
    at.batch.inputs.iter_mut().for_each(|entry| *entry *= 3.0);
    let after = [ScaleMode::Trace, ScaleMode::Paper].map(|mode| scale_factors(&at, mode)[0]);
    assert!((after[0].0 * 9.0 / before[0].0 - 1.0).abs() < 1e-11);
    assert!((after[0].1 / before[0].1 - 1.0).abs() < 1e-11);
    assert_eq!(after[1], before[1]);
}

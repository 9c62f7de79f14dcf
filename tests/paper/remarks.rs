//! Remarks 1 and 2: what scaling a weight does to the local Hessians of blocks with batch normalization.

use ndarray::Array2;

use crate::{At, Matrices, distance, same};

const ALPHA: f64 = 2.5;

/// Gauss–Newton and exact Hessians of a block by z and by W.
fn hessians(at: &At, block: usize) -> [Array2<f64>; 4] {
    let mut point = at.point();
    let [z, w] = ["z", "W"].map(|name| point.wrt(block, name));
    [point.newton(block, z), point.newton(block, w), point.exact(block, z), point.exact(block, w)]
}

fn one_block(ops: &str) -> At {
    let chain = format!("|> block a {{ {ops} }} |> block out {{ dense(2) }} |> cross_entropy");
    At::new(3, "class[2]", &chain, 6, 5)
}

/// W → αW before a batch normalization with ε = 0: H_z stays, H_W → α⁻² H_W, whatever follows; also row by row.
#[test]
fn remark_1() {
    for ops in [
        "dense(4) |> batch_norm(eps = 0.0)",
        "dense(4, bias = true) |> batch_norm(eps = 0.0) |> tanh",
        "dense(4) |> batch_norm(eps = 0.0, affine = false) |> relu",
    ] {
        let (plain, scaled) = (one_block(ops), one_block(ops).scaled("a.dense.W", |_| ALPHA));
        let (before, after) = (hessians(&plain, 0), hessians(&scaled, 0));
        for (z, w) in [(0, 1), (2, 3)] {
            same(&after[z], &before[z], 1e-10, ops);
            same(&after[w], &(&before[w] / (ALPHA * ALPHA)), 1e-10, ops);
        }
        let rows = [0.5, 3.0, 1.0, 7.0];
        let by_row = hessians(&one_block(ops).scaled("a.dense.W", |row| rows[row]), 0);
        same(&by_row[0], &before[0], 1e-10, "each row by a number of its own");
        same(&by_row[2], &before[2], 1e-10, "each row by a number of its own, exact");
    }
}

/// It needs ε = 0 (with ε > 0 the scaling acts as ε → ε/α²) and, once an activation follows, α > 0.
#[test]
fn remark_1_outside_of_its_conditions() {
    let with_eps = "dense(4) |> batch_norm(eps = 0.3, affine = false)";
    let before = hessians(&one_block(with_eps), 0);
    let after = hessians(&one_block(with_eps).scaled("a.dense.W", |_| ALPHA), 0);
    assert!(distance(&before[0], &after[0]) > 0.05, "ε > 0");
    let smaller = format!("dense(4) |> batch_norm(eps = {:?}, affine = false)", 0.3 / (ALPHA * ALPHA));
    same(&after[0], &hessians(&one_block(&smaller), 0)[0], 1e-10, "ε → ε/α²");
    let bare = "dense(4) |> batch_norm(eps = 0.0)";
    let flipped = hessians(&one_block(bare).scaled("a.dense.W", |_| -ALPHA), 0);
    same(
        &flipped[0],
        &hessians(&one_block(bare), 0)[0],
        1e-10,
        "the sign does not matter to a bare normalization",
    );
    let active = "dense(4) |> batch_norm(eps = 0.0) |> relu";
    let flipped = hessians(&one_block(active).scaled("a.dense.W", |_| -ALPHA), 0);
    assert!(distance(&hessians(&one_block(active), 0)[0], &flipped[0]) > 0.1, "it does with an activation");
}

fn two_blocks(below: &str) -> At {
    let chain = format!(
        "|> block a {{ {below} }} |> block b {{ dense(4) |> batch_norm(eps = 0.0) |> relu }} |> block out {{ dense(2) }} |> cross_entropy"
    );
    At::new(3, "class[2]", &chain, 6, 5)
}

/// Scaling below multiplies z_{b−1} by one positive number c: H_W of the block above stays, H_z → c⁻² H_z.
#[test]
fn remark_2() {
    let scaled_bias = two_blocks("dense(5, bias = true) |> relu").scaled("a.dense.b", |_| ALPHA);
    let pairs = [
        (two_blocks("dense(5) |> relu"), two_blocks("dense(5) |> relu")),
        (two_blocks("dense(5) |> leaky_relu"), two_blocks("dense(5) |> leaky_relu")),
        (two_blocks("dense(5, bias = true) |> relu"), scaled_bias),
    ];
    for (plain, scaled) in pairs {
        let scaled = scaled.scaled("a.dense.W", |_| ALPHA);
        let (before, after) = (hessians(&plain, 1), hessians(&scaled, 1));
        for (z, w) in [(0, 1), (2, 3)] {
            same(&after[w], &before[w], 1e-10, "H_W");
            same(&after[z], &(&before[z] / (ALPHA * ALPHA)), 1e-10, "H_z");
        }
    }
    // A normalization below takes the scale away before it arrives: nothing changes, whatever activation.
    let below = "dense(5) |> batch_norm(eps = 0.0) |> tanh";
    let scaled = two_blocks(below).scaled("a.dense.W", |_| ALPHA);
    for (after, before) in hessians(&scaled, 1).iter().zip(&hessians(&two_blocks(below), 1)) {
        same(after, before, 1e-10, "normalized below");
    }
}

/// A bias that is not scaled, an activation that is not homogeneous, rows scaled apart, a branch scaled alone: H_W
/// changes, and by much.
#[test]
fn remark_2_outside_of_its_conditions() {
    type ByRow = fn(usize) -> f64;
    let cases: [(&str, &str, ByRow); 4] = [
        ("dense(5, bias = true) |> relu", "a.dense.W", |_| ALPHA),
        ("dense(5) |> tanh", "a.dense.W", |_| ALPHA),
        ("dense(5) |> relu", "a.dense.W", |row| 1.0 + row as f64),
        ("residual(dense(3))", "a.residual.phi.dense.W", |_| ALPHA),
    ];
    for (below, name, by) in cases {
        let (plain, scaled) = (two_blocks(below), two_blocks(below).scaled(name, by));
        let change = distance(&hessians(&plain, 1)[1], &hessians(&scaled, 1)[1]);
        assert!(change > 0.02, "{below}: {change}");
    }
}

//! Elaborated programs evaluated by the intrinsics' references give the losses of an independent automatic
//! differentiation (tests/fixtures/oracle).

use std::collections::HashMap;

use blkc::driver::{FrontOptions, front};
use blkc::intrinsics::Tensor;
use blkc::ir::evaluate::{Mode, evaluate};
use blkc::ir::{Leaf, Network};
use blkc::source::MemoryLoader;
use ndarray::{ArrayD, IxDyn};
use serde_json::Value;

const CASES: [(&str, &str, &str); 6] = [
    ("dense_bn_affine", "class[3]", "b1 { dense(4, bias = true) |> batch_norm }"),
    ("dense_bn_eps_large", "class[3]", "b1 { dense(4) |> batch_norm(eps = 0.3) }"),
    ("dense_layernorm", "class[3]", "b1 { dense(6) |> layer_norm(eps = 0.05) }"),
    ("dense_gelu", "class[3]", "b1 { dense(6, bias = true) |> gelu }"),
    ("residual_mlp", "class[3]", "b1 { residual(dense(7, bias = true) |> relu |> dense(5, bias = true)) }"),
    ("dense_bn_sq", "f32[3]", "b1 { dense(4) |> batch_norm(affine = false) }"),
];

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/oracle/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("a fixture")).expect("JSON")
}

fn network(target: &str, block: &str, fixture: &Value) -> Network {
    let loss = if target.starts_with("class") { "cross_entropy" } else { "squared_error" };
    let text = format!(
        "network case(x: f32[5]) -> {target} {{\nx |> block {block} |> block b2 {{ dense(3, bias = true) }} |> {loss}\n}}\n"
    );
    let loader = MemoryLoader([("case.blk".to_string(), text)].into());
    let options =
        FrontOptions { batch: fixture["batch"].as_u64().map(|batch| batch as usize), ..Default::default() };
    let front = front("case.blk", &loader, &options);
    assert!(front.diagnostics.is_empty(), "{:?}", front.diagnostics);
    front.networks.into_iter().next().expect("one network")
}

/// An array of the fixture over the axes of a leaf.
fn tensor(network: &Network, leaf: Leaf, array: &Value) -> Tensor {
    let node = network.nodes.iter().find(|node| matches!(node.op, blkc::ir::Op::Leaf(l) if l == leaf));
    let axes = node.expect("the leaf").ty.axes.clone();
    let extents: Vec<usize> = axes.iter().map(|&axis| network.axes.extent(axis)).collect();
    let data =
        array["data"].as_array().expect("numbers").iter().map(|x| x.as_f64().expect("a number")).collect();
    Tensor { axes, values: ArrayD::from_shape_vec(IxDyn(&extents), data).expect("the shape") }
}

fn leaves(network: &Network, fixture: &Value) -> HashMap<Leaf, Tensor> {
    let mut leaves = HashMap::from([
        (Leaf::Input, tensor(network, Leaf::Input, &fixture["z0"])),
        (Leaf::Target, tensor(network, Leaf::Target, &fixture["target"])),
    ]);
    for (block, described) in network.blocks.iter().zip(fixture["blocks"].as_array().expect("blocks")) {
        let names = described["params"].as_array().expect("parameters");
        assert_eq!(block.params.len(), names.len());
        for (&param, name) in block.params.iter().zip(names) {
            let array = &fixture["params"][name["name"].as_str().expect("a name")];
            leaves.insert(Leaf::Param(param), tensor(network, Leaf::Param(param), array));
        }
    }
    leaves
}

#[test]
fn losses_are_those_of_the_oracle() {
    for (name, target, block) in CASES {
        let fixture = fixture(name);
        let network = network(target, block, &fixture);
        let leaves = leaves(&network, &fixture);
        let values = evaluate(&network, &|leaf| leaves.get(&leaf).cloned(), Mode::Training, &[network.loss])
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let loss = values[0].values.mean().expect("samples");
        let expected = fixture["loss"].as_f64().expect("the loss");
        assert!((loss - expected).abs() < 1e-12 * expected.abs(), "{name}: {loss} is not {expected}");
    }
}

#[test]
fn evaluation_takes_running_averages() {
    let fixture = fixture("dense_bn_sq");
    let network = network("f32[3]", "b1 { dense(4) |> batch_norm(affine = false) }", &fixture);
    let leaves = leaves(&network, &fixture);
    let loss = |mode| {
        let values =
            evaluate(&network, &|leaf| leaves.get(&leaf).cloned(), mode, &[network.loss]).expect("values");
        values[0].values.mean().expect("samples")
    };
    let average = |stat: blkc::ir::StatId| {
        let stat = &network.stats[stat.index()];
        let extents: Vec<usize> = stat.axes.iter().map(|&axis| network.axes.extent(axis)).collect();
        Some(Tensor { axes: stat.axes.clone(), values: ArrayD::from_elem(IxDyn(&extents), stat.start) })
    };
    assert!((loss(Mode::Evaluation(&average)) - loss(Mode::Training)).abs() > 1e-6);
    assert!(evaluate(&network, &|_| None, Mode::Training, &[network.loss]).is_err());
}

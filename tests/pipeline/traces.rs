//! The scale factors of mode `trace` against the squared norms of Jacobians that are measured entry by entry.

use blkc::ir::evaluate::Mode;
use blkc::sym::Symbol;

use crate::machine::{Pipeline, Values, network};
use crate::reference::noise;

/// First blocks: from five inputs.
const BLOCKS: [&str; 14] = [
    "dense(4, bias = true) |> batch_norm |> relu",
    "dense(4) |> layer_norm |> tanh",
    "layer_norm",
    "batch_norm",
    "residual(dense(5))",
    "residual(dense(5) |> tanh)",
    "residual(relu |> dense(5))",
    "residual(dense(5) |> batch_norm)",
    "residual(batch_norm |> relu |> dense(5) |> batch_norm |> relu)",
    "residual(layer_norm |> dense(5))",
    "residual(dense(7) |> gelu |> dense(5), shortcut = dense(5))",
    "residual(residual(dense(5)) |> tanh)",
    "residual(gated(5))",
    "residual(relu |> gated(5) |> batch_norm)",
];

fn program(block: &str) -> String {
    format!(
        "op gated(n: int)(x: [d]) -> [n] {{
    param W: [n, d] ~ kaiming(fan_in = d) as weight
    param V: [n, d] ~ xavier(fan_in = d, fan_out = n) as weight
    (W @ x) * sigmoid(V @ x)
}}

network net(x: f32[5]) -> class[3] {{
    x
    |> block first {{ {block} }}
    |> block out {{ dense(3) }}
    |> cross_entropy
}}

train net {{
    batch = 6
    optimizer = scale_amended(lr = 0.1, mode = trace, amend = all)
}}
"
    )
}

/// ‖∂z₁/∂argument‖²_F by central differences of the references.
fn squared_norm(pipeline: &Pipeline, values: &Values, argument: Symbol) -> f64 {
    const STEP: f64 = 1e-6;
    let root = [(pipeline.network.blocks[0].output, pipeline.probe.outputs[0])];
    let output = |entry: usize, by: f64| {
        let mut values = values.clone();
        let value = values.get_mut(&argument).expect("a value");
        *value.values.iter_mut().nth(entry).expect("an entry") += by;
        pipeline.reference(&values, Mode::Training, &root)[&root[0].1].values.clone()
    };
    let column = |entry: usize| {
        let slopes = (output(entry, STEP) - output(entry, -STEP)) / (2.0 * STEP);
        slopes.iter().map(|slope| slope * slope).sum::<f64>()
    };
    (0..pipeline.size(argument)).map(column).sum()
}

#[test]
fn factors_are_the_traces_of_measured_jacobians() {
    for block in BLOCKS {
        let pipeline = Pipeline::new(network(&program(block), None));
        let mut values = pipeline.start();
        let symbols = &pipeline.plan.symbols;
        for (stream, &symbol) in symbols.params.iter().chain([&symbols.input]).enumerate() {
            values.insert(symbol, pipeline.tensor(symbol, noise(stream as u32, pipeline.size(symbol))));
        }
        let written = pipeline.evaluate("train", &values);
        let factor = |symbol: Symbol| written[&symbol].values.sum();
        let same = |what: &str, found: f64, expected: f64| {
            let close = (found - expected).abs() < 1e-6 * expected.abs().max(1e-3);
            assert!(close, "{block}: {what} is {found}, not {expected}");
        };
        let inputs = pipeline.size(symbols.input);
        same("m_z", factor(symbols.m_z[0]), squared_norm(&pipeline, &values, symbols.input) / inputs as f64);
        let batch = pipeline.size(symbols.target);
        for id in &pipeline.network.blocks[0].params {
            let (symbol, m_w) =
                (symbols.params[id.index()], symbols.m_w[id.index()].expect("all are amended"));
            let entries = batch * pipeline.size(symbol);
            let expected = squared_norm(&pipeline, &values, symbol) / entries as f64;
            same(&pipeline.network.param(*id).name, factor(m_w), expected);
        }
    }
}

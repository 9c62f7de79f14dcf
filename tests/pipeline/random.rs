//! Random small programs: whatever well-formed pipeline is written, it goes through every stage, its loops compute
//! what its expressions mean, and its gradients are the slopes of its loss.

use blkc::hessian::program;
use blkc::numeric::verify::{Options, generic_parameters, random_batch, verify};
use blkc::sym::Tensor;
use proptest::prelude::*;

use crate::machine::{Engine, PROBE, Pipeline, Values, network};
use crate::reference::{noise, slope};

/// With eps so large that rounding errors are not magnified where a value happens to be constant.
const PIECES: [&str; 13] = [
    "relu",
    "tanh",
    "sigmoid",
    "gelu",
    "silu",
    "softplus",
    "leaky_relu(slope = 0.2)",
    "bias",
    "layer_norm(eps = 0.1)",
    "batch_norm(eps = 0.1)",
    "layer_norm(eps = 0.1, affine = false)",
    "batch_norm(eps = 0.1, affine = false)",
    "identity",
];

/// Optimizers, and whether their step is continuous in the gradient: the others make a full step of what is zero but
/// for rounding, as the gradient of a bias in front of a normalization.
const OPTIMIZERS: [(&str, bool); 6] = [
    ("adam(lr = 0.01)", false),
    ("lars(lr = 0.1)", false),
    ("sgd(lr = 0.1, momentum = 0.9)", true),
    ("scale_amended(lr = 0.01)", true),
    ("scale_amended(lr = 0.01, mode = measured)", true),
    ("scale_amended(lr = 0.01, mode = trace)", true),
];

/// One op of a pipeline: which, and how wide.
type Step = (u8, usize);

/// A pipeline from `width` entries, and how many it ends with.
fn pipeline(steps: &[Step], mut width: usize) -> (String, usize) {
    let mut ops = Vec::new();
    for (place, &(kind, size)) in steps.iter().enumerate() {
        let bias = if size % 2 == 0 { ", bias = true" } else { "" };
        let rest = &steps[place + 1..];
        ops.push(match kind {
            0..=5 => {
                width = size;
                format!("dense({size}{bias})")
            }
            // The branch takes the rest of the pipeline, and comes back to the width of its input or its shortcut.
            6 => {
                let (branch, end) = pipeline(rest, width);
                let back = if end == width { String::new() } else { format!(" |> dense({width})") };
                ops.push(format!("residual({branch}{back})"));
                return (ops.join(" |> "), width);
            }
            7 => {
                let (branch, end) = pipeline(rest, width);
                ops.push(format!("residual({branch}, shortcut = dense({end}{bias}))"));
                return (ops.join(" |> "), end);
            }
            _ => PIECES[size % PIECES.len()].to_string(),
        });
    }
    (if ops.is_empty() { "identity".into() } else { ops.join(" |> ") }, width)
}

fn program(inputs: usize, blocks: &[Vec<Step>], classes: bool, optimizer: &str) -> String {
    let mut width = inputs;
    let mut text = String::new();
    for (number, steps) in blocks.iter().enumerate() {
        let (ops, end) = pipeline(steps, width);
        text += &format!("    |> block b{number} {{ {ops} }}\n");
        width = end;
    }
    let (target, loss) = if classes { ("class[3]", "cross_entropy") } else { ("f32[3]", "squared_error") };
    format!(
        "network net(x: f32[{inputs}]) -> {target} {{\n    x\n{text}    |> block out {{ dense(3, bias = true) }}\n    |> {loss}\n}}\n\ntrain net {{\n    optimizer = {optimizer}\n}}\n"
    )
}

/// Parameters of their initializers, moved off zero, and a batch.
pub fn values(pipeline: &Pipeline) -> Values {
    let symbols = &pipeline.plan.symbols;
    let mut values = pipeline.start();
    values.insert(symbols.seed[0], Tensor::scalar(5.0));
    values.extend(pipeline.evaluate("init", &values));
    for (index, symbol) in symbols.params.iter().enumerate() {
        let value = values.get_mut(symbol).expect("a value");
        let moves = noise(10 + index as u32, value.values.len());
        value.values.iter_mut().zip(moves).for_each(|(entry, by)| *entry += 0.1 * by);
    }
    values.insert(symbols.input, pipeline.tensor(symbols.input, noise(1, pipeline.size(symbols.input))));
    let targets = pipeline.size(symbols.target);
    let targets = match symbols.accuracy {
        Some(_) => (0..targets).map(|sample| (sample % 3) as f64).collect(),
        None => noise(2, targets),
    };
    values.insert(symbols.target, pipeline.tensor(symbols.target, targets));
    pipeline.rounded(values)
}

/// Loops against expressions; `continuous` is whether the optimizer's step is.
pub fn check_loops(text: &str, pipeline: &Pipeline, values: &Values, continuous: bool) {
    let engines = [Engine::Interpreter, Engine::jit(&pipeline.lowered.program)];
    for routine in [PROBE, "train", "eval"] {
        let expected = pipeline.evaluate(routine, values);
        let slack = pipeline.rounding(routine, values);
        for engine in &engines {
            let found = pipeline.run(engine, routine, values);
            let what = format!("{routine} by {} of\n{text}", engine.name());
            if continuous || routine != "train" {
                pipeline.agree_but(&what, &found, &expected, pipeline.tolerance(), &slack);
            }
        }
    }
}

/// Loops against expressions, and gradients against slopes. Where two step widths disagree a kink is too near.
fn check(text: &str, batch: usize, continuous: bool) {
    let pipeline = Pipeline::new(network(text, Some(batch)));
    let values = values(&pipeline);
    check_loops(text, &pipeline, &values, continuous);
    let probed = pipeline.evaluate(PROBE, &values);
    let loss = |values: &Values| pipeline.reference_loss(values);
    for (index, (&at, gradient)) in
        pipeline.plan.symbols.params.iter().zip(&pipeline.probe.gradients).enumerate()
    {
        let direction = noise(50 + index as u32, pipeline.size(at));
        let [near, far] = [1.0, 3.0].map(|scale| {
            let direction = pipeline.tensor(at, direction.iter().map(|entry| scale * entry).collect());
            slope(&values, at, &direction, &loss) / scale
        });
        let expected = (&probed[gradient].values * &pipeline.tensor(at, direction).values).sum();
        let allowed = 1e-5 * probed[gradient].values.iter().map(|entry| entry.abs()).sum::<f64>().max(0.1);
        let name = &pipeline.network.params[index].name;
        assert!(
            (near - far).abs() > allowed || (near - expected).abs() < 4.0 * allowed,
            "{name}: {near} is not {expected}\n{text}"
        );
    }
}

/// Every derived formula against differences of the references. `decided` says that differences must tell.
pub fn check_formulas(text: &str, batch: usize, seed: u64, decided: bool) {
    let network = network(text, Some(batch));
    let plan = program::derive(&network);
    let (parameters, batch) = (generic_parameters(&plan, seed), random_batch(&network, seed));
    let options = Options { seed, ..Options::default() };
    let report = verify(&network, &plan, &parameters, &batch, options).expect("finite");
    let bad: Vec<String> = report
        .failures()
        .chain(report.undecided().filter(|_| decided))
        .map(|(block, check)| format!("{}: {check:?}", block.name))
        .collect();
    assert!(bad.is_empty(), "{bad:#?} of\n{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 20, ..ProptestConfig::default() })]
    #[test]
    fn any_pipeline_verifies(
        inputs in 1usize..6,
        batch in 2usize..5,
        blocks in prop::collection::vec(prop::collection::vec((0u8..14, 1usize..7), 1..5), 1..3),
        classes: bool,
        seed in 0u64..1000,
    ) {
        check_formulas(&program(inputs, &blocks, classes, "sgd(lr = 0.1)"), batch, seed, true);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn any_pipeline_goes_through(
        inputs in 1usize..12,
        batch in 2usize..20,
        blocks in prop::collection::vec(prop::collection::vec((0u8..14, 1usize..14), 1..6), 1..4),
        classes: bool,
        (optimizer, continuous) in prop::sample::select(&OPTIMIZERS[..]),
    ) {
        check(&program(inputs, &blocks, classes, optimizer), batch, continuous);
    }
}

//! Five steps of every optimizer through the whole pipeline against the oracle's trajectories, and the scale factors of
//! each mode beside one another.

use std::fs::File;

use blkc::sym::{Storage, Tensor};
use ndarray_npy::NpzReader;

use crate::machine::{Engine, Pipeline, Values, network};
use crate::oracle::{Case, folder};
use crate::reference::noise;

/// The oracle's name of a run, the optimizer that makes it, and what the oracle's lr is called here.
const RUNS: [(&str, &str); 10] = [
    ("sgd", "sgd(lr = 0.05, momentum = 0.9, weight_decay = 5e-4)"),
    ("sgd_plain", "sgd(lr = 0.05)"),
    ("lars", "lars(lr = 1.0, eta = 0.02, momentum = 0.9, weight_decay = 5e-4)"),
    ("lsalr", "lsalr(lr = 0.05)"),
    ("lsalr_momentum", "lsalr(lr = 0.05, momentum = 0.9, weight_decay = 5e-4)"),
    ("scale_amended_poster", "scale_amended(lr = 0.05, momentum = 0, mode = paper)"),
    (
        "scale_amended_poster_momentum",
        "scale_amended(lr = 0.05, momentum = 0.9, weight_decay = 5e-4, mode = paper)",
    ),
    (
        "scale_amended_poster_literal",
        "scale_amended(lr = 0.05, momentum = 0, mode = paper, accumulate = false)",
    ),
    ("scale_amended_trace", "scale_amended(lr = 0.05, momentum = 0, mode = trace)"),
    ("scale_amended_trace_slow", "scale_amended(lr = 0.005, momentum = 0, mode = trace)"),
];

struct Trajectory {
    case: Case,
    arrays: NpzReader<File>,
    run: &'static str,
}

impl Trajectory {
    fn new(name: &str, run: &'static str, optimizer: &str) -> Trajectory {
        let case = Case::load(name, &format!("train case {{\n    optimizer = {optimizer}\n}}\n"));
        let file = File::open(folder().join(format!("{name}.npz"))).expect("a fixture");
        Trajectory { case, arrays: NpzReader::new(file).expect("arrays"), run }
    }

    /// The batch of a step, counted from 1.
    fn feed(&mut self, values: &mut Values, step: usize) {
        let symbols = &self.case.pipeline.plan.symbols;
        let inputs: ndarray::ArrayD<f64> = self.arrays.by_name("opt.batches.z0").expect("inputs");
        let labels: ndarray::ArrayD<i64> = self.arrays.by_name("opt.batches.labels").expect("labels");
        let input = inputs.index_axis(ndarray::Axis(0), step - 1).iter().copied().collect();
        let target =
            labels.index_axis(ndarray::Axis(0), step - 1).iter().map(|&label| label as f64).collect();
        values.insert(symbols.input, self.case.pipeline.tensor(symbols.input, input));
        values.insert(symbols.target, self.case.pipeline.tensor(symbols.target, target));
        values.insert(symbols.step, Tensor::scalar(step as f64));
    }

    /// The parameters after a step.
    fn expected(&mut self, step: usize) -> Values {
        let mut expected = Values::new();
        for (&symbol, name) in self.case.pipeline.plan.symbols.params.iter().zip(self.case.param_names()) {
            let array: ndarray::ArrayD<f64> =
                self.arrays.by_name(&format!("opt.{}.step{step}.{name}", self.run)).expect("a parameter");
            expected.insert(symbol, self.case.pipeline.tensor(symbol, array.into_iter().collect()));
        }
        expected
    }

    /// Five steps by `train`, each compared.
    fn follow(&mut self, what: &str, tolerance: f64, train: impl Fn(&Pipeline, &Values) -> Values) {
        let mut values = self.case.values();
        for step in 1..=5 {
            self.feed(&mut values, step);
            let written = train(&self.case.pipeline, &values);
            values.extend(written);
            let expected = self.expected(step);
            self.case.pipeline.agree(&format!("{what} step {step}"), &values, &expected, tolerance);
        }
    }
}

/// The runs of `name` that its fixture holds, by expressions and by machine code.
fn follow(name: &str) {
    let file = File::open(folder().join(format!("{name}.npz"))).expect("a fixture");
    let keys = NpzReader::new(file).and_then(|mut arrays| arrays.names()).expect("names of arrays");
    let held = |run: &str| keys.iter().any(|key| key.starts_with(&format!("opt.{run}.step5.")));
    let runs: Vec<_> = RUNS.iter().filter(|(run, _)| held(run)).collect();
    assert!(runs.len() >= 5, "{name}: {runs:?}");
    for (run, optimizer) in runs {
        let mut trajectory = Trajectory::new(name, run, optimizer);
        let what = format!("{name} {run}");
        trajectory.follow(&what, 1e-9, |pipeline, values| pipeline.evaluate("train", values));
        let jit = Engine::jit(&trajectory.case.pipeline.lowered.program);
        trajectory
            .follow(&format!("{what} by JIT"), 1e-4, |pipeline, values| pipeline.run(&jit, "train", values));
    }
}

#[test]
fn normalized_networks_follow_the_oracle() {
    follow("opt_mlp_bn");
}

#[test]
fn networks_with_biases_follow_the_oracle() {
    follow("opt_mlp_bias");
}

/// Convolution, batch statistics and a rectifier; strides; a head that flattens.
#[test]
fn convolutions_follow_the_oracle() {
    follow("opt_conv_bn");
}

/// A pool behind the rectifier, affine normalization, a head with a bias.
#[test]
fn pools_follow_the_oracle() {
    follow("mini_vgg");
}

/// Branches with two weights each, an identity and a projection as shortcuts, a mean over the image.
#[test]
fn residual_blocks_follow_the_oracle() {
    follow("mini_resnet");
}

/// A wide normalized network at its initialization on a batch of noise.
fn wide(mode: &str) -> (Pipeline, Values) {
    let text = format!(
        "network wide(x: f32[48]) -> class[7] {{
    x
    |> block h1 {{ dense(130) |> batch_norm |> relu }}
    |> block h2 {{ dense(96) |> batch_norm |> relu }}
    |> block h3 {{ residual(dense(96) |> batch_norm |> tanh) }}
    |> block out {{ dense(7, bias = true) }}
    |> cross_entropy
}}
train wide {{
    batch = 64
    optimizer = scale_amended(lr = 0.05, mode = {mode})
}}
"
    );
    let pipeline = Pipeline::new(network(&text, None));
    let mut values = pipeline.start();
    let symbols = &pipeline.plan.symbols;
    values.insert(symbols.seed[0], Tensor::scalar(7.0));
    values.extend(pipeline.evaluate("init", &values));
    // Variance one, as the white inputs that the factors assume.
    let input = noise(1, pipeline.size(symbols.input)).into_iter().map(|x| x * 3.0_f64.sqrt()).collect();
    values.insert(symbols.input, pipeline.tensor(symbols.input, input));
    let labels = (0..pipeline.size(symbols.target)).map(|sample| (sample * sample % 7) as f64).collect();
    values.insert(symbols.target, pipeline.tensor(symbols.target, labels));
    let values = pipeline.rounded(values);
    (pipeline, values)
}

/// m_z of every block, then m_W of every amended parameter.
fn factors(pipeline: &Pipeline, written: &Values) -> Vec<(String, f64)> {
    let symbols = &pipeline.plan.symbols;
    let all = symbols.m_z.iter().chain(symbols.m_w.iter().flatten());
    let named = |&symbol: &blkc::sym::Symbol| {
        let info = pipeline.plan.graph.symbol_info(symbol);
        assert_eq!(info.storage, Storage::Float);
        (info.name.clone(), written[&symbol].values.sum())
    };
    all.map(named).collect()
}

/// Cheap factors are near the exact ones where their assumptions hold, and machine code computes what they mean.
#[test]
fn factors_without_extra_passes_are_near_the_trace() {
    let (pipeline, values) = wide("trace");
    let exact = factors(&pipeline, &pipeline.evaluate("train", &values));
    // The analytic factors take a block's input for white; behind a rectifier its mean is not zero and its variance not
    // one, which alone makes a factor of 2π/(π − 1) = 2.93.
    for (mode, far) in [("measured", 1.5), ("analytic", 4.0)] {
        let (pipeline, values) = wide(mode);
        let meant = factors(&pipeline, &pipeline.evaluate("train", &values));
        let jit = Engine::jit(&pipeline.lowered.program);
        let computed = factors(&pipeline, &pipeline.run(&jit, "train", &values));
        for (((name, exact), (_, meant)), (_, computed)) in exact.iter().zip(&meant).zip(&computed) {
            assert!(meant.is_finite() && *meant > 0.0, "{mode}: {name} = {meant}");
            let ratio = meant / exact;
            assert!((1.0 / far..far).contains(&ratio), "{mode}: {name} = {meant}, exactly {exact}");
            assert!(
                (computed - meant).abs() < 1e-4 * meant,
                "{mode}: {name} = {computed} instead of {meant}"
            );
        }
    }
}

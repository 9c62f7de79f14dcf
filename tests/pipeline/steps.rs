//! Steps of several batches, and gradients whose norm is bounded: by expressions in f64 against computations written out
//! here, and by machine code against the expressions.

use blkc::sym::Tensor;

use crate::machine::{Engine, Pipeline, Values, network};
use crate::reference::noise;

/// A network without batch statistics, in which samples do not meet.
fn text(batch: usize, settings: &str) -> String {
    format!(
        "network net(x: f32[11]) -> class[5] {{
    x
    |> block h1 {{ dense(40, bias = true) |> tanh }}
    |> block h2 {{ residual(dense(40) |> gelu) }}
    |> block out {{ dense(5, bias = true) }}
    |> cross_entropy
}}
train net {{
    batch = {batch}
    {settings}
}}
"
    )
}

const SGD: &str = "optimizer = sgd(lr = 0.1, momentum = 0.9, weight_decay = 1e-2)";

/// The program at its initial weights.
fn start(batch: usize, settings: &str) -> (Pipeline, Values) {
    let pipeline = Pipeline::new(network(&text(batch, settings), None));
    let mut values = pipeline.start();
    values.insert(pipeline.plan.symbols.seed[0], Tensor::scalar(7.0));
    values.extend(pipeline.evaluate("init", &values));
    let values = pipeline.rounded(values);
    (pipeline, values)
}

/// Samples `first..` of an endless set.
fn feed(pipeline: &Pipeline, values: &mut Values, first: usize) {
    let symbols = &pipeline.plan.symbols;
    let (size, count) = (pipeline.size(symbols.input), pipeline.size(symbols.target));
    let all = noise(5, (first + count) * (size / count));
    let input = all[first * (size / count)..].iter().map(|x| f64::from((2.0 * x) as f32)).collect();
    let labels = (first..first + count).map(|sample| (sample * sample % 5) as f64).collect();
    values.insert(symbols.input, pipeline.tensor(symbols.input, input));
    values.insert(symbols.target, pipeline.tensor(symbols.target, labels));
}

type Run<'a> = &'a dyn Fn(&Pipeline, &str, &Values) -> Values;

/// `steps` steps of `batches` batches each from sample 0 on; the parameters and states in the end.
fn train(pipeline: &Pipeline, values: &Values, batches: usize, steps: usize, run: Run) -> Values {
    let mut values = values.clone();
    let batch = pipeline.size(pipeline.plan.symbols.target);
    for number in 0..steps * batches {
        feed(pipeline, &mut values, number * batch);
        values.insert(pipeline.plan.symbols.step, Tensor::scalar((number + 1) as f64));
        values.extend(run(pipeline, "train", &values));
        if batches > 1 && (number + 1) % batches == 0 {
            values.insert(pipeline.plan.symbols.step, Tensor::scalar(((number + 1) / batches) as f64));
            values.extend(run(pipeline, "update", &values));
        }
    }
    let symbols = &pipeline.plan.symbols;
    symbols.params.iter().chain(&symbols.states).map(|symbol| (*symbol, values[symbol].clone())).collect()
}

/// By place: the symbols of two plans differ.
fn named(pipeline: &Pipeline, values: &Values) -> Vec<(String, Vec<f64>)> {
    let name = |symbol: &blkc::sym::Symbol| pipeline.plan.graph.symbol_info(*symbol).name.clone();
    let mut named: Vec<_> =
        values.iter().map(|(symbol, value)| (name(symbol), value.values.iter().copied().collect())).collect();
    named.sort_by(|a: &(String, Vec<f64>), b| a.0.cmp(&b.0));
    named
}

fn assert_near(what: &str, have: &[(String, Vec<f64>)], want: &[(String, Vec<f64>)], tolerance: f64) {
    assert_eq!(have.len(), want.len());
    for ((name, have), (other, want)) in have.iter().zip(want) {
        assert_eq!(name, other);
        let largest = want.iter().fold(0.0f64, |largest, x| largest.max(x.abs())).max(1e-3);
        for (have, want) in have.iter().zip(want) {
            assert!((have - want).abs() <= tolerance * largest, "{what}: {name}: {have:e}, not {want:e}");
        }
    }
}

fn by_expressions(pipeline: &Pipeline, routine: &str, values: &Values) -> Values {
    pipeline.evaluate(routine, values)
}

/// k batches of n make the step of one batch of kn; adam shows that updates are counted, not batches.
#[test]
fn accumulated_batches_are_one_large_batch() {
    let adam = "optimizer = adam(lr = 0.01)";
    let paper = "optimizer = scale_amended(lr = 0.02)";
    for optimizer in [SGD, adam, paper, &format!("{SGD}\n    clip = 0.3")] {
        let (whole, values) = start(12, optimizer);
        let whole = named(&whole, &train(&whole, &values, 1, 3, &by_expressions));
        for batches in [2, 3, 4] {
            let settings = format!("{optimizer}\n    accumulate = {batches}");
            let (parts, values) = start(12 / batches, &settings);
            let what = format!("{batches} batches, {optimizer}");
            let exact = train(&parts, &values, batches, 3, &by_expressions);
            assert_near(&what, &named(&parts, &exact), &whole, 1e-9);
            let jit = Engine::jit(&parts.lowered.program);
            let computed =
                train(&parts, &values, batches, 3, &|parts, name, values| parts.run(&jit, name, values));
            assert_near(&format!("{what}, by JIT"), &named(&parts, &computed), &whole, 1e-4);
        }
    }
}

#[test]
fn every_engine_accumulates_alike() {
    let (pipeline, values) = start(7, &format!("{SGD}\n    accumulate = 3\n    clip = 0.2"));
    let exact = train(&pipeline, &values, 3, 2, &by_expressions);
    for engine in Engine::all(&pipeline.lowered.program) {
        let run = |pipeline: &Pipeline, name: &str, values: &Values| pipeline.run(&engine, name, values);
        let computed = train(&pipeline, &values, 3, 2, &run);
        assert_near(engine.name(), &named(&pipeline, &computed), &named(&pipeline, &exact), 1e-5);
    }
}

/// The buffers end at zero, so that a step begins as the first one did.
#[test]
fn gradients_begin_anew_after_an_update() {
    let (pipeline, mut values) = start(4, &format!("{SGD}\n    accumulate = 2"));
    let buffers = &pipeline.plan.symbols.gradients;
    assert_eq!(buffers.len(), pipeline.network.params.len());
    feed(&pipeline, &mut values, 0);
    values.extend(pipeline.evaluate("train", &values));
    assert!(buffers.iter().all(|buffer| values[buffer].values.iter().any(|entry| *entry != 0.0)));
    values.extend(pipeline.evaluate("update", &values));
    assert!(buffers.iter().all(|buffer| values[buffer].values.iter().all(|entry| *entry == 0.0)));
}

/// W − lr·g·min(1, c/‖g‖), with g from the probe and the rest written out.
#[test]
fn a_bound_scales_all_gradients_by_their_common_norm() {
    let (free, values) = start(9, "optimizer = sgd(lr = 0.1)");
    let mut fed = values.clone();
    feed(&free, &mut fed, 0);
    let gradients = free.evaluate(crate::machine::PROBE, &fed);
    let gradients: Vec<_> = free.probe.gradients.iter().map(|symbol| &gradients[symbol].values).collect();
    let norm = gradients.iter().flat_map(|g| g.iter()).map(|x| x * x).sum::<f64>().sqrt();
    for bound in [1e-6, 0.1 * norm, 0.999 * norm, 1.001 * norm, 1e6] {
        let (pipeline, values) = start(9, &format!("optimizer = sgd(lr = 0.1)\n    clip = {bound:?}"));
        let factor = (bound / norm).min(1.0);
        let mut expected = Vec::new();
        for (symbol, gradient) in pipeline.plan.symbols.params.iter().zip(&gradients) {
            let stepped = &values[symbol].values - &(*gradient * (0.1 * factor));
            expected
                .push((pipeline.plan.graph.symbol_info(*symbol).name.clone(), stepped.into_iter().collect()));
        }
        expected.sort_by(|a: &(String, Vec<f64>), b| a.0.cmp(&b.0));
        let exact = train(&pipeline, &values, 1, 1, &by_expressions);
        assert_near(&format!("bound {bound}"), &named(&pipeline, &exact)[..expected.len()], &expected, 1e-9);
        for engine in Engine::all(&pipeline.lowered.program) {
            let run = |pipeline: &Pipeline, name: &str, values: &Values| pipeline.run(&engine, name, values);
            let computed = train(&pipeline, &values, 1, 1, &run);
            let what = format!("bound {bound} by {}", engine.name());
            assert_near(&what, &named(&pipeline, &computed)[..expected.len()], &expected, 1e-5);
        }
    }
}

/// A vanishing gradient is not divided by its norm.
#[test]
fn a_gradient_of_zero_stays_zero() {
    let text = "network flat(x: f32[3]) -> f32[2] { x |> block out { dense(2) } |> squared_error }
train flat {
    batch = 4
    clip = 0.5
    optimizer = sgd(lr = 0.1)
}
";
    let pipeline = Pipeline::new(network(text, None));
    let values = pipeline.start();
    for engine in Engine::all(&pipeline.lowered.program) {
        let written = pipeline.run(&engine, "train", &values);
        assert!(
            written.values().all(|value| value.values.iter().all(|entry| *entry == 0.0)),
            "{}",
            engine.name()
        );
    }
}

/// The gradient of many batches differs from that of the last one: accumulation is seen at all.
#[test]
fn every_batch_counts() {
    let (pipeline, values) = start(4, &format!("{SGD}\n    accumulate = 2"));
    let two = named(&pipeline, &train(&pipeline, &values, 2, 1, &by_expressions));
    let last = |pipeline: &Pipeline, routine: &str, values: &Values| {
        let mut values = values.clone();
        if routine == "train" {
            let zero = |symbol: &blkc::sym::Symbol| {
                (*symbol, pipeline.tensor(*symbol, vec![0.0; pipeline.size(*symbol)]))
            };
            values.extend(pipeline.plan.symbols.gradients.iter().map(zero));
        }
        pipeline.evaluate(routine, &values)
    };
    let one = named(&pipeline, &train(&pipeline, &values, 2, 1, &last));
    assert_ne!(two, one);
}

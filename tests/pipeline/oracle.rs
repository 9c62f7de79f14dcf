//! The oracle's programs, from their source to every engine, against independent automatic differentiation.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use blkc::sym::{Symbol, Tensor};
use serde_json::Value;

use crate::machine::{Engine, PROBE, Pipeline, Values, network};

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle")
}

pub struct Case {
    pub name: String,
    pub pipeline: Pipeline,
    json: Value,
}

impl Case {
    /// `training` is a `train` item, or nothing.
    pub fn load(name: &str, training: &str) -> Case {
        let read = |extension: &str| {
            std::fs::read_to_string(folder().join(format!("{name}.{extension}"))).expect("a fixture")
        };
        let json: Value = serde_json::from_str(&read("json")).expect("JSON");
        let batch = json["batch"].as_u64().map(|batch| batch as usize);
        let pipeline = Pipeline::new(network(&format!("{}\n{training}", read("blk")), batch));
        Case { name: name.into(), pipeline, json }
    }

    /// The oracle's name of each parameter, by `ParamId`: both sides list a block's parameters as they are declared.
    pub fn param_names(&self) -> Vec<String> {
        let mut names = vec![String::new(); self.pipeline.network.params.len()];
        for (block, described) in self.pipeline.network.blocks.iter().zip(list(&self.json["blocks"])) {
            let theirs: Vec<&str> = list(&described["params"])
                .iter()
                .map(|param| param["name"].as_str().expect("a name"))
                .collect();
            assert_eq!(block.params.len(), theirs.len(), "{}: parameters of {}", self.name, block.name);
            for (id, name) in block.params.iter().zip(theirs) {
                names[id.index()] = name.to_string();
            }
        }
        names
    }

    /// The fixture's batch and parameters.
    pub fn values(&self) -> Values {
        let symbols = &self.pipeline.plan.symbols;
        let mut values = self.pipeline.start();
        let mut put = |symbol: Symbol, array: &Value| {
            values.insert(symbol, self.pipeline.tensor(symbol, numbers(array)));
        };
        put(symbols.input, &self.json["z0"]);
        put(symbols.target, &self.json["target"]);
        for (&symbol, name) in symbols.params.iter().zip(self.param_names()) {
            put(symbol, &self.json["params"][name]);
        }
        values
    }

    /// Gradients with respect to every parameter and block boundary.
    fn expected(&self) -> Values {
        let probe = &self.pipeline.probe;
        let gradients = probe.gradients.iter().zip(self.param_names());
        let mut expected: HashMap<Symbol, Tensor> = gradients
            .map(|(&symbol, name)| (symbol, self.pipeline.tensor(symbol, numbers(&self.json["grads"][name]))))
            .collect();
        for (index, &symbol) in probe.output_gradients.iter().enumerate() {
            let array = numbers(&self.json[format!("gz{}", index + 1)]);
            expected.insert(symbol, self.pipeline.tensor(symbol, array));
        }
        expected
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn numbers(array: &Value) -> Vec<f64> {
    list(&array["data"]).iter().map(|entry| entry.as_f64().expect("a number")).collect()
}

fn names() -> Vec<String> {
    let entries =
        std::fs::read_dir(folder()).expect("the fixtures").map(|entry| entry.expect("an entry").path());
    let programs = entries.filter(|path| path.extension().is_some_and(|extension| extension == "blk"));
    let mut names: Vec<String> =
        programs.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    names.sort();
    assert!(names.len() >= 20, "the fixtures are there");
    names
}

/// The loss and every gradient of the f64 readings, to nine digits.
#[test]
fn exact_readings_match() {
    for name in names() {
        let case = Case::load(&name, "");
        let (pipeline, values) = (&case.pipeline, case.values());
        pipeline.agree(&name, &pipeline.evaluate(PROBE, &values), &case.expected(), 1e-9);
        let loss = case.json["loss"].as_f64().expect("the loss");
        let derived = pipeline.evaluate("train", &values)[&pipeline.plan.symbols.loss].values.sum();
        for found in [derived, pipeline.reference_loss(&values)] {
            assert!((found - loss).abs() <= 1e-9 * loss.abs(), "{name}: {found} is not {loss}");
        }
    }
}

/// The same by loops, in single precision.
#[test]
fn engines_match() {
    for name in names() {
        let case = Case::load(&name, "");
        let (pipeline, values) = (&case.pipeline, case.values());
        let loss = HashMap::from([(
            pipeline.plan.symbols.loss,
            Tensor::scalar(case.json["loss"].as_f64().expect("it")),
        )]);
        for engine in Engine::all(&pipeline.lowered.program) {
            let what = format!("{name} by {}", engine.name());
            pipeline.agree(
                &what,
                &pipeline.run(&engine, PROBE, &values),
                &case.expected(),
                pipeline.tolerance(),
            );
            pipeline.agree(&what, &pipeline.run(&engine, "train", &values), &loss, pipeline.tolerance());
        }
    }
}

//! The JSON of `explain`, read by a reader that knows only docs/explain-json.md: values and operators are computed from
//! the document and numbers for its symbols, and compared with Jacobian–vector products of the compiler's own graph.

#[path = "explain_json/reader.rs"]
mod reader;

use std::collections::HashMap;

use blkc::driver::{FrontOptions, front};
use blkc::hessian::exact::Cotangent;
use blkc::hessian::explain::{self, Options};
use blkc::hessian::factors::factors;
use blkc::hessian::program::derive;
use blkc::ir::ScaleMode;
use blkc::source::MemoryLoader;
use blkc::sym::dense::jacobian_matrix;
use blkc::sym::{Expr, Graph, Storage, Symbol, Tensor, Values};
use ndarray::Array2;
use reader::Document;
use serde_json::Value;

const NETWORKS: [&str; 6] = [
    "dense(3) |> tanh",
    "dense(3, bias = true) |> batch_norm |> relu",
    "residual(dense(4) |> tanh |> dense(3))",
    "dense(4) |> layer_norm |> gelu",
    "dense(4) |> softplus |> dense(2) |> silu",
    "dense(2) |> batch_norm |> tanh |> dense(3, bias = true)",
];

/// Numbers in (−1, 1) by a fixed rule; labels are small whole numbers.
fn draw(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn symbols(graph: &Graph) -> HashMap<Symbol, Tensor> {
    let mut state = 11;
    let tensor = |(symbol, info): (Symbol, &blkc::sym::SymbolInfo)| {
        let count = graph.axes.size(&info.axes);
        let entry = |place: usize, drawn: f64| match info.storage {
            Storage::Label => (place % 2) as f64,
            Storage::Seed => 7.0,
            _ => 0.6 * drawn + 0.2,
        };
        let entries = (0..count).map(|place| entry(place, draw(&mut state))).collect();
        (symbol, Tensor::new(&graph.axes, &info.axes, entries))
    };
    graph.symbols().map(tensor).collect()
}

fn close(what: &str, a: &Array2<f64>, b: &Array2<f64>) {
    assert_eq!(a.dim(), b.dim(), "{what}");
    let scale = b.iter().fold(1e-9, |largest: f64, entry| largest.max(entry.abs()));
    let worst = a.iter().zip(b).fold(0.0, |worst: f64, (x, y)| worst.max((x - y).abs()));
    assert!(worst <= 1e-9 * scale, "{what}: differs by {worst} at scale {scale}");
}

struct Checked {
    graph: Graph,
    values: Values,
    document: Document,
}

impl Checked {
    fn jacobian(&mut self, output: Expr, wrt: Expr) -> Array2<f64> {
        jacobian_matrix(&mut self.graph, &mut self.values, output, wrt)
    }

    /// J, H and R of one argument; the Hessian in Gauss–Newton form.
    fn argument(&mut self, what: &str, argument: &Value, block: &blkc::hessian::BlockExprs, wrt: Expr) {
        let j = self.jacobian(block.output, wrt);
        close(&format!("{what} J"), &self.document.operator(&argument["jacobian"]["operator"]), &j);
        let hessian = match block.loss {
            None => j.t().dot(&j),
            Some(loss) => {
                let one = self.graph.number(1.0);
                let gradient = self.graph.vjp(&[(loss, one)], &[block.output])[&block.output];
                let curvature = self.jacobian(gradient, block.output);
                j.t().dot(&curvature).dot(&j)
            }
        };
        close(&format!("{what} H"), &self.document.gauss_newton(argument), &hessian);
        let cotangent = Cotangent::new(&mut self.graph, block);
        let axes = self.graph.axes_of(cotangent.expr).to_vec();
        let numbers = self.document.symbol_with_role("cotangent").1;
        self.values.set(&self.graph, cotangent.symbol, Tensor::new(&self.graph.axes, &axes, numbers));
        let gradient = cotangent.pulled_back(&mut self.graph, block, wrt);
        let residual = self.jacobian(gradient, wrt);
        close(
            &format!("{what} R"),
            &self.document.operator(&argument["second_order"]["operator"]),
            &residual,
        );
        let vanishes = residual.iter().all(|entry| entry.abs() < 1e-12);
        assert!(vanishes || argument["second_order"]["is_zero"] == false, "{what}: the residual is not zero");
    }

    /// The factors of every mode.
    fn factors(&mut self, what: &str, block: &blkc::hessian::BlockExprs, arguments: &[Value]) {
        for mode in ScaleMode::ALL {
            let found = factors(&mut self.graph, block, mode);
            for (argument, expr) in arguments.iter().zip([found.m_z].into_iter().chain(found.m_w)) {
                let listed = argument["factors"].as_array().unwrap();
                let entry = listed.iter().find(|entry| entry["mode"] == mode.name()).unwrap();
                let read = self.document.number(&entry["factor"]["value"]);
                let own = self.values.of(&self.graph, expr).values.sum();
                assert!(
                    (read - own).abs() <= 1e-9 * own.abs().max(1.0),
                    "{what} {}: {read} {own}",
                    mode.name()
                );
            }
        }
    }
}

fn check(block: &str) {
    let source = format!(
        "network n(x: f32[3]) -> class[2] {{
            x |> block first {{ {block} }} |> block again {{ {block} }}
              |> block out {{ dense(2, bias = true) |> tanh }} |> cross_entropy
        }}"
    );
    let loader = MemoryLoader([("test.blk".to_string(), source)].into());
    let options = FrontOptions { batch: Some(4), ..FrontOptions::default() };
    let front = front("test.blk", &loader, &options);
    assert!(front.diagnostics.is_empty(), "{:?}", front.diagnostics);
    let network = &front.networks[0];
    let plan = derive(network);
    let options = Options { complete: true, steps: true, ..Options::default() };
    let explained = explain::explain(network, &plan, &front.sources, &options).unwrap();
    let json: Value = serde_json::from_str(&explain::json::render(&explained)).unwrap();
    assert_eq!((&json["format"], &json["version"]), (&Value::from("blkc-explain"), &Value::from(1)));
    for (place, exprs) in plan.blocks.iter().enumerate() {
        let mut section = json["blocks"][place].clone();
        if let Some(name) = section["same_as"].as_str() {
            let all = json["blocks"].as_array().unwrap();
            section = all.iter().find(|other| other["name"] == name).unwrap().clone();
        }
        one_block(&format!("{block}: {}", exprs.name), &section["explanation"], &plan.graph, exprs);
    }
}

fn one_block(what: &str, section: &Value, graph: &Graph, block: &blkc::hessian::BlockExprs) {
    let graph = graph.clone();
    let mut values = Values::new(symbols(&graph));
    let mut given: HashMap<String, Vec<f64>> = HashMap::new();
    let flat = |tensor: &Tensor, axes: &[blkc::axes::Axis]| {
        tensor.along(&graph.axes, axes).iter().copied().collect::<Vec<f64>>()
    };
    for (symbol, info) in graph.symbols() {
        given.insert(info.name.clone(), flat(values.symbol(symbol).unwrap(), &info.axes));
    }
    let input = values.of(&graph, block.input);
    given.insert("z".into(), flat(&input, graph.axes_of(block.input)));
    // A block that reads as an earlier one has parameters of its own in the same places.
    let renamed: Vec<(String, Vec<f64>)> = section["symbols"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|symbol| symbol["role"] == "parameter")
        .map(|symbol| symbol["name"].as_str().unwrap().to_string())
        .filter_map(|name| {
            let position = section["arguments"]
                .as_array()
                .unwrap()
                .iter()
                .position(|argument| argument["path"] == name)?;
            let expr = block.params[position - 1].value;
            Some((name, flat(&values.of(&graph, expr), graph.axes_of(expr))))
        })
        .collect();
    given.extend(renamed);
    let mut state = 5;
    let document = Document::new(section, |name, role, count| match role {
        "cotangent" => (0..count).map(|_| draw(&mut state)).collect(),
        _ => given[name].clone(),
    });
    let map = document.value(&section["map"]["value"]);
    let own = values.of(&graph, block.output);
    let own = flat(&own, graph.axes_of(block.output));
    assert!(map.iter().zip(&own).all(|(a, b)| (a - b).abs() < 1e-10), "{what} map");
    let mut checked = Checked { graph, values, document };
    let arguments = section["arguments"].as_array().unwrap();
    let exprs = [block.input].into_iter().chain(block.params.iter().map(|param| param.value));
    assert_eq!(arguments.len(), 1 + block.params.len(), "{what}");
    for (argument, expr) in arguments.iter().zip(exprs) {
        checked.argument(&format!("{what} {}", argument["symbol"]), argument, block, expr);
    }
    checked.factors(what, block, arguments);
}

#[test]
fn an_independent_reader_gets_the_same_jacobians_hessians_and_factors() {
    NETWORKS.into_iter().for_each(check);
}

/// The schema's fields are the ones that docs/explain-json.md lists.
#[test]
fn every_field_is_documented() {
    let manual = std::fs::read_to_string("docs/explain-json.md").unwrap();
    let source = "network n(x: f32[3]) -> class[2] {
        x |> block a { dense(3) |> batch_norm |> relu } |> block b { residual(dense(3) |> tanh |> dense(3)) }
          |> block out { dense(2) } |> cross_entropy
    }";
    let loader = MemoryLoader([("test.blk".to_string(), source.to_string())].into());
    let front = front("test.blk", &loader, &FrontOptions { batch: Some(4), ..FrontOptions::default() });
    let network = &front.networks[0];
    let options = Options { complete: true, ..Options::default() };
    let explained = explain::explain(network, &derive(network), &front.sources, &options).unwrap();
    let json: Value = serde_json::from_str(&explain::json::render(&explained)).unwrap();
    let mut missing = std::collections::BTreeSet::new();
    fields(&json, &mut |field| {
        if !manual.contains(&format!("`{field}`")) {
            missing.insert(field.to_string());
        }
    });
    assert!(missing.is_empty(), "not in docs/explain-json.md: {missing:?}");
}

fn fields(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => map.iter().for_each(|(field, value)| {
            see(field);
            fields(value, see);
        }),
        Value::Array(all) => all.iter().for_each(|value| fields(value, see)),
        _ => {}
    }
}

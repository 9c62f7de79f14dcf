//! Fixtures as graphs: each case's chain of blocks built from its description, with its numbers.

use std::collections::HashMap;

use blkc::axes::{Axis, AxisTable, BATCH};
use blkc::hessian::{BlockExprs, BlockParam};
use blkc::intrinsics::{Attr, Scalar};
use blkc::ir::{ParamId, Type};
use blkc::sym::{Expr, Graph, Storage, Symbol, SymbolInfo, Tensor, evaluate};
use serde_json::Value;

#[derive(Clone)]
pub struct Block {
    /// From 1.
    pub index: usize,
    pub input: Expr,
    pub output: Expr,
    pub params: Vec<(String, Expr)>,
}

pub struct Case {
    pub name: String,
    pub graph: Graph,
    pub blocks: Vec<Block>,
    pub loss: Expr,
    pub learning_rate: f64,
    /// Axes of values in the order in which the reference lists their entries, where it is not that of storage.
    orders: Vec<Vec<Axis>>,
    values: HashMap<Symbol, Tensor>,
    symbols: HashMap<String, Symbol>,
    json: Value,
}

pub fn cases() -> Vec<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/oracle");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    assert!(paths.len() >= 20, "the fixtures are there");
    paths
        .iter()
        .map(|path| build(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()))
        .collect()
}

/// Relative to the largest magnitude of what is expected.
pub fn close(value: &[f64], expected: &[f64], tolerance: f64) -> bool {
    let scale = expected.iter().fold(1e-3_f64, |largest, x| largest.max(x.abs()));
    value.len() == expected.len()
        && value.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance * scale)
}

pub fn function(name: &str) -> &'static dyn Scalar {
    blkc::intrinsics::scalar_by_name(name).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn build(json: Value) -> Case {
    let batch = json["batch"].as_u64().unwrap() as usize;
    let graph = Graph::new(AxisTable::new(batch));
    let dummy = Expr(0);
    let name = json["name"].as_str().unwrap().to_string();
    let (values, symbols) = (HashMap::new(), HashMap::new());
    let mut case = Case {
        name,
        graph,
        blocks: vec![],
        loss: dummy,
        learning_rate: 0.1,
        orders: vec![],
        values,
        symbols,
        json,
    };
    let extents: Vec<usize> =
        case.json["input_shape"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect();
    let mut axes = vec![BATCH];
    axes.extend(extents.iter().map(|&extent| case.graph.axes.fresh("d", extent)));
    let data = floats(&case.json["z0"]);
    let mut value = case.leaf("z0", axes, data);
    for (i, block) in case.json["blocks"].as_array().unwrap().clone().iter().enumerate() {
        let mut params = Vec::new();
        let input = value;
        value = case.ops(&block["ops"], &format!("b{}", i + 1), value, &mut params);
        case.graph.seal(value);
        case.blocks.push(Block { index: i + 1, input, output: value, params });
    }
    case.loss = case.loss_of(value);
    if case.json.get("learning_rate").is_some() {
        case.learning_rate = case.json["learning_rate"].as_f64().unwrap();
    }
    case
}

impl Case {
    fn leaf(&mut self, name: &str, axes: Vec<Axis>, data: Vec<f64>) -> Expr {
        let label = name.rsplit('.').next().unwrap().to_string();
        let info = SymbolInfo { name: name.into(), label, axes: axes.clone(), storage: Storage::Float };
        let symbol = self.graph.new_symbol(info);
        self.values.insert(symbol, Tensor::new(&self.graph.axes, &axes, data));
        self.symbols.insert(name.into(), symbol);
        self.orders.push(axes);
        self.graph.symbol(symbol)
    }

    fn param(&mut self, path: &str, axes: Vec<Axis>, params: &mut Vec<(String, Expr)>) -> Expr {
        let data = floats(&self.json["params"][path]);
        let expr = self.leaf(path, axes, data);
        params.push((path.to_string(), expr));
        expr
    }

    fn ops(&mut self, ops: &Value, path: &str, mut x: Expr, params: &mut Vec<(String, Expr)>) -> Expr {
        for (i, op) in ops.as_array().unwrap().iter().enumerate() {
            x = self.op(op, &format!("{path}.{i}"), x, params);
        }
        x
    }

    fn op(&mut self, op: &Value, path: &str, x: Expr, params: &mut Vec<(String, Expr)>) -> Expr {
        match op["op"].as_str().unwrap() {
            "dense" => self.dense(op, path, x, params),
            "batchnorm" => {
                let axes = self.order(x);
                let over = [&[BATCH], &axes[2..]].concat();
                self.norm(op, path, x, (&over, &axes[1..2]), params)
            }
            "layernorm" => {
                let features = self.order(x)[1..].to_vec();
                self.norm(op, path, x, (&features, &features), params)
            }
            "conv2d" => self.conv(op, path, x, params),
            "maxpool2d" => self.pool("max_pool", op, x),
            "avgpool2d" => self.pool("avg_pool", op, x),
            "global_avgpool2d" => {
                let plane = self.order(x)[2..].to_vec();
                self.graph.mean(&plane, x)
            }
            "relu" => {
                let zero = self.graph.number(0.0);
                self.graph.apply(function("max"), &[x, zero])
            }
            "tanh" => self.graph.apply(function("tanh"), &[x]),
            "gelu" => self.gelu(op, x),
            "flatten" => self.flatten(x),
            "residual" => self.residual(op, path, x, params),
            other => panic!("unknown op {other}"),
        }
    }

    fn dense(&mut self, op: &Value, path: &str, x: Expr, params: &mut Vec<(String, Expr)>) -> Expr {
        let n = self.graph.axes.fresh("n", op["n_out"].as_u64().unwrap() as usize);
        let d = self.graph.axes_of(x)[1];
        let w = self.param(&format!("{path}.W"), vec![n, d], params);
        let product = self.graph.contract(w, x, &[d]);
        if !op["bias"].as_bool().unwrap() {
            return product;
        }
        let b = self.param(&format!("{path}.b"), vec![n], params);
        self.graph.add(&[product, b])
    }

    /// The axes of a value in the order of the reference.
    fn order(&self, x: Expr) -> Vec<Axis> {
        let axes = self.graph.axes_of(x);
        let same =
            |order: &&Vec<Axis>| order.len() == axes.len() && axes.iter().all(|axis| order.contains(axis));
        self.orders.iter().find(same).cloned().unwrap_or_else(|| axes.to_vec())
    }

    /// An intrinsic applied to values, the last of which is an image.
    fn intrinsic(&mut self, name: &str, args: &[Expr], attrs: &[(&'static str, i64)]) -> Expr {
        let intrinsic = blkc::intrinsics::by_name(name).unwrap();
        let attrs = attrs.iter().map(|&(key, value)| (key, Attr::Int(value))).collect();
        let types: Vec<Type> = args.iter().map(|&arg| Type::float(self.order(arg))).collect();
        let out = intrinsic.infer(&mut self.graph.axes, &types, &attrs).unwrap();
        self.orders.push(out.axes.clone());
        intrinsic.express(&mut self.graph, args, &types, &attrs, &out)
    }

    fn conv(&mut self, op: &Value, path: &str, x: Expr, params: &mut Vec<(String, Expr)>) -> Expr {
        let number = |value: &Value| value.as_u64().unwrap() as usize;
        let groups = number(&op["groups"]);
        let extents = [
            number(&op["c_out"]),
            number(&op["c_in"]) / groups,
            number(&op["kernel"][0]),
            number(&op["kernel"][1]),
        ];
        let axes: Vec<Axis> = extents.map(|extent| self.graph.axes.fresh("w", extent)).to_vec();
        let weight = self.param(&format!("{path}.W"), axes.clone(), params);
        let [stride, pad] = ["stride", "pad"].map(|key| number(&op[key][0]) as i64);
        let attrs = [("stride", stride), ("pad", pad), ("groups", groups as i64)];
        let z = self.intrinsic("conv2d", &[weight, x], &attrs);
        if !op["bias"].as_bool().unwrap() {
            return z;
        }
        let bias = self.param(&format!("{path}.b"), axes[..1].to_vec(), params);
        self.graph.add(&[z, bias])
    }

    fn pool(&mut self, name: &str, op: &Value, x: Expr) -> Expr {
        let attrs = ["kernel", "stride", "pad"].map(|key| (key, op[key][0].as_i64().unwrap()));
        self.intrinsic(name, &[x], &attrs)
    }

    /// `along` are the axes that are averaged over, and those of the parameters.
    fn norm(
        &mut self,
        op: &Value,
        path: &str,
        x: Expr,
        along: (&[Axis], &[Axis]),
        params: &mut Vec<(String, Expr)>,
    ) -> Expr {
        let (over, features) = (along.0, along.1.to_vec());
        let mu = self.graph.mean(over, x);
        let centred = self.graph.sub(x, mu);
        let square = self.graph.square(centred);
        let variance = self.graph.mean(over, square);
        let eps = self.graph.number(op["eps"].as_f64().unwrap());
        let padded = self.graph.add(&[variance, eps]);
        let s = self.graph.sqrt(padded);
        if !op["affine"].as_bool().unwrap() {
            return self.graph.div(centred, s);
        }
        let gamma = self.param(&format!("{path}.gamma"), features.clone(), params);
        let scaled = self.graph.mul(&[gamma, centred]);
        let normalized = self.graph.div(scaled, s);
        let beta = self.param(&format!("{path}.beta"), features, params);
        self.graph.add(&[normalized, beta])
    }

    fn gelu(&mut self, op: &Value, x: Expr) -> Expr {
        let graph = &mut self.graph;
        let (half, one) = (graph.number(0.5), graph.number(1.0));
        let inner = if op["approximate"] == "tanh" {
            let cubed = graph.powf(x, 3.0);
            let (c, k) = (graph.number(0.044715), graph.number((2.0 / std::f64::consts::PI).sqrt()));
            let cubic = graph.mul(&[c, cubed]);
            let sum = graph.add(&[x, cubic]);
            let scaled = graph.mul(&[k, sum]);
            graph.apply(function("tanh"), &[scaled])
        } else {
            let root = graph.number(0.5_f64.sqrt());
            let scaled = graph.mul(&[x, root]);
            graph.apply(function("erf"), &[scaled])
        };
        let sum = graph.add(&[one, inner]);
        graph.mul(&[half, x, sum])
    }

    fn flatten(&mut self, x: Expr) -> Expr {
        let from = self.order(x)[1..].to_vec();
        let size = self.graph.axes.size(&from);
        let to = self.graph.axes.fresh("n", size);
        self.graph.reshape(x, &from, &[to])
    }

    /// The branch's axes become the shortcut's, as shape inference has it.
    fn residual(&mut self, op: &Value, path: &str, x: Expr, params: &mut Vec<(String, Expr)>) -> Expr {
        let branch = self.ops(&op["branch"], &format!("{path}.branch"), x, params);
        let shortcut = self.ops(&op["shortcut"], &format!("{path}.shortcut"), x, params);
        let pairs: Vec<(Axis, Axis)> = self.order(branch).into_iter().zip(self.order(shortcut)).collect();
        let moved = self.graph.rename(branch, &pairs);
        self.graph.add(&[shortcut, moved])
    }

    fn loss_of(&mut self, z: Expr) -> Expr {
        let k = self.graph.axes_of(z)[1];
        let data = floats(&self.json["target"]);
        let per_sample = if self.json["loss_kind"].as_str().unwrap().contains("cross_entropy") {
            let target = self.leaf("target", vec![BATCH], data);
            self.cross_entropy(z, target, k)
        } else {
            let target = self.leaf("target", vec![BATCH, k], data);
            let miss = self.graph.sub(z, target);
            let square = self.graph.square(miss);
            let half = self.graph.number(0.5);
            let sum = self.graph.sum(&[k], square);
            self.graph.mul(&[half, sum])
        };
        self.graph.mean(&[BATCH], per_sample)
    }

    fn cross_entropy(&mut self, z: Expr, target: Expr, k: Axis) -> Expr {
        let graph = &mut self.graph;
        let largest = graph.reduce(blkc::sym::Reduction::Max, &[k], z);
        let shift = graph.apply(function("stop"), &[largest]);
        let shifted = graph.sub(z, shift);
        let exponentials = graph.apply(function("exp"), &[shifted]);
        let total = graph.sum(&[k], exponentials);
        let log = graph.apply(function("log"), &[total]);
        let log_sum = graph.add(&[log, shift]);
        let position = graph.index(k);
        let hit = graph.apply(function("eq"), &[position, target]);
        let picked = graph.mul(&[hit, z]);
        let own = graph.sum(&[k], picked);
        graph.sub(log_sum, own)
    }

    pub fn evaluate(&self, expr: Expr) -> Vec<f64> {
        let tensor = evaluate(&self.graph, &self.values, &[expr]).remove(0);
        tensor.along(&self.graph.axes, &self.order(expr)).iter().copied().collect()
    }

    pub fn batch(&self) -> usize {
        self.graph.axes.extent(BATCH)
    }

    pub fn number(&self, expr: Expr) -> f64 {
        self.evaluate(expr)[0]
    }

    pub fn array(&self, prefix: &str, index: usize) -> Vec<f64> {
        floats(&self.json[format!("{prefix}{index}")])
    }

    pub fn gradient(&self, param: &str) -> Vec<f64> {
        floats(&self.json["grads"][param])
    }

    pub fn trace_z(&self, index: usize) -> f64 {
        self.json[format!("trace_z{index}")].as_f64().unwrap()
    }

    pub fn trace_w(&self, index: usize, param: &str) -> f64 {
        self.json[format!("trace_w{index}")][param].as_f64().unwrap()
    }

    pub fn largest_trace(&self, index: usize) -> f64 {
        let weights = self.json[format!("trace_w{index}")].as_object().unwrap();
        weights.values().map(|x| x.as_f64().unwrap()).fold(self.trace_z(index), f64::max)
    }

    /// Every gradient of the loss that the fixture has: (expression, expected, what).
    pub fn gradients(&mut self) -> Vec<(Expr, Vec<f64>, String)> {
        let mut wrt = Vec::new();
        for block in &self.blocks {
            wrt.push((block.input, self.array("gz", block.index - 1), format!("z{}", block.index - 1)));
            wrt.extend(block.params.iter().map(|(name, expr)| (*expr, self.gradient(name), name.clone())));
        }
        let exprs: Vec<Expr> = wrt.iter().map(|entry| entry.0).collect();
        let one = self.graph.number(1.0);
        let found = self.graph.vjp(&[(self.loss, one)], &exprs);
        wrt.into_iter().map(|(expr, expected, what)| (found[&expr], expected, what)).collect()
    }

    /// A new leaf over the axes of `expr`.
    pub fn constant(&mut self, expr: Expr, data: Vec<f64>) -> Expr {
        let axes = self.order(expr);
        let name = format!("constant{}", self.symbols.len());
        self.leaf(&name, axes, data)
    }

    pub fn constant_like(&mut self, expr: Expr, prefix: &str, index: usize) -> Expr {
        let data = self.array(prefix, index);
        self.constant(expr, data)
    }

    /// The chain as the plan of a training step has it.
    pub fn block_exprs(&mut self) -> Vec<BlockExprs> {
        let last = self.blocks.len();
        let gradients: HashMap<String, Expr> = self.gradients().into_iter().map(|g| (g.2, g.0)).collect();
        let zero = self.graph.number(0.0);
        let blocks = self.blocks.clone();
        let role = |name: &str| if name.ends_with(".W") { "weight" } else { "other" };
        let param = |(name, value): (String, Expr)| BlockParam {
            id: ParamId(0),
            role: role(&name).into(),
            gradient: gradients[&name],
            name,
            value,
        };
        let block = |block: Block| BlockExprs {
            name: format!("b{}", block.index),
            input: block.input,
            output: block.output,
            params: block.params.into_iter().map(param).collect(),
            loss: (block.index == last).then_some(self.loss),
            gradient: gradients.get(&format!("z{}", block.index)).copied().unwrap_or(zero),
            input_gradient: None,
        };
        blocks.into_iter().map(block).collect()
    }

    /// The batch of one step of the reference runs.
    pub fn load_batch(&mut self, step: usize) {
        for (name, key) in [("z0", "batches_z0"), ("target", "batches_target")] {
            let symbol = self.symbols[name];
            let axes = self.values[&symbol].axes.clone();
            let size = self.graph.axes.size(&axes);
            let all = floats(&self.json[key]);
            let data = all[(step - 1) * size..step * size].to_vec();
            self.values.insert(symbol, Tensor::new(&self.graph.axes, &axes, data));
        }
    }

    pub fn has_optimizer(&self, name: &str) -> bool {
        self.json
            .get("opt")
            .is_some_and(|opt| opt.as_object().unwrap().keys().any(|k| k.starts_with(&format!("{name}."))))
    }

    /// Parameters after `step` in the reference run.
    pub fn optimizer_state(&self, name: &str, step: usize) -> Vec<(String, Vec<f64>)> {
        let prefix = format!("{name}.step{step}.");
        let opt = self.json["opt"].as_object().unwrap();
        let found = opt
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.to_string(), floats(value))));
        found.collect()
    }

    pub fn param_value(&self, name: &str) -> Vec<f64> {
        self.values[&self.symbols[name]].values.iter().copied().collect()
    }

    /// W ← W − rate·gradient.
    pub fn step(&mut self, name: &str, value: Expr, gradient: &[f64], rate: f64) {
        let axes = self.graph.axes_of(value).to_vec();
        let old = self.param_value(name);
        let new = old.iter().zip(gradient).map(|(w, g)| w - rate * g).collect();
        self.values.insert(self.symbols[name], Tensor::new(&self.graph.axes, &axes, new));
    }
}

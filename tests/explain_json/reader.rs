//! A reader of `blkc explain --format json` from its manual alone: nothing of the compiler is used.

use std::collections::HashMap;

use ndarray::Array2;
use serde_json::Value;

/// Entries over named axes, row-major.
#[derive(Clone, Debug)]
struct Array {
    axes: Vec<String>,
    entries: Vec<f64>,
}

type Position = HashMap<String, usize>;

/// One block's explanation with numbers for its symbols.
pub struct Document {
    section: Value,
    extents: HashMap<String, usize>,
    values: Vec<Array>,
    roles: Vec<(String, String, Vec<f64>)>,
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_string()).collect()
}

fn integers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|one| one.as_u64().unwrap() as usize).collect()
}

impl Document {
    /// `numbers` gives the entries of a symbol by its name, its role and their number.
    pub fn new(section: &Value, mut numbers: impl FnMut(&str, &str, usize) -> Vec<f64>) -> Document {
        let extent =
            |axis: &Value| (axis["id"].as_str().unwrap().into(), axis["extent"].as_u64().unwrap() as usize);
        let extents = section["axes"].as_array().unwrap().iter().map(extent).collect();
        let mut document = Document { section: section.clone(), extents, values: vec![], roles: vec![] };
        for symbol in section["symbols"].as_array().unwrap() {
            let (name, role) = (symbol["name"].as_str().unwrap(), symbol["role"].as_str().unwrap());
            let entries = numbers(name, role, document.size(&strings(&symbol["over"])));
            document.roles.push((name.into(), role.into(), entries));
        }
        for node in section["nodes"].as_array().unwrap() {
            let value = document.node(node);
            document.values.push(value);
        }
        document
    }

    pub fn symbol_with_role(&self, role: &str) -> (String, Vec<f64>) {
        match self.roles.iter().find(|symbol| symbol.1 == role) {
            Some(symbol) => (symbol.0.clone(), symbol.2.clone()),
            // A residual of zero does not read it.
            None => (String::new(), vec![0.0; self.size(&strings(&self.section["tensors"][1]["over"]))]),
        }
    }

    pub fn value(&self, node: &Value) -> Vec<f64> {
        self.values[node.as_u64().unwrap() as usize].entries.clone()
    }

    pub fn number(&self, node: &Value) -> f64 {
        self.value(node)[0]
    }

    fn size(&self, axes: &[String]) -> usize {
        axes.iter().map(|axis| self.extents[axis]).product()
    }

    fn positions(&self, axes: &[String]) -> Vec<Position> {
        let mut all = vec![Position::new()];
        for axis in axes {
            let extended = all.iter().flat_map(|position| {
                (0..self.extents[axis]).map(|place| {
                    let mut position = position.clone();
                    position.insert(axis.clone(), place);
                    position
                })
            });
            all = extended.collect();
        }
        all
    }

    fn flat(&self, axes: &[String], position: &Position) -> usize {
        axes.iter().fold(0, |flat, axis| flat * self.extents[axis] + position[axis])
    }

    fn at(&self, array: &Array, position: &Position) -> f64 {
        array.entries[self.flat(&array.axes, position)]
    }

    fn node(&self, node: &Value) -> Array {
        let axes = strings(&node["over"]);
        let args: Vec<&Array> =
            integers(&node["args"]).into_iter().map(|place| &self.values[place]).collect();
        if node["op"] == "symbol" {
            let name = node["name"].as_str().unwrap();
            let entries = self.roles.iter().find(|symbol| symbol.0 == name).unwrap().2.clone();
            return Array { axes, entries };
        }
        let entries =
            self.positions(&axes).iter().map(|position| self.entry(node, &args, position)).collect();
        Array { axes, entries }
    }

    fn entry(&self, node: &Value, args: &[&Array], position: &Position) -> f64 {
        let here = || args.iter().map(|arg| self.at(arg, position)).collect::<Vec<f64>>();
        let along = || strings(&node["along"]);
        match node["op"].as_str().unwrap() {
            "number" => node["value"].as_f64().unwrap(),
            "plus" => here().iter().sum(),
            "multiply" => here().iter().product(),
            "power" => here()[0].powf(here()[1]),
            "apply" => function(node["function"].as_str().unwrap(), &here()),
            "repeat" => here()[0],
            "position" => position[&along()[0]] as f64,
            "window" => {
                let by = strings(&node["by"]).into_iter().zip(integers(&node["steps"]));
                let reached: i64 = by.map(|(axis, step)| (step * position[&axis]) as i64).sum();
                let fits = node["offset"].as_i64().unwrap() + reached == position[&along()[0]] as i64;
                f64::from(u8::from(fits))
            }
            "first_largest" => {
                let all = self.around(&along(), position);
                let value = |at: &Position| self.at(args[0], at);
                let largest = all.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
                let first = all.iter().find(|at| value(at) == largest);
                f64::from(u8::from(first == Some(position)))
            }
            "reduce" => self.reduced(node["how"].as_str().unwrap(), args[0], &along(), position),
            "contraction" => self.sum(&along(), position, |at| self.at(args[0], at) * self.at(args[1], at)),
            "rename" => {
                let mut moved = position.clone();
                for (from, to) in strings(&node["from"]).into_iter().zip(strings(&node["to"])) {
                    moved.insert(from, position[&to]);
                }
                self.at(args[0], &moved)
            }
            "reshape" => self.at(args[0], &self.unflattened(node, position)),
            other => panic!("the manual knows no `{other}`"),
        }
    }

    fn unflattened(&self, node: &Value, position: &Position) -> Position {
        let (from, to) = (strings(&node["from"]), strings(&node["to"]));
        let mut flat = self.flat(&to, position);
        let mut moved = position.clone();
        for axis in from.iter().rev() {
            moved.insert(axis.clone(), flat % self.extents[axis]);
            flat /= self.extents[axis];
        }
        moved
    }

    fn around(&self, along: &[String], position: &Position) -> Vec<Position> {
        let mut all = self.positions(along);
        all.iter_mut().for_each(|inner| {
            for (axis, place) in position {
                inner.entry(axis.clone()).or_insert(*place);
            }
        });
        all
    }

    fn sum(&self, along: &[String], position: &Position, at: impl Fn(&Position) -> f64) -> f64 {
        self.around(along, position).iter().map(at).sum()
    }

    fn reduced(&self, how: &str, arg: &Array, along: &[String], position: &Position) -> f64 {
        let total = self.sum(along, position, |at| self.at(arg, at));
        match how {
            "total" => total,
            "average" => total / self.size(along) as f64,
            "maximum" => self
                .around(along, position)
                .iter()
                .map(|at| self.at(arg, at))
                .fold(f64::NEG_INFINITY, f64::max),
            other => panic!("the manual knows no reduction `{other}`"),
        }
    }

    /// An operator as a matrix, codomain × domain.
    pub fn operator(&self, operator: &Value) -> Array2<f64> {
        let (domain, codomain) = (strings(&operator["domain"]), strings(&operator["codomain"]));
        let mut matrix = Array2::zeros((self.size(&codomain), self.size(&domain)));
        for term in operator["terms"].as_array().unwrap() {
            self.add_term(&mut matrix, term, &domain, &codomain);
        }
        matrix
    }

    /// Adds c ∏ factors for every assignment of the variables that the reshapes allow.
    fn add_term(&self, matrix: &mut Array2<f64>, term: &Value, domain: &[String], codomain: &[String]) {
        let variables = strings(&term["variables"]);
        let coefficient = term["coefficient"].as_f64().unwrap();
        let indices = |value: &Value| -> Vec<(String, usize)> {
            let one = |index: &Value| {
                (index["axis"].as_str().unwrap().to_string(), index["variable"].as_u64().unwrap() as usize)
            };
            value.as_array().unwrap().iter().map(one).collect()
        };
        let (inner, outer) = (indices(&term["domain"]), indices(&term["codomain"]));
        let factors: Vec<(&Array, Vec<(String, usize)>)> = term["factors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|factor| (&self.values[factor["node"].as_u64().unwrap() as usize], indices(&factor["at"])))
            .collect();
        let reshapes: Vec<(Vec<usize>, Vec<usize>)> = term["reshapes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (integers(&pair["from"]), integers(&pair["to"])))
            .collect();
        let place = |indices: &[(String, usize)], chosen: &[usize]| -> Position {
            indices.iter().map(|(axis, variable)| (axis.clone(), chosen[*variable])).collect()
        };
        let row_major = |list: &[usize], chosen: &[usize]| {
            list.iter().fold(0, |flat, &v| flat * self.extents[&variables[v]] + chosen[v])
        };
        let mut chosen = vec![0; variables.len()];
        loop {
            let allowed = reshapes.iter().all(|(a, b)| row_major(a, &chosen) == row_major(b, &chosen));
            if allowed {
                let product: f64 =
                    factors.iter().map(|(array, at)| self.at(array, &place(at, &chosen))).product();
                let row = self.flat(codomain, &place(&outer, &chosen));
                let column = self.flat(domain, &place(&inner, &chosen));
                matrix[(row, column)] += coefficient * product;
            }
            let Some(next) = (0..chosen.len()).rev().find(|&v| chosen[v] + 1 < self.extents[&variables[v]])
            else {
                break;
            };
            chosen[next] += 1;
            chosen[next + 1..].fill(0);
        }
    }

    /// The product of operators that `gauss_newton` names.
    pub fn gauss_newton(&self, argument: &Value) -> Array2<f64> {
        let matrix = |factor: &Value| {
            let matrix = match factor["operator"].as_str().unwrap() {
                "jacobian" => self.operator(&argument["jacobian"]["operator"]),
                "loss_hessian" => self.operator(&self.section["loss_hessian"]["operator"]),
                other => panic!("the manual knows no operator `{other}`"),
            };
            if factor["transposed"] == true { matrix.reversed_axes() } else { matrix }
        };
        let factors = argument["gauss_newton"]["product"].as_array().unwrap();
        factors.iter().map(matrix).reduce(|left, right| left.dot(&right)).unwrap()
    }
}

/// The functions that the networks of the tests use, by the manual's table.
fn function(name: &str, args: &[f64]) -> f64 {
    let truth = |holds: bool| f64::from(u8::from(holds));
    match name {
        "exp" => args[0].exp(),
        "log" => args[0].ln(),
        "log1p" => args[0].ln_1p(),
        "tanh" => args[0].tanh(),
        "abs" => args[0].abs(),
        "erf" => libm::erf(args[0]),
        "max" => args[0].max(args[1]),
        "min" => args[0].min(args[1]),
        "gt" => truth(args[0] > args[1]),
        "lt" => truth(args[0] < args[1]),
        "ge" => truth(args[0] >= args[1]),
        "le" => truth(args[0] <= args[1]),
        "eq" => truth(args[0] == args[1]),
        "where" => {
            if args[0] != 0.0 {
                args[1]
            } else {
                args[2]
            }
        }
        "stop" => args[0],
        other => panic!("the manual knows no function `{other}`"),
    }
}

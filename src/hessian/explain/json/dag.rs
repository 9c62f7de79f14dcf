//! Values of one block as a list of nodes, arguments before what uses them; operators as networks over the nodes.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::super::BlockExplanation;
use crate::axes::{Axis, BATCH};
use crate::sym::graph::{Expr, Graph, Node, Reduction, Storage, Symbol};
use crate::sym::operator::{Indices, Operator, Term, Var};

/// Gathers what a block's formulas are made of.
pub struct Dag<'g> {
    graph: &'g Graph,
    block: &'g BlockExplanation,
    places: HashMap<Expr, usize>,
    nodes: Vec<Value>,
    symbols: Vec<Value>,
    axes: Vec<Axis>,
}

impl<'g> Dag<'g> {
    pub fn new(graph: &'g Graph, block: &'g BlockExplanation) -> Dag<'g> {
        let mut dag =
            Dag { graph, block, places: HashMap::new(), nodes: vec![], symbols: vec![], axes: vec![] };
        // The block's input is a variable, whatever computes it.
        let input = block.tensors[0].expr;
        let place = dag.symbol("z", "input", input);
        dag.places.insert(input, place);
        dag
    }

    /// The axes that occur, with their extents and letters.
    pub fn axes(&self) -> Vec<Value> {
        let letter = |axis: Axis| {
            let mut all = self.block.tensors.iter().flat_map(|tensor| {
                let own = self.graph.axes_of(tensor.expr).iter().filter(|axis| **axis != BATCH);
                own.zip(&tensor.axes)
            });
            match axis == BATCH {
                true => Some("j".to_string()),
                false => all.find(|(own, _)| **own == axis).map(|(_, (letter, _))| letter.clone()),
            }
        };
        let value = |&axis: &Axis| {
            json!({
                "id": axis.to_string(),
                "name": self.graph.axes.name(axis),
                "letter": letter(axis),
                "extent": self.graph.axes.extent(axis),
                "is_batch": axis == BATCH,
            })
        };
        self.axes.iter().map(value).collect()
    }

    pub fn symbols(&self) -> &[Value] {
        &self.symbols
    }

    pub fn nodes(&self) -> &[Value] {
        &self.nodes
    }

    /// The name of the symbol that a parameter is.
    pub fn path(&self, expr: Expr) -> Option<&str> {
        match self.graph.node(expr) {
            Node::Symbol(symbol) => Some(&self.graph.symbol_info(*symbol).name),
            _ => None,
        }
    }

    pub fn axes_of(&mut self, expr: Expr) -> Value {
        let axes = self.graph.axes_of(expr).to_vec();
        self.over(&axes)
    }

    fn over(&mut self, axes: &[Axis]) -> Value {
        for axis in axes {
            if !self.axes.contains(axis) {
                self.axes.push(*axis);
            }
        }
        json!(axes.iter().map(Axis::to_string).collect::<Vec<String>>())
    }

    /// The node of an expression.
    pub fn value(&mut self, expr: Expr) -> Value {
        json!(self.place(expr))
    }

    fn place(&mut self, root: Expr) -> usize {
        let mut stack = vec![root];
        while let Some(&expr) = stack.last() {
            let known = |arg: &Expr| self.places.contains_key(arg);
            if known(&expr) {
                stack.pop();
                continue;
            }
            let open: Vec<Expr> =
                self.graph.node(expr).args().into_iter().filter(|arg| !known(arg)).collect();
            if open.is_empty() {
                let place = self.add(expr);
                self.places.insert(expr, place);
                stack.pop();
            } else {
                stack.extend(open);
            }
        }
        self.places[&root]
    }

    /// Appends a node whose arguments are there.
    fn add(&mut self, expr: Expr) -> usize {
        let node = self.graph.node(expr).clone();
        if let Node::Symbol(symbol) = node {
            let role = self.role(expr, symbol);
            let name = self.graph.symbol_info(symbol).name.clone();
            return self.symbol(&name, role, expr);
        }
        let args: Vec<usize> = node.args().iter().map(|arg| self.places[arg]).collect();
        let mut value = self.described(&node);
        value["args"] = json!(args);
        value["over"] = self.axes_of(expr);
        self.nodes.push(value);
        self.nodes.len() - 1
    }

    fn symbol(&mut self, name: &str, role: &str, expr: Expr) -> usize {
        let over = self.axes_of(expr);
        let place = self.nodes.len();
        self.nodes.push(json!({"op": "symbol", "name": name, "args": [], "over": over.clone()}));
        self.symbols.push(json!({"name": name, "role": role, "over": over, "node": place}));
        place
    }

    fn role(&self, expr: Expr, symbol: Symbol) -> &'static str {
        let is_parameter = self.block.tensors[2..].iter().any(|tensor| tensor.expr == expr);
        match self.graph.symbol_info(symbol).storage {
            _ if is_parameter => "parameter",
            _ if self.block.cotangent == Some(expr) => "cotangent",
            Storage::Label => "labels",
            _ => "given",
        }
    }

    /// What a node does, its arguments apart.
    fn described(&mut self, node: &Node) -> Value {
        match node {
            Node::Number(number) => json!({"op": "number", "value": number.value()}),
            Node::Symbol(_) => json!({"op": "symbol"}),
            Node::Add(_) => json!({"op": "plus"}),
            Node::Mul(_) => json!({"op": "multiply"}),
            Node::Pow(..) => json!({"op": "power"}),
            Node::Apply(function, _) => json!({"op": "apply", "function": function.0.name()}),
            Node::Reduce(how, axes, _) => {
                let how = match how {
                    Reduction::Sum => "total",
                    Reduction::Mean => "average",
                    Reduction::Max => "maximum",
                };
                json!({"op": "reduce", "how": how, "along": self.over(axes)})
            }
            Node::Contract { over, .. } => json!({"op": "contraction", "along": self.over(over)}),
            Node::Rename(_, pairs) => {
                let (from, to): (Vec<Axis>, Vec<Axis>) = pairs.iter().copied().unzip();
                json!({"op": "rename", "from": self.over(&from), "to": self.over(&to)})
            }
            Node::Reshape { from, to, .. } => {
                json!({"op": "reshape", "from": self.over(from), "to": self.over(to)})
            }
            Node::Index(axis) => json!({"op": "position", "along": self.over(&[*axis])}),
            Node::Window(window) => {
                let by: Vec<Axis> = window.by.iter().map(|by| by.0).collect();
                let steps: Vec<usize> = window.by.iter().map(|by| by.1).collect();
                json!({
                    "op": "window",
                    "along": self.over(&[window.axis]),
                    "by": self.over(&by),
                    "steps": steps,
                    "offset": window.offset,
                })
            }
            Node::ArgMax(over, _) => json!({"op": "first_largest", "along": self.over(over)}),
            Node::Spread(_, along) => json!({"op": "repeat", "along": self.over(along)}),
            Node::Random { stream, .. } => json!({"op": "uniform draw", "stream": stream}),
            Node::Orthonormal(_) => json!({"op": "orthonormalized"}),
            Node::Exchange(how, _) => json!({"op": format!("{how:?} over ranks").to_lowercase()}),
        }
    }

    pub fn operator(&mut self, operator: &Operator) -> Value {
        let terms: Vec<Value> = operator.terms.iter().map(|term| self.term(term)).collect();
        json!({
            "domain": self.over(&operator.domain),
            "codomain": self.over(&operator.codomain),
            "terms": terms,
        })
    }

    fn term(&mut self, term: &Term) -> Value {
        let ids = |vars: &[Var]| vars.iter().map(|var| var.0).collect::<Vec<usize>>();
        let factors: Vec<Value> = term
            .factors
            .iter()
            .map(|factor| {
                let own = self.graph.axes_of(factor.expr);
                let at: Indices = factor.at.iter().copied().filter(|index| own.contains(&index.0)).collect();
                json!({"node": self.place(factor.expr), "at": self.indices(&at)})
            })
            .collect();
        let reshapes: Vec<Value> =
            term.reshapes.iter().map(|(from, to)| json!({"from": ids(from), "to": ids(to)})).collect();
        json!({
            "coefficient": term.coefficient * self.graph.axes.size(&term.counts) as f64,
            "variables": self.over(&term.axes),
            "domain": self.indices(&term.domain),
            "codomain": self.indices(&term.codomain),
            "factors": factors,
            "reshapes": reshapes,
        })
    }

    /// `{"axis": …, "variable": …}` for every index.
    fn indices(&mut self, indices: &Indices) -> Value {
        let one = |&(axis, var): &(Axis, Var)| json!({"axis": axis.to_string(), "variable": var.0});
        json!(indices.iter().map(one).collect::<Vec<Value>>())
    }
}

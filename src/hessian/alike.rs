//! Which blocks compute the same function under other names, found without deriving anything: two blocks with equal keys
//! have expressions that differ only in which symbols and axes they are over, so every derivation of the one is, renamed,
//! one of the other.

use std::collections::HashMap;

use super::BlockExprs;
use crate::axes::{Axis, BATCH};
use crate::sym::graph::{Expr, Graph, Node};

/// The expressions of a block with symbols, axes and shared parts numbered in the order of their first use.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Key(Vec<String>);

/// The key of a block.
pub fn key(graph: &Graph, block: &BlockExprs) -> Key {
    let mut writer = Writer { graph, places: HashMap::new(), axes: HashMap::new(), words: vec![] };
    writer.leaf("z", block.input);
    for param in &block.params {
        writer.leaf(&format!("{} as {}", param.name, param.role), param.value);
    }
    writer.expression(block.output);
    if let Some(loss) = block.loss {
        writer.expression(loss);
    }
    Key(writer.words)
}

struct Writer<'g> {
    graph: &'g Graph,
    places: HashMap<Expr, usize>,
    axes: HashMap<Axis, usize>,
    words: Vec<String>,
}

impl Writer<'_> {
    /// A variable of the block.
    fn leaf(&mut self, name: &str, expr: Expr) {
        let axes: Vec<String> = self.graph.axes_of(expr).to_vec().into_iter().map(|a| self.axis(a)).collect();
        self.push(expr, format!("{name} {axes:?}"));
    }

    fn push(&mut self, expr: Expr, word: String) {
        self.places.insert(expr, self.words.len());
        self.words.push(word);
    }

    /// An axis by its number, and at first what else formulas see of it.
    fn axis(&mut self, axis: Axis) -> String {
        let next = self.axes.len();
        match self.axes.get(&axis) {
            Some(known) => format!("a{known}"),
            None => {
                self.axes.insert(axis, next);
                let (name, extent) = (self.graph.axes.name(axis), self.graph.axes.extent(axis));
                format!("a{next}:{name}:{extent}:{}", axis == BATCH)
            }
        }
    }

    /// All nodes of an expression, arguments first.
    fn expression(&mut self, root: Expr) {
        let mut stack = vec![root];
        while let Some(&expr) = stack.last() {
            let open: Vec<Expr> = match self.places.contains_key(&expr) {
                true => vec![],
                false => {
                    let args = self.graph.node(expr).args().into_iter();
                    args.filter(|arg| !self.places.contains_key(arg)).rev().collect()
                }
            };
            if open.is_empty() {
                stack.pop();
                if !self.places.contains_key(&expr) {
                    let word = self.node(expr);
                    self.push(expr, word);
                }
            } else {
                stack.extend(open);
            }
        }
    }

    fn node(&mut self, expr: Expr) -> String {
        let graph = self.graph;
        let node = graph.node(expr).clone();
        let args: Vec<usize> = node.args().iter().map(|arg| self.places[arg]).collect();
        let mut axes = |list: &[Axis]| list.iter().map(|&axis| self.axis(axis)).collect::<Vec<String>>();
        let what = match &node {
            Node::Number(number) => format!("number {:?}", number.value()),
            Node::Symbol(symbol) => {
                let info = graph.symbol_info(*symbol);
                format!("symbol {} {:?} {:?}", info.label, info.storage, axes(&info.axes))
            }
            Node::Add(_) => "plus".into(),
            Node::Mul(_) => "times".into(),
            Node::Pow(..) => "power".into(),
            Node::Apply(function, _) => format!("apply {}", function.0.name()),
            Node::Reduce(how, over, _) => format!("reduce {how:?} {:?}", axes(over)),
            Node::Contract { over, .. } => format!("contract {:?}", axes(over)),
            Node::Rename(_, pairs) => {
                let (from, to): (Vec<Axis>, Vec<Axis>) = pairs.iter().copied().unzip();
                format!("rename {:?} {:?}", axes(&from), axes(&to))
            }
            Node::Reshape { from, to, .. } => format!("reshape {:?} {:?}", axes(from), axes(to)),
            Node::Index(axis) => format!("index {:?}", axes(&[*axis])),
            Node::Window(window) => {
                let steps: Vec<usize> = window.by.iter().map(|by| by.1).collect();
                format!("window {} {steps:?} {:?}", window.offset, axes(&window.axes()))
            }
            Node::ArgMax(over, _) => format!("argmax {:?}", axes(over)),
            Node::Spread(_, along) => format!("spread {:?}", axes(along)),
            // Draws differ in their streams; formulas show them alike.
            Node::Random { axes: over, .. } => format!("random {:?}", axes(over)),
            Node::Orthonormal(_) => "orth".into(),
            Node::Exchange(how, _) => format!("exchange {how:?}"),
        };
        format!("{what} {args:?} named {:?}", graph.name_of(expr).map(crate::sym::letters::pretty_name))
    }
}

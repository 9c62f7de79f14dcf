//! Hash-consed tensor expressions. Equal expressions are one node; constructors normalize lightly.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::window::Window;
use crate::axes::{Axis, AxisTable, BATCH};

/// An expression of a [`Graph`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Expr(pub u32);

/// A named tensor: parameter, input, state, factor, output.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Symbol(pub u32);

/// How a symbol is stored at run time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Storage {
    /// f32 (in the f32 precisions).
    Float,
    /// f64: hyper-parameters, step counts; always over no axes.
    Double,
    /// i32 class labels.
    Label,
    /// u32 words that seed [`Node::Random`]; always over no axes.
    Seed,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SymbolInfo {
    /// Unique path: `h1.dense.W`, `input`, `state.v.h1.dense.W`.
    pub name: String,
    /// What formulas print: `W`, `z_{b-1}`.
    pub label: String,
    /// In storage order.
    pub axes: Vec<Axis>,
    pub storage: Storage,
}

/// An elementwise function of one or more arguments, known by its derivative. Sums, products and powers are not
/// functions but nodes, so that the algebra can see them.
pub trait Function: Sync {
    fn name(&self) -> &'static str;
    fn arity(&self) -> usize;
    fn eval(&self, args: &[f64]) -> f64;
    /// ∂f/∂args[i], as an expression in the arguments. At kinks: the declared convention.
    fn derivative(&self, graph: &mut Graph, i: usize, args: &[Expr]) -> Expr;
    /// An equal, simpler expression, with the name of the identity; constants are folded without it.
    fn simplify(&self, _graph: &mut Graph, _args: &[Expr]) -> Option<(&'static str, Expr)> {
        None
    }
    /// Whether the value is always 0 or 1, so that its powers are itself.
    fn is_indicator(&self, _graph: &Graph, _args: &[Expr]) -> bool {
        false
    }
    /// Whether the value is never negative.
    fn is_nonnegative(&self) -> bool {
        false
    }
    /// How formulas show it.
    fn style(&self) -> Style {
        Style::Call
    }
    /// Whether f(a + b) = f(a)·f(b), so that a common shift cancels in f(a)/Σ f(a).
    fn is_exponential(&self) -> bool {
        false
    }
}

/// How a formula shows a function of its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// f(a, b)
    Call,
    /// a > b
    Infix(&'static str),
    /// |a|
    Bars,
    /// ¬a
    Not,
    /// f(1 + a), for a function written as f
    OnePlus(&'static str),
    /// The second argument where the first holds, else the third.
    Choice,
    /// The argument as it is.
    Itself,
}

/// What a value is the expectation of.
#[derive(Clone, PartialEq, Debug)]
pub struct Expectation {
    pub inside: Expr,
    /// Parts of `inside` that are normal, each with its mean and standard deviation.
    pub normal: Vec<(Expr, Expr, Expr)>,
}

impl fmt::Debug for dyn Function {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A function by identity of its name.
#[derive(Clone, Copy, Debug)]
pub struct FunctionRef(pub &'static dyn Function);

impl PartialEq for FunctionRef {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}
impl Eq for FunctionRef {}
impl std::hash::Hash for FunctionRef {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.name().hash(state)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reduction {
    Sum,
    /// The sum divided by the number of positions.
    Mean,
    Max,
}

/// A number, comparable by its bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Number(u64);

impl Number {
    pub fn new(value: f64) -> Self {
        Number(if value == 0.0 { 0 } else { value.to_bits() })
    }

    pub fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// The algebra. Axes of a result: the union of the arguments' axes in order of first appearance, the batch first,
/// unless said otherwise. Missing axes broadcast.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Node {
    Number(Number),
    Symbol(Symbol),
    /// n-ary sum, entrywise with broadcasting. At least two terms, no two equal up to a numeric
    /// factor; a sum among the terms stays closed where opening it would make more terms.
    Add(Vec<Expr>),
    /// n-ary product, entrywise with broadcasting; at most one number, first. Flattened, up to a bounded
    /// number of factors.
    Mul(Vec<Expr>),
    /// base^exponent, entrywise.
    Pow(Expr, Expr),
    Apply(FunctionRef, Vec<Expr>),
    /// Over axes of the argument, which the result lacks.
    Reduce(Reduction, Vec<Axis>, Expr),
    /// Σ over `over` of the product of the factors: matrix products and their kin. Two factors, each summed axis in both.
    Contract {
        left: Expr,
        right: Expr,
        over: Vec<Axis>,
    },
    /// The same entries with other axes; pairs (old, new) of equal extents, unmentioned axes stay.
    Rename(Expr, Vec<(Axis, Axis)>),
    /// Row-major reinterpretation: the axes `from` (in this order, which is their order in the result's memory) become `to`.
    Reshape {
        arg: Expr,
        from: Vec<Axis>,
        to: Vec<Axis>,
    },
    /// The position along an axis, as a number.
    Index(Axis),
    /// 1 where the positions along the axes fit together, else 0.
    Window(Window),
    /// 1 at the first largest entry along the axes (in this order, the last running fastest), else 0. A NaN counts as
    /// largest. Constant for derivatives.
    ArgMax(Vec<Axis>, Expr),
    /// Repeats a value along axes that it lacks.
    Spread(Expr, Vec<Axis>),
    /// Independent uniform numbers in (0, 1) over `axes`: a counter-based hash of the entry's flat row-major position
    /// in `axes`, `stream` and the scalar `counters` (seed, step). Differentiates to zero.
    Random {
        stream: u32,
        counters: Vec<Expr>,
        axes: Vec<Axis>,
    },
    /// The rows or columns (whichever are fewer) of the argument, seen as a matrix with the first axis as rows,
    /// made orthonormal (Gram–Schmidt with positive diagonal). Only in initializers.
    Orthonormal(Expr),
    /// The sum or maximum, entry by entry, of the argument's values on all ranks that take a step together (a program that
    /// runs alone is one rank). Put in when the derivation is done: no rule looks through it.
    Exchange(Reduction, Expr),
}

/// What a run of the program may have come from; used to attribute time in `bench`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tag {
    /// Index of the block; the loss counts to the last one.
    pub block: u32,
    pub pass: Pass,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Pass {
    Forward,
    Backward,
    Update,
}

/// An arena of expressions over one table of axes.
#[derive(Clone, Debug)]
pub struct Graph {
    pub axes: AxisTable,
    nodes: Vec<Node>,
    node_axes: Vec<Vec<Axis>>,
    interned: HashMap<Node, Expr>,
    symbols: Vec<SymbolInfo>,
    names: HashMap<Expr, String>,
    tags: HashMap<Expr, Tag>,
    sealed: HashSet<Expr>,
    expectations: HashMap<Expr, Expectation>,
    /// What reductions became, so that sums shared by many sums are looked into once.
    pub(super) reduced: HashMap<Node, Expr>,
    /// What random draws are counted by: the words of the seed, then the step. Draws of an initializer use the former
    /// only ([`Storage::Seed`]).
    pub counters: Vec<Symbol>,
    /// A rank's first sample in the batch of all ranks, where there may be several: positions along the batch, also those
    /// that random draws are numbered by, are counted from it.
    pub first_sample: Option<Symbol>,
    /// New expressions get this tag.
    pub current_tag: Option<Tag>,
}

impl Graph {
    pub fn new(axes: AxisTable) -> Self {
        Graph {
            axes,
            nodes: Vec::new(),
            node_axes: Vec::new(),
            interned: HashMap::new(),
            symbols: Vec::new(),
            names: HashMap::new(),
            tags: HashMap::new(),
            sealed: HashSet::new(),
            expectations: HashMap::new(),
            reduced: HashMap::new(),
            counters: Vec::new(),
            first_sample: None,
            current_tag: None,
        }
    }

    pub fn node(&self, expr: Expr) -> &Node {
        &self.nodes[expr.0 as usize]
    }

    /// From now on no rule of simplification looks inside this value: what is made of it keeps it as an argument, so
    /// that derivatives may take it as a variable. Blocks seal their outputs.
    pub fn seal(&mut self, expr: Expr) {
        self.sealed.insert(expr);
        // What was simplified before may have looked inside.
        self.reduced.clear();
    }

    /// The node as the rules of simplification see it: a sealed value looks like an unknown symbol.
    pub fn visible(&self, expr: Expr) -> &Node {
        static UNKNOWN: Node = Node::Symbol(Symbol(u32::MAX));
        if self.sealed.contains(&expr) && !matches!(self.node(expr), Node::Number(_)) {
            return &UNKNOWN;
        }
        self.node(expr)
    }

    /// Axes in storage order.
    pub fn axes_of(&self, expr: Expr) -> &[Axis] {
        &self.node_axes[expr.0 as usize]
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn symbol_info(&self, symbol: Symbol) -> &SymbolInfo {
        &self.symbols[symbol.0 as usize]
    }

    pub fn symbols(&self) -> impl Iterator<Item = (Symbol, &SymbolInfo)> {
        self.symbols.iter().enumerate().map(|(index, info)| (Symbol(index as u32), info))
    }

    /// The order in which the entries of a symbol are stored, from the outermost axis on.
    ///
    /// # Panics
    /// When `axes` are others than the symbol's.
    pub fn arrange(&mut self, symbol: Symbol, axes: Vec<Axis>) {
        let own = &mut self.symbols[symbol.0 as usize].axes;
        assert!(own.len() == axes.len() && own.iter().all(|axis| axes.contains(axis)));
        *own = axes;
    }

    pub fn new_symbol(&mut self, info: SymbolInfo) -> Symbol {
        self.symbols.push(info);
        Symbol(self.symbols.len() as u32 - 1)
    }

    /// The name under which printing shows this intermediate.
    pub fn name_of(&self, expr: Expr) -> Option<&str> {
        self.names.get(&expr).map(String::as_str)
    }

    pub fn set_name(&mut self, expr: Expr, name: impl Into<String>) {
        self.names.entry(expr).or_insert_with(|| name.into());
    }

    /// Formulas show `expr` as this expectation.
    pub fn set_expectation(&mut self, expr: Expr, of: Expectation) {
        self.expectations.entry(expr).or_insert(of);
    }

    pub fn expectation(&self, expr: Expr) -> Option<&Expectation> {
        self.expectations.get(&expr)
    }

    pub fn tag_of(&self, expr: Expr) -> Option<Tag> {
        self.tags.get(&expr).copied()
    }

    /// The node as it stands, shared with its equal. Normalizing constructors call this last. Sums, products and
    /// contractions are equal in any order of their arguments; the order first written is kept, for printing and so
    /// that evaluation follows the source.
    pub fn intern(&mut self, node: Node) -> Expr {
        let key = node.unordered();
        if let Some(&known) = self.interned.get(&key) {
            return known;
        }
        let expr = Expr(self.nodes.len() as u32);
        let axes = self.result_axes(&node);
        self.node_axes.push(axes);
        self.nodes.push(node);
        self.interned.insert(key, expr);
        if let Some(tag) = self.current_tag {
            self.tags.insert(expr, tag);
        }
        expr
    }

    /// The expression of this node, where it has been made before.
    pub fn known(&self, node: &Node) -> Option<Expr> {
        self.interned.get(&node.unordered()).copied()
    }

    fn result_axes(&self, node: &Node) -> Vec<Axis> {
        match node {
            Node::Number(_) => vec![],
            Node::Symbol(symbol) => self.symbol_info(*symbol).axes.clone(),
            Node::Add(args) | Node::Mul(args) | Node::Apply(_, args) => self.union(args),
            Node::Pow(base, exponent) => self.union(&[*base, *exponent]),
            Node::Reduce(_, over, arg) => without(self.axes_of(*arg), over),
            Node::Contract { left, right, over } => without(&self.union(&[*left, *right]), over),
            Node::Rename(arg, pairs) => {
                let rename =
                    |axis: &Axis| pairs.iter().find(|pair| pair.0 == *axis).map_or(*axis, |pair| pair.1);
                self.axes_of(*arg).iter().map(rename).collect()
            }
            Node::Reshape { arg, from, to } => {
                let rest = without(self.axes_of(*arg), from);
                batch_first(rest.into_iter().chain(to.iter().copied()))
            }
            Node::Index(axis) => vec![*axis],
            Node::Window(window) => window.axes(),
            Node::ArgMax(_, arg) => self.axes_of(*arg).to_vec(),
            Node::Spread(arg, along) => batch_first(self.axes_of(*arg).iter().chain(along).copied()),
            Node::Random { axes, .. } => axes.clone(),
            Node::Orthonormal(arg) | Node::Exchange(_, arg) => self.axes_of(*arg).to_vec(),
        }
    }

    fn union(&self, args: &[Expr]) -> Vec<Axis> {
        let shapes: Vec<&[Axis]> = args.iter().map(|&arg| self.axes_of(arg)).collect();
        broadcast_axes(&shapes)
    }
}

impl Node {
    /// The expressions that it is made of; all were made before it.
    pub fn args(&self) -> Vec<Expr> {
        match self {
            Node::Number(_) | Node::Symbol(_) | Node::Index(_) | Node::Window(_) => vec![],
            Node::Add(args) | Node::Mul(args) | Node::Apply(_, args) => args.clone(),
            Node::Random { counters, .. } => counters.clone(),
            Node::Pow(a, b) | Node::Contract { left: a, right: b, .. } => vec![*a, *b],
            Node::Reduce(_, _, arg)
            | Node::ArgMax(_, arg)
            | Node::Rename(arg, _)
            | Node::Reshape { arg, .. }
            | Node::Spread(arg, _)
            | Node::Orthonormal(arg)
            | Node::Exchange(_, arg) => vec![*arg],
        }
    }

    /// The node with other arguments.
    pub fn map(self, mut new: impl FnMut(Expr) -> Expr) -> Node {
        let all = |args: Vec<Expr>, new: &mut dyn FnMut(Expr) -> Expr| args.into_iter().map(new).collect();
        match self {
            Node::Number(_) | Node::Symbol(_) | Node::Index(_) | Node::Window(_) => self,
            Node::ArgMax(over, arg) => Node::ArgMax(over, new(arg)),
            Node::Add(args) => Node::Add(all(args, &mut new)),
            Node::Mul(args) => Node::Mul(all(args, &mut new)),
            Node::Apply(function, args) => Node::Apply(function, all(args, &mut new)),
            Node::Pow(base, exponent) => Node::Pow(new(base), new(exponent)),
            Node::Reduce(how, over, arg) => Node::Reduce(how, over, new(arg)),
            Node::Rename(arg, pairs) => Node::Rename(new(arg), pairs),
            Node::Spread(arg, along) => Node::Spread(new(arg), along),
            Node::Orthonormal(arg) => Node::Orthonormal(new(arg)),
            Node::Exchange(how, arg) => Node::Exchange(how, new(arg)),
            Node::Reshape { arg, from, to } => Node::Reshape { arg: new(arg), from, to },
            Node::Contract { left, right, over } => {
                Node::Contract { left: new(left), right: new(right), over }
            }
            Node::Random { stream, counters, axes } => {
                Node::Random { stream, counters: all(counters, &mut new), axes }
            }
        }
    }

    /// The node with commuting arguments in the order of their ids: equal nodes become the same.
    fn unordered(&self) -> Node {
        let mut node = self.clone();
        match &mut node {
            Node::Add(args) | Node::Mul(args) => args.sort_unstable(),
            Node::Contract { left, right, .. } if *right < *left => std::mem::swap(left, right),
            _ => (),
        }
        node
    }
}

/// Axes of an entrywise result in storage order: the argument with most axes leads, so that a broadcast factor in
/// front does not permute the result; the batch comes first.
pub fn broadcast_axes(shapes: &[&[Axis]]) -> Vec<Axis> {
    let mut order = shapes.to_vec();
    order.sort_by_key(|axes| std::cmp::Reverse(axes.len()));
    batch_first(order.into_iter().flatten().copied())
}

/// The axes that are not removed, in order.
pub(crate) fn without(axes: &[Axis], removed: &[Axis]) -> Vec<Axis> {
    axes.iter().copied().filter(|axis| !removed.contains(axis)).collect()
}

fn batch_first(axes: impl Iterator<Item = Axis>) -> Vec<Axis> {
    let mut result = Vec::new();
    for axis in axes {
        if result.contains(&axis) {
            continue;
        }
        if axis == BATCH { result.insert(0, axis) } else { result.push(axis) }
    }
    result
}

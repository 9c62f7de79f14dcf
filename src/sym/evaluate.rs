//! Expressions as f64 arrays: the meaning that compiled code is checked against.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use ndarray::{Array3, ArrayD, ArrayViewD, Axis as Dim, IxDyn};

use super::graph::{Expr, Graph, Node, Reduction, Symbol, without};
use super::random;
use super::window::Window;
use crate::axes::{Axis, AxisTable};

/// Numbers over named axes: entries in the order of `axes`. Conditions are 0 and 1, labels whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub axes: Vec<Axis>,
    pub values: ArrayD<f64>,
}

impl Tensor {
    pub fn scalar(value: f64) -> Self {
        Tensor { axes: vec![], values: ArrayD::from_elem(IxDyn(&[]), value) }
    }

    /// Row-major entries over `axes`; their number must fit.
    pub fn new(table: &AxisTable, axes: &[Axis], entries: Vec<f64>) -> Self {
        let values =
            ArrayD::from_shape_vec(shape(table, axes), entries).expect("as many entries as the axes have");
        Tensor { axes: axes.to_vec(), values }
    }

    /// The same entries over `axes`, in this order and row-major, repeated along those that the tensor lacks. All axes
    /// of the tensor must be among them.
    pub fn along(&self, table: &AxisTable, axes: &[Axis]) -> ArrayD<f64> {
        self.viewed(table, axes, |full| full.as_standard_layout().into_owned())
    }

    /// As [`Tensor::along`], without copying.
    fn viewed<T>(&self, table: &AxisTable, axes: &[Axis], see: impl FnOnce(ArrayViewD<f64>) -> T) -> T {
        let present = axes.iter().filter_map(|axis| self.place(*axis));
        let mut view = self.values.view().permuted_axes(present.collect::<Vec<usize>>());
        for (place, axis) in axes.iter().enumerate() {
            if self.place(*axis).is_none() {
                view = view.insert_axis(Dim(place));
            }
        }
        see(view.broadcast(shape(table, axes)).expect("the tensor's axes are among the axes"))
    }

    fn place(&self, axis: Axis) -> Option<usize> {
        self.axes.iter().position(|own| *own == axis)
    }
}

fn shape(table: &AxisTable, axes: &[Axis]) -> IxDyn {
    IxDyn(&axes.iter().map(|&axis| table.extent(axis)).collect::<Vec<usize>>())
}

/// The values of `roots`, each over the axes of its expression in storage order. `values` gives every symbol that
/// they read. Panics where a symbol has no value.
pub fn evaluate(graph: &Graph, values: &HashMap<Symbol, Tensor>, roots: &[Expr]) -> Vec<Tensor> {
    let mut known = Values::new(values.clone());
    roots.iter().map(|&root| known.of(graph, root)).collect()
}

/// Expressions at one point: everything is computed once and kept, until a symbol that it reads gets another value.
#[derive(Clone, Debug, Default)]
pub struct Values {
    symbols: HashMap<Symbol, Tensor>,
    done: HashMap<Expr, Tensor>,
}

impl Values {
    pub fn new(symbols: HashMap<Symbol, Tensor>) -> Self {
        Values { symbols, done: HashMap::new() }
    }

    /// Gives a symbol its value and forgets what was computed from an earlier one.
    pub fn set(&mut self, graph: &Graph, symbol: Symbol, value: Tensor) {
        if self.symbols.get(&symbol) == Some(&value) || self.symbols.insert(symbol, value).is_none() {
            return;
        }
        let Some(leaf) = graph.known(&Node::Symbol(symbol)) else { return };
        let roots: Vec<Expr> = self.done.keys().copied().collect();
        for stale in graph.between(&roots, &[leaf]) {
            self.done.remove(&stale);
        }
    }

    pub fn symbol(&self, symbol: Symbol) -> Option<&Tensor> {
        self.symbols.get(&symbol)
    }

    /// The value of `expr` over its axes in storage order. Panics where a symbol that it reads has no value.
    pub fn of(&mut self, graph: &Graph, expr: Expr) -> Tensor {
        for part in self.needed(graph, expr) {
            let value = Evaluator { graph, symbols: &self.symbols, done: &self.done }.node(part);
            self.done.insert(part, value);
        }
        self.done[&expr].clone()
    }

    /// Forgets intermediate values; those of the symbols stay.
    pub fn forget(&mut self) {
        self.done.clear();
    }

    /// What is not yet known of what the root is made of, arguments first: an expression is younger than its arguments.
    fn needed(&self, graph: &Graph, root: Expr) -> Vec<Expr> {
        let mut needed: Vec<Expr> = Vec::new();
        let mut seen = HashSet::new();
        let mut open = vec![root];
        while let Some(expr) = open.pop() {
            if !self.done.contains_key(&expr) && seen.insert(expr) {
                needed.push(expr);
                open.extend(graph.node(expr).args());
            }
        }
        needed.sort_unstable();
        needed
    }
}

struct Evaluator<'a> {
    graph: &'a Graph,
    symbols: &'a HashMap<Symbol, Tensor>,
    done: &'a HashMap<Expr, Tensor>,
}

impl Evaluator<'_> {
    fn node(&self, expr: Expr) -> Tensor {
        let axes = self.graph.axes_of(expr).to_vec();
        let values = match self.graph.node(expr) {
            Node::Number(number) => ArrayD::from_elem(IxDyn(&[]), number.value()),
            Node::Symbol(symbol) => self.symbol(*symbol),
            Node::Add(args) => self.folded(&axes, args, |sum, entry| *sum += entry),
            Node::Mul(args) => self.folded(&axes, args, |product, entry| *product *= entry),
            Node::Pow(base, exponent) => {
                self.folded(&axes, &[*base, *exponent], power(self.single(*exponent)))
            }
            Node::Apply(function, args) => self.entrywise(&axes, args, |entries| function.0.eval(entries)),
            Node::Reduce(how, over, arg) => self.reduce(*how, over, *arg),
            Node::Contract { left, right, over } => self.contract(&axes, *left, *right, over),
            Node::Rename(arg, _) => self.done[arg].values.clone(),
            Node::Reshape { arg, from, to } => self.reshape(&axes, *arg, from, to),
            Node::Index(axis) => {
                let positions = (0..self.graph.axes.extent(*axis)).map(|k| k as f64);
                ArrayD::from_shape_vec(self.shape(&axes), positions.collect()).expect("one axis")
            }
            Node::Window(window) => self.window(&axes, window),
            Node::ArgMax(over, arg) => self.arg_max(&axes, over, *arg),
            Node::Spread(arg, _) => self.done[arg].along(&self.graph.axes, &axes),
            Node::Random { stream, counters, axes } => self.random(*stream, counters, axes),
            Node::Orthonormal(arg) => orthonormal(&self.done[arg].values),
            // This is the only rank.
            Node::Exchange(_, arg) => self.done[arg].values.clone(),
        };
        Tensor { axes, values }
    }

    fn shape(&self, axes: &[Axis]) -> IxDyn {
        shape(&self.graph.axes, axes)
    }

    fn symbol(&self, symbol: Symbol) -> ArrayD<f64> {
        let info = self.graph.symbol_info(symbol);
        let Some(value) = self.symbols.get(&symbol) else { panic!("{} has no value", info.name) };
        value.along(&self.graph.axes, &info.axes)
    }

    fn entrywise(&self, axes: &[Axis], args: &[Expr], f: impl Fn(&[f64]) -> f64) -> ArrayD<f64> {
        let args: Vec<ArrayD<f64>> =
            args.iter().map(|arg| self.done[arg].along(&self.graph.axes, axes)).collect();
        let slices: Vec<&[f64]> = args.iter().map(|arg| arg.as_slice().expect("row-major")).collect();
        let mut entries = vec![0.0; slices.len()];
        let entry = |place: usize| {
            for (entry, slice) in entries.iter_mut().zip(&slices) {
                *entry = slice[place];
            }
            f(&entries)
        };
        let values = (0..self.graph.axes.size(axes)).map(entry).collect();
        ArrayD::from_shape_vec(self.shape(axes), values).expect("as many entries as the axes have")
    }

    /// The first argument, into which the others are put one after the other, entry by entry.
    fn folded(&self, axes: &[Axis], args: &[Expr], put: impl Fn(&mut f64, &f64) + Copy) -> ArrayD<f64> {
        let table = &self.graph.axes;
        let Some((first, rest)) = args.split_first() else { return ArrayD::zeros(self.shape(axes)) };
        let mut values = self.done[first].along(table, axes);
        for arg in rest {
            self.done[arg].viewed(table, axes, |view| values.zip_mut_with(&view, put));
        }
        values
    }

    /// The value over no axes.
    fn single(&self, expr: Expr) -> Option<f64> {
        let tensor = &self.done[&expr];
        tensor.values.first().copied().filter(|_| tensor.axes.is_empty())
    }

    fn reduce(&self, how: Reduction, over: &[Axis], arg: Expr) -> ArrayD<f64> {
        let arg = &self.done[&arg];
        let mut values = arg.values.clone();
        let mut places: Vec<usize> = over.iter().filter_map(|axis| arg.place(*axis)).collect();
        places.sort_unstable();
        for place in places.into_iter().rev() {
            values = match how {
                Reduction::Sum => values.sum_axis(Dim(place)),
                Reduction::Mean => values.mean_axis(Dim(place)).expect("extents are at least 1"),
                Reduction::Max => {
                    values.fold_axis(Dim(place), f64::NEG_INFINITY, |a, b| if b > a { *b } else { *a })
                }
            };
        }
        values
    }

    fn contract(&self, axes: &[Axis], left: Expr, right: Expr, over: &[Axis]) -> ArrayD<f64> {
        let (l, r) = (&self.done[&left], &self.done[&right]);
        let shared: Vec<Axis> =
            without(&l.axes, over).into_iter().filter(|axis| r.axes.contains(axis)).collect();
        let rows = without(&without(&l.axes, over), &shared);
        let cols = without(&without(&r.axes, over), &shared);
        let [c, m, k, n] = [&shared[..], &rows, over, &cols].map(|axes| self.graph.axes.size(axes));
        let cube = |side: &Tensor, order: [&[Axis]; 3], dims| {
            let flat = side.along(&self.graph.axes, &order.concat()).into_raw_vec_and_offset().0;
            Array3::from_shape_vec(dims, flat).expect("the axes of one side")
        };
        let a = cube(l, [&shared, &rows, over], (c, m, k));
        let b = cube(r, [&shared, over, &cols], (c, k, n));
        let mut products = Vec::with_capacity(c * m * n);
        for i in 0..c {
            let product = a.index_axis(Dim(0), i).dot(&b.index_axis(Dim(0), i));
            products.extend(product.as_standard_layout().iter());
        }
        let product = Tensor::new(&self.graph.axes, &[&shared[..], &rows, &cols].concat(), products);
        product.along(&self.graph.axes, axes)
    }

    fn reshape(&self, axes: &[Axis], arg: Expr, from: &[Axis], to: &[Axis]) -> ArrayD<f64> {
        let arg = &self.done[&arg];
        let rest = without(&arg.axes, from);
        let flat = arg.along(&self.graph.axes, &[&rest[..], from].concat()).into_raw_vec_and_offset().0;
        Tensor::new(&self.graph.axes, &[&rest[..], to].concat(), flat).along(&self.graph.axes, axes)
    }

    fn window(&self, axes: &[Axis], window: &Window) -> ArrayD<f64> {
        ArrayD::from_shape_fn(self.shape(axes), |index| {
            let at = |axis: Axis| axes.iter().position(|own| *own == axis).map_or(0, |place| index[place]);
            f64::from(u8::from(window.position(at) == at(window.axis) as i64))
        })
    }

    fn arg_max(&self, axes: &[Axis], over: &[Axis], arg: Expr) -> ArrayD<f64> {
        let rest = without(axes, over);
        let order = [&rest[..], over].concat();
        let flat = self.done[&arg].along(&self.graph.axes, &order).into_raw_vec_and_offset().0;
        let mut chosen = vec![0.0; flat.len()];
        let length = self.graph.axes.size(over);
        for (entries, chosen) in flat.chunks(length).zip(chosen.chunks_mut(length)) {
            let largest = entries.iter().copied().fold(f64::NEG_INFINITY, |a, b| if b > a { b } else { a });
            // Not `>=`: what is not less than the largest may be a NaN.
            let first =
                entries.iter().position(|entry| !matches!(entry.partial_cmp(&largest), Some(Ordering::Less)));
            chosen[first.unwrap_or(0)] = 1.0;
        }
        Tensor::new(&self.graph.axes, &order, chosen).along(&self.graph.axes, axes)
    }

    fn random(&self, stream: u32, counters: &[Expr], axes: &[Axis]) -> ArrayD<f64> {
        let counters: Vec<u32> =
            counters.iter().map(|counter| self.done[counter].values.sum() as u32).collect();
        let draws =
            (0..self.graph.axes.size(axes)).map(|place| random::uniform(stream, &counters, place as u32));
        ArrayD::from_shape_vec(self.shape(axes), draws.collect()).expect("as many entries as the axes have")
    }
}

/// base^exponent; for the exponents that formulas are full of without a logarithm.
fn power(exponent: Option<f64>) -> fn(&mut f64, &f64) {
    match exponent {
        Some(2.0) => |base, _| *base *= *base,
        Some(1.0) => |_, _| (),
        Some(-1.0) => |base, _| *base = base.recip(),
        Some(0.5) => |base, _| *base = base.sqrt(),
        Some(-0.5) => |base, _| *base = base.sqrt().recip(),
        _ => |base, exponent| *base = base.powf(*exponent),
    }
}

/// Rows or columns, whichever are fewer, made orthonormal in order by modified Gram–Schmidt; the first axis holds the
/// rows. A vector that depends on the ones before it becomes zero.
fn orthonormal(values: &ArrayD<f64>) -> ArrayD<f64> {
    let rows = values.shape().first().copied().unwrap_or(1);
    let cols = values.len() / rows.max(1);
    let flat: Vec<f64> = values.iter().copied().collect();
    let wide = rows <= cols;
    let (count, len) = if wide { (rows, cols) } else { (cols, rows) };
    let at = |vector: usize, i: usize| if wide { vector * cols + i } else { i * cols + vector };
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for vector in 0..count {
        let mut current: Vec<f64> = (0..len).map(|i| flat[at(vector, i)]).collect();
        for earlier in &basis {
            let dot: f64 = earlier.iter().zip(&current).map(|(a, b)| a * b).sum();
            current.iter_mut().zip(earlier).for_each(|(c, e)| *c -= dot * e);
        }
        let norm = current.iter().map(|c| c * c).sum::<f64>().sqrt();
        current.iter_mut().for_each(|c| *c = if norm > 0.0 { *c / norm } else { 0.0 });
        basis.push(current);
    }
    let mut result = vec![0.0; flat.len()];
    for (vector, entries) in basis.iter().enumerate() {
        for (i, &entry) in entries.iter().enumerate() {
            result[at(vector, i)] = entry;
        }
    }
    ArrayD::from_shape_vec(values.raw_dim(), result).expect("the argument's shape")
}

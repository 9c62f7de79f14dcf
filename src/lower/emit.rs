//! Scalar programs: an expression at one point of the loops, with what lies in memory loaded.

use std::collections::HashMap;

use super::depend::renamed;
use super::stage::{Stage, Stages};
use super::view::{Source, View, behind, row_major, view};
use super::{power, random};
use crate::axes::{Axis, BATCH};
use crate::intrinsics::{self, pow};
use crate::loops::build::ScalarBuilder;
use crate::loops::{Affine, Binary, Buffer, Elem, LoopVar, Reg, Scalars, Ty, Unary};
use crate::sym::window::Windowed;
use crate::sym::{Expr, Node, Window};

/// The loop that runs along each axis, by the name that the expression at hand gives the axis.
pub(super) type Env = Vec<(Axis, LoopVar)>;

/// Emits one scalar program.
pub(super) struct Emitter<'a> {
    stages: &'a Stages<'a>,
    buffers: &'a [Buffer],
    pub builder: ScalarBuilder,
    known: HashMap<(Expr, Env), Reg>,
    /// Values in memory that are conditions, stored as 0 and 1.
    conditions: &'a HashMap<Expr, bool>,
}

impl<'a> Emitter<'a> {
    pub fn new(
        stages: &'a Stages<'a>,
        buffers: &'a [Buffer],
        conditions: &'a HashMap<Expr, bool>,
        float: Ty,
    ) -> Self {
        let builder = ScalarBuilder::new(float);
        Emitter { stages, buffers, builder, known: HashMap::new(), conditions }
    }

    pub fn finish(self) -> Scalars {
        self.builder.finish()
    }

    /// From now on `expr`, at the position of `env`, is `value`.
    pub fn define(&mut self, expr: Expr, env: &Env, value: Reg) {
        self.known.insert((expr, self.restricted(expr, env)), value);
    }

    fn restricted(&self, expr: Expr, env: &Env) -> Env {
        let axes = self.stages.graph.axes_of(expr);
        let mut env: Env = env.iter().filter(|entry| axes.contains(&entry.0)).copied().collect();
        env.sort_by_key(|entry| entry.0);
        env
    }

    /// The stage's value; the stage itself is being computed, not read.
    pub fn root(&mut self, stage: &Stage, env: &Env) -> Result<Reg, String> {
        if stage.copy { self.value(stage.expr, env) } else { self.compute(stage.expr, env) }
    }

    /// The value of an expression, from a register or from memory where it is kept, else computed.
    pub fn value(&mut self, expr: Expr, env: &Env) -> Result<Reg, String> {
        let key = (expr, self.restricted(expr, env));
        if let Some(&known) = self.known.get(&key) {
            return Ok(known);
        }
        let graph = self.stages.graph;
        let stored = self.stages.layouts.contains_key(&expr)
            || matches!(graph.node(expr), Node::Symbol(_) | Node::Reshape { .. })
            || Windowed::of(graph, graph.node(expr)).is_some();
        let value = if stored { self.load(expr, env)? } else { self.compute(expr, env)? };
        self.known.insert(key, value);
        Ok(value)
    }

    /// The value as a float of the program's type.
    pub fn float(&mut self, expr: Expr, env: &Env) -> Result<Reg, String> {
        let value = self.value(expr, env)?;
        Ok(self.as_float(value))
    }

    pub fn as_float(&mut self, value: Reg) -> Reg {
        if self.builder.type_of(value) == Ty::Bool {
            let (one, zero) = (self.builder.number(1.0), self.builder.number(0.0));
            return self.builder.select(value, one, zero);
        }
        self.builder.convert(value, self.builder.float_type())
    }

    fn load(&mut self, expr: Expr, env: &Env) -> Result<Reg, String> {
        let view = view(self.stages.graph, &self.stages.layouts, expr);
        let view = view.ok_or("a value that should lie in memory does not")?;
        let loaded = self.load_view(&view, env)?;
        let condition = |kept: &Expr| self.conditions.get(kept).copied().unwrap_or(false);
        if matches!(view.source, Source::Value(kept) if condition(&kept)) {
            let zero = self.builder.number(0.0);
            let loaded = self.as_float(loaded);
            return Ok(self.builder.binary(Binary::Lt, zero, loaded));
        }
        Ok(if self.builder.type_of(loaded) == Ty::I32 { loaded } else { self.as_float(loaded) })
    }

    fn compute(&mut self, expr: Expr, env: &Env) -> Result<Reg, String> {
        let graph = self.stages.graph;
        match graph.node(expr) {
            Node::Number(number) => Ok(self.builder.number(number.value())),
            Node::Symbol(_) | Node::Reshape { .. } => {
                let view =
                    behind(graph, &self.stages.layouts, expr).ok_or("a reshape of scattered entries")?;
                self.load_view(&view, env)
            }
            Node::Add(terms) => self.sum(terms, env),
            Node::Mul(factors) => self.product(factors, env),
            Node::Pow(base, exponent) => {
                let base = self.float(*base, env)?;
                match graph.as_number(*exponent) {
                    Some(number) => Ok(power::by_number(&mut self.builder, base, number)),
                    None => {
                        let exponent = self.float(*exponent, env)?;
                        Ok(pow::lower(&mut self.builder, base, exponent))
                    }
                }
            }
            Node::Apply(function, args) => self.apply(function.0.name(), args, env),
            Node::Rename(arg, pairs) => self.value(*arg, &renamed(env, pairs)),
            Node::Spread(arg, _) | Node::Orthonormal(arg) | Node::Exchange(_, arg) => self.value(*arg, env),
            Node::Index(axis) => {
                let position = self.position(*axis, env)?;
                Ok(self.as_float(position))
            }
            Node::Random { stream, counters, axes } => {
                let position = self.flat_position(axes, env)?;
                let counters = counters.iter().map(|&counter| self.counter(counter, env));
                let counters = counters.collect::<Result<Vec<Reg>, String>>()?;
                Ok(random::uniform(&mut self.builder, *stream, &counters, position))
            }
            Node::Window(window) => self.fits(window, env),
            Node::Reduce(..) | Node::Contract { .. } | Node::ArgMax(..) => {
                Err("a reduction was not given its own loops".into())
            }
        }
    }

    /// Whether the positions fit together in the window, as 1 or 0.
    fn fits(&mut self, window: &Window, env: &Env) -> Result<Reg, String> {
        let mut position = self.builder.int(window.offset as i32);
        for &(axis, step) in &window.by {
            let (at, step) = (self.builder.position(loop_along(env, axis)?), self.builder.int(step as i32));
            let by = self.builder.mul(at, step);
            position = self.builder.add(position, by);
        }
        let own = self.builder.position(loop_along(env, window.axis)?);
        let fits = self.builder.binary(Binary::Eq, own, position);
        Ok(self.as_float(fits))
    }

    fn load_view(&mut self, view: &View, env: &Env) -> Result<Reg, String> {
        let buffer = self.stages.buffer(view.source)?;
        let elem = self.buffers[buffer.index()].elem;
        let index = address(view.base, &view.strides(), env)?;
        Ok(self.builder.load(buffer, elem, index))
    }

    fn sum(&mut self, terms: &[Expr], env: &Env) -> Result<Reg, String> {
        let graph = self.stages.graph;
        let is_product = |term: &Expr| self.product_of(*term).is_some();
        let (products, plain): (Vec<Expr>, Vec<Expr>) = terms.iter().partition(|term| is_product(term));
        let mut ordered = plain.into_iter().chain(products);
        let first = ordered.next().ok_or("an empty sum")?;
        let mut total = self.float(first, env)?;
        for term in ordered {
            total = match self.product_of(term) {
                Some(factors) if graph.as_number(factors[0]) == Some(-1.0) => {
                    let rest = self.product(&factors[1..], env)?;
                    self.builder.sub(total, rest)
                }
                Some(factors) => self.add_product(total, factors, env)?,
                None => {
                    let term = self.float(term, env)?;
                    self.builder.add(total, term)
                }
            };
        }
        Ok(total)
    }

    /// The factors where `expr` is a product to be computed here and not divided.
    fn product_of(&self, expr: Expr) -> Option<&'a [Expr]> {
        let graph = self.stages.graph;
        let Node::Mul(factors) = graph.node(expr) else { return None };
        let divides = factors.iter().any(|&factor| self.divisor(factor).is_some());
        (!self.stages.layouts.contains_key(&expr) && !divides).then_some(factors.as_slice())
    }

    fn add_product(&mut self, total: Reg, factors: &[Expr], env: &Env) -> Result<Reg, String> {
        let (last, rest) = factors.split_last().ok_or("an empty product")?;
        let rest = self.product(rest, env)?;
        let last = self.float(*last, env)?;
        Ok(self.builder.mul_add(rest, last, total))
    }

    /// What a factor x^-1 divides by, unless it is kept in memory.
    fn divisor(&self, factor: Expr) -> Option<Expr> {
        let graph = self.stages.graph;
        match graph.node(factor) {
            Node::Pow(base, exponent) if !self.stages.layouts.contains_key(&factor) => {
                (graph.as_number(*exponent) == Some(-1.0)).then_some(*base)
            }
            _ => None,
        }
    }

    fn product(&mut self, factors: &[Expr], env: &Env) -> Result<Reg, String> {
        let (below, above): (Vec<Expr>, Vec<Expr>) =
            factors.iter().partition(|&&factor| self.divisor(factor).is_some());
        let numerator = self.plain_product(&above, env)?;
        if below.is_empty() {
            return Ok(numerator);
        }
        let below: Vec<Expr> = below.into_iter().filter_map(|factor| self.divisor(factor)).collect();
        let denominator = self.plain_product(&below, env)?;
        Ok(self.builder.div(numerator, denominator))
    }

    fn plain_product(&mut self, factors: &[Expr], env: &Env) -> Result<Reg, String> {
        let graph = self.stages.graph;
        let Some((&first, rest)) = factors.split_first() else { return Ok(self.builder.number(1.0)) };
        if graph.as_number(first) == Some(-1.0) && !rest.is_empty() {
            let positive = self.plain_product(rest, env)?;
            return Ok(self.builder.unary(Unary::Neg, positive));
        }
        let mut total = self.float(first, env)?;
        for &factor in rest {
            let factor = self.float(factor, env)?;
            total = self.builder.mul(total, factor);
        }
        Ok(total)
    }

    fn apply(&mut self, name: &'static str, args: &[Expr], env: &Env) -> Result<Reg, String> {
        let scalar = intrinsics::scalar_by_name(name)
            .ok_or_else(|| format!("the function `{name}` has no machine form"))?;
        let mut registers = Vec::with_capacity(args.len());
        for &arg in args {
            let value = self.value(arg, env)?;
            let condition = self.builder.type_of(value) == Ty::Bool;
            registers.push(if condition { value } else { self.as_float(value) });
        }
        Ok(scalar.lower(&mut self.builder, &registers))
    }

    /// A counter of the random numbers as a 32-bit word.
    fn counter(&mut self, counter: Expr, env: &Env) -> Result<Reg, String> {
        let value = self.value(counter, env)?;
        if self.builder.type_of(value) == Ty::I32 {
            return Ok(value);
        }
        let value = self.builder.convert(value, Ty::F32);
        Ok(self.builder.unary(Unary::ToInt, value))
    }

    /// The position along an axis; along the batch it counts from the first sample of all ranks.
    fn position(&mut self, axis: Axis, env: &Env) -> Result<Reg, String> {
        let own = self.builder.position(loop_along(env, axis)?);
        match self.stages.graph.first_sample.filter(|_| axis == BATCH) {
            Some(first) => {
                let first = self.builder.load(self.stages.symbols[&first], Elem::I32, Affine::default());
                Ok(self.builder.add(first, own))
            }
            None => Ok(own),
        }
    }

    /// The row-major position among `axes`, as a 32-bit word. With several ranks the batch comes first.
    fn flat_position(&mut self, axes: &[Axis], env: &Env) -> Result<Reg, String> {
        if self.stages.graph.first_sample.is_some() && axes.iter().skip(1).any(|&axis| axis == BATCH) {
            return Err("a random draw over samples whose batch is not its first axis".into());
        }
        let mut position = self.builder.int(0);
        for (axis, stride) in row_major(axes, &self.stages.graph.axes) {
            let index = self.position(axis, env)?;
            let stride = self.builder.int(stride as i32);
            let step = self.builder.mul(index, stride);
            position = self.builder.add(position, step);
        }
        Ok(position)
    }

    /// Stores `value` as the stage's entry, and returns it as whoever reads the entry will find it: a value is the same
    /// number wherever it is used.
    pub fn store(&mut self, stage: &Stage, env: &Env, value: Reg) -> Result<Reg, String> {
        let condition = self.builder.type_of(value) == Ty::Bool;
        let float = self.as_float(value);
        let entry = match stage.elem {
            Elem::I32 => float,
            elem => self.builder.convert(float, elem.into()),
        };
        let entry = self.builder.stored(stage.elem, entry);
        let table = &self.stages.graph.axes;
        let index = address(stage.layout.base(table), &stage.layout.strides(table), env)?;
        let buffer = stage.buffer.ok_or("a stored value without a buffer")?;
        self.builder.store(buffer, index, entry);
        Ok(if stage.elem == Elem::Bf16 && !condition { entry } else { value })
    }
}

fn loop_along(env: &Env, axis: Axis) -> Result<LoopVar, String> {
    let found = env.iter().find(|entry| entry.0 == axis);
    found.map(|entry| entry.1).ok_or_else(|| format!("no loop runs along axis {axis}"))
}

/// The address of an entry, from that of the first one and the strides along its axes.
fn address(base: i64, strides: &[(Axis, i64)], env: &Env) -> Result<Affine, String> {
    let mut terms: Vec<(LoopVar, i64)> = Vec::new();
    for &(axis, stride) in strides {
        let along = loop_along(env, axis)?;
        match terms.iter_mut().find(|term| term.0 == along) {
            Some(term) => term.1 += stride,
            None => terms.push((along, stride)),
        }
    }
    terms.retain(|term| term.1 != 0);
    terms.sort_by_key(|term| term.0);
    Ok(Affine { base, terms, task: 0 })
}

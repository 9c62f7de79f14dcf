//! What all random intrinsics share: they take no tensor, but the axes to draw over and a stream, so that no two draws
//! of a program are the same numbers. The compiler fills both in.

use ndarray::ArrayD;

use super::reduction::axes_attr;
use super::{
    Attr, AttrDefault, AttrKind, Attrs, Intrinsic, Problem, ShapeError, Signature, Tensor, reference,
};
use crate::axes::{Axis, AxisTable, BATCH};
use crate::ir::Type;
use crate::ir::evaluate::Counters;
use crate::sym::{Expr, Graph, Storage, Symbol};

/// Random numbers as an intrinsic: a function of two uniform ones.
pub struct Draw {
    pub(super) name: &'static str,
    /// Fresh at each step; else fixed by the seed.
    pub(super) each_step: bool,
    pub(super) meaning: &'static dyn Drawing,
}

pub(super) trait Drawing: Sync {
    /// Of two independent expressions, uniform in (0, 1).
    fn formula(&self, graph: &mut Graph, uniform: [Expr; 2]) -> Expr;

    /// The same of two numbers, written from the definition.
    fn of(&self, uniform: [f64; 2]) -> f64;
}

impl Intrinsic for Draw {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> Signature {
        Signature {
            tensors: &[],
            attrs: &[
                ("over", AttrKind::Axes, Some(AttrDefault::AllButBatch)),
                ("stream", AttrKind::Int, Some(AttrDefault::Int(0))),
            ],
        }
    }

    fn infer(&self, _axes: &mut AxisTable, _args: &[Type], attrs: &Attrs) -> Result<Type, ShapeError> {
        Ok(Type::float(axes_attr(attrs, "over").to_vec()))
    }

    fn express(
        &self,
        graph: &mut Graph,
        _args: &[Expr],
        _types: &[Type],
        attrs: &Attrs,
        _out: &Type,
    ) -> Expr {
        let uniform = [0, 1].map(|substream| uniform(graph, attrs, substream, self.each_step));
        self.meaning.formula(graph, uniform)
    }

    fn reference(&self, axes: &AxisTable, _args: &[&Tensor], attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        self.table(axes, attrs, out, &Counters::default())
    }

    fn drawn(&self, axes: &AxisTable, attrs: &Attrs, out: &Type, counters: &Counters) -> Option<ArrayD<f64>> {
        Some(self.table(axes, attrs, out, counters))
    }

    fn problems(&self) -> Vec<Problem> {
        problems()
    }
}

impl Draw {
    fn table(&self, axes: &AxisTable, attrs: &Attrs, out: &Type, counters: &Counters) -> ArrayD<f64> {
        let over = axes_attr(attrs, "over");
        let step: &[u32] = if self.each_step { &counters.step } else { &[] };
        let counters = [&counters.seed[..], step].concat();
        reference::tabulate(axes, &out.axes, |place| {
            let position = position(axes, over, place);
            self.meaning.of([0, 1].map(|substream| recipe(attrs, substream, &counters, position)))
        })
    }
}

fn stream(attrs: &Attrs) -> u32 {
    match attrs.get("stream") {
        Some(Attr::Int(stream)) => *stream as u32,
        _ => 0,
    }
}

/// Uniform numbers in (0, 1). Every stream has two substreams (0 and 1). Fresh at each step, or fixed by the seed.
fn uniform(graph: &mut Graph, attrs: &Attrs, substream: u32, each_step: bool) -> Expr {
    let counts =
        |graph: &Graph, counter: &Symbol| each_step || graph.symbol_info(*counter).storage == Storage::Seed;
    let counters: Vec<Symbol> =
        graph.counters.iter().copied().filter(|counter| counts(graph, counter)).collect();
    let counters: Vec<Expr> = counters.into_iter().map(|counter| graph.symbol(counter)).collect();
    let stream = stream(attrs).wrapping_mul(2).wrapping_add(substream);
    graph.random(stream, &counters, axes_attr(attrs, "over"))
}

/// The numbers of [`uniform`] by the documented recipe; in a graph without counters, without.
fn recipe(attrs: &Attrs, substream: u32, counters: &[u32], position: usize) -> f64 {
    let stream = stream(attrs).wrapping_mul(2).wrapping_add(substream);
    crate::sym::random::uniform(stream, counters, position as u32)
}

fn problems() -> Vec<Problem> {
    let axes: [(Vec<usize>, Vec<Axis>); 3] = [
        (vec![1, 5, 7], vec![Axis(1), Axis(2)]),
        (vec![3, 17, 1], vec![BATCH, Axis(1)]),
        (vec![1, 1, 1], vec![]),
    ];
    let problem = |(stream, (extents, over)): (usize, (Vec<usize>, Vec<Axis>))| Problem {
        extents,
        args: vec![],
        attrs: Attrs::from_iter([("over", Attr::Axes(over)), ("stream", Attr::Int(stream as i64))]),
        range: (0.0, 1.0),
        points: vec![],
    };
    axes.into_iter().enumerate().map(problem).collect()
}

/// Flat row-major position in the draw's axes.
fn position(table: &crate::axes::AxisTable, over: &[Axis], place: super::reference::Place) -> usize {
    over.iter().fold(0, |flat, &axis| flat * table.extent(axis) + place(axis))
}

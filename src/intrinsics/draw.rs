//! What all random intrinsics share: they take no tensor, but the axes to draw over and a stream, so that no two draws
//! of a program are the same numbers. The compiler fills both in.

use super::reduction::axes_attr;
use super::{Attr, AttrDefault, AttrKind, Attrs, Problem, Signature};
use crate::axes::{Axis, BATCH};
use crate::ir::Type;
use crate::sym::{Expr, Graph, Storage, Symbol};

pub(super) fn signature() -> Signature {
    Signature {
        tensors: &[],
        attrs: &[
            ("over", AttrKind::Axes, Some(AttrDefault::AllButBatch)),
            ("stream", AttrKind::Int, Some(AttrDefault::Int(0))),
        ],
    }
}

pub(super) fn result(attrs: &Attrs) -> Type {
    Type::float(axes_attr(attrs, "over").to_vec())
}

fn stream(attrs: &Attrs) -> u32 {
    match attrs.get("stream") {
        Some(Attr::Int(stream)) => *stream as u32,
        _ => 0,
    }
}

/// Uniform numbers in (0, 1). Every stream has two substreams (0 and 1). Fresh at each step, or fixed by the seed.
pub(super) fn uniform(graph: &mut Graph, attrs: &Attrs, substream: u32, each_step: bool) -> Expr {
    let counts =
        |graph: &Graph, counter: &Symbol| each_step || graph.symbol_info(*counter).storage == Storage::Seed;
    let counters: Vec<Symbol> =
        graph.counters.iter().copied().filter(|counter| counts(graph, counter)).collect();
    let counters: Vec<Expr> = counters.into_iter().map(|counter| graph.symbol(counter)).collect();
    let stream = stream(attrs).wrapping_mul(2).wrapping_add(substream);
    graph.random(stream, &counters, axes_attr(attrs, "over"))
}

/// The numbers of [`uniform`] in a graph without counters, by the documented recipe.
pub(super) fn reference(attrs: &Attrs, substream: u32, position: usize) -> f64 {
    let stream = stream(attrs).wrapping_mul(2).wrapping_add(substream);
    crate::sym::random::uniform(stream, &[], position as u32)
}

pub(super) fn problems() -> Vec<Problem> {
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
pub(super) fn position(
    table: &crate::axes::AxisTable,
    over: &[Axis],
    place: super::reference::Place,
) -> usize {
    over.iter().fold(0, |flat, &axis| flat * table.extent(axis) + place(axis))
}

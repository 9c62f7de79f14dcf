//! Values in memory seen through renamings, spreads and reshapes: index arithmetic instead of copies.

use std::collections::HashMap;

use crate::axes::{Axis, AxisTable};
use crate::sym::{Expr, Graph, Node, Symbol};

/// The axes of each materialized expression in the row-major order of its buffer.
pub(super) type Layouts = HashMap<Expr, Vec<Axis>>;

/// What holds the entries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Source {
    Symbol(Symbol),
    /// A materialized expression.
    Value(Expr),
}

/// One axis of a view.
#[derive(Clone, Debug)]
pub(super) struct Dim {
    pub axis: Axis,
    /// In entries of the source.
    pub stride: usize,
    /// The source's own axis behind it; `None` behind a reshape.
    pub origin: Option<Axis>,
}

/// A source with a stride for each axis of the expression that it stands for; axes not listed broadcast.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub source: Source,
    pub dims: Vec<Dim>,
}

impl View {
    fn of(source: Source, axes: &[Axis], table: &AxisTable) -> View {
        let mut stride = 1;
        let mut dims: Vec<Dim> = Vec::with_capacity(axes.len());
        for &axis in axes.iter().rev() {
            dims.push(Dim { axis, stride, origin: Some(axis) });
            stride *= table.extent(axis);
        }
        dims.reverse();
        View { source, dims }
    }

    /// Entries between neighbours along `axis`; 0 where the view broadcasts.
    pub fn stride(&self, axis: Axis) -> usize {
        self.dims.iter().find(|dim| dim.axis == axis).map_or(0, |dim| dim.stride)
    }

    /// The stride of `axes` walked as one row-major axis, where their entries lie like that.
    pub fn collapsed(&self, axes: &[Axis], table: &AxisTable) -> Option<usize> {
        let fits = |pair: &[Axis]| self.stride(pair[0]) == self.stride(pair[1]) * table.extent(pair[1]);
        let last = axes.last()?;
        axes.windows(2).all(fits).then(|| self.stride(*last))
    }
}

/// Strides of a row-major tensor over `axes`.
pub(super) fn row_major(axes: &[Axis], table: &AxisTable) -> Vec<(Axis, usize)> {
    let mut stride = 1;
    let mut result: Vec<(Axis, usize)> = Vec::with_capacity(axes.len());
    for &axis in axes.iter().rev() {
        result.push((axis, stride));
        stride *= table.extent(axis);
    }
    result.reverse();
    result
}

/// The expression as a view of memory, unless it has to be computed.
pub(super) fn view(graph: &Graph, layouts: &Layouts, expr: Expr) -> Option<View> {
    if let Some(layout) = layouts.get(&expr) {
        return Some(View::of(Source::Value(expr), layout, &graph.axes));
    }
    behind(graph, layouts, expr)
}

/// What the expression is a view of, whether or not it has a buffer of its own.
pub(super) fn behind(graph: &Graph, layouts: &Layouts, expr: Expr) -> Option<View> {
    match graph.node(expr) {
        Node::Symbol(symbol) => {
            Some(View::of(Source::Symbol(*symbol), &graph.symbol_info(*symbol).axes, &graph.axes))
        }
        Node::Rename(arg, pairs) => {
            let mut base = view(graph, layouts, *arg)?;
            for dim in &mut base.dims {
                dim.axis = pairs.iter().find(|pair| pair.0 == dim.axis).map_or(dim.axis, |pair| pair.1);
            }
            Some(base)
        }
        Node::Spread(arg, _) => view(graph, layouts, *arg),
        Node::Reshape { arg, from, to } => reshaped(view(graph, layouts, *arg)?, from, to, &graph.axes),
        _ => None,
    }
}

/// The axes `from` of `base` cut anew into `to`, when they lie row-major one in the other.
fn reshaped(base: View, from: &[Axis], to: &[Axis], table: &AxisTable) -> Option<View> {
    let mut stride = if from.is_empty() { 1 } else { base.collapsed(from, table)? };
    if stride == 0 && table.size(from) > 1 {
        return None;
    }
    let mut cut = Vec::with_capacity(to.len());
    for &axis in to.iter().rev() {
        cut.push(Dim { axis, stride, origin: None });
        stride *= table.extent(axis);
    }
    cut.reverse();
    let rest = base.dims.into_iter().filter(|dim| !from.contains(&dim.axis));
    Some(View { source: base.source, dims: rest.chain(cut).collect() })
}

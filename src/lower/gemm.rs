//! Contractions as matrix products: which axes are rows, columns and summed, and the statement itself.

use super::view::{Layouts, View, view};
use crate::axes::Axis;
use crate::loops::{BufferId, Gemm, Operand, Range, Scalars};
use crate::sym::{Expr, Graph};

/// Smaller sides than these do not fill a register block: a loop nest is as good.
const FEWEST_ROWS: usize = 4;
const FEWEST_COLUMNS: usize = 4;
const SHORTEST_SUM: usize = 4;
/// Below so many multiplications packing does not pay.
const FEWEST_PRODUCTS: usize = 1 << 11;
/// A sum over several axes that do not lie in one piece becomes at most so many shorter ones.
const MOST_TERMS: usize = 256;

/// The axes of a matrix product: which operand is A (over m and k) and which B (over k and n).
#[derive(Clone, Debug)]
pub(super) struct Roles {
    a: Expr,
    b: Expr,
    m: Vec<Axis>,
    n: Vec<Axis>,
    k: Vec<Axis>,
}

/// A matrix product whose operands lie as the kernel wants them.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub a: Expr,
    pub b: Expr,
    /// Row and column axes, in the order of the result's buffer.
    pub m: Vec<Axis>,
    pub n: Vec<Axis>,
    k: usize,
    /// Strides of A along (m, k), of B along (k, n), in entries.
    strides: [(usize, usize); 2],
    terms: Vec<(usize, usize)>,
}

/// The roles of the axes if the contraction is a matrix product worth a kernel; `layout` is the result's.
pub(super) fn roles(graph: &Graph, left: Expr, right: Expr, over: &[Axis], layout: &[Axis]) -> Option<Roles> {
    let own = |one: Expr, other: Expr| -> Vec<Axis> {
        let side = |axis: &&Axis| graph.axes_of(one).contains(axis) && !graph.axes_of(other).contains(axis);
        layout.iter().filter(side).copied().collect()
    };
    let (rows, columns) = (own(left, right), own(right, left));
    let (a, b, m, n) = if columns.contains(layout.last()?) {
        (left, right, rows, columns)
    } else {
        (right, left, columns, rows)
    };
    let in_order = m.iter().chain(&n).eq(layout);
    let summed = |axis: &Axis| graph.axes_of(left).contains(axis) && graph.axes_of(right).contains(axis);
    let (rows, columns, length) = (graph.axes.size(&m), graph.axes.size(&n), graph.axes.size(over));
    let large = rows >= FEWEST_ROWS && columns >= FEWEST_COLUMNS && length >= SHORTEST_SUM;
    let worth = large && rows.saturating_mul(columns).saturating_mul(length) >= FEWEST_PRODUCTS;
    (in_order && worth && over.iter().all(summed)).then(|| Roles { a, b, m, n, k: over.to_vec() })
}

/// The product with the operands as they lie in memory; `None` where they lie too scattered.
pub(super) fn shape(graph: &Graph, layouts: &Layouts, roles: Roles) -> Option<Shape> {
    let Roles { a, b, m, n, mut k } = roles;
    let (view_a, view_b) = (view(graph, layouts, a)?, view(graph, layouts, b)?);
    let rows = view_a.collapsed(&m, &graph.axes)?;
    let columns = view_b.collapsed(&n, &graph.axes)?;
    k.sort_by_key(|&axis| std::cmp::Reverse(view_a.stride(axis)));
    let together = |from: usize| {
        Some((view_a.collapsed(&k[from..], &graph.axes)?, view_b.collapsed(&k[from..], &graph.axes)?))
    };
    let from = (0..k.len()).find(|&from| together(from).is_some())?;
    let (along_a, along_b) = together(from)?;
    let terms = terms(graph, &view_a, &view_b, &k[..from])?;
    let length = graph.axes.size(&k[from..]);
    Some(Shape { a, b, m, n, k: length, strides: [(rows, along_a), (along_b, columns)], terms })
}

/// One offset pair for each position of the axes that are summed term by term.
fn terms(graph: &Graph, a: &View, b: &View, axes: &[Axis]) -> Option<Vec<(usize, usize)>> {
    let mut terms = vec![(0, 0)];
    for &axis in axes {
        let extent = graph.axes.extent(axis);
        if terms.len() * extent > MOST_TERMS {
            return None;
        }
        let step = |&(at_a, at_b): &(usize, usize)| {
            let (along_a, along_b) = (a.stride(axis), b.stride(axis));
            (0..extent).map(move |index| (at_a + index * along_a, at_b + index * along_b))
        };
        terms = terms.iter().flat_map(step).collect();
    }
    Some(terms)
}

impl Shape {
    /// The statement, with rows or columns cut into the group's chunks when `chunk` is their one axis.
    pub fn statement(
        &self,
        graph: &Graph,
        buffers: [BufferId; 2],
        chunk: Option<Axis>,
        epilogue: Scalars,
    ) -> Gemm {
        let range = |axes: &[Axis]| match (axes, chunk) {
            ([one], Some(cut)) if *one == cut => Range::Chunk,
            _ => Range::Full(graph.axes.size(axes)),
        };
        Gemm {
            m: range(&self.m),
            n: range(&self.n),
            k: Range::Full(self.k),
            a: Operand { buffer: buffers[0], strides: self.strides[0] },
            b: Operand { buffer: buffers[1], strides: self.strides[1] },
            terms: self.terms.clone(),
            epilogue,
        }
    }

    /// Axes along which the product may be cut into tasks.
    pub fn chunkable(&self) -> Vec<Axis> {
        [&self.m, &self.n].into_iter().filter(|side| side.len() == 1).map(|side| side[0]).collect()
    }

    /// Multiplications and additions.
    pub fn flops(&self, graph: &Graph) -> u64 {
        let entries = graph.axes.size(&self.m) * graph.axes.size(&self.n);
        2 * (entries * self.k * self.terms.len()) as u64
    }
}

//! Contractions as matrix products: which axes are rows, columns and summed, and the statement itself.

use std::collections::HashSet;

use super::layout::{Layout, Layouts};
use super::precision;
use super::terms::{Known, OuterAxis, Sum};
use super::view::{View, operand, view};
use crate::axes::{Axis, AxisTable, BATCH};
use crate::loops::{Arithmetic, BufferId, Gemm, Operand, Outer, Range, Scalars, Terms};
use crate::sym::{Expr, Graph};

/// Smaller sides than these do not fill a register block: a loop nest is as good. Of whole vectors of columns even one
/// row is.
const FEWEST_ROWS: usize = 4;
const FEWEST_COLUMNS: usize = 4;
const WIDE: usize = 16;
const SHORTEST_SUM: usize = 4;
/// Below so many multiplications packing does not pay.
const FEWEST_PRODUCTS: usize = 1 << 11;
/// Entries of a sum that fill a tile.
const LONG_SUM: usize = 32;
/// So many rows are as good as more.
const MANY_ROWS: usize = 256;
/// What packing an entry takes, in operations, and where no neighbour in memory is one in the packed form.
const PACKING: f64 = 8.0;
const SCATTERED_PACKING: f64 = 32.0;

/// A matrix product, or one for every position of some outer axes, whose operands lie as the kernel wants them.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub a: Expr,
    pub b: Expr,
    /// Axes that count as rows and as columns, outermost first, in A and B and in the result.
    pub m: Vec<Axis>,
    pub n: Vec<Axis>,
    /// Axes with a product for each position.
    pub outer: Vec<OuterAxis>,
    k: usize,
    /// Strides of A along (m, k), of B along (k, n), in entries.
    strides: [(usize, usize); 2],
    terms: Terms,
    /// How many different blocks of A, and of B, all terms read.
    blocks: [usize; 2],
}

/// Whether the contraction may become a matrix product: both sides have every summed axis and one that the other lacks.
pub(super) fn is_product(graph: &Graph, left: Expr, right: Expr, over: &[Axis]) -> bool {
    let has = |side: Expr, axis: &Axis| graph.axes_of(side).contains(axis);
    let own = |one: Expr, other: Expr| graph.axes_of(one).iter().any(|axis| !has(other, axis));
    let sides = own(left, right) && own(right, left);
    sides && over.iter().all(|axis| has(left, axis) && has(right, axis))
}

/// Whether it has the size for it, whatever the layouts are. Rows and columns cannot run along axes that `slide`.
pub(super) fn is_large(
    graph: &Graph,
    (left, right): (Expr, Expr),
    over: &[Axis],
    slides: impl Fn(Axis) -> bool,
) -> bool {
    let table = &graph.axes;
    let longest = |one: Expr, other: Expr| {
        let own = graph.axes_of(one).iter().filter(|axis| !graph.axes_of(other).contains(axis));
        let own = own.filter(|axis| !slides(**axis));
        own.map(|&axis| table.extent(axis)).max().unwrap_or(1)
    };
    let sides = [longest(left, right), longest(right, left)];
    let filled = sides.iter().all(|&side| side >= FEWEST_COLUMNS) || sides.iter().any(|&side| side >= WIDE);
    let all = sides.iter().fold(table.size(over), |all, &side| all.saturating_mul(side));
    filled && table.size(over) >= SHORTEST_SUM && all >= FEWEST_PRODUCTS
}

/// The contraction as a matrix product, `layout` the result's; `None` where the operands lie too scattered, or where a
/// kernel does not pay and a loop nest could read the operands too.
pub(super) fn shape(
    graph: &Graph,
    layouts: &Layouts,
    (left, right): (Expr, Expr),
    over: &[Axis],
    layout: &Layout,
    known: &mut Known,
) -> Option<Shape> {
    let shapes =
        [(left, right), (right, left)].map(|sides| oriented(graph, layouts, sides, over, layout, known));
    let table = &graph.axes;
    // Columns should fill vectors, and lie in a row in the result.
    let worth = |shape: &Shape| {
        let column = shape.n.last().map_or(0, |&axis| stride(layout, axis, table));
        (pays(shape, table), table.size(&shape.n) >= WIDE / 2, std::cmp::Reverse(column))
    };
    // What slides beyond memory was left without room because only products read it.
    let readable = [left, right].iter().all(|&side| view(graph, layouts, side).is_some());
    shapes.into_iter().flatten().filter(|shape| !readable || pays(shape, table)).max_by_key(worth)
}

fn pays(shape: &Shape, table: &AxisTable) -> bool {
    let (rows, columns) = (table.size(&shape.m), table.size(&shape.n));
    let length = shape.k * shape.terms.longest();
    // A few rows do not pay for gathering what they are multiplied with.
    let near = shape.strides[1].1 == 1 || (shape.strides[1].0 == 1 && shape.k > 1);
    let filled = columns >= FEWEST_COLUMNS && (rows >= FEWEST_ROWS || (columns >= WIDE && near));
    let products = shape.outer.iter().map(|outer| table.extent(outer.axis)).product::<usize>();
    let products = [rows, columns, length].iter().fold(products, |all, &one| all.saturating_mul(one));
    filled && length >= SHORTEST_SUM && products >= FEWEST_PRODUCTS
}

fn oriented(
    graph: &Graph,
    layouts: &Layouts,
    (a, b): (Expr, Expr),
    over: &[Axis],
    layout: &Layout,
    known: &mut Known,
) -> Option<Shape> {
    let table = &graph.axes;
    let (view_a, view_b) = (operand(graph, layouts, a)?, operand(graph, layouts, b)?);
    let own = |one: Expr, other: Expr| -> Vec<Axis> {
        let side = |axis: &&Axis| graph.axes_of(one).contains(axis) && !graph.axes_of(other).contains(axis);
        layout.axes.iter().filter(side).copied().collect()
    };
    let windowed = |axis: Axis, others: &[Axis]| {
        let meets = |view: &View| others.iter().any(|&other| view.overlap([axis, other], table));
        meets(&view_a) || meets(&view_b)
    };
    let rows = core(&own(a, b), &view_a, layout, table)?;
    let m = apart(without(&rows, FEWEST_ROWS, table, |axis| windowed(axis, over)), layout, table);
    let n = core(&own(b, a), &view_b, layout, table)?;
    let outer: Vec<Axis> =
        layout.axes.iter().copied().filter(|axis| !m.contains(axis) && !n.contains(axis)).collect();
    let slides = |axis: Axis| [&view_a, &view_b].iter().any(|view| view.slides_along(axis));
    let mut k = over.to_vec();
    k.sort_by_key(|&axis| (!slides(axis), std::cmp::Reverse(view_a.stride(axis).abs())));
    let together =
        |from: usize| pair(view_a.collapsed(&k[from..], table)?, view_b.collapsed(&k[from..], table)?);
    let sliding = k.iter().filter(|&&axis| slides(axis)).count();
    let longest = (sliding..k.len()).find(|&from| together(from).is_some())?;
    let shorter = k.len() - without(&k[longest..], LONG_SUM, table, |axis| windowed(axis, &outer)).len();
    let mut sum = |from: usize| Some((from, known.sum(table, [&view_a, &view_b], &outer, &k[..from])?));
    // Positions of large images are too many to list.
    let (from, Sum { outer, terms, blocks }) = sum(shorter).or_else(|| sum(longest))?;
    let (along_a, along_b) = together(from)?;
    let (rows, columns) = pair(view_a.stride(*m.last()?), view_b.stride(*n.last()?))?;
    let length = table.size(&k[from..]);
    Some(Shape {
        a,
        b,
        m,
        n,
        outer,
        k: length,
        strides: [(rows, along_a), (along_b, columns)],
        terms,
        blocks,
    })
}

pub(super) fn pair(a: i64, b: i64) -> Option<(usize, usize)> {
    Some((usize::try_from(a).ok()?, usize::try_from(b).ok()?))
}

fn stride(layout: &Layout, axis: Axis, table: &AxisTable) -> i64 {
    layout.strides(table).iter().find(|entry| entry.0 == axis).map_or(0, |entry| entry.1)
}

/// Of one side's axes those that can be walked as one, in the operand and in the result: the one whose entries are
/// nearest in the operand, and what lies around it in both.
fn core(axes: &[Axis], view: &View, layout: &Layout, table: &AxisTable) -> Option<Vec<Axis>> {
    let nearest = |&axis: &Axis| (table.extent(axis) == 1, view.stride(axis));
    let inner = axes.iter().copied().rev().filter(|&axis| view.stride(axis) > 0).min_by_key(nearest)?;
    let mut core = vec![inner];
    loop {
        let size = table.size(&core) as i64;
        let around = |&axis: &Axis| {
            !core.contains(&axis)
                && view.stride(axis) == size * view.stride(inner)
                && stride(layout, axis, table) == size * stride(layout, inner, table)
        };
        let Some(axis) = axes.iter().copied().find(around) else { return Some(core) };
        core.insert(0, axis);
    }
}

/// The innermost of axes that are walked as one, from the last one on that `ends` at, if they make at least `fewest` positions: what a
/// window moves along stays a loop of its own, as it may be computed with fewer products then.
fn without(axes: &[Axis], fewest: usize, table: &AxisTable, ends: impl Fn(Axis) -> bool) -> Vec<Axis> {
    let from = axes.iter().rposition(|&axis| ends(axis)).map_or(0, |place| place + 1);
    let enough = table.size(&axes[from..]) >= fewest;
    axes[if enough { from } else { 0 }..].to_vec()
}

/// Without the outermost axis of the result where many rows are left, and it is not the samples': the product may then be cut
/// along it into tasks of whole rows of memory.
fn apart(mut core: Vec<Axis>, layout: &Layout, table: &AxisTable) -> Vec<Axis> {
    let cuttable = |axis: Axis| axis != BATCH && table.extent(axis) > 1;
    let outermost = layout.axes.first() == core.first() && cuttable(core[0]);
    if outermost && table.size(&core[1..]) >= MANY_ROWS {
        core.remove(0);
    }
    core
}

impl Shape {
    /// The statement, with the axis `chunk` cut into the group's chunks: rows, columns, or an outer axis.
    pub fn statement(
        &self,
        graph: &Graph,
        buffers: [BufferId; 2],
        chunk: Option<Axis>,
        arithmetic: Arithmetic,
        epilogue: Scalars,
    ) -> Gemm {
        let range = |axes: &[Axis]| match (axes, chunk) {
            ([one], Some(cut)) if *one == cut => Range::Chunk,
            _ => Range::Full(graph.axes.size(axes)),
        };
        let outer = |outer: &OuterAxis| Outer {
            range: range(&[outer.axis]),
            strides: outer.strides,
            list: outer.list,
        };
        Gemm {
            outer: self.outer.iter().map(outer).collect(),
            m: range(&self.m),
            n: range(&self.n),
            k: Range::Full(self.k),
            a: Operand { buffer: buffers[0], strides: self.strides[0] },
            b: Operand { buffer: buffers[1], strides: self.strides[1] },
            terms: self.terms.clone(),
            arithmetic: precision::arithmetic(graph, [self.a, self.b], arithmetic),
            epilogue,
        }
    }

    /// Axes along which the product may be cut into tasks.
    pub fn chunkable(&self) -> Vec<Axis> {
        let sides = [&self.m, &self.n].into_iter().filter(|side| side.len() == 1).map(|side| side[0]);
        sides.chain(self.outer.iter().map(|outer| outer.axis)).collect()
    }

    /// Whether there is a product for each position of the axis.
    pub fn is_outer(&self, axis: Axis) -> bool {
        self.outer.iter().any(|outer| outer.axis == axis)
    }

    /// Whether neighbouring positions of an outer axis read some of the same entries of A, as windows do that overlap.
    pub fn overlaps(&self, axis: Axis) -> bool {
        let Some(outer) = self.outer.iter().find(|outer| outer.axis == axis) else { return false };
        let step = outer.strides.0 as i64;
        let met = |list: &Vec<(i64, i64)>| {
            let read: HashSet<i64> = list.iter().map(|term| term.0).collect();
            read.iter().any(|offset| read.contains(&(offset + step)))
        };
        step > 0 && self.terms.lists.iter().any(met)
    }

    /// Operations that all of so many tasks, cut along `axis`, spend on packing operands, where one operation of a matrix
    /// product counts as much as for [`Shape::flops`]: what the axis does not cut is packed by every task.
    pub fn packing(&self, axis: Axis, tasks: usize, table: &AxisTable) -> f64 {
        let outer = |stride: fn(&OuterAxis) -> usize| {
            let seen = self.outer.iter().filter(|outer| stride(outer) > 0 && outer.list == 0);
            seen.map(|outer| table.extent(outer.axis)).product::<usize>()
        };
        let seen = |stride: fn(&OuterAxis) -> usize| {
            self.outer.iter().any(|outer| outer.axis == axis && stride(outer) > 0 && outer.list == 0)
        };
        let times = |cut: bool| if cut { 1 } else { tasks };
        let a = table.size(&self.m) * self.blocks[0] * outer(|outer| outer.strides.0);
        let b = table.size(&self.n) * self.blocks[1] * outer(|outer| outer.strides.1);
        let [a, b] = [
            (a * self.k * times(self.m.contains(&axis) || seen(|outer| outer.strides.0)), self.strides[0]),
            (b * self.k * times(self.n.contains(&axis) || seen(|outer| outer.strides.1)), self.strides[1]),
        ];
        // Rows along k are read in place.
        let in_place = a.1.1 == 1;
        let cost = |(entries, strides): (usize, (usize, usize))| {
            entries as f64 * if strides.0 == 1 || strides.1 == 1 { PACKING } else { SCATTERED_PACKING }
        };
        cost(b) + if in_place { 0.0 } else { cost(a) }
    }

    /// Multiplications and additions.
    pub fn flops(&self, graph: &Graph) -> u64 {
        let alike = self.outer.iter().filter(|outer| outer.list == 0);
        let alike = alike.map(|outer| graph.axes.extent(outer.axis)).product::<usize>();
        let terms =
            self.terms.choice.iter().map(|&list| self.terms.lists[list as usize].len()).sum::<usize>();
        let entries = graph.axes.size(&self.m) * graph.axes.size(&self.n) * alike;
        2 * (entries * self.k * terms) as u64
    }
}

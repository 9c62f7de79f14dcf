//! Values in memory seen through renamings, spreads, reshapes and windows: index arithmetic instead of copies.

use super::layout::{Layout, Layouts, Room};
use crate::axes::{Axis, AxisTable};
use crate::sym::window::Windowed;
use crate::sym::{Expr, Graph, Node, Symbol};

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
    pub stride: i64,
    /// The source's own axis behind it; `None` behind a reshape or a window.
    pub origin: Option<Axis>,
    /// Distance of neighbouring places of the source along its axis, and the room there.
    unit: i64,
    room: Room,
}

/// An axis of the source at positions that a window gives. Some of them may lie outside it or between its entries: there
/// the view is zero.
#[derive(Clone, Debug)]
pub(super) struct Slide {
    shift: Shift,
    extent: usize,
    /// In entries of the source.
    stride: i64,
}

impl Slide {
    fn axes(&self) -> impl Iterator<Item = Axis> + '_ {
        self.shift.steps.iter().map(|step| step.0)
    }

    /// Offset of the entry at a position, if there is one.
    fn offset(&self, at: &impl Fn(Axis) -> usize) -> Option<i64> {
        let steps = self.shift.steps.iter().map(|&(axis, step)| step * at(axis) as i64);
        let place = self.shift.first + steps.sum::<i64>();
        let spacing = self.shift.spacing as i64;
        let index = usize::try_from(place.div_euclid(spacing)).ok()?;
        (place.rem_euclid(spacing) == 0 && index < self.extent).then(|| index as i64 * self.stride)
    }

    /// What `axis` adds to the offset at each step, where that is the same everywhere.
    fn stride(&self, axis: Axis) -> i64 {
        let step = self.shift.steps.iter().find(|step| step.0 == axis).map_or(0, |step| step.1);
        if self.shift.spacing == 1 { step * self.stride } else { 0 }
    }
}

/// A source with a stride for each axis of the expression that it stands for; axes not listed broadcast.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub source: Source,
    /// The entry at position 0 of all axes.
    pub base: i64,
    pub dims: Vec<Dim>,
    /// Windows over axes that have no room for all they see; only [`operand`] gives such views.
    slides: Vec<Slide>,
}

impl View {
    fn of(source: Source, layout: &Layout, table: &AxisTable) -> View {
        let units = layout.units(table);
        let dim = |((&axis, &room), &unit): ((&Axis, &Room), &usize)| {
            let (stride, unit) = ((room.step * unit) as i64, unit as i64);
            Dim { axis, stride, origin: Some(axis), unit, room }
        };
        let dims = layout.axes.iter().zip(&layout.room).zip(&units).map(dim).collect();
        View { source, base: layout.base(table), dims, slides: vec![] }
    }

    fn rename(&mut self, pairs: &[(Axis, Axis)]) {
        let renew = |axis: &mut Axis| {
            *axis = pairs.iter().find(|pair| pair.0 == *axis).map_or(*axis, |pair| pair.1);
        };
        self.dims.iter_mut().for_each(|dim| renew(&mut dim.axis));
        let steps = self.slides.iter_mut().flat_map(|slide| &mut slide.shift.steps);
        steps.for_each(|step| renew(&mut step.0));
    }

    /// Entries between neighbours along `axis`; 0 where the view broadcasts.
    pub fn stride(&self, axis: Axis) -> i64 {
        self.dims.iter().find(|dim| dim.axis == axis).map_or(0, |dim| dim.stride)
    }

    /// Whether a window slides along `axis`.
    pub fn slides_along(&self, axis: Axis) -> bool {
        self.slides.iter().any(|slide| slide.axes().any(|own| own == axis))
    }

    /// Entries from one position along an outer axis to the next, as far as that is the same everywhere.
    pub fn step(&self, axis: Axis) -> i64 {
        let slides = self.slides.iter().map(|slide| slide.stride(axis).max(0));
        self.stride(axis) + slides.sum::<i64>()
    }

    /// Whether moving along either axis meets entries that moving along the other meets too, as the positions and the taps of a
    /// window do.
    pub fn overlap(&self, axes: [Axis; 2], table: &AxisTable) -> bool {
        let mut sides = axes.map(|axis| (self.stride(axis).abs(), table.extent(axis) as i64 - 1));
        sides.sort_unstable();
        let [(near, steps), (far, more)] = sides;
        near > 0 && steps > 0 && more > 0 && near * steps >= far
    }

    /// Offset of the entry at a position; `None` where windows see none.
    pub fn offset(&self, at: &impl Fn(Axis) -> usize) -> Option<i64> {
        let dims: i64 = self.dims.iter().map(|dim| dim.stride * at(dim.axis) as i64).sum();
        self.slides.iter().try_fold(self.base + dims, |sum, slide| Some(sum + slide.offset(at)?))
    }

    /// Adds all that offsets along these axes depend on to `to`.
    pub fn describe(&self, axes: &[Axis], to: &mut Vec<i64>) {
        to.push(self.base);
        to.extend(axes.iter().map(|&axis| self.stride(axis)));
        to.push(self.slides.len() as i64);
        for Slide { shift, extent, stride } in &self.slides {
            to.extend([shift.first, shift.spacing as i64, *extent as i64, *stride]);
            let step = |axis: &Axis| {
                shift.steps.iter().filter(|step| step.0 == *axis).map(|step| step.1).sum::<i64>()
            };
            to.extend(axes.iter().map(step));
        }
    }

    /// The stride of `axes` walked as one row-major axis, where their entries lie like that.
    pub fn collapsed(&self, axes: &[Axis], table: &AxisTable) -> Option<i64> {
        let long: Vec<Axis> = axes.iter().copied().filter(|&axis| table.extent(axis) > 1).collect();
        let fits =
            |pair: &[Axis]| self.stride(pair[0]) == self.stride(pair[1]) * table.extent(pair[1]) as i64;
        let last = long.last().or(axes.last())?;
        long.windows(2).all(fits).then(|| self.stride(*last))
    }

    pub fn strides(&self) -> Vec<(Axis, i64)> {
        self.dims.iter().map(|dim| (dim.axis, dim.stride)).collect()
    }
}

/// Strides of a row-major tensor over `axes`.
pub(super) fn row_major(axes: &[Axis], table: &AxisTable) -> Vec<(Axis, i64)> {
    Layout::plain(axes.to_vec()).strides(table)
}

/// The expression as a view of memory, unless it has to be computed.
pub(super) fn view(graph: &Graph, layouts: &Layouts, expr: Expr) -> Option<View> {
    Look { graph, layouts, slides: false }.at(expr)
}

/// The expression as what a matrix product may read: windows may slide beyond what lies in memory.
pub(super) fn operand(graph: &Graph, layouts: &Layouts, expr: Expr) -> Option<View> {
    Look { graph, layouts, slides: true }.at(expr)
}

/// What the expression is a view of, whether or not it has a buffer of its own.
pub(super) fn behind(graph: &Graph, layouts: &Layouts, expr: Expr) -> Option<View> {
    Look { graph, layouts, slides: false }.behind(expr)
}

struct Look<'a> {
    graph: &'a Graph,
    layouts: &'a Layouts,
    slides: bool,
}

impl Look<'_> {
    fn at(&self, expr: Expr) -> Option<View> {
        match self.layouts.get(&expr) {
            Some(layout) => Some(View::of(Source::Value(expr), layout, &self.graph.axes)),
            None => self.behind(expr),
        }
    }

    fn behind(&self, expr: Expr) -> Option<View> {
        let table = &self.graph.axes;
        match self.graph.node(expr) {
            Node::Symbol(symbol) => {
                let layout = Layout::plain(self.graph.symbol_info(*symbol).axes.clone());
                Some(View::of(Source::Symbol(*symbol), &layout, table))
            }
            Node::Rename(arg, pairs) => {
                let mut base = self.at(*arg)?;
                base.rename(pairs);
                Some(base)
            }
            Node::Spread(arg, _) => self.at(*arg),
            Node::Reshape { arg, from, to } => reshaped(self.at(*arg)?, from, to, table),
            node @ Node::Contract { .. } => {
                let windowed = Windowed::of(self.graph, node)?;
                self.moved(self.at(windowed.arg)?, &windowed)
            }
            _ => None,
        }
    }

    /// `base` through a window: where there is room for all that the window sees, or it may slide.
    fn moved(&self, mut base: View, windowed: &Windowed) -> Option<View> {
        let shift = Shift::of(windowed)?;
        let place = base.dims.iter().position(|dim| dim.axis == shift.gone)?;
        let Dim { stride, unit, room, .. } = base.dims.remove(place);
        let needed = shift.room(&self.graph.axes);
        let fits = stride == unit * shift.spacing as i64
            && room.before >= needed.before
            && room.after >= needed.after;
        if !fits {
            let extent = self.graph.axes.extent(shift.gone);
            base.slides.push(Slide { shift, extent, stride });
            return self.slides.then_some(base);
        }
        let dim = |&(axis, step): &(Axis, i64)| {
            let stride = step * unit;
            Dim { axis, stride, origin: None, unit: stride, room: Room::NONE }
        };
        base.dims.extend(shift.steps.iter().map(dim));
        base.base += shift.first * unit;
        Some(base)
    }
}

/// The axes `from` of `base` cut anew into `to`, when they lie row-major one in the other.
fn reshaped(mut base: View, from: &[Axis], to: &[Axis], table: &AxisTable) -> Option<View> {
    let mut stride = if from.is_empty() { 1 } else { base.collapsed(from, table)? };
    if stride == 0 && table.size(from) > 1 {
        return None;
    }
    let mut cut = Vec::with_capacity(to.len());
    for &axis in to.iter().rev() {
        cut.push(Dim { axis, stride, origin: None, unit: stride, room: Room::NONE });
        stride *= table.extent(axis) as i64;
    }
    cut.reverse();
    base.dims.retain(|dim| !from.contains(&dim.axis));
    base.dims.extend(cut);
    Some(base)
}

/// The axes that a window gives in place of the one it is contracted over, each with the places between neighbours,
/// and the place of their first positions; in places of the axis that goes.
#[derive(Clone, Debug)]
pub(super) struct Shift {
    pub gone: Axis,
    pub first: i64,
    pub steps: Vec<(Axis, i64)>,
    /// What must lie between entries of the axis that goes.
    pub spacing: usize,
}

impl Shift {
    /// `None` where the window is contracted over several axes.
    pub fn of(windowed: &Windowed) -> Option<Shift> {
        let Windowed { window, .. } = windowed;
        let by = window.by.iter().map(|&(axis, step)| (axis, step as i64));
        if windowed.unfolds() {
            return Some(Shift { gone: window.axis, first: window.offset, steps: by.collect(), spacing: 1 });
        }
        let gone = windowed.backwards()?;
        let others = by.filter(|entry| entry.0 != gone).map(|(axis, step)| (axis, -step));
        let steps = std::iter::once((window.axis, 1)).chain(others).collect();
        Some(Shift { gone, first: -window.offset, steps, spacing: window.step(gone)? })
    }

    /// The first and the last place that is seen.
    pub fn reach(&self, table: &AxisTable) -> (i64, i64) {
        let along = |&(axis, step): &(Axis, i64)| step * (table.extent(axis) as i64 - 1);
        let low: i64 = self.steps.iter().map(|step| along(step).min(0)).sum();
        let high: i64 = self.steps.iter().map(|step| along(step).max(0)).sum();
        (self.first + low, self.first + high)
    }

    /// The room that it asks for along the axis that goes.
    pub fn room(&self, table: &AxisTable) -> Room {
        let (low, high) = self.reach(table);
        let last = (self.spacing * (table.extent(self.gone) - 1)) as i64;
        let beyond = |distance: i64| usize::try_from(distance).unwrap_or(0);
        Room { before: beyond(-low), after: beyond(high - last), step: self.spacing }
    }
}

//! What windows ask of the memory behind them: zeros around the values that they slide over, and positions outermost,
//! so that a window over all samples and channels is one contiguous piece.

use std::collections::{HashMap, HashSet};

use super::gemm;
use super::layout::{Layout, Room};
use super::terms;
use super::view::Shift;
use crate::axes::{Axis, BATCH};
use crate::sym::window::Windowed;
use crate::sym::{Expr, Graph, Node};

/// What the windows of a routine ask for.
#[derive(Default)]
pub(super) struct Windows {
    /// Axes of positions: those of windows, and what they are renamed or cut to. The path to an axis that was cut out of
    /// another: that one, and the how manieth part of it.
    spatial: HashMap<Axis, Vec<u32>>,
    /// Room along axes of the values behind windows.
    room: HashMap<Expr, Vec<(Axis, Room)>>,
    /// Values seen through windows, and others so seen, that only matrix products read: these skip what lies outside.
    sliding: HashSet<Expr>,
    /// Values behind those.
    bases: HashSet<Expr>,
}

impl Windows {
    /// Of the values `roots`, which are stored, and all that they are made of.
    pub fn of(graph: &Graph, roots: &[Expr]) -> Windows {
        let mut windows = Windows::default();
        let order = &graph.reachable(roots)[..];
        for &expr in order {
            if let Node::Window(window) = graph.node(expr) {
                windows.spatial.extend(window.axes().into_iter().map(|axis| (axis, vec![axis.0])));
            }
        }
        // Only these pass positions on: a scan of them finds what a scan of all nodes would, in the same order.
        let moves = |expr: &&Expr| matches!(graph.node(**expr), Node::Rename(..) | Node::Reshape { .. });
        let moving: Vec<Expr> = order.iter().filter(moves).copied().collect();
        while moving.iter().any(|&expr| windows.spread(graph, expr)) {}
        windows.find_sliding(graph, roots, order);
        for &expr in order {
            windows.ask(graph, expr);
        }
        windows
    }

    /// Goes from results to operands: what a window gives slides if all who read it are matrix products, or slide. A window
    /// cannot slide along an axis that is itself what another one sees.
    fn find_sliding(&mut self, graph: &Graph, roots: &[Expr], order: &[Expr]) {
        let mut others: HashSet<Expr> = roots.iter().copied().collect();
        for &expr in order.iter().rev() {
            let node = graph.node(expr);
            let free = !others.contains(&expr);
            let slid = seen(graph, expr).filter(|_| free);
            if let Some((arg, shift)) = &slid {
                self.sliding.insert(expr);
                others.extend(maker(graph, *arg, shift.gone));
            }
            let passes = match node {
                Node::Rename(..) | Node::Spread(..) => free,
                Node::Contract { left, right, over } => {
                    slid.is_some() || self.likely_product(graph, expr, (*left, *right), over)
                }
                _ => false,
            };
            if !passes {
                others.extend(node.args());
            }
        }
    }

    /// Whether the contraction will be a matrix product, as far as its axes tell.
    fn likely_product(&self, graph: &Graph, expr: Expr, (left, right): (Expr, Expr), over: &[Axis]) -> bool {
        let spatial = |axes: &[Axis]| -> Vec<Axis> {
            axes.iter().copied().filter(|&axis| self.is_spatial(axis)).collect()
        };
        let [summed, chosen] = [spatial(over), spatial(graph.axes_of(expr))];
        let dense = summed.len() < over.len();
        dense
            && terms::are_few(&graph.axes, &summed, &chosen)
            && gemm::is_product(graph, left, right, over)
            && gemm::is_large(graph, (left, right), over, |axis| self.is_spatial(axis))
    }

    /// Whether the value, seen through windows, is only read by matrix products.
    pub fn slides(&self, expr: Expr) -> bool {
        self.sliding.contains(&expr)
    }

    /// Whether renaming or cutting made further axes of positions, or brought parts of one axis together.
    fn spread(&mut self, graph: &Graph, expr: Expr) -> bool {
        let mut more = false;
        match graph.node(expr) {
            Node::Rename(_, pairs) => {
                for &(old, new) in pairs {
                    more |= self.alike(old, new) || self.alike(new, old);
                }
            }
            Node::Reshape { from, to, .. } => {
                for (whole, parts) in [(from, to), (to, from)] {
                    if let [whole] = whole[..] {
                        more |= self.cut(whole, parts);
                    }
                }
            }
            _ => (),
        }
        more
    }

    fn alike(&mut self, known: Axis, other: Axis) -> bool {
        let fresh = self.is_spatial(known) && !self.is_spatial(other);
        if fresh {
            self.spatial.insert(other, vec![other.0]);
        }
        fresh
    }

    /// Parts of an axis lie one in the other, in its place.
    fn cut(&mut self, whole: Axis, parts: &[Axis]) -> bool {
        let known: Vec<&Vec<u32>> = parts.iter().filter_map(|part| self.spatial.get(part)).collect();
        let path = match (self.spatial.get(&whole), &known[..]) {
            (Some(path), _) => path.clone(),
            // Rows and columns of positions, perhaps with channels, are flattened rather than cut.
            (None, [first, rest @ ..]) if rest.iter().all(|other| other[0] == first[0]) => vec![whole.0],
            (None, _) => return false,
        };
        let mut more = self.spatial.insert(whole, path.clone()).is_none();
        for (number, &part) in parts.iter().enumerate().filter(|_| parts.len() > 1) {
            let path = [&path[..], &[number as u32]].concat();
            // An axis may be cut out of several others; the first one says where it lies.
            let placed = self.spatial.get(&part).is_some_and(|known| known.len() > 1);
            if !placed {
                more |= self.spatial.insert(part, path.clone()) != Some(path);
            }
        }
        more
    }

    /// The room that a window needs along the axis of the value behind it.
    fn ask(&mut self, graph: &Graph, expr: Expr) {
        let Some((arg, shift)) = seen(graph, expr) else { return };
        let (base, axis) = behind(graph, arg, shift.gone);
        if self.slides(expr) {
            self.bases.insert(base);
            return;
        }
        let wanted = shift.room(&graph.axes);
        let known = self.room.entry(base).or_default();
        match known.iter_mut().find(|entry| entry.0 == axis) {
            None => known.push((axis, wanted)),
            Some((_, room)) if room.step == wanted.step => {
                room.before = room.before.max(wanted.before);
                room.after = room.after.max(wanted.after);
            }
            // Entries cannot lie in two distances; this window finds no view and is computed.
            Some(_) => (),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.spatial.is_empty()
    }

    /// Whether windows slide over this very value.
    pub fn is_base(&self, expr: Expr) -> bool {
        self.room.contains_key(&expr) || self.bases.contains(&expr)
    }

    pub fn is_spatial(&self, axis: Axis) -> bool {
        self.spatial.contains_key(&axis)
    }

    /// The axes from the outermost one in memory on: positions, samples, then the others in their order.
    pub fn outermost_first(&self, axes: &[Axis]) -> Vec<Axis> {
        let mut axes = axes.to_vec();
        if axes.iter().any(|&axis| self.is_spatial(axis)) {
            let rank = |&axis: &Axis| match self.spatial.get(&axis) {
                Some(path) => (0, path.clone()),
                None => (if axis == BATCH { 1 } else { 2 }, vec![]),
            };
            axes.sort_by_key(rank);
        }
        axes
    }

    /// How a value should lie.
    pub fn layout(&self, graph: &Graph, expr: Expr) -> Layout {
        let axes = self.outermost_first(graph.axes_of(expr));
        let asked = self.room.get(&expr).map_or(&[][..], Vec::as_slice);
        let room =
            |axis: &Axis| asked.iter().find(|entry| entry.0 == *axis).map_or(Room::NONE, |entry| entry.1);
        let room = axes.iter().map(room).collect();
        Layout { axes, room }
    }
}

/// The value that a window is contracted with, and where it lies on it.
fn seen(graph: &Graph, expr: Expr) -> Option<(Expr, Shift)> {
    let windowed = Windowed::of(graph, graph.node(expr))?;
    Some((windowed.arg, Shift::of(&windowed)?))
}

/// The value that a window slides over, seen through other windows and renamings, and its name for the axis.
fn behind(graph: &Graph, mut expr: Expr, mut axis: Axis) -> (Expr, Axis) {
    loop {
        match graph.node(expr) {
            Node::Rename(arg, pairs) => (expr, axis) = (*arg, old_name(pairs, axis)),
            _ => match seen(graph, expr) {
                Some((arg, _)) => expr = arg,
                None => return (expr, axis),
            },
        }
    }
}

/// The window through which a value has the axis, unless a copy of what it sees lies in between.
fn maker(graph: &Graph, mut expr: Expr, mut axis: Axis) -> Option<Expr> {
    loop {
        match graph.node(expr) {
            Node::Rename(arg, pairs) => (expr, axis) = (*arg, old_name(pairs, axis)),
            Node::Spread(arg, along) if !along.is_empty() => expr = *arg,
            _ => match seen(graph, expr)? {
                (_, shift) if shift.steps.iter().any(|step| step.0 == axis) => return Some(expr),
                (arg, _) => expr = arg,
            },
        }
    }
}

fn old_name(pairs: &[(Axis, Axis)], axis: Axis) -> Axis {
    pairs.iter().find(|pair| pair.1 == axis).map_or(axis, |pair| pair.0)
}

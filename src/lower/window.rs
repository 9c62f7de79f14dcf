//! What windows ask of the memory behind them: zeros around the values that they slide over, and positions outermost,
//! so that a window over all samples and channels is one contiguous piece.

use std::collections::{HashMap, HashSet};

use super::layout::{Layout, Room};
use super::view::Shift;
use crate::axes::{Axis, BATCH};
use crate::sym::window::Windowed;
use crate::sym::{Expr, Graph, Node};

/// What the windows of a routine ask for.
#[derive(Default)]
pub(super) struct Windows {
    /// Axes of positions: those of windows, and what they are renamed or cut to.
    spatial: HashSet<Axis>,
    /// Room along axes of the values behind windows.
    room: HashMap<Expr, Vec<(Axis, Room)>>,
}

impl Windows {
    pub fn of(graph: &Graph, order: &[Expr]) -> Windows {
        let mut windows = Windows::default();
        for &expr in order {
            if let Node::Window(window) = graph.node(expr) {
                windows.spatial.extend(window.axes());
            }
        }
        while order.iter().any(|&expr| windows.spread(graph, expr)) {}
        for &expr in order {
            windows.ask(graph, expr);
        }
        windows
    }

    /// Whether renaming or cutting made further axes of positions.
    fn spread(&mut self, graph: &Graph, expr: Expr) -> bool {
        let alike: Vec<Vec<Axis>> = match graph.node(expr) {
            Node::Rename(_, pairs) => pairs.iter().map(|pair| vec![pair.0, pair.1]).collect(),
            Node::Reshape { from, to, .. } if from.len() == 1 || to.len() == 1 => {
                let whole = if from.len() == 1 { from } else { to };
                let known = self.spatial.contains(&whole[0]);
                if known { vec![[&from[..], to].concat()] } else { vec![] }
            }
            _ => vec![],
        };
        let mut more = false;
        for group in alike {
            if group.iter().any(|axis| self.spatial.contains(axis)) {
                for axis in group {
                    more |= self.spatial.insert(axis);
                }
            }
        }
        more
    }

    /// The room that a window needs along the axis of the value behind it.
    fn ask(&mut self, graph: &Graph, expr: Expr) {
        let Some(windowed) = Windowed::of(graph, graph.node(expr)) else { return };
        let Some(shift) = Shift::of(&windowed) else { return };
        let (base, axis) = behind(graph, windowed.arg, shift.gone);
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

    /// Whether windows slide over this very value.
    pub fn is_base(&self, expr: Expr) -> bool {
        self.room.contains_key(&expr)
    }

    pub fn is_spatial(&self, axis: Axis) -> bool {
        self.spatial.contains(&axis)
    }

    /// How a value should lie: positions, samples, then the other axes in their order.
    pub fn layout(&self, graph: &Graph, expr: Expr) -> Layout {
        let mut axes = graph.axes_of(expr).to_vec();
        if axes.iter().any(|&axis| self.is_spatial(axis)) {
            let rank = |&axis: &Axis| match axis {
                _ if self.is_spatial(axis) => (0, axis),
                _ if axis == BATCH => (1, BATCH),
                _ => (2, BATCH),
            };
            axes.sort_by_key(rank);
        }
        let asked = self.room.get(&expr).map_or(&[][..], Vec::as_slice);
        let room =
            |axis: &Axis| asked.iter().find(|entry| entry.0 == *axis).map_or(Room::NONE, |entry| entry.1);
        let room = axes.iter().map(room).collect();
        Layout { axes, room }
    }
}

/// The value that a window slides over, seen through other windows and renamings, and its name for the axis.
fn behind(graph: &Graph, mut expr: Expr, mut axis: Axis) -> (Expr, Axis) {
    loop {
        match graph.node(expr) {
            Node::Rename(arg, pairs) => {
                axis = pairs.iter().find(|pair| pair.1 == axis).map_or(axis, |pair| pair.0);
                expr = *arg;
            }
            node => match Windowed::of(graph, node).filter(|windowed| Shift::of(windowed).is_some()) {
                Some(windowed) => expr = windowed.arg,
                None => return (expr, axis),
            },
        }
    }
}

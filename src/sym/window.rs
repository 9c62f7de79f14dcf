//! Windows: which positions of one axis the positions along others stand for. A window is a constant 0/1 tensor, so
//! that everything said of contractions holds of it: contracted over its axis it unfolds a value into patches,
//! contracted the other way it adds patches up again (the adjoint), and its Jacobians are itself.

use super::graph::{Expr, Graph, Node};
use crate::axes::{Axis, AxisTable};

/// The tensor S over `axis` and the axes of `by` that is 1 where
/// position(axis) = offset + Σ step · position(by), else 0. Positions outside of the axis are padding.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Window {
    pub axis: Axis,
    pub offset: i64,
    /// Axes with their steps, each at least 1.
    pub by: Vec<(Axis, usize)>,
}

impl Window {
    pub fn axes(&self) -> Vec<Axis> {
        std::iter::once(self.axis).chain(self.by.iter().map(|by| by.0)).collect()
    }

    /// The same window with its axes renamed.
    pub fn renamed(&self, new: impl Fn(Axis) -> Axis) -> Window {
        let by = self.by.iter().map(|&(axis, step)| (new(axis), step)).collect();
        Window { axis: new(self.axis), offset: self.offset, by }
    }

    /// The step along one of `by`.
    pub fn step(&self, axis: Axis) -> Option<usize> {
        self.by.iter().find(|by| by.0 == axis).map(|by| by.1)
    }

    /// The position along `axis` at positions along `by`, which may lie outside.
    pub fn position(&self, at: impl Fn(Axis) -> usize) -> i64 {
        self.offset + self.by.iter().map(|&(axis, step)| (step * at(axis)) as i64).sum::<i64>()
    }

    /// Whether no position lies outside the axis.
    pub fn is_inside(&self, table: &AxisTable) -> bool {
        let last = self.position(|axis| table.extent(axis) - 1);
        self.offset >= 0 && last < table.extent(self.axis) as i64
    }

    /// Number of positions along `by` that lie inside the axis.
    pub fn count(&self, table: &AxisTable) -> usize {
        let mut positions = vec![self.offset];
        for &(axis, step) in &self.by {
            let along = |&start: &i64| (0..table.extent(axis)).map(move |at| start + (step * at) as i64);
            positions = positions.iter().flat_map(along).collect();
        }
        let extent = table.extent(self.axis) as i64;
        positions.into_iter().filter(|position| (0..extent).contains(position)).count()
    }

    /// The axes of `by`, outermost first, where they number all positions of `axis` in row-major order.
    pub fn as_reshape(&self, table: &AxisTable) -> Option<Vec<Axis>> {
        let mut by = self.by.clone();
        by.sort_by_key(|entry| std::cmp::Reverse(entry.1));
        let mut step = 1;
        for &(axis, own) in by.iter().rev() {
            if own != step {
                return None;
            }
            step *= table.extent(axis);
        }
        (self.offset == 0 && step == table.extent(self.axis)).then(|| by.into_iter().map(|by| by.0).collect())
    }
}

/// A contraction of a window with one value.
#[derive(Clone, Debug)]
pub struct Windowed {
    pub window: Window,
    pub arg: Expr,
    pub over: Vec<Axis>,
}

impl Windowed {
    /// The contraction as one with a window that shares with the value no axis but those summed.
    pub fn of(graph: &Graph, node: &Node) -> Option<Windowed> {
        let Node::Contract { left, right, over } = node else { return None };
        let sides = [(*left, *right), (*right, *left)];
        sides.into_iter().find_map(|(window, arg)| {
            let Node::Window(window) = graph.visible(window) else { return None };
            let moves = |axis: &Axis| !graph.axes_of(arg).contains(axis) || over.contains(axis);
            let over = over.clone();
            window.axes().iter().all(moves).then(|| Windowed { window: window.clone(), arg, over })
        })
    }

    /// Whether the value is read at the window's positions.
    pub fn unfolds(&self) -> bool {
        self.over == [self.window.axis]
    }

    /// The one axis of `by` that is summed, where the others stay: the window read backwards.
    pub fn backwards(&self) -> Option<Axis> {
        match self.over[..] {
            [axis] if self.window.step(axis).is_some() => Some(axis),
            _ => None,
        }
    }
}

impl Graph {
    /// S of a [`Window`]; see there.
    pub fn window(&mut self, window: Window) -> Expr {
        self.make(Node::Window(window))
    }

    /// y\[…, by, …\] = x at position offset + Σ step · by along the axis, 0 outside.
    pub fn unfold(&mut self, arg: Expr, window: Window) -> Expr {
        let axis = window.axis;
        let window = self.window(window);
        self.contract(window, arg, &[axis])
    }
}

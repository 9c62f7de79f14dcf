//! How kept values lie in memory: the order of their axes, and room for zeros around them where windows reach
//! beyond an axis.

use std::collections::HashMap;

use crate::axes::{Axis, AxisTable};
use crate::sym::Expr;

/// The layouts of the materialized expressions.
pub(super) type Layouts = HashMap<Expr, Layout>;

/// Room along one axis of a buffer: entries stand `step` apart, with `before` and `after` zeros around them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    pub before: usize,
    pub after: usize,
    pub step: usize,
}

impl Room {
    pub const NONE: Room = Room { before: 0, after: 0, step: 1 };

    /// Places that the axis takes in the buffer.
    pub fn extent(&self, positions: usize) -> usize {
        self.before + self.step * (positions - 1) + 1 + self.after
    }
}

/// Axes from the outermost to the one whose entries are neighbours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    pub axes: Vec<Axis>,
    /// One per axis.
    pub room: Vec<Room>,
}

impl Layout {
    /// Row-major without room.
    pub fn plain(axes: Vec<Axis>) -> Layout {
        let room = vec![Room::NONE; axes.len()];
        Layout { axes, room }
    }

    pub fn is_plain(&self) -> bool {
        self.room.iter().all(|room| *room == Room::NONE)
    }

    /// Places of the buffer between neighbouring places along each axis.
    pub fn units(&self, table: &AxisTable) -> Vec<usize> {
        let mut unit = 1;
        let mut units: Vec<usize> = Vec::with_capacity(self.axes.len());
        for (&axis, room) in self.axes.iter().zip(&self.room).rev() {
            units.push(unit);
            unit *= room.extent(table.extent(axis));
        }
        units.reverse();
        units
    }

    /// Axes with the distance between their entries.
    pub fn strides(&self, table: &AxisTable) -> Vec<(Axis, i64)> {
        let steps = self.room.iter().zip(self.units(table)).map(|(room, unit)| (room.step * unit) as i64);
        self.axes.iter().copied().zip(steps).collect()
    }

    /// Where the first entry lies.
    pub fn base(&self, table: &AxisTable) -> i64 {
        self.room.iter().zip(self.units(table)).map(|(room, unit)| (room.before * unit) as i64).sum()
    }

    /// Places in all.
    pub fn len(&self, table: &AxisTable) -> usize {
        let extents = self.axes.iter().zip(&self.room).map(|(&axis, room)| room.extent(table.extent(axis)));
        extents.product()
    }

    /// Axes along which zeros lie around the entries.
    pub fn padded(&self) -> impl Iterator<Item = Axis> + '_ {
        self.axes.iter().zip(&self.room).filter(|(_, room)| **room != Room::NONE).map(|(axis, _)| *axis)
    }
}

//! Zeros around kept values, for the windows that reach beyond them.

use super::layout::{Layout, Room};
use super::stage::Stage;
use crate::axes::{Axis, AxisTable};
use crate::loops::build::ScalarBuilder;
use crate::loops::{Affine, BufferId, Elem, LoopVar, Nest, Range, Scalars, Stmt};

/// The places along one axis that a nest of zeros covers.
#[derive(Clone, Copy)]
struct Places {
    first: usize,
    count: usize,
    unit: usize,
}

/// The nests that write the zeros around the stage's entries, without the entries. `cut` is the axis that is cut into
/// tasks, which has no room.
pub(super) fn zeros(stage: &Stage, buffer: BufferId, cut: Option<Axis>, table: &AxisTable) -> Vec<Stmt> {
    let layout = &stage.layout;
    let units = layout.units(table);
    let along = |i: usize| Along { axis: layout.axes[i], room: layout.room[i], unit: units[i] };
    let all: Vec<Along> = (0..layout.axes.len()).map(along).collect();
    let nest = |places: &[Places]| Stmt::Nest(nest(layout, places, buffer, stage.elem, cut));
    if layout.room.iter().any(|room| room.step > 1) {
        // Zeros between the entries too: everything first becomes zero.
        let whole: Vec<Places> = all.iter().map(|along| along.whole(table)).collect();
        return vec![nest(&whole)];
    }
    let mut nests = Vec::new();
    for (i, here) in all.iter().enumerate() {
        let inner: Vec<Places> = all[..i].iter().map(|along| along.entries(table)).collect();
        let outer: Vec<Places> = all[i + 1..].iter().map(|along| along.whole(table)).collect();
        for margin in here.margins(table) {
            nests.push(nest(&[&inner[..], &[margin], &outer].concat()));
        }
    }
    nests
}

/// One axis of a buffer.
struct Along {
    axis: Axis,
    room: Room,
    unit: usize,
}

impl Along {
    fn whole(&self, table: &AxisTable) -> Places {
        Places { first: 0, count: self.room.extent(table.extent(self.axis)), unit: self.unit }
    }

    fn entries(&self, table: &AxisTable) -> Places {
        Places { first: self.room.before, count: table.extent(self.axis), unit: self.unit }
    }

    /// Before and after the entries.
    fn margins(&self, table: &AxisTable) -> Vec<Places> {
        let Room { before, after, .. } = self.room;
        let sides = [(0, before), (before + table.extent(self.axis), after)];
        let sides = sides.into_iter().filter(|side| side.1 > 0);
        sides.map(|(first, count)| Places { first, count, unit: self.unit }).collect()
    }
}

fn nest(layout: &Layout, places: &[Places], buffer: BufferId, elem: Elem, cut: Option<Axis>) -> Nest {
    let mut body = ScalarBuilder::new(elem.into());
    let zero = body.number(0.0);
    let base = places.iter().map(|along| (along.first * along.unit) as i64).sum();
    // A loop over one place would take the vector from the one around it.
    let walked: Vec<(&Axis, &Places)> = layout
        .axes
        .iter()
        .zip(places)
        .filter(|(axis, along)| along.count > 1 || cut == Some(**axis))
        .collect();
    let terms = walked.iter().enumerate().map(|(i, (_, along))| (LoopVar(i as u32), along.unit as i64));
    body.store(buffer, Affine { base, terms: terms.collect(), task: 0 }, zero);
    let range = |(axis, along): &(&Axis, &Places)| match cut {
        Some(cut) if cut == **axis => Range::Chunk,
        _ => Range::Full(along.count),
    };
    let loops: Vec<Range> = walked.iter().map(range).collect();
    Nest {
        kept: loops.len(),
        vector: loops.len().checked_sub(1).map(|last| LoopVar(last as u32)),
        loops,
        body: body.finish(),
        accumulate: vec![],
        finish: Scalars::default(),
    }
}

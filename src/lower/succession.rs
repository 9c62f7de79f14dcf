//! Which results take the place of an operand that nobody needs any more: a pass over memory then need not fetch what it only
//! overwrites, and the program takes less of it.

use std::collections::HashSet;

use super::memory::Lives;
use crate::loops::{Affine, Buffer, BufferId, Group, Inst, Level, Nest, Range, Routine, Scalars, Stmt};

/// A buffer, and the one that takes its place on the level on which it is read last.
pub(super) type Succession = (BufferId, BufferId);

/// Finds them in a routine. Every buffer has one successor at most, and follows one.
pub(super) fn successions(routine: &Routine, lives: &Lives, buffers: &[Buffer]) -> Vec<Succession> {
    let mut found = Found { lives, buffers, list: vec![], taken: HashSet::new() };
    for (number, level) in routine.levels.iter().enumerate() {
        for (group, of) in level.groups.iter().enumerate() {
            for (statement, stmt) in of.body.iter().enumerate() {
                if let Stmt::Nest(nest) = stmt {
                    found.nest(&Place { level, number, group, statement }, nest);
                }
            }
        }
    }
    found.list
}

/// Where a statement stands.
struct Place<'a> {
    level: &'a Level,
    /// Of the level.
    number: usize,
    /// In the level.
    group: usize,
    /// In the group.
    statement: usize,
}

struct Found<'a> {
    lives: &'a Lives,
    buffers: &'a [Buffer],
    list: Vec<Succession>,
    /// Buffers that have a successor.
    taken: HashSet<BufferId>,
}

impl Found<'_> {
    /// Every entry that an elementwise nest stores may take the place of one that it reads for it.
    fn nest(&mut self, place: &Place, nest: &Nest) {
        if nest.kept < nest.loops.len() || !nest.accumulate.is_empty() {
            return;
        }
        for store in &nest.body.stores {
            if !self.begins(place, store.buffer) {
                continue;
            }
            let read = loads(&nest.body).filter(|load| load.1 == &store.index).map(|load| load.0);
            let fits = |old: &BufferId| self.ends(place, nest, *old, store.buffer, &store.index);
            // What was written last is the most likely to be in a cache.
            let latest = read.filter(fits).max_by_key(|old| self.lives[old.index()].map(|life| life.0));
            if let Some(old) = latest {
                self.taken.insert(old);
                self.list.push((old, store.buffer));
            }
        }
    }

    /// Whether nothing touches the buffer before the statement, nor beside it.
    fn begins(&self, place: &Place, new: BufferId) -> bool {
        let first = self.lives[new.index()].is_some_and(|life| life.0 == place.number);
        let after = |(group, statement)| group == place.group && statement >= place.statement;
        first && !self.buffers[new.index()].persistent && touched(place.level, new).all(after)
    }

    /// Whether the nest is the last that touches `old`, only where it stores `new`, and `new` fits there.
    fn ends(&self, place: &Place, nest: &Nest, old: BufferId, new: BufferId, index: &Affine) -> bool {
        let [from, to] = [old, new].map(|buffer| &self.buffers[buffer.index()]);
        let Some((first, last)) = self.lives[old.index()] else { return false };
        let alike = !from.persistent && from.elem == to.elem && from.len == to.len;
        let stored = nest.body.stores.iter().any(|store| store.buffer == old);
        let here = loads(&nest.body).all(|load| load.0 != old || load.1 == index);
        let exchanged = place.level.exchanges.iter().any(|exchange| exchange.buffer == old);
        if !alike || last != place.number || stored || !here || exchanged || self.taken.contains(&old) {
            return false;
        }
        let group = &place.level.groups[place.group];
        // What a task reads of its own group lies in its own part.
        let own = first == place.number || group.tasks() == 1;
        touched(place.level, old).all(|(number, statement)| {
            let before = || own || reads_alike(group, &group.body[statement], old, (index, &nest.loops));
            number == place.group
                && (statement == place.statement || statement < place.statement && before())
        })
    }
}

/// Whether a statement touches the buffer only to read the entries that its task stores through `index` in `loops`.
fn reads_alike(group: &Group, stmt: &Stmt, buffer: BufferId, (index, loops): (&Affine, &[Range])) -> bool {
    let Stmt::Nest(nest) = stmt else { return false };
    let wanted = footprint(group, index, loops);
    let stored = nest.body.stores.iter().chain(&nest.finish.stores).any(|store| store.buffer == buffer);
    let finish = loads(&nest.finish).any(|load| load.0 == buffer);
    let alike = |load: (BufferId, &Affine)| load.0 != buffer || footprint(group, load.1, &nest.loops) == wanted;
    !stored && !finish && loads(&nest.body).all(alike)
}

/// What an index walks, in whatever order: where it starts, and steps with their lengths (of a chunk: zero).
fn footprint(group: &Group, index: &Affine, loops: &[Range]) -> (i64, i64, Vec<(i64, usize)>) {
    let length = |range: Range| match range {
        Range::Full(length) => length,
        Range::Chunk if group.tasks() == 1 => group.extent,
        Range::Chunk => 0,
    };
    let mut steps: Vec<(i64, usize)> =
        index.terms.iter().map(|&(var, by)| (by, length(loops[var.index()]))).collect();
    steps.sort_unstable();
    (index.base, index.task, steps)
}

fn loads(scalars: &Scalars) -> impl Iterator<Item = (BufferId, &Affine)> {
    scalars.insts.iter().filter_map(|inst| match inst {
        Inst::Load(buffer, index) => Some((*buffer, index)),
        _ => None,
    })
}

/// The places (group, statement) at which a level touches the buffer.
fn touched(level: &Level, wanted: BufferId) -> impl Iterator<Item = (usize, usize)> {
    let statements = move |(number, group): (usize, &Group)| -> Vec<(usize, usize)> {
        let touches = |stmt: &Stmt| {
            let mut touches = false;
            stmt.buffers(&mut |buffer| touches |= buffer == wanted);
            touches
        };
        let body = group.body.iter().enumerate();
        body.filter(|(_, stmt)| touches(stmt)).map(|(statement, _)| (number, statement)).collect()
    };
    level.groups.iter().enumerate().flat_map(statements)
}

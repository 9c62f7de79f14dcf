//! Which results take the place of an operand that nobody needs any more: a pass over memory then need not fetch what it only
//! overwrites, and the program takes less of it.

use std::collections::HashSet;

use super::memory::Lives;
use crate::loops::{Affine, Buffer, BufferId, Group, Level, Range, Routine, Scalars, Stmt, Store};

/// A buffer, and the one that takes its place on the level on which it is read last.
pub(super) type Succession = (BufferId, BufferId);

/// Finds them in a routine. Every buffer has one successor at most, and follows one.
pub(super) fn successions(routine: &Routine, lives: &Lives, buffers: &[Buffer]) -> Vec<Succession> {
    let mut found = Found { lives, buffers, list: vec![], taken: HashSet::new() };
    for (number, level) in routine.levels.iter().enumerate() {
        for (group, of) in level.groups.iter().enumerate() {
            for (statement, stmt) in of.body.iter().enumerate() {
                if let Some(results) = Results::of(stmt) {
                    found.add(&Place { level, number, group, statement }, &results);
                }
            }
        }
    }
    found.list
}

/// What a statement computes entry by entry.
struct Results<'a> {
    scalars: &'a Scalars,
    loops: Vec<Range>,
    /// Buffers of which it reads other entries too.
    operands: Vec<BufferId>,
}

impl<'a> Results<'a> {
    fn of(stmt: &'a Stmt) -> Option<Results<'a>> {
        match stmt {
            Stmt::Nest(nest) => {
                let reduces = nest.kept < nest.loops.len() || !nest.accumulate.is_empty();
                let results = || Results { scalars: &nest.body, loops: nest.loops.clone(), operands: vec![] };
                (!reduces).then(results)
            }
            Stmt::Gemm(gemm) => {
                let outer = gemm.outer.iter().map(|outer| outer.range);
                let loops = [gemm.m, gemm.n].into_iter().chain(outer).collect();
                let operands = vec![gemm.a.buffer, gemm.b.buffer];
                Some(Results { scalars: &gemm.epilogue, loops, operands })
            }
            Stmt::Orthonormalize { .. } => None,
        }
    }
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
    /// Every entry that is stored may take the place of one that is read for it.
    fn add(&mut self, place: &Place, results: &Results) {
        for store in &results.scalars.stores {
            if !self.begins(place, store.buffer) {
                continue;
            }
            let read = results.scalars.loads().filter(|load| load.1 == &store.index).map(|load| load.0);
            let fits = |old: &BufferId| self.ends(place, results, *old, store);
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

    /// Whether the statement is the last that touches `old`, only where it stores what then lies in its place.
    fn ends(&self, place: &Place, results: &Results, old: BufferId, store: &Store) -> bool {
        let [from, to] = [old, store.buffer].map(|buffer| &self.buffers[buffer.index()]);
        let Some((first, last)) = self.lives[old.index()] else { return false };
        let alike = !from.persistent && from.elem == to.elem && from.len == to.len;
        let stored = results.scalars.stores.iter().any(|store| store.buffer == old);
        let here = results.scalars.loads().all(|load| load.0 != old || load.1 == &store.index);
        let here = here && !results.operands.contains(&old) && !stored;
        let exchanged = place.level.exchanges.iter().any(|exchange| exchange.buffer == old);
        if !alike || last != place.number || !here || exchanged || self.taken.contains(&old) {
            return false;
        }
        let group = &place.level.groups[place.group];
        // What a task reads of its own group lies in its own part.
        let own = first == place.number || group.tasks() == 1;
        let wanted = footprint(group, &store.index, &results.loops);
        touched(place.level, old).all(|(number, statement)| {
            let before = || own || reads_alike(group, &group.body[statement], old, &wanted);
            number == place.group && (statement == place.statement || statement < place.statement && before())
        })
    }
}

/// Whether a statement touches the buffer only to read what the footprint covers.
fn reads_alike(group: &Group, stmt: &Stmt, buffer: BufferId, wanted: &Footprint) -> bool {
    let Stmt::Nest(nest) = stmt else { return false };
    let stored = nest.body.stores.iter().chain(&nest.finish.stores).any(|store| store.buffer == buffer);
    let finish = nest.finish.loads().any(|load| load.0 == buffer);
    let alike =
        |load: (BufferId, &Affine)| load.0 != buffer || footprint(group, load.1, &nest.loops) == *wanted;
    !stored && !finish && nest.body.loads().all(alike)
}

/// Base and part of the task of an index; its steps with their lengths, of a chunk zero.
type Footprint = (i64, i64, Vec<(i64, usize)>);

/// The entries of a task that an index walks, in whatever order.
fn footprint(group: &Group, index: &Affine, loops: &[Range]) -> Footprint {
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

//! Bytes that a group moves between memory and caches, counted in the program.
//!
//! The count is a model: within a group every buffer is read once and written once, as far as its loops reach; between
//! groups nothing stays in a cache. It says what a step must move at most when tasks reuse what they have just touched,
//! not what the machine does.

use std::collections::BTreeMap;

use super::{Affine, Buffer, BufferId, Gemm, Group, Inst, LoopVar, Nest, Operand, Range, Scalars, Stmt};

/// Bytes of one run of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub read: u64,
    pub written: u64,
}

/// What all tasks of the group together read and write.
pub fn traffic(buffers: &[Buffer], group: &Group) -> Traffic {
    let mut count = Count { group, read: BTreeMap::new(), written: BTreeMap::new() };
    for stmt in &group.body {
        match stmt {
            Stmt::Nest(nest) => count.nest(nest),
            Stmt::Gemm(gemm) => count.gemm(gemm),
            Stmt::Orthonormalize { buffer, rows, cols } => {
                count.reads(*buffer, (rows * cols) as u64);
                count.writes(*buffer, (rows * cols) as u64);
            }
        }
    }
    let bytes = |entries: &BTreeMap<BufferId, u64>| {
        let of = |(id, count): (&BufferId, &u64)| {
            let buffer = &buffers[id.index()];
            (*count).min(buffer.len as u64) * buffer.elem.bytes() as u64
        };
        entries.iter().map(of).sum()
    };
    Traffic { read: bytes(&count.read), written: bytes(&count.written) }
}

/// Of several accesses to a buffer the one that reaches farthest counts.
fn reach(known: &mut BTreeMap<BufferId, u64>, buffer: BufferId, entries: u64) {
    let most = known.entry(buffer).or_default();
    *most = (*most).max(entries);
}

/// Entries by buffer.
struct Count<'a> {
    group: &'a Group,
    read: BTreeMap<BufferId, u64>,
    written: BTreeMap<BufferId, u64>,
}

impl Count<'_> {
    fn reads(&mut self, buffer: BufferId, entries: u64) {
        reach(&mut self.read, buffer, entries);
    }

    fn writes(&mut self, buffer: BufferId, entries: u64) {
        reach(&mut self.written, buffer, entries);
    }

    /// Positions of a loop in all tasks.
    fn extent(&self, range: Range) -> u64 {
        match range {
            Range::Full(extent) => extent as u64,
            Range::Chunk => self.group.extent as u64,
        }
    }

    /// Entries that an index reaches while the loops run.
    fn reach(&self, index: &Affine, loops: &[u64]) -> u64 {
        let along = |(var, _): &(LoopVar, i64)| loops.get(var.index()).copied().unwrap_or(1);
        let tasks = if index.task == 0 { 1 } else { self.group.tasks() as u64 };
        index.terms.iter().map(along).fold(tasks, u64::saturating_mul)
    }

    fn scalars(&mut self, scalars: &Scalars, loops: &[u64]) {
        for inst in &scalars.insts {
            if let Inst::Load(buffer, index) = inst {
                self.reads(*buffer, self.reach(index, loops));
            }
        }
        for store in &scalars.stores {
            self.writes(store.buffer, self.reach(&store.index, loops));
        }
    }

    fn nest(&mut self, nest: &Nest) {
        let loops: Vec<u64> = nest.loops.iter().map(|&range| self.extent(range)).collect();
        self.scalars(&nest.body, &loops);
        self.scalars(&nest.finish, &loops);
    }

    fn gemm(&mut self, gemm: &Gemm) {
        let [m, n, k] = [gemm.m, gemm.n, gemm.k].map(|range| self.extent(range));
        let terms = gemm.terms.longest() as u64;
        let outer: Vec<u64> = gemm.outer.iter().map(|outer| self.extent(outer.range)).collect();
        let operand = |operand: Operand, extents: [u64; 2], pick: fn((usize, usize)) -> usize| {
            let own = [operand.strides.0, operand.strides.1].into_iter().zip(extents);
            let around = gemm.outer.iter().map(|outer| pick(outer.strides)).zip(outer.iter().copied());
            let reached = own.chain(around).filter(|(stride, _)| *stride != 0).map(|(_, extent)| extent);
            reached.fold(terms, u64::saturating_mul)
        };
        let (a, b) =
            (operand(gemm.a, [m, k], |strides| strides.0), operand(gemm.b, [k, n], |strides| strides.1));
        self.reads(gemm.a.buffer, a);
        self.reads(gemm.b.buffer, b);
        let loops: Vec<u64> = [m, n].into_iter().chain(outer).collect();
        self.scalars(&gemm.epilogue, &loops);
    }
}

//! Checks that a program means something. What is checked:
//!
//! - every buffer lies inside the arena, at a multiple of 64 bytes;
//! - every group has work and a chunk of at least one position;
//! - no loop is empty;
//! - registers are defined before use and operands have the types that the operation asks for;
//! - what is stored as bf16 has been rounded to it;
//! - loops, accumulators and buffers that are named exist; `vector` names a loop; accumulators are floats;
//! - a body with accumulators, and only that, has a `finish`; the body of a reduction stores nothing;
//! - buffers of one statement overlap only where results take the place of an operand, entry by entry;
//! - every access stays inside its buffer, by the interval of its affine index over all tasks and loops;
//! - ranks exchange buffers of f32;
//! - tasks of a group do not store to the same entries, where the index decides it: a store that depends neither on
//!   the chunk nor on the task is refused in a group of several tasks.

use super::{
    Accumulate, Affine, Buffer, BufferId, Elem, Gemm, Group, Inst, Nest, Operand, Outer, Program, Range,
    Scalars, Stmt, Ty, Unary, bf16,
};

/// All that is wrong with a program, each with the place.
pub fn verify(program: &Program) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    for buffer in &program.buffers {
        let inside = buffer.offset + buffer.len * buffer.elem.bytes() <= program.arena_bytes;
        if !inside || !buffer.offset.is_multiple_of(64) {
            problems.push(format!("buffer {}: at {}, len {}", buffer.name, buffer.offset, buffer.len));
        }
    }
    for routine in &program.routines {
        for (number, level) in routine.levels.iter().enumerate() {
            for exchange in &level.exchanges {
                let floats = program.buffers.get(exchange.buffer.index());
                if !floats.is_some_and(|buffer| buffer.elem == Elem::F32) {
                    problems.push(format!(
                        "{} level {number}: exchanges {}, no f32 buffer",
                        routine.name, exchange.buffer
                    ));
                }
            }
            for group in &level.groups {
                let place = format!("{} level {number} {}", routine.name, group.label);
                Checker { program, group, place, problems: &mut problems }.group();
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

struct Checker<'a> {
    program: &'a Program,
    group: &'a Group,
    place: String,
    problems: &'a mut Vec<String>,
}

impl Checker<'_> {
    fn report(&mut self, problem: String) {
        self.problems.push(format!("{}: {problem}", self.place));
    }

    fn require(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.report(problem());
        }
    }

    fn group(&mut self) {
        if self.group.chunk == 0 || self.group.extent == 0 {
            return self.report("no work".into());
        }
        for stmt in &self.group.body {
            self.overlaps(stmt);
            match stmt {
                Stmt::Nest(nest) => self.nest(nest),
                Stmt::Gemm(gemm) => self.gemm(gemm),
                Stmt::Orthonormalize { buffer, rows, cols } => {
                    self.require(self.group.tasks() == 1, || "orthonormalize in several tasks".into());
                    self.require(self.elem(*buffer) == Some(Elem::F32), || format!("{buffer} is not f32"));
                    let last = (rows * cols) as i64 - 1;
                    self.interval(*buffer, (0, last), &"orthonormalize");
                }
            }
        }
    }

    fn overlaps(&mut self, stmt: &Stmt) {
        let mut touched: Vec<BufferId> = Vec::new();
        stmt.buffers(&mut |buffer| {
            if !touched.contains(&buffer) && buffer.index() < self.program.buffers.len() {
                touched.push(buffer);
            }
        });
        for (place, &one) in touched.iter().enumerate() {
            for &other in &touched[place + 1..] {
                let apart = || {
                    let [a, b] = [one, other].map(|buffer| &self.program.buffers[buffer.index()]);
                    let end = |buffer: &Buffer| buffer.offset + buffer.len * buffer.elem.bytes();
                    a.offset >= end(b) || b.offset >= end(a)
                };
                let replaced = |old: BufferId, new: BufferId| {
                    let [from, to] = [old, new].map(|buffer| &self.program.buffers[buffer.index()]);
                    from.offset == to.offset && from.elem == to.elem && replaces(stmt, old, new)
                };
                let fine = apart() || replaced(one, other) || replaced(other, one);
                self.require(fine, || format!("{one} and {other} overlap"));
            }
        }
    }

    fn nest(&mut self, nest: &Nest) {
        let loops = &nest.loops;
        self.require(!loops.contains(&Range::Full(0)), || "an empty loop".into());
        self.require(nest.kept <= loops.len(), || "more kept loops than loops".into());
        self.require(nest.vector.is_none_or(|var| var.index() < loops.len()), || {
            "no such vector loop".into()
        });
        let Some(types) = self.scalars(&nest.body, loops, &[]) else { return };
        let mut accumulators = Vec::new();
        for Accumulate { value, .. } in &nest.accumulate {
            match types.get(value.index()) {
                Some(ty @ (Ty::F32 | Ty::F64)) => accumulators.push(*ty),
                other => return self.report(format!("accumulates {value} of type {other:?}")),
            }
        }
        let finish_empty = nest.finish.insts.is_empty() && nest.finish.stores.is_empty();
        self.require(!accumulators.is_empty() || finish_empty, || "finish without accumulators".into());
        let reduces = !accumulators.is_empty() || nest.kept < loops.len();
        self.require(!reduces || nest.body.stores.is_empty(), || "a reduction's body stores".into());
        let kept = loops.get(..nest.kept).unwrap_or(loops);
        self.scalars(&nest.finish, kept, &accumulators);
    }

    fn gemm(&mut self, gemm: &Gemm) {
        let mut ranges = vec![gemm.m, gemm.n, gemm.k];
        ranges.extend(gemm.outer.iter().map(|outer| outer.range));
        self.require(!ranges.contains(&Range::Full(0)), || "an empty contraction".into());
        if !self.choices(gemm) {
            return self.report("positions without a list of terms".into());
        }
        self.positions(gemm, &mut Vec::new());
        let mut loops = vec![gemm.m, gemm.n];
        loops.extend(gemm.outer.iter().map(|outer| outer.range));
        self.scalars(&gemm.epilogue, &loops, &[Ty::F32]);
    }

    /// `offset` and how far the outer loops reach beyond it.
    /// Whether every position of the outer loops has its list.
    fn choices(&self, gemm: &Gemm) -> bool {
        let last: usize = gemm.outer.iter().map(|outer| self.last(outer.range) as usize * outer.list).sum();
        let known = |&list: &u32| (list as usize) < gemm.terms.lists.len();
        last < gemm.terms.choice.len() && gemm.terms.choice.iter().all(known)
    }

    /// Checks all terms at every position of the outer loops that continues `at`. Where positions have the same terms,
    /// the first and the last of them tell.
    fn positions(&mut self, gemm: &Gemm, at: &mut Vec<usize>) {
        let Some(outer) = gemm.outer.get(at.len()) else { return self.terms(gemm, at) };
        let last = self.last(outer.range) as usize;
        let step = if outer.list == 0 { last.max(1) } else { 1 };
        for position in (0..=last).step_by(step) {
            at.push(position);
            self.positions(gemm, at);
            at.pop();
        }
    }

    fn terms(&mut self, gemm: &Gemm, at: &[usize]) {
        let start = |stride: fn(&Outer) -> usize| -> i64 {
            gemm.outer.iter().zip(at).map(|(outer, position)| (stride(outer) * position) as i64).sum()
        };
        let (a, b) = (start(|outer| outer.strides.0), start(|outer| outer.strides.1));
        for &(a_offset, b_offset) in gemm.terms.at(&gemm.outer, at) {
            self.operand(gemm.a, a + a_offset, [gemm.m, gemm.k]);
            self.operand(gemm.b, b + b_offset, [gemm.k, gemm.n]);
        }
    }

    fn operand(&mut self, operand: Operand, first: i64, ranges: [Range; 2]) {
        let [rows, cols] = ranges.map(|range| self.last(range));
        let last = first + rows * operand.strides.0 as i64 + cols * operand.strides.1 as i64;
        let float = matches!(self.elem(operand.buffer), Some(Elem::F32 | Elem::Bf16));
        self.require(float, || format!("{} is neither f32 nor bf16", operand.buffer));
        self.interval(operand.buffer, (first, last), &"gemm operand");
    }

    fn elem(&self, buffer: BufferId) -> Option<Elem> {
        self.program.buffers.get(buffer.index()).map(|buffer| buffer.elem)
    }

    /// Last position of a range over all tasks.
    fn last(&self, range: Range) -> i64 {
        match range {
            Range::Full(extent) => extent as i64 - 1,
            Range::Chunk => self.group.extent as i64 - 1,
        }
    }

    fn scalars(&mut self, scalars: &Scalars, loops: &[Range], accumulators: &[Ty]) -> Option<Vec<Ty>> {
        let types = match scalars.types(&self.program.buffers, accumulators) {
            Ok(types) => types,
            Err(problem) => {
                self.report(problem);
                return None;
            }
        };
        for inst in &scalars.insts {
            match inst {
                Inst::Load(buffer, index) => self.access(*buffer, index, loops),
                Inst::Position(var) => {
                    self.require(var.index() < loops.len(), || format!("no loop {var}"));
                }
                _ => {}
            }
        }
        for store in &scalars.stores {
            self.access(store.buffer, &store.index, loops);
            let elem = self.elem(store.buffer);
            let value = types.get(store.value.index()).copied();
            self.require(elem.is_some() && elem.map(Ty::from) == value, || {
                format!("stores {value:?} into {} of {elem:?}", store.buffer)
            });
            let exact =
                elem != Some(Elem::Bf16) || scalars.insts.get(store.value.index()).is_some_and(is_bf16);
            self.require(exact, || {
                format!("stores {} into {} without rounding it to bf16", store.value, store.buffer)
            });
            self.require(!self.races(&store.index, loops), || {
                format!("every task stores to {}[{}]", store.buffer, store.index)
            });
        }
        Some(types)
    }

    /// Whether all tasks certainly write the same entries.
    fn races(&self, index: &Affine, loops: &[Range]) -> bool {
        let by_chunk = index.terms.iter().any(|(var, _)| loops.get(var.index()) == Some(&Range::Chunk));
        self.group.tasks() > 1 && index.task == 0 && !by_chunk
    }

    fn access(&mut self, buffer: BufferId, index: &Affine, loops: &[Range]) {
        let tasks = self.group.tasks() as i64;
        let mut low = index.base + (index.task * (tasks - 1)).min(0);
        let mut high = index.base + (index.task * (tasks - 1)).max(0);
        for (var, by) in &index.terms {
            let Some(range) = loops.get(var.index()) else { return self.report(format!("no loop {var}")) };
            let reach = by * self.last(*range);
            low += reach.min(0);
            high += reach.max(0);
        }
        self.interval(buffer, (low, high), index);
    }

    fn interval(&mut self, buffer: BufferId, (low, high): (i64, i64), what: &dyn std::fmt::Display) {
        let Some(known) = self.program.buffers.get(buffer.index()) else {
            return self.report(format!("no buffer {buffer}"));
        };
        let inside = low >= 0 && high < known.len as i64;
        self.require(inside, || format!("{buffer}[{what}] covers {low}..={high} of {}", known.len));
    }
}

/// Whether every entry of `new` that the statement stores is computed from the one of `old` in its place, and no other.
fn replaces(stmt: &Stmt, old: BufferId, new: BufferId) -> bool {
    let (scalars, operands) = match stmt {
        Stmt::Nest(nest) if nest.accumulate.is_empty() => (&nest.body, vec![]),
        Stmt::Gemm(gemm) => (&gemm.epilogue, vec![gemm.a.buffer, gemm.b.buffer]),
        _ => return false,
    };
    let stored = |wanted: BufferId| {
        scalars.stores.iter().filter(move |store| store.buffer == wanted).map(|store| &store.index)
    };
    let loaded = |wanted: BufferId| scalars.loads().filter(move |load| load.0 == wanted).map(|load| load.1);
    let alike = stored(new).all(|place| loaded(old).all(|index| index == place));
    alike
        && stored(old).next().is_none()
        && loaded(new).next().is_none()
        && ![old, new].iter().any(|buffer| operands.contains(buffer))
}

/// Whether the result is certainly a bf16.
fn is_bf16(inst: &Inst) -> bool {
    match *inst {
        Inst::Unary(Unary::Bf16, _) => true,
        Inst::Float(value, _) => bf16::round(value as f32).to_bits() == (value as f32).to_bits(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::build::ScalarBuilder;
    use super::super::{Level, LoopVar, Pass, Routine};
    use super::*;

    /// `b[coefficient·i + base] = 0` for i in the chunk, 10 in all, 4 per task.
    fn store(base: i64, coefficient: i64, ty: Ty) -> Program {
        let mut body = ScalarBuilder::new(ty);
        let zero = body.number(0.0);
        let terms = if coefficient == 0 { vec![] } else { vec![(LoopVar(0), coefficient)] };
        body.store(BufferId(0), Affine { base, terms, task: 0 }, zero);
        let nest = Nest {
            loops: vec![Range::Chunk],
            kept: 1,
            vector: Some(LoopVar(0)),
            body: body.finish(),
            accumulate: Vec::new(),
            finish: Scalars::default(),
        };
        let body = vec![Stmt::Nest(nest)];
        let group = Group { label: "g".into(), block: None, pass: Pass::Forward, extent: 10, chunk: 4, body };
        let buffer = Buffer { name: "b".into(), elem: Elem::F32, len: 20, offset: 0, persistent: false };
        Program {
            buffers: vec![buffer],
            arena_bytes: 128,
            routines: vec![Routine {
                name: "run".into(),
                levels: vec![Level { groups: vec![group], serial: false, exchanges: vec![] }],
            }],
        }
    }

    fn complaint(program: &Program) -> String {
        verify(program).unwrap_err().join("\n")
    }

    #[test]
    fn accesses_stay_inside_their_buffer() {
        assert_eq!(verify(&store(0, 2, Ty::F32)), Ok(()));
        assert_eq!(verify(&store(18, -2, Ty::F32)), Ok(()));
        assert!(complaint(&store(2, 2, Ty::F32)).contains("covers 2..=20 of 20"));
        assert!(complaint(&store(17, -2, Ty::F32)).contains("covers -1..=17 of 20"));
    }

    #[test]
    fn tasks_do_not_store_to_one_entry() {
        assert!(complaint(&store(0, 0, Ty::F32)).contains("every task stores"));
    }

    #[test]
    fn stored_values_have_the_type_of_the_buffer() {
        assert!(complaint(&store(0, 1, Ty::F64)).contains("stores Some(F64)"));
    }

    #[test]
    fn what_is_stored_as_bf16_has_been_rounded() {
        let mut program = store(0, 1, Ty::F32);
        program.buffers[0].elem = Elem::Bf16;
        assert_eq!(verify(&program), Ok(()));
        let Stmt::Nest(nest) = &mut program.routines[0].levels[0].groups[0].body[0] else { panic!("a nest") };
        nest.body.insts[0] = Inst::Float(0.1, Ty::F32);
        assert!(complaint(&program).contains("without rounding it"));
    }

    #[test]
    fn buffers_lie_in_the_arena() {
        let mut program = store(0, 1, Ty::F32);
        program.arena_bytes = 64;
        assert!(complaint(&program).contains("buffer b"));
    }

    #[test]
    fn buffers_of_a_statement_overlap_entry_by_entry() {
        let copied = |offset: usize, from: i64| {
            let mut program = store(0, 1, Ty::F32);
            program.buffers.push(Buffer { name: "c".into(), offset, ..program.buffers[0].clone() });
            let Stmt::Nest(nest) = &mut program.routines[0].levels[0].groups[0].body[0] else {
                panic!("a nest")
            };
            let index = Affine { base: from, terms: vec![(LoopVar(0), 1)], task: 0 };
            nest.body.insts[0] = Inst::Load(BufferId(1), index);
            program.arena_bytes = 256;
            program
        };
        assert_eq!(verify(&copied(0, 0)), Ok(()));
        assert_eq!(verify(&copied(128, 1)), Ok(()));
        assert!(complaint(&copied(0, 1)).contains("@1 and @0 overlap"));
        assert!(complaint(&copied(64, 0)).contains("@1 and @0 overlap"));
    }

    #[test]
    fn the_dump_shows_loops_and_accesses() {
        let dump = store(1, 2, Ty::F32).to_string();
        assert!(dump.contains("for i0<chunk vector"), "{dump}");
        assert!(dump.contains("@0[1 + 2*i0] = %0"), "{dump}");
    }
}

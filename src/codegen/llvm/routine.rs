//! Functions of routines: a task's number picks its group, and the group's calls of pieces are made with it.
//!
//! Which they are stands in constant tables, so that the time to compile a deep network does not grow with its calls. The last
//! chunk of a group, if it is shorter, has calls of its own: all trip counts of pieces are constants.

use inkwell::IntPredicate;
use inkwell::module::Linkage;
use inkwell::values::{FunctionValue, InstructionOpcode, IntValue, PointerValue};

use super::emit::{Emitter, must, starts};
use super::piece;
use crate::codegen::pieces::{Call, GroupCalls};
use crate::loops::Routine;

/// Name of a routine's symbol.
pub fn symbol(routine: &str) -> String {
    format!("blk_routine_{routine}")
}

/// Emits a routine, whose groups make `calls` level by level.
pub fn emit(emitter: &Emitter, routine: &Routine, calls: &[Vec<GroupCalls>]) {
    let (pointer, long) = (emitter.pointer_type(), emitter.context.i64_type().into());
    let int = emitter.context.i32_type().into();
    let function = emitter.function(&symbol(&routine.name), &[pointer, int, pointer], Linkage::External);
    emitter.begin(function);
    let spans = spans(routine, calls);
    if !spans.is_empty() {
        let param = |number| function.get_nth_param(number).expect("three parameters");
        let task = emitter.cast(InstructionOpcode::ZExt, param(1), long).into_int_value();
        let [base, scratch] = [0, 2].map(|number| param(number).into_pointer_value());
        Tables::new(emitter, &spans).call(emitter, base, task, scratch);
    }
    emitter.finish();
}

/// Tasks that make the same calls, up to the next such.
struct Span<'a> {
    /// The number of the first one in the routine.
    first: i64,
    /// That of the first one of its group.
    group: i64,
    calls: &'a [Call],
}

/// In the order of the tasks.
fn spans<'a>(routine: &Routine, calls: &'a [Vec<GroupCalls>]) -> Vec<Span<'a>> {
    let groups = routine.levels.iter().flat_map(|level| &level.groups);
    let (mut spans, mut group) = (Vec::new(), 0);
    for (tasks, calls) in groups.map(|group| group.tasks() as i64).zip(calls.iter().flatten()) {
        spans.push(Span { first: group, group, calls: &calls.full });
        if let Some(last) = &calls.last {
            spans.push(Span { first: group + tasks - 1, group, calls: last });
        }
        group += tasks;
    }
    spans
}

/// What a routine's function looks up.
struct Tables<'ctx> {
    /// By span. Behind the last one there are more, up to a power of two, that no task lies in.
    firsts: PointerValue<'ctx>,
    groups: PointerValue<'ctx>,
    calls: PointerValue<'ctx>,
    spans: usize,
    /// By call: the piece's function, and its first argument.
    pieces: PointerValue<'ctx>,
    arguments: PointerValue<'ctx>,
    /// Of all calls.
    entries: PointerValue<'ctx>,
}

impl<'ctx> Tables<'ctx> {
    fn new(emitter: &Emitter<'ctx>, spans: &[Span]) -> Self {
        let calls = || spans.iter().flat_map(|span| span.calls);
        let length = (spans.len() + 1).next_power_of_two();
        let by_span = |name, of: &mut dyn Iterator<Item = i64>, behind: i64| {
            emitter.table(name, of.chain(std::iter::repeat(behind)).take(length))
        };
        let mut of_calls = starts(spans.iter().map(|span| span.calls.len()));
        let of_arguments = starts(calls().map(|call| call.arguments.len()));
        let pieces: Vec<FunctionValue> = calls().map(|call| piece::declare(emitter, call.piece)).collect();
        Tables {
            firsts: by_span("firsts", &mut spans.iter().map(|span| span.first), i64::MAX),
            groups: by_span("groups", &mut spans.iter().map(|span| span.group), 0),
            calls: by_span("calls", &mut of_calls, calls().count() as i64),
            spans: length,
            pieces: emitter.functions("pieces", &pieces),
            arguments: emitter.table("arguments", of_arguments),
            entries: emitter
                .table("entries", calls().flat_map(|call| &call.arguments).map(|&entry| entry as i64)),
        }
    }

    /// Makes the calls of the span that a task lies in.
    fn call(
        &self,
        emitter: &Emitter<'ctx>,
        base: PointerValue<'ctx>,
        task: IntValue<'ctx>,
        scratch: PointerValue<'ctx>,
    ) {
        let pointer = emitter.pointer_type();
        let get = |table, index| emitter.look_up(table, index);
        let span = self.span(emitter, |span| get(self.firsts, span), task);
        let (first, end) = (get(self.calls, span), get(self.calls, emitter.add(span, emitter.i64(1))));
        let difference = |a, b| must(emitter.builder.build_int_sub(a, b, ""));
        let own = difference(task, get(self.groups, span));
        emitter.repeat_any(difference(end, first), |number| {
            let call = emitter.add(first, number);
            let function = emitter.load(pointer, emitter.element(pointer, self.pieces, call), 8, None);
            let arguments =
                emitter.element(emitter.context.i64_type().into(), self.entries, get(self.arguments, call));
            let operands = [base.into(), own.into(), scratch.into(), arguments.into()];
            emitter.call_at(piece::ty(emitter), function.into_pointer_value(), &operands);
        });
    }

    /// The last span that begins at the task or before it, found by halves.
    fn span(
        &self,
        emitter: &Emitter<'ctx>,
        first: impl Fn(IntValue<'ctx>) -> IntValue<'ctx>,
        task: IntValue<'ctx>,
    ) -> IntValue<'ctx> {
        let halves = (0..self.spans.ilog2()).rev().map(|power| emitter.i64(1 << power));
        halves.fold(emitter.i64(0), |span, half| {
            let later = emitter.add(span, half);
            let begun = emitter.compare_ints(IntPredicate::ULE, first(later).into(), task.into());
            emitter.select(begun, later.into(), span.into()).into_int_value()
        })
    }
}

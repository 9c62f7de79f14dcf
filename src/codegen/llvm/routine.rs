//! Functions of routines: a task's number picks its group, and the group's calls of pieces are made with it.
//!
//! The last chunk of a group, if it is shorter, has calls of its own, so that all trip counts are constants. A routine is one
//! function however many levels it has: code generators have passes by the hundred that begin anew with every function.

use inkwell::IntPredicate;
use inkwell::module::Linkage;
use inkwell::values::{InstructionOpcode, IntValue, PointerValue};

use super::emit::{Emitter, must};
use super::piece;
use crate::codegen::pieces::{Call, GroupCalls};
use crate::loops::Routine;

/// Name of a routine's symbol.
pub fn symbol(routine: &str) -> String {
    format!("blk_routine_{routine}")
}

/// Emits a routine, whose groups make `calls` level by level.
pub fn emit(emitter: &Emitter, routine: &Routine, calls: &[Vec<GroupCalls>]) {
    let pointer = emitter.pointer_type();
    let int = emitter.context.i32_type().into();
    let function = emitter.function(&symbol(&routine.name), &[pointer, int, pointer], Linkage::External);
    emitter.begin(function);
    let param = |number| function.get_nth_param(number).expect("three parameters");
    let task = emitter.cast(InstructionOpcode::ZExt, param(1), emitter.context.i64_type().into());
    Task {
        emitter,
        base: param(0).into_pointer_value(),
        number: task.into_int_value(),
        scratch: param(2).into_pointer_value(),
    }
    .one_of(&spans(routine, calls));
}

/// Tasks that make the same calls, up to the next such.
struct Span<'a> {
    /// The number of the first one in the routine.
    first: i64,
    /// That of the group's first one.
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

/// A task that has come to a routine.
struct Task<'e, 'ctx> {
    emitter: &'e Emitter<'ctx>,
    base: PointerValue<'ctx>,
    /// In the routine.
    number: IntValue<'ctx>,
    scratch: PointerValue<'ctx>,
}

impl<'ctx> Task<'_, 'ctx> {
    /// Makes the calls of the span that the task lies in and returns.
    fn one_of(&self, spans: &[Span]) {
        let emitter = self.emitter;
        let (before, after) = spans.split_at(spans.len() / 2);
        let [middle, ..] = after else { return emitter.finish() };
        if before.is_empty() {
            middle.calls.iter().for_each(|call| self.call(call, middle.group));
            return emitter.finish();
        }
        let function = emitter.current_function();
        let blocks = ["before", "after"].map(|name| emitter.context.append_basic_block(function, name));
        let first = emitter.i64(middle.first).into();
        let earlier = emitter.compare_ints(IntPredicate::ULT, self.number.into(), first).into_int_value();
        must(emitter.builder.build_conditional_branch(earlier, blocks[0], blocks[1]));
        for (block, spans) in blocks.into_iter().zip([before, after]) {
            emitter.builder.position_at_end(block);
            self.one_of(spans);
        }
    }

    /// `group` is the number of its group's first task.
    fn call(&self, call: &Call, group: i64) {
        let emitter = self.emitter;
        let function = piece::declare(emitter, call.piece);
        let own = must(emitter.builder.build_int_sub(self.number, emitter.i64(group), ""));
        let arguments = self.arguments(&call.arguments);
        emitter.call(function, &[self.base.into(), own.into(), self.scratch.into(), arguments.into()]);
    }

    /// A constant table.
    fn arguments(&self, entries: &[u64]) -> PointerValue<'ctx> {
        let emitter = self.emitter;
        if entries.is_empty() {
            return emitter.context.ptr_type(inkwell::AddressSpace::default()).const_null();
        }
        emitter.table("arguments", entries.iter().map(|&entry| entry as i64))
    }
}

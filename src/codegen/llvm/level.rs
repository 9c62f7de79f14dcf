//! Level functions: a task's number picks its group, and the group's calls of pieces are made with it.
//!
//! The last chunk of a group, if it is shorter, has calls of its own, so that all trip counts are constants.

use inkwell::IntPredicate;
use inkwell::module::Linkage;
use inkwell::values::{FunctionValue, InstructionOpcode, IntValue, PointerValue};

use super::emit::{Emitter, must};
use super::piece;
use crate::codegen::pieces::{Call, GroupCalls};
use crate::loops::{Level, Range};

/// The positions of a task.
#[derive(Clone, Copy)]
pub struct Chunk<'ctx> {
    /// First position, i64.
    pub start: IntValue<'ctx>,
    pub length: u64,
}

impl<'ctx> Chunk<'ctx> {
    /// First position of a loop.
    pub fn start_of(&self, emitter: &Emitter<'ctx>, range: Range) -> IntValue<'ctx> {
        match range {
            Range::Full(_) => emitter.i64(0),
            Range::Chunk => self.start,
        }
    }

    /// Trip count of a loop.
    pub fn length(&self, range: Range) -> u64 {
        match range {
            Range::Full(extent) => extent as u64,
            Range::Chunk => self.length,
        }
    }
}

/// Name of a level function's symbol.
pub fn symbol(routine: &str, level: usize) -> String {
    format!("blk_{routine}_{level}")
}

/// Emits a level, whose groups make `calls`, and returns its function.
pub fn emit<'ctx>(
    emitter: &Emitter<'ctx>,
    level: &Level,
    calls: &[GroupCalls],
    name: &str,
) -> FunctionValue<'ctx> {
    let pointer = emitter.pointer_type();
    let int = emitter.context.i32_type().into();
    let function = emitter.function(name, &[pointer, int, pointer], Linkage::External);
    emitter.begin(function);
    let param = |number| function.get_nth_param(number).expect("three parameters");
    let task = emitter.cast(InstructionOpcode::ZExt, param(1), emitter.context.i64_type().into());
    let mut first = 0;
    for (group, calls) in level.groups.iter().zip(calls) {
        let own = must(emitter.builder.build_int_sub(task.into_int_value(), emitter.i64(first), ""));
        let site = Task {
            emitter,
            base: param(0).into_pointer_value(),
            own,
            scratch: param(2).into_pointer_value(),
        };
        site.group(group.tasks() as i64, calls);
        first += group.tasks() as i64;
    }
    emitter.finish();
    function
}

/// A task that has come to a level.
struct Task<'e, 'ctx> {
    emitter: &'e Emitter<'ctx>,
    base: PointerValue<'ctx>,
    /// Counted from the first task of the group at hand.
    own: IntValue<'ctx>,
    scratch: PointerValue<'ctx>,
}

impl<'ctx> Task<'_, 'ctx> {
    /// Makes the group's calls if the task is one of its.
    fn group(&self, tasks: i64, calls: &GroupCalls) {
        let full = tasks - i64::from(calls.last.is_some());
        self.when(IntPredicate::ULT, full, &calls.full);
        if let Some(last) = &calls.last {
            self.when(IntPredicate::EQ, full, last);
        }
    }

    fn when(&self, op: IntPredicate, number: i64, calls: &[Call]) {
        let emitter = self.emitter;
        let own = must(emitter.builder.build_int_compare(op, self.own, emitter.i64(number), ""));
        emitter.when(own, || calls.iter().for_each(|call| self.call(call)));
    }

    fn call(&self, call: &Call) {
        let function = piece::declare(self.emitter, call.piece);
        let arguments = self.arguments(&call.arguments);
        let own = self.own.into();
        self.emitter.call(function, &[self.base.into(), own, self.scratch.into(), arguments.into()]);
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

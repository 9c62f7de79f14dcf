//! Level functions: a task's number picks its group, and within the group its chunk.
//!
//! Each group becomes an internal function for full chunks and, if the last chunk is shorter, a second one for that,
//! so that all trip counts are constants.

use inkwell::IntPredicate;
use inkwell::module::Linkage;
use inkwell::values::{FunctionValue, InstructionOpcode, IntValue, PointerValue};

use super::emit::{Emitter, must};
use super::scalars::Site;
use super::{gemm, nest, orthonormalize};
use crate::loops::{Group, Level, Program, Range, Stmt};

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

/// Emits a level and returns its function.
pub fn emit<'ctx>(
    emitter: &Emitter<'ctx>,
    program: &Program,
    level: &Level,
    name: &str,
) -> FunctionValue<'ctx> {
    let groups: Vec<GroupCode> = level
        .groups
        .iter()
        .enumerate()
        .map(|(number, group)| GroupCode::emit(emitter, program, group, &format!("{name}_group{number}")))
        .collect();
    let pointer = emitter.pointer_type();
    let int = emitter.context.i32_type().into();
    let function = emitter.function(name, &[pointer, int, pointer], Linkage::External);
    emitter.begin(function);
    let task = function.get_nth_param(1).expect("task").into_int_value();
    let task = emitter.cast(InstructionOpcode::ZExt, task.into(), emitter.context.i64_type().into());
    let mut first = 0;
    for (code, group) in groups.iter().zip(&level.groups) {
        code.dispatch(emitter, function, task.into_int_value(), first);
        first += group.tasks() as i64;
    }
    emitter.finish();
    function
}

struct GroupCode<'ctx> {
    tasks: i64,
    /// For all tasks, or all but the last.
    full: FunctionValue<'ctx>,
    last: Option<FunctionValue<'ctx>>,
}

impl<'ctx> GroupCode<'ctx> {
    fn emit(emitter: &Emitter<'ctx>, program: &Program, group: &Group, name: &str) -> Self {
        let (tasks, rest) = (group.tasks(), group.extent % group.chunk);
        let short = if tasks == 1 { group.extent } else { group.chunk };
        let full = emit_body(emitter, program, group, short, name);
        let last = (tasks > 1 && rest > 0)
            .then(|| emit_body(emitter, program, group, rest, &format!("{name}_last")));
        GroupCode { tasks: tasks as i64, full, last }
    }

    /// Calls the code if the task is one of this group, whose first task is `first`.
    fn dispatch(
        &self,
        emitter: &Emitter<'ctx>,
        level: FunctionValue<'ctx>,
        task: IntValue<'ctx>,
        first: i64,
    ) {
        let compare = |op, a, b: i64| must(emitter.builder.build_int_compare(op, a, emitter.i64(b), ""));
        let own = must(emitter.builder.build_int_sub(task, emitter.i64(first), ""));
        let [base, scratch] = [0, 2].map(|number| level.get_nth_param(number).expect("three parameters"));
        let run = |function| emitter.call(function, &[base, own.into(), scratch]);
        let full_tasks = self.tasks - i64::from(self.last.is_some());
        emitter.when(compare(IntPredicate::ULT, own, full_tasks), || run(self.full));
        if let Some(last) = self.last {
            emitter.when(compare(IntPredicate::EQ, own, full_tasks), || run(last));
        }
    }
}

fn emit_body<'ctx>(
    emitter: &Emitter<'ctx>,
    program: &Program,
    group: &Group,
    length: usize,
    name: &str,
) -> FunctionValue<'ctx> {
    let pointer = emitter.pointer_type();
    let int = emitter.context.i64_type().into();
    let function = emitter.function(name, &[pointer, int, pointer], Linkage::Internal);
    function.add_attribute(inkwell::attributes::AttributeLoc::Function, emitter.enum_attribute("noinline"));
    for number in [0, 2] {
        let place = inkwell::attributes::AttributeLoc::Param(number);
        function.add_attribute(place, emitter.enum_attribute("noalias"));
    }
    emitter.begin(function);
    let param = |number| function.get_nth_param(number).expect("three parameters");
    let single = group.tasks() == 1;
    let task = if single { emitter.i64(0) } else { param(1).into_int_value() };
    let chunk = Chunk { start: emitter.scale(task, group.chunk as i64), length: length as u64 };
    let base: PointerValue = param(0).into_pointer_value();
    let scratch: PointerValue = param(2).into_pointer_value();
    let site = Site { buffers: &program.buffers, base, task, loops: Vec::new(), vector: None, lanes: 1 };
    for stmt in &group.body {
        match stmt {
            Stmt::Nest(nest) => nest::emit(emitter, nest, chunk, site.clone()),
            Stmt::Gemm(gemm) => gemm::emit(emitter, gemm, chunk, site.clone(), scratch),
            Stmt::Orthonormalize { buffer, rows, cols } => {
                orthonormalize::emit(emitter, &site, *buffer, *rows, *cols, scratch);
            }
        }
    }
    emitter.finish();
    function
}

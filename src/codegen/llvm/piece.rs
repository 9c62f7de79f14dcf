//! The functions of pieces: `(base, task, scratch, arguments)`.

use std::collections::HashMap;

use blk_runtime::manifest::NOTE_BYTES;
use inkwell::attributes::AttributeLoc;
use inkwell::module::Linkage;
use inkwell::types::FunctionType;
use inkwell::values::{FunctionValue, IntValue, PointerValue};

use super::emit::Emitter;
use super::scalars::Site;
use super::{gemm, nest, orthonormalize};
use crate::codegen::pieces::{Piece, Pieces};
use crate::loops::{BufferId, Range, Stmt};

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

/// The function of a piece, which need not have a body yet.
pub fn declare<'ctx>(emitter: &Emitter<'ctx>, piece: usize) -> FunctionValue<'ctx> {
    let name = symbol(piece);
    if let Some(known) = emitter.module.get_function(&name) {
        return known;
    }
    let function = emitter.function_of(&name, ty(emitter), Linkage::External);
    for number in [0, 2, 3] {
        function.add_attribute(AttributeLoc::Param(number), emitter.enum_attribute("noalias"));
    }
    function
}

/// Of a piece's function.
pub fn ty<'ctx>(emitter: &Emitter<'ctx>) -> FunctionType<'ctx> {
    let (pointer, int) = (emitter.pointer_type(), emitter.context.i64_type().into());
    emitter.function_type(&[pointer, int, pointer, pointer])
}

/// Name of a piece's function.
pub fn symbol(piece: usize) -> String {
    format!("blk_piece_{piece}")
}

/// Emits the body of a piece.
pub fn emit<'ctx>(emitter: &Emitter<'ctx>, pieces: &Pieces, number: usize) -> FunctionValue<'ctx> {
    let (function, piece) = (declare(emitter, number), &pieces.list[number]);
    emitter.begin(function);
    let param = |number| function.get_nth_param(number).expect("four parameters");
    let [base, scratch, arguments] = [0, 2, 3].map(|number| param(number).into_pointer_value());
    let single = piece.frame.chunk == 0;
    let task = if single { emitter.i64(0) } else { param(1).into_int_value() };
    let start = if single { task } else { emitter.scale(task, piece.frame.chunk as i64) };
    let chunk = Chunk { start, length: piece.frame.length };
    let moved = moved(emitter, pieces, piece, base, arguments);
    let site = Site {
        buffers: &pieces.buffers,
        base,
        moved: &moved,
        task,
        loops: vec![],
        vector: None,
        lanes: 1,
        jammed: &[],
    };
    match &piece.stmt {
        Stmt::Nest(nest) => nest::emit(emitter, nest, chunk, site),
        Stmt::Gemm(gemm) => gemm::emit(emitter, gemm, chunk, site, scratch),
        Stmt::Orthonormalize { buffer, rows, cols } => {
            gemm::kept::wipe(emitter, scratch);
            let scratch = emitter.offset(scratch, NOTE_BYTES);
            orthonormalize::emit(emitter, &site, *buffer, *rows, *cols, scratch);
        }
    }
    emitter.finish();
    function
}

/// Where buffers lie that move, and the table of arguments.
fn moved<'ctx>(
    emitter: &Emitter<'ctx>,
    pieces: &Pieces,
    piece: &Piece,
    base: PointerValue<'ctx>,
    arguments: PointerValue<'ctx>,
) -> HashMap<BufferId, PointerValue<'ctx>> {
    let moving = piece.moving.iter().map(|&(buffer, slot)| {
        (buffer, emitter.behind(base, emitter.look_up(arguments, emitter.i64(slot as i64))))
    });
    moving.chain(pieces.tables().map(|table| (table, arguments))).collect()
}

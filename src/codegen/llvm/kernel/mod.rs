//! Micro-kernels: a tile of C from a panel of A and one of B. One function per kind of tile, shared by all GEMMs of
//! the module that need it.

mod amx;
mod tile;
mod vector;

use inkwell::types::BasicTypeEnum;
use inkwell::values::{FunctionValue, PointerValue};

use super::emit::Emitter;
pub use amx::{configure, release};
pub use tile::{Tiles, shapes};
pub use vector::{Product, Vectors};

/// Those of a kernel's function `(a, b, c, steps, more)`.
fn parameters<'ctx>(emitter: &Emitter<'ctx>) -> [BasicTypeEnum<'ctx>; 5] {
    let pointer = emitter.pointer_type();
    let (int, bit) = (emitter.context.i64_type().into(), emitter.context.bool_type().into());
    [pointer, pointer, pointer, int, bit]
}

/// Those of the function `(a, b, c, blocks, a_offsets, b_offsets)` of a kernel that goes through a list of blocks.
fn listed_parameters<'ctx>(emitter: &Emitter<'ctx>) -> [BasicTypeEnum<'ctx>; 6] {
    let (pointer, int) = (emitter.pointer_type(), emitter.context.i64_type().into());
    [pointer, pointer, pointer, int, pointer, pointer]
}

fn listed_name(kernel: &str, length: u64, more: bool) -> String {
    format!("{kernel}_by_{length}{}", if more { "_more" } else { "" })
}

fn listed_c<'ctx>(function: FunctionValue<'ctx>) -> PointerValue<'ctx> {
    function.get_nth_param(2).expect("six parameters").into_pointer_value()
}

/// Visits the operands of every block of such a function's list.
fn for_listed<'ctx>(
    emitter: &Emitter<'ctx>,
    function: FunctionValue<'ctx>,
    visit: impl FnOnce([PointerValue<'ctx>; 2]),
) {
    let pointer = |number| function.get_nth_param(number).expect("six parameters").into_pointer_value();
    let blocks = function.get_nth_param(3).expect("six parameters").into_int_value();
    emitter.repeat(blocks, |block| {
        visit(
            [(0, 4), (1, 5)]
                .map(|(base, table)| emitter.behind(pointer(base), emitter.look_up(pointer(table), block))),
        );
    });
}

/// The function of a kernel, whose third parameter is C.
fn define<'ctx>(
    emitter: &Emitter<'ctx>,
    name: &str,
    params: &[BasicTypeEnum<'ctx>],
    body: impl FnOnce(FunctionValue<'ctx>),
) -> FunctionValue<'ctx> {
    emitter.define(name, params, &[2], body)
}

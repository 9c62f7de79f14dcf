//! Micro-kernels: a tile of C from a panel of A and one of B. One function per kind of tile, shared by all GEMMs of
//! the module that need it.

mod amx;
mod tile;
mod vector;

use inkwell::types::BasicTypeEnum;
use inkwell::values::FunctionValue;

use super::emit::Emitter;
pub use amx::{configure, release};
pub use tile::Tiles;
pub use vector::{Product, Vectors};

/// Those of a kernel's function `(a, b, c, steps, more)`.
fn parameters<'ctx>(emitter: &Emitter<'ctx>) -> [BasicTypeEnum<'ctx>; 5] {
    let pointer = emitter.pointer_type();
    let (int, bit) = (emitter.context.i64_type().into(), emitter.context.bool_type().into());
    [pointer, pointer, pointer, int, bit]
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

//! Micro-kernels: a tile of C from a panel of A and one of B. One function per kind of tile, shared by all GEMMs of
//! the module that need it.

mod amx;
mod tile;
mod vector;

use inkwell::attributes::AttributeLoc;
use inkwell::module::Linkage;
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

/// The function of the module of that name, which is not inlined; `body` emits it unless it is known already. Emission
/// goes on where it was.
fn define<'ctx>(
    emitter: &Emitter<'ctx>,
    name: &str,
    params: &[BasicTypeEnum<'ctx>],
    body: impl FnOnce(FunctionValue<'ctx>),
) -> FunctionValue<'ctx> {
    if let Some(known) = emitter.module.get_function(name) {
        return known;
    }
    let here = emitter.builder.get_insert_block().expect("emission has begun");
    let function = emitter.function(name, params, Linkage::Internal);
    function.add_attribute(AttributeLoc::Function, emitter.enum_attribute("noinline"));
    function.add_attribute(AttributeLoc::Param(2), emitter.enum_attribute("noalias"));
    emitter.begin(function);
    body(function);
    emitter.finish();
    emitter.builder.position_at_end(here);
    function
}

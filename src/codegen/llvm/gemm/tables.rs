//! Tables of numbers that the code of a GEMM reads, as constants of the module.

use inkwell::module::Linkage;
use inkwell::types::BasicType;
use inkwell::values::{BasicValue, IntValue, PointerValue};

use super::super::emit::Emitter;

/// Numbers by index: itself a constant where they are all the same.
pub enum Table<'ctx> {
    Same(IntValue<'ctx>),
    Different(PointerValue<'ctx>),
}

impl<'ctx> Table<'ctx> {
    pub fn new(emitter: &Emitter<'ctx>, numbers: impl IntoIterator<Item = i64>) -> Self {
        let values: Vec<IntValue> = numbers.into_iter().map(|number| emitter.i64(number)).collect();
        match values.first() {
            None => return Table::Same(emitter.i64(0)),
            Some(&first) if values.iter().all(|&value| value == first) => return Table::Same(first),
            _ => (),
        }
        Table::Different(Self::constant(emitter, &values))
    }

    /// Numbers that the kernel walks itself.
    pub fn in_memory(emitter: &Emitter<'ctx>, numbers: impl IntoIterator<Item = i64>) -> PointerValue<'ctx> {
        let values: Vec<IntValue> = numbers.into_iter().map(|number| emitter.i64(number)).collect();
        Self::constant(emitter, &values)
    }

    fn constant(emitter: &Emitter<'ctx>, values: &[IntValue<'ctx>]) -> PointerValue<'ctx> {
        let value = emitter.context.i64_type().const_array(values);
        let ty = value.as_basic_value_enum().get_type().as_basic_type_enum();
        let global = emitter.module.add_global(ty, None, "numbers");
        global.set_initializer(&value);
        global.set_constant(true);
        global.set_linkage(Linkage::Private);
        global.set_unnamed_addr(true);
        global.as_pointer_value()
    }

    pub fn get(&self, emitter: &Emitter<'ctx>, index: IntValue<'ctx>) -> IntValue<'ctx> {
        match self {
            Table::Same(value) => *value,
            Table::Different(table) => {
                let int = emitter.context.i64_type().into();
                emitter.load(int, emitter.element(int, *table, index), 8, None).into_int_value()
            }
        }
    }
}

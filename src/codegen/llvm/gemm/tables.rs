//! Tables of numbers that the code of a GEMM reads, as constants of the module.

use inkwell::values::{IntValue, PointerValue};

use super::super::emit::Emitter;

/// Numbers by index: itself a constant where they are all the same.
pub enum Table<'ctx> {
    Same(IntValue<'ctx>),
    Different(PointerValue<'ctx>),
}

impl<'ctx> Table<'ctx> {
    pub fn new(emitter: &Emitter<'ctx>, numbers: impl IntoIterator<Item = i64>) -> Self {
        let numbers: Vec<i64> = numbers.into_iter().collect();
        match numbers.split_first() {
            None => Table::Same(emitter.i64(0)),
            Some((&first, rest)) if rest.iter().all(|&number| number == first) => {
                Table::Same(emitter.i64(first))
            }
            _ => Table::Different(emitter.table("numbers", numbers)),
        }
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

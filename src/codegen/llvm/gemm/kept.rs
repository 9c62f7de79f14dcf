//! What a thread leaves packed for its next task of the same level: an operand that every task reads whole. A note at the start
//! of scratch memory says what it is: the function that has packed it, and where the operand lies. Who runs tasks wipes it between
//! levels; a function that packs something else overwrites it.

use inkwell::IntPredicate;
use inkwell::values::{IntValue, PointerValue};

use super::GemmEmitter;
use super::plan::Kept;
use crate::codegen::llvm::emit::{Emitter, must};

/// Says that scratch memory is about to be used for something else.
pub fn wipe<'ctx>(emitter: &Emitter<'ctx>, scratch: PointerValue<'ctx>) {
    emitter.store(emitter.i64(0).into(), scratch, 8, None);
}

impl<'ctx> GemmEmitter<'_, 'ctx> {
    /// Packs an operand with `pack`, unless the thread's task before has left it packed.
    pub(super) fn keeping(&self, which: Kept, pack: impl FnOnce()) {
        if self.plan.kept != Some(which) {
            return pack();
        }
        let emitter = self.emitter;
        let operand = match which {
            Kept::A => self.gemm.a,
            Kept::B => self.gemm.b,
        };
        let int = |pointer: PointerValue<'ctx>| {
            must(emitter.builder.build_ptr_to_int(pointer, emitter.context.i64_type(), ""))
        };
        let function = int(emitter.current_function().as_global_value().as_pointer_value());
        let place = int(self.site.start(emitter, operand.buffer));
        let note = [function, place].map(Into::into);
        let places = [self.note, emitter.offset(self.note, 8)];
        let differs = |number: usize| -> IntValue<'ctx> {
            let noted = emitter.load(emitter.context.i64_type().into(), places[number], 8, None);
            emitter.compare_ints(IntPredicate::NE, noted, note[number]).into_int_value()
        };
        let fresh = must(emitter.builder.build_or(differs(0), differs(1), ""));
        emitter.when(fresh, || {
            pack();
            (0..2).for_each(|number| emitter.store(note[number], places[number], 8, None));
        });
    }
}

//! Square blocks of 32-bit entries, transposed in registers.

use inkwell::IntPredicate;
use inkwell::values::{IntValue, PointerValue, VectorValue};

use super::source::Source;
use crate::codegen::llvm::emit::{Emitter, Value, must};
use crate::loops::Ty;

/// A block of a source whose columns are contiguous along k, as many columns as a vector has lanes, and where its rows go.
pub(super) struct Square<'e, 'ctx> {
    /// Starts at the block.
    pub source: Source<'e, 'ctx>,
    /// The last column that exists where not all may.
    pub last: Option<IntValue<'ctx>>,
    /// Entries that exist along k; all without it.
    pub left: Option<IntValue<'ctx>>,
    pub to: PointerValue<'ctx>,
    /// Entries of 32 bits from row to row.
    pub padded: IntValue<'ctx>,
}

impl<'e, 'ctx> Square<'e, 'ctx> {
    /// A block of which so many columns exist, and so many entries are `left` along k.
    pub fn new(
        source: Source<'e, 'ctx>,
        (width, left): (u64, Option<IntValue<'ctx>>),
        (to, padded): (PointerValue<'ctx>, u64),
    ) -> Self {
        let emitter = source.emitter;
        let last = (width < source.lanes()).then(|| emitter.i64(width as i64 - 1));
        Square { source, last, left, to, padded: emitter.i64(padded as i64) }
    }

    /// Calls the function of that name, whose body `emit` makes of the block: blocks of panels of all widths share it, since LLVM
    /// takes long for their shuffles.
    pub fn call(&self, name: &str, emit: impl FnOnce(&Square<'_, 'ctx>)) {
        let emitter = self.source.emitter;
        let (pointer, int) = (emitter.pointer_type(), emitter.context.i64_type().into());
        let some = |bound: Option<_>, name| if bound.is_some() { name } else { "" };
        let name = format!("{name}{}{}", some(self.last, "_narrow"), some(self.left, "_rest"));
        let function = emitter.define(&name, &[pointer, pointer, int, int, int, int], &[0, 1], |function| {
            let param = |number| function.get_nth_param(number).expect("six parameters");
            let int = |number| param(number).into_int_value();
            let (start, along_width) = (param(0).into_pointer_value(), int(2));
            emit(&Square {
                source: Source { start, along_width, along_k: emitter.i64(1), ..self.source },
                last: self.last.map(|_| int(4)),
                left: self.left.map(|_| int(5)),
                to: param(1).into_pointer_value(),
                padded: int(3),
            });
        });
        let Source { start, along_width, .. } = self.source;
        let [last, left] = [self.last, self.left].map(|bound| bound.unwrap_or_else(|| emitter.i64(0)));
        let ints = [along_width, self.padded, last, left].map(Value::from);
        emitter.call(function, &[&[start.into(), self.to.into()], &ints[..]].concat());
    }

    /// Where the columns begin. Those that do not exist repeat the last one.
    pub fn columns(&self) -> Vec<PointerValue<'ctx>> {
        let emitter = self.source.emitter;
        let column = |number: u64| {
            let number = emitter.i64(number as i64);
            let Some(last) = self.last else { return self.source.at_width(self.source.start, number) };
            let exists = must(emitter.builder.build_int_compare(IntPredicate::ULT, number, last, ""));
            let number = emitter.select(exists.into(), number.into(), last.into());
            self.source.at_width(self.source.start, number.into_int_value())
        };
        (0..self.source.lanes()).map(column).collect()
    }

    /// Stores a row.
    pub fn store(&self, number: u64, row: Value<'ctx>) {
        let emitter = self.source.emitter;
        let entries = must(emitter.builder.build_int_mul(emitter.i64(number as i64), self.padded, ""));
        emitter.store(row, emitter.element(emitter.ty(Ty::I32, 1), self.to, entries), 4, None);
    }
}

/// As many vectors as each has lanes; by exchanging ever larger blocks off the diagonal (Eklundh).
pub fn transposed<'ctx>(emitter: &Emitter<'ctx>, rows: Vec<Value<'ctx>>) -> Vec<Value<'ctx>> {
    let mut rows: Vec<VectorValue> = rows.into_iter().map(Value::into_vector_value).collect();
    let lanes = rows.len() as u32;
    let mut distance = 1;
    while distance < lanes {
        let low: Vec<u32> = (0..lanes)
            .map(|lane| if lane & distance == 0 { lane } else { lanes + lane - distance })
            .collect();
        let high: Vec<u32> = (0..lanes)
            .map(|lane| if lane & distance == 0 { lane + distance } else { lanes + lane })
            .collect();
        for first in (0..lanes).filter(|row| row & distance == 0) {
            let (a, b) = (rows[first as usize], rows[(first + distance) as usize]);
            rows[first as usize] = emitter.shuffle(a, b, &low);
            rows[(first + distance) as usize] = emitter.shuffle(a, b, &high);
        }
        distance *= 2;
    }
    rows.into_iter().map(Value::from).collect()
}

//! Square blocks of 32-bit entries, transposed in registers.

use inkwell::IntPredicate;
use inkwell::values::{BasicValueEnum, InstructionOpcode, IntValue, PointerValue, VectorValue};

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

/// As many vectors of 32-bit entries as each has lanes; the result is of the same type. In each group of four lanes entries are
/// interleaved, then pairs, then whole groups are exchanged between ever more distant vectors: shuffles that processors have as
/// instructions without a table. Between these steps the vectors are opaque to LLVM's selector of instructions, which would try, at
/// several times the cost of all else, to merge shuffles with those before.
pub fn transposed<'ctx>(emitter: &Emitter<'ctx>, rows: Vec<Value<'ctx>>) -> Vec<Value<'ctx>> {
    let lanes = rows.len() as u32;
    let Some(ty) = rows.first().map(BasicValueEnum::get_type) else { return rows };
    let float = emitter.ty(Ty::F32, lanes);
    let cast = |row, to| emitter.cast(InstructionOpcode::BitCast, row, to);
    let opaque =
        |row: Value<'ctx>| emitter.intrinsic("llvm.arithmetic.fence", &[float], &[row]).into_vector_value();
    let mut rows: Vec<VectorValue> = rows.into_iter().map(|row| opaque(cast(row, float))).collect();
    for distance in (0..lanes.ilog2()).map(|step| 1 << step) {
        let [low, high] = halves(lanes, distance);
        for first in (0..lanes).filter(|row| row & distance == 0) {
            let [one, other] = [first, first + distance].map(|row| row as usize);
            let (a, b) = (rows[one], rows[other]);
            (rows[one], rows[other]) = (emitter.shuffle(a, b, &low), emitter.shuffle(a, b, &high));
        }
        rows = rows.into_iter().map(|row| opaque(row.into())).collect();
    }
    (0..lanes).map(|row| cast(rows[place(row, lanes) as usize].into(), ty)).collect()
}

/// Lanes of which processors interleave the entries, and which they move as a whole.
fn group(lanes: u32) -> u32 {
    lanes.min(4)
}

/// The lanes of two vectors, numbered one after the other, that go into the first and the second of them at this step.
fn halves(lanes: u32, distance: u32) -> [Vec<u32>; 2] {
    let (group, both) = (group(lanes), [0, lanes]);
    let interleaved = |half: u32| -> Vec<u32> {
        let starts = (half * group / 2..lanes).step_by(group as usize);
        let units = starts.flat_map(|start| (start..start + group / 2).step_by(distance as usize));
        units
            .flat_map(|unit| both.map(|vector| vector + unit))
            .flat_map(|from| from..from + distance)
            .collect()
    };
    let exchanged = |half: u32| -> Vec<u32> {
        let groups = |vector| (vector + half * group..vector + lanes).step_by(2 * group as usize);
        both.into_iter().flat_map(groups).flat_map(|from| from..from + group).collect()
    };
    [0, 1].map(|half| if distance < group { interleaved(half) } else { exchanged(half) })
}

/// The vector where a row has come to be: interleaving brings the lower half of a group first, hence columns 0, 2, 1, 3.
fn place(row: u32, lanes: u32) -> u32 {
    match group(lanes) {
        4 => row & !3 | (row & 1) << 1 | (row & 2) >> 1,
        _ => row,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_transpose_squares_of_all_sizes() {
        for lanes in [2, 4, 8, 16, 32] {
            let mut rows: Vec<Vec<u32>> =
                (0..lanes).map(|row| (0..lanes).map(|lane| row * lanes + lane).collect()).collect();
            for distance in (0..lanes.ilog2()).map(|step| 1 << step) {
                for first in (0..lanes).filter(|row| row & distance == 0) {
                    let [one, other] = [first, first + distance].map(|row| row as usize);
                    let both = [&rows[one][..], &rows[other]].concat();
                    let [low, high] = halves(lanes, distance)
                        .map(|half| half.iter().map(|&lane| both[lane as usize]).collect());
                    (rows[one], rows[other]) = (low, high);
                }
            }
            for row in 0..lanes {
                let column: Vec<u32> = (0..lanes).map(|lane| lane * lanes + row).collect();
                assert_eq!(rows[place(row, lanes) as usize], column, "row {row} of {lanes}");
            }
        }
    }
}

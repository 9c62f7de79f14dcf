//! Copies panels of operands into scratch memory in the order in which a kernel reads them.

use inkwell::IntPredicate;
use inkwell::attributes::AttributeLoc;
use inkwell::module::Linkage;
use inkwell::types::VectorType;
use inkwell::values::{FunctionValue, InstructionOpcode, IntValue, PointerValue, VectorValue};

use super::emit::{Emitter, must};
use crate::loops::Ty;

/// Copies a matrix `[k][width]` of any strides (in entries) into rows of `padded` entries. What lies behind `width`
/// becomes zero up to the next whole vector; up to one vector of rows behind the last may be overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    pub width: u64,
    pub padded: u64,
    pub k_stride: u64,
    pub stride: u64,
}

impl Copy {
    /// The function `(from, to, k)`, k ≥ 1.
    pub fn function<'ctx>(&self, emitter: &Emitter<'ctx>) -> FunctionValue<'ctx> {
        let Copy { width, padded, k_stride, stride } = self;
        let name = format!("pack_{width}_{padded}_{k_stride}_{stride}");
        if let Some(known) = emitter.module.get_function(&name) {
            return known;
        }
        let here = emitter.builder.get_insert_block().expect("emission has begun");
        let pointer = emitter.pointer_type();
        let int = emitter.context.i64_type().into();
        let function = emitter.function(&name, &[pointer, pointer, int], Linkage::Internal);
        function.add_attribute(AttributeLoc::Function, emitter.enum_attribute("noinline"));
        for number in [0, 1] {
            function.add_attribute(AttributeLoc::Param(number), emitter.enum_attribute("noalias"));
        }
        emitter.begin(function);
        let param = |number| function.get_nth_param(number).expect("three parameters");
        let copy = Body {
            emitter,
            copy: *self,
            from: param(0).into_pointer_value(),
            to: param(1).into_pointer_value(),
        };
        let k = param(2).into_int_value();
        match (self.stride, self.k_stride) {
            (1, _) => copy.rows(k),
            (_, 1) => copy.transpose(k),
            _ => copy.entries(k),
        }
        emitter.finish();
        emitter.builder.position_at_end(here);
        function
    }
}

struct Body<'e, 'ctx> {
    emitter: &'e Emitter<'ctx>,
    copy: Copy,
    from: PointerValue<'ctx>,
    to: PointerValue<'ctx>,
}

impl<'ctx> Body<'_, 'ctx> {
    fn entry(
        &self,
        base: PointerValue<'ctx>,
        index: IntValue<'ctx>,
        by: u64,
        plus: u64,
    ) -> PointerValue<'ctx> {
        let at =
            self.emitter.element(self.emitter.ty(Ty::F32, 1), base, self.emitter.scale(index, by as i64));
        self.emitter.offset(at, plus as usize * 4)
    }

    fn lanes(&self) -> u64 {
        u64::from(self.emitter.target.lanes())
    }

    /// First entries of the vectors that cover the width.
    fn vectors(&self) -> impl Iterator<Item = u64> + use<> {
        (0..self.copy.width).step_by(self.lanes() as usize)
    }

    /// Rows of both sides are contiguous.
    fn rows(&self, k: IntValue<'ctx>) {
        let lanes = self.lanes();
        let vector = self.emitter.ty(Ty::F32, lanes as u32);
        self.emitter.repeat(k, |step| {
            for first in self.vectors() {
                let left = (self.copy.width - first).min(lanes);
                let mask = (left < lanes).then(|| self.emitter.first_lanes(left as u32, lanes as u32));
                let from = self.entry(self.from, step, self.copy.k_stride, first);
                let row = self.emitter.load(vector, from, 4, mask);
                self.emitter.store(row, self.entry(self.to, step, self.copy.padded, first), 4, None);
            }
        });
    }

    /// Neither side helps: one entry at a time, zeros first.
    fn entries(&self, k: IntValue<'ctx>) {
        let float = self.emitter.ty(Ty::F32, 1);
        let vector = self.emitter.ty(Ty::F32, self.lanes() as u32);
        self.emitter.repeat(k, |step| {
            for first in self.vectors() {
                let to = self.entry(self.to, step, self.copy.padded, first);
                self.emitter.store(vector.const_zero(), to, 4, None);
            }
            let (from, to) = (
                self.entry(self.from, step, self.copy.k_stride, 0),
                self.entry(self.to, step, self.copy.padded, 0),
            );
            self.emitter.repeat(self.emitter.i64(self.copy.width as i64), |column| {
                let entry = self.emitter.load(float, self.entry(from, column, self.copy.stride, 0), 4, None);
                self.emitter.store(entry, self.entry(to, column, 1, 0), 4, None);
            });
        });
    }

    /// Columns of the source are contiguous along k: square blocks are transposed in registers.
    fn transpose(&self, k: IntValue<'ctx>) {
        let lanes = self.emitter.i64(self.lanes() as i64);
        let divide = |op| self.emitter.binop(op, k.into(), lanes.into()).into_int_value();
        let (full, rest) = (divide(InstructionOpcode::UDiv), divide(InstructionOpcode::URem));
        let positive = |count| {
            must(self.emitter.builder.build_int_compare(IntPredicate::NE, count, self.emitter.i64(0), ""))
        };
        self.emitter.when(positive(full), || {
            self.emitter.repeat(full, |block| self.blocks(block, None));
        });
        self.emitter.when(positive(rest), || self.blocks(full, Some(self.below(rest))));
    }

    /// Lanes before `count`.
    fn below(&self, count: IntValue<'ctx>) -> VectorValue<'ctx> {
        let lanes = self.lanes() as u32;
        let numbers: Vec<IntValue> = (0..lanes).map(|lane| self.emitter.i32(lane as i32)).collect();
        let int = self.emitter.ty(Ty::I32, 1);
        let count = self.emitter.cast(InstructionOpcode::Trunc, count.into(), int);
        let count = self.emitter.splat(count, lanes);
        let numbers = VectorType::const_vector(&numbers).into();
        self.emitter.compare_ints(IntPredicate::ULT, numbers, count).into_vector_value()
    }

    /// All square blocks of one vector of steps of k.
    fn blocks(&self, block: IntValue<'ctx>, mask: Option<VectorValue<'ctx>>) {
        let lanes = self.lanes();
        let vector = self.emitter.ty(Ty::F32, lanes as u32);
        for first in self.vectors() {
            let load = |column: u64| {
                if column >= self.copy.width {
                    return vector.const_zero().into_vector_value();
                }
                let from = self.entry(self.from, block, lanes, column * self.copy.stride);
                self.emitter.load(vector, from, 4, mask).into_vector_value()
            };
            let square: Vec<VectorValue> = (first..first + lanes).map(load).collect();
            for (step, row) in self.transposed(square).into_iter().enumerate() {
                let at = step as u64 * self.copy.padded + first;
                let to = self.entry(self.to, block, lanes * self.copy.padded, at);
                self.emitter.store(row.into(), to, 4, None);
            }
        }
    }

    /// Transposes by exchanging ever larger blocks off the diagonal (Eklundh).
    fn transposed(&self, mut rows: Vec<VectorValue<'ctx>>) -> Vec<VectorValue<'ctx>> {
        let lanes = self.lanes() as u32;
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
                rows[first as usize] = self.emitter.shuffle(a, b, &low);
                rows[(first + distance) as usize] = self.emitter.shuffle(a, b, &high);
            }
            distance *= 2;
        }
        rows
    }
}

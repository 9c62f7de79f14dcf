//! Copies panels of operands into scratch memory in the order in which a kernel reads them.

use inkwell::IntPredicate;
use inkwell::attributes::AttributeLoc;
use inkwell::module::Linkage;
use inkwell::types::VectorType;
use inkwell::values::{FunctionValue, InstructionOpcode, IntValue, PointerValue, VectorValue};

use super::emit::{Emitter, must};
use crate::loops::Ty;

/// Copies a matrix `[k][width]` into rows of `padded` entries. What lies behind `width` becomes zero up to the next
/// whole vector; up to one vector of rows behind the last may be overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    pub width: u64,
    pub padded: u64,
    /// Strides of the source in entries, along k and along the width.
    pub strides: (u64, u64),
}

impl Copy {
    /// Calls the function that copies `k` ≥ 1 rows; all copies of one width and kind share it.
    pub fn call<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        from: PointerValue<'ctx>,
        to: PointerValue<'ctx>,
        k: IntValue<'ctx>,
    ) {
        let [along_k, along_width] =
            [self.strides.0, self.strides.1].map(|stride| emitter.i64(stride as i64));
        let args = [from.into(), to.into(), k.into(), along_k.into(), along_width.into()];
        emitter.call(self.function(emitter), &args);
    }

    /// The function `(from, to, k, stride along k, stride along the width)`.
    fn function<'ctx>(&self, emitter: &Emitter<'ctx>) -> FunctionValue<'ctx> {
        let kind = match self.strides {
            (_, 1) => "rows",
            (1, _) => "transpose",
            _ => "entries",
        };
        let name = format!("pack_{kind}_{}_{}", self.width, self.padded);
        if let Some(known) = emitter.module.get_function(&name) {
            return known;
        }
        let here = emitter.builder.get_insert_block().expect("emission has begun");
        let pointer = emitter.pointer_type();
        let int = emitter.context.i64_type().into();
        let function = emitter.function(&name, &[pointer, pointer, int, int, int], Linkage::Internal);
        function.add_attribute(AttributeLoc::Function, emitter.enum_attribute("noinline"));
        for number in [0, 1] {
            function.add_attribute(AttributeLoc::Param(number), emitter.enum_attribute("noalias"));
        }
        emitter.begin(function);
        self.body(emitter, function, kind);
        emitter.finish();
        emitter.builder.position_at_end(here);
        function
    }

    fn body<'ctx>(&self, emitter: &Emitter<'ctx>, function: FunctionValue<'ctx>, kind: &str) {
        let param = |number| function.get_nth_param(number).expect("five parameters");
        let copy = Body {
            emitter,
            copy: *self,
            from: param(0).into_pointer_value(),
            to: param(1).into_pointer_value(),
            k_stride: param(3).into_int_value(),
            stride: param(4).into_int_value(),
        };
        let k = param(2).into_int_value();
        match kind {
            "rows" => copy.rows(k),
            "transpose" => copy.transpose(k),
            _ => copy.entries(k),
        }
    }
}

struct Body<'e, 'ctx> {
    emitter: &'e Emitter<'ctx>,
    copy: Copy,
    from: PointerValue<'ctx>,
    to: PointerValue<'ctx>,
    k_stride: IntValue<'ctx>,
    stride: IntValue<'ctx>,
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

    /// The source's entry, `by` a stride that is known when the code runs.
    fn source(
        &self,
        base: PointerValue<'ctx>,
        index: IntValue<'ctx>,
        by: IntValue<'ctx>,
    ) -> PointerValue<'ctx> {
        let index = must(self.emitter.builder.build_int_mul(index, by, ""));
        self.emitter.element(self.emitter.ty(Ty::F32, 1), base, index)
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
                let from = self.source(self.from, step, self.k_stride);
                let from = self.emitter.offset(from, first as usize * 4);
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
            let from = self.source(self.from, step, self.k_stride);
            let to = self.entry(self.to, step, self.copy.padded, 0);
            self.emitter.repeat(self.emitter.i64(self.copy.width as i64), |column| {
                let entry = self.emitter.load(float, self.source(from, column, self.stride), 4, None);
                self.emitter.store(entry, self.entry(to, column, 1, 0), 4, None);
            });
        });
    }

    /// Columns of the source are contiguous along k: square blocks are transposed in registers.
    fn transpose(&self, k: IntValue<'ctx>) {
        let lanes = self.emitter.i64(self.lanes() as i64);
        if self.emitter.target.vector_bits() == 512 {
            // Masks are free there: one loop serves all blocks, which keeps LLVM's time down.
            let below =
                must(self.emitter.builder.build_int_add(k, self.emitter.i64(self.lanes() as i64 - 1), ""));
            let count =
                self.emitter.binop(InstructionOpcode::UDiv, below.into(), lanes.into()).into_int_value();
            return self.emitter.repeat(count, |block| {
                let done = self.emitter.scale(block, self.lanes() as i64);
                let left = must(self.emitter.builder.build_int_sub(k, done, ""));
                self.blocks(block, Some(self.below(left)));
            });
        }
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
        let (full, rest) = (self.copy.width / lanes, self.copy.width % lanes);
        if full > 0 {
            self.emitter
                .repeat(self.emitter.i64(full as i64), |square| self.square(block, square, lanes, mask));
        }
        if rest > 0 {
            self.square(block, self.emitter.i64(full as i64), rest, mask);
        }
    }

    /// The `square`-th group of columns, of which `width` exist.
    fn square(
        &self,
        block: IntValue<'ctx>,
        square: IntValue<'ctx>,
        width: u64,
        mask: Option<VectorValue<'ctx>>,
    ) {
        let lanes = self.lanes();
        let vector = self.emitter.ty(Ty::F32, lanes as u32);
        let first = self.emitter.scale(square, lanes as i64);
        let from = self.source(self.entry(self.from, block, lanes, 0), first, self.stride);
        let load = |column: u64| {
            if column >= width {
                return vector.const_zero().into_vector_value();
            }
            let from = self.source(from, self.emitter.i64(column as i64), self.stride);
            self.emitter.load(vector, from, 4, mask).into_vector_value()
        };
        let rows: Vec<VectorValue> = (0..lanes).map(load).collect();
        let to = self.entry(self.entry(self.to, block, lanes * self.copy.padded, 0), first, 1, 0);
        for (step, row) in self.transposed(rows).into_iter().enumerate() {
            let to = self.emitter.offset(to, step * self.copy.padded as usize * 4);
            self.emitter.store(row.into(), to, 4, None);
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

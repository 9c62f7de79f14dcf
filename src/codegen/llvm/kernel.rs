//! The micro-kernel: a tile of C in registers, one outer product per step of k. One function per kind of tile,
//! shared by all GEMMs of the module that need it.

use inkwell::IntPredicate;
use inkwell::attributes::AttributeLoc;
use inkwell::module::Linkage;
use inkwell::values::{FunctionValue, InstructionOpcode, IntValue, PointerValue};

use super::emit::{Emitter, must};
use crate::loops::Ty;

/// Steps of k per turn of the loop.
const UNROLL: u64 = 4;

/// What a kernel is specialised to. Strides in entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    pub rows: u64,
    /// Vectors per row; a row of C in memory has exactly as many.
    pub vectors: u64,
    pub a_row: u64,
    pub a_k: u64,
    /// From one step of k to the next in B, whose columns are contiguous.
    pub b_k: u64,
}

impl Kernel {
    /// The kernel's function `(a, b, c, k, more)`: C = A·B over k ≥ 1 steps, or C += A·B if `more`.
    pub fn function<'ctx>(&self, emitter: &Emitter<'ctx>) -> FunctionValue<'ctx> {
        let Kernel { rows, vectors, a_row, a_k, b_k } = self;
        let name = format!("gemm_{rows}x{vectors}_{a_row}_{a_k}_{b_k}");
        if let Some(known) = emitter.module.get_function(&name) {
            return known;
        }
        let here = emitter.builder.get_insert_block().expect("emission has begun");
        let pointer = emitter.pointer_type();
        let (int, bit) = (emitter.context.i64_type().into(), emitter.context.bool_type().into());
        let function = emitter.function(&name, &[pointer, pointer, pointer, int, bit], Linkage::Internal);
        function.add_attribute(AttributeLoc::Function, emitter.enum_attribute("noinline"));
        function.add_attribute(AttributeLoc::Param(2), emitter.enum_attribute("noalias"));
        emitter.begin(function);
        self.body(emitter, function);
        emitter.finish();
        emitter.builder.position_at_end(here);
        function
    }

    fn body<'ctx>(&self, emitter: &Emitter<'ctx>, function: FunctionValue<'ctx>) {
        let param = |number| function.get_nth_param(number).expect("five parameters");
        let [a, b, c] = [0, 1, 2].map(|number| param(number).into_pointer_value());
        let (k, more) = (param(3).into_int_value(), param(4).into_int_value());
        let lanes = emitter.target.lanes();
        let vector = emitter.ty(Ty::F32, lanes);
        let sums: Vec<PointerValue> = (0..self.rows * self.vectors).map(|_| emitter.local(vector)).collect();
        for &sum in &sums {
            emitter.store(vector.const_zero(), sum, lanes * 4, None);
        }
        let c_entry = |number: usize| emitter.offset(c, number * lanes as usize * 4);
        emitter.when(more, || {
            for (number, &sum) in sums.iter().enumerate() {
                let before = emitter.load(vector, c_entry(number), lanes * 4, None);
                emitter.store(before, sum, lanes * 4, None);
            }
        });
        self.steps(emitter, [a, b], k, &sums);
        for (number, &sum) in sums.iter().enumerate() {
            let sum = emitter.load(vector, sum, lanes * 4, None);
            emitter.store(sum, c_entry(number), lanes * 4, None);
        }
    }

    /// Turns of [`UNROLL`] steps, then single steps.
    fn steps<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        operands: [PointerValue<'ctx>; 2],
        k: IntValue<'ctx>,
        sums: &[PointerValue<'ctx>],
    ) {
        let by = |op| emitter.binop(op, k.into(), emitter.i64(UNROLL as i64).into()).into_int_value();
        let (turns, rest) = (by(InstructionOpcode::UDiv), by(InstructionOpcode::URem));
        let positive =
            |count| must(emitter.builder.build_int_compare(IntPredicate::NE, count, emitter.i64(0), ""));
        emitter.when(positive(turns), || {
            emitter.repeat(turns, |turn| {
                let first = emitter.scale(turn, UNROLL as i64);
                (0..UNROLL).for_each(|step| self.step(emitter, operands, first, step, sums));
            });
        });
        let done = emitter.scale(turns, UNROLL as i64);
        emitter.when(positive(rest), || {
            emitter.repeat(rest, |step| self.step(emitter, operands, emitter.add(step, done), 0, sums));
        });
    }

    /// One outer product, at depth `first + step`.
    fn step<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        [a, b]: [PointerValue<'ctx>; 2],
        first: IntValue<'ctx>,
        step: u64,
        sums: &[PointerValue<'ctx>],
    ) {
        let lanes = emitter.target.lanes();
        let (float, vector) = (emitter.ty(Ty::F32, 1), emitter.ty(Ty::F32, lanes));
        let a = emitter.element(float, a, emitter.scale(first, self.a_k as i64));
        let b = emitter.element(float, b, emitter.scale(first, self.b_k as i64));
        let row_of_b: Vec<_> = (0..self.vectors)
            .map(|number| {
                let from = emitter.offset(b, ((step * self.b_k + number * u64::from(lanes)) * 4) as usize);
                emitter.load(vector, from, 4, None)
            })
            .collect();
        for row in 0..self.rows {
            let from = emitter.offset(a, ((step * self.a_k + row * self.a_row) * 4) as usize);
            let entry = emitter.splat(emitter.load(float, from, 4, None), lanes);
            for (number, column) in row_of_b.iter().enumerate() {
                let sum = sums[row as usize * self.vectors as usize + number];
                let before = emitter.load(vector, sum, lanes * 4, None);
                emitter.store(emitter.mul_add(entry, *column, before), sum, lanes * 4, None);
            }
        }
    }
}

//! The micro-kernel: a tile of C in registers, one outer product per step of k. One function per kind of tile,
//! shared by all GEMMs of the module that need it.

use inkwell::IntPredicate;
use inkwell::attributes::AttributeLoc;
use inkwell::module::Linkage;
use inkwell::types::BasicTypeEnum;
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
        let pointer = emitter.pointer_type();
        let (int, bit) = (emitter.context.i64_type().into(), emitter.context.bool_type().into());
        define(emitter, &name, &[pointer, pointer, pointer, int, bit], |function| {
            self.body(emitter, function)
        })
    }

    /// The kernel's function `(a, b, c, steps, a_offsets, b_offsets)`: C = A·B over steps ≥ 1, whose operands lie at
    /// the tables' offsets, in entries.
    pub fn stepped<'ctx>(&self, emitter: &Emitter<'ctx>) -> FunctionValue<'ctx> {
        let Kernel { rows, vectors, a_row, .. } = self;
        let name = format!("gemm_steps_{rows}x{vectors}_{a_row}");
        if let Some(known) = emitter.module.get_function(&name) {
            return known;
        }
        let pointer = emitter.pointer_type();
        let int = emitter.context.i64_type().into();
        let params = [pointer, pointer, pointer, int, pointer, pointer];
        define(emitter, &name, &params, |function| self.stepped_body(emitter, function))
    }

    fn stepped_body<'ctx>(&self, emitter: &Emitter<'ctx>, function: FunctionValue<'ctx>) {
        let pointer = |number| function.get_nth_param(number).expect("six parameters").into_pointer_value();
        let steps = function.get_nth_param(3).expect("six parameters").into_int_value();
        let int = emitter.context.i64_type().into();
        let sums = self.sums(emitter);
        emitter.repeat(steps, |step| {
            let operands = [(0, 4), (1, 5)].map(|(base, table)| {
                let offset = emitter.load(int, emitter.element(int, pointer(table), step), 8, None);
                emitter.element(emitter.ty(Ty::F32, 1), pointer(base), offset.into_int_value())
            });
            self.step(emitter, operands, 0, &sums);
        });
        self.write(emitter, &sums, pointer(2));
    }

    /// The tile in registers, zero.
    fn sums<'ctx>(&self, emitter: &Emitter<'ctx>) -> Vec<PointerValue<'ctx>> {
        let lanes = emitter.target.lanes();
        let vector = emitter.ty(Ty::F32, lanes);
        let sums: Vec<PointerValue> = (0..self.rows * self.vectors).map(|_| emitter.local(vector)).collect();
        for &sum in &sums {
            emitter.store(vector.const_zero(), sum, lanes * 4, None);
        }
        sums
    }

    fn write<'ctx>(&self, emitter: &Emitter<'ctx>, sums: &[PointerValue<'ctx>], c: PointerValue<'ctx>) {
        let lanes = emitter.target.lanes();
        for (number, &sum) in sums.iter().enumerate() {
            let sum = emitter.load(emitter.ty(Ty::F32, lanes), sum, lanes * 4, None);
            emitter.store(sum, emitter.offset(c, number * lanes as usize * 4), lanes * 4, None);
        }
    }

    fn body<'ctx>(&self, emitter: &Emitter<'ctx>, function: FunctionValue<'ctx>) {
        let param = |number| function.get_nth_param(number).expect("five parameters");
        let [a, b, c] = [0, 1, 2].map(|number| param(number).into_pointer_value());
        let (k, more) = (param(3).into_int_value(), param(4).into_int_value());
        let lanes = emitter.target.lanes();
        let vector = emitter.ty(Ty::F32, lanes);
        let sums = self.sums(emitter);
        emitter.when(more, || {
            for (number, &sum) in sums.iter().enumerate() {
                let c = emitter.offset(c, number * lanes as usize * 4);
                emitter.store(emitter.load(vector, c, lanes * 4, None), sum, lanes * 4, None);
            }
        });
        self.steps(emitter, [a, b], k, &sums);
        self.write(emitter, &sums, c);
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
                let operands = self.at(emitter, operands, first);
                (0..UNROLL).for_each(|step| self.step(emitter, operands, step, sums));
            });
        });
        let done = emitter.scale(turns, UNROLL as i64);
        emitter.when(positive(rest), || {
            emitter.repeat(rest, |step| {
                let operands = self.at(emitter, operands, emitter.add(step, done));
                self.step(emitter, operands, 0, sums);
            });
        });
    }

    /// The operands from step `first` on.
    fn at<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        [a, b]: [PointerValue<'ctx>; 2],
        first: IntValue<'ctx>,
    ) -> [PointerValue<'ctx>; 2] {
        let float = emitter.ty(Ty::F32, 1);
        let along = |base, stride: u64| emitter.element(float, base, emitter.scale(first, stride as i64));
        [along(a, self.a_k), along(b, self.b_k)]
    }

    /// One outer product, `step` steps behind the operands.
    fn step<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        [a, b]: [PointerValue<'ctx>; 2],
        step: u64,
        sums: &[PointerValue<'ctx>],
    ) {
        let lanes = emitter.target.lanes();
        let (float, vector) = (emitter.ty(Ty::F32, 1), emitter.ty(Ty::F32, lanes));
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

/// A function of the module that is not inlined, with its body; emission goes on where it was.
fn define<'ctx>(
    emitter: &Emitter<'ctx>,
    name: &str,
    params: &[BasicTypeEnum<'ctx>],
    body: impl FnOnce(FunctionValue<'ctx>),
) -> FunctionValue<'ctx> {
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

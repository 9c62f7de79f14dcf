//! Kernels of vectors: a tile of C in registers, one outer product per step of k. A step is one f32 of each operand,
//! or a pair of bf16.

use inkwell::values::{FunctionValue, InstructionOpcode, IntValue, PointerValue};

use super::{define, for_listed, listed_c, listed_name, listed_parameters, parameters};
use crate::codegen::llvm::emit::{Emitter, Value};
use crate::loops::Ty;

/// Steps of k per turn of the loop.
const UNROLL: u64 = 4;
/// Bytes of a step, per row of A and per column of B.
const STEP: u64 = 4;

/// What a step multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// One f32 with one.
    Fma,
    /// Two bf16 with two.
    Dot,
}

/// What a kernel is specialised to. Strides in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vectors {
    pub product: Product,
    pub rows: u64,
    /// Vectors per row.
    pub vectors: u64,
    /// From row to row of C.
    pub c_row: u64,
    pub a_row: u64,
    /// From one step of k to the next.
    pub a_k: u64,
    /// The same in B, whose columns are contiguous.
    pub b_k: u64,
}

impl Vectors {
    /// The kernel's function `(a, b, c, steps, more)`: C = A·B over that many (at least one) steps of k, or C += A·B
    /// if `more`.
    pub fn function<'ctx>(&self, emitter: &Emitter<'ctx>) -> FunctionValue<'ctx> {
        define(emitter, &self.name(), &parameters(emitter), |function| self.body(emitter, function))
    }

    /// The kernel's function `(a, b, c, blocks, a_offsets, b_offsets)`: C = A·B over that many (at least one) blocks of
    /// `steps` steps of k, which lie at the tables' offsets in bytes, or C += A·B if `more`.
    pub fn listed<'ctx>(&self, emitter: &Emitter<'ctx>, steps: u64, more: bool) -> FunctionValue<'ctx> {
        let name = listed_name(&self.name(), steps, more);
        define(emitter, &name, &listed_parameters(emitter), |function| {
            let sums = self.sums(emitter);
            if more {
                self.read(emitter, &sums, listed_c(function));
            }
            for_listed(emitter, function, |operands| self.known_steps(emitter, operands, steps, &sums));
            self.write(emitter, &sums, listed_c(function));
        })
    }

    fn name(&self) -> String {
        let Vectors { product, rows, vectors, c_row, a_row, a_k, b_k } = self;
        format!("gemm_{product:?}_{rows}x{vectors}_{c_row}_{a_row}_{a_k}_{b_k}").to_lowercase()
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

    fn read<'ctx>(&self, emitter: &Emitter<'ctx>, sums: &[PointerValue<'ctx>], c: PointerValue<'ctx>) {
        let lanes = emitter.target.lanes();
        for (number, &sum) in sums.iter().enumerate() {
            let c = self.vector_of_c(emitter, c, number);
            emitter.store(emitter.load(emitter.ty(Ty::F32, lanes), c, lanes * 4, None), sum, lanes * 4, None);
        }
    }

    fn write<'ctx>(&self, emitter: &Emitter<'ctx>, sums: &[PointerValue<'ctx>], c: PointerValue<'ctx>) {
        let lanes = emitter.target.lanes();
        for (number, &sum) in sums.iter().enumerate() {
            let sum = emitter.load(emitter.ty(Ty::F32, lanes), sum, lanes * 4, None);
            emitter.store(sum, self.vector_of_c(emitter, c, number), lanes * 4, None);
        }
    }

    /// Where the vector of that number lies, counted row by row of the tile.
    fn vector_of_c<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        c: PointerValue<'ctx>,
        number: usize,
    ) -> PointerValue<'ctx> {
        let (row, vector) = (number as u64 / self.vectors, number as u64 % self.vectors);
        emitter.offset(c, (row * self.c_row + vector * u64::from(emitter.target.lanes()) * 4) as usize)
    }

    fn body<'ctx>(&self, emitter: &Emitter<'ctx>, function: FunctionValue<'ctx>) {
        let param = |number| function.get_nth_param(number).expect("five parameters");
        let [a, b, c] = [0, 1, 2].map(|number| param(number).into_pointer_value());
        let (steps, more) = (param(3).into_int_value(), param(4).into_int_value());
        let sums = self.sums(emitter);
        emitter.when(more, || self.read(emitter, &sums, c));
        self.steps(emitter, [a, b], steps, &sums);
        self.write(emitter, &sums, c);
    }

    /// Turns of [`UNROLL`] steps, then single steps.
    fn steps<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        operands: [PointerValue<'ctx>; 2],
        steps: IntValue<'ctx>,
        sums: &[PointerValue<'ctx>],
    ) {
        let by = |op| emitter.binop(op, steps.into(), emitter.i64(UNROLL as i64).into()).into_int_value();
        let (turns, rest) = (by(InstructionOpcode::UDiv), by(InstructionOpcode::URem));
        emitter.repeat_any(turns, |turn| {
            let first = emitter.scale(turn, UNROLL as i64);
            let operands = self.at(emitter, operands, first);
            (0..UNROLL).for_each(|step| self.step(emitter, operands, step, sums));
        });
        let done = emitter.scale(turns, UNROLL as i64);
        emitter.repeat_any(rest, |step| {
            let operands = self.at(emitter, operands, emitter.add(step, done));
            self.step(emitter, operands, 0, sums);
        });
    }

    /// A number of steps that is known here: few are written out, many go in turns of [`UNROLL`] steps.
    fn known_steps<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        operands: [PointerValue<'ctx>; 2],
        steps: u64,
        sums: &[PointerValue<'ctx>],
    ) {
        let in_turns = if steps < 2 * UNROLL { 0 } else { steps / UNROLL * UNROLL };
        if in_turns > 0 {
            emitter.repeat(emitter.i64((in_turns / UNROLL) as i64), |turn| {
                let operands = self.at(emitter, operands, emitter.scale(turn, UNROLL as i64));
                (0..UNROLL).for_each(|step| self.step(emitter, operands, step, sums));
            });
        }
        (in_turns..steps).for_each(|step| self.step(emitter, operands, step, sums));
    }

    /// The operands from step `first` on.
    fn at<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        [a, b]: [PointerValue<'ctx>; 2],
        first: IntValue<'ctx>,
    ) -> [PointerValue<'ctx>; 2] {
        let along = |base, stride: u64| emitter.behind(base, emitter.scale(first, stride as i64));
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
        let (entry, vector) = (emitter.ty(self.entry(), 1), emitter.ty(self.entry(), lanes));
        let row_of_b: Vec<_> = (0..self.vectors)
            .map(|number| {
                let from = step * self.b_k + number * u64::from(lanes) * STEP;
                emitter.load(vector, emitter.offset(b, from as usize), 4, None)
            })
            .collect();
        for row in 0..self.rows {
            let from = emitter.offset(a, (step * self.a_k + row * self.a_row) as usize);
            let entry = emitter.splat(emitter.load(entry, from, self.alignment(), None), lanes);
            for (number, column) in row_of_b.iter().enumerate() {
                let sum = sums[row as usize * self.vectors as usize + number];
                let before = emitter.load(emitter.ty(Ty::F32, lanes), sum, lanes * 4, None);
                emitter.store(self.multiply(emitter, before, entry, *column), sum, lanes * 4, None);
            }
        }
    }

    fn entry(&self) -> Ty {
        match self.product {
            Product::Fma => Ty::F32,
            Product::Dot => Ty::I32,
        }
    }

    /// Of A, which a row of bf16 with an odd length may shift by half a step.
    fn alignment(&self) -> u32 {
        match self.product {
            Product::Fma => 4,
            Product::Dot => 2,
        }
    }

    fn multiply<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        sum: Value<'ctx>,
        a: Value<'ctx>,
        b: Value<'ctx>,
    ) -> Value<'ctx> {
        if self.product == Product::Fma {
            return emitter.mul_add(a, b, sum);
        }
        let lanes = emitter.target.lanes();
        let pairs = emitter.widen(emitter.context.bf16_type().into(), 2 * lanes);
        let [a, b] = [a, b].map(|pair| emitter.cast(InstructionOpcode::BitCast, pair, pairs));
        let name = format!("llvm.x86.avx512bf16.dpbf16ps.{}", lanes * 32);
        // The instruction broadcasts its last operand while it reads it; a broadcast of its own would take the place of every
        // fourth product.
        emitter.intrinsic(&name, &[], &[sum, b, a])
    }
}

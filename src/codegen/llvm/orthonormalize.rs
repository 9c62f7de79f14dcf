//! Gram–Schmidt on the rows or columns of a matrix, each vector twice ("twice is enough"), with dot products in f64.
//!
//! Vectors are copied to scratch memory one after another, so that either orientation runs along memory.

use inkwell::values::{InstructionOpcode, IntValue, PointerValue, VectorValue};

use super::emit::{Emitter, Value};
use super::scalars::Site;
use crate::loops::{BufferId, Ty};

/// Emits the statement for a `rows`×`cols` row-major f32 matrix; `scratch` has room for a copy.
pub fn emit<'ctx>(
    emitter: &Emitter<'ctx>,
    site: &Site<'_, 'ctx>,
    buffer: BufferId,
    rows: usize,
    cols: usize,
    scratch: PointerValue<'ctx>,
) {
    let matrix = site.start(emitter, buffer);
    let by_rows = rows <= cols;
    let (count, length) = if by_rows { (rows, cols) } else { (cols, rows) };
    let strides = if by_rows { (cols, 1) } else { (1, cols) };
    let builder = Builder { emitter, matrix, scratch, count, length, strides };
    builder.run();
}

struct Builder<'e, 'ctx> {
    emitter: &'e Emitter<'ctx>,
    matrix: PointerValue<'ctx>,
    scratch: PointerValue<'ctx>,
    count: usize,
    length: usize,
    /// In the matrix, from vector to vector and from entry to entry.
    strides: (usize, usize),
}

impl<'ctx> Builder<'_, 'ctx> {
    fn run(&self) {
        self.copy(|matrix, scratch| (matrix, scratch));
        let count = self.emitter.i64(self.count as i64);
        self.emitter.repeat(count, |current| {
            let vector = self.vector(current);
            self.emitter.when(self.emitter.some(current), || {
                self.emitter.repeat(self.emitter.i64(2), |_| {
                    self.emitter.repeat(current, |earlier| self.remove(vector, self.vector(earlier)));
                });
            });
            self.normalize(vector);
        });
        self.copy(|matrix, scratch| (scratch, matrix));
    }

    fn float(&self) -> inkwell::types::BasicTypeEnum<'ctx> {
        self.emitter.ty(Ty::F32, 1)
    }

    fn entry(&self, base: PointerValue<'ctx>, index: IntValue<'ctx>, by: usize) -> PointerValue<'ctx> {
        self.emitter.element(self.float(), base, self.emitter.scale(index, by as i64))
    }

    fn vector(&self, number: IntValue<'ctx>) -> PointerValue<'ctx> {
        self.entry(self.scratch, number, self.length)
    }

    /// Copies all entries in the direction that `pick` says, (from, to) out of (matrix, scratch).
    fn copy(
        &self,
        pick: impl Fn(PointerValue<'ctx>, PointerValue<'ctx>) -> (PointerValue<'ctx>, PointerValue<'ctx>),
    ) {
        self.emitter.repeat(self.emitter.i64(self.count as i64), |number| {
            self.emitter.repeat(self.emitter.i64(self.length as i64), |place| {
                let matrix =
                    self.entry(self.entry(self.matrix, number, self.strides.0), place, self.strides.1);
                let (from, to) = pick(matrix, self.entry(self.vector(number), place, 1));
                let entry = self.emitter.load(self.float(), from, 4, None);
                self.emitter.store(entry, to, 4, None);
            });
        });
    }

    /// Visits a vector's entries a few lanes at a time, the last ones under a mask: pointer shift and mask.
    fn along(&self, visit: &dyn Fn(IntValue<'ctx>, Option<VectorValue<'ctx>>)) {
        let lanes = self.emitter.target.lanes();
        let (full, rest) = (self.length / lanes as usize, self.length % lanes as usize);
        if full > 0 {
            self.emitter.repeat(self.emitter.i64(full as i64), |index| {
                visit(self.emitter.scale(index, i64::from(lanes)), None);
            });
        }
        if rest > 0 {
            let mask = self.emitter.first_lanes(rest as u32, lanes);
            visit(self.emitter.i64((full * lanes as usize) as i64), Some(mask));
        }
    }

    fn load(
        &self,
        vector: PointerValue<'ctx>,
        at: IntValue<'ctx>,
        mask: Option<VectorValue<'ctx>>,
    ) -> Value<'ctx> {
        let ty = self.emitter.ty(Ty::F32, self.emitter.target.lanes());
        self.emitter.load(ty, self.entry(vector, at, 1), 4, mask)
    }

    fn dot(&self, a: PointerValue<'ctx>, b: PointerValue<'ctx>) -> Value<'ctx> {
        let lanes = self.emitter.target.lanes();
        let double = self.emitter.ty(Ty::F64, lanes);
        let sum = self.emitter.local(double);
        self.emitter.store(double.const_zero(), sum, 8, None);
        self.along(&|at, mask| {
            let [a, b] = [a, b].map(|vector| {
                self.emitter.cast(InstructionOpcode::FPExt, self.load(vector, at, mask), double)
            });
            let product = self.emitter.binop(InstructionOpcode::FMul, a, b);
            let before = self.emitter.load(double, sum, 8, None);
            self.emitter.store(self.emitter.binop(InstructionOpcode::FAdd, before, product), sum, 8, None);
        });
        let sums = self.emitter.load(double, sum, 8, None).into_vector_value();
        (1..lanes).fold(self.emitter.lane(sums, 0), |sum, lane| {
            self.emitter.binop(InstructionOpcode::FAdd, sum, self.emitter.lane(sums, lane))
        })
    }

    /// Takes the part along `other`, of length one, out of `vector`.
    fn remove(&self, vector: PointerValue<'ctx>, other: PointerValue<'ctx>) {
        let dot = self.emitter.cast(InstructionOpcode::FPTrunc, self.dot(vector, other), self.float());
        let lanes = self.emitter.target.lanes();
        let factor = self.emitter.splat(self.emitter.negate(dot), lanes);
        self.along(&|at, mask| {
            let (entry, part) = (self.load(vector, at, mask), self.load(other, at, mask));
            let entry = self.emitter.mul_add(factor, part, entry);
            self.emitter.store(entry, self.entry(vector, at, 1), 4, mask);
        });
    }

    /// Scales to length one; zero stays zero.
    fn normalize(&self, vector: PointerValue<'ctx>) {
        let double = self.emitter.ty(Ty::F64, 1);
        let norm = self.emitter.intrinsic("llvm.sqrt", &[double], &[self.dot(vector, vector)]);
        let one = self.emitter.float(1.0, Ty::F64);
        let inverse = self.emitter.binop(InstructionOpcode::FDiv, one, norm);
        let zero = self.emitter.float(0.0, Ty::F64);
        let some = self.emitter.compare_floats(inkwell::FloatPredicate::OGT, norm, zero);
        let factor = self.emitter.select(some, inverse, zero);
        let factor = self.emitter.cast(InstructionOpcode::FPTrunc, factor, self.float());
        let factor = self.emitter.splat(factor, self.emitter.target.lanes());
        self.along(&|at, mask| {
            let entry = self.emitter.binop(InstructionOpcode::FMul, self.load(vector, at, mask), factor);
            self.emitter.store(entry, self.entry(vector, at, 1), 4, mask);
        });
    }
}

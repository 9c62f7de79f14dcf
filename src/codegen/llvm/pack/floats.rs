//! Panels of f32: what kernels of multiply-adds read.

use inkwell::values::{IntValue, PointerValue, VectorValue};

use super::source::Source;
use super::transpose::{Square, transposed};
use super::{Beside, Copy, Kind};
use crate::codegen::llvm::emit::Value;
use crate::loops::Ty;

pub(super) struct Floats<'e, 'ctx> {
    pub source: Source<'e, 'ctx>,
    pub copy: Copy,
    /// To bf16.
    pub rounded: bool,
    pub to: PointerValue<'ctx>,
    /// Of sources with contiguous rows: they go on with those of as many matrices.
    pub beside: Option<Beside<'ctx>>,
}

impl<'ctx> Floats<'_, 'ctx> {
    pub fn emit(&self, k: IntValue<'ctx>) {
        match self.copy.kind() {
            Kind::Rows => self.rows(k),
            Kind::Columns => self.transpose(k),
            Kind::Scattered => self.entries(k),
        }
    }

    fn load(&self, from: PointerValue<'ctx>, lanes: u64, mask: Option<VectorValue<'ctx>>) -> Value<'ctx> {
        let value = self.source.load(from, lanes, mask);
        if self.rounded { self.source.parts(value, 1)[0] } else { value }
    }

    /// Entry `index`·`by` + `plus` of the copy.
    fn entry(
        &self,
        base: PointerValue<'ctx>,
        index: IntValue<'ctx>,
        by: u64,
        plus: u64,
    ) -> PointerValue<'ctx> {
        let emitter = self.source.emitter;
        let at = emitter.element(emitter.ty(Ty::F32, 1), base, emitter.scale(index, by as i64));
        emitter.offset(at, plus as usize * 4)
    }

    /// Rows of both sides are contiguous.
    fn rows(&self, k: IntValue<'ctx>) {
        let (emitter, lanes) = (self.source.emitter, self.source.lanes());
        emitter.repeat(k, |step| {
            self.source.each(self.beside, self.copy.width, self.to, &|source, to| {
                for (first, mask) in emitter.cover(self.copy.width) {
                    let from = source.neighbour(source.at_k(source.start, step), first);
                    let row = self.load(from, lanes, mask);
                    emitter.store(row, self.entry(to, step, self.copy.padded, first), 4, None);
                }
            });
        });
    }

    /// Neither side helps: one entry at a time, zeros first.
    fn entries(&self, k: IntValue<'ctx>) {
        let (source, emitter) = (&self.source, self.source.emitter);
        let vector = emitter.ty(Ty::F32, source.lanes() as u32);
        emitter.repeat(k, |step| {
            for (first, _) in emitter.cover(self.copy.width) {
                let to = self.entry(self.to, step, self.copy.padded, first);
                emitter.store(vector.const_zero(), to, 4, None);
            }
            let from = source.at_k(source.start, step);
            let to = self.entry(self.to, step, self.copy.padded, 0);
            emitter.repeat(emitter.i64(self.copy.width as i64), |column| {
                let entry = self.load(source.at_width(from, column), 1, None);
                emitter.store(entry, self.entry(to, column, 1, 0), 4, None);
            });
        });
    }

    /// Columns of the source are contiguous along k: square blocks are transposed in registers.
    fn transpose(&self, k: IntValue<'ctx>) {
        let (emitter, lanes, padded) = (self.source.emitter, self.source.lanes(), self.copy.padded);
        let masks = emitter.target.vector_bits() == 512;
        self.source.blocks((k, lanes), self.copy.width, masks, &|source, [block, square], width, left| {
            let to = self.entry(self.to, block, lanes * padded, 0);
            let to = self.entry(to, square, lanes, 0);
            let square = Square::new(source, (width, left), (to, padded));
            square.call(&self.copy.square_name(), |square| {
                let mask = square.left.map(|left| square.source.below(left, 0, lanes));
                let columns = square.columns().into_iter().map(|from| self.load(from, lanes, mask));
                for (row, number) in transposed(emitter, columns.collect()).into_iter().zip(0..) {
                    square.store(number, row);
                }
            });
        });
    }
}

//! Panels of f32: what kernels of multiply-adds read.

use inkwell::values::{IntValue, PointerValue, VectorValue};

use super::source::Source;
use super::transpose::transposed;
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

    /// First entries of the vectors that cover the width.
    fn vectors(&self) -> impl Iterator<Item = u64> + use<> {
        (0..self.copy.width).step_by(self.source.lanes() as usize)
    }

    /// Rows of both sides are contiguous.
    fn rows(&self, k: IntValue<'ctx>) {
        let (emitter, lanes) = (self.source.emitter, self.source.lanes());
        let row = |step: IntValue<'ctx>, source: Source<'_, 'ctx>, to: PointerValue<'ctx>| {
            for first in self.vectors() {
                let left = (self.copy.width - first).min(lanes);
                let mask = (left < lanes).then(|| emitter.first_lanes(left as u32, lanes as u32));
                let from = source.neighbour(source.at_k(source.start, step), first);
                let row = self.load(from, lanes, mask);
                emitter.store(row, self.entry(to, step, self.copy.padded, first), 4, None);
            }
        };
        emitter.repeat(k, |step| {
            let each = |source: Source<'_, 'ctx>, to| row(step, source, to);
            self.source.each(self.beside, self.copy.width, self.to, &each);
        });
    }

    /// Neither side helps: one entry at a time, zeros first.
    fn entries(&self, k: IntValue<'ctx>) {
        let (source, emitter) = (&self.source, self.source.emitter);
        let vector = emitter.ty(Ty::F32, source.lanes() as u32);
        emitter.repeat(k, |step| {
            for first in self.vectors() {
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

    /// Columns of the source are contiguous along k: square blocks are transposed in registers, all of the same columns
    /// first, as memory that is read along few rows comes faster.
    fn transpose(&self, k: IntValue<'ctx>) {
        let (source, lanes) = (&self.source, self.source.lanes());
        if source.emitter.target.vector_bits() == 512 {
            // Masks are free there: one loop serves all blocks, which keeps LLVM's time down.
            return source.squares(self.copy.width, &|square, width| {
                source.emitter.repeat(source.divide_up(k, lanes), |block| {
                    let done = source.emitter.scale(block, lanes as i64);
                    let left = source.subtract(k, done);
                    self.square(block, square, width, Some(source.below(left, 0, lanes)));
                });
            });
        }
        let (full, rest) = (source.divide(k, lanes), source.remainder(k, lanes));
        source.squares(self.copy.width, &|square, width| {
            source.emitter.repeat_any(full, |block| self.square(block, square, width, None));
            let last = || self.square(full, square, width, Some(source.below(rest, 0, lanes)));
            source.emitter.when(source.emitter.some(rest), last);
        });
    }

    /// The `square`-th group of columns, of which `width` exist.
    fn square(
        &self,
        block: IntValue<'ctx>,
        square: IntValue<'ctx>,
        width: u64,
        mask: Option<VectorValue<'ctx>>,
    ) {
        let (source, emitter, lanes) = (&self.source, self.source.emitter, self.source.lanes());
        let vector = emitter.ty(Ty::F32, lanes as u32);
        let first = emitter.scale(square, lanes as i64);
        let start = source.at_k(source.start, emitter.scale(block, lanes as i64));
        let from = source.at_width(start, first);
        let load = |column: u64| {
            if column >= width {
                return vector.const_zero().into_vector_value();
            }
            let from = source.at_width(from, emitter.i64(column as i64));
            self.load(from, lanes, mask).into_vector_value()
        };
        let rows: Vec<VectorValue> = (0..lanes).map(load).collect();
        let to = self.entry(self.entry(self.to, block, lanes * self.copy.padded, 0), first, 1, 0);
        for (step, row) in transposed(emitter, rows).into_iter().enumerate() {
            let to = emitter.offset(to, step * self.copy.padded as usize * 4);
            emitter.store(row.into(), to, 4, None);
        }
    }
}

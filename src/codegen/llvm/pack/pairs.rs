//! Panels of pairs of bf16, steps of k outside: what kernels of dot products read, and tiles of B.

use inkwell::values::{IntValue, PointerValue};

use super::source::Source;
use super::transpose::{Square, transposed};
use super::{Beside, Copy, Kind, TILE};
use crate::codegen::llvm::emit::Value;
use crate::loops::Ty;

pub(super) struct Pairs<'e, 'ctx> {
    pub source: Source<'e, 'ctx>,
    pub copy: Copy,
    pub planes: u64,
    pub tiles: bool,
    pub to: PointerValue<'ctx>,
    /// Of sources with contiguous rows: they go on with those of as many matrices.
    pub beside: Option<Beside<'ctx>>,
}

impl<'ctx> Pairs<'_, 'ctx> {
    pub fn emit(&self, k: IntValue<'ctx>) {
        let source = &self.source;
        let written = match self.copy.kind() {
            Kind::Rows => self.rows(k),
            Kind::Columns => self.transpose(k),
            Kind::Scattered => self.entries(k),
        };
        if self.tiles {
            let end = source.emitter.scale(source.divide_up(k, 2 * TILE), TILE as i64);
            source.emitter.repeat_any(source.subtract(end, written), |step| {
                let step = source.emitter.add(step, written);
                source.each(self.beside, self.copy.width, self.to, &|_, to| self.zeros(to, step));
            });
        }
    }

    /// Where a step of a plane lies in the copy at `to`.
    fn row(&self, to: PointerValue<'ctx>, step: IntValue<'ctx>, plane: u64) -> PointerValue<'ctx> {
        let (source, emitter) = (&self.source, self.source.emitter);
        let row = if self.planes == 1 {
            step
        } else {
            let block = emitter.scale(source.divide(step, TILE), (self.planes * TILE) as i64);
            let within = source.remainder(step, TILE);
            emitter.add(emitter.add(block, within), emitter.i64((plane * TILE) as i64))
        };
        let index = emitter.scale(row, self.copy.padded as i64);
        emitter.element(emitter.ty(Ty::I32, 1), to, index)
    }

    fn store(&self, to: PointerValue<'ctx>, step: IntValue<'ctx>, column: u64, parts: Vec<Value<'ctx>>) {
        for (plane, part) in parts.into_iter().enumerate() {
            let to = self.source.emitter.offset(self.row(to, step, plane as u64), column as usize * 4);
            self.source.emitter.store(part, to, 4, None);
        }
    }

    fn zeros(&self, to: PointerValue<'ctx>, step: IntValue<'ctx>) {
        let zero = self.source.emitter.ty(Ty::I32, self.source.lanes() as u32).const_zero();
        for (first, _) in self.source.emitter.cover(self.copy.width) {
            self.store(to, step, first, vec![zero; self.planes as usize]);
        }
    }

    /// Rows of the source are contiguous. Returns the number of steps, as do the others.
    fn rows(&self, k: IntValue<'ctx>) -> IntValue<'ctx> {
        let (emitter, lanes) = (self.source.emitter, self.source.lanes());
        self.whole_and_half(k, &|step, both| {
            self.source.each(self.beside, self.copy.width, self.to, &|source, to| {
                let earlier = source.at_k(source.start, emitter.scale(step, 2));
                let later = source.at_k(earlier, emitter.i64(1));
                for (first, mask) in emitter.cover(self.copy.width) {
                    let load = |row| source.load(source.neighbour(row, first), lanes, mask);
                    let pairs = source.pairs(load(earlier), both.then(|| load(later)), self.planes);
                    self.store(to, step, first, pairs);
                }
            });
        })
    }

    /// Calls `step` for steps of two entries, and for a last one with one.
    fn whole_and_half(&self, k: IntValue<'ctx>, step: &dyn Fn(IntValue<'ctx>, bool)) -> IntValue<'ctx> {
        let source = &self.source;
        let (whole, half) = (source.divide(k, 2), source.remainder(k, 2));
        source.emitter.repeat_any(whole, |number| step(number, true));
        source.emitter.when(source.emitter.some(half), || step(whole, false));
        source.emitter.add(whole, half)
    }

    /// Neither side helps: one pair at a time, zeros first.
    fn entries(&self, k: IntValue<'ctx>) -> IntValue<'ctx> {
        let (source, emitter) = (&self.source, self.source.emitter);
        let step = |step: IntValue<'ctx>, both: bool| {
            self.zeros(self.to, step);
            let from = source.at_k(source.start, emitter.scale(step, 2));
            emitter.repeat(emitter.i64(self.copy.width as i64), |column| {
                let earlier = source.at_width(from, column);
                let later = both.then(|| source.load(source.at_k(earlier, emitter.i64(1)), 1, None));
                let pairs = source.pairs(source.load(earlier, 1, None), later, self.planes);
                for (plane, pair) in pairs.into_iter().enumerate() {
                    let to = emitter.element(
                        emitter.ty(Ty::I32, 1),
                        self.row(self.to, step, plane as u64),
                        column,
                    );
                    emitter.store(pair, to, 4, None);
                }
            });
        };
        self.whole_and_half(k, &step)
    }

    /// Columns of the source are contiguous along k: square blocks of pairs are transposed in registers.
    fn transpose(&self, k: IntValue<'ctx>) -> IntValue<'ctx> {
        let (emitter, lanes) = (self.source.emitter, self.source.lanes());
        let block = (k, 2 * lanes);
        self.source.blocks(block, self.copy.width, false, &|source, [block, square], width, left| {
            let row = self.row(self.to, emitter.scale(block, lanes as i64), 0);
            let to = emitter.element(emitter.ty(Ty::I32, 1), row, emitter.scale(square, lanes as i64));
            let square = Square::new(source, (width, left), (to, self.copy.padded));
            square.call(&self.copy.square_name(), |square| self.square(square));
        });
        emitter.scale(self.source.divide_up(k, 2 * lanes), lanes as i64)
    }

    fn square(&self, square: &Square<'_, 'ctx>) {
        let (source, lanes, planes) = (&square.source, self.source.lanes(), self.planes);
        let columns = square.columns().into_iter();
        if planes == 1 {
            // Pairs of neighbours, transposed.
            let pairs = columns.map(|column| source.neighbours(column, square.left, 1)[0]).collect();
            let steps = transposed(source.emitter, pairs).into_iter();
            return steps.zip(0..).for_each(|(step, number)| square.store(number, step));
        }
        // Entries, transposed and then split: shuffles of planes would be three times as many.
        for half in 0..2 {
            let mask = square.left.map(|left| source.below(left, half * lanes, lanes));
            let load = |column| source.load(source.neighbour(column, half * lanes), lanes, mask);
            let rows = transposed(source.emitter, columns.clone().map(load).collect());
            for (pair, number) in rows.chunks(2).zip(half * lanes / 2..) {
                let parts = source.pairs(pair[0], Some(pair[1]), planes);
                for (part, plane) in parts.into_iter().zip(0..) {
                    square.store(number + plane * TILE, part);
                }
            }
        }
    }
}

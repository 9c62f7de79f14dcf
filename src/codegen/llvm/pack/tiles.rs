//! Tiles of A: pairs of bf16 in rows along k.

use inkwell::values::{IntValue, PointerValue, VectorValue};

use super::source::Source;
use super::transpose::transposed;
use super::{Copy, Kind, TILE};
use crate::codegen::llvm::emit::{Value, must};
use crate::loops::Ty;

/// The width counts rows of A here.
pub(super) struct Rows<'e, 'ctx> {
    pub source: Source<'e, 'ctx>,
    pub copy: Copy,
    pub planes: u64,
    pub to: PointerValue<'ctx>,
}

impl<'ctx> Rows<'_, 'ctx> {
    pub fn emit(&self, k: IntValue<'ctx>) {
        match self.copy.kind() {
            Kind::Columns => self.rows(k),
            Kind::Rows => self.transpose(k),
            Kind::Scattered => self.entries(k),
        }
    }

    /// Where the pair of a row at a step lies, in one plane.
    fn pair(&self, row: IntValue<'ctx>, step: IntValue<'ctx>, plane: u64) -> PointerValue<'ctx> {
        let (source, emitter) = (&self.source, self.source.emitter);
        let block = emitter.scale(source.divide(step, TILE), self.planes as i64);
        let block = emitter.add(block, emitter.i64(plane as i64));
        let row = emitter.add(emitter.scale(block, self.copy.padded as i64), row);
        let index = emitter.add(emitter.scale(row, TILE as i64), source.remainder(step, TILE));
        emitter.element(emitter.ty(Ty::I32, 1), self.to, index)
    }

    fn store(&self, row: IntValue<'ctx>, step: IntValue<'ctx>, parts: Vec<Value<'ctx>>) {
        for (plane, part) in parts.into_iter().enumerate() {
            self.source.emitter.store(part, self.pair(row, step, plane as u64), 4, None);
        }
    }

    /// Vectors of steps in whole tiles.
    fn vectors(&self, k: IntValue<'ctx>) -> IntValue<'ctx> {
        let per_tile = TILE / self.source.lanes();
        self.source.emitter.scale(self.source.divide_up(k, 2 * TILE), per_tile as i64)
    }

    /// Entries along k from a vector of steps on; may be negative.
    fn left(&self, k: IntValue<'ctx>, vector: IntValue<'ctx>) -> IntValue<'ctx> {
        let done = self.source.emitter.scale(vector, 2 * self.source.lanes() as i64);
        self.source.subtract(k, done)
    }

    /// Rows of A are contiguous along k.
    fn rows(&self, k: IntValue<'ctx>) {
        let (source, lanes) = (&self.source, self.source.lanes());
        let emitter = source.emitter;
        let row = |row: IntValue<'ctx>, vector: IntValue<'ctx>, left: Option<IntValue<'ctx>>| {
            let start =
                source.at_k(source.at_width(source.start, row), emitter.scale(vector, 2 * lanes as i64));
            let pairs = source.neighbours(start, left, self.planes);
            self.store(row, emitter.scale(vector, lanes as i64), pairs);
        };
        let rows = emitter.i64(self.copy.width as i64);
        let full = source.divide(k, 2 * lanes);
        source.emitter.repeat_any(full, |vector| emitter.repeat(rows, |number| row(number, vector, None)));
        source.emitter.repeat_any(source.subtract(self.vectors(k), full), |more| {
            let vector = emitter.add(more, full);
            emitter.repeat(rows, |number| row(number, vector, Some(self.left(k, vector))));
        });
    }

    /// Columns of A are contiguous: square blocks of pairs are transposed in registers.
    fn transpose(&self, k: IntValue<'ctx>) {
        let (source, emitter) = (&self.source, self.source.emitter);
        let full = source.divide(k, 2 * source.lanes());
        source.emitter.repeat_any(full, |vector| self.blocks(vector, None));
        source.emitter.repeat_any(source.subtract(self.vectors(k), full), |more| {
            let vector = emitter.add(more, full);
            self.blocks(vector, Some(self.left(k, vector)));
        });
    }

    /// All square blocks of one vector of steps, `left` entries along k.
    fn blocks(&self, vector: IntValue<'ctx>, left: Option<IntValue<'ctx>>) {
        self.source.squares(self.copy.width, &|square, width| self.square(vector, square, width, left));
    }

    /// The `square`-th group of rows of A, of which `width` exist.
    fn square(
        &self,
        vector: IntValue<'ctx>,
        square: IntValue<'ctx>,
        width: u64,
        left: Option<IntValue<'ctx>>,
    ) {
        let (source, emitter, lanes) = (&self.source, self.source.emitter, self.source.lanes());
        let first = emitter.scale(square, lanes as i64);
        let start = source.at_k(source.start, emitter.scale(vector, 2 * lanes as i64));
        let start = source.at_width(start, first);
        let load = |depth: u64| {
            let from = source.at_k(start, emitter.i64(depth as i64));
            source.load(from, lanes, self.mask(width, depth, left))
        };
        let rows: Vec<Vec<Value>> = if self.planes == 1 {
            // Pairs of neighbours along k, transposed.
            let pairs = (0..lanes).map(|step| source.pairs(load(2 * step), Some(load(2 * step + 1)), 1)[0]);
            transposed(emitter, pairs.collect()).into_iter().map(|row| vec![row]).collect()
        } else {
            // Entries, transposed and then split: shuffles of planes would be more.
            let half = |first: u64| transposed(emitter, (first..first + lanes).map(load).collect());
            let halves = half(0).into_iter().zip(half(lanes));
            halves.map(|(low, high)| source.joined(low, high, self.planes)).collect()
        };
        let first_step = emitter.scale(vector, lanes as i64);
        for (parts, number) in rows.into_iter().zip(0..width) {
            self.store(emitter.add(emitter.i64(number as i64), first), first_step, parts);
        }
    }

    /// Rows before `width`, none where `depth` is not left.
    fn mask(&self, width: u64, depth: u64, left: Option<IntValue<'ctx>>) -> Option<VectorValue<'ctx>> {
        let (emitter, lanes) = (self.source.emitter, self.source.lanes() as u32);
        let rows = emitter.first_lanes(width as u32, lanes);
        let Some(left) = left else { return (width < u64::from(lanes)).then_some(rows) };
        let exists = emitter.i64(depth as i64);
        let exists = must(emitter.builder.build_int_compare(inkwell::IntPredicate::SLT, exists, left, ""));
        let none = emitter.first_lanes(0, lanes);
        Some(emitter.select(exists.into(), rows.into(), none.into()).into_vector_value())
    }

    /// Neither side helps: one pair at a time.
    fn entries(&self, k: IntValue<'ctx>) {
        let (source, emitter) = (&self.source, self.source.emitter);
        let rows = emitter.i64(self.copy.width as i64);
        let (whole, half) = (source.divide(k, 2), source.remainder(k, 2));
        let pair = |row: IntValue<'ctx>, step: IntValue<'ctx>, both: bool| {
            let earlier = source.at_k(source.at_width(source.start, row), emitter.scale(step, 2));
            let later = both.then(|| source.load(source.at_k(earlier, emitter.i64(1)), 1, None));
            self.store(row, step, source.pairs(source.load(earlier, 1, None), later, self.planes));
        };
        source.emitter.repeat_any(whole, |step| emitter.repeat(rows, |row| pair(row, step, true)));
        emitter.when(source.emitter.some(half), || emitter.repeat(rows, |row| pair(row, whole, false)));
        let steps = emitter.add(whole, half);
        let end = emitter.scale(source.divide_up(k, 2 * TILE), TILE as i64);
        let zero = emitter.ty(Ty::I32, 1).const_zero();
        source.emitter.repeat_any(source.subtract(end, steps), |more| {
            let step = emitter.add(more, steps);
            emitter.repeat(rows, |row| self.store(row, step, vec![zero; self.planes as usize]));
        });
    }
}

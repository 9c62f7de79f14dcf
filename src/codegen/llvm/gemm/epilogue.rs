//! What happens to a tile of C when its sums are complete.

use std::cell::Cell;

use inkwell::IntPredicate;
use inkwell::values::{IntValue, PointerValue};

use super::super::emit::{Value, must};
use super::super::scalars::{Frame, Instance, Walk};
use super::GemmEmitter;
use crate::loops::{BufferId, LoopVar, Ty};

/// The loop of an epilogue that counts columns.
const COLUMN: LoopVar = LoopVar(1);

impl<'ctx> GemmEmitter<'_, 'ctx> {
    /// Hands a tile of C to the epilogue: vectors of columns outside, rows inside, so that what depends on the
    /// column alone is computed once per tile.
    pub(super) fn epilogue(
        &self,
        tile: IntValue<'ctx>,
        c: PointerValue<'ctx>,
        column: IntValue<'ctx>,
        columns: u64,
    ) {
        let scalars = &self.gemm.epilogue;
        let types = scalars.types(self.site.buffers, &[Ty::F32]).expect("verified");
        let written = |buffer: BufferId| scalars.stores.iter().any(|store| store.buffer == buffer);
        let mut site = self.site.clone();
        (site.vector, site.lanes) = (Some(COLUMN), self.emitter.target.lanes());
        // The row is the innermost loop, the column the one around it; all others are open already.
        let opened: Vec<usize> = [2, 1].into_iter().chain(self.outer.iter().map(|_| 0)).collect();
        let walk = Walk { opened: &opened, vector: site.vector, jammed: &[] };
        let mut frame = Frame::new(scalars, types, walk, true, &written);
        let row = self.emitter.add(self.first_row(tile), self.m0);
        site.loops = vec![row, self.emitter.add(column, self.n0)];
        site.loops.extend(self.outer.iter().map(Cell::get));
        let instances = Instance::of(self.emitter, columns);
        frame.emit(self.emitter, &site, 0, &instances, &[]);
        frame.emit(self.emitter, &site, 1, &instances, &[]);
        self.emitter.repeat(self.rows_of(tile), |index| {
            let (mut site, mut frame) = (site.clone(), frame.clone());
            site.loops[0] = self.emitter.add(index, row);
            let sums = vec![self.c_row(c, index, instances.len())];
            frame.emit(self.emitter, &site, 2, &instances, &sums);
            frame.store(self.emitter, &site, &instances);
        });
    }

    pub(super) fn rows_of(&self, tile: IntValue<'ctx>) -> IntValue<'ctx> {
        let rest = self.plan.m % self.plan.rows;
        if rest == 0 {
            return self.i64(self.plan.rows);
        }
        let full = self.i64(self.plan.m / self.plan.rows);
        let last = must(self.emitter.builder.build_int_compare(IntPredicate::EQ, tile, full, ""));
        self.emitter
            .select(last.into(), self.i64(rest).into(), self.i64(self.plan.rows).into())
            .into_int_value()
    }

    fn c_row(&self, c: PointerValue<'ctx>, row: IntValue<'ctx>, vectors: usize) -> Vec<Value<'ctx>> {
        let lanes = self.emitter.target.lanes();
        let start = self.entry(c, self.emitter.scale(row, self.plan.columns as i64));
        (0..vectors)
            .map(|vector| {
                let from = self.emitter.offset(start, vector * lanes as usize * 4);
                self.emitter.load(self.emitter.ty(Ty::F32, lanes), from, lanes * 4, None)
            })
            .collect()
    }
}

//! What happens to a tile of C when its sums are complete.

use std::cell::Cell;

use inkwell::IntPredicate;
use inkwell::values::{IntValue, PointerValue};

use super::super::emit::{Value, must};
use super::super::scalars::{Frame, Instance, Site, Walk};
use super::GemmEmitter;
use crate::loops::{BufferId, LoopVar, Ty};

/// The loops of an epilogue that count rows and columns.
const ROW: LoopVar = LoopVar(0);
const COLUMN: LoopVar = LoopVar(1);

/// Panels of C that follow each other: the number of the first one, how many they are, and the columns of each. Their tiles of C
/// lie side by side from the `slot`-th on.
pub(super) struct Panels<'ctx> {
    pub first: IntValue<'ctx>,
    pub count: IntValue<'ctx>,
    pub columns: u64,
    pub slot: u64,
}

impl<'e, 'ctx> GemmEmitter<'e, 'ctx> {
    /// Hands a tile of C to the epilogue: vectors of columns outside, rows inside, so that what depends on the
    /// column alone is computed once per tile.
    pub(super) fn epilogue(
        &self,
        tile: IntValue<'ctx>,
        c: PointerValue<'ctx>,
        column: IntValue<'ctx>,
        columns: u64,
    ) {
        let mut frame = self.frame(ROW);
        let mut site = self.epilogue_site(tile);
        site.loops[COLUMN.index()] = self.emitter.add(column, self.n0);
        let instances = Instance::of(self.emitter, columns);
        frame.emit(self.emitter, &site, 0, &instances, &[]);
        frame.emit(self.emitter, &site, 1, &instances, &[]);
        self.emitter.repeat(self.rows_of(tile), |index| {
            let (mut site, frame) = (site.clone(), frame.clone());
            site.loops[ROW.index()] = self.emitter.add(index, site.loops[ROW.index()]);
            self.finish(frame, &site, &instances, self.c_row(c, index, instances.len()));
        });
    }

    /// Hands the tiles of several panels, which `c` gives by their slots, to the epilogue: row by row, so that memory is walked in
    /// long rows; tile by tile where more than operands depends on the column alone.
    pub(super) fn epilogue_of(
        &self,
        tile: IntValue<'ctx>,
        panels: &[Panels<'ctx>],
        c: &dyn Fn(IntValue<'ctx>) -> PointerValue<'ctx>,
    ) {
        let each = |panels: &Panels<'ctx>, visit: &dyn Fn(IntValue<'ctx>, PointerValue<'ctx>)| {
            self.emitter.repeat(panels.count, |number| {
                let c = c(self.emitter.add(number, self.i64(panels.slot)));
                visit(self.first_column(self.emitter.add(number, panels.first)), c);
            });
        };
        if self.frame(ROW).computes_at(1) {
            for panels in panels {
                each(panels, &|column, c| self.epilogue(tile, c, column, panels.columns));
            }
            return;
        }
        let mut frame = self.frame(COLUMN);
        let site = self.epilogue_site(tile);
        frame.emit(self.emitter, &site, 0, &[Instance::default()], &[]);
        self.emitter.repeat(self.rows_of(tile), |index| {
            let (mut site, mut frame) = (site.clone(), frame.clone());
            site.loops[ROW.index()] = self.emitter.add(index, site.loops[ROW.index()]);
            frame.emit(self.emitter, &site, 1, &[Instance::default()], &[]);
            for panels in panels {
                let instances = Instance::of(self.emitter, panels.columns);
                each(panels, &|column, c| {
                    let mut site = site.clone();
                    site.loops[COLUMN.index()] = self.emitter.add(column, self.n0);
                    self.finish(frame.clone(), &site, &instances, self.c_row(c, index, instances.len()));
                });
            }
        });
    }

    /// The epilogue with the loops of rows and of columns around it, the one next to it `innermost`; all others are open already.
    fn frame(&self, innermost: LoopVar) -> Frame<'e, 'ctx> {
        let scalars = &self.gemm.epilogue;
        let types = scalars.types(self.site.buffers, &[Ty::F32]).expect("verified");
        let written = |buffer: BufferId| scalars.stores.iter().any(|store| store.buffer == buffer);
        let opened = [ROW, COLUMN].into_iter().map(|var| 1 + usize::from(var == innermost));
        let opened: Vec<usize> = opened.chain(self.outer.iter().map(|_| 0)).collect();
        let walk = Walk { opened: &opened, vector: Some(COLUMN), jammed: &[] };
        Frame::new(scalars, types, walk, true, &written)
    }

    /// At the first row of a tile, and the first column of the task.
    fn epilogue_site(&self, tile: IntValue<'ctx>) -> Site<'e, 'ctx> {
        let row = self.emitter.add(self.first_row(tile), self.m0);
        let loops = [row, self.n0].into_iter().chain(self.outer.iter().map(Cell::get)).collect();
        let (vector, lanes) = (Some(COLUMN), self.emitter.target.lanes());
        Site { vector, lanes, loops, ..self.site.clone() }
    }

    /// One row of a panel, of which all loops are open.
    fn finish(
        &self,
        mut frame: Frame<'e, 'ctx>,
        site: &Site<'e, 'ctx>,
        instances: &[Instance<'ctx>],
        sums: Vec<Value<'ctx>>,
    ) {
        frame.emit(self.emitter, site, 2, instances, &[sums]);
        frame.store(self.emitter, site, instances);
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

//! The loops of each [`Order`](super::plan::Order): what is packed, multiplied and finished inside of which loop.

use inkwell::values::{IntValue, PointerValue};

use super::epilogue::Panels;
use super::plan::{Kept, Order, Source};
use super::{GemmEmitter, List};
use crate::loops::Ty;

impl<'ctx> GemmEmitter<'_, 'ctx> {
    /// The product at one position of the outer loops.
    pub(super) fn product(&self) {
        let list = self.list();
        if self.plan.packs_a_before() {
            self.keeping(Kept::A, || self.for_blocks(list, |block| self.pack_a(list, block)));
        }
        match self.plan.order {
            Order::Rows => self.rows_outside(list),
            Order::Tiles => self.for_panels(&|panel, columns| self.tiles_of_panel(list, panel, columns)),
            Order::Blocks => self.blocks_outside(list),
            _ => self.for_panels(&|panel, columns| self.panel(list, panel, columns)),
        }
    }

    fn rows_outside(&self, list: List<'ctx>) {
        let slots = self.plan.longest();
        self.for_groups(&|group| {
            self.keeping(Kept::B, || {
                self.for_blocks(list, |block| {
                    self.pack_group(block, group, (self.number_in(list, block), slots))
                });
            });
            self.for_tiles(|tile| {
                if self.plan.packs_a_by_tiles() {
                    self.for_blocks(list, |block| self.pack_tile_of(list, block, tile));
                }
                self.each_of(group, |_, slot, columns| {
                    let b = self.b_panel(self.emitter.scale(slot, slots as i64));
                    self.multiply_list(
                        list,
                        tile,
                        (self.c_tile(slot), columns),
                        (b, &|block| self.number_in(list, block)),
                    );
                });
                self.epilogue_of(tile, group, &|slot| self.c_tile(slot));
            });
        });
    }

    /// Packs the panels of B of a group, each in the place of that number of so many that lie together, in slots of the group.
    fn pack_group(
        &self,
        block: IntValue<'ctx>,
        group: &[Panels<'ctx>],
        (place, places): (IntValue<'ctx>, u64),
    ) {
        let k = self.tables.k.get(self.emitter, block);
        for Panels { first, count, columns, slot } in group {
            let to = self.b_panel(self.emitter.add(place, self.i64(slot * places)));
            let beside = (*count, places * self.plan.b_panel());
            self.pack_beside((self.b_of_block(block, *first), *columns), to, k, beside);
        }
    }

    /// Calls `visit` with the number, the slot and the columns of each panel of a group.
    fn each_of(&self, group: &[Panels<'ctx>], visit: impl Fn(IntValue<'ctx>, IntValue<'ctx>, u64)) {
        for Panels { first, count, columns, slot } in group {
            self.emitter.repeat(*count, |number| {
                let [panel, slot] = [*first, self.i64(*slot)].map(|start| self.emitter.add(number, start));
                visit(panel, slot, *columns);
            });
        }
    }

    fn tiles_of_panel(&self, list: List<'ctx>, panel: IntValue<'ctx>, columns: u64) {
        let place = |block| self.number_in(list, block);
        self.for_blocks(list, |block| {
            let k = self.tables.k.get(self.emitter, block);
            self.pack_b(self.b_of_block(block, panel), columns, self.b_panel(place(block)), k);
        });
        self.for_tiles(|tile| {
            self.multiply_list(list, tile, (self.c, columns), (self.packed_b, &place));
            self.epilogue(tile, self.c, self.first_column(panel), columns);
        });
    }

    fn blocks_outside(&self, list: List<'ctx>) {
        let tile_of = |panel: IntValue<'ctx>, tile: IntValue<'ctx>| {
            let before = self.emitter.scale(panel, self.plan.tiles() as i64);
            self.c_tile(self.emitter.add(before, tile))
        };
        self.clear_if_empty(self.c, self.plan.tiles() * self.plan.panels());
        self.for_blocks(list, |block| {
            if self.plan.a == Source::Packed {
                self.pack_a(list, block);
            }
            let packed = self.plan.b == Source::Packed;
            self.for_groups(&|group| {
                if packed {
                    self.pack_group(block, group, (self.i64(0), 1));
                }
                self.for_tiles(|tile| {
                    self.each_of(group, |panel, slot, columns| {
                        let b = if packed { self.b_panel(slot) } else { self.b_of_block(block, panel) };
                        self.multiply(list, block, tile, (b, columns), tile_of(panel, tile));
                    });
                });
            });
        });
        self.for_tiles(|tile| self.epilogue_of(tile, &self.all_panels(), &|panel| tile_of(panel, tile)));
    }

    /// One panel of columns at all positions that share B.
    pub(super) fn shared_panel(&self, panel: IntValue<'ctx>, columns: u64) {
        self.emitter.repeat(self.i64(self.plan.panels_of_b.len() as u64), |number| {
            let k = self.tables.panel_k.get(self.emitter, number);
            self.pack_b(self.b_of_panel(number, panel), columns, self.b_panel(number), k);
        });
        self.loops(&self.plan.inside, &|| {
            let list = self.list();
            if self.plan.a == Source::Packed {
                self.for_blocks(list, |block| self.pack_a(list, block));
            }
            self.for_tiles(|tile| {
                let place = |block| self.tables.panel.get(self.emitter, block);
                self.multiply_list(list, tile, (self.c, columns), (self.packed_b, &place));
                self.epilogue(tile, self.c, self.first_column(panel), columns);
            });
        });
    }

    /// A tile of C, of so many columns, from all blocks of a list, whose panels of B lie behind `b`, each in its `place`.
    fn multiply_list(
        &self,
        list: List<'ctx>,
        tile: IntValue<'ctx>,
        (c, columns): (PointerValue<'ctx>, u64),
        (b, place): (PointerValue<'ctx>, &dyn Fn(IntValue<'ctx>) -> IntValue<'ctx>),
    ) {
        self.clear_if_empty(c, 1);
        match self.tables.offsets {
            Some(offsets) => self.multiply_listed(list, tile, columns, [b, c], offsets),
            None => self.for_blocks(list, |block| {
                let entries = self.emitter.scale(place(block), self.plan.b_panel() as i64);
                self.multiply(list, block, tile, (self.entry(b, entries), columns), c);
            }),
        }
    }

    /// All blocks of a list in one call of the kernel.
    fn multiply_listed(
        &self,
        list: List<'ctx>,
        tile: IntValue<'ctx>,
        columns: u64,
        [b, c]: [PointerValue<'ctx>; 2],
        offsets: [PointerValue<'ctx>; 2],
    ) {
        let emitter = self.emitter;
        let a = match self.plan.a {
            Source::InPlace => self.a_at(self.i64(0), self.first_row(tile)),
            Source::Packed => self.a_place(self.i64(0), tile),
        };
        let call = || self.call_listed((list.start, list.count), tile, columns, [a, b, c], offsets);
        if self.plan.some_empty() { emitter.when(emitter.some(list.count), call) } else { call() }
    }

    /// The kernel for so many pairs of blocks from the first one on.
    fn call_listed(
        &self,
        (first, count): (IntValue<'ctx>, IntValue<'ctx>),
        tile: IntValue<'ctx>,
        columns: u64,
        [a, b, c]: [PointerValue<'ctx>; 3],
        offsets: [PointerValue<'ctx>; 2],
    ) {
        let emitter = self.emitter;
        let int = emitter.context.i64_type().into();
        let [of_a, of_b] = offsets.map(|table| emitter.element(int, table, first));
        let turns = self.plan.blocks[0].k.div_ceil(self.plan.turn);
        self.by_rows(tile, &|rows| {
            let (rows, a, c) = self.whole_tile(rows, a, c);
            let kernel = self.listed_kernel(rows, columns, turns);
            let [a, b, c, of_a, of_b] = [a, b, c, of_a, of_b].map(Into::into);
            emitter.call(kernel, &[a, b, c, count.into(), of_a, of_b]);
        });
    }

    /// Packs the blocks of A that all panels of B find packed.
    pub(super) fn pack_once(&self) {
        let blocks = self.plan.scatter.once.len() as u64;
        if blocks == 0 {
            return;
        }
        self.emitter.repeat(self.i64(blocks), |slot| {
            let [offset, k] =
                [&self.tables.once_a, &self.tables.once_k].map(|table| table.get(self.emitter, slot));
            self.pack_slot(slot, offset, k);
        });
    }

    /// Packs the rows of A at `offset` into a slot.
    fn pack_slot(&self, slot: IntValue<'ctx>, offset: IntValue<'ctx>, k: IntValue<'ctx>) {
        self.for_tiles(|tile| {
            let source = self.a_at(offset, self.first_row(tile));
            self.pack_tile(tile, source, self.slot_tile(slot, tile), k);
        });
    }

    /// Where a tile of A lies in a slot.
    fn slot_tile(&self, slot: IntValue<'ctx>, tile: IntValue<'ctx>) -> PointerValue<'ctx> {
        let number = self.emitter.add(self.emitter.scale(slot, self.plan.tiles() as i64), tile);
        self.entry(self.packed_a, self.emitter.scale(number, self.plan.a_tile() as i64))
    }

    /// One panel of columns at all positions: the sums of all of them grow together, batch by batch.
    pub(super) fn scatter_panel(&self, panel: IntValue<'ctx>, columns: u64) {
        let emitter = self.emitter;
        let tiles = self.plan.tiles();
        let tile_of = |position: IntValue<'ctx>, tile: IntValue<'ctx>| {
            self.c_tile(emitter.add(emitter.scale(position, tiles as i64), tile))
        };
        self.clear(self.c, tiles * self.plan.positions);
        emitter.repeat(self.i64(self.plan.scatter.batches.len() as u64), |batch| {
            self.pack_batch(batch, panel, columns);
            let [first, count] = self.tables.batch_sums.get(emitter, batch);
            emitter.repeat(count, |sum| {
                let sum = emitter.add(sum, first);
                let position = self.tables.sum_position.get(emitter, sum);
                let pairs = self.tables.sum_pairs.get(emitter, sum);
                self.for_tiles(|tile| self.add_pairs(pairs, tile, tile_of(position, tile), columns));
            });
        });
        self.loops(&self.plan.inside, &|| {
            let inside = self.plan.inside.iter().fold(self.i64(0), |before, &number| {
                let extent = self.chunk.length(self.gemm.outer[number].range) as i64;
                emitter.add(emitter.scale(before, extent), self.outer[number].get())
            });
            let column = self.first_column(panel);
            self.for_tiles(|tile| self.epilogue(tile, tile_of(inside, tile), column, columns));
        });
    }

    /// Packs the blocks of B of a batch side by side, and those of A that it is the first to use.
    fn pack_batch(&self, batch: IntValue<'ctx>, panel: IntValue<'ctx>, columns: u64) {
        let (emitter, tables) = (self.emitter, &self.tables);
        let [first, count] = tables.batch_panels.get(emitter, batch);
        emitter.repeat(count, |place| {
            let number = emitter.add(place, first);
            let k = tables.panel_k.get(emitter, number);
            self.pack_b(self.b_of_panel(number, panel), columns, self.b_panel(place), k);
        });
        if self.plan.scatter.packs.is_empty() {
            return;
        }
        let [first, count] = tables.batch_packs.get(emitter, batch);
        emitter.repeat_any(count, |pack| {
            let pack = emitter.add(pack, first);
            let [slot, offset, k] =
                [&tables.pack_slot, &tables.pack_a, &tables.pack_k].map(|table| table.get(emitter, pack));
            self.pack_slot(slot, offset, k);
        });
    }

    /// Adds the products of pairs of blocks to a tile of C.
    fn add_pairs(
        &self,
        [first, count]: [IntValue<'ctx>; 2],
        tile: IntValue<'ctx>,
        c: PointerValue<'ctx>,
        columns: u64,
    ) {
        let emitter = self.emitter;
        let offsets = self.tables.offsets.expect("the order has some");
        let a = match self.plan.a {
            Source::InPlace => self.a_at(self.i64(0), self.first_row(tile)),
            Source::Packed => self.slot_tile(self.i64(0), tile),
        };
        let operands = [a, self.packed_b, c];
        if self.plan.listed {
            return self.call_listed((first, count), tile, columns, operands, offsets);
        }
        emitter.repeat(count, |pair| {
            let pair = emitter.add(pair, first);
            let behind = |base, table| emitter.behind(base, emitter.look_up(table, pair));
            let more = emitter.context.bool_type().const_all_ones();
            let operands = [behind(a, offsets[0]), behind(self.packed_b, offsets[1]), c];
            self.run_kernel(tile, columns, operands, self.tables.pair_k.get(emitter, pair), more);
        });
    }

    /// Zeros in tiles of C, where a position may have no terms.
    fn clear_if_empty(&self, c: PointerValue<'ctx>, tiles: u64) {
        if self.plan.some_empty() {
            self.clear(c, tiles);
        }
    }

    pub(super) fn clear(&self, c: PointerValue<'ctx>, tiles: u64) {
        let lanes = self.emitter.target.lanes();
        let vector = self.emitter.ty(Ty::F32, lanes);
        let count = tiles * self.plan.c_tile() / u64::from(lanes);
        self.emitter.repeat(self.i64(count), |number| {
            let to = self.entry(c, self.emitter.scale(number, i64::from(lanes)));
            self.emitter.store(vector.const_zero(), to, lanes * 4, None);
        });
    }

    /// All rows of a panel.
    fn panel(&self, list: List<'ctx>, panel: IntValue<'ctx>, columns: u64) {
        let keeps = self.plan.keeps_panel();
        let column = self.first_column(panel);
        let kept = |tile| if keeps { self.c_tile(tile) } else { self.c };
        self.clear_if_empty(self.c, self.plan.tiles());
        self.for_blocks(list, |block| {
            let b = self.b_of(block, panel, columns);
            self.for_tiles(|tile| {
                self.multiply(list, block, tile, (b, columns), kept(tile));
                if !keeps {
                    self.epilogue(tile, self.c, column, columns);
                }
            });
        });
        if keeps {
            self.for_tiles(|tile| self.epilogue(tile, kept(tile), column, columns));
        }
    }
}

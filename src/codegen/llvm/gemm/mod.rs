//! Contractions: the loops around the kernel, and the packing of its operands.
//!
//! Columns are handled one panel of a few vectors at a time. A panel of B is copied into scratch memory as
//! `[k][panel]`; A is read in place by broadcasts when its rows run along k, else copied as `[k][rows]`. For each
//! tile of rows the kernel sums over a whole block of k in registers and leaves a tile of C in scratch, from which
//! the epilogue reads it at once, while it is in the first-level cache. Long sums (`terms`, or k above a limit)
//! are cut into blocks.
//!
//! Which loop is outside which is the plan's [`Order`]: what a task repeats stays in the second-level cache.

mod operand;
mod plan;
mod scatter;
mod tables;

use std::cell::Cell;

use inkwell::IntPredicate;
use inkwell::values::{FunctionValue, InstructionOpcode, IntValue, PointerValue};

use self::plan::{LINE, Order, Plan, Source};
use self::tables::Table;
use super::emit::{Emitter, Value, must};
use super::kernel::{self, Product, Tiles, Vectors};
use super::level::Chunk;
use super::pack::{self, TILE};
use super::scalars::{Frame, Instance, Site};
use crate::codegen::family::Family;
use crate::codegen::target::Target;
use crate::loops::{Buffer, BufferId, Elem, Gemm, Group, LoopVar, Operand, Outer, Program, Range, Stmt, Ty};

/// Bytes of scratch memory that any task of the program needs.
pub fn scratch_bytes(program: &Program, target: &Target) -> usize {
    let groups = program.routines.iter().flat_map(|routine| &routine.levels).flat_map(|level| &level.groups);
    let of = |stmt, group| stmt_bytes(stmt, group, &program.buffers, target);
    groups.flat_map(|group| group.body.iter().map(move |stmt| of(stmt, group))).max().unwrap_or(0)
}

fn stmt_bytes(stmt: &Stmt, group: &Group, buffers: &[Buffer], target: &Target) -> usize {
    let gemm = match stmt {
        Stmt::Nest(_) => return 0,
        Stmt::Orthonormalize { rows, cols, .. } => return rows * cols * 4,
        Stmt::Gemm(gemm) => gemm,
    };
    let (full, rest) = (group.chunk.min(group.extent) as u64, (group.extent % group.chunk) as u64);
    let lengths = [full, rest];
    let bytes = |length: &u64| {
        let of = |range| match range {
            Range::Full(extent) => extent as u64,
            Range::Chunk => *length,
        };
        Plan::new(gemm, [gemm.m, gemm.n, gemm.k].map(of), buffers, target).bytes()
    };
    lengths.iter().filter(|length| **length > 0).map(bytes).max().unwrap_or(0)
}

/// Emits a GEMM. `site` has no loop open; `scratch` is the thread's own memory.
pub fn emit<'ctx>(
    emitter: &Emitter<'ctx>,
    gemm: &Gemm,
    chunk: Chunk<'ctx>,
    site: Site<'_, 'ctx>,
    scratch: PointerValue<'ctx>,
) {
    let size = [gemm.m, gemm.n, gemm.k].map(|range| chunk.length(range));
    let plan = Plan::new(gemm, size, site.buffers, &emitter.target);
    let by_tiles = plan.family.by_tiles();
    let [m0, n0, k0] = [gemm.m, gemm.n, gemm.k].map(|range| chunk.start_of(emitter, range));
    let at = |entries: u64| emitter.offset(scratch, entries as usize * 4);
    let b_start = plan.a_entries().next_multiple_of(LINE);
    let c_start = b_start + plan.b_entries().next_multiple_of(LINE);
    let builder = GemmEmitter {
        emitter,
        gemm,
        chunk,
        tables: Tables::new(emitter, gemm, &plan),
        packed_a: at(0),
        packed_b: at(b_start),
        c: at(c_start),
        outer: gemm.outer.iter().map(|_| Cell::new(emitter.i64(0))).collect(),
        plan,
        site,
        m0,
        n0,
        k0,
    };
    if by_tiles {
        kernel::configure(emitter);
    }
    builder.run();
    if by_tiles {
        kernel::release(emitter);
    }
}

/// What the code looks up while it runs.
struct Tables<'ctx> {
    /// By block. Order [`Order::Scatter`] asks for none of these and of the next two.
    a: Table<'ctx>,
    b: Table<'ctx>,
    k: Table<'ctx>,
    panel: Table<'ctx>,
    /// By position of the outer loops that have different terms: the first block and the one behind the last.
    start: Table<'ctx>,
    end: Table<'ctx>,
    /// Offsets of A and of the packed B at every step of all lists, where terms are walked step by step.
    steps: Option<[PointerValue<'ctx>; 2]>,
    /// By different block of B.
    panel_b: Table<'ctx>,
    panel_k: Table<'ctx>,
    /// The products with each of those: the first one, and how many.
    use_start: Table<'ctx>,
    use_count: Table<'ctx>,
    /// By product: position, offset of A, where its rows are packed, and whether that is still to be done.
    use_position: Table<'ctx>,
    use_a: Table<'ctx>,
    use_slot: Table<'ctx>,
    use_fresh: Table<'ctx>,
    /// Blocks of A that are packed once, by slot: offset and length along k.
    once_a: Table<'ctx>,
    once_k: Table<'ctx>,
}

impl<'ctx> Tables<'ctx> {
    fn new(emitter: &Emitter<'ctx>, gemm: &Gemm, plan: &Plan) -> Self {
        let scatters = plan.order == Order::Scatter;
        let blocks = || plan.blocks.iter().filter(|_| !scatters);
        let choice = || gemm.terms.choice.iter().filter(|_| !scatters).map(|&list| list as usize);
        let uses = || plan.scatter.uses.iter().flatten();
        let mut use_start = plan.scatter.uses.iter().scan(0, |end, uses| {
            let start = *end;
            *end += uses.len() as i64;
            Some(start)
        });
        let table = |numbers: &mut dyn Iterator<Item = i64>| Table::new(emitter, numbers);
        Tables {
            a: table(&mut blocks().map(|block| block.a)),
            b: table(&mut blocks().map(|block| block.b)),
            k: table(&mut blocks().map(|block| block.k as i64)),
            panel: table(&mut blocks().map(|block| block.panel as i64)),
            start: table(&mut choice().map(|list| plan.starts[list] as i64)),
            end: table(&mut choice().map(|list| plan.starts[list + 1] as i64)),
            steps: plan.stepped.then(|| Self::steps(emitter, gemm, plan)),
            panel_b: table(&mut plan.panels_of_b.iter().map(|panel| panel.0)),
            panel_k: table(&mut plan.panels_of_b.iter().map(|panel| panel.1 as i64)),
            use_start: table(&mut use_start),
            use_count: table(&mut plan.scatter.uses.iter().map(|uses| uses.len() as i64)),
            use_position: table(&mut uses().map(|one| one.position as i64)),
            use_a: table(&mut uses().map(|one| one.a)),
            use_slot: table(&mut uses().map(|one| one.slot as i64)),
            use_fresh: table(&mut uses().map(|one| i64::from(one.fresh))),
            once_a: table(&mut plan.scatter.once.iter().map(|block| block.0)),
            once_k: table(&mut plan.scatter.once.iter().map(|block| block.1 as i64)),
        }
    }

    fn steps(emitter: &Emitter<'ctx>, gemm: &Gemm, plan: &Plan) -> [PointerValue<'ctx>; 2] {
        let (along_a, along_b) = (gemm.a.strides.1 as i64, plan.columns as i64);
        let depth = plan.depth as i64;
        let blocks = || plan.blocks.iter();
        let a = blocks().flat_map(|block| (0..depth).map(move |step| block.a + step * along_a));
        let b = blocks()
            .flat_map(|block| (0..depth).map(move |step| (block.panel as i64 * depth + step) * along_b));
        [emitter.table("steps", a), emitter.table("steps", b)]
    }
}

/// Blocks of one list.
#[derive(Clone, Copy)]
struct List<'ctx> {
    start: IntValue<'ctx>,
    count: IntValue<'ctx>,
}

struct GemmEmitter<'e, 'ctx> {
    emitter: &'e Emitter<'ctx>,
    gemm: &'e Gemm,
    chunk: Chunk<'ctx>,
    plan: Plan,
    tables: Tables<'ctx>,
    site: Site<'e, 'ctx>,
    /// First row, column and depth.
    m0: IntValue<'ctx>,
    n0: IntValue<'ctx>,
    k0: IntValue<'ctx>,
    packed_a: PointerValue<'ctx>,
    packed_b: PointerValue<'ctx>,
    c: PointerValue<'ctx>,
    /// Positions of the outer loops, as far as they are open.
    outer: Vec<Cell<IntValue<'ctx>>>,
}

impl<'e, 'ctx> GemmEmitter<'e, 'ctx> {
    fn run(&self) {
        let inside = |number: &usize| self.plan.inside.contains(number);
        let around: Vec<usize> = (0..self.gemm.outer.len()).filter(|number| !inside(number)).collect();
        self.loops(&around, &|| match self.plan.order {
            Order::Shared => self.for_panels(&|panel, columns| self.shared_panel(panel, columns)),
            Order::Scatter => {
                self.pack_once();
                self.for_panels(&|panel, columns| self.scatter_panel(panel, columns));
            }
            _ => self.product(),
        });
    }

    /// The outer loops of these numbers around `body`.
    fn loops(&self, numbers: &[usize], body: &dyn Fn()) {
        let Some((&number, rest)) = numbers.split_first() else { return body() };
        let range = self.gemm.outer[number].range;
        let start = self.chunk.start_of(self.emitter, range);
        self.emitter.repeat(self.i64(self.chunk.length(range)), |position| {
            self.outer[number].set(self.emitter.add(position, start));
            self.loops(rest, body);
        });
    }

    /// What is summed at the position of the outer loops.
    fn list(&self) -> List<'ctx> {
        let place = self.at_outer(self.i64(0), |outer| outer.list, &[]);
        let start = self.tables.start.get(self.emitter, place);
        let end = self.tables.end.get(self.emitter, place);
        List { start, count: must(self.emitter.builder.build_int_sub(end, start, "")) }
    }

    /// The product at one position of the outer loops.
    fn product(&self) {
        let list = self.list();
        if self.plan.a == Source::Packed && self.plan.order != Order::Blocks {
            self.for_blocks(list, |block| self.pack_a(list, block));
        }
        match self.plan.order {
            Order::Rows => self.rows_outside(list),
            Order::Tiles => self.for_panels(&|panel, columns| self.tiles_of_panel(list, panel, columns)),
            Order::Blocks => self.blocks_outside(list),
            _ => self.for_panels(&|panel, columns| self.panel(list, panel, columns)),
        }
    }

    fn rows_outside(&self, list: List<'ctx>) {
        let first = list.start;
        let k = self.tables.k.get(self.emitter, first);
        self.for_panels(&|panel, columns| {
            self.pack_b(self.b_of_block(first, panel), columns, self.b_panel(panel), k);
        });
        self.for_tiles(|tile| {
            self.for_panels(&|panel, columns| {
                self.multiply(list, first, tile, self.b_panel(panel), self.c);
                self.epilogue(tile, self.c, self.first_column(panel), columns);
            });
        });
    }

    fn tiles_of_panel(&self, list: List<'ctx>, panel: IntValue<'ctx>, columns: u64) {
        let packed = |block| self.b_panel(self.number_in(list, block));
        self.for_blocks(list, |block| {
            let k = self.tables.k.get(self.emitter, block);
            self.pack_b(self.b_of_block(block, panel), columns, packed(block), k);
        });
        self.for_tiles(|tile| {
            self.clear_if_empty(self.c, 1);
            self.for_blocks(list, |block| self.multiply(list, block, tile, packed(block), self.c));
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
            self.for_panels(&|panel, columns| {
                let b = self.b_of(block, panel, columns);
                self.for_tiles(|tile| self.multiply(list, block, tile, b, tile_of(panel, tile)));
            });
        });
        self.for_panels(&|panel, columns| {
            let column = self.first_column(panel);
            self.for_tiles(|tile| self.epilogue(tile, tile_of(panel, tile), column, columns));
        });
    }

    /// One panel of columns at all positions that share B.
    fn shared_panel(&self, panel: IntValue<'ctx>, columns: u64) {
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
                self.clear_if_empty(self.c, 1);
                match self.tables.steps {
                    Some(steps) => self.multiply_steps(list, tile, steps),
                    None => self.for_blocks(list, |block| {
                        let b = self.b_panel(self.tables.panel.get(self.emitter, block));
                        self.multiply(list, block, tile, b, self.c);
                    }),
                }
                self.epilogue(tile, self.c, self.first_column(panel), columns);
            });
        });
    }

    /// All terms of a list in one call of the kernel.
    fn multiply_steps(&self, list: List<'ctx>, tile: IntValue<'ctx>, steps: [PointerValue<'ctx>; 2]) {
        let emitter = self.emitter;
        let depth = self.plan.depth as i64;
        let a = self.a_at(self.i64(0), self.first_row(tile));
        let first = emitter.scale(list.start, depth);
        let int = emitter.context.i64_type().into();
        let [steps_a, steps_b] = steps.map(|table| emitter.element(int, table, first));
        self.by_rows(tile, &|rows| {
            let kernel = self.vectors(rows).stepped(emitter);
            let call = || {
                let count = emitter.scale(list.count, depth);
                let args = [
                    a.into(),
                    self.packed_b.into(),
                    self.c.into(),
                    count.into(),
                    steps_a.into(),
                    steps_b.into(),
                ];
                emitter.call(kernel, &args);
            };
            if self.plan.some_empty() { emitter.when(emitter.some(list.count), call) } else { call() }
        });
    }

    /// Packs the blocks of A that all panels of B find packed.
    fn pack_once(&self) {
        let blocks = self.plan.scatter.once.len() as u64;
        if self.plan.a == Source::InPlace || blocks == 0 {
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

    /// One panel of columns at all positions: the sums of all of them grow together.
    fn scatter_panel(&self, panel: IntValue<'ctx>, columns: u64) {
        let emitter = self.emitter;
        let tiles = self.plan.tiles();
        let tile_of = |position: IntValue<'ctx>, tile: IntValue<'ctx>| {
            self.c_tile(emitter.add(emitter.scale(position, tiles as i64), tile))
        };
        self.clear(self.c, tiles * self.plan.positions);
        let tables = &self.tables;
        emitter.repeat(self.i64(self.plan.panels_of_b.len() as u64), |number| {
            let k = tables.panel_k.get(emitter, number);
            let b = self.pack_b(self.b_of_panel(number, panel), columns, self.packed_b, k);
            let start = tables.use_start.get(emitter, number);
            emitter.repeat(tables.use_count.get(emitter, number), |one| {
                let one = emitter.add(one, start);
                let position = tables.use_position.get(emitter, one);
                let offset = tables.use_a.get(emitter, one);
                let slot = tables.use_slot.get(emitter, one);
                let packed = self.plan.a == Source::Packed;
                if packed && self.plan.scatter.once.is_empty() {
                    let fresh = emitter.some(tables.use_fresh.get(emitter, one));
                    emitter.when(fresh, || self.pack_slot(slot, offset, k));
                }
                self.for_tiles(|tile| {
                    let a = match packed {
                        true => self.slot_tile(slot, tile),
                        false => self.a_at(offset, self.first_row(tile)),
                    };
                    let more = emitter.context.bool_type().const_all_ones();
                    self.run_kernel(tile, [a, b, tile_of(position, tile)], k, more);
                });
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

    /// Zeros in tiles of C, where a position may have no terms.
    fn clear_if_empty(&self, c: PointerValue<'ctx>, tiles: u64) {
        if self.plan.some_empty() {
            self.clear(c, tiles);
        }
    }

    fn clear(&self, c: PointerValue<'ctx>, tiles: u64) {
        let lanes = self.emitter.target.lanes();
        let vector = self.emitter.ty(Ty::F32, lanes);
        let count = tiles * self.plan.c_tile() / u64::from(lanes);
        self.emitter.repeat(self.i64(count), |number| {
            let to = self.entry(c, self.emitter.scale(number, i64::from(lanes)));
            self.emitter.store(vector.const_zero(), to, lanes * 4, None);
        });
    }

    fn for_tiles(&self, body: impl FnOnce(IntValue<'ctx>)) {
        self.emitter.repeat(self.i64(self.plan.tiles()), body);
    }

    /// Calls `visit` with the number and the columns of each panel.
    fn for_panels(&self, visit: &dyn Fn(IntValue<'ctx>, u64)) {
        let (full, rest) = (self.plan.n / self.plan.columns, self.plan.n % self.plan.columns);
        if full > 0 {
            self.emitter.repeat(self.i64(full), |panel| visit(panel, self.plan.columns));
        }
        if rest > 0 {
            visit(self.i64(full), rest);
        }
    }

    /// Within the task, as the next.
    fn first_row(&self, tile: IntValue<'ctx>) -> IntValue<'ctx> {
        self.emitter.scale(tile, self.plan.rows as i64)
    }

    fn first_column(&self, panel: IntValue<'ctx>) -> IntValue<'ctx> {
        self.emitter.scale(panel, self.plan.columns as i64)
    }

    /// Where the packed panel of B of that number lies.
    fn b_panel(&self, number: IntValue<'ctx>) -> PointerValue<'ctx> {
        let entries = self.plan.b_panel() as i64;
        self.entry(self.packed_b, self.emitter.scale(number, entries))
    }

    /// A block's number in its list.
    fn number_in(&self, list: List<'ctx>, block: IntValue<'ctx>) -> IntValue<'ctx> {
        must(self.emitter.builder.build_int_sub(block, list.start, ""))
    }

    fn i64(&self, value: u64) -> IntValue<'ctx> {
        self.emitter.i64(value as i64)
    }

    /// Pointer to an f32 entry.
    fn entry(&self, base: PointerValue<'ctx>, index: IntValue<'ctx>) -> PointerValue<'ctx> {
        self.emitter.element(self.emitter.ty(Ty::F32, 1), base, index)
    }

    fn operand(
        &self,
        operand: Operand,
        offset: IntValue<'ctx>,
        at: [(IntValue<'ctx>, usize); 2],
    ) -> PointerValue<'ctx> {
        let buffer: BufferId = operand.buffer;
        let elem = self.site.buffers[buffer.index()].elem;
        let start = self.site.start(self.emitter, buffer);
        let index = at.iter().fold(offset, |sum, (position, stride)| {
            self.emitter.add(self.emitter.scale(*position, *stride as i64), sum)
        });
        self.emitter.element(self.emitter.elem(elem, 1), start, index)
    }

    fn elem(&self, operand: Operand) -> Elem {
        self.site.buffers[operand.buffer.index()].elem
    }

    /// An offset at the positions of the outer loops, without those of which it holds already.
    fn at_outer(
        &self,
        offset: IntValue<'ctx>,
        stride: fn(&Outer) -> usize,
        without: &[usize],
    ) -> IntValue<'ctx> {
        let numbered = self.gemm.outer.iter().zip(&self.outer).enumerate();
        let moving = numbered.filter(|(number, (outer, _))| stride(outer) > 0 && !without.contains(number));
        moving.fold(offset, |sum, (_, (outer, position))| {
            self.emitter.add(self.emitter.scale(position.get(), stride(outer) as i64), sum)
        })
    }

    /// Outer loops that offsets of blocks hold already.
    fn held(&self) -> &[usize] {
        if self.plan.order == Order::Scatter { &self.plan.inside } else { &[] }
    }

    /// A from row `row` of this task on, at `offset`.
    fn a_at(&self, offset: IntValue<'ctx>, row: IntValue<'ctx>) -> PointerValue<'ctx> {
        let row = self.emitter.add(row, self.m0);
        let offset = self.at_outer(offset, |outer| outer.strides.0, self.held());
        self.operand(self.gemm.a, offset, [(row, self.gemm.a.strides.0), (self.k0, self.gemm.a.strides.1)])
    }

    /// A from row `row` of this task on, in block `block`.
    fn a(&self, block: IntValue<'ctx>, row: IntValue<'ctx>) -> PointerValue<'ctx> {
        self.a_at(self.tables.a.get(self.emitter, block), row)
    }

    fn b(&self, offset: IntValue<'ctx>, panel: IntValue<'ctx>) -> PointerValue<'ctx> {
        let column = self.emitter.add(self.first_column(panel), self.n0);
        let offset = self.at_outer(offset, |outer| outer.strides.1, self.held());
        self.operand(self.gemm.b, offset, [(self.k0, self.gemm.b.strides.0), (column, self.gemm.b.strides.1)])
    }

    fn b_of_block(&self, block: IntValue<'ctx>, panel: IntValue<'ctx>) -> PointerValue<'ctx> {
        self.b(self.tables.b.get(self.emitter, block), panel)
    }

    fn b_of_panel(&self, number: IntValue<'ctx>, panel: IntValue<'ctx>) -> PointerValue<'ctx> {
        self.b(self.tables.panel_b.get(self.emitter, number), panel)
    }

    /// Where a tile of A lies in scratch memory.
    fn a_tile(&self, list: List<'ctx>, block: IntValue<'ctx>, tile: IntValue<'ctx>) -> PointerValue<'ctx> {
        let number = match self.plan.order {
            Order::Blocks => tile,
            _ => {
                let before = self.emitter.scale(self.number_in(list, block), self.plan.tiles() as i64);
                self.emitter.add(before, tile)
            }
        };
        self.entry(self.packed_a, self.emitter.scale(number, self.plan.a_tile() as i64))
    }

    fn for_blocks(&self, list: List<'ctx>, body: impl FnOnce(IntValue<'ctx>)) {
        let body = |number| body(self.emitter.add(number, list.start));
        match self.plan.some_empty() {
            true => self.emitter.repeat_any(list.count, body),
            false => self.emitter.repeat(list.count, body),
        }
    }

    /// Runs `full` for tiles with all rows, `short` (given the rows) for a last one with fewer.
    fn by_rows(&self, tile: IntValue<'ctx>, run: &dyn Fn(u64)) {
        let rest = self.plan.m % self.plan.rows;
        if rest == 0 {
            return run(self.plan.rows);
        }
        let full = self.i64(self.plan.m / self.plan.rows);
        let is = |op| must(self.emitter.builder.build_int_compare(op, tile, full, ""));
        if self.plan.tiles() > 1 {
            self.emitter.when(is(IntPredicate::ULT), || run(self.plan.rows));
        }
        self.emitter.when(is(IntPredicate::EQ), || run(rest));
    }

    fn pack_a(&self, list: List<'ctx>, block: IntValue<'ctx>) {
        let k = self.tables.k.get(self.emitter, block);
        self.for_tiles(|tile| {
            let source = self.a(block, self.first_row(tile));
            self.pack_tile(tile, source, self.a_tile(list, block, tile), k);
        });
    }

    /// Copies the rows of a tile.
    fn pack_tile(
        &self,
        tile: IntValue<'ctx>,
        source: PointerValue<'ctx>,
        to: PointerValue<'ctx>,
        k: IntValue<'ctx>,
    ) {
        let (rows_stride, k_stride) = self.gemm.a.strides;
        self.by_rows(tile, &|rows| {
            let (strides, padded) = ((k_stride as u64, rows_stride as u64), self.plan.a_step());
            let (from, form) = (self.elem(self.gemm.a), self.plan.a_form());
            pack::Copy { width: rows, padded, strides, from, form }.call(self.emitter, source, to, k);
        });
    }

    /// A panel of B where the kernel reads it.
    fn b_of(&self, block: IntValue<'ctx>, panel: IntValue<'ctx>, columns: u64) -> PointerValue<'ctx> {
        let source = self.b_of_block(block, panel);
        match self.plan.b {
            Source::InPlace => source,
            Source::Packed => {
                self.pack_b(source, columns, self.packed_b, self.tables.k.get(self.emitter, block))
            }
        }
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
                self.multiply(list, block, tile, b, kept(tile));
                if !keeps {
                    self.epilogue(tile, self.c, column, columns);
                }
            });
        });
        if keeps {
            self.for_tiles(|tile| self.epilogue(tile, kept(tile), column, columns));
        }
    }

    /// Adds one block's products to the tile of C at `c`; the first block of a list starts it.
    fn multiply(
        &self,
        list: List<'ctx>,
        block: IntValue<'ctx>,
        tile: IntValue<'ctx>,
        b: PointerValue<'ctx>,
        c: PointerValue<'ctx>,
    ) {
        let a = match self.plan.a {
            Source::Packed => self.a_tile(list, block, tile),
            Source::InPlace => self.a(block, self.first_row(tile)),
        };
        let more = self.emitter.builder.build_int_compare(IntPredicate::NE, block, list.start, "");
        self.run_kernel(tile, [a, b, c], self.tables.k.get(self.emitter, block), must(more));
    }

    fn run_kernel(
        &self,
        tile: IntValue<'ctx>,
        [a, b, c]: [PointerValue<'ctx>; 3],
        k: IntValue<'ctx>,
        more: IntValue<'ctx>,
    ) {
        let turns = self.turns(k);
        self.by_rows(tile, &|rows| {
            let kernel = self.kernel(rows);
            self.emitter.call(kernel, &[a.into(), b.into(), c.into(), turns.into(), more.into()]);
        });
    }

    fn c_tile(&self, tile: IntValue<'ctx>) -> PointerValue<'ctx> {
        self.entry(self.c, self.emitter.scale(tile, self.plan.c_tile() as i64))
    }

    /// How often the kernel turns for `k` entries.
    fn turns(&self, k: IntValue<'ctx>) -> IntValue<'ctx> {
        let turn = self.plan.family.turn();
        if turn == 1 {
            return k;
        }
        let above = self.emitter.add(k, self.i64(turn - 1));
        self.emitter.binop(InstructionOpcode::UDiv, above.into(), self.i64(turn).into()).into_int_value()
    }

    fn kernel(&self, rows: u64) -> FunctionValue<'ctx> {
        match self.plan.family.by_tiles() {
            true => self.tiles(rows).function(self.emitter),
            false => self.vectors(rows).function(self.emitter),
        }
    }

    fn tiles(&self, rows: u64) -> Tiles {
        let plan = &self.plan;
        let planes = plan.family.planes();
        let [rows, columns] = [rows, plan.columns].map(|extent| extent.div_ceil(TILE));
        let (a_row, a_plane, a_block) = match plan.a {
            Source::Packed => (4 * TILE, 4 * TILE * plan.a_step(), 4 * TILE * plan.a_step() * planes),
            Source::InPlace => (self.a_strides().0, 0, 4 * TILE),
        };
        Tiles { rows, columns, planes, a_row, a_plane, a_block }
    }

    fn vectors(&self, rows: u64) -> Vectors {
        let plan = &self.plan;
        let product = if plan.family == Family::Dot { Product::Dot } else { Product::Fma };
        let (a_row, a_k) = match plan.a {
            Source::Packed => (4, 4 * plan.a_step()),
            Source::InPlace => (self.a_strides().0, self.a_strides().1 * plan.family.entries_per_step()),
        };
        let b_k = match plan.b {
            Source::Packed => 4 * plan.columns,
            Source::InPlace => 4 * self.gemm.b.strides.0 as u64,
        };
        Vectors { product, rows, vectors: plan.vectors, a_row, a_k, b_k }
    }

    /// In bytes.
    fn a_strides(&self) -> (u64, u64) {
        let bytes = self.elem(self.gemm.a).bytes();
        ((self.gemm.a.strides.0 * bytes) as u64, (self.gemm.a.strides.1 * bytes) as u64)
    }

    /// Copies a panel of B; returns where it lies.
    fn pack_b(
        &self,
        source: PointerValue<'ctx>,
        columns: u64,
        to: PointerValue<'ctx>,
        k: IntValue<'ctx>,
    ) -> PointerValue<'ctx> {
        let strides = (self.gemm.b.strides.0 as u64, self.gemm.b.strides.1 as u64);
        let (padded, from, form) = (self.plan.columns, self.elem(self.gemm.b), self.plan.b_form());
        pack::Copy { width: columns, padded, strides, from, form }.call(self.emitter, source, to, k);
        to
    }

    /// Hands a tile of C to the epilogue: vectors of columns outside, rows inside, so that what depends on the
    /// column alone is computed once per tile.
    fn epilogue(&self, tile: IntValue<'ctx>, c: PointerValue<'ctx>, column: IntValue<'ctx>, columns: u64) {
        let scalars = &self.gemm.epilogue;
        let types = scalars.types(self.site.buffers, &[Ty::F32]).expect("verified");
        let written = |buffer: BufferId| scalars.stores.iter().any(|store| store.buffer == buffer);
        let mut site = self.site.clone();
        (site.vector, site.lanes) = (Some(COLUMN), self.emitter.target.lanes());
        // The row is the innermost loop, the column the one around it; all others are open already.
        let opened: Vec<usize> = [2, 1].into_iter().chain(self.outer.iter().map(|_| 0)).collect();
        let mut frame = Frame::new(scalars, types, site.vector, &opened, true, &written);
        let row = self.emitter.add(self.first_row(tile), self.m0);
        site.loops = vec![row, self.emitter.add(column, self.n0)];
        site.loops.extend(self.outer.iter().map(Cell::get));
        let instances = self.instances(columns);
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

    fn instances(&self, columns: u64) -> Vec<Instance<'ctx>> {
        let lanes = u64::from(self.emitter.target.lanes());
        let instance = |shift: u64| {
            let left = (columns - shift).min(lanes);
            let mask = (left < lanes).then(|| self.emitter.first_lanes(left as u32, lanes as u32));
            Instance { shift: shift as u32, mask }
        };
        (0..columns).step_by(lanes as usize).map(instance).collect()
    }

    fn rows_of(&self, tile: IntValue<'ctx>) -> IntValue<'ctx> {
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

/// The loop of an epilogue that counts columns.
const COLUMN: LoopVar = LoopVar(1);

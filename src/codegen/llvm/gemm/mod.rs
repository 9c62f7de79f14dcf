//! Contractions: the loops around the kernel, and the packing of its operands.
//!
//! Columns are handled one panel of a few vectors at a time. A panel of B is copied into scratch memory as
//! `[k][panel]`; A is read in place by broadcasts when its rows run along k, else copied as `[k][rows]`. For each
//! tile of rows the kernel sums over a whole block of k in registers and leaves a tile of C in scratch, from which
//! the epilogue reads it at once, while it is in the first-level cache. Long sums (`terms`, or k above a limit)
//! are cut into blocks.
//!
//! Which loop is outside which is the plan's [`Order`]: what a task repeats stays in the second-level cache.

mod blocks;
mod epilogue;
mod gradient;
mod joined;
pub mod kept;
mod operand;
mod orders;
mod patch;
mod patches;
mod plan;
mod scatter;
mod stencil;
mod tables;
mod transforms;
mod window_gradients;
mod windows;
mod winograd;

use std::cell::Cell;
use std::collections::HashSet;
use std::hash::Hash;

use blk_runtime::manifest::NOTE_BYTES;
use inkwell::IntPredicate;
use inkwell::values::{FunctionValue, InstructionOpcode, IntValue, PointerValue};

use self::epilogue::Panels;
use self::plan::{LINE, Order, Plan, Source};
use self::tables::Tables;
use self::transforms::Transform;
use self::winograd::Map;
use super::emit::{Emitter, must};
use super::kernel::{self, Product, Tiles, Vectors};
use super::pack::{self, TILE};
use super::piece::Chunk;
use super::scalars::Site;
use crate::codegen::family::Family;
use crate::codegen::target::Target;
use crate::loops::{Buffer, BufferId, Elem, Gemm, Group, Operand, Outer, Program, Range, Stmt, Ty};

/// Bytes of scratch memory that any task of the program needs.
pub fn scratch_bytes(program: &Program, target: &Target) -> usize {
    let groups = program.routines.iter().flat_map(|routine| &routine.levels).flat_map(|level| &level.groups);
    let stmts = groups.flat_map(|group| group.body.iter().map(move |stmt| (stmt, group)));
    let mut known = HashSet::new();
    // The blocks of a network repeat their products.
    let new = stmts.filter(|(stmt, group)| match stmt {
        Stmt::Gemm(gemm) => known.insert((geometry(gemm, &program.buffers), group.chunk, group.extent)),
        _ => true,
    });
    NOTE_BYTES + new.map(|(stmt, group)| stmt_bytes(stmt, group, &program.buffers, target)).max().unwrap_or(0)
}

/// All on which a product's plan depends, beside the lengths of chunks and the target.
fn geometry<'g>(gemm: &'g Gemm, buffers: &[Buffer]) -> impl Hash + Eq + use<'g> {
    let operand = |operand: Operand| (operand.strides, buffers[operand.buffer.index()].elem);
    let Gemm { outer, m, n, k, a, b, terms, arithmetic, epilogue: _ } = gemm;
    (outer, [m, n, k], operand(*a), operand(*b), &terms.lists, &terms.choice, arithmetic)
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
        joined::parts(gemm, of, buffers, target).iter().map(|(_, plan)| plan.bytes()).max().unwrap_or(0)
    };
    lengths.iter().filter(|length| **length > 0).map(bytes).max().unwrap_or(0)
}

/// Emits a GEMM. `site` has no loop open; `scratch` is the thread's own memory, with its note.
pub fn emit<'ctx>(
    emitter: &Emitter<'ctx>,
    gemm: &Gemm,
    chunk: Chunk<'ctx>,
    site: Site<'_, 'ctx>,
    scratch: PointerValue<'ctx>,
) {
    for (part, plan) in joined::parts(gemm, |range| chunk.length(range), site.buffers, &emitter.target) {
        emit_part(emitter, (&part, plan), chunk, site.clone(), scratch);
    }
}

fn emit_part<'ctx>(
    emitter: &Emitter<'ctx>,
    (gemm, plan): (&Gemm, Plan),
    chunk: Chunk<'ctx>,
    site: Site<'_, 'ctx>,
    scratch: PointerValue<'ctx>,
) {
    let tiles = plan.family.by_tiles().then(|| kernel::shapes(plan.steps()));
    let [m0, n0, k0] = [gemm.m, gemm.n, gemm.k].map(|range| chunk.start_of(emitter, range));
    if plan.kept.is_none() {
        kept::wipe(emitter, scratch);
    }
    let at = |entries: u64| emitter.offset(scratch, NOTE_BYTES + entries as usize * 4);
    let b_start = plan.a_entries().next_multiple_of(LINE);
    let c_start = b_start + plan.b_entries().next_multiple_of(LINE) + plan.c_room();
    let builder = GemmEmitter {
        emitter,
        gemm,
        chunk,
        tables: Tables::new(emitter, gemm, &plan, site.buffers[gemm.a.buffer.index()].elem.bytes()),
        note: scratch,
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
    if let Some(shapes) = &tiles {
        kernel::configure(emitter, shapes);
    }
    builder.run();
    if tiles.is_some() {
        kernel::release(emitter);
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
    note: PointerValue<'ctx>,
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
            Order::Windows => {
                let stencil = self.plan.stencil.as_ref().expect("the order has a window");
                self.windows(stencil);
            }
            Order::WindowGradients => {
                let gradient = self.plan.gradient.as_ref().expect("the order has a window");
                self.window_gradients(gradient);
            }
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
        let [start, count] = self.tables.list.get(self.emitter, place);
        List { start, count }
    }

    fn for_tiles(&self, body: impl FnOnce(IntValue<'ctx>)) {
        self.emitter.repeat(self.i64(self.plan.tiles()), body);
    }

    /// Groups of at most `most` of `count` things that follow each other: the first one, and how many.
    fn in_groups(&self, count: u64, most: u64, body: impl FnOnce(IntValue<'ctx>, IntValue<'ctx>)) {
        let emitter = self.emitter;
        let groups = count.div_ceil(most);
        let rest = count - (groups - 1) * most;
        emitter.repeat(self.i64(groups), |group| {
            let last = emitter.compare_ints(IntPredicate::EQ, group.into(), self.i64(groups - 1).into());
            let number = emitter.select(last, self.i64(rest).into(), self.i64(most).into());
            body(emitter.scale(group, most as i64), number.into_int_value());
        });
    }

    /// The panels of full width, and a narrower last one.
    fn full_and_last(&self) -> [Option<Panels<'ctx>>; 2] {
        let (columns, n) = (self.plan.columns, self.plan.n);
        let (full, rest) = (n / columns, n % columns);
        let wide = || Panels { first: self.i64(0), count: self.i64(full), columns, slot: 0 };
        let last = || Panels { first: self.i64(full), count: self.i64(1), columns: rest, slot: full };
        [(full > 0).then(wide), (rest > 0).then(last)]
    }

    fn all_panels(&self) -> Vec<Panels<'ctx>> {
        self.full_and_last().into_iter().flatten().collect()
    }

    /// Calls `visit` with the number and the columns of each panel.
    fn for_panels(&self, visit: &dyn Fn(IntValue<'ctx>, u64)) {
        for Panels { first, count, columns, .. } in self.all_panels() {
            self.emitter.repeat(count, |number| visit(self.emitter.add(number, first), columns));
        }
    }

    /// Calls `visit` with the panels that are kept packed together.
    fn for_groups(&self, visit: &dyn Fn(&[Panels<'ctx>])) {
        let most = self.plan.group();
        if self.plan.panels() <= most {
            return visit(&self.all_panels());
        }
        let [full, last] = self.full_and_last();
        if let Some(Panels { columns, .. }) = full {
            let count = self.plan.n / columns;
            self.in_groups(count, most, |first, count| visit(&[Panels { first, count, columns, slot: 0 }]));
        }
        if let Some(last) = last {
            visit(&[Panels { slot: 0, ..last }]);
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
        match self.plan.order {
            Order::Scatter | Order::WindowGradients => &self.plan.inside,
            _ => &[],
        }
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
        match self.plan.order {
            Order::Blocks => self.a_place(self.i64(0), tile),
            _ => self.a_place(self.number_in(list, block), tile),
        }
    }

    /// The same for the block of that number among those that are packed.
    fn a_place(&self, number: IntValue<'ctx>, tile: IntValue<'ctx>) -> PointerValue<'ctx> {
        let place = match self.plan.packs_a_by_tiles() {
            true => number,
            false => self.emitter.add(self.emitter.scale(number, self.plan.tiles() as i64), tile),
        };
        self.entry(self.packed_a, self.emitter.scale(place, self.plan.a_tile() as i64))
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
        self.for_tiles(|tile| self.pack_tile_of(list, block, tile));
    }

    fn pack_tile_of(&self, list: List<'ctx>, block: IntValue<'ctx>, tile: IntValue<'ctx>) {
        let source = self.a(block, self.first_row(tile));
        let k = self.tables.k.get(self.emitter, block);
        self.pack_tile(tile, source, self.a_tile(list, block, tile), k);
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

    /// Adds one block's products with a panel of B, of so many columns, to the tile of C at `c`; the first block of a list
    /// starts it.
    fn multiply(
        &self,
        list: List<'ctx>,
        block: IntValue<'ctx>,
        tile: IntValue<'ctx>,
        (b, columns): (PointerValue<'ctx>, u64),
        c: PointerValue<'ctx>,
    ) {
        let a = match self.plan.a {
            Source::Packed => self.a_tile(list, block, tile),
            Source::InPlace => self.a(block, self.first_row(tile)),
        };
        let more = self.emitter.builder.build_int_compare(IntPredicate::NE, block, list.start, "");
        self.run_kernel(tile, columns, [a, b, c], self.tables.k.get(self.emitter, block), must(more));
    }

    /// `columns` are those of the panel of B.
    fn run_kernel(
        &self,
        tile: IntValue<'ctx>,
        columns: u64,
        [a, b, c]: [PointerValue<'ctx>; 3],
        k: IntValue<'ctx>,
        more: IntValue<'ctx>,
    ) {
        let turns = self.turns(k);
        self.by_rows(tile, &|rows| {
            let (rows, a, c) = self.whole_tile(rows, a, c);
            let kernel = self.kernel(rows, columns);
            self.emitter.call(kernel, &[a.into(), b.into(), c.into(), turns.into(), more.into()]);
        });
    }

    /// The tile that the kernel computes for one of so many rows, of which A and C begin here. Where tiles overlap, it begins
    /// before a short last one, whose rows of C come to lie in their place; what comes to lie before them is nobody's.
    fn whole_tile(
        &self,
        rows: u64,
        a: PointerValue<'ctx>,
        c: PointerValue<'ctx>,
    ) -> (u64, PointerValue<'ctx>, PointerValue<'ctx>) {
        let whole = rows.next_multiple_of(TILE);
        if !self.plan.overlaps() || rows == whole {
            return (rows, a, c);
        }
        let back = |from: PointerValue<'ctx>, row: u64| {
            let by = self.emitter.i64(-(((whole - rows) * row) as i64));
            self.emitter.behind(from, by)
        };
        (whole, back(a, self.a_strides().0), back(c, 4 * self.plan.columns))
    }

    /// Of the plan's patches.
    fn transform(&self, map: Map) -> Transform {
        Transform { map, patch: self.plan.patch }
    }

    fn c_tile(&self, tile: IntValue<'ctx>) -> PointerValue<'ctx> {
        self.entry(self.c, self.emitter.scale(tile, self.plan.c_tile() as i64))
    }

    /// How often the kernel turns for `k` entries.
    fn turns(&self, k: IntValue<'ctx>) -> IntValue<'ctx> {
        let turn = self.plan.turn;
        if turn == 1 {
            return k;
        }
        let above = self.emitter.add(k, self.i64(turn - 1));
        self.emitter.binop(InstructionOpcode::UDiv, above.into(), self.i64(turn).into()).into_int_value()
    }

    fn kernel(&self, rows: u64, columns: u64) -> FunctionValue<'ctx> {
        match self.plan.family.by_tiles() {
            true => self.tiles(rows, columns).function(self.emitter),
            false => self.vectors(rows, columns).function(self.emitter),
        }
    }

    fn listed_kernel(&self, rows: u64, columns: u64, turns: u64) -> FunctionValue<'ctx> {
        let more = self.plan.order == Order::Scatter;
        match self.plan.family.by_tiles() {
            true => self.tiles(rows, columns).listed(self.emitter, turns, more),
            false => self.vectors(rows, columns).listed(self.emitter, turns, more),
        }
    }

    fn tiles(&self, rows: u64, columns: u64) -> Tiles {
        let plan = &self.plan;
        let (planes, row) = (plan.family.planes(), 4 * plan.columns);
        let [rows, columns] = [rows, columns].map(|extent| extent.div_ceil(TILE));
        let steps = plan.steps();
        let (a_row, a_plane, a_turn) = match plan.a {
            Source::Packed => (4 * TILE, 4 * TILE * plan.a_step(), 4 * TILE * plan.a_step() * planes),
            Source::InPlace => (self.a_strides().0, 0, 4 * steps),
        };
        Tiles { rows, columns, row, steps, planes, a_row, a_plane, a_turn }
    }

    fn vectors(&self, rows: u64, columns: u64) -> Vectors {
        let plan = &self.plan;
        let product = if plan.family == Family::Dot { Product::Dot } else { Product::Fma };
        let (a_row, a_k) = match plan.a {
            Source::Packed if plan.order == Order::Windows => (4 * windows::a_step(plan), 4),
            Source::Packed if plan.order == Order::WindowGradients => (4, 4 * window_gradients::a_step(plan)),
            Source::Packed => (4, 4 * plan.a_step()),
            Source::InPlace => (self.a_strides().0, self.a_strides().1 * plan.family.entries_per_step()),
        };
        let b_k = match plan.b {
            Source::Packed => 4 * plan.columns,
            Source::InPlace => 4 * self.gemm.b.strides.0 as u64,
        };
        let vectors = columns.div_ceil(u64::from(self.emitter.target.lanes()));
        Vectors { product, rows, vectors, c_row: 4 * plan.columns, a_row, a_k, b_k }
    }

    /// In bytes.
    fn a_strides(&self) -> (u64, u64) {
        let bytes = self.elem(self.gemm.a).bytes();
        ((self.gemm.a.strides.0 * bytes) as u64, (self.gemm.a.strides.1 * bytes) as u64)
    }

    /// Copies a panel of B as the kernel reads it; returns where it lies.
    fn pack_b(
        &self,
        source: PointerValue<'ctx>,
        columns: u64,
        to: PointerValue<'ctx>,
        k: IntValue<'ctx>,
    ) -> PointerValue<'ctx> {
        self.copy_b(source, columns, to, k, self.plan.b_form());
        to
    }

    /// Copies panels of B that lie side by side, of so many columns, to places `beside` each other: how many, and how far apart.
    fn pack_beside(
        &self,
        (source, columns): (PointerValue<'ctx>, u64),
        to: PointerValue<'ctx>,
        k: IntValue<'ctx>,
        beside: (IntValue<'ctx>, u64),
    ) {
        self.b_copy(columns, self.plan.b_form()).call_beside(self.emitter, [source, to], k, beside);
    }

    fn copy_b(
        &self,
        source: PointerValue<'ctx>,
        columns: u64,
        to: PointerValue<'ctx>,
        k: IntValue<'ctx>,
        form: pack::Form,
    ) {
        self.b_copy(columns, form).call(self.emitter, source, to, k);
    }

    /// A copy of a panel of B.
    fn b_copy(&self, columns: u64, form: pack::Form) -> pack::Copy {
        let strides = (self.gemm.b.strides.0 as u64, self.gemm.b.strides.1 as u64);
        let (padded, from) = (self.plan.columns, self.elem(self.gemm.b));
        pack::Copy { width: columns, padded, strides, from, form }
    }
}

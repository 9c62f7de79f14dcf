//! Contractions: how a GEMM is cut into register tiles, which operands are packed, and the loops around the kernel.
//!
//! Columns are handled one panel of a few vectors at a time. A panel of B is copied into scratch memory as
//! `[k][panel]`; A is read in place by broadcasts when its rows run along k, else copied as `[k][rows]`. For each
//! tile of rows the kernel sums over a whole block of k in registers and leaves a tile of C in scratch, from which
//! the epilogue reads it at once, while it is in the first-level cache. Long sums (`terms`, or k above [`MAX_K`])
//! are cut into blocks.
//!
//! Which loop is outside which is an [`Order`]: the panel of B that a task repeats stays in the second-level cache.

use inkwell::IntPredicate;
use inkwell::types::BasicType;
use inkwell::values::{BasicValue, FunctionValue, InstructionOpcode, IntValue, PointerValue};

use super::emit::{Emitter, Value, must};
use super::kernel::{self, Product, Tiles, Vectors};
use super::level::Chunk;
use super::pack::{self, Form, TILE};
use super::scalars::{Frame, Instance, Site};
use crate::codegen::family::Family;
use crate::codegen::target::Target;
use crate::loops::{Buffer, BufferId, Elem, Gemm, Group, LoopVar, Operand, Outer, Program, Range, Stmt, Ty};

/// Products per block of k: a panel of B of that length stays in the second-level cache.
const MAX_K: u64 = 2048;
/// Rows up to which copying a panel of B does not pay.
const FEW_ROWS: u64 = 4;
/// Entries of B up to which all its panels are kept: a quarter of a second-level cache.
const KEPT_B: u64 = 1 << 17;
/// Lines that a set of the first-level cache holds; rows of a tile should leave some of them to B.
const WAYS_FOR_ROWS: u64 = 8;
/// Entries of a cache line, and lines of a way.
const LINE: u64 = 16;
const SETS: u64 = 64;

/// Products of C up to which all of it is kept between blocks: half of a second-level cache.
const KEPT_C: u64 = 1 << 18;

/// Which loops are outside which, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Panels, blocks, tiles of rows: one panel of B is packed at a time; its panel of C is kept between blocks.
    Panels,
    /// Tiles of rows, panels; one block. All of B is packed. An epilogue runs along the rows of big tensors.
    Rows,
    /// Panels, tiles of rows, blocks, as for the taps of a convolution: all blocks of a panel of B are packed, a tile
    /// of C is finished at once.
    Tiles,
    /// Blocks, panels, tiles of rows, as for sums over many samples: one block of A is packed at a time; all of C is
    /// kept.
    Blocks,
}

/// How one GEMM of known extents is done.
#[derive(Clone, Debug, PartialEq)]
struct Plan {
    family: Family,
    m: u64,
    n: u64,
    /// Rows of a tile; the last tile may have fewer.
    rows: u64,
    /// Vectors and columns of a panel; the last panel may have fewer columns.
    vectors: u64,
    columns: u64,
    a: Source,
    b: Source,
    /// Offsets into A and B, and length along k, of each block, in order.
    blocks: Vec<(u64, u64, u64)>,
    /// Steps of k in the longest block, rounded up to whole vectors.
    depth: u64,
    order: Order,
}

/// Where the kernel reads an operand.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    InPlace,
    Packed,
}

impl Plan {
    fn new(gemm: &Gemm, [m, n, k]: [u64; 3], buffers: &[Buffer], target: &Target) -> Plan {
        let family = Family::of(gemm.arithmetic, target, [m, n, k * gemm.terms.len() as u64]);
        let elem = |operand: Operand| buffers[operand.buffer.index()].elem;
        let lanes = if family.by_tiles() { TILE } else { u64::from(target.lanes()) };
        let vectors = n.div_ceil(lanes).min(2);
        let columns = vectors * lanes;
        let blocks = blocks(gemm, k, family);
        let a = match elem(gemm.a) {
            Elem::Bf16 => halves_source(gemm.a, family, m, &blocks),
            _ => a_source(gemm.a, family, n.div_ceil(columns)),
        };
        let rows = tile_rows(gemm.a, (family, a), m, vectors, target);
        let wanted = family == Family::Fma && elem(gemm.b) == Elem::F32 && gemm.b.strides.1 == 1;
        let in_place = wanted && m <= FEW_ROWS && n.is_multiple_of(columns);
        let b = if in_place { Source::InPlace } else { Source::Packed };
        let longest = blocks.iter().map(|block| block.2).max().unwrap_or(1);
        let depth = longest.div_ceil(family.entries_per_step()).next_multiple_of(lanes);
        let mut plan =
            Plan { family, m, n, rows, vectors, columns, a, b, blocks, depth, order: Order::Panels };
        plan.order = plan.best_order();
        plan
    }

    fn best_order(&self) -> Order {
        let blocks = self.blocks.len() as u64;
        let packed = self.b == Source::Packed;
        if blocks == 1 {
            let kept = self.panels() * self.b_panel() <= KEPT_B;
            let rows = kept && packed && self.n > self.columns && self.depth <= self.m;
            return if rows { Order::Rows } else { Order::Panels };
        }
        let a = if self.a == Source::Packed { self.a_tile() * self.tiles() * blocks } else { 0 };
        let b = self.b_panel() * blocks;
        if packed && a <= KEPT_C && b <= KEPT_C {
            return Order::Tiles;
        }
        let c = self.tiles() * self.rows * self.columns * self.panels();
        if c <= KEPT_C { Order::Blocks } else { Order::Panels }
    }

    fn panels(&self) -> u64 {
        self.n.div_ceil(self.columns)
    }

    fn tiles(&self) -> u64 {
        self.m.div_ceil(self.rows)
    }

    /// Entries of 32 bits per step of k in a packed tile of A.
    fn a_step(&self) -> u64 {
        self.rows.next_multiple_of(LINE)
    }

    fn a_tile(&self) -> u64 {
        self.a_step() * self.depth * self.family.planes()
    }

    /// Entries of 32 bits in a packed panel of B.
    fn b_panel(&self) -> u64 {
        self.columns * self.depth * self.family.planes()
    }

    /// Entries along k from which the kernel starts over.
    fn turn(&self) -> u64 {
        if self.family.by_tiles() { 2 * TILE } else { self.family.entries_per_step() }
    }

    fn a_form(&self) -> Form {
        let planes = self.family.planes();
        if self.family.by_tiles() { Form::Rows { planes } } else { self.vector_form() }
    }

    fn b_form(&self) -> Form {
        let planes = self.family.planes();
        if self.family.by_tiles() { Form::Pairs { planes, tiles: true } } else { self.vector_form() }
    }

    fn vector_form(&self) -> Form {
        match self.family {
            Family::Dot => Form::Pairs { planes: 1, tiles: false },
            family => Form::Floats { rounded: family == Family::Rounded },
        }
    }

    fn a_entries(&self) -> u64 {
        let blocks = if self.order == Order::Blocks { 1 } else { self.blocks.len() as u64 };
        if self.a == Source::Packed { self.a_tile() * self.tiles() * blocks } else { 0 }
    }

    fn b_entries(&self) -> u64 {
        let panels = match self.order {
            Order::Rows => self.panels(),
            Order::Tiles => self.blocks.len() as u64,
            Order::Panels | Order::Blocks => 1,
        };
        if self.b == Source::Packed { self.b_panel() * panels } else { 0 }
    }

    fn c_entries(&self) -> u64 {
        let tiles = match self.order {
            Order::Panels if self.blocks.len() > 1 => self.tiles(),
            Order::Blocks => self.tiles() * self.panels(),
            _ => 1,
        };
        tiles * self.rows * self.columns
    }

    /// Bytes of scratch memory: tiles of A, a panel of B, tiles of C.
    fn bytes(&self) -> usize {
        [self.a_entries(), self.b_entries(), self.c_entries()]
            .iter()
            .map(|entries| entries.next_multiple_of(LINE) as usize * 4)
            .sum()
    }
}

/// A is read in place where its rows run along k (one line then serves many steps), or when it is read just once.
fn a_source(a: Operand, family: Family, panels: u64) -> Source {
    let near = a.strides.1 == 1 || (a.strides.0 == 1 && panels <= 1);
    if family == Family::Fma && near { Source::InPlace } else { Source::Packed }
}

/// Rows of bf16 along k are what kernels of bf16 read, where no step reaches beyond a row, and no tile beyond the last.
fn halves_source(a: Operand, family: Family, m: u64, blocks: &[(u64, u64, u64)]) -> Source {
    let whole = |step: u64| a.strides.1 == 1 && blocks.iter().all(|block| block.2.is_multiple_of(step));
    let fits = match family {
        Family::Dot => whole(2),
        Family::Tile => whole(2 * TILE) && m.is_multiple_of(TILE),
        Family::Fma | Family::Rounded | Family::Split => false,
    };
    if fits { Source::InPlace } else { Source::Packed }
}

fn tile_rows(a: Operand, (family, source): (Family, Source), m: u64, vectors: u64, target: &Target) -> u64 {
    if family.by_tiles() {
        return if m > TILE { 2 * TILE } else { TILE };
    }
    let mut most = match (target.vector_registers() >= 32, vectors) {
        (true, 1) => 24,
        (true, _) => 13,
        (false, 1) => 12,
        (false, _) => 6,
    };
    let stride = a.strides.0 as u64 / family.entries_per_step();
    if source == Source::InPlace && a.strides.1 == 1 && crowded(stride, most) {
        most = most.min(WAYS_FOR_ROWS);
    }
    m.div_ceil(m.div_ceil(most))
}

/// Whether that many rows at a stride fall on too few sets of the first-level cache.
fn crowded(stride: u64, rows: u64) -> bool {
    let sets = if stride.is_multiple_of(LINE) { SETS / gcd(stride / LINE, SETS) } else { SETS };
    rows.div_ceil(sets) > WAYS_FOR_ROWS
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn blocks(gemm: &Gemm, k: u64, family: Family) -> Vec<(u64, u64, u64)> {
    let unit = if family.by_tiles() { 2 * TILE } else { family.entries_per_step() };
    let length = k.div_ceil(k.div_ceil(MAX_K)).next_multiple_of(unit).min(k);
    let pieces = k.div_ceil(length);
    gemm.terms
        .iter()
        .flat_map(|&(a, b)| (0..pieces).map(move |piece| (a as u64, b as u64, piece * length)))
        .map(|(a, b, start)| {
            let a = a + start * gemm.a.strides.1 as u64;
            let b = b + start * gemm.b.strides.0 as u64;
            (a, b, length.min(k - start))
        })
        .collect()
}

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
    let mut builder = GemmEmitter {
        emitter,
        gemm,
        tables: Tables::new(emitter, &plan.blocks),
        packed_a: at(0),
        packed_b: at(b_start),
        c: at(c_start),
        plan,
        site,
        m0,
        n0,
        k0,
        outer: vec![],
    };
    if by_tiles {
        kernel::configure(emitter);
    }
    builder.outer_loops(chunk);
    if by_tiles {
        kernel::release(emitter);
    }
}

struct GemmEmitter<'e, 'ctx> {
    emitter: &'e Emitter<'ctx>,
    gemm: &'e Gemm,
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
    /// Positions of the outer loops that are open.
    outer: Vec<IntValue<'ctx>>,
}

impl<'e, 'ctx> GemmEmitter<'e, 'ctx> {
    /// The outer loops that are not open yet, around the product.
    fn outer_loops(&mut self, chunk: Chunk<'ctx>) {
        let Some(outer) = self.gemm.outer.get(self.outer.len()) else { return self.run() };
        let emitter = self.emitter;
        let (start, count) = (chunk.start_of(emitter, outer.range), self.i64(chunk.length(outer.range)));
        emitter.repeat(count, |position| {
            self.outer.push(emitter.add(position, start));
            self.outer_loops(chunk);
            self.outer.pop();
        });
    }

    fn run(&self) {
        if self.plan.a == Source::Packed && self.plan.order != Order::Blocks {
            self.for_blocks(|block| self.pack_a(block));
        }
        match self.plan.order {
            Order::Panels => self.for_panels(&|panel, columns| self.panel(panel, columns)),
            Order::Rows => self.rows_outside(),
            Order::Tiles => self.for_panels(&|panel, columns| self.tiles_of_panel(panel, columns)),
            Order::Blocks => self.blocks_outside(),
        }
    }

    fn rows_outside(&self) {
        let first = self.i64(0);
        let k = self.tables.k(self.emitter, first);
        self.for_panels(&|panel, columns| {
            self.pack_b(first, panel, columns, k);
        });
        self.for_tiles(|tile| {
            self.for_panels(&|panel, columns| {
                self.multiply(first, tile, self.b_panel(first, panel), (k, self.c));
                self.epilogue(tile, self.c, self.first_column(panel), columns);
            });
        });
    }

    fn tiles_of_panel(&self, panel: IntValue<'ctx>, columns: u64) {
        self.for_blocks(|block| {
            self.pack_b(block, panel, columns, self.tables.k(self.emitter, block));
        });
        self.for_tiles(|tile| {
            self.for_blocks(|block| {
                let k = self.tables.k(self.emitter, block);
                self.multiply(block, tile, self.b_panel(block, panel), (k, self.c));
            });
            self.epilogue(tile, self.c, self.first_column(panel), columns);
        });
    }

    fn blocks_outside(&self) {
        let tile_of = |panel: IntValue<'ctx>, tile: IntValue<'ctx>| {
            let before = self.emitter.scale(panel, self.plan.tiles() as i64);
            self.c_tile(self.emitter.add(before, tile))
        };
        self.for_blocks(|block| {
            if self.plan.a == Source::Packed {
                self.pack_a(block);
            }
            let k = self.tables.k(self.emitter, block);
            self.for_panels(&|panel, columns| {
                let b = self.b_of(block, panel, columns, k);
                self.for_tiles(|tile| self.multiply(block, tile, b, (k, tile_of(panel, tile))));
            });
        });
        self.for_panels(&|panel, columns| {
            let column = self.first_column(panel);
            self.for_tiles(|tile| self.epilogue(tile, tile_of(panel, tile), column, columns));
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

    /// Within the task.
    fn first_column(&self, panel: IntValue<'ctx>) -> IntValue<'ctx> {
        self.emitter.scale(panel, self.plan.columns as i64)
    }

    /// Where a packed panel of B lies.
    fn b_panel(&self, block: IntValue<'ctx>, panel: IntValue<'ctx>) -> PointerValue<'ctx> {
        let number = match self.plan.order {
            Order::Rows => panel,
            Order::Tiles => block,
            Order::Panels | Order::Blocks => return self.packed_b,
        };
        let entries = self.plan.b_panel() as i64;
        self.entry(self.packed_b, self.emitter.scale(number, entries))
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
        let Buffer { offset: start, elem, .. } = self.site.buffers[buffer.index()];
        let start = self.emitter.offset(self.site.base, start);
        let index = at.iter().fold(offset, |sum, (position, stride)| {
            self.emitter.add(self.emitter.scale(*position, *stride as i64), sum)
        });
        self.emitter.element(self.emitter.elem(elem, 1), start, index)
    }

    fn elem(&self, operand: Operand) -> Elem {
        self.site.buffers[operand.buffer.index()].elem
    }

    /// An offset at the positions of the outer loops.
    fn at_outer(&self, offset: IntValue<'ctx>, stride: fn(&Outer) -> usize) -> IntValue<'ctx> {
        self.gemm.outer.iter().zip(&self.outer).fold(offset, |sum, (outer, &position)| {
            self.emitter.add(self.emitter.scale(position, stride(outer) as i64), sum)
        })
    }

    /// A from row `row` of this task on, in block `block`.
    fn a(&self, block: IntValue<'ctx>, row: IntValue<'ctx>) -> PointerValue<'ctx> {
        let row = self.emitter.add(row, self.m0);
        let offset = self.at_outer(self.tables.a(self.emitter, block), |outer| outer.strides.0);
        self.operand(self.gemm.a, offset, [(row, self.gemm.a.strides.0), (self.k0, self.gemm.a.strides.1)])
    }

    fn b(&self, block: IntValue<'ctx>, column: IntValue<'ctx>) -> PointerValue<'ctx> {
        let column = self.emitter.add(column, self.n0);
        let offset = self.at_outer(self.tables.b(self.emitter, block), |outer| outer.strides.1);
        self.operand(self.gemm.b, offset, [(self.k0, self.gemm.b.strides.0), (column, self.gemm.b.strides.1)])
    }

    /// Where a tile of A lies in scratch memory.
    fn a_tile(&self, block: IntValue<'ctx>, tile: IntValue<'ctx>) -> PointerValue<'ctx> {
        let number = match self.plan.order {
            Order::Blocks => tile,
            _ => self.emitter.add(self.emitter.scale(block, self.plan.tiles() as i64), tile),
        };
        self.entry(self.packed_a, self.emitter.scale(number, self.plan.a_tile() as i64))
    }

    fn for_blocks(&self, body: impl FnOnce(IntValue<'ctx>)) {
        self.emitter.repeat(self.i64(self.plan.blocks.len() as u64), body);
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

    fn pack_a(&self, block: IntValue<'ctx>) {
        let (rows_stride, k_stride) = self.gemm.a.strides;
        let k = self.tables.k(self.emitter, block);
        self.for_tiles(|tile| {
            let source = self.a(block, self.emitter.scale(tile, self.plan.rows as i64));
            let to = self.a_tile(block, tile);
            self.by_rows(tile, &|rows| {
                let strides = (k_stride as u64, rows_stride as u64);
                let (padded, from, form) = (self.plan.a_step(), self.elem(self.gemm.a), self.plan.a_form());
                let copy = pack::Copy { width: rows, padded, strides, from, form };
                copy.call(self.emitter, source, to, k);
            });
        });
    }

    /// A panel of B where the kernel reads it.
    fn b_of(
        &self,
        block: IntValue<'ctx>,
        panel: IntValue<'ctx>,
        columns: u64,
        k: IntValue<'ctx>,
    ) -> PointerValue<'ctx> {
        match self.plan.b {
            Source::InPlace => self.b(block, self.first_column(panel)),
            Source::Packed => self.pack_b(block, panel, columns, k),
        }
    }

    /// All rows of a panel.
    fn panel(&self, panel: IntValue<'ctx>, columns: u64) {
        let blocks = self.plan.blocks.len();
        let column = self.first_column(panel);
        let kept = |tile| if blocks == 1 { self.c } else { self.c_tile(tile) };
        self.for_blocks(|block| {
            let k = self.tables.k(self.emitter, block);
            let b = self.b_of(block, panel, columns, k);
            self.for_tiles(|tile| {
                self.multiply(block, tile, b, (k, kept(tile)));
                if blocks == 1 {
                    self.epilogue(tile, self.c, column, columns);
                }
            });
        });
        if blocks > 1 {
            self.for_tiles(|tile| self.epilogue(tile, kept(tile), column, columns));
        }
    }

    /// Adds one block's products, `k` in number, to the tile of C at `c`; the first block starts it.
    fn multiply(
        &self,
        block: IntValue<'ctx>,
        tile: IntValue<'ctx>,
        b: PointerValue<'ctx>,
        (k, c): (IntValue<'ctx>, PointerValue<'ctx>),
    ) {
        let a = match self.plan.a {
            Source::Packed => self.a_tile(block, tile),
            Source::InPlace => self.a(block, self.emitter.scale(tile, self.plan.rows as i64)),
        };
        let more = self.emitter.builder.build_int_compare(IntPredicate::NE, block, self.i64(0), "");
        let more = must(more);
        let turns = self.turns(k);
        self.by_rows(tile, &|rows| {
            let kernel = self.kernel(rows);
            self.emitter.call(kernel, &[a.into(), b.into(), c.into(), turns.into(), more.into()]);
        });
    }

    fn c_tile(&self, tile: IntValue<'ctx>) -> PointerValue<'ctx> {
        self.entry(self.c, self.emitter.scale(tile, (self.plan.rows * self.plan.columns) as i64))
    }

    /// How often the kernel turns for `k` entries.
    fn turns(&self, k: IntValue<'ctx>) -> IntValue<'ctx> {
        let turn = self.plan.turn();
        if turn == 1 {
            return k;
        }
        let above = self.emitter.add(k, self.i64(turn - 1));
        self.emitter.binop(InstructionOpcode::UDiv, above.into(), self.i64(turn).into()).into_int_value()
    }

    fn kernel(&self, rows: u64) -> FunctionValue<'ctx> {
        let (plan, strides) = (&self.plan, self.gemm.a.strides);
        let bytes = self.elem(self.gemm.a).bytes() as u64;
        if plan.family.by_tiles() {
            let tiles = [rows, plan.columns].map(|extent| extent.div_ceil(TILE));
            let planes = plan.family.planes();
            let (a_row, a_plane, a_block) = match plan.a {
                Source::Packed => (4 * TILE, 4 * TILE * plan.a_step(), 4 * TILE * plan.a_step() * planes),
                Source::InPlace => (bytes * strides.0 as u64, 0, 4 * TILE),
            };
            let [rows, columns] = tiles;
            return Tiles { rows, columns, planes, a_row, a_plane, a_block }.function(self.emitter);
        }
        let product = if plan.family == Family::Dot { Product::Dot } else { Product::Fma };
        let (a_row, a_k) = match plan.a {
            Source::Packed => (4, 4 * plan.a_step()),
            Source::InPlace => {
                (bytes * strides.0 as u64, bytes * strides.1 as u64 * plan.family.entries_per_step())
            }
        };
        let b_k = match plan.b {
            Source::Packed => 4 * plan.columns,
            Source::InPlace => 4 * self.gemm.b.strides.0 as u64,
        };
        Vectors { product, rows, vectors: plan.vectors, a_row, a_k, b_k }.function(self.emitter)
    }

    /// Copies a panel of B; returns where it lies.
    fn pack_b(
        &self,
        block: IntValue<'ctx>,
        panel: IntValue<'ctx>,
        columns: u64,
        k: IntValue<'ctx>,
    ) -> PointerValue<'ctx> {
        let (source, to) = (self.b(block, self.first_column(panel)), self.b_panel(block, panel));
        let strides = (self.gemm.b.strides.0 as u64, self.gemm.b.strides.1 as u64);
        let (padded, from, form) = (self.plan.columns, self.elem(self.gemm.b), self.plan.b_form());
        let copy = pack::Copy { width: columns, padded, strides, from, form };
        copy.call(self.emitter, source, to, k);
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
        let row = self.emitter.add(self.emitter.scale(tile, self.plan.rows as i64), self.m0);
        site.loops = vec![row, self.emitter.add(column, self.n0)];
        site.loops.extend(&self.outer);
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

/// The blocks of k: constants when there is one, else tables.
enum Tables<'ctx> {
    One([IntValue<'ctx>; 3]),
    Many([PointerValue<'ctx>; 3]),
}

impl<'ctx> Tables<'ctx> {
    fn new(emitter: &Emitter<'ctx>, blocks: &[(u64, u64, u64)]) -> Self {
        let column = |pick: fn(&(u64, u64, u64)) -> u64| -> Vec<IntValue<'ctx>> {
            blocks.iter().map(|block| emitter.i64(pick(block) as i64)).collect()
        };
        let columns = [column(|block| block.0), column(|block| block.1), column(|block| block.2)];
        if blocks.len() == 1 {
            return Tables::One(columns.map(|column| column[0]));
        }
        Tables::Many(columns.map(|column| {
            let value = emitter.context.i64_type().const_array(&column);
            let ty = value.as_basic_value_enum().get_type().as_basic_type_enum();
            let global = emitter.module.add_global(ty, None, "blocks");
            global.set_initializer(&value);
            global.set_constant(true);
            global.set_linkage(inkwell::module::Linkage::Private);
            global.as_pointer_value()
        }))
    }

    fn get(&self, emitter: &Emitter<'ctx>, table: usize, block: IntValue<'ctx>) -> IntValue<'ctx> {
        match self {
            Tables::One(values) => values[table],
            Tables::Many(tables) => {
                let int = emitter.context.i64_type().into();
                emitter.load(int, emitter.element(int, tables[table], block), 8, None).into_int_value()
            }
        }
    }

    fn a(&self, emitter: &Emitter<'ctx>, block: IntValue<'ctx>) -> IntValue<'ctx> {
        self.get(emitter, 0, block)
    }

    fn b(&self, emitter: &Emitter<'ctx>, block: IntValue<'ctx>) -> IntValue<'ctx> {
        self.get(emitter, 1, block)
    }

    fn k(&self, emitter: &Emitter<'ctx>, block: IntValue<'ctx>) -> IntValue<'ctx> {
        self.get(emitter, 2, block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan([m, n, k]: [u64; 3], a: (usize, usize), b: (usize, usize), terms: usize) -> Plan {
        let mut target = Target::of_triple("x86_64-unknown-linux-gnu");
        target.features =
            Target::choose(Some("x86-64-v4"), None).map(|known| known.features).unwrap_or_default();
        let range = |extent| Range::Full(extent as usize);
        let operand = |strides| Operand { buffer: BufferId(0), strides };
        let gemm = Gemm {
            outer: vec![],
            m: range(m),
            n: range(n),
            k: range(k),
            a: operand(a),
            b: operand(b),
            terms: vec![(0, 0); terms],
            arithmetic: Default::default(),
            epilogue: Default::default(),
        };
        let buffer = Buffer { name: "b".into(), elem: Elem::F32, len: 0, offset: 0, persistent: true };
        Plan::new(&gemm, [m, n, k], &[buffer], &target)
    }

    #[test]
    fn rows_that_share_cache_sets_make_smaller_tiles() {
        assert_eq!(plan([128, 1024, 784], (784, 1), (1, 784), 1).rows, 13);
        assert_eq!(plan([128, 1024, 1024], (1024, 1), (1, 1024), 1).rows, 8);
        assert_eq!(plan([128, 1024, 1024], (1, 1024), (1024, 1), 1).rows, 13);
    }

    #[test]
    fn tiles_are_of_nearly_equal_height() {
        let plan = plan([64, 32, 100], (100, 1), (1, 100), 1);
        assert_eq!((plan.rows, plan.tiles()), (13, 5));
    }

    #[test]
    fn blocks_cover_every_term_once() {
        let plan = plan([4, 64, 5000], (5000, 1), (64, 1), 3);
        assert_eq!(plan.blocks.len(), 9);
        assert_eq!(plan.blocks.iter().map(|block| block.2).sum::<u64>(), 15000);
        assert_eq!(plan.blocks[1], (1667, 1667 * 64, 1667));
        assert_eq!(plan.blocks[2].2, 5000 - 2 * 1667);
    }

    #[test]
    fn weight_gradients_run_along_rows() {
        assert_eq!(plan([128, 1024, 128], (1, 1024), (1024, 1), 1).order, Order::Rows);
        assert_eq!(plan([128, 64, 1024], (1024, 1), (1, 1024), 1).order, Order::Panels);
    }

    #[test]
    fn taps_finish_a_tile_and_long_sums_keep_the_result() {
        assert_eq!(plan([2048, 32, 64], (64, 1), (1, 64), 9).order, Order::Tiles);
        assert_eq!(plan([32, 64, 2048], (1, 128), (64, 1), 16).order, Order::Blocks);
    }
}

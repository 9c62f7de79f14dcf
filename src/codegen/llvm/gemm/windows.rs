//! Order [`Windows`](super::plan::Order::Windows): windows of 3×3 by Winograd's F(2×2, 3×3) ([`transforms`]). C at two by two
//! neighbouring positions comes from products of the transformed taps in B with the transformed 4×4 positions of A.

use inkwell::IntPredicate;
use inkwell::values::IntValue;

use super::GemmEmitter;
use super::operand::crowded;
use super::patch::TAPS;
use super::plan::{KEPT, LINE, Plan};
use super::stencil::Stencil;
use super::tables::Table;
use super::transforms::{self, PRODUCTS, Patches};

/// Positions of C that a patch gives.
pub const RESULTS: u64 = 4;
/// Rows of B, of all taps, that are transformed at a time.
const ROWS_OF_B: u64 = 64;

/// Entries from row to row of a transformed tile of A.
pub fn a_step(plan: &Plan) -> u64 {
    if crowded(plan.depth, plan.rows) { plan.depth + LINE } else { plan.depth }
}

/// Entries of the transformed tile of A.
pub fn a_entries(plan: &Plan) -> u64 {
    PRODUCTS * plan.rows * a_step(plan)
}

/// Whether all panels of B are kept transformed, so that A is transformed once for all of them.
fn together(plan: &Plan) -> bool {
    plan.panels() * PRODUCTS * plan.b_panel() <= KEPT / 2
}

/// Entries of the transformed panels of B that are kept.
fn transformed(plan: &Plan) -> u64 {
    let panels = if together(plan) { plan.panels() } else { 1 };
    panels * PRODUCTS * plan.b_panel()
}

/// Entries of these, and of the rows that wait to be transformed.
pub fn b_entries(plan: &Plan) -> u64 {
    // Packing may write one vector of steps more.
    transformed(plan) + ((TAPS * TAPS) as u64 * plan.depth.min(ROWS_OF_B) + LINE) * plan.columns
}

/// What this algorithm takes for one row of C at all positions of a task, and what the window itself does, in
/// multiply-adds of a vector.
pub fn costs(plan: &Plan, stencil: &Stencil, lengths: &[u64], lanes: u64) -> (f64, f64) {
    let lengths = stencil.loops.map(|number| lengths[number]);
    let patches = lengths.map(|length| length.div_ceil(2)).iter().product::<u64>() as f64;
    let positions = lengths.iter().product::<u64>() as f64;
    let (k, vectors) = (plan.depth as f64, plan.n.div_ceil(lanes) as f64);
    let times = if together(plan) { 1 } else { plan.panels() };
    let input = times as f64 * 16.0 * k / lanes as f64 * 5.0;
    let output = vectors * 50.0;
    let filters = vectors * k * 40.0 / plan.m as f64;
    let ours = patches * (16.0 * k * vectors + input + output) + filters;
    (ours, positions * stencil.density * k * vectors)
}

/// Takes where a panel lies transformed, its number, and its columns.
type Visit<'v, 'ctx> = dyn Fn(IntValue<'ctx>, IntValue<'ctx>, u64) + 'v;

impl<'ctx> GemmEmitter<'_, 'ctx> {
    /// All columns at all positions of the window.
    pub(super) fn windows(&self, stencil: &Stencil) {
        if together(&self.plan) {
            self.for_panels(&|panel, columns| self.window_taps(stencil, panel, panel, columns));
            return self.windows_of(stencil, &|visit| {
                self.for_panels(&|panel, columns| visit(panel, panel, columns))
            });
        }
        self.for_panels(&|panel, columns| {
            self.window_taps(stencil, self.i64(0), panel, columns);
            self.windows_of(stencil, &|visit| visit(self.i64(0), panel, columns));
        });
    }

    /// The columns of the panels that `each` visits: where the panel lies transformed, its number, and its columns.
    fn windows_of(&self, stencil: &Stencil, each: &dyn Fn(&Visit<'_, 'ctx>)) {
        let [rows, along] = stencil.loops;
        self.in_pairs(rows, &|y, height| {
            self.in_pairs(along, &|x, width| {
                self.for_tiles(|tile| {
                    self.window_input(stencil, [y, x], tile);
                    each(&|slot, panel, columns| {
                        let product = |number| self.window_product(tile, slot, number);
                        self.emitter.repeat(self.i64(PRODUCTS), product);
                        self.window_results();
                        self.emitter.repeat(height, |dy| {
                            self.outer[rows].set(self.emitter.add(dy, y));
                            self.emitter.repeat(width, |dx| {
                                self.outer[along].set(self.emitter.add(dx, x));
                                let number = self.emitter.add(self.emitter.scale(dy, 2), dx);
                                let c = self.c_tile(self.emitter.add(number, self.i64(PRODUCTS)));
                                self.epilogue(tile, c, self.first_column(panel), columns);
                            });
                        });
                    });
                });
            });
        });
    }

    /// Every second position of an outer loop, with how many there are up to the next one.
    fn in_pairs(&self, number: usize, body: &dyn Fn(IntValue<'ctx>, IntValue<'ctx>)) {
        let emitter = self.emitter;
        let range = self.gemm.outer[number].range;
        let (start, length) = (self.chunk.start_of(emitter, range), self.chunk.length(range));
        emitter.repeat(self.i64(length.div_ceil(2)), |pair| {
            let last = emitter.compare_ints(IntPredicate::EQ, pair.into(), self.i64(length / 2).into());
            let count = match length % 2 {
                0 => self.i64(2),
                _ => emitter.select(last, self.i64(1).into(), self.i64(2).into()).into_int_value(),
            };
            body(emitter.add(emitter.scale(pair, 2), start), count);
        });
    }

    /// Transforms a panel of B.
    fn window_taps(&self, stencil: &Stencil, slot: IntValue<'ctx>, panel: IntValue<'ctx>, columns: u64) {
        let emitter = self.emitter;
        let (k, plan) = (self.plan.depth, &self.plan);
        let waiting = emitter.offset(self.packed_b, (transformed(plan) * 4) as usize);
        let transformed = self.b_panel(emitter.scale(slot, PRODUCTS as i64));
        let part = |first: IntValue<'ctx>, rows: u64| {
            for (tap, &offset) in stencil.taps.iter().flatten().enumerate() {
                let source = self.b(emitter.i64(offset), panel);
                let along = emitter.scale(first, self.gemm.b.strides.0 as i64);
                let to = emitter.offset(waiting, tap * (rows * plan.columns * 4) as usize);
                self.pack_b(self.entry(source, along), columns, to, self.i64(rows));
            }
            let to = self.entry(transformed, emitter.scale(first, plan.columns as i64));
            let entries = rows * plan.columns;
            let transform =
                transforms::of_panels(emitter, entries, [entries, plan.b_panel()], transforms::filter);
            emitter.call(transform, &[waiting.into(), to.into()]);
        };
        let (parts, rest) = (k / ROWS_OF_B, k % ROWS_OF_B);
        if parts > 0 {
            emitter
                .repeat(self.i64(parts), |number| part(emitter.scale(number, ROWS_OF_B as i64), ROWS_OF_B));
        }
        if rest > 0 {
            part(self.i64(parts * ROWS_OF_B), rest);
        }
    }

    /// The transformed tile of A at the patch that begins at a position.
    fn window_input(&self, stencil: &Stencil, position: [IntValue<'ctx>; 2], tile: IntValue<'ctx>) {
        let emitter = self.emitter;
        stencil.loops.iter().zip(position).for_each(|(&number, position)| self.outer[number].set(position));
        let a = self.a_at(self.i64(0), self.first_row(tile));
        let kinds = [0, 1].map(|side| {
            let range = self.gemm.outer[stencil.loops[side]].range;
            let table = Table::new(emitter, stencil.patches[side].iter().map(|&patch| i64::from(patch)));
            let place = if stencil.patches[side].len() == 1 { self.i64(0) } else { position[side] };
            (stencil.kinds(side, range), table.get(emitter, place))
        });
        let k = self.plan.depth;
        let patches = Patches {
            origin: stencil.origin,
            strides: stencil.strides,
            row: self.gemm.a.strides.0 as u64,
            width: k,
            step: a_step(&self.plan),
            number: self.plan.rows * a_step(&self.plan),
        };
        let rows = self.rows_of(tile);
        transforms::by_kind(emitter, kinds, |exist| {
            patches.call(emitter, [a, self.packed_a], rows, exist, transforms::input);
        });
    }

    /// The product of that number of the transformed tiles.
    fn window_product(&self, tile: IntValue<'ctx>, slot: IntValue<'ctx>, number: IntValue<'ctx>) {
        let emitter = self.emitter;
        let tile_of_a = (self.plan.rows * a_step(&self.plan)) as i64;
        let a = self.entry(self.packed_a, emitter.scale(number, tile_of_a));
        let b = self.b_panel(emitter.add(emitter.scale(slot, PRODUCTS as i64), number));
        let c = self.c_tile(number);
        let more = emitter.context.bool_type().const_zero();
        self.run_kernel(tile, [a, b, c], self.i64(self.plan.depth), more);
    }

    /// Transforms the products into the tiles of C behind them.
    fn window_results(&self) {
        let size = self.plan.c_tile();
        let transform = transforms::of_panels(self.emitter, size, [size, size], transforms::results);
        self.emitter.call(transform, &[self.c.into(), self.c_tile(self.i64(PRODUCTS)).into()]);
    }
}

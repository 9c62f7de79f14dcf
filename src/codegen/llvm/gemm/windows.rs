//! Order [`Windows`](super::plan::Order::Windows): windows of 3×3 (to 5×5) by Winograd's algorithm ([`transforms`]). C at a few by a
//! few neighbouring positions comes from products of the transformed taps in B with the transformed patch of A.

use inkwell::values::{IntValue, PointerValue};

use super::super::pack;
use super::GemmEmitter;
use super::operand::crowded;
use super::patches::{Patches, Places};
use super::plan::{KEPT, LINE, Plan, even_share};
use super::stencil::Stencil;
use super::tables::Table;
use super::transforms::{Form, Panels};
use super::winograd::Map;
use crate::codegen::family::Family;
use crate::codegen::target::Target;

/// Entries of transformed panels of B up to which all are kept: a share of a third-level cache.
const KEPT_TAPS: u64 = 5 * KEPT;
/// Rows of B, of all taps, that are transformed at a time.
const ROWS_OF_B: u64 = 64;

/// Entries of 32 bits from row to row of a transformed tile of A; there is room for whole vectors.
pub fn a_step(plan: &Plan) -> u64 {
    let lanes = plan.columns / plan.vectors;
    let step = plan.term().next_multiple_of(lanes) / plan.family.entries_per_step();
    if crowded(step, plan.rows) { step + LINE } else { step }
}

/// Those of a transformed tile of A.
fn a_tile(plan: &Plan) -> u64 {
    plan.patch.products() * plan.rows * a_step(plan)
}

/// Tiles of A that are transformed together: all panels of B pass by once for all of them.
fn tiles_at_once(plan: &Plan) -> u64 {
    let both = a_tile(plan) + plan.patch.products() * plan.c_tile();
    even_share(plan.tiles(), (KEPT / 2 / both).max(1))
}

/// Entries of these tiles.
pub fn a_entries(plan: &Plan) -> u64 {
    tiles_at_once(plan) * a_tile(plan)
}

/// Tiles of C that wait to be transformed.
pub fn products(plan: &Plan) -> u64 {
    plan.patch.products() * tiles_at_once(plan)
}

/// Entries of a transformed panel of B.
fn b_panel(plan: &Plan) -> u64 {
    plan.patch.products() * plan.b_panel()
}

/// Whether all panels of B are kept transformed, so that A is transformed once for all of them. They need not fit into the
/// second-level cache: each passes by once for a whole group of tiles.
fn together(plan: &Plan) -> bool {
    plan.panels() * b_panel(plan) <= KEPT_TAPS
}

/// Entries of the transformed panels of B that are kept.
fn transformed(plan: &Plan) -> u64 {
    let panels = if together(plan) { plan.panels() } else { 1 };
    panels * b_panel(plan)
}

/// Entries of these, and of the rows that wait to be transformed.
pub fn b_entries(plan: &Plan) -> u64 {
    // Packing may write one vector of steps more.
    transformed(plan) + (plan.patch.window() * plan.term().min(ROWS_OF_B) + LINE) * plan.columns
}

/// What share of the time of the window itself this algorithm takes; both are counted for one row of C at all positions of a task,
/// in multiply-adds of a vector.
pub fn share(plan: &Plan, stencil: &Stencil, lengths: &[u64], target: &Target) -> f64 {
    let lanes = u64::from(target.lanes());
    let lengths = stencil.loops.map(|number| lengths[number]);
    let (patch, products) = (plan.patch, plan.patch.products() as f64);
    let (patches, positions) = (patch.count(lengths) as f64, lengths.iter().product::<u64>() as f64);
    let (k, vectors) = (plan.term() as f64, plan.n.div_ceil(lanes) as f64);
    let steps = k / plan.family.entries_per_step() as f64;
    let times = if together(plan) { 1 } else { plan.panels() };
    // Numbers of bf16 are widened and rounded.
    let rounding = if plan.family == Family::Dot { 2.5 } else { 0.0 };
    let [input, output, filter] = patch.by_size(target, [[5.0, 3.0, 2.5], [7.0, 5.0, 2.5], [12.0, 8.0, 4.0]]);
    let inputs = (times * plan.term().div_ceil(lanes)) as f64 * (input + rounding);
    let filters = vectors * k * products * filter / plan.m as f64;
    let ours = patches * products * (steps * vectors + inputs + vectors * output) + filters;
    ours / (positions * stencil.density * steps * vectors)
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
        let ([rows, along], patch) = (stencil.loops, self.plan.patch.results);
        let results = self.i64(products(&self.plan));
        self.in_patches(rows, patch[0], &|y, height| {
            self.in_patches(along, patch[1], &|x, width| {
                self.in_groups(self.plan.tiles(), tiles_at_once(&self.plan), |first, count| {
                    self.emitter.repeat(count, |number| {
                        self.window_input(stencil, [y, x], self.emitter.add(number, first), number);
                    });
                    each(&|slot, panel, columns| {
                        self.window_products(first, count, (slot, columns));
                        self.emitter.repeat(count, |number| {
                            let tile = self.emitter.add(number, first);
                            self.window_results(number);
                            self.emitter.repeat(height, |dy| {
                                self.outer[rows].set(self.emitter.add(dy, y));
                                self.emitter.repeat(width, |dx| {
                                    self.outer[along].set(self.emitter.add(dx, x));
                                    let number =
                                        self.emitter.add(self.emitter.scale(dy, patch[1] as i64), dx);
                                    let c = self.c_tile(self.emitter.add(number, results));
                                    self.epilogue(tile, c, self.first_column(panel), columns);
                                });
                            });
                        });
                    });
                });
            });
        });
    }

    /// The positions of an outer loop where patches begin, with how many there are up to the next one.
    fn in_patches(&self, number: usize, results: usize, body: &dyn Fn(IntValue<'ctx>, IntValue<'ctx>)) {
        let range = self.gemm.outer[number].range;
        let start = self.chunk.start_of(self.emitter, range);
        let from_start = |first, count| body(self.emitter.add(first, start), count);
        self.in_groups(self.chunk.length(range), results as u64, from_start);
    }

    /// Transforms a panel of B.
    fn window_taps(&self, stencil: &Stencil, slot: IntValue<'ctx>, panel: IntValue<'ctx>, columns: u64) {
        let emitter = self.emitter;
        let (k, plan) = (self.plan.term(), &self.plan);
        let paired = (plan.family == Family::Dot).then_some(plan.columns);
        let waiting = emitter.offset(self.packed_b, (transformed(plan) * 4) as usize);
        let transformed = self.b_panel(emitter.scale(slot, plan.patch.products() as i64));
        let part = |first: IntValue<'ctx>, rows: u64| {
            for (tap, &offset) in stencil.taps.iter().enumerate() {
                let along = emitter.scale(first, self.gemm.b.strides.0 as i64);
                let source = self.b(emitter.add(along, emitter.i64(offset)), panel);
                let to = emitter.offset(waiting, tap * (rows * plan.columns * 4) as usize);
                self.copy_b(source, columns, to, self.i64(rows), pack::Form::Floats { rounded: false });
            }
            let entries = rows * plan.columns;
            let step = (plan.columns / plan.family.entries_per_step()) as i64;
            let to = self.entry(transformed, emitter.scale(first, step));
            let panels = Panels { entries, strides: [entries, plan.b_panel()], paired };
            panels.call(emitter, [waiting, to], self.transform(Map::Filter));
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

    /// The transformed tile of A at the patch that begins at a position, as the `slot`-th of those that are kept.
    fn window_input(
        &self,
        stencil: &Stencil,
        position: [IntValue<'ctx>; 2],
        tile: IntValue<'ctx>,
        slot: IntValue<'ctx>,
    ) {
        let emitter = self.emitter;
        stencil.loops.iter().zip(position).for_each(|(&number, position)| self.outer[number].set(position));
        let a = self.a_at(self.i64(0), self.first_row(tile));
        let [along_y, along_x] = stencil.patches(self.plan.patch).expect("a plan's patches are known");
        let kinds = [(along_y, position[0]), (along_x, position[1])].map(|(masks, position)| {
            let table = Table::new(emitter, masks.at.iter().map(|&mask| i64::from(mask)));
            let place = if masks.at.len() == 1 { self.i64(0) } else { position };
            (masks.kinds, table.get(emitter, place))
        });
        let patches = Patches {
            elem: self.elem(self.gemm.a),
            transform: self.transform(Map::Input),
            form: if self.plan.family == Family::Dot { Form::Halves } else { Form::Floats },
        };
        let places = Places {
            origin: stencil.origin,
            strides: stencil.strides,
            row: self.gemm.a.strides.0 as u64,
            width: self.plan.term(),
            step: a_step(&self.plan),
            number: self.plan.rows * a_step(&self.plan),
        };
        let operands = [a, self.window_tile(slot)];
        patches.emit(emitter, operands, self.rows_of(tile), places, (&kinds, |exist| exist));
    }

    /// Where a transformed tile of A lies.
    fn window_tile(&self, slot: IntValue<'ctx>) -> PointerValue<'ctx> {
        self.entry(self.packed_a, self.emitter.scale(slot, a_tile(&self.plan) as i64))
    }

    /// The products of the transformed tiles of A, `count` from `first` on, with a panel of B, transformed.
    fn window_products(
        &self,
        first: IntValue<'ctx>,
        count: IntValue<'ctx>,
        (panel, columns): (IntValue<'ctx>, u64),
    ) {
        let (emitter, plan) = (self.emitter, &self.plan);
        let (more, products) = (emitter.context.bool_type().const_zero(), plan.patch.products());
        emitter.repeat(self.i64(products), |number| {
            let b = self.b_panel(emitter.add(emitter.scale(panel, products as i64), number));
            emitter.repeat(count, |slot| {
                let offset = emitter.scale(number, (plan.rows * a_step(plan)) as i64);
                let a = self.entry(self.window_tile(slot), offset);
                let c = self.c_tile(emitter.add(emitter.scale(slot, products as i64), number));
                self.run_kernel(emitter.add(slot, first), columns, [a, b, c], self.i64(plan.term()), more);
            });
        });
    }

    /// Transforms the products of a tile into the tiles of C behind all products: one for each position of the patch.
    fn window_results(&self, slot: IntValue<'ctx>) {
        let size = self.plan.c_tile();
        let panels = Panels { entries: size, strides: [size, size], paired: None };
        let from = self.c_tile(self.emitter.scale(slot, self.plan.patch.products() as i64));
        let to = self.c_tile(self.i64(products(&self.plan)));
        panels.call(self.emitter, [from, to], self.transform(Map::Results));
    }
}

//! Order [`WindowGradients`](super::plan::Order::WindowGradients): gradients of windows of 3×3 (to 5×5) taps by the adjoint of Winograd's
//! algorithm ([`transforms`]). A few by a few positions of the operand that stays and the patch of the one that slides are
//! transformed; the sums of products over all patches become the taps at the end.

use inkwell::IntPredicate;
use inkwell::values::{IntValue, PointerValue};

use super::GemmEmitter;
use super::gradient::Gradient;
use super::patch::{Mask, distinct};
use super::patches::{Kinds, Patches, Places};
use super::plan::{KEPT, LINE, Plan, even_share};
use super::tables::Table;
use super::transforms::{Form, Panels};
use super::winograd::Map;
use crate::codegen::family::Family;
use crate::codegen::target::Target;
use crate::loops::Elem;

/// Entries that transformed patches may take: half of a second-level cache.
const ROOM: u64 = 1 << 17;

/// Entries of 32 bits from step to step of k of the transformed A.
pub fn a_step(plan: &Plan) -> u64 {
    plan.m.next_multiple_of(LINE)
}

/// Entries from one transformed number of an operand to the next, by those of a step; no power of two, as that would crowd sets
/// of a cache.
fn number_step(plan: &Plan, step: u64) -> u64 {
    step * plan.depth + LINE
}

/// Entries of the transformed patches of A, and of those of B.
pub fn entries(plan: &Plan) -> [u64; 2] {
    [a_step(plan), plan.columns].map(|step| plan.patch.products() * number_step(plan, step))
}

/// Steps of k that are transformed at a time.
pub fn part(plan: &Plan, k: u64) -> u64 {
    let most = (ROOM / (plan.patch.products() * (a_step(plan) + plan.columns))).max(1);
    even_share(k.div_ceil(plan.family.entries_per_step()), most)
}

/// Tiles of C that the sums become.
pub fn results(plan: &Plan) -> u64 {
    plan.patch.window()
}

/// Entries of the sums of a panel.
pub fn sums(plan: &Plan) -> u64 {
    plan.patch.products() * plan.tiles() * plan.c_tile()
}

/// Panels of columns whose sums are kept together: A is transformed once for all of them.
pub fn panels_at_once(plan: &Plan) -> u64 {
    even_share(plan.panels(), (KEPT / sums(plan)).max(1))
}

/// What share of the time of the taps themselves this algorithm takes in a task; both are counted in multiply-adds of a vector.
pub fn share(plan: &Plan, gradient: &Gradient, k: u64, target: &Target) -> f64 {
    let lanes = u64::from(target.lanes());
    let products = plan.patch.products() as f64;
    let patches = plan.patch.count(gradient.extents.map(|extent| extent as u64)) as f64;
    let [columns, rows] = [plan.n, plan.m].map(|side| side.div_ceil(lanes) as f64);
    let (m, k, step) = (plan.m as f64, k as f64, plan.family.entries_per_step() as f64);
    // What a number of the operand that slides takes, and of the one that stays; those of bf16 are rounded and paired.
    let [slides, stays] = plan.patch.by_size(target, [[3.75, 2.5], [5.5, 3.5], [10.0, 7.0]]);
    let pairing = if plan.family == Family::Dot { 1.5 } else { 0.0 };
    let [a, b] = if gradient.b_slides { [stays, slides] } else { [slides, stays] };
    let times = plan.panels().div_ceil(panels_at_once(plan)) as f64;
    let transforms = times * rows * (a + pairing) + columns * (b + pairing);
    let ours = patches * k * products * (m * columns / step + transforms) + m * columns * products * 3.75;
    ours / (gradient.terms as f64 * k * m * columns / step)
}

/// Takes where a panel's sums are kept, its number, and its columns.
type Visit<'v, 'ctx> = dyn Fn(IntValue<'ctx>, IntValue<'ctx>, u64) + 'v;

/// Visits the panels of a group.
type Group<'p, 'ctx> = dyn Fn(&Visit<'_, 'ctx>) + 'p;

/// The number of a patch both ways, and the rows of k that are transformed there: the first one and how many.
#[derive(Clone, Copy)]
struct Stretch<'ctx> {
    patch: [IntValue<'ctx>; 2],
    first: IntValue<'ctx>,
    rows: IntValue<'ctx>,
}

/// An operand that is transformed: its stride along k, the width of a row, and that of a transformed one.
#[derive(Clone, Copy)]
struct Side {
    slides: bool,
    elem: Elem,
    row: usize,
    width: u64,
    step: u64,
}

/// From a position of a patch of an operand that certainly exists to its first one.
fn back(gradient: &Gradient, slides: bool) -> i64 {
    let [y, x] = gradient.strides[usize::from(slides)];
    let [rows, columns] = gradient.border().map(|missing| missing as i64);
    if slides { -rows * y - columns * x } else { 0 }
}

impl<'ctx> GemmEmitter<'_, 'ctx> {
    /// All columns at all taps.
    pub(super) fn window_gradients(&self, gradient: &Gradient) {
        let (emitter, tiles) = (self.emitter, self.plan.tiles());
        self.panels_in_groups(|most, each| {
            let products = self.plan.patch.products();
            self.clear(self.c, products * tiles * most);
            self.gradient_sums(gradient, each);
            each(&|slot, panel, columns| {
                let first = emitter.scale(slot, (products * tiles) as i64);
                self.for_tiles(|tile| {
                    self.gradient_taps(gradient, (tile, emitter.add(tile, first)), panel, columns);
                });
            });
        });
    }

    /// Groups of panels whose sums are kept together: the most that a group has, and what visits those of a group.
    fn panels_in_groups(&self, body: impl Fn(u64, &Group<'_, 'ctx>)) {
        let (emitter, columns) = (self.emitter, self.plan.columns);
        let (panels, most) = (self.plan.panels(), panels_at_once(&self.plan));
        let rest = self.plan.n % columns;
        self.in_groups(panels, most, |first, count| {
            let at_end = emitter.add(first, count).into();
            // The group that ends with a panel of fewer columns.
            let narrow = match rest {
                0 => emitter.context.bool_type().const_zero().into(),
                _ => emitter.compare_ints(IntPredicate::EQ, at_end, self.i64(panels).into()),
            };
            let full = emitter.select(narrow, emitter.add(count, emitter.i64(-1)).into(), count.into());
            let full = full.into_int_value();
            body(most, &|visit| {
                emitter.repeat_any(full, |slot| visit(slot, emitter.add(slot, first), columns));
                if rest > 0 {
                    emitter.when(narrow.into_int_value(), || visit(full, self.i64(panels - 1), rest));
                }
            });
        });
    }

    /// Sums the products of all patches, for the panels that `each` visits.
    fn gradient_sums(&self, gradient: &Gradient, each: &Group<'_, 'ctx>) {
        let emitter = self.emitter;
        let part = self.plan.depth * self.plan.family.entries_per_step();
        let k = self.chunk.length(self.gemm.k);
        let patches = [0, 1].map(|side| gradient.patches(side, self.plan.patch));
        let tables =
            [0, 1].map(|side| Table::new(emitter, patches[side].iter().map(|&patch| i64::from(patch))));
        let kinds = patches.clone().map(distinct);
        emitter.repeat(self.i64(patches[0].len() as u64), |y| {
            emitter.repeat(self.i64(patches[1].len() as u64), |x| {
                let kind = |side: usize, at| (kinds[side].clone(), tables[side].get(emitter, at));
                let sum = |first: IntValue<'ctx>, rows: u64| {
                    let stretch = Stretch { patch: [y, x], first, rows: self.i64(rows) };
                    let kinds = [kind(0, y), kind(1, x)];
                    self.gradient_a(gradient, stretch, &kinds);
                    each(&|slot, panel, columns| {
                        self.gradient_b(gradient, stretch, &kinds, (panel, columns));
                        self.gradient_products(slot, columns, stretch.rows);
                    });
                };
                emitter
                    .repeat_any(self.i64(k / part), |number| sum(emitter.scale(number, part as i64), part));
                if !k.is_multiple_of(part) {
                    sum(self.i64(k / part * part), k % part);
                }
            });
        });
    }

    /// Transforms a patch of A.
    fn gradient_a(&self, gradient: &Gradient, stretch: Stretch<'ctx>, kinds: &Kinds<'ctx>) {
        let offset = self.gradient_offset(gradient, !gradient.b_slides, stretch);
        let from = self.a_at(offset, self.i64(0));
        let (row, width, step) = (self.gemm.a.strides.1, self.plan.m, a_step(&self.plan));
        let operand = Side { slides: !gradient.b_slides, elem: self.elem(self.gemm.a), row, width, step };
        self.gradient_input(gradient, operand, [from, self.packed_a], stretch, kinds);
    }

    /// Transforms a patch of a panel of B.
    fn gradient_b(
        &self,
        gradient: &Gradient,
        stretch: Stretch<'ctx>,
        kinds: &Kinds<'ctx>,
        (panel, width): (IntValue<'ctx>, u64),
    ) {
        let from = self.b(self.gradient_offset(gradient, gradient.b_slides, stretch), panel);
        let (row, step) = (self.gemm.b.strides.0, self.plan.columns);
        let operand = Side { slides: gradient.b_slides, elem: self.elem(self.gemm.b), row, width, step };
        self.gradient_input(gradient, operand, [from, self.packed_b], stretch, kinds);
    }

    /// Of an operand at a patch; of the one that slides from behind its border on.
    fn gradient_offset(&self, gradient: &Gradient, slides: bool, stretch: Stretch<'ctx>) -> IntValue<'ctx> {
        let emitter = self.emitter;
        let strides = gradient.strides[usize::from(slides)];
        let start = emitter.i64(gradient.origins[usize::from(slides)] - back(gradient, slides));
        (0..2).fold(start, |offset, side| {
            let step = self.plan.patch.results[side] as i64 * strides[side];
            emitter.add(emitter.scale(stretch.patch[side], step), offset)
        })
    }

    fn gradient_input(
        &self,
        gradient: &Gradient,
        side: Side,
        [from, to]: [PointerValue<'ctx>; 2],
        stretch: Stretch<'ctx>,
        kinds: &Kinds<'ctx>,
    ) {
        let (emitter, Side { slides, elem, row, width, step }) = (self.emitter, side);
        let from = emitter.element(emitter.elem(elem, 1), from, emitter.scale(stretch.first, row as i64));
        let patches = Patches {
            elem,
            transform: self.transform(if slides { Map::Input } else { Map::Spread }),
            form: if self.plan.family == Family::Dot { Form::Pairs } else { Form::Floats },
        };
        let places = Places {
            origin: back(gradient, slides),
            strides: gradient.strides[usize::from(slides)],
            row: row as u64,
            width,
            step,
            number: number_step(&self.plan, step),
        };
        let extents = self.plan.patch.extents();
        let exist = |kinds: [Mask; 2]| {
            [0, 1].map(|side| {
                let [sliding, fixed] = Gradient::masks(kinds[side], extents[side]);
                if slides { sliding } else { fixed }
            })
        };
        patches.emit(emitter, [from, to], stretch.rows, places, (kinds, exist));
    }

    /// Adds the products of the transformed patches to the sums of a panel.
    fn gradient_products(&self, slot: IntValue<'ctx>, columns: u64, rows: IntValue<'ctx>) {
        let emitter = self.emitter;
        let (plan, tiles) = (&self.plan, self.plan.tiles());
        let products = plan.patch.products();
        emitter.repeat(self.i64(products), |number| {
            let at =
                |base, step: u64| self.entry(base, emitter.scale(number, number_step(plan, step) as i64));
            let (a, b) = (at(self.packed_a, a_step(plan)), at(self.packed_b, plan.columns));
            self.for_tiles(|tile| {
                let a = self.entry(a, self.first_row(tile));
                let sums = emitter.add(emitter.scale(slot, products as i64), number);
                let c = self.c_tile(emitter.add(emitter.scale(sums, tiles as i64), tile));
                let more = emitter.context.bool_type().const_all_ones();
                self.run_kernel(tile, columns, [a, b, c], rows, more);
            });
        });
    }

    /// Turns the sums of a tile of C into taps; the first number of them lies at `sums`, counted in tiles.
    fn gradient_taps(
        &self,
        gradient: &Gradient,
        (tile, sums): (IntValue<'ctx>, IntValue<'ctx>),
        panel: IntValue<'ctx>,
        columns: u64,
    ) {
        let emitter = self.emitter;
        let (size, tiles) = (self.plan.c_tile(), self.plan.tiles());
        let results = self.i64(self.plan.patch.products() * tiles * panels_at_once(&self.plan));
        let panels = Panels { entries: size, strides: [tiles * size, size], paired: None };
        panels.call(emitter, [self.c_tile(sums), self.c_tile(results)], self.transform(Map::Taps));
        let [rows, along] = gradient.loops;
        let taps = self.i64(self.plan.patch.taps as u64);
        emitter.repeat(taps, |i| {
            self.outer[rows].set(i);
            emitter.repeat(taps, |j| {
                self.outer[along].set(j);
                let tap = emitter.add(emitter.scale(i, self.plan.patch.taps as i64), j);
                let c = self.c_tile(emitter.add(results, tap));
                self.epilogue(tile, c, self.first_column(panel), columns);
            });
        });
    }
}

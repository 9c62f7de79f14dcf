//! Order [`WindowGradients`](super::plan::Order::WindowGradients): gradients of windows of 3×3 taps by the adjoint of Winograd's
//! F(2×2, 3×3) ([`transforms`]). Two by two positions of the operand that stays and the 4×4 of the one that slides are
//! transformed; the sums of 16 products over all patches become the nine taps at the end.

use inkwell::IntPredicate;
use inkwell::values::{IntValue, PointerValue};

use super::GemmEmitter;
use super::gradient::Gradient;
use super::patch::distinct;
use super::plan::{KEPT, LINE, Plan, even_share};
use super::tables::Table;
use super::transforms::{self, Form, PRODUCTS, Patches};
use crate::codegen::family::Family;
use crate::loops::Elem;

/// Tiles of C that the sums become.
pub const RESULTS: u64 = 9;
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
    [a_step(plan), plan.columns].map(|step| PRODUCTS * number_step(plan, step))
}

/// Steps of k that are transformed at a time.
pub fn part(plan: &Plan, k: u64) -> u64 {
    let most = (ROOM / (PRODUCTS * (a_step(plan) + plan.columns))).max(1);
    even_share(k.div_ceil(plan.family.entries_per_step()), most)
}

/// Panels of columns whose sums are kept together: A is transformed once for all of them.
pub fn panels_at_once(plan: &Plan) -> u64 {
    even_share(plan.panels(), (KEPT / (PRODUCTS * plan.tiles() * plan.c_tile())).max(1))
}

/// What this algorithm takes in a task, and what the taps themselves do, in multiply-adds of a vector.
pub fn costs(plan: &Plan, gradient: &Gradient, k: u64, lanes: u64) -> (f64, f64) {
    let patches = gradient.extents.map(|extent| extent.div_ceil(2)).iter().product::<usize>() as f64;
    let [columns, rows] = [plan.n, plan.m].map(|side| side.div_ceil(lanes) as f64);
    let (m, k, step) = (plan.m as f64, k as f64, plan.family.entries_per_step() as f64);
    let [a, b] = if gradient.b_slides { [40.0, 60.0] } else { [60.0, 40.0] };
    // Numbers of bf16 are rounded and paired.
    let pairing = if plan.family == Family::Dot { 24.0 } else { 0.0 };
    let times = plan.panels().div_ceil(panels_at_once(plan)) as f64;
    let transforms = times * rows * (a + pairing) + columns * (b + pairing);
    let ours = patches * k * (16.0 * m * columns / step + transforms) + m * columns * 60.0;
    (ours, gradient.terms as f64 * k * m * columns / step)
}

/// Takes where a panel's sums are kept, its number, and its columns.
type Visit<'v, 'ctx> = dyn Fn(IntValue<'ctx>, IntValue<'ctx>, u64) + 'v;

/// Visits the panels of a group.
type Group<'p, 'ctx> = dyn Fn(&Visit<'_, 'ctx>) + 'p;

/// A pair of positions both ways, and the rows of k that are transformed there: the first one and how many.
#[derive(Clone, Copy)]
struct Patch<'ctx> {
    pair: [IntValue<'ctx>; 2],
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

/// From the first position of a patch of an operand to the one that certainly exists.
fn back(gradient: &Gradient, slides: bool) -> i64 {
    let [y, x] = gradient.strides[usize::from(slides)];
    if slides { -y - x } else { 0 }
}

impl<'ctx> GemmEmitter<'_, 'ctx> {
    /// All columns at all taps.
    pub(super) fn window_gradients(&self, gradient: &Gradient) {
        let (emitter, tiles) = (self.emitter, self.plan.tiles());
        self.panels_in_groups(|most, each| {
            self.clear(self.c, PRODUCTS * tiles * most);
            self.gradient_sums(gradient, each);
            each(&|slot, panel, columns| {
                let first = emitter.scale(slot, (PRODUCTS * tiles) as i64);
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
        let pairs = [0, 1].map(|side| gradient.pairs(side));
        let tables = [0, 1].map(|side| Table::new(emitter, pairs[side].iter().map(|&pair| i64::from(pair))));
        let kinds = pairs.clone().map(distinct);
        emitter.repeat(self.i64(pairs[0].len() as u64), |y| {
            emitter.repeat(self.i64(pairs[1].len() as u64), |x| {
                let kind = |side: usize, at| (kinds[side].clone(), tables[side].get(emitter, at));
                let sum = |first: IntValue<'ctx>, rows: u64| {
                    let patch = Patch { pair: [y, x], first, rows: self.i64(rows) };
                    transforms::by_kind(emitter, [kind(0, y), kind(1, x)], |pair| {
                        self.gradient_a(gradient, patch, pair);
                    });
                    each(&|slot, panel, columns| {
                        transforms::by_kind(emitter, [kind(0, y), kind(1, x)], |pair| {
                            self.gradient_b(gradient, patch, pair, (panel, columns));
                        });
                        self.gradient_products(slot, patch.rows);
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
    fn gradient_a(&self, gradient: &Gradient, patch: Patch<'ctx>, kinds: [u8; 2]) {
        let offset = self.gradient_offset(gradient, !gradient.b_slides, patch);
        let from = self.a_at(offset, self.i64(0));
        let (row, width, step) = (self.gemm.a.strides.1, self.plan.m, a_step(&self.plan));
        let operand = Side { slides: !gradient.b_slides, elem: self.elem(self.gemm.a), row, width, step };
        self.gradient_input(gradient, operand, [from, self.packed_a], patch, kinds);
    }

    /// Transforms a patch of a panel of B.
    fn gradient_b(
        &self,
        gradient: &Gradient,
        patch: Patch<'ctx>,
        kinds: [u8; 2],
        (panel, width): (IntValue<'ctx>, u64),
    ) {
        let from = self.b(self.gradient_offset(gradient, gradient.b_slides, patch), panel);
        let (row, step) = (self.gemm.b.strides.0, self.plan.columns);
        let operand = Side { slides: gradient.b_slides, elem: self.elem(self.gemm.b), row, width, step };
        self.gradient_input(gradient, operand, [from, self.packed_b], patch, kinds);
    }

    /// Of an operand at a pair of positions; of the one that slides from the middle of the window, which lies inside of it.
    fn gradient_offset(&self, gradient: &Gradient, slides: bool, patch: Patch<'ctx>) -> IntValue<'ctx> {
        let emitter = self.emitter;
        let strides = gradient.strides[usize::from(slides)];
        let start = emitter.i64(gradient.origins[usize::from(slides)] - back(gradient, slides));
        patch.pair.iter().zip(strides).fold(start, |offset, (&position, stride)| {
            emitter.add(emitter.scale(position, 2 * stride), offset)
        })
    }

    fn gradient_input(
        &self,
        gradient: &Gradient,
        side: Side,
        [from, to]: [PointerValue<'ctx>; 2],
        patch: Patch<'ctx>,
        kinds: [u8; 2],
    ) {
        let (emitter, Side { slides, elem, row, width, step }) = (self.emitter, side);
        let from = emitter.element(emitter.elem(elem, 1), from, emitter.scale(patch.first, row as i64));
        let patches = Patches {
            elem,
            origin: back(gradient, slides),
            strides: gradient.strides[usize::from(slides)],
            row: row as u64,
            width,
            form: if self.plan.family == Family::Dot { Form::Pairs } else { Form::Floats },
            step,
            number: number_step(&self.plan, step),
        };
        let exist = kinds.map(Gradient::masks).map(|[sliding, fixed]| if slides { sliding } else { fixed });
        match slides {
            true => patches.call(emitter, [from, to], patch.rows, exist, transforms::input),
            false => patches.call(emitter, [from, to], patch.rows, exist, transforms::spread),
        }
    }

    /// Adds the products of the transformed patches to the sums of a panel.
    fn gradient_products(&self, slot: IntValue<'ctx>, rows: IntValue<'ctx>) {
        let emitter = self.emitter;
        let (plan, tiles) = (&self.plan, self.plan.tiles());
        emitter.repeat(self.i64(PRODUCTS), |number| {
            let at =
                |base, step: u64| self.entry(base, emitter.scale(number, number_step(plan, step) as i64));
            let (a, b) = (at(self.packed_a, a_step(plan)), at(self.packed_b, plan.columns));
            self.for_tiles(|tile| {
                let a = self.entry(a, self.first_row(tile));
                let sums = emitter.add(emitter.scale(slot, PRODUCTS as i64), number);
                let c = self.c_tile(emitter.add(emitter.scale(sums, tiles as i64), tile));
                let more = emitter.context.bool_type().const_all_ones();
                self.run_kernel(tile, [a, b, c], rows, more);
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
        let results = self.i64(PRODUCTS * tiles * panels_at_once(&self.plan));
        let panels = transforms::Panels { entries: size, strides: [tiles * size, size], paired: None };
        panels.call(emitter, [self.c_tile(sums), self.c_tile(results)], transforms::taps);
        let [rows, along] = gradient.loops;
        emitter.repeat(self.i64(3), |i| {
            self.outer[rows].set(i);
            emitter.repeat(self.i64(3), |j| {
                self.outer[along].set(j);
                let c = self.c_tile(emitter.add(results, emitter.add(emitter.scale(i, 3), j)));
                self.epilogue(tile, c, self.first_column(panel), columns);
            });
        });
    }
}

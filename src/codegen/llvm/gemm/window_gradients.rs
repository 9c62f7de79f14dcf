//! Order [`WindowGradients`](super::plan::Order::WindowGradients): gradients of windows of 3×3 taps by the adjoint of Winograd's
//! F(2×2, 3×3) ([`transforms`]). Two by two positions of the operand that stays and the 4×4 of the one that slides are
//! transformed; the sums of 16 products over all patches become the nine taps at the end.

use inkwell::values::IntValue;

use super::GemmEmitter;
use super::gradient::Gradient;
use super::patch::distinct;
use super::plan::{LINE, Plan};
use super::tables::Table;
use super::transforms::{self, PRODUCTS, Patches};

/// Tiles of C that the sums become.
pub const RESULTS: u64 = 9;
/// Entries that transformed patches may take: half of a second-level cache.
const ROOM: u64 = 1 << 17;

/// Entries from row to row of k of the transformed A.
pub fn a_step(plan: &Plan) -> u64 {
    plan.m.next_multiple_of(LINE)
}

/// Entries from one transformed number of an operand to the next, by those of a row; no power of two, as that would crowd sets
/// of a cache.
fn number_step(plan: &Plan, step: u64) -> u64 {
    step * plan.depth + LINE
}

/// Entries of the transformed patches of A, and of those of B.
pub fn entries(plan: &Plan) -> [u64; 2] {
    [a_step(plan), plan.columns].map(|step| PRODUCTS * number_step(plan, step))
}

/// Rows of k that are transformed at a time.
pub fn part(plan: &Plan, k: u64) -> u64 {
    let most = (ROOM / (PRODUCTS * (a_step(plan) + plan.columns))).max(1);
    k.div_ceil(k.div_ceil(most))
}

/// What this algorithm takes in a task, and what the taps themselves do, in multiply-adds of a vector.
pub fn costs(plan: &Plan, gradient: &Gradient, k: u64, lanes: u64) -> (f64, f64) {
    let patches = gradient.extents.map(|extent| extent.div_ceil(2)).iter().product::<usize>() as f64;
    let [columns, rows] = [plan.n, plan.m].map(|side| side.div_ceil(lanes) as f64);
    let (m, k) = (plan.m as f64, k as f64);
    let [a, b] = if gradient.b_slides { [40.0, 60.0] } else { [60.0, 40.0] };
    let transforms = plan.panels() as f64 * rows * a + columns * b;
    let ours = patches * k * (16.0 * m * columns + transforms) + m * columns * 60.0;
    (ours, gradient.terms as f64 * k * m * columns)
}

impl<'ctx> GemmEmitter<'_, 'ctx> {
    /// One panel of columns at all taps.
    pub(super) fn gradients_panel(&self, gradient: &Gradient, panel: IntValue<'ctx>, columns: u64) {
        let emitter = self.emitter;
        let (tiles, part) = (self.plan.tiles(), self.plan.depth);
        let k = self.chunk.length(self.gemm.k);
        self.clear(self.c, PRODUCTS * tiles);
        let pairs = [0, 1].map(|side| gradient.pairs(side));
        let tables = [0, 1].map(|side| Table::new(emitter, pairs[side].iter().map(|&pair| i64::from(pair))));
        let kinds = pairs.clone().map(distinct);
        emitter.repeat(self.i64(pairs[0].len() as u64), |y| {
            emitter.repeat(self.i64(pairs[1].len() as u64), |x| {
                let kind = |side: usize, at| (kinds[side].clone(), tables[side].get(emitter, at));
                let sum = |first: IntValue<'ctx>, rows: u64| {
                    transforms::by_kind(emitter, [kind(0, y), kind(1, x)], |pair| {
                        self.gradient_inputs(gradient, panel, columns, [y, x], [first, self.i64(rows)], pair);
                    });
                    self.gradient_products(self.i64(rows));
                };
                emitter.repeat(self.i64(k / part), |number| sum(emitter.scale(number, part as i64), part));
                if !k.is_multiple_of(part) {
                    sum(self.i64(k / part * part), k % part);
                }
            });
        });
        self.for_tiles(|tile| self.gradient_taps(gradient, tile, panel, columns));
    }

    /// Transforms the patch of both operands at a pair of positions, for some rows of k: the first one and how many.
    fn gradient_inputs(
        &self,
        gradient: &Gradient,
        panel: IntValue<'ctx>,
        columns: u64,
        pair: [IntValue<'ctx>; 2],
        [first, rows]: [IntValue<'ctx>; 2],
        kinds: [u8; 2],
    ) {
        let emitter = self.emitter;
        let masks = kinds.map(Gradient::masks);
        for slides in [false, true] {
            let strides = gradient.strides[usize::from(slides)];
            // From the middle of the window, which lies inside of the operand.
            let back = if slides { -strides[0] - strides[1] } else { 0 };
            let start = emitter.i64(gradient.origins[usize::from(slides)] - back);
            let offset = pair.iter().zip(strides).fold(start, |offset, (&position, stride)| {
                emitter.add(emitter.scale(position, 2 * stride), offset)
            });
            let is_b = slides == gradient.b_slides;
            let (from, to) = match is_b {
                true => (self.b(offset, panel), self.packed_b),
                false => (self.a_at(offset, self.i64(0)), self.packed_a),
            };
            let (row, width, step) = match is_b {
                true => (self.gemm.b.strides.0, columns, self.plan.columns),
                false => (self.gemm.a.strides.1, self.plan.m, a_step(&self.plan)),
            };
            let from = self.entry(from, emitter.scale(first, row as i64));
            let number = number_step(&self.plan, step);
            let patches = Patches { origin: back, strides, row: row as u64, width, step, number };
            let exist = masks.map(|[sliding, fixed]| if slides { sliding } else { fixed });
            match slides {
                true => patches.call(emitter, [from, to], rows, exist, transforms::input),
                false => patches.call(emitter, [from, to], rows, exist, transforms::spread),
            }
        }
    }

    /// Adds the products of the transformed patches to the sums.
    fn gradient_products(&self, rows: IntValue<'ctx>) {
        let emitter = self.emitter;
        let (plan, tiles) = (&self.plan, self.plan.tiles());
        emitter.repeat(self.i64(PRODUCTS), |number| {
            let at =
                |base, step: u64| self.entry(base, emitter.scale(number, number_step(plan, step) as i64));
            let (a, b) = (at(self.packed_a, a_step(plan)), at(self.packed_b, plan.columns));
            self.for_tiles(|tile| {
                let a = self.entry(a, self.first_row(tile));
                let c = self.c_tile(emitter.add(emitter.scale(number, tiles as i64), tile));
                let more = emitter.context.bool_type().const_all_ones();
                self.run_kernel(tile, [a, b, c], rows, more);
            });
        });
    }

    /// Turns the sums of a tile into taps.
    fn gradient_taps(&self, gradient: &Gradient, tile: IntValue<'ctx>, panel: IntValue<'ctx>, columns: u64) {
        let emitter = self.emitter;
        let (size, tiles) = (self.plan.c_tile(), self.plan.tiles());
        let results = self.i64(PRODUCTS * tiles);
        let transform = transforms::of_panels(emitter, size, [tiles * size, size], transforms::taps);
        emitter.call(transform, &[self.c_tile(tile).into(), self.c_tile(results).into()]);
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

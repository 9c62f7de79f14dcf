//! Order [`Winograd`](super::plan::Order::Winograd): windows of 3×3 by the minimal algorithm F(2×2, 3×3) of Winograd, after
//! Lavin and Gray, "Fast algorithms for convolutional neural networks" (CVPR 2016, §4.1). Two by two neighbouring positions of C
//! come from 16 products of transformed operands in place of 36:
//!
//! C = Lᵀ [(G B Gᵀ) ⊙ (D A Dᵀ)] L, where A are the 4×4 positions that the four windows see.

use inkwell::IntPredicate;
use inkwell::values::{FunctionValue, InstructionOpcode, IntValue, PointerValue};

use super::super::emit::{Emitter, Value};
use super::plan::{LINE, Plan};
use super::stencil::Stencil;
use super::tables::Table;
use super::GemmEmitter;
use crate::loops::Ty;

/// Products of a patch.
pub const PRODUCTS: u64 = 16;
/// Positions of C that they give.
pub const RESULTS: u64 = 4;
const TAPS: u64 = 9;
/// Rows of B, of all taps, that are transformed at a time.
const ROWS_OF_B: u64 = 64;

/// A 4×4 patch, or 4 numbers of it; what does not exist is zero.
type Numbers<'ctx, const N: usize> = [Option<Value<'ctx>>; N];

/// Entries from row to row of a transformed tile of A; no power of two, as that would crowd sets of a cache.
pub fn a_step(k: u64) -> u64 {
    k + LINE
}

/// Entries of the transformed tile of A.
pub fn a_entries(plan: &Plan) -> u64 {
    PRODUCTS * plan.rows * a_step(plan.depth)
}

/// Entries of a transformed panel of B, and of the rows that wait to be.
pub fn b_entries(plan: &Plan) -> u64 {
    // Packing may write one vector of steps more.
    PRODUCTS * plan.b_panel() + (TAPS * plan.depth.min(ROWS_OF_B) + LINE) * plan.columns
}

/// What this algorithm takes for one row of C at all positions of a task, and what the window itself does, in
/// multiply-adds of a vector.
pub fn costs(plan: &Plan, stencil: &Stencil, lengths: &[u64], lanes: u64) -> (f64, f64) {
    let lengths = stencil.loops.map(|number| lengths[number]);
    let patches = lengths.map(|length| length.div_ceil(2)).iter().product::<u64>() as f64;
    let positions = lengths.iter().product::<u64>() as f64;
    let (k, vectors) = (plan.depth as f64, plan.n.div_ceil(lanes) as f64);
    let input = plan.panels() as f64 * 16.0 * k / lanes as f64 * 5.0;
    let output = vectors * 50.0;
    let filters = vectors * k * 40.0 / plan.m as f64;
    let ours = patches * (16.0 * k * vectors + input + output) + filters;
    (ours, positions * stencil.density * k * vectors)
}

impl<'ctx> GemmEmitter<'_, 'ctx> {
    /// One panel of columns at all positions of the window.
    pub(super) fn winograd_panel(&self, stencil: &Stencil, panel: IntValue<'ctx>, columns: u64) {
        self.filters(stencil, panel, columns);
        let [rows, along] = stencil.loops;
        self.in_pairs(rows, &|y, height| {
            self.in_pairs(along, &|x, width| {
                self.for_tiles(|tile| {
                    self.input(stencil, [y, x], tile);
                    self.emitter.repeat(self.i64(PRODUCTS), |number| self.transformed_product(tile, number));
                    let results = self.output();
                    self.emitter.repeat(height, |dy| {
                        self.outer[rows].set(self.emitter.add(dy, y));
                        self.emitter.repeat(width, |dx| {
                            self.outer[along].set(self.emitter.add(dx, x));
                            let number = self.emitter.add(self.emitter.scale(dy, 2), dx);
                            let c = self.tile_behind(results, number);
                            self.epilogue(tile, c, self.first_column(panel), columns);
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
        let pairs = self.i64(length.div_ceil(2));
        emitter.repeat(pairs, |pair| {
            let last = emitter.compare_ints(IntPredicate::EQ, pair.into(), self.i64(length / 2).into());
            let count = match length % 2 {
                0 => self.i64(2),
                _ => emitter.select(last, self.i64(1).into(), self.i64(2).into()).into_int_value(),
            };
            body(emitter.add(emitter.scale(pair, 2), start), count);
        });
    }

    /// The transformed panels of B.
    fn filters(&self, stencil: &Stencil, panel: IntValue<'ctx>, columns: u64) {
        let emitter = self.emitter;
        let (k, plan) = (self.plan.depth, &self.plan);
        let waiting = emitter.offset(self.packed_b, (PRODUCTS * plan.b_panel() * 4) as usize);
        let part = |first: IntValue<'ctx>, rows: u64| {
            for (tap, &offset) in stencil.taps.iter().flatten().enumerate() {
                let source = self.b(emitter.i64(offset), panel);
                let along = emitter.scale(first, self.gemm.b.strides.0 as i64);
                let to = emitter.offset(waiting, tap * (rows * plan.columns * 4) as usize);
                self.pack_b(self.entry(source, along), columns, to, self.i64(rows));
            }
            let to = self.entry(self.packed_b, emitter.scale(first, plan.columns as i64));
            let transform = filter_function(emitter, [rows * plan.columns, plan.b_panel()]);
            emitter.call(transform, &[waiting.into(), to.into()]);
        };
        let (parts, rest) = (k / ROWS_OF_B, k % ROWS_OF_B);
        emitter.repeat_any(self.i64(parts), |number| part(emitter.scale(number, ROWS_OF_B as i64), ROWS_OF_B));
        if rest > 0 {
            part(self.i64(parts * ROWS_OF_B), rest);
        }
    }

    /// The transformed tile of A at the patch that begins at a position.
    fn input(&self, stencil: &Stencil, position: [IntValue<'ctx>; 2], tile: IntValue<'ctx>) {
        let emitter = self.emitter;
        stencil.loops.iter().zip(position).for_each(|(&number, position)| self.outer[number].set(position));
        let a = self.a_at(self.i64(0), self.first_row(tile));
        let kinds = [0, 1].map(|side| {
            let range = self.gemm.outer[stencil.loops[side]].range;
            let table = Table::new(emitter, stencil.patches[side].iter().map(|&patch| i64::from(patch)));
            let place = if stencil.patches[side].len() == 1 { self.i64(0) } else { position[side] };
            (stencil.kinds(side, range), table.get(emitter, place))
        });
        let is = |found: IntValue<'ctx>, kind: u8| {
            let kind = emitter.i64(i64::from(kind)).into();
            emitter.compare_ints(IntPredicate::EQ, found.into(), kind).into_int_value()
        };
        for &rows in &kinds[0].0 {
            emitter.when(is(kinds[0].1, rows), || {
                for &columns in &kinds[1].0 {
                    emitter.when(is(kinds[1].1, columns), || {
                        let transform = self.input_function(stencil, [rows, columns]);
                        let args = [a.into(), self.packed_a.into(), self.rows_of(tile).into()];
                        emitter.call(transform, &args);
                    });
                }
            });
        }
    }

    /// The product of that number of the transformed tiles.
    fn transformed_product(&self, tile: IntValue<'ctx>, number: IntValue<'ctx>) {
        let emitter = self.emitter;
        let tile_of_a = (self.plan.rows * a_step(self.plan.depth)) as i64;
        let a = self.entry(self.packed_a, emitter.scale(number, tile_of_a));
        let (b, c) = (self.b_panel(number), self.tile_behind(self.c, number));
        let more = emitter.context.bool_type().const_zero();
        self.run_kernel(tile, [a, b, c], self.i64(self.plan.depth), more);
    }

    /// Transforms the products; returns where the tiles of C lie.
    fn output(&self) -> PointerValue<'ctx> {
        let tile = self.plan.c_tile();
        let results = self.emitter.offset(self.c, (PRODUCTS * tile * 4) as usize);
        self.emitter.call(output_function(self.emitter, tile), &[self.c.into(), results.into()]);
        results
    }

    fn tile_behind(&self, first: PointerValue<'ctx>, number: IntValue<'ctx>) -> PointerValue<'ctx> {
        self.entry(first, self.emitter.scale(number, self.plan.c_tile() as i64))
    }

    /// The function `(a, to, rows)` that transforms the rows of a patch, where the positions of two masks exist.
    fn input_function(&self, stencil: &Stencil, exist: [u8; 2]) -> FunctionValue<'ctx> {
        let emitter = self.emitter;
        let (row, [y, x]) = (self.gemm.a.strides.0, stencil.strides);
        let (k, rows) = (self.plan.depth, self.plan.rows);
        let [below, beside] = exist;
        let name = format!("winograd_input_{below}_{beside}_{}_{y}_{x}_{row}_{k}_{rows}", stencil.origin);
        let pointer = emitter.pointer_type();
        let params = [pointer, pointer, emitter.context.i64_type().into()];
        emitter.define(&name, &params, &[1], |function| {
            let param = |number| function.get_nth_param(number).expect("three parameters");
            let (a, to) = (param(0).into_pointer_value(), param(1).into_pointer_value());
            let lanes = u64::from(emitter.target.lanes());
            let vector = emitter.ty(Ty::F32, lanes as u32);
            emitter.repeat(param(2).into_int_value(), |number| {
                let a = self.entry(a, emitter.scale(number, row as i64));
                let to = self.entry(to, emitter.scale(number, a_step(k) as i64));
                emitter.repeat(self.i64(k / lanes), |part| {
                    let [a, to] = [a, to].map(|base| self.entry(base, emitter.scale(part, lanes as i64)));
                    let patch: [Numbers<4>; 4] = [0, 1, 2, 3].map(|i| {
                        [0, 1, 2, 3].map(|j| {
                            let exists = below >> i & beside >> j & 1 == 1;
                            let from = self.entry(a, emitter.i64(stencil.offset(i, j)));
                            exists.then(|| emitter.load(vector, from, 4, None))
                        })
                    });
                    let patch = both_ways(patch, |numbers| input(emitter, numbers));
                    for (number, value) in patch.iter().flatten().enumerate() {
                        let value = value.unwrap_or_else(|| vector.const_zero());
                        let at = emitter.offset(to, number * (rows * a_step(k) * 4) as usize);
                        emitter.store(value, at, lanes as u32 * 4, None);
                    }
                });
            });
        })
    }
}

/// Applies a transform of rows to all rows of a matrix, then to all columns of what comes out.
fn both_ways<'ctx, const N: usize, const M: usize>(
    numbers: [Numbers<'ctx, N>; N],
    transform: impl Fn(Numbers<'ctx, N>) -> Numbers<'ctx, M>,
) -> [Numbers<'ctx, M>; M] {
    let rows = numbers.map(&transform);
    let columns: [Numbers<M>; M] = std::array::from_fn(|column| transform(rows.map(|row| row[column])));
    std::array::from_fn(|row| std::array::from_fn(|column| columns[column][row]))
}

fn plus<'ctx>(emitter: &Emitter<'ctx>, a: Option<Value<'ctx>>, b: Option<Value<'ctx>>) -> Option<Value<'ctx>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(emitter.binop(InstructionOpcode::FAdd, a, b)),
        (a, b) => a.or(b),
    }
}

fn minus<'ctx>(emitter: &Emitter<'ctx>, a: Option<Value<'ctx>>, b: Option<Value<'ctx>>) -> Option<Value<'ctx>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(emitter.binop(InstructionOpcode::FSub, a, b)),
        (None, Some(b)) => Some(emitter.negate(b)),
        (a, None) => a,
    }
}

/// D: what the windows see.
fn input<'ctx>(emitter: &Emitter<'ctx>, [a, b, c, d]: Numbers<'ctx, 4>) -> Numbers<'ctx, 4> {
    [minus(emitter, a, c), plus(emitter, b, c), minus(emitter, c, b), minus(emitter, b, d)]
}

/// G: the window.
fn filter<'ctx>(emitter: &Emitter<'ctx>, [a, b, c]: Numbers<'ctx, 3>) -> Numbers<'ctx, 4> {
    let half = emitter.splat(emitter.float(0.5, Ty::F32), emitter.target.lanes());
    let halved = |sum: Option<Value<'ctx>>| sum.map(|sum| emitter.binop(InstructionOpcode::FMul, sum, half));
    let outside = plus(emitter, a, c);
    [a, halved(plus(emitter, outside, b)), halved(minus(emitter, outside, b)), c]
}

/// Lᵀ: the results.
fn results<'ctx>(emitter: &Emitter<'ctx>, [a, b, c, d]: Numbers<'ctx, 4>) -> Numbers<'ctx, 2> {
    let both = plus(emitter, b, c);
    let apart = minus(emitter, b, c);
    [plus(emitter, a, both), minus(emitter, apart, d)]
}

/// The function `(taps, to)` that transforms windows: entries of a tap, and from number to number of the result.
fn filter_function<'ctx>(emitter: &Emitter<'ctx>, [tap, panel]: [u64; 2]) -> FunctionValue<'ctx> {
    let name = format!("winograd_filter_{tap}_{panel}");
    transform(emitter, &name, tap, [tap, panel], |numbers: [Numbers<3>; 3]| {
        both_ways(numbers, |numbers| filter(emitter, numbers))
    })
}

/// The function `(products, to)` that turns the products of all patches of a tile into tiles of C.
fn output_function<'ctx>(emitter: &Emitter<'ctx>, tile: u64) -> FunctionValue<'ctx> {
    let name = format!("winograd_output_{tile}");
    transform(emitter, &name, tile, [tile, tile], |numbers: [Numbers<4>; 4]| {
        both_ways(numbers, |numbers| results(emitter, numbers))
    })
}


/// A function `(from, to)` over matrices of vectors: `strides` from number to number of the operand and of the result.
fn transform<'ctx, const N: usize, const M: usize>(
    emitter: &Emitter<'ctx>,
    name: &str,
    entries: u64,
    strides: [u64; 2],
    apply: impl Fn([Numbers<'ctx, N>; N]) -> [Numbers<'ctx, M>; M],
) -> FunctionValue<'ctx> {
    let pointer = emitter.pointer_type();
    emitter.define(name, &[pointer, pointer], &[0, 1], |function| {
        let lanes = u64::from(emitter.target.lanes());
        let vector = emitter.ty(Ty::F32, lanes as u32);
        let param = |number| function.get_nth_param(number).expect("two parameters").into_pointer_value();
        emitter.repeat(emitter.i64((entries / lanes) as i64), |part| {
            let at = |base, number: usize, stride: u64| {
                emitter.offset(emitter.element(vector, base, part), number * (stride * 4) as usize)
            };
            let numbers = std::array::from_fn(|i| {
                std::array::from_fn(|j| {
                    Some(emitter.load(vector, at(param(0), i * N + j, strides[0]), lanes as u32 * 4, None))
                })
            });
            for (number, value) in apply(numbers).iter().flatten().enumerate() {
                let value = value.unwrap_or_else(|| vector.const_zero());
                emitter.store(value, at(param(1), number, strides[1]), lanes as u32 * 4, None);
            }
        });
    })
}

//! The transforms of Winograd's algorithm ([`winograd`](super::winograd)) both ways, on matrices of vectors:
//!
//! y = Lᵀ [(G w Gᵀ) ⊙ (D x Dᵀ)] L and ∂w = Gᵀ [(D x Dᵀ) ⊙ (L ∂y Lᵀ)] G.

use inkwell::IntPredicate;
use inkwell::values::{InstructionOpcode, IntValue, PointerValue, VectorValue};

use super::super::bf16;
use super::super::emit::Emitter;
use super::patch::{Mask, Patch};
use super::winograd::{Map, Number};
use crate::loops::{Elem, Ty};

/// M X Mᵀ for patches of that shape.
#[derive(Clone, Copy, Debug)]
pub struct Transform {
    pub map: Map,
    pub patch: Patch,
}

/// A matrix whose rows are mapped already.
type HalfDone<'ctx> = Vec<Vec<Number<'ctx>>>;

impl Transform {
    /// Rows and columns that go in.
    fn extents(&self) -> [usize; 2] {
        self.patch.results.map(|results| self.map.arguments(self.patch.taps, results))
    }

    /// Taps and results along a side.
    fn side(&self, along: usize) -> (usize, usize) {
        (self.patch.taps, self.patch.results[along])
    }

    /// Maps the rows of the matrix with these numbers.
    fn rows<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        number: impl Fn(usize, usize) -> Number<'ctx>,
    ) -> HalfDone<'ctx> {
        let [rows, columns] = self.extents();
        let row = |i| (0..columns).map(|j| number(i, j)).collect::<Vec<_>>();
        (0..rows).map(|i| self.map.apply(emitter, self.side(1), &row(i))).collect()
    }

    /// One column of the result.
    fn column<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        rows: &HalfDone<'ctx>,
        column: usize,
    ) -> Vec<Number<'ctx>> {
        let numbers: Vec<Number> = rows.iter().map(|row| row[column]).collect();
        self.map.apply(emitter, self.side(0), &numbers)
    }

    /// For names of functions.
    fn name(&self) -> String {
        let Patch { taps, results: [height, width] } = self.patch;
        format!("winograd_{taps}_{height}x{width}_{:?}", self.map).to_lowercase()
    }
}

/// Matrices whose numbers lie in memory of their own, to be transformed entry by entry.
#[derive(Clone, Copy, Debug)]
pub struct Panels {
    /// Of f32, whole vectors.
    pub entries: u64,
    /// From number to number of the operand and of the result, in entries of 32 bits.
    pub strides: [u64; 2],
    /// Entries of a row (whole vectors) where the result is bf16 in pairs of rows, of which there is an even number.
    pub paired: Option<u64>,
}

impl Panels {
    /// Calls the function that transforms the matrices at `from`.
    pub fn call<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        [from, to]: [PointerValue<'ctx>; 2],
        transform: Transform,
    ) {
        let Panels { entries, strides: [source, result], paired } = self;
        let paired = paired.map_or_else(String::new, |row| format!("_in_pairs_{row}"));
        let name = format!("{}_{entries}_{source}_{result}{paired}", transform.name());
        let pointer = emitter.pointer_type();
        let function = emitter.define(&name, &[pointer, pointer], &[0, 1], |function| {
            let pointer =
                |number| function.get_nth_param(number).expect("two parameters").into_pointer_value();
            self.body(emitter, [pointer(0), pointer(1)], transform);
        });
        emitter.call(function, &[from.into(), to.into()]);
    }

    fn body<'ctx>(&self, emitter: &Emitter<'ctx>, operands: [PointerValue<'ctx>; 2], transform: Transform) {
        let lanes = u64::from(emitter.target.lanes());
        let vectors = |count: u64| emitter.i64((count / lanes) as i64);
        let [from, to] = operands.map(|base| move |at| emitter.element(emitter.ty(Ty::F32, 1), base, at));
        let rows = |at| self.rows(emitter, from(at), transform);
        let stride = self.strides[1];
        let Some(row) = self.paired else {
            return emitter.repeat(vectors(self.entries), |part| {
                let at = emitter.scale(part, lanes as i64);
                Form::Floats.write(emitter, to(at), stride, transform, &[rows(at)]);
            });
        };
        emitter.repeat(emitter.i64((self.entries / row / 2) as i64), |step| {
            emitter.repeat(vectors(row), |part| {
                let along = |number| {
                    emitter.add(emitter.scale(number, row as i64), emitter.scale(part, lanes as i64))
                };
                let first = along(emitter.scale(step, 2));
                let second = emitter.add(first, emitter.i64(row as i64));
                Form::Pairs.write(emitter, to(along(step)), stride, transform, &[rows(first), rows(second)]);
            });
        });
    }

    /// Those of the matrices of a vector of entries.
    fn rows<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        from: PointerValue<'ctx>,
        transform: Transform,
    ) -> HalfDone<'ctx> {
        let ty = emitter.ty(Ty::F32, emitter.target.lanes());
        let number = |number: usize| emitter.offset(from, number * (self.strides[0] * 4) as usize);
        let columns = transform.extents()[1];
        transform.rows(emitter, |i, j| Some(emitter.load(ty, number(i * columns + j), 4, None)))
    }
}

/// How transformed numbers lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// f32.
    Floats,
    /// bf16.
    Halves,
    /// bf16 of two rows, each number beside its neighbour in 32 bits.
    Pairs,
}

impl Form {
    /// Finishes a matrix, or those of two rows to be paired, and stores a vector of each number, `stride` entries of 32 bits from
    /// number to number.
    fn write<'ctx>(
        self,
        emitter: &Emitter<'ctx>,
        to: PointerValue<'ctx>,
        stride: u64,
        transform: Transform,
        matrices: &[HalfDone<'ctx>],
    ) {
        let lanes = emitter.target.lanes();
        let zero = emitter.ty(Ty::F32, lanes).const_zero();
        let round = |value| bf16::round(emitter, value, lanes);
        let columns = matrices[0][0].len();
        for column in 0..columns {
            let finished: Vec<Vec<Number>> =
                matrices.iter().map(|rows| transform.column(emitter, rows, column)).collect();
            for row in 0..finished[0].len() {
                let value = |matrix: usize| Some(finished.get(matrix)?[row].unwrap_or(zero));
                let first = value(0).expect("at least one");
                let (value, alignment) = match (self, value(1)) {
                    (Form::Floats, _) => (first, 4),
                    (Form::Halves, _) => (bf16::narrow(emitter, round(first), lanes), 2),
                    (Form::Pairs, Some(later)) => (bf16::round_pair(emitter, first, later), 4),
                    (Form::Pairs, None) => (bf16::pair(emitter, round(first), None), 4),
                };
                let number = (row * columns + column) as u64;
                emitter.store(value, emitter.offset(to, (number * stride * 4) as usize), alignment, None);
            }
        }
    }

    /// Bytes of an entry.
    fn bytes(self) -> u64 {
        if self == Form::Halves { 2 } else { 4 }
    }
}

/// Patches of an operand whose rows are transformed on their way into scratch memory.
#[derive(Clone, Copy, Debug)]
pub struct Patches {
    /// Of the operand: f32 or bf16.
    pub elem: Elem,
    /// From the operand to the first position of the patch, and from position to position both ways, in its entries.
    pub origin: i64,
    pub strides: [i64; 2],
    /// From row to row.
    pub row: u64,
    /// Of a row.
    pub width: u64,
    /// Of the result. From row to row (or pair of rows) of it, room for whole vectors, and from number to number, in entries of
    /// 32 bits.
    pub form: Form,
    pub step: u64,
    pub number: u64,
}

impl Patches {
    /// Calls the function that transforms `rows` rows of the patch at `from`, of whose positions those exist that have a bit in
    /// both masks.
    pub fn call<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        [from, to]: [PointerValue<'ctx>; 2],
        rows: IntValue<'ctx>,
        exist: [Mask; 2],
        transform: Transform,
    ) {
        let Patches { elem, origin, strides: [y, x], row, width, form, step, number } = self;
        let [below, beside] = exist;
        let odd = rows.get_zero_extended_constant().is_none_or(|rows| rows % 2 == 1);
        let name = format!(
            "{}_patch_{elem:?}_{form:?}_{odd}_{below}_{beside}_{origin}_{y}_{x}_{row}_{width}_{step}_{number}",
            transform.name()
        );
        let pointer = emitter.pointer_type();
        let params = [pointer, pointer, emitter.context.i64_type().into()];
        let function = emitter.define(&name.to_lowercase(), &params, &[1], |function| {
            let param = |number| function.get_nth_param(number).expect("three parameters");
            let operands = [0, 1].map(|number| param(number).into_pointer_value());
            let rows = param(2).into_int_value();
            let row = |to, from: &[IntValue<'ctx>]| self.row(emitter, operands, (to, from), exist, transform);
            if self.form != Form::Pairs {
                return emitter.repeat(rows, |number| row(number, &[number]));
            }
            let divide = |op| emitter.binop(op, rows.into(), emitter.i64(2).into()).into_int_value();
            let pairs = divide(InstructionOpcode::UDiv);
            emitter.repeat_any(pairs, |pair| {
                let first = emitter.scale(pair, 2);
                row(pair, &[first, emitter.add(first, emitter.i64(1))]);
            });
            if odd {
                let rest = emitter.some(divide(InstructionOpcode::URem));
                emitter.when(rest, || row(pairs, &[emitter.scale(pairs, 2)]));
            }
        });
        emitter.call(function, &[from.into(), to.into(), rows.into()]);
    }

    /// One row of the result, from one or two of the operand.
    fn row<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        [from, to]: [PointerValue<'ctx>; 2],
        (result, rows): (IntValue<'ctx>, &[IntValue<'ctx>]),
        exist: [Mask; 2],
        transform: Transform,
    ) {
        let lanes = u64::from(emitter.target.lanes());
        let to = emitter.element(emitter.ty(Ty::F32, 1), to, emitter.scale(result, self.step as i64));
        let vector = |part: IntValue<'ctx>, mask: Option<VectorValue<'ctx>>| {
            let along = emitter.scale(part, lanes as i64);
            let half_done = |row: &IntValue<'ctx>| {
                let at = emitter.add(emitter.scale(*row, self.row as i64), along);
                transform.rows(emitter, self.patch(emitter, from, at, mask, exist))
            };
            let byte = emitter.context.i8_type().into();
            let to = emitter.element(byte, to, emitter.scale(along, self.form.bytes() as i64));
            let matrices: Vec<_> = rows.iter().map(half_done).collect();
            self.form.write(emitter, to, self.number, transform, &matrices);
        };
        let (full, rest) = (self.width / lanes, self.width % lanes);
        if full > 0 {
            emitter.repeat(emitter.i64(full as i64), |part| vector(part, None));
        }
        if rest > 0 {
            vector(emitter.i64(full as i64), Some(emitter.first_lanes(rest as u32, lanes as u32)));
        }
    }

    /// Loads a vector of the operand at a position of the patch.
    fn patch<'e, 'ctx>(
        &'e self,
        emitter: &'e Emitter<'ctx>,
        from: PointerValue<'ctx>,
        at: IntValue<'ctx>,
        mask: Option<VectorValue<'ctx>>,
        exist: [Mask; 2],
    ) -> impl Fn(usize, usize) -> Number<'ctx> + 'e {
        move |i, j| {
            let exists = exist[0] >> i & exist[1] >> j & 1 == 1;
            exists.then(|| {
                let offset = self.origin + i as i64 * self.strides[0] + j as i64 * self.strides[1];
                let at = emitter.add(at, emitter.i64(offset));
                let from = emitter.element(emitter.elem(self.elem, 1), from, at);
                bf16::load(emitter, self.elem, from, emitter.target.lanes(), mask)
            })
        }
    }
}

/// Emits `body` for each pair of kinds, to run for that one which the two numbers say.
pub fn by_kind<'ctx>(
    emitter: &Emitter<'ctx>,
    kinds: [(Vec<Mask>, IntValue<'ctx>); 2],
    body: impl Fn([Mask; 2]),
) {
    let is = |found: IntValue<'ctx>, kind: Mask| {
        let kind = emitter.i64(i64::from(kind)).into();
        emitter.compare_ints(IntPredicate::EQ, found.into(), kind).into_int_value()
    };
    for &below in &kinds[0].0 {
        emitter.when(is(kinds[0].1, below), || {
            for &beside in &kinds[1].0 {
                emitter.when(is(kinds[1].1, beside), || body([below, beside]));
            }
        });
    }
}

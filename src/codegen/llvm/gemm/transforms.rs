//! The transforms of Winograd's F(2×2, 3×3), after Lavin and Gray, "Fast algorithms for convolutional neural networks" (CVPR 2016,
//! §4.1), on matrices of vectors. With D, G and L below, and ⊙ entry by entry,
//!
//! y = Lᵀ [(G w Gᵀ) ⊙ (D x Dᵀ)] L
//!
//! are 2×2 results of a window w of 3×3 on 4×4 inputs x, by 16 products; its adjoint gives w's gradient from that of y:
//!
//! ∂w = Gᵀ [(D x Dᵀ) ⊙ (L ∂y Lᵀ)] G.

use inkwell::IntPredicate;
use inkwell::values::{InstructionOpcode, IntValue, PointerValue, VectorValue};

use super::super::bf16;
use super::super::emit::{Emitter, Value};
use crate::loops::{Elem, Ty};

/// Products in place of 36.
pub const PRODUCTS: u64 = 16;

/// What does not exist is zero.
type Number<'ctx> = Option<Value<'ctx>>;
pub type Numbers<'ctx, const N: usize> = [Number<'ctx>; N];
type Matrix<'ctx, const N: usize> = [Numbers<'ctx, N>; N];

/// A linear map of numbers.
pub type Map<'ctx, const N: usize, const M: usize> = fn(&Emitter<'ctx>, Numbers<'ctx, N>) -> Numbers<'ctx, M>;

/// D.
pub fn input<'ctx>(emitter: &Emitter<'ctx>, [a, b, c, d]: Numbers<'ctx, 4>) -> Numbers<'ctx, 4> {
    [minus(emitter, a, c), plus(emitter, b, c), minus(emitter, c, b), minus(emitter, b, d)]
}

/// G.
pub fn filter<'ctx>(emitter: &Emitter<'ctx>, [a, b, c]: Numbers<'ctx, 3>) -> Numbers<'ctx, 4> {
    let outside = plus(emitter, a, c);
    [a, half(emitter, plus(emitter, outside, b)), half(emitter, minus(emitter, outside, b)), c]
}

/// Gᵀ.
pub fn taps<'ctx>(emitter: &Emitter<'ctx>, [a, b, c, d]: Numbers<'ctx, 4>) -> Numbers<'ctx, 3> {
    let both = half(emitter, plus(emitter, b, c));
    [plus(emitter, a, both), half(emitter, minus(emitter, b, c)), plus(emitter, both, d)]
}

/// L.
pub fn spread<'ctx>(emitter: &Emitter<'ctx>, [a, b]: Numbers<'ctx, 2>) -> Numbers<'ctx, 4> {
    [a, plus(emitter, a, b), minus(emitter, a, b), minus(emitter, None, b)]
}

/// Lᵀ.
pub fn results<'ctx>(emitter: &Emitter<'ctx>, [a, b, c, d]: Numbers<'ctx, 4>) -> Numbers<'ctx, 2> {
    [plus(emitter, a, plus(emitter, b, c)), minus(emitter, minus(emitter, b, c), d)]
}

fn plus<'ctx>(emitter: &Emitter<'ctx>, a: Number<'ctx>, b: Number<'ctx>) -> Number<'ctx> {
    match (a, b) {
        (Some(a), Some(b)) => Some(emitter.binop(InstructionOpcode::FAdd, a, b)),
        (a, b) => a.or(b),
    }
}

fn minus<'ctx>(emitter: &Emitter<'ctx>, a: Number<'ctx>, b: Number<'ctx>) -> Number<'ctx> {
    match (a, b) {
        (Some(a), Some(b)) => Some(emitter.binop(InstructionOpcode::FSub, a, b)),
        (None, Some(b)) => Some(emitter.negate(b)),
        (a, None) => a,
    }
}

fn half<'ctx>(emitter: &Emitter<'ctx>, a: Number<'ctx>) -> Number<'ctx> {
    let half = emitter.splat(emitter.float(0.5, Ty::F32), emitter.target.lanes());
    a.map(|a| emitter.binop(InstructionOpcode::FMul, a, half))
}

/// M X Mᵀ.
fn both_ways<'ctx, const N: usize, const M: usize>(
    emitter: &Emitter<'ctx>,
    numbers: Matrix<'ctx, N>,
    map: Map<'ctx, N, M>,
) -> Matrix<'ctx, M> {
    let rows = numbers.map(|row| map(emitter, row));
    let columns: [Numbers<M>; M] = std::array::from_fn(|column| map(emitter, rows.map(|row| row[column])));
    std::array::from_fn(|row| std::array::from_fn(|column| columns[column][row]))
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
    /// Calls the function that transforms the N×N matrices at `from`.
    pub fn call<'ctx, const N: usize, const M: usize>(
        &self,
        emitter: &Emitter<'ctx>,
        [from, to]: [PointerValue<'ctx>; 2],
        map: Map<'ctx, N, M>,
    ) {
        let Panels { entries, strides: [source, result], paired } = self;
        let paired = paired.map_or_else(String::new, |row| format!("_in_pairs_{row}"));
        let name = format!("winograd_{N}_{M}_{entries}_{source}_{result}{paired}");
        let pointer = emitter.pointer_type();
        let function = emitter.define(&name, &[pointer, pointer], &[0, 1], |function| {
            let pointer =
                |number| function.get_nth_param(number).expect("two parameters").into_pointer_value();
            self.body(emitter, [pointer(0), pointer(1)], map);
        });
        emitter.call(function, &[from.into(), to.into()]);
    }

    fn body<'ctx, const N: usize, const M: usize>(
        &self,
        emitter: &Emitter<'ctx>,
        operands: [PointerValue<'ctx>; 2],
        map: Map<'ctx, N, M>,
    ) {
        let lanes = u64::from(emitter.target.lanes());
        let vectors = |count: u64| emitter.i64((count / lanes) as i64);
        let [from, to] = operands.map(|base| move |at| emitter.element(emitter.ty(Ty::F32, 1), base, at));
        let matrix = |at| self.matrix(emitter, from(at), map);
        let Some(row) = self.paired else {
            return emitter.repeat(vectors(self.entries), |part| {
                let at = emitter.scale(part, lanes as i64);
                Form::Floats.write(emitter, to(at), self.strides[1], matrix(at), None);
            });
        };
        emitter.repeat(emitter.i64((self.entries / row / 2) as i64), |step| {
            emitter.repeat(vectors(row), |part| {
                let along = |number| {
                    emitter.add(emitter.scale(number, row as i64), emitter.scale(part, lanes as i64))
                };
                let first = along(emitter.scale(step, 2));
                let second = matrix(emitter.add(first, emitter.i64(row as i64)));
                Form::Pairs.write(emitter, to(along(step)), self.strides[1], matrix(first), Some(second));
            });
        });
    }

    /// The transformed matrices of a vector of entries.
    fn matrix<'ctx, const N: usize, const M: usize>(
        &self,
        emitter: &Emitter<'ctx>,
        from: PointerValue<'ctx>,
        map: Map<'ctx, N, M>,
    ) -> Matrix<'ctx, M> {
        let ty = emitter.ty(Ty::F32, emitter.target.lanes());
        let number = |number: usize| emitter.offset(from, number * (self.strides[0] * 4) as usize);
        let load = |i, j| Some(emitter.load(ty, number(i * N + j), 4, None));
        both_ways(emitter, std::array::from_fn(|i| std::array::from_fn(|j| load(i, j))), map)
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
    /// Stores a vector of each number, `stride` entries of 32 bits from number to number; where rows are paired, of both.
    fn write<'ctx, const M: usize>(
        self,
        emitter: &Emitter<'ctx>,
        to: PointerValue<'ctx>,
        stride: u64,
        first: Matrix<'ctx, M>,
        second: Option<Matrix<'ctx, M>>,
    ) {
        let lanes = emitter.target.lanes();
        let zero = emitter.ty(Ty::F32, lanes).const_zero();
        let all = |matrix: Matrix<'ctx, M>| -> Vec<Value<'ctx>> {
            matrix.into_iter().flatten().map(|number| number.unwrap_or(zero)).collect()
        };
        let round = |value| bf16::round(emitter, value, lanes);
        let second = second.map(all);
        for (number, value) in all(first).into_iter().enumerate() {
            let to = emitter.offset(to, number * (stride * 4) as usize);
            let (value, alignment) = match (self, &second) {
                (Form::Floats, _) => (value, 4),
                (Form::Halves, _) => (bf16::narrow(emitter, round(value), lanes), 2),
                (Form::Pairs, Some(later)) => (bf16::round_pair(emitter, value, later[number]), 4),
                (Form::Pairs, None) => (bf16::pair(emitter, round(value), None), 4),
            };
            emitter.store(value, to, alignment, None);
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
    pub fn call<'ctx, const N: usize, const M: usize>(
        &self,
        emitter: &Emitter<'ctx>,
        [from, to]: [PointerValue<'ctx>; 2],
        rows: IntValue<'ctx>,
        exist: [u8; 2],
        map: Map<'ctx, N, M>,
    ) {
        let Patches { elem, origin, strides: [y, x], row, width, form, step, number } = self;
        let [below, beside] = exist;
        let odd = rows.get_zero_extended_constant().is_none_or(|rows| rows % 2 == 1);
        let name = format!(
            "winograd_patch_{elem:?}_{form:?}_{odd}_{N}_{below}_{beside}_{origin}_{y}_{x}_{row}_{width}_{step}_{number}"
        );
        let pointer = emitter.pointer_type();
        let params = [pointer, pointer, emitter.context.i64_type().into()];
        let function = emitter.define(&name.to_lowercase(), &params, &[1], |function| {
            let param = |number| function.get_nth_param(number).expect("three parameters");
            let operands = [0, 1].map(|number| param(number).into_pointer_value());
            let rows = param(2).into_int_value();
            let row = |to, from: &[IntValue<'ctx>]| self.row(emitter, operands, (to, from), exist, map);
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
    fn row<'ctx, const N: usize, const M: usize>(
        &self,
        emitter: &Emitter<'ctx>,
        [from, to]: [PointerValue<'ctx>; 2],
        (result, rows): (IntValue<'ctx>, &[IntValue<'ctx>]),
        exist: [u8; 2],
        map: Map<'ctx, N, M>,
    ) {
        let lanes = u64::from(emitter.target.lanes());
        let to = emitter.element(emitter.ty(Ty::F32, 1), to, emitter.scale(result, self.step as i64));
        let vector = |part: IntValue<'ctx>, mask: Option<VectorValue<'ctx>>| {
            let along = emitter.scale(part, lanes as i64);
            let matrix = |row: &IntValue<'ctx>| {
                let at = emitter.add(emitter.scale(*row, self.row as i64), along);
                both_ways::<N, M>(emitter, self.patch(emitter, from, at, mask, exist), map)
            };
            let byte = emitter.context.i8_type().into();
            let to = emitter.element(byte, to, emitter.scale(along, self.form.bytes() as i64));
            self.form.write(emitter, to, self.number, matrix(&rows[0]), rows.get(1).map(matrix));
        };
        let (full, rest) = (self.width / lanes, self.width % lanes);
        if full > 0 {
            emitter.repeat(emitter.i64(full as i64), |part| vector(part, None));
        }
        if rest > 0 {
            vector(emitter.i64(full as i64), Some(emitter.first_lanes(rest as u32, lanes as u32)));
        }
    }

    /// A vector of the operand at all positions of the patch.
    fn patch<'ctx, const N: usize>(
        &self,
        emitter: &Emitter<'ctx>,
        from: PointerValue<'ctx>,
        at: IntValue<'ctx>,
        mask: Option<VectorValue<'ctx>>,
        exist: [u8; 2],
    ) -> Matrix<'ctx, N> {
        let lanes = emitter.target.lanes();
        let number = |i: usize, j: usize| {
            let offset = self.origin + i as i64 * self.strides[0] + j as i64 * self.strides[1];
            let from =
                emitter.element(emitter.elem(self.elem, 1), from, emitter.add(at, emitter.i64(offset)));
            bf16::load(emitter, self.elem, from, lanes, mask)
        };
        let exists = |i: usize, j: usize| exist[0] >> i & exist[1] >> j & 1 == 1;
        std::array::from_fn(|i| std::array::from_fn(|j| exists(i, j).then(|| number(i, j))))
    }
}

/// Emits `body` for each pair of kinds, to run for that one which the two numbers say.
pub fn by_kind<'ctx>(emitter: &Emitter<'ctx>, kinds: [(Vec<u8>, IntValue<'ctx>); 2], body: impl Fn([u8; 2])) {
    let is = |found: IntValue<'ctx>, kind: u8| {
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

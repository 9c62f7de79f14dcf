//! The transforms of Winograd's F(2×2, 3×3), after Lavin and Gray, "Fast algorithms for convolutional neural networks" (CVPR 2016,
//! §4.1), on matrices of vectors. With D, G and L below, and ⊙ entry by entry,
//!
//! y = Lᵀ [(G w Gᵀ) ⊙ (D x Dᵀ)] L
//!
//! are 2×2 results of a window w of 3×3 on 4×4 inputs x, by 16 products; its adjoint gives w's gradient from that of y:
//!
//! ∂w = Gᵀ [(D x Dᵀ) ⊙ (L ∂y Lᵀ)] G.

use inkwell::IntPredicate;
use inkwell::values::{FunctionValue, InstructionOpcode, IntValue, PointerValue};

use super::super::emit::{Emitter, Value};
use crate::loops::Ty;

/// Products in place of 36.
pub const PRODUCTS: u64 = 16;

/// What does not exist is zero.
type Number<'ctx> = Option<Value<'ctx>>;
pub type Numbers<'ctx, const N: usize> = [Number<'ctx>; N];

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
    numbers: [Numbers<'ctx, N>; N],
    map: Map<'ctx, N, M>,
) -> [Numbers<'ctx, M>; M] {
    let rows = numbers.map(|row| map(emitter, row));
    let columns: [Numbers<M>; M] = std::array::from_fn(|column| map(emitter, rows.map(|row| row[column])));
    std::array::from_fn(|row| std::array::from_fn(|column| columns[column][row]))
}

/// The function `(from, to)` over `entries` of N×N matrices whose numbers lie in memory of their own: `strides` from number
/// to number of the operand and of the result.
pub fn of_panels<'ctx, const N: usize, const M: usize>(
    emitter: &Emitter<'ctx>,
    entries: u64,
    strides: [u64; 2],
    map: Map<'ctx, N, M>,
) -> FunctionValue<'ctx> {
    let name = format!("winograd_{N}_{M}_{entries}_{}_{}", strides[0], strides[1]);
    let pointer = emitter.pointer_type();
    emitter.define(&name, &[pointer, pointer], &[0, 1], |function| {
        let lanes = emitter.target.lanes();
        let vector = emitter.ty(Ty::F32, lanes);
        let [from, to] =
            [0, 1].map(|number| function.get_nth_param(number).expect("two parameters").into_pointer_value());
        emitter.repeat(emitter.i64((entries / u64::from(lanes)) as i64), |part| {
            let at = |base, number: usize, stride: u64| {
                emitter.offset(emitter.element(vector, base, part), number * (stride * 4) as usize)
            };
            let numbers = std::array::from_fn(|i| {
                std::array::from_fn(|j| Some(emitter.load(vector, at(from, i * N + j, strides[0]), 4, None)))
            });
            for (number, value) in both_ways(emitter, numbers, map).iter().flatten().enumerate() {
                let value = value.unwrap_or_else(|| vector.const_zero());
                emitter.store(value, at(to, number, strides[1]), 4, None);
            }
        });
    })
}

/// Patches of an operand whose rows are transformed on their way into scratch memory. All in entries of f32.
#[derive(Clone, Copy, Debug)]
pub struct Patches {
    /// From the operand to the first position of the patch, and from position to position both ways.
    pub origin: i64,
    pub strides: [i64; 2],
    /// From row to row.
    pub row: u64,
    /// Of a row.
    pub width: u64,
    /// From row to row of the result, whole vectors, and from number to number of it.
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
        let Patches { origin, strides: [y, x], row, width, step, number } = self;
        let [below, beside] = exist;
        let name =
            format!("winograd_patch_{N}_{below}_{beside}_{origin}_{y}_{x}_{row}_{width}_{step}_{number}");
        let pointer = emitter.pointer_type();
        let params = [pointer, pointer, emitter.context.i64_type().into()];
        let function = emitter.define(&name, &params, &[1], |function| {
            let param = |number| function.get_nth_param(number).expect("three parameters");
            let operands = [0, 1].map(|number| param(number).into_pointer_value());
            emitter.repeat(param(2).into_int_value(), |row| self.row(emitter, operands, row, exist, map));
        });
        emitter.call(function, &[from.into(), to.into(), rows.into()]);
    }

    fn row<'ctx, const N: usize, const M: usize>(
        &self,
        emitter: &Emitter<'ctx>,
        [from, to]: [PointerValue<'ctx>; 2],
        row: IntValue<'ctx>,
        exist: [u8; 2],
        map: Map<'ctx, N, M>,
    ) {
        let lanes = u64::from(emitter.target.lanes());
        let entry = |base, index| emitter.element(emitter.ty(Ty::F32, 1), base, index);
        let from = entry(from, emitter.scale(row, self.row as i64));
        let to = entry(to, emitter.scale(row, self.step as i64));
        let vector = |part: IntValue<'ctx>, mask: Option<_>| {
            let [from, to] = [from, to].map(|base| entry(base, emitter.scale(part, lanes as i64)));
            let ty = emitter.ty(Ty::F32, lanes as u32);
            let numbers = std::array::from_fn(|i| {
                std::array::from_fn(|j| {
                    let offset = self.origin + i as i64 * self.strides[0] + j as i64 * self.strides[1];
                    let exists = exist[0] >> i & exist[1] >> j & 1 == 1;
                    exists.then(|| emitter.load(ty, entry(from, emitter.i64(offset)), 4, mask))
                })
            });
            for (number, value) in both_ways::<N, M>(emitter, numbers, map).iter().flatten().enumerate() {
                let value = value.unwrap_or_else(|| ty.const_zero());
                emitter.store(value, emitter.offset(to, number * (self.number * 4) as usize), 4, None);
            }
        };
        let (full, rest) = (self.width / lanes, self.width % lanes);
        if full > 0 {
            emitter.repeat(emitter.i64(full as i64), |part| vector(part, None));
        }
        if rest > 0 {
            vector(emitter.i64(full as i64), Some(emitter.first_lanes(rest as u32, lanes as u32)));
        }
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

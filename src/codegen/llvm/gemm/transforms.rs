//! The transforms of Winograd's algorithm ([`winograd`](super::winograd)) both ways, on matrices of vectors:
//!
//! y = Lᵀ [(G w Gᵀ) ⊙ (D x Dᵀ)] L and ∂w = Gᵀ [(D x Dᵀ) ⊙ (L ∂y Lᵀ)] G.

use inkwell::values::PointerValue;

use super::super::bf16;
use super::super::emit::Emitter;
use super::patch::Patch;
use super::winograd::{Map, Number};
use crate::loops::Ty;

/// M X Mᵀ for patches of that shape.
#[derive(Clone, Copy, Debug)]
pub struct Transform {
    pub map: Map,
    pub patch: Patch,
}

/// A matrix whose rows are mapped already.
pub type HalfDone<'ctx> = Vec<Vec<Number<'ctx>>>;

impl Transform {
    /// Rows and columns that go in.
    pub fn extents(&self) -> [usize; 2] {
        self.patch.results.map(|results| self.map.arguments(self.patch.taps, results))
    }

    /// Taps and results along a side.
    fn side(&self, along: usize) -> (usize, usize) {
        (self.patch.taps, self.patch.results[along])
    }

    /// Maps the rows of the matrix with these numbers.
    pub fn rows<'ctx>(
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
    pub fn name(&self) -> String {
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
        let numbers = |at| {
            let first = to(at);
            move |number: usize| emitter.offset(first, number * (self.strides[1] * 4) as usize)
        };
        let Some(row) = self.paired else {
            return emitter.repeat(vectors(self.entries), |part| {
                let at = emitter.scale(part, lanes as i64);
                Form::Floats.write(emitter, numbers(at), transform, &[rows(at)]);
            });
        };
        emitter.repeat(emitter.i64((self.entries / row / 2) as i64), |step| {
            emitter.repeat(vectors(row), |part| {
                let along = |number| {
                    emitter.add(emitter.scale(number, row as i64), emitter.scale(part, lanes as i64))
                };
                let first = along(emitter.scale(step, 2));
                let second = emitter.add(first, emitter.i64(row as i64));
                Form::Pairs.write(emitter, numbers(along(step)), transform, &[rows(first), rows(second)]);
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
    /// Finishes a matrix, or those of two rows to be paired, and stores a vector of each number where `to` says.
    pub fn write<'ctx>(
        self,
        emitter: &Emitter<'ctx>,
        to: impl Fn(usize) -> PointerValue<'ctx>,
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
                emitter.store(value, to(row * columns + column), alignment, None);
            }
        }
    }

    /// Bytes of an entry.
    pub fn bytes(self) -> u64 {
        if self == Form::Halves { 2 } else { 4 }
    }
}

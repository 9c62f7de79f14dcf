//! Kernels of tiles: up to 2×2 tiles of C stay in registers while tiles of up to 32 entries along k pass by.

use inkwell::values::{FunctionValue, IntValue, PointerValue};

use super::amx::{ROW, Registers, Shapes};
use super::{define, for_listed, listed_c, listed_name, listed_parameters, parameters};
use crate::codegen::llvm::emit::Emitter;
use crate::codegen::llvm::pack::TILE;

/// What a kernel is specialised to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Tiles of C: one or two in each direction.
    pub rows: u64,
    pub columns: u64,
    /// Bytes of a row of C in memory, and of one of B.
    pub row: u64,
    /// Pairs of entries along k in a tile of A, and rows of one of B.
    pub steps: u64,
    /// Parts of an entry: 1, or 3 of which the six products that count are added.
    pub planes: u64,
    /// Bytes from row to row of A, from plane to plane, and from one tile to the next along k.
    pub a_row: u64,
    pub a_plane: u64,
    pub a_turn: u64,
}

/// Planes of A and of B whose products count, the largest last; the others are below the last bit of an f32. Neighbours share a
/// plane, which stays in its registers.
const PLANES: [(u64, u64); 6] = [(2, 0), (1, 0), (1, 1), (0, 1), (0, 2), (0, 0)];

/// Shapes of the registers for tiles of so many steps.
pub fn shapes(steps: u64) -> Shapes {
    let full = (TILE as u8, ROW as u8);
    let mut shapes = [full; 8];
    shapes[A..B].fill((full.0, 4 * steps as u8));
    shapes[B..].fill((steps as u8, full.1));
    shapes
}

/// Registers of A and of B; those of C come before.
const A: usize = 4;
const B: usize = 6;

impl Tiles {
    /// The kernel's function `(a, b, c, turns, more)`: C = A·B over that many (at least one) tiles along k, or
    /// C += A·B if `more`.
    pub fn function<'ctx>(&self, emitter: &Emitter<'ctx>) -> FunctionValue<'ctx> {
        define(emitter, &self.name(), &parameters(emitter), |function| self.body(emitter, function))
    }

    /// The kernel's function `(a, b, c, blocks, a_offsets, b_offsets)`: C = A·B over that many (at least one) blocks, each
    /// of `turns` tiles along k, which lie at the tables' offsets in bytes, or C += A·B if `more`.
    pub fn listed<'ctx>(&self, emitter: &Emitter<'ctx>, turns: u64, more: bool) -> FunctionValue<'ctx> {
        let name = listed_name(&self.name(), turns, more);
        define(emitter, &name, &listed_parameters(emitter), |function| {
            let registers = Registers::new(emitter, shapes(self.steps));
            let c = listed_c(function);
            self.each_of_c(emitter, c, |register, at| match more {
                true => registers.load(register, at, self.row),
                false => registers.zero(register),
            });
            for_listed(emitter, function, |operands| {
                self.turns(emitter, &registers, operands, emitter.i64(turns as i64));
            });
            self.each_of_c(emitter, c, |register, at| registers.store(register, at, self.row));
        })
    }

    fn name(&self) -> String {
        let Tiles { rows, columns, row, steps, planes, a_row, a_plane, a_turn } = self;
        format!("gemm_tile{planes}_{rows}x{columns}x{steps}_{row}_{a_row}_{a_plane}_{a_turn}")
    }

    fn body<'ctx>(&self, emitter: &Emitter<'ctx>, function: FunctionValue<'ctx>) {
        let param = |number| function.get_nth_param(number).expect("five parameters");
        let [a, b, c] = [0, 1, 2].map(|number| param(number).into_pointer_value());
        let (turns, more) = (param(3).into_int_value(), param(4).into_int_value());
        let registers = Registers::new(emitter, shapes(self.steps));
        self.each_of_c(emitter, c, |register, _| registers.zero(register));
        emitter.when(more, || {
            self.each_of_c(emitter, c, |register, at| registers.load(register, at, self.row));
        });
        self.turns(emitter, &registers, [a, b], turns);
        self.each_of_c(emitter, c, |register, at| registers.store(register, at, self.row));
    }

    /// The products of all tiles that follow each other in memory along k.
    fn turns<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        registers: &Registers<'_, 'ctx>,
        [a, b]: [PointerValue<'ctx>; 2],
        turns: IntValue<'ctx>,
    ) {
        emitter.repeat(turns, |turn| {
            let start = |base, by: u64| emitter.behind(base, emitter.scale(turn, by as i64));
            let b = start(b, self.planes * self.steps * self.row);
            self.turn(emitter, registers, start(a, self.a_turn), b);
        });
    }

    /// Register and place of each tile of C.
    fn each_of_c<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        c: PointerValue<'ctx>,
        visit: impl Fn(usize, PointerValue<'ctx>),
    ) {
        for (row, column) in self.places() {
            let at = emitter.offset(c, (row * TILE * self.row + column * ROW) as usize);
            visit((row * self.columns + column) as usize, at);
        }
    }

    /// The products of one tile along k, plane by plane.
    fn turn<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        registers: &Registers<'_, 'ctx>,
        a: PointerValue<'ctx>,
        b: PointerValue<'ctx>,
    ) {
        let order = if self.planes == 1 { &PLANES[PLANES.len() - 1..] } else { &PLANES[..] };
        let mut loaded = (None, None);
        for &(plane_a, plane_b) in order {
            if loaded.1 != Some(plane_b) {
                let from = emitter.offset(b, (plane_b * self.steps * self.row) as usize);
                registers.load_all(B, self.columns, (from, ROW), self.row);
            }
            if loaded.0 != Some(plane_a) {
                let from = emitter.offset(a, (plane_a * self.a_plane) as usize);
                registers.load_all(A, self.rows, (from, TILE * self.a_row), self.a_row);
            }
            loaded = (Some(plane_a), Some(plane_b));
            for (row, column) in self.places() {
                let c = row * self.columns + column;
                registers.multiply(c as usize, A + row as usize, B + column as usize);
            }
        }
    }

    /// Rows and columns of the tiles of C.
    fn places(&self) -> impl Iterator<Item = (u64, u64)> + use<> {
        let Tiles { rows, columns, .. } = *self;
        (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
    }
}

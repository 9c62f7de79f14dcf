//! Patches of an operand, whose rows are transformed ([`transforms`](super::transforms)) on their way into scratch memory.
//!
//! Code is made for the kinds of patches: what of them exists, and how many entries are left behind the whole vectors of a row. Where
//! numbers lie it reads from a table, so that images of any size with any number of channels share it.

use inkwell::IntPredicate;
use inkwell::values::{FunctionValue, InstructionOpcode, IntValue, PointerValue, VectorValue};

use super::super::bf16;
use super::super::emit::Emitter;
use super::patch::Mask;
use super::transforms::{Form, Transform};
use super::winograd::Number;
use crate::loops::Elem;

/// Patches that are transformed alike.
#[derive(Clone, Copy, Debug)]
pub struct Patches {
    /// Of the operand: f32 or bf16.
    pub elem: Elem,
    pub transform: Transform,
    /// Of the result.
    pub form: Form,
}

/// Where their numbers lie.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// From the operand to the first position of the patch, and from position to position both ways, in its entries.
    pub origin: i64,
    pub strides: [i64; 2],
    /// From row to row.
    pub row: u64,
    /// Of a row.
    pub width: u64,
    /// Of the result. From row to row (or pair of rows) of it, room for whole vectors, and from number to number, in entries of
    /// 32 bits.
    pub step: u64,
    pub number: u64,
}

/// For each side of a patch the masks that it may have, and the one that it has.
pub type Kinds<'ctx> = [(Vec<Mask>, IntValue<'ctx>); 2];

impl Patches {
    /// Transforms `rows` rows of the patch at `from` by the function for its kind. `exist` gives the masks of its positions, of
    /// which those exist that have a bit in both.
    pub fn emit<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        [from, to]: [PointerValue<'ctx>; 2],
        rows: IntValue<'ctx>,
        places: Places,
        (kinds, exist): (&Kinds<'ctx>, impl Fn([Mask; 2]) -> [Mask; 2]),
    ) {
        let lanes = u64::from(emitter.target.lanes());
        let odd = rows.get_zero_extended_constant().is_none_or(|rows| rows % 2 == 1);
        let table = emitter.table("places", self.places(places, lanes));
        let operands = [from.into(), to.into(), rows.into(), table.into()];
        by_kind(emitter, kinds, |kinds| {
            let odd = odd && self.form == Form::Pairs;
            let (whole, rest) = (places.width >= lanes, (places.width % lanes) as u32);
            let kind = Kind { patches: *self, exist: exist(kinds), odd, whole, rest };
            emitter.call(kind.function(emitter), &operands);
        });
    }

    /// The numbers of a table that [`Place`] reads.
    fn places(&self, places: Places, lanes: u64) -> Vec<i64> {
        let Places { origin, strides, row, width, step, number } = places;
        let bytes = self.elem.bytes() as i64;
        let [rows, columns] = self.transform.extents().map(|extent| extent as i64);
        let positions = (0..rows).flat_map(|i| (0..columns).map(move |j| [i, j]));
        let positions = positions.map(|[i, j]| (origin + i * strides[0] + j * strides[1]) * bytes);
        let numbers = (0..self.transform.patch.products()).map(|at| (at * number * 4) as i64);
        let head = [row as i64 * bytes, step as i64 * 4, (width / lanes) as i64];
        head.into_iter().chain(positions).chain(numbers).collect()
    }
}

/// A number in such a table.
#[derive(Clone, Copy)]
enum Place {
    /// Bytes from row to row of the operand, and from row to row, or pair, of the result.
    Row,
    Step,
    /// Whole vectors of a row.
    Whole,
    /// Bytes to a position of a patch, and to a number of the result.
    Position(usize, usize),
    Number(usize),
}

/// Patches for which the code is the same.
#[derive(Clone, Copy)]
struct Kind {
    patches: Patches,
    exist: [Mask; 2],
    /// Whether the number of rows may be odd, where they are paired.
    odd: bool,
    /// Whether a row has whole vectors, and entries behind them.
    whole: bool,
    rest: u32,
}

impl Kind {
    /// Takes the operand, the result, how many rows, and the table of places.
    fn function<'ctx>(self, emitter: &Emitter<'ctx>) -> FunctionValue<'ctx> {
        let Kind { patches: Patches { elem, transform, form }, exist: [below, beside], odd, whole, rest } =
            self;
        let name =
            format!("{}_patch_{elem:?}_{form:?}_{below}_{beside}_{odd}_{whole}_{rest}", transform.name());
        let pointer = emitter.pointer_type();
        let params = [pointer, pointer, emitter.context.i64_type().into(), pointer];
        // Nothing says that results lie apart from the table: its numbers would be loaded once, into registers that there are
        // not, and from the stack again.
        emitter.define(&name.to_lowercase(), &params, &[], |function| {
            let param = |number| function.get_nth_param(number).expect("four parameters");
            let [from, to, table] = [0, 1, 3].map(|number| param(number).into_pointer_value());
            Body { emitter, kind: self, from, to, table }.rows(param(2).into_int_value());
        })
    }
}

/// A function's body.
struct Body<'e, 'ctx> {
    emitter: &'e Emitter<'ctx>,
    kind: Kind,
    from: PointerValue<'ctx>,
    to: PointerValue<'ctx>,
    table: PointerValue<'ctx>,
}

impl<'ctx> Body<'_, 'ctx> {
    fn rows(&self, rows: IntValue<'ctx>) {
        let emitter = self.emitter;
        if self.kind.patches.form != Form::Pairs {
            return emitter.repeat(rows, |row| self.row(row, &[row]));
        }
        let divide = |op| emitter.binop(op, rows.into(), emitter.i64(2).into()).into_int_value();
        let pairs = divide(InstructionOpcode::UDiv);
        emitter.repeat_any(pairs, |pair| {
            let first = emitter.scale(pair, 2);
            self.row(pair, &[first, emitter.add(first, emitter.i64(1))]);
        });
        if self.kind.odd {
            let rest = emitter.some(divide(InstructionOpcode::URem));
            emitter.when(rest, || self.row(pairs, &[emitter.scale(pairs, 2)]));
        }
    }

    /// One row of the result, from one or two of the operand.
    fn row(&self, result: IntValue<'ctx>, rows: &[IntValue<'ctx>]) {
        let (emitter, lanes) = (self.emitter, self.emitter.target.lanes());
        let to = self.emitter.behind(self.to, self.times(result, Place::Step));
        let rows: Vec<_> =
            rows.iter().map(|&row| self.emitter.behind(self.from, self.times(row, Place::Row))).collect();
        let whole = self.place(Place::Whole);
        if self.kind.whole {
            emitter.repeat(whole, |part| self.vector(to, &rows, part, None));
        }
        if self.kind.rest > 0 {
            self.vector(to, &rows, whole, Some(emitter.first_lanes(self.kind.rest, lanes)));
        }
    }

    /// A vector of a row of the result.
    fn vector(
        &self,
        to: PointerValue<'ctx>,
        rows: &[PointerValue<'ctx>],
        part: IntValue<'ctx>,
        mask: Option<VectorValue<'ctx>>,
    ) {
        let (emitter, Patches { elem, transform, form }) = (self.emitter, self.kind.patches);
        let lanes = emitter.target.lanes();
        let along = |base, bytes: u64| {
            self.emitter.behind(base, emitter.scale(part, (u64::from(lanes) * bytes) as i64))
        };
        let half_done = |&row: &PointerValue<'ctx>| {
            let row = along(row, elem.bytes() as u64);
            transform.rows(emitter, |i, j| self.position(row, [i, j], mask))
        };
        let matrices: Vec<_> = rows.iter().map(half_done).collect();
        let to = along(to, form.bytes());
        form.write(emitter, |number| self.at(to, Place::Number(number)), transform, &matrices);
    }

    /// Loads a vector of the operand at a position of the patch.
    fn position(
        &self,
        row: PointerValue<'ctx>,
        [i, j]: [usize; 2],
        mask: Option<VectorValue<'ctx>>,
    ) -> Number<'ctx> {
        let (emitter, elem, [below, beside]) = (self.emitter, self.kind.patches.elem, self.kind.exist);
        let exists = below >> i & beside >> j & 1 == 1;
        exists.then(|| {
            let from = self.at(row, Place::Position(i, j));
            bf16::load(emitter, elem, from, emitter.target.lanes(), mask)
        })
    }

    fn at(&self, base: PointerValue<'ctx>, place: Place) -> PointerValue<'ctx> {
        self.emitter.behind(base, self.place(place))
    }

    fn times(&self, number: IntValue<'ctx>, place: Place) -> IntValue<'ctx> {
        self.emitter.binop(InstructionOpcode::Mul, number.into(), self.place(place).into()).into_int_value()
    }

    /// Loads a number of the table.
    fn place(&self, place: Place) -> IntValue<'ctx> {
        let [rows, columns] = self.kind.patches.transform.extents();
        let index = match place {
            Place::Row => 0,
            Place::Step => 1,
            Place::Whole => 2,
            Place::Position(i, j) => 3 + i * columns + j,
            Place::Number(number) => 3 + rows * columns + number,
        };
        self.emitter.look_up(self.table, self.emitter.i64(index as i64))
    }
}

/// Emits `body` for each pair of kinds, to run for the one that it is.
fn by_kind<'ctx>(emitter: &Emitter<'ctx>, kinds: &Kinds<'ctx>, body: impl Fn([Mask; 2])) {
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

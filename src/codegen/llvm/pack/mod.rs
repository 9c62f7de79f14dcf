//! Copies panels of operands into scratch memory in the order and the form in which a kernel reads them.

mod floats;
mod pairs;
mod source;
mod tiles;
mod transpose;

use inkwell::values::{FunctionValue, IntValue, PointerValue};

use super::emit::{Emitter, Value};
use crate::loops::{Elem, Ty};
use source::Source;
pub(super) use transpose::transposed;

/// Steps of k (two entries each) in a tile, and the rows of a tile.
pub const TILE: u64 = 16;

/// Copies a matrix `[k][width]`. What lies behind the last step of k may be overwritten, up to one vector of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    pub width: u64,
    /// Width of the copy.
    pub padded: u64,
    /// Strides of the source in entries, along k and along the width.
    pub strides: (u64, u64),
    /// Entries of the source: f32 or bf16.
    pub from: Elem,
    pub form: Form,
}

/// What a copy looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `[k][padded]` of f32, rounded to bf16 first if `rounded`. What lies behind `width`, up to the next whole vector, is as finite
    /// as the source.
    Floats { rounded: bool },
    /// `[k/2][padded]` of pairs: two entries that follow each other along k as bf16 in 32 bits, the earlier one in the
    /// lower half. With `tiles` the pairs go on with zeros to the next multiple of [`TILE`] steps; then there may be
    /// several `planes`, parts of which an entry is the sum, tile by tile: `[k/32][planes][16][padded]`.
    Pairs { planes: u64, tiles: bool },
    /// Pairs in rows, tile by tile: `[k/32][planes][padded][16]`, with zeros to the end of the last tile.
    Rows { planes: u64 },
}

/// Along which side the entries of the source are neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Along the width.
    Rows,
    /// Along k.
    Columns,
    /// Neither.
    Scattered,
}

/// Matrices that lie side by side in the source, and so many entries of 32 bits apart in the copy.
#[derive(Clone, Copy)]
struct Beside<'ctx> {
    count: IntValue<'ctx>,
    apart: IntValue<'ctx>,
}

impl Copy {
    /// Calls the function that copies `k` ≥ 1 rows; all copies of one width and kind share it.
    pub fn call<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        from: PointerValue<'ctx>,
        to: PointerValue<'ctx>,
        k: IntValue<'ctx>,
    ) {
        emitter.call(self.function(emitter, false), &self.args(emitter, [from, to], k));
    }

    /// Copies `count` matrices that lie side by side, to places `apart` entries of 32 bits apart. Memory is read in rows that are
    /// as long as can be.
    pub fn call_beside<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        [from, to]: [PointerValue<'ctx>; 2],
        k: IntValue<'ctx>,
        (count, apart): (IntValue<'ctx>, u64),
    ) {
        if self.kind() == Kind::Rows && count.get_sign_extended_constant() != Some(1) {
            let mut args = self.args(emitter, [from, to], k);
            args.extend([count, emitter.i64(apart as i64)].map(Value::from));
            return emitter.call(self.function(emitter, true), &args);
        }
        emitter.repeat(count, |number| {
            let entries = emitter.scale(number, (self.width * self.strides.1) as i64);
            let from = emitter.element(emitter.elem(self.from, 1), from, entries);
            let to = emitter.element(emitter.ty(Ty::I32, 1), to, emitter.scale(number, apart as i64));
            self.call(emitter, from, to, k);
        });
    }

    fn args<'ctx>(
        &self,
        emitter: &Emitter<'ctx>,
        [from, to]: [PointerValue<'ctx>; 2],
        k: IntValue<'ctx>,
    ) -> Vec<Value<'ctx>> {
        let [along_k, along_width] =
            [self.strides.0, self.strides.1].map(|stride| emitter.i64(stride as i64));
        vec![from.into(), to.into(), k.into(), along_k.into(), along_width.into()]
    }

    fn kind(&self) -> Kind {
        match self.strides {
            (_, 1) => Kind::Rows,
            (1, _) => Kind::Columns,
            _ => Kind::Scattered,
        }
    }

    fn name(&self) -> String {
        let (kind, form) = (self.kind(), self.form_name());
        format!("pack_{kind:?}_{form}_{}_{}", self.width, self.padded).to_lowercase()
    }

    /// Of what transposes a block.
    fn square_name(&self) -> String {
        format!("transpose_{}", self.form_name())
    }

    /// What it makes of which entries.
    fn form_name(&self) -> String {
        let form = match self.form {
            Form::Floats { rounded: false } => "f32".into(),
            Form::Floats { rounded: true } => "rounded".into(),
            Form::Pairs { tiles: false, .. } => "pairs".into(),
            Form::Pairs { planes, .. } => format!("pairs{planes}"),
            Form::Rows { planes } => format!("rows{planes}"),
        };
        format!("{:?}_{form}", self.from).to_lowercase()
    }

    /// The function `(from, to, k, stride along k, stride along the width)`; for matrices `beside` each other their number and
    /// distance come to it.
    fn function<'ctx>(&self, emitter: &Emitter<'ctx>, beside: bool) -> FunctionValue<'ctx> {
        let pointer = emitter.pointer_type();
        let int = emitter.context.i64_type().into();
        let mut params = vec![pointer, pointer, int, int, int];
        let mut name = self.name();
        if beside {
            params.extend([int, int]);
            name += "_beside";
        }
        emitter.define(&name, &params, &[0, 1], |function| self.body(emitter, function, beside))
    }

    fn body<'ctx>(&self, emitter: &Emitter<'ctx>, function: FunctionValue<'ctx>, beside: bool) {
        let param = |number| function.get_nth_param(number).expect("as many parameters");
        let pointer = |number| param(number).into_pointer_value();
        let int = |number| param(number).into_int_value();
        let (start, to, k) = (pointer(0), pointer(1), int(2));
        let source = Source { emitter, elem: self.from, start, along_k: int(3), along_width: int(4) };
        let beside = beside.then(|| Beside { count: int(5), apart: int(6) });
        match self.form {
            Form::Floats { rounded } => floats::Floats { source, copy: *self, rounded, to, beside }.emit(k),
            Form::Pairs { planes, tiles } => {
                pairs::Pairs { source, copy: *self, planes, tiles, to, beside }.emit(k);
            }
            Form::Rows { planes } => tiles::Rows { source, copy: *self, planes, to }.emit(k),
        }
    }
}

//! Tile registers (AMX): eight of up to 16 rows of 64 bytes. On targets that emulate them they are memory, and the
//! product is written out as Intel documents it, so that kernels can be tested on every machine.

use blk_runtime::features::{TileShape, tile_configuration};
use inkwell::IntPredicate;
use inkwell::module::Linkage;
use inkwell::types::{BasicType, BasicTypeEnum};
use inkwell::values::{BasicValue, FunctionValue, InstructionOpcode, IntValue, PointerValue};

use crate::codegen::llvm::bf16;
use crate::codegen::llvm::emit::{Emitter, Value, lanes_of};
use crate::codegen::llvm::pack::TILE;
use crate::loops::{Elem, Ty};

/// Shapes of all registers.
pub type Shapes = [TileShape; 8];
/// Bytes of a row, and of a tile.
pub const ROW: u64 = 64;
const BYTES: u64 = TILE * ROW;

/// Gives the tile registers their shapes; before the first kernel of a task.
pub fn configure(emitter: &Emitter, shapes: &Shapes) {
    if emitter.target.emulates_tiles() {
        return;
    }
    let bytes = tile_configuration(*shapes);
    let name = format!("tile_configuration_{}", bytes.map(|byte| format!("{byte:02x}")).concat());
    let global = emitter.module.get_global(&name).unwrap_or_else(|| {
        let bytes = emitter.context.const_string(&bytes, false);
        let global = emitter.module.add_global(bytes.get_type(), None, &name);
        global.set_initializer(&bytes.as_basic_value_enum());
        global.set_constant(true);
        global.set_linkage(Linkage::Private);
        global.set_alignment(64);
        global
    });
    emitter.effect("llvm.x86.ldtilecfg", &[global.as_pointer_value().into()]);
}

/// Gives the tile registers back, after the last kernel of a task.
pub fn release(emitter: &Emitter) {
    if !emitter.target.emulates_tiles() {
        emitter.effect("llvm.x86.tilerelease", &[]);
    }
}

/// The registers within one function.
pub(super) struct Registers<'e, 'ctx> {
    emitter: &'e Emitter<'ctx>,
    shapes: Shapes,
    /// In place of registers.
    memory: Option<Vec<PointerValue<'ctx>>>,
}

impl<'e, 'ctx> Registers<'e, 'ctx> {
    pub fn new(emitter: &'e Emitter<'ctx>, shapes: Shapes) -> Self {
        let tile = emitter.context.i8_type().array_type(BYTES as u32).as_basic_type_enum();
        let memory = emitter.target.emulates_tiles().then(|| shapes.map(|_| emitter.local(tile)).to_vec());
        Registers { emitter, shapes, memory }
    }

    fn number(&self, register: usize) -> Value<'ctx> {
        self.emitter.context.i8_type().const_int(register as u64, false).into()
    }

    pub fn zero(&self, register: usize) {
        match &self.memory {
            None => self.emitter.effect("llvm.x86.tilezero", &[self.number(register)]),
            Some(memory) => self.rows(register, &|row| {
                let zero = self.row_type(register).const_zero();
                self.emitter.store(zero, at(self.emitter, memory[register], row, ROW), 1, None);
            }),
        }
    }

    /// So many registers from `first` on, from tiles that lie `apart` bytes from each other.
    pub fn load_all(&self, first: usize, count: u64, (from, apart): (PointerValue<'ctx>, u64), stride: u64) {
        for number in 0..count {
            let from = self.emitter.offset(from, (number * apart) as usize);
            self.load(first + number as usize, from, stride);
        }
    }

    /// Rows lie `stride` bytes apart in memory.
    pub fn load(&self, register: usize, from: PointerValue<'ctx>, stride: u64) {
        match &self.memory {
            None => self.emitter.effect(
                "llvm.x86.tileloadd64",
                &[self.number(register), from.into(), self.emitter.i64(stride as i64).into()],
            ),
            Some(memory) => self.copy(register, [(from, stride), (memory[register], ROW)]),
        }
    }

    pub fn store(&self, register: usize, to: PointerValue<'ctx>, stride: u64) {
        match &self.memory {
            None => self.emitter.effect(
                "llvm.x86.tilestored64",
                &[self.number(register), to.into(), self.emitter.i64(stride as i64).into()],
            ),
            Some(memory) => self.copy(register, [(memory[register], ROW), (to, stride)]),
        }
    }

    /// Adds the product of the pairs of bf16 in `a` and `b` to the f32 in `c`.
    pub fn multiply(&self, c: usize, a: usize, b: usize) {
        match &self.memory {
            None => {
                self.emitter.effect("llvm.x86.tdpbf16ps", &[c, a, b].map(|register| self.number(register)))
            }
            Some(memory) => {
                let args = [c, a, b].map(|register| memory[register].into());
                self.emitter.call(product(self.emitter, self.shapes[b].0), &args);
            }
        }
    }

    fn rows(&self, register: usize, body: &dyn Fn(IntValue<'ctx>)) {
        self.emitter.repeat(self.emitter.i64(self.shapes[register].0.into()), body);
    }

    fn row_type(&self, register: usize) -> BasicTypeEnum<'ctx> {
        self.emitter.ty(Ty::I32, u32::from(self.shapes[register].1) / 4)
    }

    /// Copies the rows of a register from one place to another, each with its stride.
    fn copy(&self, register: usize, [from, to]: [(PointerValue<'ctx>, u64); 2]) {
        let emitter = self.emitter;
        self.rows(register, &|row| {
            let loaded = emitter.load(self.row_type(register), at(emitter, from.0, row, from.1), 1, None);
            emitter.store(loaded, at(emitter, to.0, row, to.1), 1, None);
        });
    }
}

fn at<'ctx>(
    emitter: &Emitter<'ctx>,
    base: PointerValue<'ctx>,
    row: IntValue<'ctx>,
    stride: u64,
) -> PointerValue<'ctx> {
    emitter.behind(base, emitter.scale(row, stride as i64))
}

/// TDPBF16PS on memory, as Intel documents it: sums of the earlier and of the later products of a pair apart, added
/// before they go to C; multiply-adds rounded to nearest, subnormal operands and results count as zero. For so many pairs along k.
fn product<'ctx>(emitter: &Emitter<'ctx>, pairs: u8) -> FunctionValue<'ctx> {
    let params = [emitter.pointer_type(); 3];
    let name = format!("emulated_tdpbf16ps_{pairs}");
    emitter.define(&name, &params, &[], |function| product_body(emitter, function, pairs))
}

fn product_body<'ctx>(emitter: &Emitter<'ctx>, function: FunctionValue<'ctx>, pairs: u8) {
    let [c, a, b] =
        [0, 1, 2].map(|number| function.get_nth_param(number).expect("three").into_pointer_value());
    let float = emitter.ty(Ty::F32, TILE as u32);
    let sums = [emitter.local(float), emitter.local(float)];
    emitter.repeat(emitter.i64(TILE as i64), |row| {
        sums.iter().for_each(|&sum| emitter.store(float.const_zero(), sum, 64, None));
        let row_of_a = at(emitter, a, row, ROW);
        emitter.repeat(emitter.i64(pairs.into()), |step| {
            let pairs = emitter.load(emitter.ty(Ty::I32, TILE as u32), at(emitter, b, step, ROW), 1, None);
            let pair = emitter.load(emitter.ty(Ty::I32, 1), at(emitter, row_of_a, step, 4), 1, None);
            let pair = emitter.splat(pair, TILE as u32);
            for (half, &sum) in halves(emitter, pair).into_iter().zip(halves(emitter, pairs)).zip(&sums) {
                let before = emitter.load(float, sum, 64, None);
                let after = flush(emitter, emitter.mul_add(half.0, half.1, before));
                emitter.store(after, sum, 64, None);
            }
        });
        let add = |a, b| flush(emitter, emitter.binop(InstructionOpcode::FAdd, a, b));
        let [earlier, later] = sums.map(|sum| emitter.load(float, sum, 64, None));
        let to = at(emitter, c, row, ROW);
        let before = flush(emitter, emitter.load(float, to, 1, None));
        emitter.store(add(before, add(earlier, later)), to, 1, None);
    });
}

/// The earlier and the later entries of pairs as f32.
fn halves<'ctx>(emitter: &Emitter<'ctx>, pairs: Value<'ctx>) -> [Value<'ctx>; 2] {
    let lanes = lanes_of(pairs);
    let half = |shift: i32| {
        let by = emitter.splat(emitter.i32(shift).into(), lanes);
        let moved = emitter.binop(InstructionOpcode::LShr, pairs, by);
        let half = emitter.cast(InstructionOpcode::Trunc, moved, emitter.elem(Elem::Bf16, lanes));
        flush(emitter, bf16::widen(emitter, half, lanes))
    };
    [half(0), half(16)]
}

/// Subnormal numbers as zeros of their sign.
fn flush<'ctx>(emitter: &Emitter<'ctx>, value: Value<'ctx>) -> Value<'ctx> {
    let lanes = lanes_of(value);
    let int = emitter.ty(Ty::I32, lanes);
    let constant = |bits: u32| emitter.splat(emitter.i32(bits as i32).into(), lanes);
    let bits = emitter.cast(InstructionOpcode::BitCast, value, int);
    let and = |mask| emitter.binop(InstructionOpcode::And, bits, constant(mask));
    let subnormal = emitter.compare_ints(IntPredicate::ULT, and(0x7fff_ffff), constant(0x0080_0000));
    let flushed = emitter.select(subnormal, and(0x8000_0000), bits);
    emitter.cast(InstructionOpcode::BitCast, flushed, emitter.ty(Ty::F32, lanes))
}

//! bf16 in vectors: rounding as `loops::bf16` says it, by the processor's own conversion where there is one, by integer
//! arithmetic elsewhere.

use inkwell::IntPredicate;
use inkwell::values::{InstructionOpcode, PointerValue, VectorValue};

use super::emit::{Emitter, Value, lanes_of};
use crate::loops::{Elem, Ty};

/// Vectors that the conversion instruction takes, in lanes.
const NATIVE: [u32; 3] = [4, 8, 16];

/// Whether so many lanes are converted by one instruction.
fn native(emitter: &Emitter, lanes: u32) -> bool {
    emitter.target.has_bf16() && NATIVE.contains(&lanes)
}

/// The f32 of each bf16.
pub fn widen<'ctx>(emitter: &Emitter<'ctx>, halves: Value<'ctx>, lanes: u32) -> Value<'ctx> {
    let wide = emitter.cast(InstructionOpcode::ZExt, halves, emitter.ty(Ty::I32, lanes));
    let bits = emitter.binop(InstructionOpcode::Shl, wide, word(emitter, 16, lanes));
    emitter.cast(InstructionOpcode::BitCast, bits, emitter.ty(Ty::F32, lanes))
}

/// Neighbouring entries (f32 or bf16) as f32; zero where `mask` is false.
pub fn load<'ctx>(
    emitter: &Emitter<'ctx>,
    elem: Elem,
    from: PointerValue<'ctx>,
    lanes: u32,
    mask: Option<VectorValue<'ctx>>,
) -> Value<'ctx> {
    let loaded = emitter.load(emitter.elem(elem, lanes), from, elem.bytes() as u32, mask);
    from_memory(emitter, elem, loaded, lanes)
}

/// A value in the type of registers.
pub fn from_memory<'ctx>(
    emitter: &Emitter<'ctx>,
    elem: Elem,
    loaded: Value<'ctx>,
    lanes: u32,
) -> Value<'ctx> {
    match elem {
        Elem::Bf16 => widen(emitter, loaded, lanes),
        _ => loaded,
    }
}

/// The bf16 of numbers that are one each.
pub fn narrow<'ctx>(emitter: &Emitter<'ctx>, rounded: Value<'ctx>, lanes: u32) -> Value<'ctx> {
    let bits = emitter.cast(InstructionOpcode::BitCast, rounded, emitter.ty(Ty::I32, lanes));
    let upper = emitter.binop(InstructionOpcode::LShr, bits, word(emitter, 16, lanes));
    emitter.cast(InstructionOpcode::Trunc, upper, emitter.elem(Elem::Bf16, lanes))
}

/// Pairs of the bf16 nearest to an earlier and a later number, in 32 bits: the earlier one in the lower half.
pub fn round_pair<'ctx>(emitter: &Emitter<'ctx>, earlier: Value<'ctx>, later: Value<'ctx>) -> Value<'ctx> {
    let lanes = lanes_of(earlier);
    if !native(emitter, lanes) {
        let [earlier, later] = [earlier, later].map(|value| round(emitter, value, lanes));
        return pair(emitter, earlier, Some(later));
    }
    let halves = nearest_of_both(emitter, earlier, later).into_vector_value();
    let order: Vec<u32> = (0..lanes).flat_map(|lane| [lane, lane + lanes]).collect();
    let pairs = emitter.shuffle(halves, halves, &order).into();
    emitter.cast(InstructionOpcode::BitCast, pairs, emitter.ty(Ty::I32, lanes))
}

/// Twice as many bf16 as there are lanes, the nearest to those of `low` first.
pub fn round_both<'ctx>(emitter: &Emitter<'ctx>, low: Value<'ctx>, high: Value<'ctx>) -> Value<'ctx> {
    let lanes = lanes_of(low);
    if native(emitter, lanes) {
        return nearest_of_both(emitter, low, high);
    }
    let [low, high] = [low, high].map(|part| round(emitter, part, lanes));
    join(emitter, low, high)
}

/// [`round_both`] of numbers that are bf16.
pub fn join<'ctx>(emitter: &Emitter<'ctx>, low: Value<'ctx>, high: Value<'ctx>) -> Value<'ctx> {
    let lanes = lanes_of(low);
    if native(emitter, lanes) {
        return nearest_of_both(emitter, low, high);
    }
    let [low, high] = [low, high].map(|part| narrow(emitter, part, lanes).into_vector_value());
    let order: Vec<u32> = (0..2 * lanes).collect();
    emitter.shuffle(low, high, &order).into()
}

fn nearest_of_both<'ctx>(emitter: &Emitter<'ctx>, low: Value<'ctx>, high: Value<'ctx>) -> Value<'ctx> {
    let lanes = lanes_of(low);
    let name = format!("llvm.x86.avx512bf16.cvtne2ps2bf16.{}", lanes * 32);
    let halves = emitter.intrinsic(&name, &[], &[high, low]);
    emitter.cast(InstructionOpcode::BitCast, halves, emitter.elem(Elem::Bf16, 2 * lanes))
}

/// Three bf16, each as f32, that add up to a number: each the nearest to what those before leave (24 digits are three times
/// eight). What is left of a number so small that its third part would be subnormal is lost.
pub fn split<'ctx>(emitter: &Emitter<'ctx>, value: Value<'ctx>) -> [Value<'ctx>; 3] {
    let minus = |a, b| emitter.binop(InstructionOpcode::FSub, a, b);
    let first = near(emitter, value);
    let rest = minus(value, first);
    let second = near(emitter, rest);
    [first, second, upper(emitter, minus(rest, second))]
}

/// The bf16 nearest to each number, the larger one of two, as f32. Shorter than [`round`], and for finite numbers only.
fn near<'ctx>(emitter: &Emitter<'ctx>, value: Value<'ctx>) -> Value<'ctx> {
    let lanes = lanes_of(value);
    let bits = emitter.cast(InstructionOpcode::BitCast, value, emitter.ty(Ty::I32, lanes));
    let above = emitter.binop(InstructionOpcode::Add, bits, word(emitter, 0x8000, lanes));
    upper(emitter, emitter.cast(InstructionOpcode::BitCast, above, emitter.ty(Ty::F32, lanes)))
}

/// Without the lower half of the bits, where a pair keeps its earlier number.
fn upper<'ctx>(emitter: &Emitter<'ctx>, value: Value<'ctx>) -> Value<'ctx> {
    let lanes = lanes_of(value);
    let bits = emitter.cast(InstructionOpcode::BitCast, value, emitter.ty(Ty::I32, lanes));
    let kept = emitter.binop(InstructionOpcode::And, bits, word(emitter, 0xffff_0000, lanes));
    emitter.cast(InstructionOpcode::BitCast, kept, emitter.ty(Ty::F32, lanes))
}

/// Pairs of numbers that are bf16, zero for a later one that is missing.
pub fn pair<'ctx>(emitter: &Emitter<'ctx>, earlier: Value<'ctx>, later: Option<Value<'ctx>>) -> Value<'ctx> {
    let lanes = lanes_of(earlier);
    let bits = |value| emitter.cast(InstructionOpcode::BitCast, value, emitter.ty(Ty::I32, lanes));
    let low = emitter.binop(InstructionOpcode::LShr, bits(earlier), word(emitter, 16, lanes));
    later.map_or(low, |later| emitter.binop(InstructionOpcode::Or, low, bits(later)))
}

/// The bf16 nearest to each number, as f32.
pub fn round<'ctx>(emitter: &Emitter<'ctx>, value: Value<'ctx>, lanes: u32) -> Value<'ctx> {
    if native(emitter, lanes) {
        return by_instruction(emitter, value, lanes);
    }
    let bits = emitter.cast(InstructionOpcode::BitCast, value, emitter.ty(Ty::I32, lanes));
    let constant = |bits: u32| word(emitter, bits, lanes);
    let and = |a, b| emitter.binop(InstructionOpcode::And, a, b);
    let add = |a, b| emitter.binop(InstructionOpcode::Add, a, b);
    let size = and(bits, constant(0x7fff_ffff));
    let odd = and(emitter.binop(InstructionOpcode::LShr, bits, constant(16)), constant(1));
    let nearest = add(add(bits, constant(0x7fff)), odd);
    let quiet = emitter.binop(InstructionOpcode::Or, bits, constant(0x0040_0000));
    let nan = emitter.compare_ints(IntPredicate::UGT, size, constant(0x7f80_0000));
    let kept = and(emitter.select(nan, quiet, nearest), constant(0xffff_0000));
    let subnormal = emitter.compare_ints(IntPredicate::ULT, size, constant(0x0080_0000));
    let rounded = emitter.select(subnormal, and(bits, constant(0x8000_0000)), kept);
    emitter.cast(InstructionOpcode::BitCast, rounded, emitter.ty(Ty::F32, lanes))
}

fn by_instruction<'ctx>(emitter: &Emitter<'ctx>, value: Value<'ctx>, lanes: u32) -> Value<'ctx> {
    let halves = emitter.elem(Elem::Bf16, lanes);
    // The narrowest form leaves half a register of zeros behind its result, and has no intrinsic without a mask.
    let rounded = if lanes == 4 {
        let all = emitter.first_lanes(4, 4).into();
        let none = emitter.widen(emitter.context.bf16_type().into(), 8).const_zero();
        let padded = emitter.intrinsic("llvm.x86.avx512bf16.mask.cvtneps2bf16.128", &[], &[value, none, all]);
        let ints = emitter.elem(Elem::Bf16, 8);
        let padded = emitter.cast(InstructionOpcode::BitCast, padded, ints).into_vector_value();
        emitter.shuffle(padded, padded, &[0, 1, 2, 3]).into()
    } else {
        let name = format!("llvm.x86.avx512bf16.cvtneps2bf16.{}", lanes * 32);
        emitter.cast(InstructionOpcode::BitCast, emitter.intrinsic(&name, &[], &[value]), halves)
    };
    widen(emitter, rounded, lanes)
}

fn word<'ctx>(emitter: &Emitter<'ctx>, bits: u32, lanes: u32) -> Value<'ctx> {
    emitter.splat(emitter.i32(bits as i32).into(), lanes)
}

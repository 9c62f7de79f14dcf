//! One instruction of a scalar program, on scalars or vectors.

use inkwell::values::{InstructionOpcode, IntValue};
use inkwell::{FloatPredicate, IntPredicate};

use super::bf16;
use super::emit::{Emitter, Value, lanes_of, must};
use crate::loops::{Binary, Inst, Reg, Ty, Unary};

/// Registers that an instruction reads.
pub fn operands(inst: &Inst) -> Vec<Reg> {
    match *inst {
        Inst::Float(..) | Inst::Int(_) | Inst::Load(..) | Inst::Position(_) | Inst::Acc(_) => Vec::new(),
        Inst::Unary(_, a) | Inst::Convert(a, _) | Inst::Bits(a, _) => vec![a],
        Inst::Binary(_, a, b) => vec![a, b],
        Inst::MulAdd(a, b, c) | Inst::Select(a, b, c) => vec![a, b, c],
    }
}

/// Emits any instruction but loads, positions and accumulators. `of` gives operands with `lanes` lanes.
pub fn emit<'ctx>(
    emitter: &Emitter<'ctx>,
    inst: &Inst,
    type_of: &dyn Fn(Reg) -> Ty,
    of: &dyn Fn(Reg) -> Value<'ctx>,
    lanes: u32,
) -> Value<'ctx> {
    match *inst {
        Inst::Float(value, ty) => emitter.float(value, ty),
        Inst::Int(value) => emitter.i32(value).into(),
        Inst::Unary(op, a) => unary(emitter, op, type_of(a), of(a), lanes),
        Inst::Binary(op, a, b) => binary(emitter, op, type_of(a), of(a), of(b)),
        Inst::MulAdd(a, b, c) => emitter.mul_add(of(a), of(b), of(c)),
        Inst::Select(condition, a, b) => emitter.select(of(condition), of(a), of(b)),
        Inst::Convert(a, to) => {
            let op = match (type_of(a), to) {
                (Ty::I32, _) => InstructionOpcode::SIToFP,
                (Ty::F32, _) => InstructionOpcode::FPExt,
                _ => InstructionOpcode::FPTrunc,
            };
            emitter.cast(op, of(a), emitter.ty(to, lanes))
        }
        Inst::Bits(a, to) => emitter.cast(InstructionOpcode::BitCast, of(a), emitter.ty(to, lanes)),
        Inst::Load(..) | Inst::Position(_) | Inst::Acc(_) => unreachable!("emitted by the frame"),
    }
}

fn unary<'ctx>(emitter: &Emitter<'ctx>, op: Unary, ty: Ty, a: Value<'ctx>, lanes: u32) -> Value<'ctx> {
    let float = |name: &str| emitter.intrinsic(name, &[a.get_type()], &[a]);
    match op {
        Unary::Neg => emitter.negate(a),
        Unary::Abs => float("llvm.fabs"),
        Unary::Sqrt => float("llvm.sqrt"),
        Unary::Round if emitter.target.has_round() => float("llvm.roundeven"),
        Unary::Round => round(emitter, ty, a, lanes),
        Unary::Floor if emitter.target.has_round() => float("llvm.floor"),
        Unary::Floor => floor(emitter, ty, a, lanes),
        Unary::ToInt => emitter.intrinsic("llvm.lrint", &[emitter.ty(Ty::I32, lanes), a.get_type()], &[a]),
        Unary::Bf16 => bf16::round(emitter, a, lanes),
        Unary::Not => {
            let ones = emitter.splat(emitter.context.bool_type().const_all_ones().into(), lanes);
            emitter.binop(InstructionOpcode::Xor, a, ones)
        }
        Unary::Exp => library(emitter, "exp", &[a]),
        Unary::Log => library(emitter, "log", &[a]),
        Unary::Sin => library(emitter, "sin", &[a]),
        Unary::Cos => library(emitter, "cos", &[a]),
    }
}

/// Rounds without a rounding instruction: adding and subtracting 2^(digits) leaves no place for a fraction.
fn round<'ctx>(emitter: &Emitter<'ctx>, ty: Ty, a: Value<'ctx>, lanes: u32) -> Value<'ctx> {
    let digits = if ty == Ty::F32 { 23 } else { 52 };
    let limit = emitter.splat(emitter.float(2f64.powi(digits), ty), lanes);
    let size = emitter.intrinsic("llvm.fabs", &[a.get_type()], &[a]);
    let up = emitter.binop(InstructionOpcode::FAdd, size, limit);
    let rounded = emitter.binop(InstructionOpcode::FSub, up, limit);
    let signed = emitter.intrinsic("llvm.copysign", &[a.get_type()], &[rounded, a]);
    let small = emitter.compare_floats(FloatPredicate::OLT, size, limit);
    emitter.select(small, signed, a)
}

fn floor<'ctx>(emitter: &Emitter<'ctx>, ty: Ty, a: Value<'ctx>, lanes: u32) -> Value<'ctx> {
    let rounded = round(emitter, ty, a, lanes);
    let one = emitter.splat(emitter.float(1.0, ty), lanes);
    let less = emitter.binop(InstructionOpcode::FSub, rounded, one);
    let above = emitter.compare_floats(FloatPredicate::OGT, rounded, a);
    emitter.select(above, less, rounded)
}

/// A function of the C library on f64, lane by lane.
fn library<'ctx>(emitter: &Emitter<'ctx>, name: &str, args: &[Value<'ctx>]) -> Value<'ctx> {
    let float = emitter.context.f64_type();
    let function = emitter.module.get_function(name).unwrap_or_else(|| {
        let ty = float.fn_type(&vec![float.into(); args.len()], false);
        emitter.module.add_function(name, ty, None)
    });
    let call = |args: &[Value<'ctx>]| {
        let args: Vec<_> = args.iter().map(|&arg| arg.into()).collect();
        must(emitter.builder.build_call(function, &args, "")).try_as_basic_value().unwrap_basic()
    };
    if !args[0].is_vector_value() {
        return call(args);
    }
    let ty = args[0].get_type().into_vector_type();
    (0..ty.get_size())
        .fold(ty.get_poison(), |result, lane| {
            let scalars: Vec<_> =
                args.iter().map(|arg| emitter.lane(arg.into_vector_value(), lane)).collect();
            let at = emitter.i32(lane as i32);
            must(emitter.builder.build_insert_element(result, call(&scalars), at, ""))
        })
        .into()
}

pub fn binary<'ctx>(
    emitter: &Emitter<'ctx>,
    op: Binary,
    ty: Ty,
    a: Value<'ctx>,
    b: Value<'ctx>,
) -> Value<'ctx> {
    use InstructionOpcode::{Add, And, FAdd, FDiv, FMul, FSub, LShr, Mul, Or, Shl, Sub, Xor};
    let int = ty == Ty::I32;
    let arithmetic = |ints, floats| emitter.binop(if int { ints } else { floats }, a, b);
    let compare = |ints, floats| match int {
        true => emitter.compare_ints(ints, a, b),
        false => emitter.compare_floats(floats, a, b),
    };
    match op {
        Binary::Add => arithmetic(Add, FAdd),
        Binary::Sub => arithmetic(Sub, FSub),
        Binary::Mul => arithmetic(Mul, FMul),
        Binary::Div => emitter.binop(FDiv, a, b),
        Binary::Max => emitter.select(emitter.compare_floats(FloatPredicate::OGT, b, a), b, a),
        Binary::Min => emitter.select(emitter.compare_floats(FloatPredicate::OLT, b, a), b, a),
        Binary::Pow => library(emitter, "pow", &[a, b]),
        Binary::Lt => compare(IntPredicate::SLT, FloatPredicate::OLT),
        Binary::Le => compare(IntPredicate::SLE, FloatPredicate::OLE),
        Binary::Eq => compare(IntPredicate::EQ, FloatPredicate::OEQ),
        Binary::And => emitter.binop(And, a, b),
        Binary::Or => emitter.binop(Or, a, b),
        Binary::Xor => emitter.binop(Xor, a, b),
        Binary::Shl => emitter.binop(Shl, a, shift_count(emitter, b)),
        Binary::Shr => emitter.binop(LShr, a, shift_count(emitter, b)),
    }
}

/// A shift's count modulo 32, which has a meaning for every value.
fn shift_count<'ctx>(emitter: &Emitter<'ctx>, count: Value<'ctx>) -> Value<'ctx> {
    let limit: IntValue = emitter.i32(31);
    emitter.binop(InstructionOpcode::And, count, emitter.splat(limit.into(), lanes_of(count)))
}

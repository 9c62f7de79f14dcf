//! Types of the registers of a straight-line program.

use super::{Binary, Buffer, Elem, Inst, Scalars, Ty, Unary};

impl From<Elem> for Ty {
    fn from(elem: Elem) -> Ty {
        match elem {
            Elem::F32 | Elem::Bf16 => Ty::F32,
            Elem::F64 => Ty::F64,
            Elem::I32 => Ty::I32,
        }
    }
}

impl Scalars {
    /// The type of each register, or what is wrong with the program. `accumulators` are the types behind
    /// [`Inst::Acc`].
    pub fn types(&self, buffers: &[Buffer], accumulators: &[Ty]) -> Result<Vec<Ty>, String> {
        let mut types = Vec::with_capacity(self.insts.len());
        for (number, inst) in self.insts.iter().enumerate() {
            let ty = type_of(inst, &types, buffers, accumulators)
                .map_err(|problem| format!("%{number} = {inst:?}: {problem}"))?;
            types.push(ty);
        }
        Ok(types)
    }
}

fn type_of(inst: &Inst, known: &[Ty], buffers: &[Buffer], accumulators: &[Ty]) -> Result<Ty, String> {
    let of = |reg: super::Reg| known.get(reg.index()).copied().ok_or(format!("{reg} is not defined yet"));
    match *inst {
        Inst::Float(_, ty) => one_of(ty, FLOATS),
        Inst::Int(_) | Inst::Position(_) => Ok(Ty::I32),
        Inst::Load(id, _) => {
            buffers.get(id.index()).map(|buffer| buffer.elem.into()).ok_or(format!("no buffer {id}"))
        }
        Inst::Acc(index) => accumulators.get(index).copied().ok_or(format!("no accumulator {index}")),
        Inst::Unary(op, a) => unary(op, of(a)?),
        Inst::Binary(op, a, b) => binary(op, same(of(a)?, of(b)?)?),
        Inst::MulAdd(a, b, c) => one_of(same(of(a)?, same(of(b)?, of(c)?)?)?, FLOATS),
        Inst::Select(condition, a, b) => {
            one_of(of(condition)?, &[Ty::Bool])?;
            same(of(a)?, of(b)?)
        }
        Inst::Convert(a, to) => match (of(a)?, to) {
            (Ty::I32, Ty::F32 | Ty::F64) | (Ty::F32, Ty::F64) | (Ty::F64, Ty::F32) => Ok(to),
            (from, _) => Err(format!("no conversion from {from:?} to {to:?}")),
        },
        Inst::Bits(a, to) => match (of(a)?, to) {
            (Ty::I32, Ty::F32) | (Ty::F32, Ty::I32) => Ok(to),
            (from, _) => Err(format!("{from:?} and {to:?} differ in size")),
        },
    }
}

const FLOATS: &[Ty] = &[Ty::F32, Ty::F64];

fn one_of(ty: Ty, allowed: &[Ty]) -> Result<Ty, String> {
    if allowed.contains(&ty) { Ok(ty) } else { Err(format!("{ty:?} where one of {allowed:?} is needed")) }
}

fn same(a: Ty, b: Ty) -> Result<Ty, String> {
    if a == b { Ok(a) } else { Err(format!("{a:?} beside {b:?}")) }
}

fn unary(op: Unary, a: Ty) -> Result<Ty, String> {
    match op {
        Unary::Neg | Unary::Abs | Unary::Sqrt | Unary::Round | Unary::Floor => one_of(a, FLOATS),
        Unary::ToInt => one_of(a, &[Ty::F32]).map(|_| Ty::I32),
        Unary::Bf16 => one_of(a, &[Ty::F32]),
        Unary::Not => one_of(a, &[Ty::Bool]),
        Unary::Exp | Unary::Log | Unary::Sin | Unary::Cos => one_of(a, &[Ty::F64]),
    }
}

fn binary(op: Binary, a: Ty) -> Result<Ty, String> {
    match op {
        Binary::Add | Binary::Sub | Binary::Mul => one_of(a, &[Ty::F32, Ty::F64, Ty::I32]),
        Binary::Div | Binary::Max | Binary::Min => one_of(a, FLOATS),
        Binary::Pow => one_of(a, &[Ty::F64]),
        Binary::Lt | Binary::Le | Binary::Eq => one_of(a, &[Ty::F32, Ty::F64, Ty::I32]).map(|_| Ty::Bool),
        Binary::And | Binary::Or => one_of(a, &[Ty::Bool, Ty::I32]),
        Binary::Xor | Binary::Shl | Binary::Shr => one_of(a, &[Ty::I32]),
    }
}

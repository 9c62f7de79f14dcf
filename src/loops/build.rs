//! Builds straight-line programs, sharing equal instructions.

use super::{Affine, Binary, BufferId, Elem, Inst, LoopVar, Reg, Scalars, Store, Ty, Unary};

/// Builds a [`Scalars`]. Its float type is the type in which formulas are computed.
#[derive(Clone, Debug)]
pub struct ScalarBuilder {
    float: Ty,
    insts: Vec<Inst>,
    types: Vec<Ty>,
    stores: Vec<Store>,
}

impl ScalarBuilder {
    /// `float` is F32 or F64.
    pub fn new(float: Ty) -> Self {
        ScalarBuilder { float, insts: Vec::new(), types: Vec::new(), stores: Vec::new() }
    }

    pub fn float_type(&self) -> Ty {
        self.float
    }

    pub fn type_of(&self, reg: Reg) -> Ty {
        self.types[reg.index()]
    }

    fn push(&mut self, inst: Inst, ty: Ty) -> Reg {
        if let Some(known) = self.insts.iter().position(|other| *other == inst) {
            return Reg(known as u32);
        }
        self.insts.push(inst);
        self.types.push(ty);
        Reg(self.insts.len() as u32 - 1)
    }

    /// A number of the builder's float type.
    pub fn number(&mut self, value: f64) -> Reg {
        self.push(Inst::Float(value, self.float), self.float)
    }

    pub fn int(&mut self, value: i32) -> Reg {
        self.push(Inst::Int(value), Ty::I32)
    }

    /// An entry of a buffer, in the type that its elements are loaded as.
    pub fn load(&mut self, buffer: BufferId, elem: Elem, index: Affine) -> Reg {
        self.push(Inst::Load(buffer, index), elem.into())
    }

    pub fn position(&mut self, loop_var: LoopVar) -> Reg {
        self.push(Inst::Position(loop_var), Ty::I32)
    }

    pub fn acc(&mut self, index: usize, ty: Ty) -> Reg {
        self.push(Inst::Acc(index), ty)
    }

    pub fn unary(&mut self, op: Unary, a: Reg) -> Reg {
        let ty = match op {
            Unary::ToInt => Ty::I32,
            _ => self.type_of(a),
        };
        self.push(Inst::Unary(op, a), ty)
    }

    pub fn binary(&mut self, op: Binary, a: Reg, b: Reg) -> Reg {
        let ty = match op {
            Binary::Lt | Binary::Le | Binary::Eq => Ty::Bool,
            _ => self.type_of(a),
        };
        self.push(Inst::Binary(op, a, b), ty)
    }

    pub fn add(&mut self, a: Reg, b: Reg) -> Reg {
        self.binary(Binary::Add, a, b)
    }

    pub fn sub(&mut self, a: Reg, b: Reg) -> Reg {
        self.binary(Binary::Sub, a, b)
    }

    pub fn mul(&mut self, a: Reg, b: Reg) -> Reg {
        self.binary(Binary::Mul, a, b)
    }

    pub fn div(&mut self, a: Reg, b: Reg) -> Reg {
        self.binary(Binary::Div, a, b)
    }

    pub fn mul_add(&mut self, a: Reg, b: Reg, c: Reg) -> Reg {
        let ty = self.type_of(a);
        self.push(Inst::MulAdd(a, b, c), ty)
    }

    pub fn select(&mut self, condition: Reg, then: Reg, otherwise: Reg) -> Reg {
        let ty = self.type_of(then);
        self.push(Inst::Select(condition, then, otherwise), ty)
    }

    /// Converts by value; nothing to do when the type is that already.
    pub fn convert(&mut self, a: Reg, ty: Ty) -> Reg {
        if self.type_of(a) == ty { a } else { self.push(Inst::Convert(a, ty), ty) }
    }

    pub fn bits(&mut self, a: Reg, ty: Ty) -> Reg {
        self.push(Inst::Bits(a, ty), ty)
    }

    /// Horner's rule by fused multiply-adds; highest power first.
    pub fn polynomial(&mut self, x: Reg, coefficients: &[f64]) -> Reg {
        let mut sum = self.number(coefficients[0]);
        for &coefficient in &coefficients[1..] {
            let next = self.number(coefficient);
            sum = self.mul_add(sum, x, next);
        }
        sum
    }

    /// The value as a buffer of such elements keeps it.
    pub fn stored(&mut self, elem: Elem, value: Reg) -> Reg {
        match elem {
            Elem::Bf16 => self.unary(Unary::Bf16, value),
            _ => value,
        }
    }

    pub fn store(&mut self, buffer: BufferId, index: Affine, value: Reg) {
        self.stores.push(Store { buffer, index, value });
    }

    pub fn finish(self) -> Scalars {
        Scalars { insts: self.insts, stores: self.stores }
    }
}

//! The operand that is copied: its entries as f32, as parts of bf16, and in pairs.

use inkwell::IntPredicate;
use inkwell::types::VectorType;
use inkwell::values::{InstructionOpcode, IntValue, PointerValue, VectorValue};

use super::Beside;
use crate::codegen::llvm::bf16;
use crate::codegen::llvm::emit::{Emitter, Value, lanes_of, must};
use crate::loops::{Elem, Ty};

/// A matrix whose strides, in entries, are known when the code runs.
#[derive(Clone, Copy)]
pub(super) struct Source<'e, 'ctx> {
    pub emitter: &'e Emitter<'ctx>,
    /// f32 or bf16.
    pub elem: Elem,
    pub start: PointerValue<'ctx>,
    pub along_k: IntValue<'ctx>,
    pub along_width: IntValue<'ctx>,
}

impl<'ctx> Source<'_, 'ctx> {
    pub fn lanes(&self) -> u64 {
        u64::from(self.emitter.target.lanes())
    }

    fn step(
        &self,
        base: PointerValue<'ctx>,
        index: IntValue<'ctx>,
        by: IntValue<'ctx>,
    ) -> PointerValue<'ctx> {
        let index = must(self.emitter.builder.build_int_mul(index, by, ""));
        self.emitter.element(self.emitter.elem(self.elem, 1), base, index)
    }

    /// `index` entries further along k.
    pub fn at_k(&self, base: PointerValue<'ctx>, index: IntValue<'ctx>) -> PointerValue<'ctx> {
        self.step(base, index, self.along_k)
    }

    /// `index` entries further along the width.
    pub fn at_width(&self, base: PointerValue<'ctx>, index: IntValue<'ctx>) -> PointerValue<'ctx> {
        self.step(base, index, self.along_width)
    }

    /// The neighbour so many places behind.
    pub fn neighbour(&self, base: PointerValue<'ctx>, places: u64) -> PointerValue<'ctx> {
        self.emitter.offset(base, places as usize * self.elem.bytes())
    }

    /// Calls `visit` with each of several matrices of so many columns that lie side by side, and where its copy lies.
    pub fn each(
        self,
        beside: Option<Beside<'ctx>>,
        width: u64,
        to: PointerValue<'ctx>,
        visit: &dyn Fn(Self, PointerValue<'ctx>),
    ) {
        let Some(Beside { count, apart }) = beside else { return visit(self, to) };
        let emitter = self.emitter;
        emitter.repeat(count, |number| {
            let start = self.at_width(self.start, emitter.scale(number, width as i64));
            let places = must(emitter.builder.build_int_mul(number, apart, ""));
            let to = emitter.element(emitter.ty(Ty::I32, 1), to, places);
            visit(Self { start, ..self }, to);
        });
    }

    /// Neighbouring entries, or one, as f32; zero where `mask` is false.
    pub fn load(&self, from: PointerValue<'ctx>, lanes: u64, mask: Option<VectorValue<'ctx>>) -> Value<'ctx> {
        bf16::load(self.emitter, self.elem, from, lanes as u32, mask)
    }

    /// The entry as the sum of one or three bf16, the largest first; with one it is rounded.
    pub fn parts(&self, value: Value<'ctx>, count: u64) -> Vec<Value<'ctx>> {
        match (self.elem, count) {
            (Elem::Bf16, 1) => vec![value],
            (_, 1) => vec![bf16::round(self.emitter, value, lanes_of(value))],
            _ => bf16::split(self.emitter, value).to_vec(),
        }
    }

    /// Pairs of an earlier and a later entry, part by part; the later one is zero where there is none.
    pub fn pairs(&self, earlier: Value<'ctx>, later: Option<Value<'ctx>>, planes: u64) -> Vec<Value<'ctx>> {
        if let (Elem::F32, 1, Some(later)) = (self.elem, planes, later) {
            return vec![bf16::round_pair(self.emitter, earlier, later)];
        }
        let earlier = self.parts(earlier, planes).into_iter();
        let mut later = later.map(|later| self.parts(later, planes).into_iter());
        earlier
            .map(|earlier| bf16::pair(self.emitter, earlier, later.as_mut().and_then(Iterator::next)))
            .collect()
    }

    /// A vector of pairs from twice as many neighbouring entries, of which `left` (i64) exist if that is given; part
    /// by part.
    pub fn neighbours(
        &self,
        from: PointerValue<'ctx>,
        left: Option<IntValue<'ctx>>,
        planes: u64,
    ) -> Vec<Value<'ctx>> {
        let (emitter, lanes) = (self.emitter, self.lanes());
        let pairs = emitter.ty(Ty::I32, lanes as u32);
        if self.elem == Elem::Bf16 && planes == 1 {
            let mask = left.map(|left| self.below(left, 0, 2 * lanes));
            let ty = emitter.elem(Elem::Bf16, 2 * lanes as u32);
            let loaded = emitter.load(ty, from, 2, mask);
            return vec![emitter.cast(InstructionOpcode::BitCast, loaded, pairs)];
        }
        let half = |number: u64| {
            let mask = left.map(|left| self.below(left, number * lanes, lanes));
            self.load(self.neighbour(from, number * lanes), lanes, mask)
        };
        self.joined(half(0), half(1), planes)
    }

    /// A vector of pairs of neighbours in two vectors of f32, of which `low` comes first; part by part.
    pub fn joined(&self, low: Value<'ctx>, high: Value<'ctx>, planes: u64) -> Vec<Value<'ctx>> {
        let emitter = self.emitter;
        let joined = match planes {
            1 => vec![bf16::round_both(emitter, low, high)],
            _ => {
                let parts = bf16::split(emitter, low).into_iter().zip(bf16::split(emitter, high));
                parts.map(|(low, high)| bf16::join(emitter, low, high)).collect()
            }
        };
        let pairs = emitter.ty(Ty::I32, self.lanes() as u32);
        joined.into_iter().map(|halves| emitter.cast(InstructionOpcode::BitCast, halves, pairs)).collect()
    }

    /// Which of the lanes, counted from `first` on, come before `count` (i64, may be negative).
    pub fn below(&self, count: IntValue<'ctx>, first: u64, lanes: u64) -> VectorValue<'ctx> {
        let lanes = lanes as u32;
        let numbers: Vec<IntValue> =
            (0..lanes).map(|lane| self.emitter.i32((first as u32 + lane) as i32)).collect();
        let int = self.emitter.ty(Ty::I32, 1);
        let count = self.emitter.cast(InstructionOpcode::Trunc, count.into(), int);
        let count = self.emitter.splat(count, lanes);
        let numbers = VectorType::const_vector(&numbers).into();
        self.emitter.compare_ints(IntPredicate::SLT, numbers, count).into_vector_value()
    }

    /// Calls `visit` with every block of `depth` entries along k and a vector of columns of the width: the source from there on, its
    /// numbers along k and along the width, how many of its columns exist, and how many entries are left along k where not all may
    /// exist. All blocks of the same columns come first, as memory that is read along few rows comes faster. Where `masks` are free
    /// one loop serves all blocks, which keeps LLVM's time down.
    pub fn blocks(
        self,
        (k, depth): (IntValue<'ctx>, u64),
        width: u64,
        masks: bool,
        visit: &dyn Fn(Self, [IntValue<'ctx>; 2], u64, Option<IntValue<'ctx>>),
    ) {
        let (emitter, lanes) = (self.emitter, self.lanes() as i64);
        let (full, rest) = (self.divide(k, depth), self.remainder(k, depth));
        self.squares(width, &|square, width| {
            let visit = |block, left| {
                let start = self.at_k(self.start, emitter.scale(block, depth as i64));
                let start = self.at_width(start, emitter.scale(square, lanes));
                visit(Self { start, ..self }, [block, square], width, left);
            };
            if masks {
                return emitter.repeat(self.divide_up(k, depth), |block| {
                    visit(block, Some(self.subtract(k, emitter.scale(block, depth as i64))));
                });
            }
            emitter.repeat_any(full, |block| visit(block, None));
            emitter.when(emitter.some(rest), || visit(full, Some(rest)));
        });
    }

    /// Calls `visit` with the number of every square block along a width, and how many of its vectors exist.
    pub fn squares(&self, width: u64, visit: &dyn Fn(IntValue<'ctx>, u64)) {
        let lanes = self.lanes();
        let (full, rest) = (self.emitter.i64((width / lanes) as i64), width % lanes);
        if width >= lanes {
            self.emitter.repeat(full, |square| visit(square, lanes));
        }
        if rest > 0 {
            visit(full, rest);
        }
    }

    pub fn divide(&self, a: IntValue<'ctx>, by: u64) -> IntValue<'ctx> {
        self.unsigned(InstructionOpcode::UDiv, a, by)
    }

    pub fn remainder(&self, a: IntValue<'ctx>, by: u64) -> IntValue<'ctx> {
        self.unsigned(InstructionOpcode::URem, a, by)
    }

    /// a/by, rounded up.
    pub fn divide_up(&self, a: IntValue<'ctx>, by: u64) -> IntValue<'ctx> {
        self.divide(self.emitter.add(a, self.emitter.i64(by as i64 - 1)), by)
    }

    pub fn subtract(&self, a: IntValue<'ctx>, b: IntValue<'ctx>) -> IntValue<'ctx> {
        must(self.emitter.builder.build_int_sub(a, b, ""))
    }

    fn unsigned(&self, op: InstructionOpcode, a: IntValue<'ctx>, by: u64) -> IntValue<'ctx> {
        self.emitter.binop(op, a.into(), self.emitter.i64(by as i64).into()).into_int_value()
    }
}

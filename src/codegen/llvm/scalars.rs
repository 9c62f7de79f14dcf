//! Straight-line scalar programs as vector instructions.
//!
//! An instruction that does not depend on the vector loop stays scalar and is shared by all instances; it is placed
//! at the outermost loop at which its operands are known. So a loop's invariants never depend on the optimizer.

use std::collections::HashMap;

use inkwell::types::VectorType;
use inkwell::values::{InstructionOpcode, IntValue, PointerValue, VectorValue};

use super::emit::{Emitter, Value, lanes_of};
use super::{bf16, operations};
use crate::loops::{Affine, Buffer, BufferId, Elem, Inst, LoopVar, Scalars, Ty};

/// Where a scalar program is evaluated.
#[derive(Clone)]
pub struct Site<'p, 'ctx> {
    pub buffers: &'p [Buffer],
    /// Start of the arena.
    pub base: PointerValue<'ctx>,
    /// Starts of buffers that are not at their places in the arena.
    pub moved: &'p HashMap<BufferId, PointerValue<'ctx>>,
    /// The task's number within its group, i64.
    pub task: IntValue<'ctx>,
    /// Positions of the loops that are open, i64. That of the vector loop is its first lane's.
    pub loops: Vec<IntValue<'ctx>>,
    /// The loop along which lanes run, if any.
    pub vector: Option<LoopVar>,
    /// Numbers per vector; 1 without vector loop.
    pub lanes: u32,
}

/// One of several vectors that advance together along the vector loop.
#[derive(Clone, Copy)]
pub struct Instance<'ctx> {
    /// Entries from the loop's position.
    pub shift: u32,
    /// Lanes that exist; all without it.
    pub mask: Option<VectorValue<'ctx>>,
}

/// A scalar program on its way to instructions.
#[derive(Clone)]
pub struct Frame<'p, 'ctx> {
    scalars: &'p Scalars,
    pub types: Vec<Ty>,
    /// Number of loops that must be open.
    depths: Vec<usize>,
    varying: Vec<bool>,
    /// By register and instance; one entry for those that do not vary.
    values: Vec<Vec<Value<'ctx>>>,
}

impl<'p, 'ctx> Frame<'p, 'ctx> {
    /// `opened` says how many loops are open once a loop is. Loads from what `written` may change stay inside all
    /// loops, as do accumulators, which vary when `accumulators_vary`.
    pub fn new(
        scalars: &'p Scalars,
        types: Vec<Ty>,
        vector: Option<LoopVar>,
        opened: &[usize],
        accumulators_vary: bool,
        written: &dyn Fn(BufferId) -> bool,
    ) -> Self {
        let depth = opened.iter().copied().max().unwrap_or(0);
        let (mut depths, mut varying) = (Vec::new(), Vec::new());
        for inst in &scalars.insts {
            let mut needs =
                operations::operands(inst).iter().map(|reg| depths[reg.index()]).max().unwrap_or(0);
            let mut varies = operations::operands(inst).iter().any(|reg| varying[reg.index()]);
            match inst {
                Inst::Load(buffer, index) => {
                    let inner = index.terms.iter().map(|(var, _)| opened[var.index()]).max().unwrap_or(0);
                    needs = if written(*buffer) { depth } else { inner };
                    varies = index.terms.iter().any(|(var, _)| Some(*var) == vector);
                }
                Inst::Position(var) => (needs, varies) = (opened[var.index()], Some(*var) == vector),
                Inst::Acc(_) => (needs, varies) = (depth, accumulators_vary),
                _ => {}
            }
            depths.push(needs);
            varying.push(varies);
        }
        let values = vec![Vec::new(); scalars.insts.len()];
        Frame { scalars, types, depths, varying, values }
    }

    /// The register's value in an instance, spread over the lanes.
    pub fn value(
        &self,
        emitter: &Emitter<'ctx>,
        reg: crate::loops::Reg,
        instance: usize,
        lanes: u32,
    ) -> Value<'ctx> {
        emitter.splat(self.get(reg, instance), lanes)
    }

    fn get(&self, reg: crate::loops::Reg, instance: usize) -> Value<'ctx> {
        let values = &self.values[reg.index()];
        values[instance.min(values.len() - 1)]
    }

    /// Emits the instructions for which just now enough loops are open. `accumulators` by index and instance.
    pub fn emit(
        &mut self,
        emitter: &Emitter<'ctx>,
        site: &Site<'p, 'ctx>,
        depth: usize,
        instances: &[Instance<'ctx>],
        accumulators: &[Vec<Value<'ctx>>],
    ) {
        for number in 0..self.scalars.insts.len() {
            if self.depths[number] != depth {
                continue;
            }
            let count = if self.varying[number] { instances.len() } else { 1 };
            self.values[number] = (0..count)
                .map(|instance| self.inst(emitter, site, number, instance, instances, accumulators))
                .collect();
        }
    }

    fn inst(
        &self,
        emitter: &Emitter<'ctx>,
        site: &Site<'p, 'ctx>,
        number: usize,
        instance: usize,
        instances: &[Instance<'ctx>],
        accumulators: &[Vec<Value<'ctx>>],
    ) -> Value<'ctx> {
        let lanes = if self.varying[number] { site.lanes } else { 1 };
        let operand = |reg| self.value(emitter, reg, instance, lanes);
        match &self.scalars.insts[number] {
            Inst::Load(buffer, index) if self.varying[number] => {
                site.load_vector(emitter, *buffer, index, instances[instance])
            }
            Inst::Load(buffer, index) => site.load_scalar(emitter, *buffer, index),
            Inst::Position(var) => site.position(emitter, *var, instances.get(instance), lanes),
            Inst::Acc(index) => accumulators[*index][instance],
            inst => operations::emit(emitter, inst, &|reg| self.types[reg.index()], &operand, lanes),
        }
    }

    /// Emits the stores of every instance.
    pub fn store(&self, emitter: &Emitter<'ctx>, site: &Site<'p, 'ctx>, instances: &[Instance<'ctx>]) {
        for store in &self.scalars.stores {
            for (number, instance) in instances.iter().enumerate() {
                let value = self.get(store.value, number);
                site.store(emitter, store.buffer, &store.index, value, *instance);
            }
        }
    }
}

impl<'p, 'ctx> Site<'p, 'ctx> {
    /// First entry of a buffer.
    pub fn start(&self, emitter: &Emitter<'ctx>, buffer: BufferId) -> PointerValue<'ctx> {
        let moved = self.moved.get(&buffer).copied();
        moved.unwrap_or_else(|| emitter.offset(self.base, self.buffers[buffer.index()].offset))
    }

    fn position(
        &self,
        emitter: &Emitter<'ctx>,
        var: LoopVar,
        instance: Option<&Instance<'ctx>>,
        lanes: u32,
    ) -> Value<'ctx> {
        let int = emitter.context.i32_type().into();
        let at = emitter.cast(InstructionOpcode::Trunc, self.loops[var.index()].into(), int);
        if lanes == 1 {
            return at;
        }
        let shift = instance.map_or(0, |instance| instance.shift);
        let steps: Vec<IntValue> = (0..lanes).map(|lane| emitter.i32((shift + lane) as i32)).collect();
        let steps = VectorType::const_vector(&steps);
        emitter.binop(InstructionOpcode::Add, emitter.splat(at, lanes), steps.into())
    }

    /// Entry of a buffer at the loops' positions, plus `shift` along the vector loop.
    fn index(&self, emitter: &Emitter<'ctx>, affine: &Affine, shift: u32) -> IntValue<'ctx> {
        let mut base = affine.base;
        let mut index = emitter.i64(0);
        if affine.task != 0 {
            index = emitter.add(index, emitter.scale(self.task, affine.task));
        }
        for (var, by) in &affine.terms {
            index = emitter.add(index, emitter.scale(self.loops[var.index()], *by));
            base += if Some(*var) == self.vector { by * i64::from(shift) } else { 0 };
        }
        emitter.add(index, emitter.i64(base))
    }

    fn pointer(
        &self,
        emitter: &Emitter<'ctx>,
        buffer: BufferId,
        affine: &Affine,
        shift: u32,
    ) -> (Elem, PointerValue<'ctx>) {
        let start = self.start(emitter, buffer);
        let buffer = &self.buffers[buffer.index()];
        let index = self.index(emitter, affine, shift);
        (buffer.elem, emitter.element(emitter.elem(buffer.elem, 1), start, index))
    }

    fn load_scalar(&self, emitter: &Emitter<'ctx>, buffer: BufferId, affine: &Affine) -> Value<'ctx> {
        let (elem, pointer) = self.pointer(emitter, buffer, affine, 0);
        bf16::load(emitter, elem, pointer, 1, None)
    }

    fn load_vector(
        &self,
        emitter: &Emitter<'ctx>,
        buffer: BufferId,
        affine: &Affine,
        instance: Instance<'ctx>,
    ) -> Value<'ctx> {
        let (elem, pointer) = self.pointer(emitter, buffer, affine, instance.shift);
        let (vector, bytes) = (emitter.elem(elem, self.lanes), elem.bytes() as u32);
        let loaded = match self.stride(affine) {
            1 => emitter.load(vector, pointer, bytes, instance.mask),
            stride => {
                let pointers = self.strided(emitter, pointer, stride * i64::from(bytes));
                emitter.gather(vector, pointers, bytes, self.mask(emitter, instance))
            }
        };
        bf16::from_memory(emitter, elem, loaded, self.lanes)
    }

    fn store(
        &self,
        emitter: &Emitter<'ctx>,
        buffer: BufferId,
        affine: &Affine,
        value: Value<'ctx>,
        instance: Instance<'ctx>,
    ) {
        let (elem, pointer) = self.pointer(emitter, buffer, affine, instance.shift);
        let bytes = elem.bytes() as u32;
        let value = match elem {
            Elem::Bf16 => bf16::narrow(emitter, value, lanes_of(value)),
            _ => value,
        };
        match self.stride(affine) {
            _ if self.lanes == 1 => emitter.store(value, pointer, bytes, None),
            0 => self.store_last(emitter, value, pointer, bytes, instance),
            1 => emitter.store(emitter.splat(value, self.lanes), pointer, bytes, instance.mask),
            stride => {
                let pointers = self.strided(emitter, pointer, stride * i64::from(bytes));
                let mask = self.mask(emitter, instance);
                emitter.scatter(emitter.splat(value, self.lanes), pointers, bytes, mask);
            }
        }
    }

    /// All lanes store to one entry: the last one that exists stays.
    fn store_last(
        &self,
        emitter: &Emitter<'ctx>,
        value: Value<'ctx>,
        pointer: PointerValue<'ctx>,
        bytes: u32,
        instance: Instance<'ctx>,
    ) {
        let pointers = self.strided(emitter, pointer, 0);
        let value = emitter.splat(value, self.lanes);
        emitter.scatter(value, pointers, bytes, self.mask(emitter, instance));
    }

    fn mask(&self, emitter: &Emitter<'ctx>, instance: Instance<'ctx>) -> VectorValue<'ctx> {
        instance.mask.unwrap_or_else(|| emitter.first_lanes(self.lanes, self.lanes))
    }

    fn stride(&self, affine: &Affine) -> i64 {
        affine.terms.iter().find(|(var, _)| Some(*var) == self.vector).map_or(0, |(_, by)| *by)
    }

    /// Pointers `stride` bytes apart, one per lane.
    fn strided(&self, emitter: &Emitter<'ctx>, first: PointerValue<'ctx>, stride: i64) -> Value<'ctx> {
        let int = emitter.context.i64_type();
        let steps: Vec<IntValue> =
            (0..i64::from(self.lanes)).map(|lane| emitter.i64(lane * stride)).collect();
        let first = emitter.cast(InstructionOpcode::PtrToInt, first.into(), int.into());
        let first = emitter.splat(first, self.lanes);
        let addresses = emitter.binop(InstructionOpcode::Add, first, VectorType::const_vector(&steps).into());
        let pointer = emitter.context.ptr_type(inkwell::AddressSpace::default());
        emitter.cast(InstructionOpcode::IntToPtr, addresses, pointer.vec_type(self.lanes).into())
    }
}

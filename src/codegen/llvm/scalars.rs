//! Straight-line scalar programs as vector instructions.
//!
//! An instruction that does not depend on the vector loop stays scalar, and what is the same in several instances is shared by
//! them; it is placed at the outermost loop at which its operands (and the instances, if it depends on a jammed loop) are
//! known. So a loop's invariants never depend on the optimizer.

use std::collections::HashMap;

use inkwell::types::VectorType;
use inkwell::values::{InstructionOpcode, IntValue, PointerValue, VectorValue};

use super::emit::{Emitter, Value, lanes_of};
use super::jam::{self, Jam};
use super::pack::transposed;
use super::{bf16, operations};
use crate::loops::{Affine, Buffer, BufferId, Elem, Inst, LoopVar, Scalars, Store, Ty};

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
    /// Positions of the loops that are open, i64. That of the vector loop is its first lane's, that of a jammed one the first of
    /// those that are computed together.
    pub loops: Vec<IntValue<'ctx>>,
    /// The loop along which lanes run, if any.
    pub vector: Option<LoopVar>,
    /// Numbers per vector; 1 without vector loop.
    pub lanes: u32,
    /// Other loops of which several positions are computed together.
    pub jammed: &'p [Jam],
}

/// One of several vectors that advance together.
#[derive(Clone, Copy, Default)]
pub struct Instance<'ctx> {
    /// Entries from the vector loop's position.
    pub shift: u32,
    /// Lanes that exist; all without it.
    pub mask: Option<VectorValue<'ctx>>,
    /// Steps from the position of each jammed loop.
    pub moved: [u32; jam::MOST],
}

impl<'ctx> Instance<'ctx> {
    /// The vectors that so many entries take, the last one under a mask where it is no whole one.
    pub fn of(emitter: &Emitter<'ctx>, entries: u64) -> Vec<Self> {
        let vectors = emitter.cover(entries).into_iter();
        vectors.map(|(shift, mask)| Instance { shift: shift as u32, mask, ..Instance::default() }).collect()
    }
}

/// How the loops around a scalar program are walked.
#[derive(Clone, Copy)]
pub struct Walk<'a> {
    /// How many loops are open once a loop is.
    pub opened: &'a [usize],
    pub vector: Option<LoopVar>,
    pub jammed: &'a [Jam],
}

/// A scalar program on its way to instructions.
#[derive(Clone)]
pub struct Frame<'p, 'ctx> {
    scalars: &'p Scalars,
    pub types: Vec<Ty>,
    /// Number of loops that must be open.
    depths: Vec<usize>,
    depends: Vec<Depends>,
    /// By register and instance; one entry for those that are the same in all.
    values: Vec<Vec<Value<'ctx>>>,
}

/// In what an instruction's instances differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Depends {
    /// Along the vector loop: it is an instruction on vectors.
    varies: bool,
    /// Along the jammed loops.
    moves: bool,
}

impl Depends {
    fn or(self, other: Depends) -> Depends {
        Depends { varies: self.varies || other.varies, moves: self.moves || other.moves }
    }

    /// Whether two instances of it are the same.
    fn alike(self, one: &Instance, other: &Instance) -> bool {
        (!self.varies || one.shift == other.shift) && (!self.moves || one.moved == other.moved)
    }
}

impl Walk<'_> {
    fn depends(&self, var: LoopVar) -> Depends {
        Depends { varies: Some(var) == self.vector, moves: jam::number(self.jammed, var).is_some() }
    }

    /// How many loops must be open for an instruction that depends on such a loop. Where loops are jammed, all of them and
    /// the vector loop: then the instances are known.
    fn open_for(&self, var: LoopVar) -> usize {
        let own = self.opened[var.index()];
        if self.jammed.is_empty() || self.depends(var) == Depends::default() {
            return own;
        }
        let all =
            self.jammed.iter().map(|jam| jam.along).chain(self.vector).map(|var| self.opened[var.index()]);
        all.max().unwrap_or(own)
    }
}

impl<'p, 'ctx> Frame<'p, 'ctx> {
    /// Loads from what `written` may change stay inside all loops, as do accumulators, which vary when
    /// `accumulators_vary`.
    pub fn new(
        scalars: &'p Scalars,
        types: Vec<Ty>,
        walk: Walk<'_>,
        accumulators_vary: bool,
        written: &dyn Fn(BufferId) -> bool,
    ) -> Self {
        let depth = walk.opened.iter().copied().max().unwrap_or(0);
        let (mut depths, mut depends) = (Vec::new(), Vec::<Depends>::new());
        for inst in &scalars.insts {
            let operands = operations::operands(inst);
            let mut needs = operands.iter().map(|reg| depths[reg.index()]).max().unwrap_or(0);
            let all = operands.iter().map(|reg| depends[reg.index()]);
            let mut differs = all.fold(Depends::default(), Depends::or);
            match inst {
                Inst::Load(buffer, index) => {
                    let vars = index.terms.iter().map(|&(var, _)| var);
                    let inner = vars.clone().map(|var| walk.open_for(var)).max().unwrap_or(0);
                    needs = if written(*buffer) { depth } else { inner };
                    differs = vars.map(|var| walk.depends(var)).fold(differs, Depends::or);
                }
                Inst::Position(var) => (needs, differs) = (walk.open_for(*var), walk.depends(*var)),
                Inst::Acc(_) => {
                    needs = depth;
                    differs = Depends { varies: accumulators_vary, moves: !walk.jammed.is_empty() };
                }
                _ => {}
            }
            depths.push(needs);
            depends.push(differs);
        }
        let values = vec![Vec::new(); scalars.insts.len()];
        Frame { scalars, types, depths, depends, values }
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

    /// Whether something but operands is computed when so many loops are open.
    pub fn computes_at(&self, depth: usize) -> bool {
        let operand = |inst: &Inst| matches!(inst, Inst::Load(..) | Inst::Position(_));
        self.scalars.insts.iter().zip(&self.depths).any(|(inst, &at)| at == depth && !operand(inst))
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
            if let Some(block) = self.block(emitter, site, number, instances) {
                self.values[number] = block;
                continue;
            }
            let depends = self.depends[number];
            let count = if depends == Depends::default() { 1 } else { instances.len() };
            let mut values: Vec<Value> = Vec::with_capacity(count);
            for instance in 0..count {
                let known = (0..instance).find(|&one| depends.alike(&instances[one], &instances[instance]));
                values.push(match known {
                    Some(one) => values[one],
                    None => self.inst(emitter, site, number, instance, instances, accumulators),
                });
            }
            self.values[number] = values;
        }
    }

    /// What a load gives in all instances where these are, with their lanes, a square block in memory: read in rows and transposed.
    fn block(
        &self,
        emitter: &Emitter<'ctx>,
        site: &Site<'p, 'ctx>,
        number: usize,
        instances: &[Instance<'ctx>],
    ) -> Option<Vec<Value<'ctx>>> {
        let Inst::Load(buffer, index) = &self.scalars.insts[number] else { return None };
        let apart = site.block(self.types[number], index, instances)?;
        let (elem, first) = site.pointer(emitter, *buffer, index, instances[0]);
        let row = |lane: usize| {
            let from = emitter.offset(first, lane * apart * elem.bytes());
            bf16::load(emitter, elem, from, site.lanes, None)
        };
        Some(transposed(emitter, (0..instances.len()).map(row).collect()))
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
        let varies = self.depends[number].varies;
        let lanes = if varies { site.lanes } else { 1 };
        let operand = |reg| self.value(emitter, reg, instance, lanes);
        match &self.scalars.insts[number] {
            Inst::Load(buffer, index) => site.load(emitter, *buffer, index, instances[instance], lanes),
            Inst::Position(var) => site.position(emitter, *var, instances[instance], lanes),
            Inst::Acc(index) => accumulators[*index][instance],
            inst => operations::emit(emitter, inst, &|reg| self.types[reg.index()], &operand, lanes),
        }
    }

    /// Emits the stores of every instance.
    pub fn store(&self, emitter: &Emitter<'ctx>, site: &Site<'p, 'ctx>, instances: &[Instance<'ctx>]) {
        for store in &self.scalars.stores {
            let value = |number: usize| self.get(store.value, number);
            if let Some(apart) = site.block(self.types[store.value.index()], &store.index, instances) {
                let columns = (0..instances.len()).map(|number| emitter.splat(value(number), site.lanes));
                site.store_rows(emitter, store, (columns.collect(), apart), instances[0]);
                continue;
            }
            for (number, instance) in instances.iter().enumerate() {
                site.store(emitter, store.buffer, &store.index, value(number), *instance);
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
        instance: Instance<'ctx>,
        lanes: u32,
    ) -> Value<'ctx> {
        let int = emitter.context.i32_type().into();
        let at = emitter.add(self.loops[var.index()], emitter.i64(self.moved(var, instance)));
        let at = emitter.cast(InstructionOpcode::Trunc, at.into(), int);
        if lanes == 1 {
            return at;
        }
        let steps: Vec<IntValue> =
            (0..lanes).map(|lane| emitter.i32((instance.shift + lane) as i32)).collect();
        let steps = VectorType::const_vector(&steps);
        emitter.binop(InstructionOpcode::Add, emitter.splat(at, lanes), steps.into())
    }

    /// Steps of an instance from the position of a loop; along the vector loop those of its lanes come to them.
    fn moved(&self, var: LoopVar, instance: Instance<'ctx>) -> i64 {
        jam::number(self.jammed, var).map_or(0, |number| i64::from(instance.moved[number]))
    }

    /// Entry of a buffer at the loops' positions, as far from there as the instance is.
    fn index(&self, emitter: &Emitter<'ctx>, affine: &Affine, instance: Instance<'ctx>) -> IntValue<'ctx> {
        let mut base = affine.base;
        let mut index = emitter.i64(0);
        if affine.task != 0 {
            index = emitter.add(index, emitter.scale(self.task, affine.task));
        }
        for (var, by) in &affine.terms {
            index = emitter.add(index, emitter.scale(self.loops[var.index()], *by));
            let shift = if Some(*var) == self.vector { i64::from(instance.shift) } else { 0 };
            base += by * (shift + self.moved(*var, instance));
        }
        emitter.add(index, emitter.i64(base))
    }

    fn pointer(
        &self,
        emitter: &Emitter<'ctx>,
        buffer: BufferId,
        affine: &Affine,
        instance: Instance<'ctx>,
    ) -> (Elem, PointerValue<'ctx>) {
        let start = self.start(emitter, buffer);
        let buffer = &self.buffers[buffer.index()];
        let index = self.index(emitter, affine, instance);
        (buffer.elem, emitter.element(emitter.elem(buffer.elem, 1), start, index))
    }

    /// One number, or those of all lanes.
    fn load(
        &self,
        emitter: &Emitter<'ctx>,
        buffer: BufferId,
        affine: &Affine,
        instance: Instance<'ctx>,
        lanes: u32,
    ) -> Value<'ctx> {
        let (elem, pointer) = self.pointer(emitter, buffer, affine, instance);
        match self.stride(affine) {
            _ if lanes == 1 => bf16::load(emitter, elem, pointer, 1, None),
            1 => bf16::load(emitter, elem, pointer, lanes, instance.mask),
            stride => {
                let bytes = elem.bytes() as u32;
                let pointers = self.strided(emitter, pointer, stride * i64::from(bytes));
                let mask = self.mask(emitter, instance);
                let loaded = emitter.gather(emitter.elem(elem, lanes), pointers, bytes, mask);
                bf16::from_memory(emitter, elem, loaded, lanes)
            }
        }
    }

    /// How far apart the rows lie of a square block whose columns are what the lanes of each instance read or write.
    fn block(&self, ty: Ty, affine: &Affine, instances: &[Instance]) -> Option<usize> {
        let &[Jam { along, count }] = self.jammed else { return None };
        let apart = usize::try_from(self.stride(affine)).ok().filter(|&apart| apart > 1)?;
        let rows = affine.terms.contains(&(along, 1)) && count == u64::from(self.lanes);
        let whole = instances.len() == self.lanes as usize && instances.iter().all(|one| one.mask.is_none());
        (rows && whole && ty != Ty::F64).then_some(apart)
    }

    /// Stores a block, given by its columns, in rows that lie `apart`.
    fn store_rows(
        &self,
        emitter: &Emitter<'ctx>,
        store: &Store,
        (columns, apart): (Vec<Value<'ctx>>, usize),
        instance: Instance<'ctx>,
    ) {
        let (elem, first) = self.pointer(emitter, store.buffer, &store.index, instance);
        let bytes = elem.bytes();
        for (lane, row) in transposed(emitter, columns).into_iter().enumerate() {
            let row = if elem == Elem::Bf16 { bf16::narrow(emitter, row, self.lanes) } else { row };
            emitter.store(row, emitter.offset(first, lane * apart * bytes), bytes as u32, None);
        }
    }

    fn store(
        &self,
        emitter: &Emitter<'ctx>,
        buffer: BufferId,
        affine: &Affine,
        value: Value<'ctx>,
        instance: Instance<'ctx>,
    ) {
        let (elem, pointer) = self.pointer(emitter, buffer, affine, instance);
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
        self.vector.map_or(0, |vector| affine.along(vector))
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

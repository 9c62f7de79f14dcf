//! Statements as loop nests and matrix products: loop order, vector loop, scalar programs.

use std::collections::HashMap;

use super::border;
use super::emit::{Emitter, Env};
use super::fuse::Fused;
use super::stage::{Kind, Stage, Stages};
use crate::axes::Axis;
use crate::loops::{Accumulate, Affine, Buffer, Combine, Inst, LoopVar, Nest, Range, Scalars, Stmt, Ty};
use crate::sym::{Expr, Node, Reduction};

/// Turns the statements of one group into loops.
pub(super) struct Nests<'a> {
    pub stages: &'a Stages<'a>,
    pub buffers: &'a [Buffer],
    /// Kept values that are conditions, stored as 0 and 1; grows while statements are built.
    pub conditions: &'a mut HashMap<Expr, bool>,
    /// Positions per task.
    pub chunk: usize,
}

/// One loop while its nest is being arranged.
#[derive(Clone, Copy)]
struct Loop {
    range: Range,
    extent: usize,
}

impl Nests<'_> {
    /// The loops of one statement.
    pub fn statements(&mut self, fused: &Fused) -> Result<Vec<Stmt>, String> {
        let mut statements = self.zeros(fused);
        statements.extend(self.computation(fused)?);
        Ok(statements)
    }

    /// Zeros around what the statement stores.
    fn zeros(&self, fused: &Fused) -> Vec<Stmt> {
        let stages = fused.members().map(|id| &self.stages.list[id]);
        let stored = stages.filter_map(|stage| Some((stage, stage.buffer?)));
        let padded = stored.filter(|(stage, _)| !stage.layout.is_plain());
        padded
            .flat_map(|(stage, buffer)| border::zeros(stage, buffer, fused.cut, &self.stages.graph.axes))
            .collect()
    }

    fn computation(&mut self, fused: &Fused) -> Result<Vec<Stmt>, String> {
        let lead = &self.stages.list[fused.lead];
        match lead.kind {
            Kind::Gemm(_) => Ok(vec![self.product(fused)?]),
            Kind::Orthonormal => {
                let mut copy = fused.clone();
                copy.finish = vec![fused.lead];
                let nest = self.nest(&copy)?;
                let rows = lead.axes.first().map_or(1, |&axis| self.stages.graph.axes.extent(axis));
                let cols = self.stages.graph.axes.size(&lead.axes) / rows;
                let buffer = lead.buffer.ok_or("an orthonormal matrix that nobody reads")?;
                Ok(vec![Stmt::Nest(nest), Stmt::Orthonormalize { buffer, rows, cols }])
            }
            _ => Ok(vec![Stmt::Nest(self.nest(fused)?)]),
        }
    }

    fn emitter<'b>(&'b self, stage: &Stage) -> Emitter<'b> {
        Emitter::new(self.stages, self.buffers, self.conditions, stage.elem.into())
    }

    /// Emits the elementwise stages of a statement at the position of `env`; returns which are conditions.
    fn finish(&self, emitter: &mut Emitter, fused: &Fused, env: &Env) -> Result<Vec<Expr>, String> {
        let mut conditions = Vec::new();
        for &id in &fused.finish {
            let stage = &self.stages.list[id];
            let mut value = emitter.root(stage, env)?;
            if stage.buffer.is_some() {
                value = emitter.store(stage, env, value)?;
            }
            if !stage.copy {
                emitter.define(stage.expr, env, value);
                if emitter.builder.type_of(value) == Ty::Bool {
                    conditions.push(stage.expr);
                }
            }
        }
        Ok(conditions)
    }

    fn product(&mut self, fused: &Fused) -> Result<Stmt, String> {
        let lead = &self.stages.list[fused.lead];
        let Kind::Gemm(shape) = &lead.kind else { return Err("not a matrix product".into()) };
        // Several axes on one side count as one: the result lies so that they are walked as one.
        let sides = [(shape.m.last(), 0), (shape.n.last(), 1)];
        let sides = sides.into_iter().filter_map(|(axis, place)| Some((*axis?, LoopVar(place))));
        let outer = (2..).map(LoopVar).zip(&shape.outer).map(|(place, outer)| (outer.axis, place));
        let env: Env = sides.chain(outer).collect();
        let mut emitter = self.emitter(lead);
        let mut entry = emitter.builder.acc(0, Ty::F32);
        if let Some(buffer) = lead.buffer {
            let table = &self.stages.graph.axes;
            let strides = lead.layout.strides(table);
            let stride = |axis: Axis| strides.iter().find(|entry| entry.0 == axis).map_or(0, |entry| entry.1);
            let mut terms: Vec<(LoopVar, i64)> =
                env.iter().map(|&(axis, along)| (along, stride(axis))).filter(|term| term.1 != 0).collect();
            terms.sort_by_key(|term| term.0);
            entry = emitter.builder.stored(lead.elem, entry);
            emitter.builder.store(buffer, Affine { base: lead.layout.base(table), terms, task: 0 }, entry);
        }
        emitter.define(lead.expr, &env, entry);
        let conditions = self.finish(&mut emitter, fused, &env)?;
        let epilogue = emitter.finish();
        self.conditions.extend(conditions.into_iter().map(|expr| (expr, true)));
        let buffers = [self.operand(shape.a)?, self.operand(shape.b)?];
        let arithmetic = self.stages.arithmetic;
        let gemm = shape.statement(self.stages.graph, buffers, fused.cut, arithmetic, epilogue);
        Ok(Stmt::Gemm(gemm))
    }

    fn operand(&self, expr: Expr) -> Result<crate::loops::BufferId, String> {
        let view = super::view::operand(self.stages.graph, &self.stages.layouts, expr);
        let view = view.ok_or("an operand that does not lie in memory")?;
        self.stages.buffer(view.source)
    }

    fn nest(&mut self, fused: &Fused) -> Result<Nest, String> {
        let lead = &self.stages.list[fused.lead];
        let axes: Vec<Axis> = self.stages.domain(fused.lead).collect();
        let env: Env = axes.iter().enumerate().map(|(index, &axis)| (axis, LoopVar(index as u32))).collect();
        let loops: Vec<Loop> = axes.iter().map(|&axis| self.bounds(fused.cut, axis)).collect();
        let mut nest = Nest {
            loops: vec![],
            kept: lead.axes.len(),
            vector: None,
            body: Scalars::default(),
            accumulate: vec![],
            finish: Scalars::default(),
        };
        let mut last = self.emitter(lead);
        if fused.reductions.is_empty() {
            let conditions = self.finish(&mut last, fused, &env)?;
            nest.body = last.finish();
            self.conditions.extend(conditions.into_iter().map(|expr| (expr, true)));
        } else {
            let (body, accumulate) = self.accumulate(fused, &env)?;
            (nest.body, nest.accumulate) = (body, accumulate);
            let kept: Env = env[..nest.kept].to_vec();
            self.reduced(&mut last, fused, &kept)?;
            let conditions = self.finish(&mut last, fused, &kept)?;
            nest.finish = last.finish();
            self.conditions.extend(conditions.into_iter().map(|expr| (expr, true)));
        }
        Ok(arrange(nest, loops))
    }

    fn bounds(&self, cut: Option<Axis>, axis: Axis) -> Loop {
        let extent = self.stages.graph.axes.extent(axis);
        if cut == Some(axis) {
            Loop { range: Range::Chunk, extent: self.chunk.min(extent) }
        } else {
            Loop { range: Range::Full(extent), extent }
        }
    }

    /// The body of a reduction and what it accumulates, one accumulator per stage.
    fn accumulate(&self, fused: &Fused, env: &Env) -> Result<(Scalars, Vec<Accumulate>), String> {
        let mut emitter = self.emitter(&self.stages.list[fused.lead]);
        let mut accumulate = Vec::new();
        for &id in &fused.reductions {
            let (op, value) = match self.stages.graph.node(self.stages.list[id].expr) {
                Node::Reduce(how, _, arg) => {
                    let op = if *how == Reduction::Max { Combine::Max } else { Combine::Sum };
                    (op, emitter.float(*arg, env)?)
                }
                Node::Contract { left, right, .. } => {
                    let (left, right) = (emitter.float(*left, env)?, emitter.float(*right, env)?);
                    (Combine::Sum, emitter.builder.mul(left, right))
                }
                _ => return Err("not a reduction".into()),
            };
            accumulate.push(Accumulate { op, value });
        }
        Ok((emitter.finish(), accumulate))
    }

    /// Turns the finished accumulators into the values of the reductions.
    fn reduced(&self, emitter: &mut Emitter, fused: &Fused, env: &Env) -> Result<(), String> {
        for (index, &id) in fused.reductions.iter().enumerate() {
            let stage = &self.stages.list[id];
            let mut value = emitter.builder.acc(index, emitter.builder.float_type());
            let factor = self.factor(stage);
            if factor != 1.0 {
                let factor = emitter.builder.number(factor);
                value = emitter.builder.mul(value, factor);
            }
            if stage.buffer.is_some() {
                value = emitter.store(stage, env, value)?;
            }
            emitter.define(stage.expr, env, value);
        }
        Ok(())
    }

    /// What the plain sum is multiplied by: a mean divides, and along axes that the argument lacks all terms are equal.
    fn factor(&self, stage: &Stage) -> f64 {
        let table = &self.stages.graph.axes;
        match self.stages.graph.node(stage.expr) {
            Node::Reduce(Reduction::Mean, ..) => 1.0 / table.size(&stage.reduced) as f64,
            Node::Reduce(Reduction::Sum, over, _) => (table.size(over) / table.size(&stage.reduced)) as f64,
            _ => 1.0,
        }
    }
}

/// Chooses the vector loop, puts it innermost among its kind, and merges loops that walk memory as one.
fn arrange(mut nest: Nest, mut loops: Vec<Loop>) -> Nest {
    sort_reduced(&mut nest, &mut loops);
    let mut vector = vector_loop(&nest, &loops);
    if let Some(chosen) = vector {
        let last = if chosen < nest.kept { nest.kept - 1 } else { loops.len() - 1 };
        let moved = loops.remove(chosen);
        loops.insert(last, moved);
        let new_place = |index: usize| match index {
            _ if index == chosen => last,
            _ if index > chosen && index <= last => index - 1,
            _ => index,
        };
        renumber(&mut nest, new_place);
        vector = Some(last);
    }
    let mut outer = 0;
    while outer + 1 < loops.len() {
        if mergeable(&nest, &loops, outer) {
            let inner = loops.remove(outer + 1);
            loops[outer].extent *= inner.extent;
            loops[outer].range = Range::Full(loops[outer].extent);
            drop_loop(&mut nest, outer);
            nest.kept -= usize::from(outer + 1 < nest.kept);
            vector = vector.map(|chosen| if chosen > outer { chosen - 1 } else { chosen });
        } else {
            outer += 1;
        }
    }
    nest.loops = loops.iter().map(|one| one.range).collect();
    nest.vector = vector.map(|chosen| LoopVar(chosen as u32));
    nest
}

/// Walks memory in order: of the reduced loops those with the longest strides come first.
fn sort_reduced(nest: &mut Nest, loops: &mut Vec<Loop>) {
    let stride = |index: usize| -> i64 {
        nest.body.loads().map(|load| load.1.along(LoopVar(index as u32)).abs()).sum()
    };
    let mut order: Vec<usize> = (0..loops.len()).collect();
    order[nest.kept..].sort_by_key(|&index| std::cmp::Reverse(stride(index)));
    let mut place = vec![0; order.len()];
    for (new, &old) in order.iter().enumerate() {
        place[old] = new;
    }
    *loops = order.iter().map(|&old| loops[old]).collect();
    renumber(nest, |index| place[index]);
}

/// The loop along which memory is walked best in steps of one entry.
fn vector_loop(nest: &Nest, loops: &[Loop]) -> Option<usize> {
    let score = |index: usize| -> i64 {
        let stride = |affine: &Affine| affine.along(LoopVar(index as u32));
        let load = |affine: &Affine| match stride(affine) {
            1 => 3,
            0 => 1,
            _ => -4,
        };
        let store = |affine: &Affine| match stride(affine) {
            1 => 3,
            0 => 0,
            _ => -6,
        };
        let programs = if index < nest.kept { vec![&nest.body, &nest.finish] } else { vec![&nest.body] };
        let loads: i64 = programs.iter().flat_map(|program| program.loads()).map(|one| load(one.1)).sum();
        let stores: i64 =
            programs.iter().flat_map(|program| &program.stores).map(|one| store(&one.index)).sum();
        let short = if loops[index].extent < 8 { 2 } else { 0 };
        let combining = i64::from(index >= nest.kept);
        2 * (loads + stores - short) - combining
    };
    let long = (0..loops.len()).filter(|&index| loops[index].extent > 1);
    long.max_by_key(|&index| (score(index), index))
}

/// Whether the loops `outer` and the next one walk everything as one loop would.
fn mergeable(nest: &Nest, loops: &[Loop], outer: usize) -> bool {
    let full = |index: usize| matches!(loops[index].range, Range::Full(_));
    let inner = outer + 1;
    let same_kind = (outer < nest.kept) == (inner < nest.kept);
    let fits = |affine: &Affine| {
        affine.along(LoopVar(outer as u32))
            == affine.along(LoopVar(inner as u32)) * loops[inner].extent as i64
    };
    let program_fits = |program: &Scalars| {
        let positions = program.insts.iter().any(
            |inst| matches!(inst, Inst::Position(along) if along.index() == outer || along.index() == inner),
        );
        !positions
            && program.loads().all(|load| fits(load.1))
            && program.stores.iter().all(|store| fits(&store.index))
    };
    full(outer) && full(inner) && same_kind && program_fits(&nest.body) && program_fits(&nest.finish)
}

/// Forgets the loop before `outer + 1`: positions along both are now counted by one loop.
fn drop_loop(nest: &mut Nest, outer: usize) {
    for affine in affines(nest) {
        affine.terms.retain(|term| term.0.index() != outer);
    }
    renumber(nest, |index| if index > outer { index - 1 } else { index });
}

fn renumber(nest: &mut Nest, new_place: impl Fn(usize) -> usize) {
    let renew = |along: &mut LoopVar| *along = LoopVar(new_place(along.index()) as u32);
    for affine in affines(nest) {
        affine.terms.iter_mut().for_each(|term| renew(&mut term.0));
        affine.terms.sort_by_key(|term| term.0);
    }
    for program in [&mut nest.body, &mut nest.finish] {
        for inst in &mut program.insts {
            if let Inst::Position(along) = inst {
                renew(along);
            }
        }
    }
}

fn affines(nest: &mut Nest) -> impl Iterator<Item = &mut Affine> {
    [&mut nest.body, &mut nest.finish].into_iter().flat_map(|program| {
        let loads = program.insts.iter_mut().filter_map(|inst| match inst {
            Inst::Load(_, index) => Some(index),
            _ => None,
        });
        loads.chain(program.stores.iter_mut().map(|store| &mut store.index))
    })
}

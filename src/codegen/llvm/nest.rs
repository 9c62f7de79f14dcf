//! Loop nests: explicit vectors along the vector loop, the rest of it under a mask, accumulators in registers.
//!
//! The order of every sum depends on extents and vector width alone. Along a reduced vector loop there are a few
//! vectors of partial sums, added pairwise at the end, then half against half down to one lane.

use inkwell::values::{IntValue, PointerValue};

use super::emit::{Emitter, Value};
use super::jam;
use super::operations;
use super::piece::Chunk;
use super::scalars::{Frame, Instance, Site, Walk};
use crate::loops::{Binary, BufferId, Combine, LoopVar, Nest, Ty};

/// Emits a nest. `site` has no loop open yet.
pub fn emit<'ctx>(emitter: &Emitter<'ctx>, nest: &Nest, chunk: Chunk<'ctx>, site: Site<'_, 'ctx>) {
    let lengths: Vec<u64> = nest.loops.iter().map(|range| chunk.length(*range)).collect();
    let vectors =
        nest.vector.map_or(1, |var| lengths[var.index()].div_ceil(u64::from(emitter.target.lanes())));
    let (unroll, jammed) = jam::choose(nest, &lengths, vectors, &emitter.target);
    let builder = NestEmitter { emitter, nest, chunk, lengths, unroll, sums: Vec::new() };
    builder.run(Site { jammed: &jammed, ..site });
}

struct NestEmitter<'e, 'ctx> {
    emitter: &'e Emitter<'ctx>,
    nest: &'e Nest,
    chunk: Chunk<'ctx>,
    /// Trip count of each loop.
    lengths: Vec<u64>,
    /// Vectors per step of the vector loop.
    unroll: u64,
    /// Local variables of partial sums, by accumulator and instance.
    sums: Vec<Vec<PointerValue<'ctx>>>,
}

/// What has been emitted at the loops that are open.
#[derive(Clone)]
struct State<'p, 'ctx> {
    site: Site<'p, 'ctx>,
    body: Frame<'p, 'ctx>,
    finish: Frame<'p, 'ctx>,
    instances: Vec<Instance<'ctx>>,
}

impl<'e, 'ctx> NestEmitter<'e, 'ctx> {
    fn run(mut self, mut site: Site<'e, 'ctx>) {
        let nest = self.nest;
        site.vector = nest.vector;
        site.lanes = if nest.vector.is_some() { self.emitter.target.lanes() } else { 1 };
        let types = nest.body.types(site.buffers, &[]).expect("verified");
        let sums: Vec<Ty> = nest.accumulate.iter().map(|sum| types[sum.value.index()]).collect();
        let written = |buffer: BufferId| {
            nest.body.stores.iter().chain(&nest.finish.stores).any(|store| store.buffer == buffer)
        };
        let finish_types = nest.finish.types(site.buffers, &sums).expect("verified");
        let kept_vector = nest.vector.filter(|var| var.index() < nest.kept);
        let opened: Vec<usize> = (1..=nest.loops.len()).collect();
        let kept = &opened[..nest.kept];
        let walk = Walk { opened: &opened, vector: nest.vector, jammed: site.jammed };
        let body = Frame::new(&nest.body, types, walk, false, &written);
        let walk = Walk { opened: kept, vector: kept_vector, ..walk };
        let finish = Frame::new(&nest.finish, finish_types, walk, kept_vector.is_some(), &written);
        let instances = site.jammed.iter().map(|jam| jam.count).product::<u64>() * self.unroll;
        self.sums = sums
            .iter()
            .map(|ty| {
                let ty = self.emitter.ty(*ty, site.lanes);
                (0..instances).map(|_| self.emitter.local(ty)).collect()
            })
            .collect();
        let instances = vec![Instance::default()];
        self.kept(State { site, body, finish, instances });
    }

    /// With as many kept loops open as the site says.
    fn kept(&self, mut state: State<'e, 'ctx>) {
        let depth = state.site.loops.len();
        state.body.emit(self.emitter, &state.site, depth, &state.instances, &[]);
        if depth == self.nest.kept {
            return self.point(state);
        }
        state.finish.emit(self.emitter, &state.site, depth, &state.instances, &[]);
        self.open(state, &|state| self.kept(state));
    }

    /// At one point (one vector of points) of the result.
    fn point(&self, mut state: State<'e, 'ctx>) {
        self.start_sums(&state);
        self.reduced(state.clone());
        if self.nest.accumulate.is_empty() {
            return;
        }
        let vector_reduced = self.nest.vector.is_some_and(|var| var.index() >= self.nest.kept);
        let sums = if vector_reduced { self.across_lanes(&state) } else { self.load_sums(&state) };
        if vector_reduced {
            (state.site.vector, state.site.lanes) = (None, 1);
        }
        state.finish.emit(self.emitter, &state.site, self.nest.kept, &state.instances, &sums);
        state.finish.store(self.emitter, &state.site, &state.instances);
    }

    fn reduced(&self, state: State<'e, 'ctx>) {
        if state.site.loops.len() < self.nest.loops.len() {
            return self.open(state, &|mut state| {
                let depth = state.site.loops.len();
                state.body.emit(self.emitter, &state.site, depth, &state.instances, &[]);
                self.reduced(state);
            });
        }
        if self.nest.accumulate.is_empty() {
            state.body.store(self.emitter, &state.site, &state.instances);
        } else {
            self.accumulate(&state);
        }
    }

    /// Opens the next loop.
    fn open(&self, state: State<'e, 'ctx>, inside: &dyn Fn(State<'e, 'ctx>)) {
        let depth = state.site.loops.len();
        let start = self.chunk.start_of(self.emitter, self.nest.loops[depth]);
        if self.nest.vector.is_some_and(|var| var.index() == depth) {
            return self.open_vector(state, start, self.lengths[depth], inside);
        }
        let jammed = jam::number(state.site.jammed, LoopVar(depth as u32));
        let count = jammed.map_or(1, |number| state.site.jammed[number].count);
        let enter = |index: IntValue<'ctx>| {
            let mut state = state.clone();
            state.site.loops.push(self.emitter.add(self.emitter.scale(index, count as i64), start));
            if let Some(number) = jammed {
                let moved = |mut instance: Instance<'ctx>, step: u64| {
                    instance.moved[number] = step as u32;
                    instance
                };
                let all = state.instances.iter();
                let all = all.flat_map(|&instance| (0..count).map(move |step| moved(instance, step)));
                state.instances = all.collect();
            }
            inside(state);
        };
        self.emitter.repeat(self.emitter.i64((self.lengths[depth] / count) as i64), enter);
    }

    /// Full steps in a loop, then what is left, its last vector under a mask.
    fn open_vector(
        &self,
        state: State<'e, 'ctx>,
        start: IntValue<'ctx>,
        length: u64,
        inside: &dyn Fn(State<'e, 'ctx>),
    ) {
        let step = u64::from(state.site.lanes) * self.unroll;
        let enter = |index: IntValue<'ctx>, entries: u64| {
            let mut state = state.clone();
            state.site.loops.push(self.emitter.add(self.emitter.scale(index, step as i64), start));
            let vectors = Instance::of(self.emitter, entries);
            let all = state.instances.iter().map(|instance| instance.moved);
            let all = all.flat_map(|moved| vectors.iter().map(move |&vector| Instance { moved, ..vector }));
            state.instances = all.collect();
            inside(state);
        };
        let (full, rest) = (length / step, length % step);
        if full > 0 {
            self.emitter.repeat(self.emitter.i64(full as i64), |index| enter(index, step));
        }
        if rest > 0 {
            enter(self.emitter.i64(full as i64), rest);
        }
    }

    fn sum_type(&self, state: &State, number: usize) -> Ty {
        state.body.types[self.nest.accumulate[number].value.index()]
    }

    fn start_sums(&self, state: &State<'e, 'ctx>) {
        for (number, sum) in self.nest.accumulate.iter().enumerate() {
            let start = match sum.op {
                Combine::Sum => 0.0,
                Combine::Max => f64::NEG_INFINITY,
            };
            let start = self.emitter.float(start, self.sum_type(state, number));
            let start = self.emitter.splat(start, state.site.lanes);
            let bytes = self.bytes(state, number);
            for &local in &self.sums[number] {
                self.emitter.store(start, local, bytes, None);
            }
        }
    }

    fn bytes(&self, state: &State, number: usize) -> u32 {
        if self.sum_type(state, number) == Ty::F64 { 8 } else { 4 }
    }

    fn load_sums(&self, state: &State<'e, 'ctx>) -> Vec<Vec<Value<'ctx>>> {
        let load = |number: usize, local: &PointerValue<'ctx>| {
            let ty = self.emitter.ty(self.sum_type(state, number), state.site.lanes);
            self.emitter.load(ty, *local, self.bytes(state, number), None)
        };
        let all = self.sums.iter().enumerate();
        all.map(|(number, locals)| locals.iter().map(|local| load(number, local)).collect()).collect()
    }

    fn accumulate(&self, state: &State<'e, 'ctx>) {
        let old = self.load_sums(state);
        let reduced = self.nest.vector.is_some_and(|var| var.index() >= self.nest.kept);
        for (number, sum) in self.nest.accumulate.iter().enumerate() {
            for (place, instance) in state.instances.iter().enumerate() {
                let value = state.body.value(self.emitter, sum.value, place, state.site.lanes);
                let before = old[number][place];
                let mut after = self.combine(state, number, before, value);
                if let (true, Some(mask)) = (reduced, instance.mask) {
                    after = self.emitter.select(mask.into(), after, before);
                }
                self.emitter.store(after, self.sums[number][place], self.bytes(state, number), None);
            }
        }
    }

    fn combine(&self, state: &State, number: usize, a: Value<'ctx>, b: Value<'ctx>) -> Value<'ctx> {
        let op = match self.nest.accumulate[number].op {
            Combine::Sum => Binary::Add,
            Combine::Max => Binary::Max,
        };
        operations::binary(self.emitter, op, self.sum_type(state, number), a, b)
    }

    /// All partial sums of each accumulator as one number.
    fn across_lanes(&self, state: &State<'e, 'ctx>) -> Vec<Vec<Value<'ctx>>> {
        let fold = |(number, mut parts): (usize, Vec<Value<'ctx>>)| {
            while parts.len() > 1 {
                parts = parts
                    .chunks(2)
                    .map(|pair| match pair {
                        [a, b] => self.combine(state, number, *a, *b),
                        single => single[0],
                    })
                    .collect();
            }
            vec![self.halve(state, number, parts[0])]
        };
        self.load_sums(state).into_iter().enumerate().map(fold).collect()
    }

    fn halve(&self, state: &State<'e, 'ctx>, number: usize, mut sum: Value<'ctx>) -> Value<'ctx> {
        let mut lanes = state.site.lanes;
        while lanes > 1 {
            lanes /= 2;
            let vector = sum.into_vector_value();
            let [low, high] = [0, lanes].map(|first| {
                let order: Vec<u32> = (first..first + lanes).collect();
                self.emitter.shuffle(vector, vector, &order)
            });
            sum = self.combine(state, number, low.into(), high.into());
        }
        self.emitter.lane(sum.into_vector_value(), 0)
    }
}

//! A compiled network, ready to run: its manifest, the functions of its routines and its arena.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Instant;

use crate::Error;
use crate::features;
use crate::manifest::{FORMAT, Level, Manifest, Probe, Routine, RoutineFn, Scalars, Task, Tensor};
use crate::memory::{AlignedMemory, PAGE};
use crate::pace::Pace;
use crate::pool::{Job, Pool};
use crate::ranks;

/// Names of the routines that the runtime calls.
pub const INIT: &str = "init";
pub const TRAIN: &str = "train";
/// The second half of a step whose gradients are accumulated.
pub const UPDATE: &str = "update";
pub const EVAL: &str = "eval";
pub const SCHEDULE: &str = "schedule";

/// A routine of one program, by its place in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutineId(usize);

pub struct Program {
    manifest: Manifest,
    /// Of the routines, in the manifest's order.
    functions: Vec<RoutineFn>,
    arena: AlignedMemory,
    /// Per routine.
    paces: Vec<Pace>,
}

/// A program's lasting content: where it lies, and its bytes.
pub struct Snapshot(Vec<(usize, Vec<u8>)>);

impl Manifest {
    /// Reads the JSON form; refuses another format than this runtime's.
    pub fn parse(json: &[u8]) -> Result<Manifest, Error> {
        #[derive(serde::Deserialize)]
        struct Head {
            format: u32,
        }
        let broken =
            |cause: serde_json::Error| Error::new(format!("the program's manifest is damaged: {cause}"));
        let head: Head = serde_json::from_slice(json).map_err(broken)?;
        check_format(head.format)?;
        serde_json::from_slice(json).map_err(broken)
    }

    /// Floats of one sample.
    pub fn sample_size(&self) -> usize {
        self.input_shape.iter().product()
    }
}

impl Task {
    /// Width of one sample's output: logits, or values.
    pub fn outputs(&self) -> usize {
        match *self {
            Task::Class { classes } => classes,
            Task::Float { size } => size,
        }
    }
}

impl Program {
    /// Allocates the arena, zeroed, and looks up every routine's function by its symbol.
    ///
    /// # Safety
    /// The functions must be those that were compiled with this manifest, and stay loaded as long as the program lives.
    pub unsafe fn new(
        manifest: Manifest,
        mut lookup: impl FnMut(&str) -> Option<RoutineFn>,
    ) -> Result<Self, Error> {
        check_format(manifest.format)?;
        features::check(&manifest.target)?;
        check_layout(&manifest)?;
        check_steps(&manifest)?;
        let find = |routine: &Routine| {
            let absent = || Error::new(format!("the compiled code has no function `{}`", routine.symbol));
            lookup(&routine.symbol).ok_or_else(absent)
        };
        let functions = manifest.routines.iter().map(find).collect::<Result<Vec<RoutineFn>, _>>()?;
        let arena = AlignedMemory::zeroed(manifest.arena_bytes, PAGE)?;
        let pace = |levels: &Vec<Level>| {
            let fixed = levels.iter().all(|level| level.serial)
                || levels.iter().any(|level| !level.exchanges.is_empty());
            if fixed { Pace::unwatched() } else { Pace::default() }
        };
        let paces = manifest.routines.iter().map(|routine| pace(&routine.levels)).collect();
        Ok(Program { manifest, functions, arena, paces })
    }

    /// As [`Program::new`], with the functions in the manifest's order, as in [`crate::manifest::Path::entries`].
    ///
    /// # Safety
    /// As [`Program::new`].
    pub unsafe fn from_entries(manifest: Manifest, entries: &[RoutineFn]) -> Result<Self, Error> {
        let mut entries = entries.iter().copied();
        // SAFETY: promised by the caller.
        unsafe { Program::new(manifest, |_| entries.next()) }
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub fn scalars(&self) -> &Scalars {
        &self.manifest.scalars
    }

    pub fn routine(&self, name: &str) -> Option<RoutineId> {
        self.manifest.routines.iter().position(|routine| routine.name == name).map(RoutineId)
    }

    /// As [`Program::routine`], for those that a caller cannot do without.
    pub fn required(&self, name: &str) -> Result<RoutineId, Error> {
        self.routine(name).ok_or_else(|| Error::new(format!("this program was compiled without `{name}`")))
    }

    pub fn levels(&self, routine: RoutineId) -> &[Level] {
        &self.manifest.routines[routine.0].levels
    }

    /// Runs the levels of a routine one after the other. The pool's scratch must have the manifest's size.
    pub fn run(&mut self, routine: RoutineId, pool: &mut Pool) {
        if pool.threads() == 1 || !self.paces[routine.0].watches() {
            return self.run_levels(routine, pool, false);
        }
        let start = Instant::now();
        self.run_levels(routine, pool, !self.paces[routine.0].shares());
        self.paces[routine.0].ran(start.elapsed().as_secs_f64());
    }

    /// With all tasks on this thread if `alone`.
    fn run_levels(&mut self, routine: RoutineId, pool: &mut Pool, alone: bool) {
        let mut tasks = Tasks::of(self, routine);
        for level in &self.manifest.routines[routine.0].levels {
            run_job(tasks.next(level.tasks()), level.serial || alone, pool);
            ranks::exchange(&level.exchanges, &mut self.arena);
        }
    }

    /// Runs a routine, its groups one by one, and adds to `seconds` what each took; they are numbered level by level.
    pub fn run_timed(&mut self, routine: RoutineId, pool: &mut Pool, seconds: &mut Vec<f64>) {
        let alone = !self.paces[routine.0].shares();
        let mut tasks = Tasks::of(self, routine);
        let levels = &self.manifest.routines[routine.0].levels;
        let groups = levels.iter().flat_map(|level| level.groups.iter().map(move |group| (level, group)));
        for (number, (level, group)) in groups.enumerate() {
            let job = tasks.next(group.tasks);
            let start = Instant::now();
            run_job(job, level.serial || alone, pool);
            seconds.resize(seconds.len().max(number + 1), 0.0);
            seconds[number] += start.elapsed().as_secs_f64();
        }
    }

    /// Runs a routine up to the first level that leaves a number that is not finite in a value that the manifest lists;
    /// returns the first such value and number, of the first rank that has one.
    pub fn run_probed(&mut self, routine: RoutineId, pool: &mut Pool) -> Option<(Probe, f32)> {
        let mut tasks = Tasks::of(self, routine);
        for level in &self.manifest.routines[routine.0].levels {
            run_job(tasks.next(level.tasks()), level.serial, pool);
            if let Some(found) = self.first_bad(&level.probes) {
                return Some(found);
            }
            ranks::exchange(&level.exchanges, &mut self.arena);
        }
        None
    }

    /// What holds a number that is not finite, on the first rank where something does.
    fn first_bad(&self, probes: &[Probe]) -> Option<(Probe, f32)> {
        let bad = |probe: &Probe| self.probed(probe).find(|value| !value.is_finite());
        let found = probes.iter().enumerate().find_map(|(index, probe)| Some((index, bad(probe)?)));
        let (index, value) = found.map_or((-1.0, 0.0), |(index, value)| (index as f64, f64::from(value)));
        // NaN is added up with zeros: it arrives as what it is.
        let [index, value] = ranks::gather([index, value]).into_iter().find(|found| found[0] >= 0.0)?;
        Some((probes[index as usize].clone(), value as f32))
    }

    fn probed(&self, probe: &Probe) -> impl Iterator<Item = f32> {
        let bytes = &self.arena.bytes()[probe.offset..probe.offset + probe.width() * probe.len];
        let entry = |bytes: &[u8]| match *bytes {
            [low, high] => f32::from_bits(u32::from(u16::from_ne_bytes([low, high])) << 16),
            _ => f32::from_ne_bytes(bytes.try_into().unwrap_or_default()),
        };
        bytes.chunks_exact(probe.width()).map(entry)
    }

    /// Everything that the runtime reads or writes, as it is; what a step computes on the way is left out.
    pub fn snapshot(&self) -> Snapshot {
        let copy = |(_, bytes, _): Place| {
            let content = self.arena.bytes()[bytes.clone()].to_vec();
            (bytes.start, content)
        };
        Snapshot(places(&self.manifest).into_iter().map(copy).collect())
    }

    /// As it was; the rest of the arena becomes zero.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.clear();
        for (start, content) in &snapshot.0 {
            self.arena.bytes_mut()[*start..][..content.len()].copy_from_slice(content);
        }
    }

    /// The whole arena back to zero, as after [`Program::new`].
    pub fn clear(&mut self) {
        self.arena.bytes_mut().fill(0);
    }

    pub fn f32_at(&self, offset: usize) -> f32 {
        f32::from_ne_bytes(self.array_at(offset))
    }

    pub fn f64_at(&self, offset: usize) -> f64 {
        f64::from_ne_bytes(self.array_at(offset))
    }

    pub fn set_f64(&mut self, offset: usize, value: f64) {
        self.arena.bytes_mut()[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
    }

    pub fn set_u32(&mut self, offset: usize, value: u32) {
        self.arena.bytes_mut()[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn array_at<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.arena.bytes()[offset..offset + N]);
        bytes
    }

    /// `len` floats at a byte offset that is a multiple of 4.
    pub fn floats(&self, offset: usize, len: usize) -> &[f32] {
        let bytes = &self.arena.bytes()[offset..offset + 4 * len];
        // SAFETY: every bit pattern is an f32, and the arena starts on a page.
        let (head, floats, _) = unsafe { bytes.align_to() };
        assert!(head.is_empty(), "misaligned offset {offset}");
        floats
    }

    pub fn floats_mut(&mut self, offset: usize, len: usize) -> &mut [f32] {
        self.arena.floats_mut(offset, len)
    }

    /// Integers, as class labels are.
    pub fn integers_mut(&mut self, offset: usize, len: usize) -> &mut [i32] {
        let bytes = &mut self.arena.bytes_mut()[offset..offset + 4 * len];
        // SAFETY: as in `floats`.
        let (head, integers, _) = unsafe { bytes.align_to_mut() };
        assert!(head.is_empty(), "misaligned offset {offset}");
        integers
    }

    /// The entries as they lie in memory.
    pub fn stored(&self, tensor: &Tensor) -> &[f32] {
        self.floats(tensor.offset, tensor.len())
    }

    /// The entries, row-major.
    pub fn tensor(&self, tensor: &Tensor) -> Cow<'_, [f32]> {
        let stored = self.stored(tensor);
        match tensor.places() {
            None => Cow::Borrowed(stored),
            Some(places) => Cow::Owned(places.map(|place| stored[place]).collect()),
        }
    }

    /// Sets all entries, given row-major.
    ///
    /// # Panics
    /// When there are not as many as the tensor has.
    pub fn set_tensor(&mut self, tensor: &Tensor, values: &[f32]) {
        assert_eq!(values.len(), tensor.len());
        let stored = self.floats_mut(tensor.offset, values.len());
        match tensor.places() {
            None => stored.copy_from_slice(values),
            Some(places) => places.zip(values).for_each(|(place, value)| stored[place] = *value),
        }
    }
}

/// A routine's tasks, in the order of their numbers.
struct Tasks {
    function: RoutineFn,
    base: *mut u8,
    next: u32,
}

impl Tasks {
    fn of(program: &Program, routine: RoutineId) -> Tasks {
        Tasks { function: program.functions[routine.0], base: program.arena.as_ptr(), next: 0 }
    }

    /// So many more of them.
    fn next(&mut self, count: usize) -> Job {
        let job = Job { function: self.function, base: self.base, first: self.next, tasks: count as u32 };
        self.next += job.tasks;
        job
    }
}

fn run_job(job: Job, serial: bool, pool: &mut Pool) {
    // SAFETY: `Program::new` was promised that the functions belong to this manifest; offsets were checked there.
    unsafe { if serial { pool.run_serial(job) } else { pool.run(job) } }
}

impl Tensor {
    /// Entries; one for a scalar.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `order` names every axis once.
    fn is_ordered(&self) -> bool {
        let mut order = self.order.clone();
        order.sort_unstable();
        order.is_empty() || order.into_iter().eq(0..self.shape.len())
    }

    /// Where each entry lies, entries counted row-major; `None` where they lie like that.
    fn places(&self) -> Option<impl Iterator<Item = usize> + '_> {
        if self.order.is_empty() {
            return None;
        }
        let mut strides = vec![0; self.shape.len()];
        let mut stride = 1;
        for &axis in self.order.iter().rev() {
            strides[axis] = stride;
            stride *= self.shape[axis];
        }
        let mut position = vec![0; self.shape.len()];
        let mut place = 0;
        Some((0..self.len()).map(move |_| {
            let here = place;
            for axis in (0..position.len()).rev() {
                position[axis] += 1;
                place += strides[axis];
                if position[axis] < self.shape[axis] {
                    break;
                }
                place -= strides[axis] * position[axis];
                position[axis] = 0;
            }
            here
        }))
    }
}

fn check_format(format: u32) -> Result<(), Error> {
    if format == FORMAT {
        return Ok(());
    }
    Err(Error::new(format!("the program has format {format}, this runtime reads {FORMAT}"))
        .with_help("build the program again with this version of the compiler"))
}

/// Gradients that are accumulated are taken by `update`; others are not.
fn check_steps(manifest: &Manifest) -> Result<(), Error> {
    let has_update = manifest.routines.iter().any(|routine| routine.name == UPDATE);
    match (manifest.accumulate, has_update) {
        (1, false) | (2.., true) => Ok(()),
        (batches, _) => Err(Error::new(format!(
            "the program's manifest is damaged: {batches} batches a step do not fit its routines"
        ))),
    }
}

/// Every place that the runtime touches lies in the arena, aligned.
fn check_layout(manifest: &Manifest) -> Result<(), Error> {
    for (what, bytes, align) in
        places(manifest).into_iter().chain(probed(manifest)).chain(exchanged(manifest))
    {
        if bytes.start % align != 0 || bytes.end > manifest.arena_bytes || bytes.end < bytes.start {
            return Err(Error::new(format!(
                "the program's manifest is damaged: {what} lies outside its memory"
            )));
        }
    }
    if let Some(tensor) = manifest.tensors.iter().find(|tensor| !tensor.is_ordered()) {
        let name = &tensor.name;
        return Err(Error::new(format!(
            "the program's manifest is damaged: the axes of {name} have no order"
        )));
    }
    let too_many = |routine: &&Routine| routine.tasks() > u32::MAX as usize / 2;
    match manifest.routines.iter().find(too_many) {
        Some(routine) => Err(Error::new(format!("`{}` has more tasks than can be numbered", routine.name))),
        None => Ok(()),
    }
}

/// What may be looked at after a level.
fn probed(manifest: &Manifest) -> impl Iterator<Item = Place> {
    let probes = manifest.routines.iter().flat_map(|routine| &routine.levels).flat_map(|level| &level.probes);
    probes.map(|probe| {
        let width = probe.width();
        let bytes = probe.offset..probe.offset.saturating_add(probe.len.saturating_mul(width));
        (probe.name.clone(), bytes, width)
    })
}

/// What ranks exchange.
fn exchanged(manifest: &Manifest) -> impl Iterator<Item = Place> {
    let levels = manifest.routines.iter().flat_map(|routine| &routine.levels);
    levels.flat_map(|level| &level.exchanges).map(|exchange| {
        let bytes = exchange.offset..exchange.offset.saturating_add(exchange.len.saturating_mul(4));
        ("a value that ranks exchange".to_string(), bytes, 4)
    })
}

/// Name, bytes, alignment.
type Place = (String, Range<usize>, usize);

/// What the runtime reads and writes.
fn places(manifest: &Manifest) -> Vec<Place> {
    let scalars = &manifest.scalars;
    let mut places = Vec::new();
    let mut place = |what: &str, offset: usize, entries: usize, width: usize| {
        let bytes = offset..offset.saturating_add(entries.saturating_mul(width));
        places.push((what.to_string(), bytes, width));
    };
    let (batch, outputs) = (manifest.batch, manifest.task.outputs());
    let targets = match manifest.task {
        Task::Class { .. } => batch,
        Task::Float { size } => batch * size,
    };
    place("the input", scalars.input, batch * manifest.sample_size(), 4);
    place("the target", scalars.target, targets, 4);
    place("the output", scalars.output, batch * outputs, 4);
    place("the losses", scalars.sample_loss, batch, 4);
    place("the loss", scalars.loss, 1, 4);
    for offset in [scalars.step, scalars.time, scalars.total_time, scalars.multiplier] {
        place("the clock", offset, 1, 8);
    }
    scalars.seed.iter().for_each(|offset| place("the seed", *offset, 1, 4));
    scalars.share.iter().for_each(|offset| place("the share of a rank", *offset, 1, 8));
    scalars.first_sample.iter().for_each(|offset| place("the first sample", *offset, 1, 4));
    scalars.accuracy.iter().for_each(|offset| place("the accuracy", *offset, 1, 4));
    scalars.sample_hit.iter().for_each(|offset| place("the hits", *offset, batch, 4));
    manifest.hypers.iter().for_each(|hyper| place(&hyper.name, hyper.offset, 1, 8));
    manifest.tensors.iter().for_each(|tensor| place(&tensor.name, tensor.offset, tensor.len(), 4));
    for block in &manifest.blocks {
        let weights = block.m_w.iter().map(|(_, offset)| *offset);
        weights.chain(block.m_z).chain(block.m).for_each(|offset| place(&block.name, offset, 1, 4));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::TensorKind;

    fn tensor(shape: &[usize], order: &[usize]) -> Tensor {
        let (name, role) = ("W".to_string(), "weight".to_string());
        let (shape, order) = (shape.to_vec(), order.to_vec());
        Tensor { name, kind: TensorKind::Parameter, role, shape, order, offset: 0 }
    }

    #[test]
    fn entries_are_found_where_the_order_of_axes_puts_them() {
        let tensor = tensor(&[2, 3, 4], &[2, 0, 1]);
        let places: Vec<usize> = tensor.places().expect("another order").collect();
        let at = |[i, j, k]: [usize; 3]| (i * 3 + j) * 4 + k;
        for position in [[0, 0, 0], [0, 0, 1], [0, 2, 3], [1, 0, 0], [1, 2, 3]] {
            let [i, j, k] = position;
            assert_eq!(places[at(position)], (k * 2 + i) * 3 + j, "{position:?}");
        }
        let mut sorted = places;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..24), "every place once");
    }

    #[test]
    fn an_order_names_every_axis_once() {
        for (order, holds) in
            [(&[][..], true), (&[1, 0], true), (&[0, 0], false), (&[0], false), (&[0, 2], false)]
        {
            assert_eq!(tensor(&[2, 3], order).is_ordered(), holds, "{order:?}");
        }
    }
}

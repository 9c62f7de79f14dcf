//! Puts stages into groups that are cut into tasks along one axis, and groups onto levels.
//!
//! A stage may share a group with those it depends on if it reads them at its own position of the cut axis only: then
//! every task finishes its chunk without waiting for others. The axis of a group is the one that lets most of the
//! following work join.

use std::collections::{HashMap, HashSet};

use super::cost::FAR;
use super::depend::Edge;
use super::exchange;
use super::stage::{Kind, StageId, Stages};
use crate::axes::Axis;
use crate::loops::Arithmetic;

/// Work that is not worth cutting or a barrier of its own, in operations.
pub(super) const SMALL_WORK: u64 = 20_000;
/// A matrix product larger than this gets the axis that suits it: a barrier costs less than the wrong one.
const LARGE_PRODUCT: u64 = 400_000;
/// How many of the stages that follow are looked at to choose an axis.
const LOOK_AHEAD: usize = 96;
/// A task has at most this many positions of a long axis; a matrix product repacks one operand for each task.
const LARGEST_CHUNK: usize = 128;
/// Tasks that a group should have at least, where the axis is long enough.
const FEWEST_TASKS: usize = 8;
/// Bytes of a cache line: chunks of an axis whose entries are neighbours are multiples of it.
const LINE: usize = 64;
/// Rows or columns that a task of a large matrix product should have: every task packs the other operand anew.
const PRODUCT_CHUNK: usize = 32;
/// It has fewer where there would else be one task only, but not less than these.
const LEAST_ROWS: usize = 8;
const LEAST_COLUMNS: usize = 16;
/// Bytes that a task should not exceed with what it computes and reads again: half of a second-level cache.
const NEAR: usize = 1 << 19;
/// Bytes of a row that are walked as fast as a longer one.
const ROW: usize = 1 << 10;
/// How much longer strips take than whole rows.
const STRIPS: f64 = 1.0;
/// What handing out a task takes, in operations.
const TASK: f64 = 500.0;

/// Stages that run as one set of tasks.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub level: usize,
    /// In an order that respects the dependences, each with the axis along which it is cut; `None` in a group of
    /// one task.
    pub stages: Vec<(StageId, Option<Axis>)>,
    /// Positions along the cut axis, 1 in a group of one task.
    pub extent: usize,
    pub work: u64,
}

impl Group {
    fn axis_of(&self, stage: StageId) -> Option<Option<Axis>> {
        self.stages.iter().find(|member| member.0 == stage).map(|member| member.1)
    }

    fn push(&mut self, stages: &Stages, stage: StageId, axis: Option<Axis>) {
        self.work = self.work.saturating_add(stages.list[stage].work);
        self.extent = axis.map_or(1, |axis| stages.graph.axes.extent(axis));
        self.stages.push((stage, axis));
    }
}

/// Groups all stages; a group's level is above those of everything that it depends on.
pub(super) fn groups(stages: &Stages) -> Vec<Group> {
    let order = stages.dependences.sorted();
    let mut groups: Vec<Group> = Vec::new();
    let mut home: HashMap<StageId, usize> = HashMap::new();
    for (position, &stage) in order.iter().enumerate() {
        let index = place(stages, &mut groups, &home, stage, &order[position + 1..]);
        home.insert(stage, index);
    }
    exchange::sink(stages, &order, &mut groups);
    groups
}

/// Puts `stage` into a group and returns the group's index.
fn place(
    stages: &Stages,
    groups: &mut Vec<Group>,
    home: &HashMap<StageId, usize>,
    stage: StageId,
    rest: &[StageId],
) -> usize {
    let before = &stages.dependences.before[stage];
    let top = before.iter().map(|edge| groups[home[&edge.from]].level).max();
    if let Some(index) = joins_later(stages, groups, home, stage, top) {
        return index;
    }
    if let Some(level) = top {
        let mut latest =
            before.iter().map(|edge| home[&edge.from]).filter(|&index| groups[index].level == level);
        let first = latest.next().unwrap_or_default();
        let together = latest.all(|index| index == first);
        if let Some(axis) = joins(stages, &groups[first], stage).filter(|_| together) {
            groups[first].push(stages, stage, axis);
            return first;
        }
    }
    let small = stages.list[stage].work <= SMALL_WORK;
    // What is small and depends on nothing comes first of all, so that what uses it may still join larger groups.
    let level = top.map_or(usize::from(!small), |level| level + 1);
    let rest = if top.is_none() && small { &[] } else { rest };
    let group = best_start(stages, stage, level, rest);
    if group.stages[0].1.is_none() {
        let beside = groups.iter().position(|other| {
            other.level == level && other.stages[0].1.is_none() && other.work + group.work <= SMALL_WORK
        });
        if let Some(index) = beside {
            groups[index].push(stages, stage, None);
            return index;
        }
    }
    let axis = group.stages[0].1;
    if let Some(index) =
        groups.iter().position(|other| other.level == level && reads_alike(stages, other, stage, axis))
    {
        groups[index].push(stages, stage, axis);
        return index;
    }
    let mut start = Group { level, stages: vec![], extent: 1, work: 0 };
    start.push(stages, stage, axis);
    groups.push(start);
    groups.len() - 1
}

/// Whether a task of the group reads some value at the very positions at which one of the stage, cut along `axis`, reads
/// it: one pass over memory then serves both. Matrix products go at their own pace.
fn reads_alike(stages: &Stages, group: &Group, stage: StageId, axis: Option<Axis>) -> bool {
    let product = |stage: StageId| matches!(stages.list[stage].kind, Kind::Gemm(_));
    let Some(axis) = axis else { return false };
    if product(stage) || group.extent != stages.graph.axes.extent(axis) {
        return false;
    }
    // Where each value is cut.
    let cuts = |stage: StageId, axis: Axis| {
        let edges = stages.dependences.before[stage].iter().filter(|edge| edge.value);
        edges.flat_map(move |edge| {
            edge.pairs.iter().filter(move |pair| pair.1 == axis).map(|pair| (edge.from, pair.0))
        })
    };
    let own: Vec<(StageId, Axis)> = cuts(stage, axis).collect();
    let alike = |&(member, cut): &(StageId, Option<Axis>)| {
        cut.is_some_and(|cut| cuts(member, cut).any(|read| own.contains(&read)))
    };
    !group.stages.iter().any(|member| product(member.0)) && group.stages.iter().any(alike)
}

/// A stage that only has to wait for readers of what it overwrites, such as the update behind a weight gradient, takes
/// the group that computes its value along to the later level, when nobody else has asked for that group.
fn joins_later(
    stages: &Stages,
    groups: &mut [Group],
    home: &HashMap<StageId, usize>,
    stage: StageId,
    top: Option<usize>,
) -> Option<usize> {
    let before = &stages.dependences.before[stage];
    let mut values = before.iter().filter(|edge| edge.value).map(|edge| home[&edge.from]);
    let last = values.clone().max_by_key(|&index| groups[index].level)?;
    let only = values.all(|index| index == last || groups[index].level < groups[last].level);
    let inside = |other: StageId| other == stage || home.get(&other).is_none_or(|&index| index == last);
    let unasked = groups[last].stages.iter().all(|member| {
        let asked = stages.dependences.followers(member.0).iter().all(|&follower| inside(follower));
        asked && stages.dependences.users(member.0).all(|user| home.contains_key(&user) || user == stage)
    });
    let waits = top.filter(|&level| level >= groups[last].level)?;
    let elsewhere =
        before.iter().any(|edge| home[&edge.from] != last && groups[home[&edge.from]].level == waits);
    if !(only && unasked && elsewhere) {
        return None;
    }
    let axis = joins(stages, &groups[last], stage)?;
    groups[last].level = waits + 1;
    groups[last].push(stages, stage, axis);
    Some(last)
}

/// The cut axis with which `stage` may join `group`, if it may.
fn joins(stages: &Stages, group: &Group, stage: StageId) -> Option<Option<Axis>> {
    let own = &stages.list[stage];
    if matches!(own.kind, Kind::Gemm(_)) && own.work > LARGE_PRODUCT {
        return None;
    }
    // What ranks exchange is there when the level is over.
    let waits = |edge: &Edge| edge.value && stages.exchange(edge.from).is_some();
    if stages.dependences.before[stage].iter().any(|edge| waits(edge) && group.axis_of(edge.from).is_some()) {
        return None;
    }
    if group.stages[0].1.is_none() {
        return (own.work <= SMALL_WORK).then_some(None);
    }
    let inside: Vec<(&Edge, Axis)> = stages.dependences.before[stage]
        .iter()
        .filter_map(|edge| Some((edge, group.axis_of(edge.from)??)))
        .collect();
    let agrees = |axis: &Axis| inside.iter().all(|(edge, cut)| edge.pairs.contains(&(*cut, *axis)));
    let near = |axis: &Axis| !strips(stages, stage, Some(*axis), FEWEST_TASKS);
    stages.chunkable(stage).into_iter().find(|axis| agrees(axis) && near(axis)).map(Some)
}

/// The start of a group with `stage` that lets most of the following work join, as far as can be foreseen.
fn best_start(stages: &Stages, stage: StageId, level: usize, rest: &[StageId]) -> Group {
    let own = &stages.list[stage];
    let mut candidates: Vec<Option<Axis>> = Vec::new();
    let long: Vec<Axis> =
        stages.chunkable(stage).into_iter().filter(|&axis| stages.graph.axes.extent(axis) > 1).collect();
    if own.work <= SMALL_WORK || long.is_empty() {
        candidates.push(None);
    }
    candidates.extend(long.into_iter().map(Some));
    let mut best: Option<(f64, Group)> = None;
    for axis in candidates {
        let group = foresee(stages, stage, axis, level, rest);
        let score = score(stages, &group);
        if best.as_ref().is_none_or(|known| score > known.0) {
            best = Some((score, group));
        }
    }
    best.map_or_else(|| foresee(stages, stage, None, level, rest), |best| best.1)
}

/// The group that grows from `stage` when everything that can joins; other dependences are taken to be met.
fn foresee(stages: &Stages, stage: StageId, axis: Option<Axis>, level: usize, rest: &[StageId]) -> Group {
    let mut group = Group { level, stages: vec![], extent: 1, work: 0 };
    group.push(stages, stage, axis);
    let mut outside: Vec<StageId> = Vec::new();
    for &next in rest.iter().take(LOOK_AHEAD) {
        let before = &stages.dependences.before[next];
        let follows = before.iter().any(|edge| group.axis_of(edge.from).is_some());
        let blocked = before.iter().any(|edge| outside.contains(&edge.from));
        match joins(stages, &group, next).filter(|_| follows && !blocked) {
            Some(axis) => group.push(stages, next, axis),
            None if follows || blocked => outside.push(next),
            None => {}
        }
    }
    group
}

/// What the group saves against stages on levels of their own, in operations: half of what joins finds its operands in a
/// cache, and a barrier is spared for each; less what threads wait where there are few tasks, what products pack anew, and what
/// strips take longer.
fn score(stages: &Stages, group: &Group) -> f64 {
    let tasks = group.extent.div_ceil(chunk(stages, group));
    let work = |member: &(StageId, Option<Axis>)| stages.list[member.0].work as f64;
    let joined = group.stages[1..].iter().map(|member| work(member) / 2.0 + SMALL_WORK as f64).sum::<f64>();
    let packing = group.stages.iter().map(|&(stage, axis)| packing(stages, stage, axis, tasks)).sum::<f64>();
    let strips = group.stages.iter().filter(|&&(stage, axis)| strips(stages, stage, axis, tasks));
    let waste = packing + strips.map(work).sum::<f64>() * STRIPS;
    let all = group.stages.iter().map(work).sum::<f64>() + waste;
    joined - waste - all * (1.0 / efficiency(tasks) - 1.0) - (tasks as f64) * TASK
}

/// The share of threads that work, between machines of few and of many cores.
fn efficiency(tasks: usize) -> f64 {
    let on = |threads: usize| tasks as f64 / (tasks.div_ceil(threads) * threads) as f64;
    0.75 * on(2) + 0.25 * on(FEWEST_TASKS)
}

/// Whether each of so many tasks walks a strip of something that does not lie in its second-level cache: a few neighbours of
/// every row, so that what is fetched ahead does not serve it; or of rows in memory, however long.
fn strips(stages: &Stages, stage: StageId, axis: Option<Axis>, tasks: usize) -> bool {
    let Some(axis) = axis.filter(|_| tasks > 1) else { return false };
    if matches!(stages.list[stage].kind, Kind::Gemm(_)) {
        return false;
    }
    let table = &stages.graph.axes;
    let far = |value: StageId, cut: Axis| {
        let value = &stages.list[value];
        let bytes = table.size(&value.axes).saturating_mul(value.elem.bytes());
        let strip = table.nearest(&value.axes) == Some(cut) && table.size(&value.axes) > table.extent(cut);
        let run = table.extent(cut).div_ceil(tasks) * value.elem.bytes();
        strip && (bytes > FAR && bytes / tasks > 2 * NEAR || bytes > 2 * NEAR && run < ROW)
    };
    let read = stages.dependences.before[stage].iter().filter(|edge| edge.value);
    let mut cuts = read.flat_map(|edge| edge.pairs.iter().map(move |&(cut, own)| (edge.from, cut, own)));
    far(stage, axis) || cuts.any(|(value, cut, own)| own == axis && far(value, cut))
}

/// What all tasks of a product spend on packing its operands.
fn packing(stages: &Stages, stage: StageId, axis: Option<Axis>, tasks: usize) -> f64 {
    match (&stages.list[stage].kind, axis) {
        (Kind::Gemm(shape), Some(axis)) => shape.packing(axis, tasks, &stages.graph.axes),
        _ => 0.0,
    }
}

/// Positions per task; depends on the program alone, so that results do not depend on threads.
pub(super) fn chunk(stages: &Stages, group: &Group) -> usize {
    let extent = group.extent;
    let unit = group.stages.iter().map(|&(stage, axis)| unit(stages, stage, axis)).max().unwrap_or(1);
    let even = extent.div_ceil(FEWEST_TASKS).next_multiple_of(unit);
    let least = group.stages.iter().map(|&(stage, axis)| least(stages, stage, axis, extent)).max();
    even.min(near(stages, group) / unit * unit)
        .clamp(least.unwrap_or(1).max(unit), LARGEST_CHUNK)
        .min(extent.max(1))
}

/// Positions per task with which the task finds what it reads again in a cache. Not where products pack an operand anew in
/// every task.
fn near(stages: &Stages, group: &Group) -> usize {
    let repacks = |&(stage, axis): &(StageId, Option<Axis>)| match (&stages.list[stage].kind, axis) {
        (Kind::Gemm(shape), Some(axis)) => !shape.is_outer(axis),
        _ => false,
    };
    let limited = !group.stages.iter().any(repacks);
    if limited { NEAR / reused(stages, group).max(1) } else { LARGEST_CHUNK }
}

/// Bytes per position of what stages of the group compute and others of it read.
fn reused(stages: &Stages, group: &Group) -> usize {
    let before = |&(reader, _): &(StageId, Option<Axis>)| &stages.dependences.before[reader];
    let edges = group.stages.iter().flat_map(before).filter(|edge| edge.value);
    let read: HashSet<StageId> = edges.map(|edge| edge.from).collect();
    let bytes = |stage: StageId| {
        let stage = &stages.list[stage];
        stages.graph.axes.size(&stage.axes) * stage.elem.bytes()
    };
    let inside = group.stages.iter().map(|member| member.0).filter(|stage| read.contains(stage));
    inside.map(bytes).sum::<usize>() / group.extent.max(1)
}

/// What a chunk of the stage should be a multiple of: where the axis is cut whose entries are neighbours, a cache line of what
/// is written or read along it; where windows overlap, two or four, as kernels may compute so many together (of windows of 4×4
/// three, and what is left apart).
fn unit(stages: &Stages, stage: StageId, axis: Option<Axis>) -> usize {
    let own = &stages.list[stage];
    if let (Kind::Gemm(shape), Some(axis)) = (&own.kind, axis)
        && stages.arithmetic != Arithmetic::Fma
        && shape.overlaps(axis)
    {
        // Patches of four are for f32; more tasks are worth more than fewer products.
        let few = stages.graph.axes.extent(axis).div_ceil(4) < FEWEST_TASKS;
        return if few || stages.arithmetic == Arithmetic::Bf16 { 2 } else { 4 };
    }
    let inside = |axis: &Axis| !matches!(&own.kind, Kind::Gemm(shape) if shape.is_outer(*axis));
    let last = stages.graph.axes.nearest(&own.axes);
    let Some(axis) = axis.filter(|axis| inside(axis) && last == Some(*axis)) else { return 1 };
    let along =
        stages.dependences.before[stage].iter().filter(|edge| edge.pairs.iter().any(|pair| pair.1 == axis));
    let bytes = along.map(|edge| stages.list[edge.from].elem.bytes()).chain([own.elem.bytes()]).min();
    LINE / bytes.unwrap_or(1)
}

/// The least chunk of the stage.
fn least(stages: &Stages, stage: StageId, axis: Option<Axis>, extent: usize) -> usize {
    let stage = &stages.list[stage];
    match (&stage.kind, axis) {
        (Kind::Gemm(shape), Some(axis)) if stage.work > LARGE_PRODUCT && !shape.is_outer(axis) => {
            let least = if shape.n.contains(&axis) { LEAST_COLUMNS } else { LEAST_ROWS };
            PRODUCT_CHUNK.min(extent.div_ceil(2).next_multiple_of(least))
        }
        _ => 1,
    }
}

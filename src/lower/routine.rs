//! One routine from its assignments to levels of groups.

use std::collections::HashMap;

use super::exchange;
use super::fuse::{self, Fused};
use super::group::{self, Group, SMALL_WORK};
use super::nest::Nests;
use super::prepare::prepare;
use super::stage::{Kind, Stage, StageId, Stages};
use super::{Options, Origin, bounds, materialize};
use crate::hessian;
use crate::loops::{self, Buffer, BufferId, Level};
use crate::sym::graph::{Pass, Tag};
use crate::sym::{Expr, Graph, Symbol};

/// What handing a level over and waiting for its last task takes, in operations.
const BARRIER: u64 = 100_000;

/// A routine in loops.
pub(super) struct LoweredRoutine {
    pub routine: loops::Routine,
    /// Operations of contractions, by block and pass.
    pub flops: HashMap<Tag, u64>,
    pub origins: HashMap<BufferId, Origin>,
}

/// Lowers one routine; its temporaries are added to `buffers`.
pub(super) fn lower(
    graph: &Graph,
    routine: &hessian::Routine,
    symbols: &HashMap<Symbol, BufferId>,
    buffers: &mut Vec<Buffer>,
    options: &Options,
) -> Result<LoweredRoutine, String> {
    let mut graph = graph.clone();
    let values: Vec<Expr> = routine.writes.iter().map(|write| write.value).collect();
    let values = prepare(&mut graph, &values);
    let symbols_of = |values: &[Expr]| -> Vec<(Symbol, Expr)> {
        routine.writes.iter().map(|write| write.symbol).zip(values.iter().copied()).collect()
    };
    let mut writes = symbols_of(&values);
    let mut choice = materialize::choose(&graph, &writes);
    if let Some(values) = bounds::compared_as_bounded(&mut graph, &values, &choice.layouts) {
        writes = symbols_of(&values);
        choice = materialize::choose(&graph, &writes);
    }
    let mut stages = Stages::build(&graph, symbols, &writes, choice, buffers, options.arithmetic);
    let groups = group::groups(&stages);
    let statements: Vec<Vec<Fused>> = groups.iter().map(|group| fuse::fuse(&stages, group)).collect();
    for fused in statements.iter().flatten() {
        let stored: Vec<StageId> = fuse::stored(&stages, fused).collect();
        stored.into_iter().for_each(|stage| stages.store(stage, buffers));
    }
    let levels = levels(&stages, &groups, &statements, buffers, options)?;
    let routine = loops::Routine { name: routine.name.into(), levels };
    Ok(LoweredRoutine { routine, flops: flops(&stages), origins: origins(&stages) })
}

fn levels(
    stages: &Stages,
    groups: &[Group],
    statements: &[Vec<Fused>],
    buffers: &[Buffer],
    options: &Options,
) -> Result<Vec<Level>, String> {
    let total: u64 = groups.iter().map(|group| group.work).fold(0, u64::saturating_add);
    let count = groups.iter().map(|group| group.level + 1).max().unwrap_or(0);
    // Two threads spare half of the work at best.
    let small = total / 2 < count as u64 * BARRIER;
    let alone = options.threads_hint < 2 || small;
    let mut work = vec![0u64; count];
    for group in groups {
        work[group.level] = work[group.level].saturating_add(group.work);
    }
    let serial = |level: usize| alone || work[level] < SMALL_WORK;
    let mut levels: Vec<Level> =
        (0..count).map(|level| Level { groups: vec![], serial: serial(level), exchanges: vec![] }).collect();
    let mut order: Vec<(&Group, &Vec<Fused>)> = groups.iter().zip(statements).collect();
    order.sort_by_key(|entry| entry.0.level);
    let mut conditions = HashMap::new();
    for (group, fused) in order {
        let lowered = lower_group(stages, group, fused, small, buffers, &mut conditions)?;
        levels[group.level].groups.push(lowered);
    }
    exchange::place(stages, groups, &mut levels);
    Ok(exchange::busy(levels))
}

fn lower_group(
    stages: &Stages,
    group: &Group,
    statements: &[Fused],
    whole: bool,
    buffers: &[Buffer],
    conditions: &mut HashMap<Expr, bool>,
) -> Result<loops::Group, String> {
    let chunk = if whole { group.extent } else { group::chunk(stages, group) };
    let mut nests = Nests { stages, buffers, conditions, chunk };
    let mut body = Vec::new();
    for fused in statements {
        body.extend(nests.statements(fused)?);
    }
    let heaviest = group.stages.iter().max_by_key(|member| stages.list[member.0].work);
    let label = heaviest.map_or_else(String::new, |member| label(stages, member.0, buffers));
    let tag = main_tag(stages, group);
    let pass = tag.map_or(loops::Pass::Forward, |tag| pass(tag.pass));
    Ok(loops::Group { label, block: tag.map(|tag| tag.block), pass, extent: group.extent, chunk, body })
}

/// What the group is called in dumps: the symbol it writes, or the value that takes most of its work.
fn label(stages: &Stages, stage: StageId, buffers: &[Buffer]) -> String {
    let stage = &stages.list[stage];
    let buffer = stage.buffer.map(|buffer| buffers[buffer.index()].name.clone());
    let name = stages.graph.name_of(stage.expr).map(str::to_owned);
    buffer.or(name).unwrap_or_else(|| format!("t{}", stage.expr.0))
}

fn pass(pass: Pass) -> loops::Pass {
    match pass {
        Pass::Forward => loops::Pass::Forward,
        Pass::Backward => loops::Pass::Backward,
        Pass::Update => loops::Pass::Update,
    }
}

/// The block and pass with most of the group's work.
fn main_tag(stages: &Stages, group: &Group) -> Option<Tag> {
    let mut work: Vec<(Tag, u64)> = Vec::new();
    for &(stage, _) in &group.stages {
        let stage = &stages.list[stage];
        let Some(tag) = stage.tag else { continue };
        match work.iter_mut().find(|entry| entry.0 == tag) {
            Some(entry) => entry.1 += stage.work,
            None => work.push((tag, stage.work)),
        }
    }
    work.into_iter().max_by_key(|entry| entry.1).map(|entry| entry.0)
}

fn origins(stages: &Stages) -> HashMap<BufferId, Origin> {
    let origin = |stage: &Stage| Some((stage.buffer?, Origin { expr: stage.expr, tag: stage.tag }));
    stages.list.iter().filter_map(origin).collect()
}

fn flops(stages: &Stages) -> HashMap<Tag, u64> {
    let mut flops = HashMap::new();
    for stage in &stages.list {
        let count = match &stage.kind {
            Kind::Gemm(shape) => shape.flops(stages.graph),
            Kind::Contract => {
                2 * stages.graph.axes.size(&stage.axes) as u64 * stages.graph.axes.size(&stage.reduced) as u64
            }
            _ => continue,
        };
        if let Some(tag) = stage.tag {
            *flops.entry(tag).or_insert(0) += count;
        }
    }
    flops
}

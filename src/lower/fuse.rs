//! Statements of a group: stages that run in the same loops, or in a matrix product's epilogue.

use std::collections::HashMap;

use super::group::Group;
use super::materialize::same_set;
use super::stage::{Kind, StageId, Stages};
use crate::axes::Axis;
use crate::loops::Ty;

/// Stages computed by one statement.
#[derive(Clone, Debug)]
pub(super) struct Fused {
    /// The stage that gave the statement its loops.
    pub lead: StageId,
    /// With reductions: the stages that run over all loops. Else, and for matrix products: empty.
    pub reductions: Vec<StageId>,
    /// Elementwise stages over the kept axes, in order: a nest's body, a reduction's finish, a product's epilogue.
    pub finish: Vec<StageId>,
    /// The axis that is cut into tasks.
    pub cut: Option<Axis>,
}

impl Fused {
    fn new(stages: &Stages, lead: StageId, cut: Option<Axis>) -> Self {
        let mut fused = Fused { lead, reductions: vec![], finish: vec![], cut };
        match stages.list[lead].kind {
            Kind::Reduce | Kind::Contract => fused.reductions.push(lead),
            Kind::Pointwise => fused.finish.push(lead),
            Kind::Gemm(_) | Kind::Orthonormal => {}
        }
        fused
    }

    /// All stages of the statement.
    pub fn members(&self) -> impl Iterator<Item = StageId> + '_ {
        let lead =
            Some(self.lead).filter(|lead| !self.reductions.contains(lead) && !self.finish.contains(lead));
        lead.into_iter().chain(self.reductions.iter().copied()).chain(self.finish.iter().copied())
    }
}

/// Cuts a group into statements, in order.
pub(super) fn fuse(stages: &Stages, group: &Group) -> Vec<Fused> {
    let mut statements: Vec<Fused> = Vec::new();
    let mut home: HashMap<StageId, usize> = HashMap::new();
    for &(stage, cut) in &group.stages {
        let index = position(stages, &statements, &home, stage, cut).unwrap_or(statements.len());
        match statements.get_mut(index) {
            None => statements.push(Fused::new(stages, stage, cut)),
            Some(statement) => match stages.list[stage].kind {
                Kind::Pointwise => statement.finish.push(stage),
                _ => statement.reductions.push(stage),
            },
        }
        home.insert(stage, index);
    }
    statements
}

/// The stages of a statement that others need in memory.
pub(super) fn stored<'a>(stages: &'a Stages, fused: &'a Fused) -> impl Iterator<Item = StageId> + 'a {
    let outside = |user: StageId| !fused.members().any(|member| member == user);
    fused.members().filter(move |&stage| stages.dependences.users(stage).any(outside))
}

/// The first statement that can take the stage in.
fn position(
    stages: &Stages,
    statements: &[Fused],
    home: &HashMap<StageId, usize>,
    stage: StageId,
    cut: Option<Axis>,
) -> Option<usize> {
    let inside =
        stages.dependences.before[stage].iter().filter_map(|edge| Some((edge, *home.get(&edge.from)?)));
    let inside: Vec<_> = inside.collect();
    let first = inside.iter().map(|entry| entry.1).max().unwrap_or(0);
    (first..statements.len()).find(|&index| {
        let statement = &statements[index];
        let here = || inside.iter().filter(|entry| entry.1 == index).map(|entry| entry.0);
        let reduces = !matches!(stages.list[stage].kind, Kind::Pointwise);
        let agree = here().all(|edge| edge.identity && !reduces);
        agree && statement.cut == cut && takes(stages, statement, stage)
    })
}

/// Whether the statement's loops are the stage's.
fn takes(stages: &Stages, statement: &Fused, stage: StageId) -> bool {
    let (lead, own) = (&stages.list[statement.lead], &stages.list[stage]);
    let alike = same_set(&lead.axes, &own.axes);
    let computed_alike = Ty::from(lead.elem) == Ty::from(own.elem);
    match (&lead.kind, &own.kind) {
        (Kind::Orthonormal, _) | (_, Kind::Orthonormal | Kind::Gemm(_)) => false,
        (Kind::Gemm(shape), Kind::Pointwise) => {
            alike && shape.m.len() == 1 && shape.n.len() == 1 && computed_alike
        }
        (Kind::Gemm(_), _) => false,
        (Kind::Pointwise, Kind::Pointwise) => alike && computed_alike,
        (Kind::Pointwise, _) => false,
        (_, Kind::Pointwise) => alike && computed_alike,
        (_, _) => alike && same_set(&lead.reduced, &own.reduced),
    }
}

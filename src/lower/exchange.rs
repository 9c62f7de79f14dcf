//! When ranks exchange what they have computed: as seldom as the levels allow, for every exchange is a rendezvous.

use std::collections::HashMap;

use super::group::Group;
use super::stage::{StageId, Stages};
use crate::loops::{Exchange, Level};

/// Moves groups that only follow exchanges and lead to none, such as updates behind the averaged gradients, down as far as
/// those that follow them allow: their exchanges can then be one.
pub(super) fn sink(stages: &Stages, order: &[StageId], groups: &mut [Group]) {
    let trailing = trailing(stages, order);
    let Some(last) = groups.iter().map(|group| group.level).max() else { return };
    let home = home(groups);
    let mut sinking: Vec<usize> = (0..groups.len())
        .filter(|&index| groups[index].stages.iter().all(|member| trailing[member.0]))
        .collect();
    sinking.sort_by_key(|&index| std::cmp::Reverse(groups[index].level));
    for index in sinking {
        let members = groups[index].stages.iter();
        let followers = members.flat_map(|member| stages.dependences.followers(member.0));
        let others = followers.map(|follower| home[follower]).filter(|&other| other != index);
        let bound = others.map(|other| groups[other].level - 1).min();
        groups[index].level = bound.unwrap_or(last);
    }
}

/// By stage: whether it follows an exchange and leads to none.
fn trailing(stages: &Stages, order: &[StageId]) -> Vec<bool> {
    let count = stages.list.len();
    let (mut behind, mut before) = (vec![false; count], vec![false; count]);
    let exchanges = |stage: StageId| stages.exchange(stage).is_some();
    for &stage in order {
        let edges = &stages.dependences.before[stage];
        behind[stage] = edges.iter().any(|edge| exchanges(edge.from) || behind[edge.from]);
    }
    for &stage in order.iter().rev() {
        let followers = stages.dependences.followers(stage);
        before[stage] =
            exchanges(stage) || followers.iter().any(|&follower| exchanges(follower) || before[follower]);
    }
    (0..count).map(|stage| behind[stage] && !before[stage]).collect()
}

fn home(groups: &[Group]) -> HashMap<StageId, usize> {
    let members = |(index, group): (usize, &Group)| {
        group.stages.iter().map(move |member| (member.0, index)).collect::<Vec<_>>()
    };
    groups.iter().enumerate().flat_map(members).collect()
}

/// Puts the exchanges behind levels: each after the level that computes its value and before those that use it, at as few
/// places as that allows (the latest that the most urgent one allows takes all that are ready with it).
pub(super) fn place(stages: &Stages, groups: &[Group], levels: &mut [Level]) {
    let home = home(groups);
    let level = |stage: StageId| groups[home[&stage]].level;
    let mut waiting: Vec<(usize, usize, Exchange)> = Vec::new();
    for stage in 0..stages.list.len() {
        let (Some(op), Some(buffer)) = (stages.exchange(stage), stages.list[stage].buffer) else { continue };
        let first_use = stages.dependences.users(stage).map(level).min().unwrap_or(levels.len());
        waiting.push((first_use - 1, level(stage), Exchange { op, buffer }));
    }
    waiting.sort_by_key(|&(latest, ready, exchange)| (latest, ready, exchange.buffer));
    let mut place: Option<usize> = None;
    for (latest, ready, exchange) in waiting {
        let here = place.filter(|&place| place >= ready).unwrap_or(latest);
        place = Some(here);
        levels[here].exchanges.push(exchange);
    }
}

/// The levels that have work; exchanges behind one that has none come after the one before it.
pub(super) fn busy(levels: Vec<Level>) -> Vec<Level> {
    let mut busy: Vec<Level> = Vec::new();
    for level in levels {
        match busy.last_mut() {
            Some(before) if level.groups.is_empty() => before.exchanges.extend(level.exchanges),
            _ if level.groups.is_empty() => {}
            _ => busy.push(level),
        }
    }
    busy
}

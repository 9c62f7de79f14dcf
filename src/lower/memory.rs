//! The memory plan: buffers whose lives do not meet share the arena, and those that follow another lie in its place.

use super::succession::Succession;
use crate::loops::{Buffer, BufferId, Routine};

/// Every buffer starts at a multiple of this many bytes.
const ALIGNMENT: usize = 64;

/// The first and last level that touches each buffer, in one routine; `None` where it touches it not at all.
pub(super) type Lives = Vec<Option<(usize, usize)>>;

/// When each of the program's `count` buffers is alive in the routine.
pub(super) fn lives(routine: &Routine, count: usize) -> Lives {
    let mut lives: Lives = vec![None; count];
    for (level, groups) in routine.levels.iter().enumerate() {
        for statement in groups.groups.iter().flat_map(|group| &group.body) {
            statement.buffers(&mut |buffer| touch(&mut lives, level, buffer));
        }
        groups.exchanges.iter().for_each(|exchange| touch(&mut lives, level, exchange.buffer));
    }
    lives
}

fn touch(lives: &mut Lives, level: usize, buffer: BufferId) {
    let life = lives[buffer.index()].get_or_insert((level, level));
    life.1 = level;
}

/// Gives every buffer its offset and returns the size of the arena. Persistent buffers never share; temporaries lie
/// above them, the largest placed first, each as low as the others that live at the same time allow.
pub(super) fn place(buffers: &mut [Buffer], routines: &[Lives], successions: &[Succession]) -> usize {
    let mut end = 0;
    for buffer in buffers.iter_mut().filter(|buffer| buffer.persistent) {
        buffer.offset = end;
        end += size(buffer);
    }
    let base = end;
    let mut order = slots(buffers, routines, successions);
    order.sort_by_key(|slot| (std::cmp::Reverse(slot.size), slot.members[0]));
    let mut placed: Vec<(Slot, usize)> = Vec::new();
    for slot in order {
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|(other, _)| slot.meets(other))
            .map(|(other, offset)| (*offset, offset + other.size))
            .collect();
        taken.sort_unstable();
        let offset = lowest_gap(base, &taken, slot.size);
        end = end.max(offset + slot.size);
        slot.members.iter().for_each(|&member| buffers[member].offset = offset);
        placed.push((slot, offset));
    }
    end
}

/// A place for temporaries, one after the other.
struct Slot {
    members: Vec<usize>,
    size: usize,
    /// By routine, of all members together.
    lives: Vec<Option<(usize, usize)>>,
}

fn slots(buffers: &[Buffer], routines: &[Lives], successions: &[Succession]) -> Vec<Slot> {
    let mut next = vec![None; buffers.len()];
    let mut follows = vec![false; buffers.len()];
    for (old, new) in successions {
        next[old.index()] = Some(new.index());
        follows[new.index()] = true;
    }
    let first = (0..buffers.len()).filter(|&index| !buffers[index].persistent && !follows[index]);
    first
        .map(|first| {
            let members: Vec<usize> = std::iter::successors(Some(first), |&index| next[index]).collect();
            let life = |lives: &Lives| {
                let all = members.iter().filter_map(|&index| lives.get(index).copied().flatten());
                all.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
            };
            let lives = routines.iter().map(life).collect();
            Slot { size: size(&buffers[first]), members, lives }
        })
        .collect()
}

impl Slot {
    /// Whether both are in use on one level of one routine.
    fn meets(&self, other: &Slot) -> bool {
        self.lives.iter().zip(&other.lives).any(|lives| match lives {
            (Some(a), Some(b)) => a.0 <= b.1 && b.0 <= a.1,
            _ => false,
        })
    }
}

fn size(buffer: &Buffer) -> usize {
    (buffer.len * buffer.elem.bytes()).next_multiple_of(ALIGNMENT)
}

fn lowest_gap(base: usize, taken: &[(usize, usize)], size: usize) -> usize {
    let mut at = base;
    for &(start, end) in taken {
        if at + size <= start {
            break;
        }
        at = at.max(end);
    }
    at
}

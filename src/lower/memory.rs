//! The memory plan: buffers whose lives do not meet share the arena.

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
pub(super) fn place(buffers: &mut [Buffer], routines: &[Lives]) -> usize {
    let mut end = 0;
    for buffer in buffers.iter_mut().filter(|buffer| buffer.persistent) {
        buffer.offset = end;
        end += size(buffer);
    }
    let base = end;
    let mut order: Vec<usize> = (0..buffers.len()).filter(|&index| !buffers[index].persistent).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(size(&buffers[index])), index));
    let mut placed: Vec<usize> = Vec::new();
    for index in order {
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&other| meet(routines, index, other))
            .map(|&other| (buffers[other].offset, buffers[other].offset + size(&buffers[other])))
            .collect();
        taken.sort_unstable();
        buffers[index].offset = lowest_gap(base, &taken, size(&buffers[index]));
        end = end.max(buffers[index].offset + size(&buffers[index]));
        placed.push(index);
    }
    end
}

fn size(buffer: &Buffer) -> usize {
    (buffer.len * buffer.elem.bytes()).next_multiple_of(ALIGNMENT)
}

/// Whether both buffers are in use on one level of one routine.
fn meet(routines: &[Lives], one: usize, other: usize) -> bool {
    routines.iter().any(|lives| {
        match (lives.get(one).copied().flatten(), lives.get(other).copied().flatten()) {
            (Some(a), Some(b)) => a.0 <= b.1 && b.0 <= a.1,
            _ => false,
        }
    })
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

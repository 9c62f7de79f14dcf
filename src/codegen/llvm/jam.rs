//! Which loops of a reduction advance by several positions at once, with a sum in a register for each: what is loaded
//! serves all of them, and no sum waits for itself.

use crate::codegen::target::Target;
use crate::loops::{Inst, LoopVar, Nest};

use super::scalars::MOST_JAMMED;

/// Vectors that advance together along the vector loop.
const UNROLL: u64 = 4;
/// Positions up to which all of a loop advance together, as the sides of a window may: more of them, whose entries lie far from
/// each other, would crowd the first-level cache.
const SHORT: u64 = 7;
/// Positions that advance together along a longer loop.
const MOST_POSITIONS: u64 = 4;

/// A loop that advances by several positions; their number divides its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jam {
    pub along: LoopVar,
    pub count: u64,
}

/// How many vectors advance together along the vector loop, which has so many, and which other loops are jammed. Short
/// loops first, the whole of them: what is reduced is then read once for all their positions.
pub fn choose(nest: &Nest, lengths: &[u64], vectors: u64, target: &Target) -> (u64, Vec<Jam>) {
    let kept_vector = nest.vector.is_some_and(|var| var.index() < nest.kept);
    if !kept_vector {
        return (UNROLL.min(vectors), vec![]);
    }
    // Some registers are left to what is loaded.
    let registers = u64::from(target.vector_registers()) * 3 / 4;
    let mut left = (registers / nest.accumulate.len() as u64).max(1);
    let mut jammed: Vec<Jam> = Vec::new();
    let open: Vec<LoopVar> = (0..nest.kept)
        .rev()
        .map(|index| LoopVar(index as u32))
        .filter(|&var| Some(var) != nest.vector && lengths[var.index()] > 1 && serves(nest, var))
        .collect();
    for &along in &open {
        let count = lengths[along.index()];
        if count <= left.min(SHORT) && jammed.len() < MOST_JAMMED {
            jammed.push(Jam { along, count });
            left /= count;
        }
    }
    let unroll = UNROLL.min(vectors).min(left);
    left /= unroll;
    let rest = open.iter().find(|&&var| jammed.iter().all(|jam| jam.along != var));
    if let (Some(&along), true) = (rest, jammed.len() < MOST_JAMMED) {
        let most = left.min(MOST_POSITIONS);
        let count = (1..=most).rev().find(|&count| lengths[along.index()].is_multiple_of(count)).unwrap_or(1);
        if count > 1 {
            jammed.push(Jam { along, count });
        }
    }
    (unroll, jammed)
}

/// Whether something that is loaded inside of the reduced loops serves all positions of a loop.
fn serves(nest: &Nest, along: LoopVar) -> bool {
    nest.body.insts.iter().any(|inst| match inst {
        Inst::Load(_, index) => {
            let walks = |wanted: &dyn Fn(LoopVar) -> bool| index.terms.iter().any(|&(var, _)| wanted(var));
            walks(&|var| var.index() >= nest.kept) && !walks(&|var| var == along)
        }
        _ => false,
    })
}

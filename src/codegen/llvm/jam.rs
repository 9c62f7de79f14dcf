//! Which loops advance by several positions at once. Those of a reduction, with a sum in a register for each: what is loaded
//! serves all of them, and no sum waits for itself. One along which neighbours lie that are loaded from far apart: every line
//! of memory is then read once for all of its entries.

use crate::codegen::target::Target;
use crate::loops::{LoopVar, Nest};

/// The most loops that are jammed.
pub const MOST: usize = 2;
/// Vectors that advance together along the vector loop: of sums, and of what is only computed.
const UNROLL: u64 = 4;
const PLAIN: u64 = 2;
/// Positions up to which all of a loop advance together, as the sides of a window may: more of them, whose entries lie far from
/// each other, would crowd the first-level cache.
const SHORT: u64 = 7;
/// Instructions up to which a body's temporaries leave registers to more vectors.
const SMALL_BODY: usize = 24;
/// Positions that advance together along a longer loop.
const MOST_POSITIONS: u64 = 4;

/// A loop that advances by several positions; their number divides its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jam {
    pub along: LoopVar,
    pub count: u64,
}

/// Which of the jammed loops it is, if it is one.
pub fn number(jammed: &[Jam], var: LoopVar) -> Option<usize> {
    jammed.iter().position(|jam| jam.along == var)
}

/// How many vectors advance together along the vector loop, which has so many, and which other loops are jammed. Short
/// loops first, the whole of them: what is reduced is then read once for all their positions.
pub fn choose(nest: &Nest, lengths: &[u64], vectors: u64, target: &Target) -> (u64, Vec<Jam>) {
    let small = nest.body.insts.len() <= SMALL_BODY;
    if nest.accumulate.is_empty() {
        let across = neighbours(nest, lengths, u64::from(target.lanes())).filter(|_| small);
        let unroll = if small && across.is_none() { PLAIN.min(vectors) } else { 1 };
        return (unroll, across.into_iter().collect());
    }
    let kept_vector = nest.vector.is_some_and(|var| var.index() < nest.kept);
    if !kept_vector || !small {
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
        if count <= left.min(SHORT) && jammed.len() < MOST {
            jammed.push(Jam { along, count });
            left /= count;
        }
    }
    let unroll = UNROLL.min(vectors).min(left);
    left /= unroll;
    let rest = open.iter().find(|&&var| number(&jammed, var).is_none());
    if let (Some(&along), true) = (rest, jammed.len() < MOST) {
        let most = left.min(MOST_POSITIONS);
        let count = (1..=most).rev().find(|&count| lengths[along.index()].is_multiple_of(count)).unwrap_or(1);
        if count > 1 {
            jammed.push(Jam { along, count });
        }
    }
    (unroll, jammed)
}

/// Where lanes load or store entries that lie apart: the loop whose positions are next to each other there, as many of them as a
/// vector has lanes, so that a square block is walked in rows, or as many as divide its length.
fn neighbours(nest: &Nest, lengths: &[u64], lanes: u64) -> Option<Jam> {
    let vector = nest.vector?;
    let loads = nest.body.loads().map(|load| load.1);
    let stores = nest.body.stores.iter().map(|store| &store.index);
    let along = stores.chain(loads).find_map(|index| {
        let apart = index.terms.iter().any(|&(var, by)| var == vector && by != 1);
        let next = index.terms.iter().find(|&&(var, by)| var != vector && by == 1);
        next.filter(|_| apart).map(|term| term.0)
    })?;
    let count = (2..=lanes).rev().find(|&count| lengths[along.index()].is_multiple_of(count))?;
    Some(Jam { along, count })
}

/// Whether something that is loaded inside of the reduced loops serves all positions of a loop.
fn serves(nest: &Nest, along: LoopVar) -> bool {
    nest.body.loads().any(|(_, index)| {
        let walks = |wanted: &dyn Fn(LoopVar) -> bool| index.terms.iter().any(|&(var, _)| wanted(var));
        walks(&|var| var.index() >= nest.kept) && !walks(&|var| var == along)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::build::ScalarBuilder;
    use crate::loops::{Accumulate, Affine, BufferId, Combine, Elem, Range, Scalars, Ty};

    /// Σ_ij w[i, j, c]·x[y + i, x + j, c] for y, x and c, these in vectors; `lengths` are those of y, x, i and j.
    fn window(lengths: [usize; 4]) -> Nest {
        let at = |terms: &[(u32, i64)]| {
            let terms = terms.iter().map(|&(var, by)| (LoopVar(var), by)).collect();
            Affine { base: 0, terms, task: 0 }
        };
        let mut body = ScalarBuilder::new(Ty::F32);
        let image = body.load(BufferId(0), Elem::F32, at(&[(0, 6400), (1, 64), (2, 1), (3, 6400), (4, 64)]));
        let other = body.load(BufferId(1), Elem::F32, at(&[(2, 1), (3, 192), (4, 64)]));
        let value = body.mul(image, other);
        let [y, x, i, j] = lengths.map(Range::Full);
        Nest {
            loops: vec![y, x, Range::Full(64), i, j],
            kept: 3,
            vector: Some(LoopVar(2)),
            body: body.finish(),
            accumulate: vec![Accumulate { op: Combine::Sum, value }],
            finish: Scalars::default(),
        }
    }

    /// A processor with 32 registers of 16 lanes.
    fn wide() -> Target {
        let mut target = Target::of_triple("x86_64-unknown-linux-gnu");
        target.features =
            Target::choose(Some("x86-64-v4"), None).map(|known| known.features).unwrap_or_default();
        target
    }

    /// Vectors that advance together, and the jammed loops, where there are 32 registers.
    fn chosen(lengths: [usize; 4], vectors: u64) -> (u64, Vec<(u32, u64)>) {
        let [y, x, i, j] = lengths.map(|length| length as u64);
        let (unroll, jammed) = choose(&window(lengths), &[y, x, 16 * vectors, i, j], vectors, &wide());
        (unroll, jammed.iter().map(|jam| (jam.along.0, jam.count)).collect())
    }

    #[test]
    fn a_gradient_reads_both_images_once() {
        assert_eq!(chosen([3, 3, 32, 100], 1), (1, vec![(1, 3), (0, 3)]));
        assert_eq!(chosen([3, 3, 32, 100], 4), (2, vec![(1, 3), (0, 3)]));
        assert_eq!(chosen([5, 5, 32, 100], 1), (1, vec![(1, 5)]));
    }

    #[test]
    fn what_lies_apart_along_the_lanes_is_read_in_blocks() {
        // A transpose: y[x, n] = a[n, x] for so many x.
        let chosen = |length: usize| {
            let at = |terms: &[(u32, i64)]| {
                let terms = terms.iter().map(|&(var, by)| (LoopVar(var), by)).collect();
                Affine { base: 0, terms, task: 0 }
            };
            let mut body = ScalarBuilder::new(Ty::F32);
            let entry = body.load(BufferId(0), Elem::F32, at(&[(0, 1), (1, length as i64)]));
            body.store(BufferId(1), at(&[(0, 128), (1, 1)]), entry);
            let nest = Nest {
                loops: vec![Range::Full(length), Range::Full(128)],
                kept: 2,
                vector: Some(LoopVar(1)),
                body: body.finish(),
                accumulate: vec![],
                finish: Scalars::default(),
            };
            let (unroll, jammed) = choose(&nest, &[length as u64, 128], 8, &wide());
            (unroll, jammed.iter().map(|jam| (jam.along.0, jam.count)).collect())
        };
        assert_eq!(chosen(32), (1, vec![(0, 16)]));
        assert_eq!(chosen(28), (1, vec![(0, 14)]));
        assert_eq!(chosen(31), (2, vec![]));
        assert_eq!(chosen(1), (2, vec![]));
    }

    #[test]
    fn a_window_serves_several_positions() {
        assert_eq!(chosen([16, 32, 3, 3], 4), (4, vec![(1, 4)]));
        assert_eq!(chosen([16, 30, 3, 3], 1), (1, vec![(1, 3)]));
        assert_eq!(chosen([1, 31, 3, 3], 4), (4, vec![]));
    }
}

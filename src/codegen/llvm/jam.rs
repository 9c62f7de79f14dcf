//! Which loops of a reduction advance by several positions at once, with a sum in a register for each: what is loaded
//! serves all of them, and no sum waits for itself.

use crate::codegen::target::Target;
use crate::loops::{Inst, LoopVar, Nest};

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
        return (if small { PLAIN.min(vectors) } else { 1 }, vec![]);
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

    /// Vectors that advance together, and the jammed loops, where there are 32 registers.
    fn chosen(lengths: [usize; 4], vectors: u64) -> (u64, Vec<(u32, u64)>) {
        let mut target = Target::of_triple("x86_64-unknown-linux-gnu");
        target.features =
            Target::choose(Some("x86-64-v4"), None).map(|known| known.features).unwrap_or_default();
        let [y, x, i, j] = lengths.map(|length| length as u64);
        let (unroll, jammed) = choose(&window(lengths), &[y, x, 16 * vectors, i, j], vectors, &target);
        (unroll, jammed.iter().map(|jam| (jam.along.0, jam.count)).collect())
    }

    #[test]
    fn a_gradient_reads_both_images_once() {
        assert_eq!(chosen([3, 3, 32, 100], 1), (1, vec![(1, 3), (0, 3)]));
        assert_eq!(chosen([3, 3, 32, 100], 4), (2, vec![(1, 3), (0, 3)]));
        assert_eq!(chosen([5, 5, 32, 100], 1), (1, vec![(1, 5)]));
    }

    #[test]
    fn a_window_serves_several_positions() {
        assert_eq!(chosen([16, 32, 3, 3], 4), (4, vec![(1, 4)]));
        assert_eq!(chosen([16, 30, 3, 3], 1), (1, vec![(1, 3)]));
        assert_eq!(chosen([1, 31, 3, 3], 4), (4, vec![]));
    }
}

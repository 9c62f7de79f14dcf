//! Rows of neighbouring positions, joined. A product at each position of an image has as many rows as there are samples; where the
//! rows of the next position follow in memory, and it sums the same terms, both are one product of twice as many. So a few samples
//! fill tiles, and a number of them that is no multiple of a tile leaves no rest at every position.

use std::borrow::Cow;
use std::ops::Range as Positions;

use super::plan::{KEPT, Order, Plan, Source};
use crate::codegen::family::Family;
use crate::codegen::llvm::pack::TILE;
use crate::codegen::target::Target;
use crate::loops::{Affine, Buffer, Gemm, Inst, LoopVar, Outer, Range, Scalars, Terms};

/// Loops of an epilogue: its rows, and the first of those around the product.
const ROW: LoopVar = LoopVar(0);
const FIRST_OUTER: usize = 2;
/// Rows that vectors of f32 multiply with a panel of B without waiting for sums.
const BUSY: u64 = 6;
/// Rows in whose products a panel of B takes as long as in being packed.
const PACKING: u64 = 96;
/// How much shorter the joined products must be.
const CLEAR: f64 = 0.9;

/// The products into which this one falls, with their plans: itself, or one for each run of positions that are joined.
pub fn parts<'g>(
    gemm: &'g Gemm,
    length: impl Fn(Range) -> u64 + Copy,
    buffers: &[Buffer],
    target: &Target,
) -> Vec<(Cow<'g, Gemm>, Plan)> {
    let plan = Plan::new(gemm, length, buffers, target);
    let own = matches!(plan.order, Order::Windows | Order::WindowGradients | Order::Scatter);
    let joined = (!own && !gemm.outer.is_empty()).then(|| joined(gemm, plan.family, length)).flatten();
    let planned = joined.map(|parts| {
        let plan = |part: Gemm| {
            // One after the other they pack what the note of the thread's scratch memory would say of one of them.
            let plan = Plan { kept: None, ..Plan::new(&part, length, buffers, target) };
            (Cow::Owned(part), plan)
        };
        parts.into_iter().map(plan).collect::<Vec<_>>()
    });
    let near = |plan: &Plan| plan.a == Source::InPlace || plan.a_entries() <= KEPT;
    match planned {
        Some(planned) if planned.iter().all(|(_, plan)| near(plan)) => planned,
        _ => vec![(Cow::Borrowed(gemm), plan)],
    }
}

/// Joins rows along every loop where that pays.
fn joined(gemm: &Gemm, family: Family, length: impl Fn(Range) -> u64 + Copy) -> Option<Vec<Gemm>> {
    let along = |number| Along::of(gemm, number).filter(|along| along.pays(family, length));
    let along = (0..gemm.outer.len()).rev().find_map(along)?;
    let parts = along.runs.iter().map(|run| along.part(run));
    Some(parts.flat_map(|part| joined(&part, family, length).unwrap_or_else(|| vec![part])).collect())
}

/// A loop along which rows go on.
struct Along<'g> {
    gemm: &'g Gemm,
    number: usize,
    rows: usize,
    /// Positions that sum the same terms wherever the other loops are.
    runs: Vec<Positions<usize>>,
}

impl<'g> Along<'g> {
    fn of(gemm: &'g Gemm, number: usize) -> Option<Along<'g>> {
        let outer = &gemm.outer[number];
        let (Range::Full(rows), Range::Full(extent)) = (gemm.m, outer.range) else { return None };
        let follow = outer.strides == (rows * gemm.a.strides.0, 0) && extent > 1;
        let looped = looped(number);
        let goes_on = |index: &Affine| index.along(looped) == rows as i64 * index.along(ROW);
        let same = follow && indices(&gemm.epilogue).all(goes_on) && !counts(&gemm.epilogue, [ROW, looped]);
        let ordered = |other: &Outer| {
            let inside = other.list <= outer.list || outer.list == 0;
            inside || other.list.is_multiple_of(extent * outer.list)
        };
        let runs = (same && gemm.outer.iter().all(ordered)).then(|| runs(&gemm.terms, outer.list, extent))?;
        Some(Along { gemm, number, rows, runs })
    }

    /// Whether the rows of tiles, or of vectors that wait for each other, become clearly fewer; and B is packed for every run.
    fn pays(&self, family: Family, length: impl Fn(Range) -> u64) -> bool {
        let others = self.gemm.outer.iter().enumerate().filter(|(number, _)| *number != self.number);
        let positions: u64 = others.map(|(_, outer)| length(outer.range)).product();
        let of_run = |run: &Positions<usize>| rows_taken(family, (run.len() * self.rows) as u64);
        let extent = self.runs.last().map_or(0, |run| run.end) as u64;
        let before = positions * extent * rows_taken(family, self.rows as u64);
        let packing = (self.runs.len() as u64 - 1) * PACKING;
        let after = positions * self.runs.iter().map(of_run).sum::<u64>() + packing;
        (after as f64) < CLEAR * before as f64
    }

    /// The product of a run of positions.
    fn part(&self, run: &Positions<usize>) -> Gemm {
        let Along { gemm, number, rows, .. } = *self;
        let removed = gemm.outer[number];
        let extent = self.runs.last().map_or(0, |run| run.end);
        let mut part = gemm.clone();
        part.m = Range::Full(rows * run.len());
        part.outer.remove(number);
        for outer in part.outer.iter_mut().filter(|outer| outer.list > removed.list) {
            outer.list /= if removed.list > 0 { extent } else { 1 };
        }
        part.terms = terms_at(&gemm.terms, (removed.list, extent), run.start);
        let by = (run.start * removed.strides.0) as i64;
        part.terms.lists.iter_mut().flatten().for_each(|term| term.0 += by);
        let at = |index: &mut Affine| moved(index, number, run.start as i64);
        part.epilogue.stores.iter_mut().for_each(|store| at(&mut store.index));
        for inst in &mut part.epilogue.insts {
            match inst {
                Inst::Load(_, index) => at(index),
                Inst::Position(position) => *position = behind(*position, number),
                _ => {}
            }
        }
        part
    }
}

/// The time of that many rows, in rows of full tiles.
fn rows_taken(family: Family, rows: u64) -> u64 {
    if !family.by_tiles() {
        return rows.max(BUSY);
    }
    // A tile alone loads as many tiles of B as two do.
    let tiles = rows.div_ceil(TILE);
    TILE * tiles + TILE / 2 * (tiles % 2)
}

fn looped(number: usize) -> LoopVar {
    LoopVar((FIRST_OUTER + number) as u32)
}

fn indices(epilogue: &Scalars) -> impl Iterator<Item = &Affine> {
    epilogue.loads().map(|load| load.1).chain(epilogue.stores.iter().map(|store| &store.index))
}

/// Whether the numbers of these loops' positions are used as such.
fn counts(epilogue: &Scalars, loops: [LoopVar; 2]) -> bool {
    epilogue.insts.iter().any(|inst| matches!(inst, Inst::Position(looped) if loops.contains(looped)))
}

/// The index with a loop around the product at a position of it.
fn moved(index: &mut Affine, number: usize, position: i64) {
    index.base += index.along(looped(number)) * position;
    index.terms.retain(|term| term.0 != looped(number));
    index.terms.iter_mut().for_each(|term| term.0 = behind(term.0, number));
}

/// A loop's name once that loop around the product is gone.
fn behind(var: LoopVar, number: usize) -> LoopVar {
    if var > looped(number) { LoopVar(var.0 - 1) } else { var }
}

/// Neighbouring positions of a loop whose lists are the same for all positions of the others.
fn runs(terms: &Terms, stride: usize, extent: usize) -> Vec<Positions<usize>> {
    let mut differs = vec![false; extent];
    if stride > 0 {
        for place in stride..terms.choice.len() {
            let position = place / stride % extent;
            let [here, before] =
                [place, place - stride].map(|place| &terms.lists[terms.choice[place] as usize]);
            differs[position] |= position > 0 && here != before;
        }
    }
    let starts = (1..extent).filter(|&position| differs[position]);
    let bounds: Vec<usize> = std::iter::once(0).chain(starts).chain([extent]).collect();
    bounds.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// The terms where a loop of that stride and extent is at a position; only lists that occur.
fn terms_at(terms: &Terms, (stride, extent): (usize, usize), position: usize) -> Terms {
    let here = |place: &usize| stride == 0 || place / stride % extent == position;
    let chosen: Vec<u32> = (0..terms.choice.len()).filter(here).map(|place| terms.choice[place]).collect();
    let mut known: Vec<u32> = chosen.clone();
    known.sort_unstable();
    known.dedup();
    let number = |list: u32| known.binary_search(&list).expect("a list that occurs") as u32;
    Terms {
        lists: known.iter().map(|&list| terms.lists[list as usize].clone()).collect(),
        choice: chosen.iter().map(|&list| number(list)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::loops::build::ScalarBuilder;
    use crate::loops::{Arithmetic, BufferId, Operand, Ty};

    /// A row of `columns` positions of a window of three for each of two rows of an image, the second one without its left tap;
    /// so many samples of four channels become three.
    fn image(samples: usize, columns: usize) -> Gemm {
        let place = (4 * samples) as i64;
        let list = |y: i64, x: i64| -> Vec<(i64, i64)> {
            let taps = (y..3).filter(|tap| (0..columns as i64).contains(&(x + tap - 1)));
            taps.map(|tap| ((tap - 1) * place, 12 * tap)).collect()
        };
        let positions = (0..2).flat_map(|y| (0..columns as i64).map(move |x| (y, x)));
        let result = 3 * samples * columns;
        let mut epilogue = ScalarBuilder::new(Ty::F32);
        let sum = epilogue.acc(0, Ty::F32);
        let along = [(0, 3), (1, 1), (2, result), (3, 3 * samples)];
        let terms = along.map(|(number, by)| (LoopVar(number), by as i64)).to_vec();
        epilogue.store(BufferId(2), Affine { base: 7, terms, task: 0 }, sum);
        let operand = |strides| Operand { buffer: BufferId(0), strides };
        Gemm {
            outer: vec![
                Outer { range: Range::Full(2), strides: (4 * samples * columns, 0), list: columns },
                Outer { range: Range::Full(columns), strides: (4 * samples, 0), list: 1 },
            ],
            m: Range::Full(samples),
            n: Range::Full(3),
            k: Range::Full(4),
            a: operand((4, 1)),
            b: operand((3, 1)),
            terms: Terms {
                lists: positions.map(|(y, x)| list(y, x)).collect(),
                choice: (0..2 * columns as u32).collect(),
            },
            arithmetic: Arithmetic::Bf16,
            epilogue: epilogue.finish(),
        }
    }

    fn extent(range: Range) -> u64 {
        match range {
            Range::Full(extent) => extent as u64,
            Range::Chunk => unreachable!("nothing is cut here"),
        }
    }

    /// What is summed for the first column of every row, by where its result goes: offsets of A and of B.
    fn sums(gemm: &Gemm) -> BTreeMap<i64, Vec<(i64, i64)>> {
        let extents: Vec<u64> = gemm.outer.iter().map(|outer| extent(outer.range)).collect();
        let mut sums = BTreeMap::new();
        for number in 0..extents.iter().product::<u64>() {
            let mut left = number;
            let mut at = vec![0; extents.len()];
            for (position, extent) in at.iter_mut().zip(&extents).rev() {
                (*position, left) = ((left % extent) as usize, left / extent);
            }
            let start: usize = gemm.outer.iter().zip(&at).map(|(outer, at)| outer.strides.0 * at).sum();
            for row in 0..extent(gemm.m) as usize {
                let index = &gemm.epilogue.stores[0].index;
                let position = |looped: LoopVar| match looped.index() {
                    0 => row,
                    1 => 0,
                    outer => at[outer - FIRST_OUTER],
                };
                let along = index.terms.iter().map(|(looped, by)| by * position(*looped) as i64);
                let of_a = (start + row * gemm.a.strides.0) as i64;
                let terms = gemm.terms.at(&gemm.outer, &at).iter().map(|term| (term.0 + of_a, term.1));
                let known = sums.insert(index.base + along.sum::<i64>(), terms.collect());
                assert_eq!(known, None, "one result each");
            }
        }
        sums
    }

    #[test]
    fn parts_sum_what_the_whole_does() {
        for (samples, columns) in [(1, 9), (8, 5), (5, 9), (12, 6)] {
            let whole = image(samples, columns);
            let parts = joined(&whole, Family::Tile, |range| 64 * extent(range)).expect("it pays");
            let all: BTreeMap<_, _> = parts.iter().flat_map(sums).collect();
            let count: usize = parts.iter().map(|part| sums(part).len()).sum();
            assert_eq!((&all, count), (&sums(&whole), all.len()), "{samples} samples, {columns} columns");
        }
    }

    #[test]
    fn a_few_samples_fill_tiles_together() {
        let rows = |samples, columns, family| {
            let parts = joined(&image(samples, columns), family, |range| 8 * extent(range));
            parts.map(|parts| parts.iter().map(|part| extent(part.m)).collect::<Vec<_>>())
        };
        // The positions at the border see fewer taps.
        assert_eq!(rows(8, 20, Family::Tile), Some(vec![8, 144, 8]));
        assert_eq!(rows(2, 40, Family::Fma), Some(vec![2, 76, 2]));
        // Rows that fill tiles, or vectors, already, and few positions, for each of which all taps would be packed anew.
        assert_eq!(rows(32, 20, Family::Tile), None);
        assert_eq!(rows(8, 20, Family::Fma), None);
        assert_eq!(rows(8, 2, Family::Tile), None);
    }

    #[test]
    fn rows_that_do_not_follow_each_other_stay_apart() {
        let of = |change: &dyn Fn(&mut Gemm)| {
            let mut gemm = image(8, 20);
            change(&mut gemm);
            joined(&gemm, Family::Tile, |range| 8 * extent(range)).is_some()
        };
        assert!(of(&|_| ()));
        assert!(!of(&|gemm| gemm.outer[1].strides.0 += 4));
        assert!(!of(&|gemm| gemm.outer[1].strides.1 = 12));
        assert!(!of(&|gemm| gemm.m = Range::Chunk));
        assert!(!of(&|gemm| gemm.epilogue.stores[0].index.terms[3].1 += 3));
        assert!(!of(&|gemm| gemm.epilogue.insts.push(Inst::Position(ROW))));
    }
}

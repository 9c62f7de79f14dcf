//! Windows of 3×3 (to 5×5) taps that move by one position along two outer loops, as a product's terms show them.

use std::collections::HashMap;

use super::patch::{Mask, Patch, TAPS, distinct, mask};
use crate::loops::{Gemm, Outer, Range};

/// Such a product: at position (y, x) it sums A(y + i, x + j) · B(i, j) over the taps that exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Stencil {
    /// The outer loops y and x.
    pub loops: [usize; 2],
    /// Offset of A at the first tap, from where the outer loops stand.
    pub origin: i64,
    /// Strides of A along y and x.
    pub strides: [i64; 2],
    /// Offsets of B by tap, row by row of the window.
    pub taps: Vec<i64>,
    /// Taps along each side.
    pub side: usize,
    pub sides: [Along; 2],
    /// Products per position on average.
    pub density: f64,
}

impl Stencil {
    /// `lengths` are those of the outer loops in a task.
    pub fn of(gemm: &Gemm, lengths: &[u64]) -> Option<Stencil> {
        let blind = |outer: &Outer| outer.strides.1 == 0 && outer.strides.0 > 0;
        let numbers: Vec<usize> =
            (0..gemm.outer.len()).filter(|&number| blind(&gemm.outer[number])).collect();
        let pairs = numbers.iter().flat_map(|&y| numbers.iter().map(move |&x| [y, x]));
        pairs.filter(|loops| loops[0] != loops[1]).find_map(|loops| Stencil::along(gemm, loops, lengths))
    }

    fn along(gemm: &Gemm, loops: [usize; 2], lengths: &[u64]) -> Option<Stencil> {
        let others = (0..gemm.outer.len()).filter(|number| !loops.contains(number));
        if others.into_iter().any(|number| gemm.outer[number].list > 0) {
            return None;
        }
        let strides = loops.map(|number| gemm.outer[number].strides.0 as i64);
        let (origin, taps) = window(gemm, strides)?;
        let side = taps.len().isqrt();
        let tap = |a: i64| (0..taps.len()).find(|&tap| origin + at(tap, side, strides) == a);
        let extents = extents(gemm, loops);
        let mut exists = extents.map(|extent| vec![None; extent + side - 1]);
        for (y, x) in (0..extents[0]).flat_map(|y| (0..extents[1]).map(move |x| (y, x))) {
            let place = y * gemm.outer[loops[0]].list + x * gemm.outer[loops[1]].list;
            let list = &gemm.terms.lists[*gemm.terms.choice.get(place)? as usize];
            let mut seen: Vec<usize> = list.iter().filter_map(|&(a, _)| tap(a)).collect();
            seen.sort_unstable();
            seen.dedup();
            let place = |tap: usize| [tap / side, tap % side];
            let has = [0, 1].map(|along| {
                (0..side).map(|row| seen.iter().any(|&tap| place(tap)[along] == row)).collect::<Vec<bool>>()
            });
            let count = |along: usize| has[along].iter().filter(|&&has| has).count();
            if seen.is_empty() || seen.len() != list.len() || seen.len() != count(0) * count(1) {
                return None;
            }
            for (along, position) in [y, x].into_iter().enumerate() {
                for (row, &has) in has[along].iter().enumerate() {
                    if *exists[along][position + row].get_or_insert(has) != has {
                        return None;
                    }
                }
            }
        }
        let sides = [0, 1]
            .map(|along| Along::new(&exists[along], side, &gemm.outer[loops[along]], lengths[loops[along]]));
        let lists = gemm.terms.choice.iter().map(|&list| gemm.terms.lists[list as usize].len());
        let density = lists.sum::<usize>() as f64 / gemm.terms.choice.len() as f64;
        Some(Stencil { loops, origin, strides, taps, side, sides, density })
    }

    /// What patches of that shape find along both sides; None where that is not known.
    pub fn patches(&self, patch: Patch) -> Option<[Masks; 2]> {
        let masks = |along: usize| self.sides[along].masks(patch.results[along], patch.extents()[along]);
        Some([masks(0)?, masks(1)?])
    }
}

/// Which of A there is along one of the loops.
#[derive(Clone, Debug, PartialEq)]
pub struct Along {
    /// By row of A, from the first tap's on; empty where all exist.
    exists: Vec<bool>,
    /// Of the loop; None where all exist, however many there are.
    positions: Option<usize>,
    /// Of the loop in the task.
    length: usize,
}

/// What patches find along one side.
#[derive(Clone, Debug, PartialEq)]
pub struct Masks {
    /// By position, or one for all.
    pub at: Vec<Mask>,
    /// The different ones at positions where patches may begin.
    pub kinds: Vec<Mask>,
}

impl Along {
    fn new(exists: &[Option<bool>], taps: usize, outer: &Outer, length: u64) -> Along {
        let (exists, positions) = match (outer.list, outer.range) {
            (0, Range::Full(extent)) => (vec![true; extent + taps - 1], Some(extent)),
            (0, Range::Chunk) => (vec![], None),
            _ => {
                let known = exists.iter().map(|row| row.unwrap_or(false)).collect();
                (known, Some(exists.len() - (taps - 1)))
            }
        };
        Along { exists, positions, length: (length as usize).max(1) }
    }

    /// Of patches with so many results, which see so much.
    fn masks(&self, results: usize, extent: usize) -> Option<Masks> {
        let Some(positions) = self.positions else {
            let all = vec![mask(0, extent, |_| true)];
            return self.length.is_multiple_of(results).then(|| Masks { at: all.clone(), kinds: all });
        };
        let row = |row: usize| self.exists.get(row).copied().unwrap_or(false);
        let at: Vec<Mask> = (0..positions).map(|position| mask(position, extent, row)).collect();
        // Tasks of this length begin at multiples of it, or are the last, shorter one.
        let last = positions.saturating_sub(self.length);
        let starts = (0..=last).step_by(self.length).chain([last]);
        let begins = starts.flat_map(|start| (start..start + self.length).step_by(results));
        let kinds = distinct(begins.filter_map(|position| at.get(position).copied()));
        Some(Masks { at, kinds })
    }
}

/// Offset of a tap from the first one, where a window has so many along each side.
fn at(tap: usize, side: usize, strides: [i64; 2]) -> i64 {
    (tap / side) as i64 * strides[0] + (tap % side) as i64 * strides[1]
}

/// Offset of A at the first tap, and those of B at all, if the terms are the taps of a square at these strides.
fn window(gemm: &Gemm, strides: [i64; 2]) -> Option<(i64, Vec<i64>)> {
    let mut terms: HashMap<i64, i64> = HashMap::new();
    for &(a, b) in gemm.terms.lists.iter().flatten() {
        if *terms.entry(a).or_insert(b) != b {
            return None;
        }
    }
    let origin = *terms.keys().min()?;
    let side = terms.len().isqrt();
    if side * side != terms.len() || !TAPS.contains(&side) {
        return None;
    }
    let offset = |tap: usize| terms.get(&(origin + at(tap, side, strides))).copied();
    let taps = (0..terms.len()).map(offset).collect::<Option<Vec<i64>>>()?;
    Some((origin, taps))
}

/// Positions along both loops among which the terms differ; 1 along a loop where they do not.
fn extents(gemm: &Gemm, loops: [usize; 2]) -> [usize; 2] {
    let lists = loops.map(|number| gemm.outer[number].list);
    let all = gemm.terms.choice.len();
    [0, 1].map(|side| match (lists[side], lists[1 - side]) {
        (0, _) => 1,
        (own, other) if other > own => other / own,
        (own, _) => all / own,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::{Arithmetic, BufferId, Operand, Terms};

    /// A window of `taps`×3 with a border of one on an image of 4×5 positions.
    fn image(taps: i64) -> Gemm {
        let (height, width) = (4, 5);
        let (mut lists, mut choice) = (Vec::new(), Vec::new());
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let taps = (0..taps).flat_map(|i| (0..3).map(move |j| (i, j)));
            let inside = |&(i, j): &(i64, i64)| {
                (0..height).contains(&(y + i - 1)) && (0..width).contains(&(x + j - 1))
            };
            let offset = |(i, j): (i64, i64)| ((i - 1) * 50 + (j - 1) * 10, i * 3 + j);
            choice.push(lists.len() as u32);
            lists.push(taps.filter(inside).map(offset).collect());
        }
        let outer = |extent, stride, list| Outer { range: Range::Full(extent), strides: (stride, 0), list };
        let operand = |strides| Operand { buffer: BufferId(0), strides };
        Gemm {
            outer: vec![outer(4, 50, 5), outer(5, 10, 1)],
            m: Range::Full(8),
            n: Range::Full(16),
            k: Range::Full(16),
            a: operand((200, 1)),
            b: operand((1, 16)),
            terms: Terms { lists, choice },
            arithmetic: Arithmetic::F32,
            epilogue: Default::default(),
        }
    }

    #[test]
    fn a_window_with_a_border_is_found() {
        let stencil = Stencil::of(&image(3), &[4, 5]).unwrap();
        assert_eq!((stencil.loops, stencil.origin, stencil.strides), ([0, 1], -60, [50, 10]));
        assert_eq!(stencil.taps, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        let [y, x] = stencil.patches(Patch::SMALL).unwrap();
        assert_eq!(y.at, [0b1110, 0b1111, 0b0111, 0b0011]);
        assert_eq!(y.kinds, [0b0111, 0b1110]);
        assert_eq!(x.at, [0b1110, 0b1111, 0b1111, 0b0111, 0b0011]);
        let [y, x] = stencil.patches(Patch { taps: 3, results: [4, 4] }).unwrap();
        assert_eq!((y.at.len(), y.kinds), (4, vec![0b011110]));
        assert_eq!(x.at, [0b111110, 0b011111, 0b001111, 0b000111, 0b000011]);
        assert_eq!(x.kinds, [0b000011, 0b111110]);
        assert_eq!((stencil.density * 20.0).round(), 130.0);
    }

    /// Tasks of so many rows each, the last one with what is left.
    fn rows_in_tasks(length: u64) -> Masks {
        let mut gemm = image(3);
        gemm.outer[0].range = Range::Chunk;
        let [y, _] = Stencil::of(&gemm, &[length, 5]).unwrap().patches(Patch::SMALL).unwrap();
        y
    }

    #[test]
    fn patches_begin_where_tasks_do() {
        assert_eq!(rows_in_tasks(2).kinds, [0b0111, 0b1110]);
        // The first task of three rows, as if another one could end the image; the second task has the last row.
        assert_eq!(rows_in_tasks(3).kinds, [0b0011, 0b0111, 0b1110, 0b1111]);
        assert_eq!(rows_in_tasks(1).kinds, [0b0011, 0b0111, 0b1110, 0b1111]);
    }

    #[test]
    fn other_windows_are_none() {
        assert_eq!(Stencil::of(&image(2), &[4, 5]), None);
        let mut strided = image(3);
        strided.outer[1].strides.0 = 20;
        assert_eq!(Stencil::of(&strided, &[4, 5]), None);
        let mut hole = image(3);
        hole.terms.lists[7].remove(4);
        assert_eq!(Stencil::of(&hole, &[4, 5]), None);
        let mut twice = image(3);
        twice.terms.lists[7][4] = twice.terms.lists[7][3];
        assert_eq!(Stencil::of(&twice, &[4, 5]), None);
        let mut other = image(3);
        other.terms.lists[7][4].1 = 77;
        assert_eq!(Stencil::of(&other, &[4, 5]), None);
    }
}

//! Gradients of windows of 3×3 (to 5×5) taps, as a product's terms show them: for every tap a sum over all positions of an image, of
//! which one operand stays and the other slides with the tap.

use std::collections::BTreeMap;

use super::patch::{Mask, Patch, TAPS, mask};
use crate::loops::{Gemm, Outer, Range};

/// Such a product: at tap (i, j) it sums F(y, x)·S(y + i, x + j) over the positions (y, x) where S exists.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    /// The outer loops i and j.
    pub loops: [usize; 2],
    /// Whether B is S, the operand that slides; else A is.
    pub b_slides: bool,
    /// Offsets of F(0, 0) and S(0, 0), at the first tap.
    pub origins: [i64; 2],
    /// Strides of F and S along y and x.
    pub strides: [[i64; 2]; 2],
    /// Positions along y and x.
    pub extents: [usize; 2],
    /// Taps along each side.
    pub taps: usize,
    /// Rows and columns of S that exist.
    exists: [Vec<bool>; 2],
    /// Terms of all taps.
    pub terms: usize,
}

/// A tap, and the offsets of F and S of one of its terms.
type Found = ([usize; 2], [i64; 2]);

impl Gradient {
    pub fn of(gemm: &Gemm) -> Option<Gradient> {
        let numbers = || 0..gemm.outer.len();
        let pairs =
            numbers().flat_map(|i| numbers().map(move |j| [i, j])).filter(|loops| loops[0] != loops[1]);
        pairs
            .flat_map(|loops| [(loops, false), (loops, true)])
            .find_map(|(loops, b)| Gradient::along(gemm, loops, b))
    }

    fn along(gemm: &Gemm, loops: [usize; 2], b_slides: bool) -> Option<Gradient> {
        let Range::Full(taps) = gemm.outer[loops[0]].range else { return None };
        let sides = |(a, b): (i64, i64)| if b_slides { [a, b] } else { [b, a] };
        let strides = |outer: &Outer| sides((outer.strides.0 as i64, outer.strides.1 as i64));
        let tap = |&number: &usize| {
            let [fixed, sliding] = strides(&gemm.outer[number]);
            fixed == 0 && sliding > 0 && gemm.outer[number].range == Range::Full(taps)
        };
        let mut others = (0..gemm.outer.len()).filter(|number| !loops.contains(number));
        let sliding = loops.map(|number| strides(&gemm.outer[number])[1]);
        if !TAPS.contains(&taps)
            || !loops.iter().all(tap)
            || sliding[0] <= sliding[1]
            || others.any(|number| gemm.outer[number].list > 0)
        {
            return None;
        }
        let mut found: Vec<Found> = Vec::new();
        for (i, j) in (0..taps).flat_map(|i| (0..taps).map(move |j| (i, j))) {
            let place = i * gemm.outer[loops[0]].list + j * gemm.outer[loops[1]].list;
            let list = &gemm.terms.lists[*gemm.terms.choice.get(place)? as usize];
            found.extend(list.iter().map(|&term| ([i, j], sides(term))));
        }
        let grid = Grid::of(&found, sliding)?;
        let exists = grid.exists(&found, taps)?;
        let Grid { origins, fixed, extents, .. } = grid;
        Some(Gradient {
            loops,
            b_slides,
            origins,
            strides: [fixed, sliding],
            extents,
            taps,
            exists,
            terms: found.len(),
        })
    }

    /// Rows and columns of S before the first ones that exist.
    pub fn border(&self) -> [usize; 2] {
        [0, 1].map(|side| self.exists[side].iter().take_while(|&&exists| !exists).count())
    }

    /// What there is of each patch of a shape along one side: the rows of S that it sees, and behind these bits the rows of F.
    pub fn patches(&self, side: usize, patch: Patch) -> Vec<Mask> {
        let (extent, results, sees) = (self.extents[side], patch.results[side], patch.extents()[side]);
        let sliding = |row: usize| self.exists[side].get(row).copied().unwrap_or(false);
        let patch =
            |first: usize| mask(first, sees, sliding) | mask(first, results, |row| row < extent) << sees;
        (0..extent).step_by(results).map(patch).collect()
    }

    /// The masks of what exists of S and of F in a patch which sees so much.
    pub fn masks(patch: Mask, sees: usize) -> [Mask; 2] {
        [patch & ((1 << sees) - 1), patch >> sees]
    }
}

/// The positions that terms run over.
struct Grid {
    /// By the offset of F: position.
    positions: BTreeMap<i64, [usize; 2]>,
    origins: [i64; 2],
    fixed: [i64; 2],
    extents: [usize; 2],
}

impl Grid {
    fn of(found: &[Found], sliding: [i64; 2]) -> Option<Grid> {
        let mut offsets: BTreeMap<i64, i64> = BTreeMap::new();
        for &(_, [fixed, slid]) in found {
            if *offsets.entry(fixed).or_insert(slid) != slid {
                return None;
            }
        }
        let first = *offsets.values().min()?;
        let place = |slid: i64| {
            let (y, rest) = ((slid - first) / sliding[0], (slid - first) % sliding[0]);
            (rest % sliding[1] == 0).then(|| [y as usize, (rest / sliding[1]) as usize])
        };
        let positions: BTreeMap<i64, [usize; 2]> =
            offsets.iter().map(|(&fixed, &slid)| Some((fixed, place(slid)?))).collect::<Option<_>>()?;
        let extents = [0, 1].map(|side| positions.values().map(|at| at[side] + 1).max().unwrap_or(0));
        let at = |wanted: [usize; 2]| positions.iter().find(|entry| *entry.1 == wanted).map(|entry| *entry.0);
        let origin = at([0, 0])?;
        let fixed = [[1, 0], [0, 1]].map(|step| at(step).map_or(0, |next| next - origin));
        let affine = |(&offset, at): (&i64, &[usize; 2])| {
            offset == origin + at[0] as i64 * fixed[0] + at[1] as i64 * fixed[1]
        };
        let whole = positions.len() == extents[0] * extents[1] && positions.iter().all(affine);
        whole.then_some(Grid { positions, origins: [origin, first], fixed, extents })
    }

    /// Which rows and columns of S exist, if that is all that decides which terms there are.
    fn exists(&self, found: &[Found], side: usize) -> Option<[Vec<bool>; 2]> {
        let mut exists = self.extents.map(|extent| vec![false; extent + side - 1]);
        for (tap, [fixed, _]) in found {
            let at = self.positions[fixed];
            (0..2).for_each(|side| exists[side][at[side] + tap[side]] = true);
        }
        // As many terms as there should be, all of them where they should be, and none twice.
        let count = |side: usize, tap: usize| {
            (0..self.extents[side]).filter(|position| exists[side][position + tap]).count()
        };
        let taps = (0..side).flat_map(|i| (0..side).map(move |j| [i, j]));
        let all = taps.map(|tap| count(0, tap[0]) * count(1, tap[1]));
        let mut seen: Vec<([usize; 2], i64)> = found.iter().map(|&(tap, [fixed, _])| (tap, fixed)).collect();
        seen.sort_unstable();
        seen.dedup();
        (seen.len() == found.len() && all.sum::<usize>() == found.len()).then_some(exists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::{Arithmetic, BufferId, Operand, Terms};

    /// Taps of a window with a border of one on an image of 3×4 positions; A stays and B slides.
    fn image() -> Gemm {
        let (height, width) = (3, 4);
        let list = |i: i64, j: i64| {
            let positions = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
            let inside = positions
                .filter(|(y, x)| (0..height).contains(&(y + i - 1)) && (0..width).contains(&(x + j - 1)));
            inside.map(|(y, x)| (y * 400 + x * 100, (y - 1) * 80 + (x - 1) * 20)).collect::<Vec<(i64, i64)>>()
        };
        let outer = |stride, list| Outer { range: Range::Full(3), strides: (0, stride), list };
        let operand = |strides| Operand { buffer: BufferId(0), strides };
        Gemm {
            // The loop over columns of the window comes first.
            outer: vec![outer(20, 1), outer(80, 3)],
            m: Range::Full(5),
            n: Range::Full(4),
            k: Range::Full(5),
            a: operand((1, 20)),
            b: operand((4, 1)),
            terms: Terms {
                lists: (0..3).flat_map(|i| (0..3).map(move |j| list(i, j))).collect(),
                choice: (0..9).collect(),
            },
            arithmetic: Arithmetic::F32,
            epilogue: Default::default(),
        }
    }

    #[test]
    fn the_gradient_of_a_window_is_found() {
        let gradient = Gradient::of(&image()).unwrap();
        assert_eq!((gradient.loops, gradient.b_slides), ([1, 0], true));
        assert_eq!((gradient.origins, gradient.strides), ([0, -100], [[400, 100], [80, 20]]));
        assert_eq!((gradient.extents, gradient.terms), ([3, 4], 7 * 10));
        let large = Patch { taps: 3, results: [4, 4] };
        assert_eq!(gradient.patches(0, Patch::SMALL), [0b11_1110, 0b01_0011]);
        assert_eq!(gradient.patches(1, Patch::SMALL), [0b11_1110, 0b11_0111]);
        assert_eq!(gradient.patches(1, large), [0b1111_011110]);
        assert_eq!(gradient.patches(0, large), [0b0111_001110]);
        assert_eq!(Gradient::masks(0b11_0111, 4), [0b0111, 0b11]);
        assert_eq!(Gradient::masks(0b01_0011, 4), [0b0011, 0b01]);
    }

    #[test]
    fn other_sums_are_none() {
        let mut hole = image();
        hole.terms.lists[4].remove(5);
        assert_eq!(Gradient::of(&hole), None);
        let mut twice = image();
        twice.terms.lists[4][5] = twice.terms.lists[4][6];
        assert_eq!(Gradient::of(&twice), None);
        let mut scattered = image();
        scattered.terms.lists.iter_mut().flatten().filter(|term| term.0 == 500).for_each(|term| term.0 = 501);
        assert_eq!(Gradient::of(&scattered), None);
        let mut both = image();
        both.outer[0].strides.0 = 7;
        assert_eq!(Gradient::of(&both), None);
    }
}

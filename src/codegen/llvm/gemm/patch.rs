//! Windows of so many taps along both sides, and the patches that neighbouring ones see.

use std::ops::RangeInclusive;

use super::winograd::{PAIRS, points};
use crate::codegen::target::Target;

/// Taps along a side of windows that are transformed. With fewer there is nothing to gain; more take numbers that differ too
/// much in size.
pub const TAPS: RangeInclusive<usize> = 3..=5;

/// What of a patch exists along one side: bit i says that its row i does.
pub type Mask = u16;

/// What neighbouring windows see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Of a window along each side.
    pub taps: usize,
    /// How many windows, along both sides, it gives the results of.
    pub results: [usize; 2],
}

impl Patch {
    pub const SMALL: Patch = Patch { taps: 3, results: [2, 2] };

    /// The shapes for windows of so many taps that take up to `most` products along a side, the largest first.
    pub fn of(taps: usize, most: usize) -> impl Iterator<Item = Patch> {
        let sides = PAIRS.iter().map(|pairs| points(pairs));
        let sides = sides.filter(move |&points| points <= most && points > taps);
        let results = sides.map(move |points| points + 1 - taps);
        let columns = results.clone();
        let pairs = results.flat_map(move |rows| columns.clone().map(move |columns| [rows, columns]));
        pairs.map(move |results| Patch { taps, results })
    }

    /// Positions that the windows see along both sides.
    pub fn extents(self) -> [usize; 2] {
        self.results.map(|results| results + self.taps - 1)
    }

    /// Taps of a window.
    pub fn window(self) -> u64 {
        (self.taps * self.taps) as u64
    }

    /// Products that take the place of one per tap and result.
    pub fn products(self) -> u64 {
        self.extents().iter().product::<usize>() as u64
    }

    pub fn results(self) -> u64 {
        self.results.iter().product::<usize>() as u64
    }

    /// Of three things the one for small patches, for larger ones, and for larger ones that registers do not hold.
    pub fn by_size<T: Copy>(self, target: &Target, [small, large, crowded]: [T; 3]) -> T {
        match self {
            _ if self.extents() == [4, 4] => small,
            _ if target.vector_registers() < 32 => crowded,
            _ => large,
        }
    }

    /// How many it takes to cover so many positions.
    pub fn count(self, positions: [u64; 2]) -> u64 {
        (0..2).map(|side| positions[side].div_ceil(self.results[side] as u64)).product()
    }
}

/// What of `extent` rows from `first` on exists.
pub fn mask(first: usize, extent: usize, exists: impl Fn(usize) -> bool) -> Mask {
    (0..extent).map(|i| Mask::from(exists(first + i)) << i).sum()
}

/// The different ones, in order.
pub fn distinct(kinds: impl IntoIterator<Item = Mask>) -> Vec<Mask> {
    let mut kinds: Vec<Mask> = kinds.into_iter().collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

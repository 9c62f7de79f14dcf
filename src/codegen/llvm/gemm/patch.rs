//! Windows of 3×3 and the patches that neighbouring ones see.

use crate::codegen::target::Target;

/// Taps of a window along one side.
pub const TAPS: usize = 3;

/// What of a patch exists along one side: bit i says that its row i does.
pub type Mask = u16;

/// How many windows, along both sides, a patch gives the results of: 2 or 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch(pub [usize; 2]);

impl Patch {
    pub const SMALL: Patch = Patch([2, 2]);
    /// The largest first.
    pub const ALL: [Patch; 4] = [Patch([4, 4]), Patch([4, 2]), Patch([2, 4]), Patch::SMALL];

    /// Positions that the windows see along both sides.
    pub fn extents(self) -> [usize; 2] {
        self.0.map(|results| results + TAPS - 1)
    }

    /// Products that take the place of nine for every result.
    pub fn products(self) -> u64 {
        self.extents().iter().product::<usize>() as u64
    }

    pub fn results(self) -> u64 {
        self.0.iter().product::<usize>() as u64
    }

    /// Of three things the one for small patches, for larger ones, and for larger ones that registers do not hold.
    pub fn by_size<T: Copy>(self, target: &Target, [small, large, crowded]: [T; 3]) -> T {
        match self {
            Patch::SMALL => small,
            _ if target.vector_registers() < 32 => crowded,
            _ => large,
        }
    }

    /// How many it takes to cover so many positions.
    pub fn count(self, positions: [u64; 2]) -> u64 {
        (0..2).map(|side| positions[side].div_ceil(self.0[side] as u64)).product()
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

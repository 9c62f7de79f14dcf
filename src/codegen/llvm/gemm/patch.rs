//! Windows of 3×3 and the patches that two by two of them see.

/// Taps of a window along one loop.
pub const TAPS: usize = 3;
/// Rows that two neighbouring windows see together.
pub const PATCH: usize = 4;

/// Bit i says that row `first` + i of a patch exists.
pub fn mask(first: usize, exists: impl Fn(usize) -> bool) -> u8 {
    (0..PATCH).map(|i| u8::from(exists(first + i)) << i).sum()
}

/// The different ones, in order.
pub fn distinct(kinds: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let mut kinds: Vec<u8> = kinds.into_iter().collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

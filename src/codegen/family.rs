//! Families of micro-kernels, and which one a contraction gets on a target.

use super::target::Target;
use crate::loops::Arithmetic;

/// How products are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Multiply-adds of f32.
    Fma,
    /// The same on operands rounded to bf16: their products are exact in f32.
    Rounded,
    /// Sums of two products of bf16 in vectors.
    Dot,
    /// Tiles of bf16 (AMX).
    Tile,
    /// Tiles again, each f32 in three parts of bf16, six products for one.
    Split,
}

/// Sums of fewer entries along k are made by multiply-adds, of fewer rows those shorter than a tile, as in the gradient of a first
/// layer for few images: what is packed for other kernels would be used too little.
const SHORT: u64 = 8;

/// Sides of a tile, and the length of its sum.
const TILE: [u64; 3] = [16, 16, 32];

/// Share of the tiles that must be filled for them to pay.
const FILLED: f64 = 1.0 / 6.0;

/// Cycles per multiply-add of f32 on one core: by vectors; and of three planes in full tiles. Fitted to `cargo bench --bench gemm` on an
/// Emerald Rapids, whose tile unit alone takes 6/512.
const BY_VECTORS: f64 = 1.0 / 28.0;
const BY_PLANES: f64 = 1.0 / 65.0;

/// Cycles to split an entry into planes.
const SPLITTING: f64 = 0.6;

/// How large the advantage of planes must be by these numbers, which take operands for near: of 1.7, 1.3 was left in products of 1024
/// rows that come from a third-level cache, and of 1.04 nothing (dense layers of 1024 and of 128 units, same machine).
const CLEAR: f64 = 1.2;

/// Products of bf16 in the time of one of f32, both in vectors.
const DOT: f64 = 2.0;

impl Family {
    /// For contractions of this size in a task: rows, columns, length of a term's sum; `divided` says whether the rows are but a
    /// part of all. What decides whether operands are rounded must be the same for all parts.
    pub fn of(arithmetic: Arithmetic, target: &Target, size: [u64; 3], divided: bool) -> Family {
        let little = size[2] < SHORT || (!divided && size[0] < SHORT && size[2] < TILE[2]);
        let tiles = |pays: bool| target.emulates_tiles() || (target.has_tiles() && pays);
        match arithmetic {
            Arithmetic::F32 if tiles(advantage_of_planes(size) > CLEAR) => Family::Split,
            Arithmetic::Fma | Arithmetic::F32 => Family::Fma,
            Arithmetic::Bf16 if little && !target.emulates_tiles() => Family::Fma,
            Arithmetic::Bf16 if tiles(filled(size) >= FILLED) => Family::Tile,
            Arithmetic::Bf16 if target.has_bf16() => Family::Dot,
            Arithmetic::Bf16 => Family::Rounded,
        }
    }

    /// The families whose kernels may multiply the transformed operands of windows, the best first, and how many times as fast
    /// direct products of this one are as direct ones of theirs, for contractions of this size.
    pub fn of_windows(self, arithmetic: Arithmetic, size: [u64; 3]) -> Vec<(Family, f64)> {
        match self {
            Family::Fma if arithmetic == Arithmetic::Fma => vec![],
            Family::Fma | Family::Rounded => vec![(Family::Fma, 1.0)],
            Family::Dot => vec![(Family::Dot, 1.0), (Family::Fma, DOT)],
            Family::Split => vec![(Family::Fma, advantage_of_planes(size))],
            Family::Tile => vec![],
        }
    }

    /// Entries of a sum that one step of the kernel takes together, in 32 bits.
    pub fn entries_per_step(self) -> u64 {
        match self {
            Family::Fma | Family::Rounded => 1,
            Family::Dot | Family::Tile | Family::Split => 2,
        }
    }

    /// Entries of a sum that the kernel counts as one.
    pub fn turn(self) -> u64 {
        if self.by_tiles() { TILE[2] } else { self.entries_per_step() }
    }

    /// Parts of bf16 into which an entry is split.
    pub fn planes(self) -> u64 {
        if self == Family::Split { 3 } else { 1 }
    }

    pub fn by_tiles(self) -> bool {
        matches!(self, Family::Tile | Family::Split)
    }
}

/// Which share of the tiles that cover a contraction is filled.
fn filled(size: [u64; 3]) -> f64 {
    let share = |(&extent, side): (&u64, u64)| extent as f64 / extent.next_multiple_of(side) as f64;
    size.iter().zip(TILE).map(share).product()
}

/// How many times as fast three planes on tiles are as multiply-adds of f32, where both operands are split for one contraction.
fn advantage_of_planes(size: [u64; 3]) -> f64 {
    let [m, n, _] = size.map(|extent| extent as f64);
    BY_VECTORS / (BY_PLANES / filled(size) + SPLITTING * (1.0 / m + 1.0 / n))
}

/// What `bench` calls the way that large contractions of this arithmetic take on the target.
pub fn describe(arithmetic: Arithmetic, target: &Target) -> String {
    let tiles = if target.emulates_tiles() { "emulated AMX" } else { "AMX" };
    let large = [1 << 20; 3];
    let family = Family::of(arithmetic, target, large, false);
    let fma = if target.has_fma() { "f32 by FMA" } else { "f32 by multiplication and addition" };
    let way = match family {
        Family::Fma => fma.into(),
        Family::Rounded => "bf16 emulated by f32".into(),
        Family::Dot => "bf16 by vdpbf16ps".into(),
        Family::Tile => format!("bf16 by {tiles}"),
        Family::Split => format!("f32 by three bf16 planes on {tiles}"),
    };
    let Some(&(by, _)) = family.of_windows(arithmetic, large).first() else { return way };
    let patches = match by {
        Family::Fma if target.has_fma() => "F(4x4, 3x3)",
        _ => "F(2x2, 3x3)",
    };
    let with = if by == family { String::new() } else { format!(" and {fma}") };
    format!("{way}, windows of 3x3 by Winograd's {patches}{with}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(arithmetic: Arithmetic, size: [u64; 3]) -> Family {
        let target = Target::choose(Some("sapphirerapids"), None).expect("a known processor");
        Family::of(arithmetic, &target, size, false)
    }

    #[test]
    fn planes_pay_where_both_operands_are_used_often() {
        assert_eq!(family(Arithmetic::F32, [128, 128, 1024]), Family::Split);
        assert_eq!(family(Arithmetic::F32, [64, 32, 128]), Family::Fma);
        assert_eq!(family(Arithmetic::F32, [2048, 32, 128]), Family::Fma);
        assert_eq!(family(Arithmetic::F32, [1, 1024, 1024]), Family::Fma);
        assert_eq!(family(Arithmetic::Fma, [128, 128, 1024]), Family::Fma);
    }

    #[test]
    fn tiles_of_bf16_pay_where_enough_of_them_is_filled() {
        assert_eq!(family(Arithmetic::Bf16, [128, 16, 16]), Family::Tile);
        assert_eq!(family(Arithmetic::Bf16, [8, 16, 128]), Family::Tile);
        assert_eq!(family(Arithmetic::Bf16, [128, 10, 1024]), Family::Tile);
        assert_eq!(family(Arithmetic::Bf16, [1, 1024, 1024]), Family::Dot);
        // The first layer of an image network, and its gradient for eight images.
        assert_eq!(family(Arithmetic::Bf16, [128, 64, 3]), Family::Fma);
        assert_eq!(family(Arithmetic::Bf16, [3, 64, 8]), Family::Fma);
    }
}

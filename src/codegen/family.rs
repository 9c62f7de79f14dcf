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

/// Sums of fewer entries along k are made by multiply-adds: what is packed for other kernels would be used too little.
const SHORT: u64 = 8;

/// Sides of a product, and length of its sum, from which tiles are filled well enough.
const FULL_TILES: [u64; 3] = [8, 16, 16];

/// Products of bf16 in the time of one of f32, both in vectors.
const DOT: f64 = 2.0;

/// Products of f32 by tiles in the time of one by multiply-adds: 2.5 at the peaks of a Sapphire Rapids, less what packing takes.
const SPLIT: f64 = 2.0;

impl Family {
    /// For contractions of this size: rows, columns, length of a term's sum.
    pub fn of(arithmetic: Arithmetic, target: &Target, size: [u64; 3]) -> Family {
        let full = size.iter().zip(FULL_TILES).all(|(&extent, least)| extent >= least);
        let tiles = target.emulates_tiles() || (target.has_tiles() && full);
        match arithmetic {
            Arithmetic::F32 if tiles => Family::Split,
            Arithmetic::Fma | Arithmetic::F32 => Family::Fma,
            Arithmetic::Bf16 if tiles => Family::Tile,
            Arithmetic::Bf16 if size[2] < SHORT => Family::Fma,
            Arithmetic::Bf16 if target.has_bf16() => Family::Dot,
            Arithmetic::Bf16 => Family::Rounded,
        }
    }

    /// The families whose kernels may multiply the transformed operands of windows, the best first, and how many times as fast
    /// direct products of this one are as direct ones of theirs.
    pub fn of_windows(self, arithmetic: Arithmetic) -> &'static [(Family, f64)] {
        match self {
            Family::Fma if arithmetic == Arithmetic::Fma => &[],
            Family::Fma | Family::Rounded => &[(Family::Fma, 1.0)],
            Family::Dot => &[(Family::Dot, 1.0), (Family::Fma, DOT)],
            Family::Split => &[(Family::Fma, SPLIT)],
            Family::Tile => &[],
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
        if self.by_tiles() { 32 } else { self.entries_per_step() }
    }

    /// Parts of bf16 into which an entry is split.
    pub fn planes(self) -> u64 {
        if self == Family::Split { 3 } else { 1 }
    }

    pub fn by_tiles(self) -> bool {
        matches!(self, Family::Tile | Family::Split)
    }
}

/// What `bench` calls the way that large contractions of this arithmetic take on the target.
pub fn describe(arithmetic: Arithmetic, target: &Target) -> String {
    let tiles = if target.emulates_tiles() { "emulated AMX" } else { "AMX" };
    let family = Family::of(arithmetic, target, [u64::MAX; 3]);
    let fma = if target.has_fma() { "f32 by FMA" } else { "f32 by multiplication and addition" };
    let way = match family {
        Family::Fma => fma.into(),
        Family::Rounded => "bf16 emulated by f32".into(),
        Family::Dot => "bf16 by vdpbf16ps".into(),
        Family::Tile => format!("bf16 by {tiles}"),
        Family::Split => format!("f32 by three bf16 planes on {tiles}"),
    };
    let Some(&(by, _)) = family.of_windows(arithmetic).first() else { return way };
    let patches = match by {
        Family::Fma if target.has_fma() => "F(4x4, 3x3)",
        _ => "F(2x2, 3x3)",
    };
    let with = if by == family { String::new() } else { format!(" and {fma}") };
    format!("{way}, windows of 3x3 by Winograd's {patches}{with}")
}

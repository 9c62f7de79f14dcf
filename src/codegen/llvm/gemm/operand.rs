//! Where the kernel reads its operands, and how many rows of A a register tile takes.

use super::blocks::Block;
use super::plan::{LINE, even_share};
use crate::codegen::family::Family;
use crate::codegen::llvm::pack::TILE;
use crate::codegen::target::Target;
use crate::loops::{Gemm, Operand};

/// Lines that a set of the first-level cache holds; rows of a tile should leave some of them to B.
const WAYS_FOR_ROWS: u64 = 8;
/// Lines of a way.
const SETS: u64 = 64;
/// Entries between the first and the last row of an operand that lies near.
const NEAR: u64 = 1 << 14;

/// Where the kernel reads an operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    InPlace,
    Packed,
}

/// A is read in place where its rows run along k (one line then serves many steps), or when it is read just once, or is near.
pub fn a_source(a: Operand, family: Family, panels: u64, near: bool) -> Source {
    let in_place = a.strides.1 == 1 || (a.strides.0 == 1 && (panels <= 1 || near));
    if family == Family::Fma && in_place { Source::InPlace } else { Source::Packed }
}

/// Whether an operand whose entries along k lie so far apart stays on few pages and in a second-level cache as it is, so that a
/// copy would spare little.
pub fn near(gemm: &Gemm, along_k: usize, blocks: &[Block]) -> bool {
    gemm.outer.is_empty() && matches!(blocks, [all] if all.k * along_k as u64 <= NEAR)
}

/// Rows of bf16 along k are what kernels of bf16 read, where no step reaches beyond a row, and no tile beyond the last: there are
/// rows for a whole one.
/// `whole` says whether all blocks are a multiple of some steps ([`whole_turns`]).
pub fn halves_source(a: Operand, family: Family, m: u64, whole: bool) -> Source {
    let fits = match family {
        Family::Dot => whole,
        Family::Tile => whole && m >= TILE,
        Family::Fma | Family::Rounded | Family::Split => false,
    };
    if fits && a.strides.1 == 1 { Source::InPlace } else { Source::Packed }
}

/// Entries along k that the kernel counts as one and that all blocks are a multiple of, if there is such a number: tiles may be
/// shorter than they can be.
pub fn whole_turns(family: Family, blocks: &[Block]) -> Option<u64> {
    let all = |turn: u64| blocks.iter().all(|block| block.k.is_multiple_of(turn));
    let most = family.turn();
    if all(most) {
        return Some(most);
    }
    let k = blocks.iter().map(|block| block.k).max()?;
    let turn = k / k.div_ceil(most);
    let even = turn > 0 && turn.is_multiple_of(family.entries_per_step()) && k.is_multiple_of(turn);
    (even && all(turn)).then_some(turn)
}

/// Rows of a register tile.
pub fn tile_rows(
    a: Operand,
    (family, source): (Family, Source),
    m: u64,
    vectors: u64,
    target: &Target,
) -> u64 {
    if family.by_tiles() {
        let two = if source == Source::InPlace { m >= 2 * TILE } else { m > TILE };
        return if two { 2 * TILE } else { TILE };
    }
    let mut most = match (target.vector_registers() >= 32, vectors) {
        (true, 1) => 24,
        (true, _) => 13,
        (false, 1) => 12,
        (false, _) => 6,
    };
    let stride = a.strides.0 as u64 / family.entries_per_step();
    if source == Source::InPlace && a.strides.1 == 1 && crowded(stride, most) {
        most = most.min(WAYS_FOR_ROWS);
    }
    even_share(m, most)
}

/// Whether that many rows at a stride fall on too few sets of the first-level cache.
pub fn crowded(stride: u64, rows: u64) -> bool {
    let sets = if stride.is_multiple_of(LINE) { SETS / gcd(stride / LINE, SETS) } else { SETS };
    rows.div_ceil(sets) > WAYS_FOR_ROWS
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

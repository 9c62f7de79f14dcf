//! The blocks along k into which the sums of a GEMM are cut.

use std::collections::HashMap;

use crate::codegen::family::Family;
use crate::loops::Gemm;

/// Products per block of k: a panel of B of that length stays in the second-level cache.
const MAX_K: u64 = 2048;
/// The same where entries lie in three planes, of both operands: rows and columns of a task share that cache.
const MAX_K_OF_PLANES: u64 = 512;

/// A stretch of k within one term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Offsets into A and B.
    pub a: i64,
    pub b: i64,
    pub k: u64,
    /// Number among the different blocks of B.
    pub panel: u64,
}

/// Different blocks of B: offset and length along k.
#[derive(Default)]
struct Panels {
    all: Vec<(i64, u64)>,
    known: HashMap<(i64, u64), u64>,
}

impl Panels {
    fn number(&mut self, offset: i64, k: u64) -> u64 {
        *self.known.entry((offset, k)).or_insert_with(|| {
            self.all.push((offset, k));
            self.all.len() as u64 - 1
        })
    }
}

type Blocks = (Vec<Block>, Vec<u64>, Vec<(i64, u64)>);

/// The blocks of all lists, where each list starts, and the different blocks of B.
pub fn blocks(gemm: &Gemm, k: u64, family: Family) -> Blocks {
    let most = if family.planes() > 1 { MAX_K_OF_PLANES } else { MAX_K };
    let length = k.div_ceil(k.div_ceil(most)).next_multiple_of(family.turn()).min(k);
    let pieces = k.div_ceil(length);
    let (mut blocks, mut starts, mut panels) = (Vec::new(), vec![0], Panels::default());
    for list in &gemm.terms.lists {
        let pieces = list.iter().flat_map(|&term| (0..pieces).map(move |piece| (term, piece * length)));
        for ((a, b), start) in pieces {
            let a = a + start as i64 * gemm.a.strides.1 as i64;
            let b = b + start as i64 * gemm.b.strides.0 as i64;
            let k = length.min(k - start);
            blocks.push(Block { a, b, k, panel: panels.number(b, k) });
        }
        starts.push(blocks.len() as u64);
    }
    (blocks, starts, panels.all)
}

//! How a GEMM is cut: register tiles, which operands are packed, and which loops are outside which.

use std::collections::HashMap;

use crate::codegen::family::Family;
use crate::codegen::llvm::pack::{Form, TILE};
use crate::codegen::target::Target;
use crate::loops::{Buffer, Elem, Gemm, Operand, Range};

/// Products per block of k: a panel of B of that length stays in the second-level cache.
const MAX_K: u64 = 2048;
/// Rows up to which copying a panel of B does not pay.
const FEW_ROWS: u64 = 4;
/// Entries of B up to which all its panels are kept: a quarter of a second-level cache.
const KEPT_B: u64 = 1 << 17;
/// Lines that a set of the first-level cache holds; rows of a tile should leave some of them to B.
const WAYS_FOR_ROWS: u64 = 8;
/// Entries of a cache line, and lines of a way.
pub const LINE: u64 = 16;
const SETS: u64 = 64;
/// Entries up to which several blocks of an operand or of C are kept: half of a second-level cache.
const KEPT: u64 = 1 << 18;
/// Terms shorter than this are walked together, by a table of offsets.
const SHORT_TERM: u64 = 16;

/// Which loops are outside which, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Panels, blocks, tiles of rows: one panel of B is packed at a time; its panel of C is kept between blocks.
    Panels,
    /// Tiles of rows, panels; one block. All of B is packed. An epilogue runs along the rows of big tensors.
    Rows,
    /// Panels, tiles of rows, blocks: all blocks of a panel of B are packed, a tile of C is finished at once.
    Tiles,
    /// Blocks, panels, tiles of rows, as for sums over many samples: one block of A is packed at a time; all of C is
    /// kept.
    Blocks,
    /// Panels, outer loops that B does not see, tiles of rows, blocks, as for the taps of a convolution: a panel of all
    /// blocks of B is packed once.
    Shared,
    /// Panels, blocks of B, the outer loops that use each, tiles of rows, as for the gradient of a convolution's weights:
    /// every block of B is packed once; C is kept for all outer loops.
    Scatter,
}

/// How one GEMM of known extents is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub family: Family,
    pub m: u64,
    pub n: u64,
    /// Rows of a tile; the last tile may have fewer.
    pub rows: u64,
    /// Vectors and columns of a panel; the last panel may have fewer columns.
    pub vectors: u64,
    pub columns: u64,
    pub a: Source,
    pub b: Source,
    /// What is summed, list after list.
    pub blocks: Vec<Block>,
    /// The first block of each list, and the end of the last.
    pub starts: Vec<u64>,
    /// The different blocks of B: offset and length along k.
    pub panels_of_b: Vec<(i64, u64)>,
    /// Steps of k in the longest block, rounded up to whole vectors; exact where short terms are walked together.
    pub depth: u64,
    pub order: Order,
    /// Outer loops whose positions B does not see, outermost first; the product is repeated over them inside of B's
    /// packing.
    pub inside: Vec<usize>,
    /// Positions of those; 0 where that depends on the task.
    pub positions: u64,
    /// Terms are so short that the kernel finds each step's operands in a table.
    pub stepped: bool,
}

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

/// Where the kernel reads an operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    InPlace,
    Packed,
}

impl Plan {
    pub fn new(gemm: &Gemm, [m, n, k]: [u64; 3], buffers: &[Buffer], target: &Target) -> Plan {
        let family = Family::of(gemm.arithmetic, target, [m, n, k]);
        let elem = |operand: Operand| buffers[operand.buffer.index()].elem;
        let lanes = if family.by_tiles() { TILE } else { u64::from(target.lanes()) };
        let vectors = n.div_ceil(lanes).min(2);
        let columns = vectors * lanes;
        let (blocks, starts, panels_of_b) = blocks(gemm, k, family);
        let a = match elem(gemm.a) {
            Elem::Bf16 => halves_source(gemm.a, family, m, &blocks),
            _ => a_source(gemm.a, family, n.div_ceil(columns)),
        };
        let rows = tile_rows(gemm.a, (family, a), m, vectors, target);
        let direct = family == Family::Fma && elem(gemm.b) == Elem::F32 && gemm.b.strides.1 == 1;
        let in_place = direct && m <= FEW_ROWS && n.is_multiple_of(columns);
        let b = if in_place { Source::InPlace } else { Source::Packed };
        let longest = blocks.iter().map(|block| block.k).max().unwrap_or(1);
        let depth = longest.div_ceil(family.entries_per_step()).next_multiple_of(lanes);
        let inside: Vec<usize> =
            (0..gemm.outer.len()).filter(|&loop_| gemm.outer[loop_].strides.1 == 0).collect();
        let positions = positions(gemm, &inside);
        let (order, stepped) = (Order::Panels, false);
        let mut plan = Plan {
            family,
            m,
            n,
            rows,
            vectors,
            columns,
            a,
            b,
            blocks,
            starts,
            panels_of_b,
            depth,
            order,
            inside,
            positions,
            stepped,
        };
        plan.order = plan.best_order(gemm);
        plan.settle(gemm, elem(gemm.a), target);
        plan
    }

    /// What follows from the order.
    fn settle(&mut self, gemm: &Gemm, a: Elem, target: &Target) {
        let direct = self.family == Family::Fma && a == Elem::F32;
        if !matches!(self.order, Order::Shared | Order::Scatter) {
            self.inside.clear();
        }
        if self.order == Order::Scatter && direct {
            self.a = Source::InPlace;
            self.rows = tile_rows(gemm.a, (self.family, self.a), self.m, self.vectors, target);
        }
        let short = |block: &Block| block.k == self.blocks[0].k && block.k < SHORT_TERM;
        let several = self.starts.windows(2).any(|list| list[1] > list[0] + 1);
        let in_place = direct && self.a == Source::InPlace;
        if self.order == Order::Shared && in_place && several && self.blocks.iter().all(short) {
            self.stepped = true;
            self.depth = self.blocks[0].k;
        }
    }

    fn best_order(&self, gemm: &Gemm) -> Order {
        let packed = self.b == Source::Packed;
        if packed && !self.inside.is_empty() {
            if self.scatters(gemm) {
                return Order::Scatter;
            }
            if self.shares() {
                return Order::Shared;
            }
        }
        let blocks = self.longest();
        if self.blocks.len() == 1 && !self.some_empty() {
            let kept = self.panels() * self.b_panel() <= KEPT_B;
            let rows = kept && packed && self.n > self.columns && self.depth <= self.m;
            return if rows { Order::Rows } else { Order::Panels };
        }
        let a = if self.a == Source::Packed { self.a_tile() * self.tiles() * blocks } else { 0 };
        let b = self.b_panel() * blocks;
        if packed && a <= KEPT && b <= KEPT {
            return Order::Tiles;
        }
        let c = self.tiles() * self.rows * self.columns * self.panels();
        if c <= KEPT { Order::Blocks } else { Order::Panels }
    }

    /// Whether all blocks of B can be kept while the outer loops run.
    fn shares(&self) -> bool {
        let b = self.panels_of_b.len() as u64 * self.b_panel();
        let once = self.a == Source::InPlace || self.panels() == 1;
        b <= KEPT && once
    }

    /// Whether C can be kept for all outer loops, and its sum is longer than their number.
    fn scatters(&self, gemm: &Gemm) -> bool {
        let around = (0..gemm.outer.len()).filter(|number| !self.inside.contains(number));
        let alike = around.into_iter().all(|number| gemm.outer[number].list == 0);
        let (rows, k) = gemm.a.strides;
        let c = self.positions * self.tiles() * self.rows * self.columns;
        let long = self.panels_of_b.len() as u64 > self.positions;
        alike && self.positions > 1 && long && c <= KEPT && (rows == 1 || k == 1)
    }

    /// The most blocks of a list.
    pub fn longest(&self) -> u64 {
        self.starts.windows(2).map(|list| list[1] - list[0]).max().unwrap_or(0)
    }

    /// Whether some position sums nothing.
    pub fn some_empty(&self) -> bool {
        self.starts.windows(2).any(|list| list[0] == list[1])
    }

    pub fn panels(&self) -> u64 {
        self.n.div_ceil(self.columns)
    }

    pub fn tiles(&self) -> u64 {
        self.m.div_ceil(self.rows)
    }

    /// Entries of 32 bits per step of k in a packed tile of A.
    pub fn a_step(&self) -> u64 {
        self.rows.next_multiple_of(LINE)
    }

    pub fn a_tile(&self) -> u64 {
        self.a_step() * self.depth * self.family.planes()
    }

    /// Entries of 32 bits in a packed panel of B.
    pub fn b_panel(&self) -> u64 {
        self.columns * self.depth * self.family.planes()
    }

    /// Entries along k that the kernel counts as one.
    pub fn turn(&self) -> u64 {
        if self.family.by_tiles() { 2 * TILE } else { self.family.entries_per_step() }
    }

    pub fn a_form(&self) -> Form {
        let planes = self.family.planes();
        if self.family.by_tiles() { Form::Rows { planes } } else { self.vector_form() }
    }

    pub fn b_form(&self) -> Form {
        let planes = self.family.planes();
        if self.family.by_tiles() { Form::Pairs { planes, tiles: true } } else { self.vector_form() }
    }

    fn vector_form(&self) -> Form {
        match self.family {
            Family::Dot => Form::Pairs { planes: 1, tiles: false },
            family => Form::Floats { rounded: family == Family::Rounded },
        }
    }

    pub fn a_entries(&self) -> u64 {
        let tiles = match self.order {
            Order::Blocks => self.tiles(),
            Order::Scatter => 1,
            _ => self.tiles() * self.longest(),
        };
        if self.a == Source::Packed { self.a_tile() * tiles } else { 0 }
    }

    pub fn b_entries(&self) -> u64 {
        let panels = match self.order {
            Order::Rows => self.panels(),
            Order::Tiles => self.longest(),
            Order::Shared => self.panels_of_b.len() as u64,
            Order::Panels | Order::Blocks | Order::Scatter => 1,
        };
        // Packing may write whole vectors of steps.
        let beyond = if self.stepped { LINE * self.columns } else { 0 };
        if self.b == Source::Packed { self.b_panel() * panels + beyond } else { 0 }
    }

    fn c_entries(&self) -> u64 {
        let tiles = match self.order {
            Order::Panels if self.keeps_panel() => self.tiles(),
            Order::Blocks => self.tiles() * self.panels(),
            Order::Scatter => self.tiles() * self.positions,
            _ => 1,
        };
        tiles * self.c_tile()
    }

    /// Whether a panel of C has to wait for several blocks, or for none.
    pub fn keeps_panel(&self) -> bool {
        self.longest() > 1 || self.some_empty()
    }

    /// Entries of a tile of C.
    pub fn c_tile(&self) -> u64 {
        self.rows * self.columns
    }

    /// Bytes of scratch memory: tiles of A, a panel of B, tiles of C.
    pub fn bytes(&self) -> usize {
        [self.a_entries(), self.b_entries(), self.c_entries()]
            .iter()
            .map(|entries| entries.next_multiple_of(LINE) as usize * 4)
            .sum()
    }

    /// For each different block of B, in order, the positions of the inside loops that use it: number of the position
    /// and offset into A.
    pub fn uses(&self, gemm: &Gemm) -> Vec<Vec<(u64, i64)>> {
        let mut uses = vec![Vec::new(); self.panels_of_b.len()];
        let extents: Vec<u64> = self.inside.iter().map(|&number| full(gemm.outer[number].range)).collect();
        for position in 0..self.positions {
            let (mut left, mut list, mut start) = (position, 0, 0i64);
            for (&number, extent) in self.inside.iter().zip(&extents).rev() {
                let (outer, at) = (gemm.outer[number], left % extent);
                left /= extent;
                list += outer.list * at as usize;
                start += (outer.strides.0 as u64 * at) as i64;
            }
            let list = gemm.terms.choice[list] as usize;
            for block in &self.blocks[self.starts[list] as usize..self.starts[list + 1] as usize] {
                uses[block.panel as usize].push((position, start + block.a));
            }
        }
        uses
    }
}

fn full(range: Range) -> u64 {
    match range {
        Range::Full(extent) => extent as u64,
        Range::Chunk => 0,
    }
}

fn positions(gemm: &Gemm, inside: &[usize]) -> u64 {
    inside.iter().map(|&number| full(gemm.outer[number].range)).product()
}

/// A is read in place where its rows run along k (one line then serves many steps), or when it is read just once.
fn a_source(a: Operand, family: Family, panels: u64) -> Source {
    let near = a.strides.1 == 1 || (a.strides.0 == 1 && panels <= 1);
    if family == Family::Fma && near { Source::InPlace } else { Source::Packed }
}

/// Rows of bf16 along k are what kernels of bf16 read, where no step reaches beyond a row, and no tile beyond the last.
fn halves_source(a: Operand, family: Family, m: u64, blocks: &[Block]) -> Source {
    let whole = |step: u64| a.strides.1 == 1 && blocks.iter().all(|block| block.k.is_multiple_of(step));
    let fits = match family {
        Family::Dot => whole(2),
        Family::Tile => whole(2 * TILE) && m.is_multiple_of(TILE),
        Family::Fma | Family::Rounded | Family::Split => false,
    };
    if fits { Source::InPlace } else { Source::Packed }
}

fn tile_rows(a: Operand, (family, source): (Family, Source), m: u64, vectors: u64, target: &Target) -> u64 {
    if family.by_tiles() {
        return if m > TILE { 2 * TILE } else { TILE };
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
    m.div_ceil(m.div_ceil(most))
}

/// Whether that many rows at a stride fall on too few sets of the first-level cache.
fn crowded(stride: u64, rows: u64) -> bool {
    let sets = if stride.is_multiple_of(LINE) { SETS / gcd(stride / LINE, SETS) } else { SETS };
    rows.div_ceil(sets) > WAYS_FOR_ROWS
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

type Blocks = (Vec<Block>, Vec<u64>, Vec<(i64, u64)>);

/// The blocks of all lists, where each list starts, and the different blocks of B.
fn blocks(gemm: &Gemm, k: u64, family: Family) -> Blocks {
    let unit = if family.by_tiles() { 2 * TILE } else { family.entries_per_step() };
    let length = k.div_ceil(k.div_ceil(MAX_K)).next_multiple_of(unit).min(k);
    let pieces = k.div_ceil(length);
    let (mut blocks, mut starts, mut panels) = (Vec::new(), vec![0], Vec::new());
    let mut known: HashMap<(i64, u64), u64> = HashMap::new();
    for list in &gemm.terms.lists {
        let pieces = list.iter().flat_map(|&term| (0..pieces).map(move |piece| (term, piece * length)));
        for ((a, b), start) in pieces {
            let a = a + start as i64 * gemm.a.strides.1 as i64;
            let b = b + start as i64 * gemm.b.strides.0 as i64;
            let k = length.min(k - start);
            let panel = *known.entry((b, k)).or_insert_with(|| {
                panels.push((b, k));
                panels.len() as u64 - 1
            });
            blocks.push(Block { a, b, k, panel });
        }
        starts.push(blocks.len() as u64);
    }
    (blocks, starts, panels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::{Arithmetic, BufferId, Terms};

    fn plan([m, n, k]: [u64; 3], a: (usize, usize), b: (usize, usize), terms: usize) -> Plan {
        let mut target = Target::of_triple("x86_64-unknown-linux-gnu");
        target.features =
            Target::choose(Some("x86-64-v4"), None).map(|known| known.features).unwrap_or_default();
        let range = |extent| Range::Full(extent as usize);
        let operand = |strides| Operand { buffer: BufferId(0), strides };
        let gemm = Gemm {
            outer: vec![],
            m: range(m),
            n: range(n),
            k: range(k),
            a: operand(a),
            b: operand(b),
            terms: Terms::alike(vec![(0, 0); terms]),
            arithmetic: Arithmetic::F32,
            epilogue: Default::default(),
        };
        let buffer = Buffer { name: "b".into(), elem: Elem::F32, len: 0, offset: 0, persistent: true };
        Plan::new(&gemm, [m, n, k], &[buffer], &target)
    }

    #[test]
    fn rows_that_share_cache_sets_make_smaller_tiles() {
        assert_eq!(plan([128, 1024, 784], (784, 1), (1, 784), 1).rows, 13);
        assert_eq!(plan([128, 1024, 1024], (1024, 1), (1, 1024), 1).rows, 8);
        assert_eq!(plan([128, 1024, 1024], (1, 1024), (1024, 1), 1).rows, 13);
    }

    #[test]
    fn tiles_are_of_nearly_equal_height() {
        let plan = plan([64, 32, 100], (100, 1), (1, 100), 1);
        assert_eq!((plan.rows, plan.tiles()), (13, 5));
    }

    #[test]
    fn blocks_cover_every_term_once() {
        let plan = plan([4, 64, 5000], (5000, 1), (64, 1), 3);
        assert_eq!(plan.blocks.len(), 9);
        assert_eq!(plan.blocks.iter().map(|block| block.k).sum::<u64>(), 15000);
        assert_eq!((plan.blocks[1].a, plan.blocks[1].b, plan.blocks[1].k), (1667, 1667 * 64, 1667));
        assert_eq!(plan.blocks[2].k, 5000 - 2 * 1667);
    }

    #[test]
    fn weight_gradients_run_along_rows() {
        assert_eq!(plan([128, 1024, 128], (1, 1024), (1024, 1), 1).order, Order::Rows);
        assert_eq!(plan([128, 64, 1024], (1024, 1), (1, 1024), 1).order, Order::Panels);
    }

    #[test]
    fn taps_finish_a_tile_and_long_sums_keep_the_result() {
        assert_eq!(plan([2048, 32, 64], (64, 1), (1, 64), 9).order, Order::Tiles);
        assert_eq!(plan([32, 64, 2048], (1, 128), (64, 1), 16).order, Order::Blocks);
    }
}

//! How a GEMM is cut: register tiles, which operands are packed, and which loops are outside which.

use std::cell::LazyCell;

use super::blocks::{Block, blocks};
use super::gradient::Gradient;
pub use super::operand::Source;
use super::operand::{a_source, halves_source, near, tile_rows, whole_turns};
use super::patch::Patch;
use super::scatter::{self, Scatter};
use super::stencil::Stencil;
use super::{window_gradients, windows};
use crate::codegen::family::Family;
use crate::codegen::llvm::pack::{Form, TILE};
use crate::codegen::target::Target;
use crate::loops::{Buffer, Elem, Gemm, Operand, Outer, Range};

/// Rows up to which copying a panel of B does not pay; and where all of B lies near.
const FEW_ROWS: u64 = 4;
const SOME_ROWS: u64 = 128;
/// Entries of B up to which its panels are kept together, in one plane: a quarter of a second-level cache.
const KEPT_B: u64 = 1 << 17;
/// Entries of their tiles of C up to which they are.
const KEPT_C: u64 = 1 << 15;
/// Share of a window's taps, on average, that must exist: a result of few taps errs by a large share of itself, as its neighbours
/// in a patch do that see all.
const FULL_WINDOWS: f64 = 0.6;
/// Products in a sum from which roundings of large patches are few enough beside it.
const LONG_SUM: u64 = 16;
/// Entries of a cache line.
pub const LINE: u64 = 16;
/// Entries up to which several blocks of an operand or of C are kept: half of a second-level cache.
pub const KEPT: u64 = 1 << 18;

/// Entries of B up to which blocks of it are packed together whose products add to the same sums: they stay near, and the sums are
/// fetched seldom (64 KB are faster than 32 and 128, VGG11 in bf16).
const BATCH: u64 = 1 << 14;

/// Which loops are outside which, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Panels, blocks, tiles of rows: one panel of B is packed at a time; its panel of C is kept between blocks.
    Panels,
    /// Groups of panels, tiles of rows, panels, blocks. The panels of a group are packed together, all blocks of them, and an epilogue
    /// runs along all their columns: in long rows of memory. A tile of A is packed when it is multiplied where one group is all.
    Rows,
    /// Panels, tiles of rows, blocks: all blocks of a panel of B are packed, a tile of C is finished at once.
    Tiles,
    /// Blocks, groups of panels, tiles of rows, panels, as for sums over many samples: one block of A is packed at a time, and
    /// the panels of a group together; all of C is kept.
    Blocks,
    /// Panels, outer loops that B does not see, tiles of rows, blocks, as for the taps of a convolution: a panel of all
    /// blocks of B is packed once.
    Shared,
    /// Panels, batches of blocks of B, the outer loops that use each, tiles of rows, the blocks, as for the gradient of a
    /// convolution's weights: every block of B is packed once, a block of A as seldom as the second-level cache allows; C is kept
    /// for all outer loops.
    Scatter,
    /// Patches of positions, groups of tiles of rows, panels (outermost where they are not all kept), products: windows of
    /// 3×3 to 5×5 by a faster algorithm (`gemm/windows.rs`).
    Windows,
    /// Groups of panels, patches of positions, panels, products, tiles of rows: the gradients of such windows
    /// (`gemm/window_gradients.rs`); sums of all products are kept.
    WindowGradients,
}

/// An operand that stays packed from one task to the thread's next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    A,
    B,
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
    /// Steps of k in the longest block, rounded up to whole vectors.
    pub depth: u64,
    /// Entries along k that the kernel counts as one.
    pub turn: u64,
    pub order: Order,
    /// Outer loops inside of B's packing, outermost first.
    pub inside: Vec<usize>,
    /// Positions of those; 0 where that depends on the task.
    pub positions: u64,
    /// In order [`Order::Scatter`]: what is multiplied with what, and where.
    pub scatter: Scatter,
    /// In the orders of windows: what is transformed at a time.
    pub patch: Patch,
    /// In order [`Order::Windows`]: the window.
    pub stencil: Option<Stencil>,
    /// In order [`Order::WindowGradients`]: the window.
    pub gradient: Option<Gradient>,
    /// The kernel sums a whole list of blocks, all of one length, before it leaves its registers.
    pub listed: bool,
    /// What all tasks read whole, and a thread packs for its first one.
    pub kept: Option<Kept>,
}

impl Plan {
    /// `length` gives the positions of a loop in the task.
    pub fn new(gemm: &Gemm, length: impl Fn(Range) -> u64, buffers: &[Buffer], target: &Target) -> Plan {
        let size = [gemm.m, gemm.n, gemm.k].map(&length);
        let family = Family::of(gemm.arithmetic, target, size, gemm.m == Range::Chunk);
        let mut plan = Plan::start(gemm, family, size, buffers, target);
        let outer: Vec<u64> = gemm.outer.iter().map(|outer| length(outer.range)).collect();
        let stencil = LazyCell::new(|| Stencil::of(gemm, &outer));
        let gradient = LazyCell::new(|| Gradient::of(gemm));
        let mut windows =
            family.of_windows(gemm.arithmetic, size).into_iter().filter_map(|(other, advantage)| {
                let own = (other != family).then(|| Plan::start(gemm, other, size, buffers, target));
                let start = own.as_ref().unwrap_or(&plan);
                let window = start.transforms(gemm, || stencil.as_ref(), &outer, target);
                let gradient = || start.transforms_gradient(gemm, || gradient.as_ref(), target);
                let (share, plan) = window.or_else(gradient)?;
                (share * advantage <= 1.0).then_some(plan)
            });
        if let Some(plan) = windows.next() {
            return plan;
        }
        let packed = plan.overlaps().then(|| plan.packed(gemm, target));
        plan.arrange(gemm, buffers, target);
        match packed {
            Some(mut packed) if plan.keeps_tiles() => {
                packed.arrange(gemm, buffers, target);
                packed
            }
            _ => plan,
        }
    }

    /// Chooses the order.
    fn arrange(&mut self, gemm: &Gemm, buffers: &[Buffer], target: &Target) {
        let elem = |operand: Operand| buffers[operand.buffer.index()].elem;
        let (family, plan) = (self.family, self);
        let direct = |operand| family == Family::Fma && elem(operand) == Elem::F32;
        if !plan.scatters(gemm, direct(gemm.a), target) {
            let read_once =
                plan.m <= FEW_ROWS || (plan.m <= SOME_ROWS && near(gemm, gemm.b.strides.0, &plan.blocks));
            let whole = plan.n.is_multiple_of(plan.columns);
            let in_place = direct(gemm.b) && gemm.b.strides.1 == 1 && whole && read_once;
            plan.b = if in_place { Source::InPlace } else { Source::Packed };
            if !plan.shares(gemm) {
                plan.order = plan.best_order(gemm);
            }
        }
        plan.kept = plan.keeps(gemm);
        plan.listed = plan.lists();
    }

    /// The operand of which every task needs all, if all of it stays packed in a second-level cache while one task is done.
    fn keeps(&self, gemm: &Gemm) -> Option<Kept> {
        let (of_a, of_b) = match self.order {
            _ if !gemm.outer.is_empty() => (false, false),
            Order::Rows => (true, self.panels() <= self.group()),
            order => (order == Order::Tiles, false),
        };
        match (gemm.m, gemm.n, gemm.k) {
            (Range::Full(_), Range::Chunk, Range::Full(_)) => {
                (of_a && self.a == Source::Packed && self.all_of_a() <= KEPT).then_some(Kept::A)
            }
            (Range::Chunk, Range::Full(_), Range::Full(_)) => of_b.then_some(Kept::B),
            _ => None,
        }
    }

    /// Entries of all blocks of a list of A, packed; none where it is read in place.
    fn all_of_a(&self) -> u64 {
        if self.a == Source::Packed { self.a_tile() * self.tiles() * self.longest() } else { 0 }
    }

    /// With A packed.
    fn packed(&self, gemm: &Gemm, target: &Target) -> Plan {
        let rows = tile_rows(gemm.a, (self.family, Source::Packed), self.m, self.vectors, target);
        Plan { a: Source::Packed, turn: self.family.turn(), rows, ..self.clone() }
    }

    /// Whether the last tile of rows begins within the one before, since tiles that are read in place are whole ones.
    pub fn overlaps(&self) -> bool {
        self.family.by_tiles() && self.a == Source::InPlace && !self.m.is_multiple_of(TILE)
    }

    /// Whether tiles of C of other rows wait while one is computed.
    fn keeps_tiles(&self) -> bool {
        match self.order {
            Order::Blocks | Order::Scatter => true,
            Order::Panels => self.keeps_panel(),
            _ => false,
        }
    }

    /// Entries before the first tile of C that are written to where tiles overlap.
    pub fn c_room(&self) -> u64 {
        if self.overlaps() { self.c_tile() } else { 0 }
    }

    /// Cut into blocks and tiles, its order still open.
    fn start(gemm: &Gemm, family: Family, size: [u64; 3], buffers: &[Buffer], target: &Target) -> Plan {
        let [m, n, k] = size;
        let lanes = if family.by_tiles() { TILE } else { u64::from(target.lanes()) };
        let vectors = n.div_ceil(lanes).min(2);
        let columns = vectors * lanes;
        let (blocks, starts, panels_of_b) = blocks(gemm, k, family);
        let turns = whole_turns(family, &blocks);
        let a = match buffers[gemm.a.buffer.index()].elem {
            Elem::Bf16 => halves_source(gemm.a, family, m, turns.is_some()),
            _ => a_source(gemm.a, family, n.div_ceil(columns), near(gemm, gemm.a.strides.1, &blocks)),
        };
        let turn = turns.filter(|_| a == Source::InPlace).unwrap_or(family.turn());
        let longest = blocks.iter().map(|block| block.k).max().unwrap_or(1);
        Plan {
            family,
            m,
            n,
            rows: tile_rows(gemm.a, (family, a), m, vectors, target),
            vectors,
            columns,
            a,
            b: Source::Packed,
            blocks,
            starts,
            panels_of_b,
            depth: longest.div_ceil(family.entries_per_step()).next_multiple_of(lanes),
            turn,
            order: Order::Panels,
            inside: vec![],
            positions: 1,
            scatter: Scatter::default(),
            patch: Patch::SMALL,
            stencil: None,
            gradient: None,
            listed: false,
            kept: None,
        }
    }

    /// A window computed by transformed operands, and what share of the time of direct products by the same family that takes.
    /// `stencil` looks for the window.
    fn transforms<'s>(
        &self,
        gemm: &Gemm,
        stencil: impl FnOnce() -> Option<&'s Stencil>,
        lengths: &[u64],
        target: &Target,
    ) -> Option<(f64, Plan)> {
        let steps = self.term().is_multiple_of(self.family.entries_per_step());
        let whole = gemm.a.strides.1 == 1 && steps && self.one_block_each(gemm);
        let stencil = whole.then(stencil)??;
        if stencil.density < FULL_WINDOWS * (stencil.side * stencil.side) as f64 {
            return None;
        }
        let known = |&patch: &Patch| stencil.patches(patch).is_some();
        let patches = self.patches(stencil.side, self.term(), target).filter(known);
        let plans = patches.map(|patch| self.transformed(Order::Windows, gemm, patch, target));
        let share = |plan: &Plan| windows::share(plan, stencil, lengths, target);
        let (share, best) = cheapest(plans.map(|plan| (share(&plan), plan)))?;
        let inside = stencil.loops.to_vec();
        Some((share, Plan { stencil: Some(stencil.clone()), inside, ..best }))
    }

    /// The same for the gradient of a window.
    fn transforms_gradient<'g>(
        &self,
        gemm: &Gemm,
        gradient: impl FnOnce() -> Option<&'g Gradient>,
        target: &Target,
    ) -> Option<(f64, Plan)> {
        let whole = gemm.a.strides.0 == 1 && gemm.b.strides.1 == 1 && self.one_block_each(gemm);
        let k = self.term();
        let gradient = whole.then(gradient)??;
        let positions = gradient.extents.iter().product::<usize>();
        if (gradient.terms as f64) < FULL_WINDOWS * (gradient.taps * gradient.taps * positions) as f64 {
            return None;
        }
        let plans = self.patches(gradient.taps, k * positions as u64, target).filter_map(|patch| {
            let mut plan = self.transformed(Order::WindowGradients, gemm, patch, target);
            plan.depth = window_gradients::part(&plan, k);
            let kept = window_gradients::sums(&plan) <= KEPT;
            kept.then(|| (window_gradients::share(&plan, gradient, k, target), plan))
        });
        let (share, best) = cheapest(plans)?;
        let inside = gradient.loops.to_vec();
        Some((share, Plan { gradient: Some(gradient.clone()), inside, ..best }))
    }

    /// Whether every term is one block.
    fn one_block_each(&self, gemm: &Gemm) -> bool {
        self.blocks.len() == gemm.terms.lists.iter().map(Vec::len).sum::<usize>()
    }

    /// Patches for windows of so many taps that keep the family's accuracy, where every number sums so many products: behind the
    /// maps of large ones rounding to bf16 would lose too much, as would short sums, and products that are rounded before they are
    /// added.
    fn patches(&self, taps: usize, length: u64, target: &Target) -> impl Iterator<Item = Patch> + use<> {
        let large = self.family == Family::Fma && target.has_fma() && length >= LONG_SUM;
        Patch::of(taps, if large { 6 } else { 4 })
    }

    /// This with both operands transformed on their way to the kernel, and so packed.
    fn transformed(&self, order: Order, gemm: &Gemm, patch: Patch, target: &Target) -> Plan {
        Plan { order, patch, b: Source::Packed, ..self.packed(gemm, target) }
    }

    /// Whether all blocks of a list are at hand when a tile of C is computed.
    fn lists(&self) -> bool {
        let at_hand = matches!(self.order, Order::Shared | Order::Tiles | Order::Rows | Order::Scatter);
        at_hand && self.longest() > 1 && self.blocks.iter().all(|block| block.k == self.blocks[0].k)
    }

    fn best_order(&self, gemm: &Gemm) -> Order {
        let packed = self.b == Source::Packed;
        let blocks = self.longest();
        if self.blocks.len() == 1 && !self.some_empty() {
            return if packed && self.group() > 1 { Order::Rows } else { Order::Panels };
        }
        let a = self.all_of_a();
        let b = self.b_panel() * blocks;
        let c = self.tiles() * self.c_tile() * self.panels();
        let together = self.group_of(blocks);
        // What is packed of A stays near, serves one group, or would have to be read for every panel.
        let seldom = a <= KEPT || together >= self.panels() || c > KEPT;
        if packed && together > 1 && seldom && self.starts.len() == 2 {
            return Order::Rows;
        }
        // Panels of one long sum are packed in rows of memory where they wait for its blocks together.
        let waits = packed
            && self.group_of(1) > 1
            && c <= KEPT_C
            && gemm.terms.lists.iter().all(|list| list.len() == 1);
        if packed && a <= KEPT && b <= KEPT && !waits {
            return Order::Tiles;
        }
        if c <= KEPT { Order::Blocks } else { Order::Panels }
    }

    /// Shares B among the positions of outer loops that it does not see, where all its blocks can be kept.
    fn shares(&mut self, gemm: &Gemm) -> bool {
        let blind = |&number: &usize| gemm.outer[number].strides.1 == 0;
        let inside: Vec<usize> = (0..gemm.outer.len()).filter(blind).collect();
        let b = self.panels_of_b.len() as u64 * self.b_panel();
        let once = self.a == Source::InPlace || self.panels() == 1;
        let shares = self.b == Source::Packed && !inside.is_empty() && b <= KEPT && once;
        if shares {
            self.order = Order::Shared;
            self.inside = inside;
        }
        shares
    }

    /// Scatters the products with each block of B to the positions that need them, where C can be kept for all of these
    /// and the sums are longer than their number. A is read in place where it may be (`direct`).
    fn scatters(&mut self, gemm: &Gemm, direct: bool, target: &Target) -> bool {
        let shared = |outer: &Outer| outer.list > 0 || outer.strides.0 == 0 || outer.strides.1 == 0;
        let fixed = |outer: &Outer| outer.range != Range::Chunk && shared(outer);
        let inside: Vec<usize> = (0..gemm.outer.len()).filter(|&number| fixed(&gemm.outer[number])).collect();
        let around = (0..gemm.outer.len()).filter(|number| !inside.contains(number));
        let alike = around.into_iter().all(|number| gemm.outer[number].list == 0);
        let positions: u64 = inside.iter().map(|&number| full(gemm.outer[number].range)).product();
        let (row, k) = gemm.a.strides;
        if self.b != Source::Packed || !alike || positions < 2 || (row != 1 && k != 1) {
            return false;
        }
        let a = if direct { Source::InPlace } else { self.a };
        let rows = tile_rows(gemm.a, (self.family, a), self.m, self.vectors, target);
        let c = positions * self.m.div_ceil(rows) * rows * self.columns;
        if c > KEPT {
            return false;
        }
        let products = self.products(gemm, &inside, positions);
        let panels = scatter::panels(&products);
        let scatters = panels.len() as u64 > positions;
        if scatters {
            (self.order, self.a, self.rows) = (Order::Scatter, a, rows);
            (self.inside, self.positions) = (inside, positions);
            let a_block = if a == Source::Packed { self.a_tile() * self.tiles() } else { 0 };
            let width = (BATCH / self.b_panel()).max(1);
            self.scatter = Scatter::new(products, &panels, KEPT.checked_div(a_block), width);
            self.panels_of_b = panels;
        }
        scatters
    }

    /// The products of blocks at all positions of the `inside` loops.
    fn products(&self, gemm: &Gemm, inside: &[usize], positions: u64) -> Vec<scatter::Product> {
        let mut products = Vec::new();
        let extents: Vec<u64> = inside.iter().map(|&number| full(gemm.outer[number].range)).collect();
        for position in 0..positions {
            let (mut left, mut list, mut start) = (position, 0, (0, 0));
            for (&number, extent) in inside.iter().zip(&extents).rev() {
                let (outer, at) = (gemm.outer[number], (left % extent) as i64);
                left /= extent;
                list += outer.list * at as usize;
                start.0 += outer.strides.0 as i64 * at;
                start.1 += outer.strides.1 as i64 * at;
            }
            let list = gemm.terms.choice[list] as usize;
            let blocks = &self.blocks[self.starts[list] as usize..self.starts[list + 1] as usize];
            products.extend(blocks.iter().map(|block| scatter::Product {
                position,
                a: start.0 + block.a,
                b: start.1 + block.b,
                k: block.k,
            }));
        }
        products
    }

    /// Entries along k of a term, where every term is one block.
    pub fn term(&self) -> u64 {
        self.blocks.first().map_or(0, |block| block.k)
    }

    /// The most blocks of a list.
    pub fn longest(&self) -> u64 {
        self.starts.windows(2).map(|list| list[1] - list[0]).max().unwrap_or(0)
    }

    /// Whether some position sums nothing.
    pub fn some_empty(&self) -> bool {
        self.starts.windows(2).any(|list| list[0] == list[1])
    }

    /// Steps of k that the kernel counts as one.
    pub fn steps(&self) -> u64 {
        self.turn / self.family.entries_per_step()
    }

    pub fn panels(&self) -> u64 {
        self.n.div_ceil(self.columns)
    }

    /// In the orders [`Order::Rows`] and [`Order::Blocks`]: the most panels that are packed together.
    pub fn group(&self) -> u64 {
        self.group_of(if self.order == Order::Blocks { 1 } else { self.longest() })
    }

    /// The most panels of so many blocks that are packed together.
    fn group_of(&self, blocks: u64) -> u64 {
        let kept = if self.family.planes() > 1 { KEPT } else { KEPT_B };
        let most = (kept / (self.b_panel() * blocks.max(1))).min(KEPT_C / self.c_tile()).max(1);
        even_share(self.panels(), most)
    }

    /// Whether a tile of A is packed just before it is multiplied: nothing needs it later.
    pub fn packs_a_by_tiles(&self) -> bool {
        let once = self.kept != Some(Kept::A) && self.panels() <= self.group();
        self.order == Order::Rows && self.a == Source::Packed && once
    }

    /// Whether all tiles of A are packed before the first is multiplied, in orders that pack whole lists of blocks.
    pub fn packs_a_before(&self) -> bool {
        self.a == Source::Packed && self.order != Order::Blocks && !self.packs_a_by_tiles()
    }

    /// Tiles of A of one block that are kept packed.
    pub fn tiles_of_a(&self) -> u64 {
        if self.packs_a_by_tiles() { 1 } else { self.tiles() }
    }

    pub fn tiles(&self) -> u64 {
        self.m.div_ceil(self.rows)
    }

    /// Entries of 32 bits per step of k in a packed tile of A.
    pub fn a_step(&self) -> u64 {
        self.rows.next_multiple_of(LINE)
    }

    pub fn a_tile(&self) -> u64 {
        self.a_step() * self.depth * self.family.planes() + self.apart()
    }

    /// Entries of 32 bits in a packed panel of B.
    pub fn b_panel(&self) -> u64 {
        self.columns * self.depth * self.family.planes() + self.apart()
    }

    /// Entries between copies that lie side by side, which are a multiple of 4 KB long where k is one of 32: without them, what is
    /// written to all of them in turn falls on the same sets of the first-level cache.
    fn apart(&self) -> u64 {
        if self.family.by_tiles() { 2 * LINE } else { 0 }
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
            Order::Windows => return windows::a_entries(self),
            Order::WindowGradients => return window_gradients::entries(self)[0],
            Order::Blocks => self.tiles(),
            Order::Scatter => self.tiles() * self.scatter.slots,
            _ => self.tiles_of_a() * self.longest(),
        };
        if self.a == Source::Packed { self.a_tile() * tiles } else { 0 }
    }

    pub fn b_entries(&self) -> u64 {
        let panels = match self.order {
            Order::Windows => return windows::b_entries(self),
            Order::WindowGradients => return window_gradients::entries(self)[1],
            Order::Rows => self.group() * self.longest(),
            Order::Blocks => self.group(),
            Order::Tiles => self.longest(),
            Order::Shared => self.panels_of_b.len() as u64,
            Order::Scatter => self.scatter.width,
            Order::Panels => 1,
        };
        if self.b == Source::Packed { self.b_panel() * panels } else { 0 }
    }

    fn c_entries(&self) -> u64 {
        let tiles = match self.order {
            Order::Panels if self.keeps_panel() => self.tiles(),
            Order::Blocks => self.tiles() * self.panels(),
            Order::Rows => self.group(),
            Order::Scatter => self.tiles() * self.positions,
            Order::Windows => windows::products(self) + self.patch.results(),
            Order::WindowGradients => {
                let panels = window_gradients::panels_at_once(self);
                self.patch.products() * self.tiles() * panels + window_gradients::results(self)
            }
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
        [self.a_entries(), self.b_entries(), self.c_room(), self.c_entries()]
            .iter()
            .map(|entries| entries.next_multiple_of(LINE) as usize * 4)
            .sum()
    }
}

/// Of plans with what they take the one that takes least.
fn cheapest(plans: impl Iterator<Item = (f64, Plan)>) -> Option<(f64, Plan)> {
    plans.min_by(|one, other| one.0.total_cmp(&other.0))
}

/// The most that a group of `count` has when there are as few groups of at most `most` as possible, nearly equal ones.
pub fn even_share(count: u64, most: u64) -> u64 {
    count.div_ceil(count.div_ceil(most))
}

fn full(range: Range) -> u64 {
    match range {
        Range::Full(extent) => extent as u64,
        Range::Chunk => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::{Arithmetic, BufferId, Terms};

    fn plan(size: [u64; 3], a: (usize, usize), b: (usize, usize), terms: usize) -> Plan {
        plan_of(size.map(|extent| Range::Full(extent as usize)), 0, a, b, terms)
    }

    /// With so many positions of what is [`Range::Chunk`].
    fn plan_of(
        [m, n, k]: [Range; 3],
        chunk: u64,
        a: (usize, usize),
        b: (usize, usize),
        terms: usize,
    ) -> Plan {
        let mut target = Target::of_triple("x86_64-unknown-linux-gnu");
        target.features =
            Target::choose(Some("x86-64-v4"), None).map(|known| known.features).unwrap_or_default();
        let operand = |strides| Operand { buffer: BufferId(0), strides };
        let gemm = Gemm {
            outer: vec![],
            m,
            n,
            k,
            a: operand(a),
            b: operand(b),
            terms: Terms::alike(vec![(0, 0); terms]),
            arithmetic: Arithmetic::F32,
            epilogue: Default::default(),
        };
        let buffer = Buffer { name: "b".into(), elem: Elem::F32, len: 0, offset: 0, persistent: true };
        let length = |range| match range {
            Range::Full(extent) => extent as u64,
            Range::Chunk => chunk,
        };
        Plan::new(&gemm, length, &[buffer], &target)
    }

    #[test]
    fn what_all_tasks_read_whole_stays_packed() {
        let (chunk, full) = (Range::Chunk, Range::Full);
        let kept = |size: [Range; 3], a| {
            let plan = plan_of(size, 64, a, (512, 1), 1);
            (plan.kept, plan.tiles_of_a() < plan.tiles())
        };
        assert_eq!(kept([full(128), chunk, full(256)], (1, 128)), (Some(Kept::A), false));
        assert_eq!(kept([chunk, full(512), full(256)], (1, 128)), (Some(Kept::B), true));
        // One task; A that is read in place; and more than stays near.
        assert_eq!(kept([full(128), full(512), full(256)], (1, 128)), (None, true));
        assert_eq!(kept([full(128), chunk, full(256)], (256, 1)).0, None);
        assert_eq!(kept([full(2048), chunk, full(256)], (1, 2048)), (None, true));
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
    fn panels_of_one_block_are_kept_in_groups() {
        let order = |size: [u64; 3]| {
            let plan = plan(size, (1, size[0] as usize), (size[1] as usize, 1), 1);
            (plan.order, plan.group())
        };
        assert_eq!(order([128, 1024, 128]), (Order::Rows, 32));
        assert_eq!(order([128, 128, 1024]), (Order::Rows, 4));
        assert_eq!(order([128, 224, 1024]), (Order::Rows, 4));
        assert_eq!(order([128, 16384, 32]), (Order::Rows, 74));
        // One panel, and one that is read in place.
        assert_eq!(order([128, 32, 1024]).0, Order::Panels);
        assert_eq!(order([4, 1024, 1024]).0, Order::Panels);
    }

    #[test]
    fn a_tile_that_no_other_group_needs_is_packed_when_it_is_multiplied() {
        let plan = |n: usize, terms| plan([640, n as u64, 100], (1, 640), (n, 1), terms);
        let known = |plan: Plan| (plan.order, plan.panels(), plan.group(), plan.tiles_of_a());
        assert_eq!(known(plan(128, 3)), (Order::Rows, 4, 4, 1));
        assert_eq!(known(plan(512, 3)), (Order::Rows, 16, 8, 50));
        // More of A than stays in a second-level cache between two groups, where all of C does.
        assert_eq!(plan(384, 4).order, Order::Blocks);
    }

    #[test]
    fn panels_of_a_long_sum_wait_for_its_blocks_in_groups() {
        let plan = |n: usize, terms| plan([128, n as u64, 4096], (4096, 1), (n, 1), terms);
        assert_eq!((plan(128, 1).order, plan(128, 1).group()), (Order::Blocks, 2));
        // One panel, several terms, and more results than wait in a first-level cache.
        assert_eq!(plan(32, 1).order, Order::Tiles);
        assert_eq!(plan(128, 2).order, Order::Tiles);
        assert_eq!(plan(512, 1).order, Order::Tiles);
    }

    #[test]
    fn taps_finish_a_tile_and_long_sums_keep_the_result() {
        assert_eq!(plan([2048, 32, 64], (64, 1), (1, 64), 9).order, Order::Tiles);
        assert_eq!(plan([32, 64, 2048], (1, 128), (64, 1), 16).order, Order::Blocks);
    }
}

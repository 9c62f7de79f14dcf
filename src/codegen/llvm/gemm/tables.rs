//! Tables of numbers that the code of a GEMM reads, as constants of the module.

use std::ops::Range;

use inkwell::values::{IntValue, PointerValue};

use super::super::emit::Emitter;
use super::plan::{Order, Plan, Source};
use crate::loops::Gemm;

/// Numbers by index: itself a constant where they are all the same.
pub enum Table<'ctx> {
    Same(IntValue<'ctx>),
    Different(PointerValue<'ctx>),
}

impl<'ctx> Table<'ctx> {
    pub fn new(emitter: &Emitter<'ctx>, numbers: impl IntoIterator<Item = i64>) -> Self {
        let numbers: Vec<i64> = numbers.into_iter().collect();
        match numbers.split_first() {
            None => Table::Same(emitter.i64(0)),
            Some((&first, rest)) if rest.iter().all(|&number| number == first) => {
                Table::Same(emitter.i64(first))
            }
            _ => Table::Different(emitter.table("numbers", numbers)),
        }
    }

    pub fn get(&self, emitter: &Emitter<'ctx>, index: IntValue<'ctx>) -> IntValue<'ctx> {
        match self {
            Table::Same(value) => *value,
            Table::Different(table) => emitter.look_up(*table, index),
        }
    }
}

/// Stretches of something by index: the first one, and how many.
pub struct Spans<'ctx> {
    first: Table<'ctx>,
    count: Table<'ctx>,
}

impl<'ctx> Spans<'ctx> {
    fn new(emitter: &Emitter<'ctx>, ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let (first, count): (Vec<i64>, Vec<i64>) =
            ranges.into_iter().map(|range| (range.start as i64, (range.end - range.start) as i64)).unzip();
        Spans { first: Table::new(emitter, first), count: Table::new(emitter, count) }
    }

    pub fn get(&self, emitter: &Emitter<'ctx>, index: IntValue<'ctx>) -> [IntValue<'ctx>; 2] {
        [&self.first, &self.count].map(|table| table.get(emitter, index))
    }
}

/// What the code looks up while it runs.
pub struct Tables<'ctx> {
    /// By block. Orders with tables of their own ask for none of these and of the next two.
    pub a: Table<'ctx>,
    pub b: Table<'ctx>,
    pub k: Table<'ctx>,
    pub panel: Table<'ctx>,
    /// By position of the outer loops that have different terms: its blocks.
    pub list: Spans<'ctx>,
    /// By block where the kernel goes through whole lists, by pair of [`Order::Scatter`]: bytes from the tile of A, and from the
    /// packed B.
    pub offsets: Option<[PointerValue<'ctx>; 2]>,
    /// By different block of B.
    pub panel_b: Table<'ctx>,
    pub panel_k: Table<'ctx>,
    /// By batch of those, each: the first one and how many, of blocks of B, of blocks of A that are packed, and of sums.
    pub batch_panels: Spans<'ctx>,
    pub batch_packs: Spans<'ctx>,
    pub batch_sums: Spans<'ctx>,
    /// By block of A that is packed: slot, offset and length along k.
    pub pack_slot: Table<'ctx>,
    pub pack_a: Table<'ctx>,
    pub pack_k: Table<'ctx>,
    /// By sum: position, and the pairs.
    pub sum_position: Table<'ctx>,
    pub sum_pairs: Spans<'ctx>,
    /// By pair: length along k.
    pub pair_k: Table<'ctx>,
    /// Blocks of A that are packed once, by slot: offset and length along k.
    pub once_a: Table<'ctx>,
    pub once_k: Table<'ctx>,
}

impl<'ctx> Tables<'ctx> {
    /// `a_bytes` are those of an entry of A.
    pub fn new(emitter: &Emitter<'ctx>, gemm: &Gemm, plan: &Plan, a_bytes: usize) -> Self {
        let own = matches!(plan.order, Order::Scatter | Order::Windows | Order::WindowGradients);
        let blocks = || plan.blocks.iter().filter(|_| !own);
        let choice = || gemm.terms.choice.iter().filter(|_| !own).map(|&list| list as usize);
        let scatter = &plan.scatter;
        let table = |numbers: &mut dyn Iterator<Item = i64>| Table::new(emitter, numbers);
        let spans = |ranges: &mut dyn Iterator<Item = Range<u64>>| Spans::new(emitter, ranges);
        Tables {
            a: table(&mut blocks().map(|block| block.a)),
            b: table(&mut blocks().map(|block| block.b)),
            k: table(&mut blocks().map(|block| block.k as i64)),
            panel: table(&mut blocks().map(|block| block.panel as i64)),
            list: spans(&mut choice().map(|list| plan.starts[list]..plan.starts[list + 1])),
            offsets: match plan.order {
                Order::Scatter => Some(Self::of_pairs(emitter, plan, a_bytes)),
                _ => plan.listed.then(|| Self::of_blocks(emitter, plan, a_bytes)),
            },
            panel_b: table(&mut plan.panels_of_b.iter().map(|panel| panel.0)),
            panel_k: table(&mut plan.panels_of_b.iter().map(|panel| panel.1 as i64)),
            batch_panels: spans(&mut scatter.batches.iter().map(|batch| batch.panels.clone())),
            batch_packs: spans(&mut scatter.batches.iter().map(|batch| batch.packs.clone())),
            batch_sums: spans(&mut scatter.batches.iter().map(|batch| batch.sums.clone())),
            pack_slot: table(&mut scatter.packs.iter().map(|pack| pack.0 as i64)),
            pack_a: table(&mut scatter.packs.iter().map(|pack| pack.1.0)),
            pack_k: table(&mut scatter.packs.iter().map(|pack| pack.1.1 as i64)),
            sum_position: table(&mut scatter.sums.iter().map(|sum| sum.position as i64)),
            sum_pairs: spans(&mut scatter.sums.iter().map(|sum| sum.pairs.clone())),
            pair_k: table(&mut scatter.pairs.iter().map(|pair| pair.a.1 as i64)),
            once_a: table(&mut scatter.once.iter().map(|block| block.0)),
            once_k: table(&mut scatter.once.iter().map(|block| block.1 as i64)),
        }
    }

    fn of_pairs(emitter: &Emitter<'ctx>, plan: &Plan, a_bytes: usize) -> [PointerValue<'ctx>; 2] {
        let pairs = || plan.scatter.pairs.iter();
        let a = pairs().map(|pair| match plan.a {
            Source::InPlace => pair.a.0 * a_bytes as i64,
            Source::Packed => (pair.slot * plan.tiles() * plan.a_tile() * 4) as i64,
        });
        let b = pairs().map(|pair| (pair.place * plan.b_panel() * 4) as i64);
        [emitter.table("offsets", a), emitter.table("offsets", b)]
    }

    fn of_blocks(emitter: &Emitter<'ctx>, plan: &Plan, a_bytes: usize) -> [PointerValue<'ctx>; 2] {
        let places = plan.starts.windows(2).flat_map(|list| 0..list[1] - list[0]);
        let blocks = || plan.blocks.iter().zip(places.clone());
        let a = blocks().map(|(block, place)| match plan.a {
            Source::InPlace => block.a * a_bytes as i64,
            Source::Packed => (place * plan.tiles_of_a() * plan.a_tile() * 4) as i64,
        });
        let b = blocks().map(|(block, place)| {
            let panel = if plan.order == Order::Shared { block.panel } else { place };
            (panel * plan.b_panel() * 4) as i64
        });
        [emitter.table("offsets", a), emitter.table("offsets", b)]
    }
}

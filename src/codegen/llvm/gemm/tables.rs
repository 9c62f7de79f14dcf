//! Tables of numbers that the code of a GEMM reads, as constants of the module.

use inkwell::values::{IntValue, PointerValue};

use super::super::emit::{Emitter, starts};
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

/// What the code looks up while it runs.
pub struct Tables<'ctx> {
    /// By block. Orders with tables of their own ask for none of these and of the next two.
    pub a: Table<'ctx>,
    pub b: Table<'ctx>,
    pub k: Table<'ctx>,
    pub panel: Table<'ctx>,
    /// By position of the outer loops that have different terms: the first block and the one behind the last.
    pub start: Table<'ctx>,
    pub end: Table<'ctx>,
    /// By block, where the kernel goes through whole lists: bytes from the tile of A, and from the packed B.
    pub listed: Option<[PointerValue<'ctx>; 2]>,
    /// By different block of B.
    pub panel_b: Table<'ctx>,
    pub panel_k: Table<'ctx>,
    /// The products with each of those: the first one, and how many.
    pub use_start: Table<'ctx>,
    pub use_count: Table<'ctx>,
    /// By product: position, offset of A, where its rows are packed, and whether that is still to be done.
    pub use_position: Table<'ctx>,
    pub use_a: Table<'ctx>,
    pub use_slot: Table<'ctx>,
    pub use_fresh: Table<'ctx>,
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
        let uses = || plan.scatter.uses.iter().flatten();
        let table = |numbers: &mut dyn Iterator<Item = i64>| Table::new(emitter, numbers);
        Tables {
            a: table(&mut blocks().map(|block| block.a)),
            b: table(&mut blocks().map(|block| block.b)),
            k: table(&mut blocks().map(|block| block.k as i64)),
            panel: table(&mut blocks().map(|block| block.panel as i64)),
            start: table(&mut choice().map(|list| plan.starts[list] as i64)),
            end: table(&mut choice().map(|list| plan.starts[list + 1] as i64)),
            listed: plan.listed.then(|| Self::listed(emitter, plan, a_bytes)),
            panel_b: table(&mut plan.panels_of_b.iter().map(|panel| panel.0)),
            panel_k: table(&mut plan.panels_of_b.iter().map(|panel| panel.1 as i64)),
            use_start: table(&mut starts(plan.scatter.uses.iter().map(Vec::len))),
            use_count: table(&mut plan.scatter.uses.iter().map(|uses| uses.len() as i64)),
            use_position: table(&mut uses().map(|one| one.position as i64)),
            use_a: table(&mut uses().map(|one| one.a)),
            use_slot: table(&mut uses().map(|one| one.slot as i64)),
            use_fresh: table(&mut uses().map(|one| i64::from(one.fresh))),
            once_a: table(&mut plan.scatter.once.iter().map(|block| block.0)),
            once_k: table(&mut plan.scatter.once.iter().map(|block| block.1 as i64)),
        }
    }

    fn listed(emitter: &Emitter<'ctx>, plan: &Plan, a_bytes: usize) -> [PointerValue<'ctx>; 2] {
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

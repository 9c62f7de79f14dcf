//! Order [`Scatter`](super::plan::Order::Scatter): every block of B meets several blocks of A, each at a position of the outer
//! loops of its own. Neighbouring blocks of B are packed together, in batches, so that the sums of a position grow by several products
//! before they leave their registers. As positions of a window overlap, a block of A is met again soon: its packed rows are kept
//! until then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

/// The product of two blocks, `k` long, at the offsets `a` and `b`, for the inside loops' position of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    pub position: u64,
    pub a: i64,
    pub b: i64,
    pub k: u64,
}

/// A different block of A: offset and length along k.
pub type BlockOfA = (i64, u64);

/// A product with a block of B of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub a: BlockOfA,
    /// Where its packed rows are.
    pub slot: u64,
    /// The block of B's number in its batch.
    pub place: u64,
}

/// What a batch adds to a position's sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    pub position: u64,
    pub pairs: Range<u64>,
}

/// Blocks of B that are packed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub panels: Range<u64>,
    /// The blocks of A that are packed first.
    pub packs: Range<u64>,
    pub sums: Range<u64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scatter {
    pub batches: Vec<Batch>,
    pub sums: Vec<Sum>,
    pub pairs: Vec<Pair>,
    /// Slots, and the blocks of A that are packed into them.
    pub packs: Vec<(u64, BlockOfA)>,
    /// Places for packed blocks of A.
    pub slots: u64,
    /// The most blocks of B of a batch.
    pub width: u64,
    /// Blocks of A, by slot, that are packed once for all panels of B.
    pub once: Vec<BlockOfA>,
}

/// The different blocks of B, in the order of memory: offset and length along k.
pub fn panels(products: &[Product]) -> Vec<(i64, u64)> {
    let mut panels: Vec<(i64, u64)> = products.iter().map(|product| (product.b, product.k)).collect();
    panels.sort_unstable();
    panels.dedup();
    panels
}

impl Scatter {
    /// Sorts the products by their blocks of B, of which at most `width` make a batch, and fewer where more than `room` blocks of A
    /// would have to be kept; without it A is read in place.
    pub fn new(products: Vec<Product>, panels: &[(i64, u64)], room: Option<u64>, width: u64) -> Scatter {
        let numbers: HashMap<_, u64> = panels.iter().copied().zip(0..).collect();
        let number = |product: Product| (numbers[&(product.b, product.k)], product);
        let mut sorted: Vec<(u64, Product)> = products.into_iter().map(number).collect();
        sorted.sort_by_key(|(panel, product)| (*panel, product.position));
        let Some(room) = room else { return Scatter::cut(&sorted, width, |_, _| 0) };
        let all: BTreeSet<BlockOfA> = sorted.iter().map(|(_, product)| block_of_a(product)).collect();
        if all.len() as u64 <= room {
            let slots: HashMap<BlockOfA, u64> = all.iter().copied().zip(0..).collect();
            let cut = Scatter::cut(&sorted, width, |_, block| slots[&block]);
            return Scatter { slots: all.len() as u64, once: all.into_iter().collect(), ..cut };
        }
        let (width, packing) = packing(&sorted, room, width);
        let mut scatter = Scatter::cut(&sorted, width, |batch, block| packing.slots[batch][&block]);
        scatter.slots = packing.count;
        for (batch, packs) in scatter.batches.iter_mut().zip(packing.packs) {
            let start = scatter.packs.len() as u64;
            scatter.packs.extend(packs);
            batch.packs = start..scatter.packs.len() as u64;
        }
        scatter
    }

    /// Batches of `width` blocks of B, and what they add to each position; nothing is packed yet.
    fn cut(sorted: &[(u64, Product)], width: u64, slot: impl Fn(usize, BlockOfA) -> u64) -> Scatter {
        let mut scatter = Scatter { width, ..Scatter::default() };
        for (number, products) in batches(sorted, width).enumerate() {
            let mut sums: BTreeMap<u64, Vec<Pair>> = BTreeMap::new();
            let first = number as u64 * width;
            for (panel, product) in products {
                let a = block_of_a(product);
                let pair = Pair { a, slot: slot(number, a), place: panel - first };
                sums.entry(product.position).or_default().push(pair);
            }
            let start = scatter.sums.len() as u64;
            for (position, pairs) in sums {
                let start = scatter.pairs.len() as u64;
                scatter.pairs.extend(pairs);
                scatter.sums.push(Sum { position, pairs: start..scatter.pairs.len() as u64 });
            }
            let panels = first..products.last().map_or(first, |last| last.0 + 1);
            scatter.batches.push(Batch { panels, packs: 0..0, sums: start..scatter.sums.len() as u64 });
        }
        scatter
    }
}

fn block_of_a(product: &Product) -> BlockOfA {
    (product.a, product.k)
}

/// The products with each so many blocks of B, of which every one has some.
fn batches(sorted: &[(u64, Product)], width: u64) -> impl Iterator<Item = &[(u64, Product)]> {
    sorted.chunk_by(move |one, next| one.0 / width == next.0 / width)
}

/// Which blocks of A are packed where, batch by batch.
struct Packing {
    packs: Vec<Vec<(u64, BlockOfA)>>,
    slots: Vec<HashMap<BlockOfA, u64>>,
    count: u64,
}

/// Batches as wide as they can be where at most `room` blocks are kept from their first use to the last one; where that is too
/// many, they are packed for every batch.
fn packing(sorted: &[(u64, Product)], room: u64, width: u64) -> (u64, Packing) {
    let last: HashMap<BlockOfA, u64> =
        sorted.iter().map(|(panel, product)| (block_of_a(product), *panel)).collect();
    let widths = || std::iter::successors(Some(width), |&width| (width > 1).then_some(width / 2));
    let kept =
        || widths().find_map(|width| Some((width, pack(sorted, width, |block| last[block] / width, room)?)));
    let anew = |width, room| Some((width, pack(sorted, width, |_| 0, room)?));
    let fitting = || widths().find_map(|width| anew(width, room));
    kept().or_else(fitting).or_else(|| anew(1, u64::MAX)).expect("there is room for all")
}

/// Gives every block a slot in the batches that use it: from the first of them on, to the one that is its `last` one or comes
/// later. `None` where that takes more slots than there is `room` for.
fn pack(
    sorted: &[(u64, Product)],
    width: u64,
    last: impl Fn(&BlockOfA) -> u64,
    room: u64,
) -> Option<Packing> {
    let (mut free, mut held) = (Vec::new(), HashMap::new());
    let mut packing = Packing { packs: vec![], slots: vec![], count: 0 };
    for (products, number) in batches(sorted, width).zip(0..) {
        let blocks: BTreeSet<BlockOfA> = products.iter().map(|(_, product)| block_of_a(product)).collect();
        let mut packs = vec![];
        for block in &blocks {
            held.entry(*block).or_insert_with(|| {
                let slot = free.pop().unwrap_or_else(|| {
                    packing.count += 1;
                    packing.count - 1
                });
                packs.push((slot, *block));
                slot
            });
        }
        if packing.count > room {
            return None;
        }
        packing.packs.push(packs);
        packing.slots.push(blocks.iter().map(|block| (*block, held[block])).collect());
        let done = blocks.iter().filter(|block| last(block) <= number);
        free.extend(done.filter_map(|block| held.remove(block)));
    }
    Some(packing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taps of a window of three on a row of `length` entries.
    fn row(length: i64) -> Vec<Product> {
        let pairs = (0..3).flat_map(|tap| (0..length).map(move |at| (tap, at, at + tap - 1)));
        let inside = pairs.filter(|&(_, _, b)| (0..length).contains(&b));
        inside.map(|(tap, a, b)| Product { position: tap as u64, a, b, k: 8 }).collect()
    }

    fn scattered(length: i64, room: Option<u64>, width: u64) -> Scatter {
        let panels = panels(&row(length));
        Scatter::new(row(length), &panels, room, width)
    }

    /// The products that the batches make, from what lies in the slots then.
    fn made(scatter: &Scatter) -> Vec<Product> {
        let mut content: HashMap<u64, BlockOfA> =
            scatter.once.iter().copied().zip(0..).map(|(a, slot)| (slot, a)).collect();
        let mut made = vec![];
        for batch in &scatter.batches {
            content.extend(scatter.packs[as_range(&batch.packs)].iter().copied());
            for sum in &scatter.sums[as_range(&batch.sums)] {
                for pair in &scatter.pairs[as_range(&sum.pairs)] {
                    assert!(content.is_empty() || content[&pair.slot] == pair.a);
                    assert!(batch.panels.start + pair.place < batch.panels.end);
                    let b = (batch.panels.start + pair.place) as i64;
                    made.push(Product { position: sum.position, a: pair.a.0, b, k: pair.a.1 });
                }
            }
        }
        made.sort_by_key(|product| (product.position, product.a));
        made
    }

    fn as_range(range: &Range<u64>) -> Range<usize> {
        range.start as usize..range.end as usize
    }

    #[test]
    fn every_product_is_made_once_from_rows_that_are_there() {
        for (length, width) in
            [1, 7, 20].into_iter().flat_map(|length| [1, 3, 8, 64].map(|width| (length, width)))
        {
            for room in [None, Some(2), Some(4), Some(9), Some(40)] {
                let scatter = scattered(length, room, width);
                assert_eq!(made(&scatter), row(length), "{length} {room:?} {width}");
                assert!(scatter.width <= width);
            }
        }
    }

    #[test]
    fn a_slot_holds_its_block_until_the_last_use() {
        let scatter = scattered(20, Some(9), 6);
        assert!(scatter.once.is_empty());
        assert_eq!((scatter.slots, scatter.width), (8, 6));
        assert_eq!(scatter.packs.len(), 20, "every block once");
    }

    #[test]
    fn batches_become_shorter_where_too_much_would_be_kept() {
        assert_eq!(scattered(20, Some(6), 12).width, 3);
        let none = scattered(20, Some(2), 8);
        assert_eq!((none.width, none.slots), (1, 3));
        assert_eq!(none.packs.len(), 58, "for each use");
    }

    #[test]
    fn where_all_fit_they_are_packed_once_for_all_panels() {
        let scatter = scattered(20, Some(20), 8);
        assert_eq!((scatter.slots, scatter.once.len(), scatter.packs.len()), (20, 20, 0));
    }
}

//! Order [`Scatter`](super::plan::Order::Scatter): every block of B meets several blocks of A, each at a position of the outer
//! loops of its own. As positions of a window overlap, a block of A is met again soon: its packed rows are kept until then.

use std::collections::{BTreeMap, HashMap};

/// The product of two blocks, `k` long, at the offsets `a` and `b`, for the inside loops' position of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    pub position: u64,
    pub a: i64,
    pub b: i64,
    pub k: u64,
}

/// A product with the block of B at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    pub position: u64,
    /// Offset of A.
    pub a: i64,
    /// Where its packed rows are.
    pub slot: u64,
    /// They have to be packed first.
    pub fresh: bool,
}

/// A different block of A: offset and length along k.
pub type BlockOfA = (i64, u64);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scatter {
    /// By block of B.
    pub uses: Vec<Vec<Use>>,
    /// Places for packed blocks of A.
    pub slots: u64,
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
    /// Sorts the products by their blocks of B. At most `room` blocks of A are kept.
    pub fn new(products: Vec<Product>, panels: &[(i64, u64)], room: u64) -> Scatter {
        let number: HashMap<_, usize> =
            panels.iter().enumerate().map(|(number, panel)| (*panel, number)).collect();
        let mut uses: Vec<Vec<Use>> = vec![vec![]; panels.len()];
        let mut blocks: BTreeMap<BlockOfA, u64> = BTreeMap::new();
        for product in products {
            blocks.insert((product.a, product.k), 0);
            let use_ = Use { position: product.position, a: product.a, slot: 0, fresh: true };
            uses[number[&(product.b, product.k)]].push(use_);
        }
        if blocks.len() as u64 <= room {
            blocks.values_mut().zip(0..).for_each(|(slot, number)| *slot = number);
            let lengths = panels.iter().map(|panel| panel.1);
            for (uses, k) in uses.iter_mut().zip(lengths) {
                uses.iter_mut().for_each(|one| (one.slot, one.fresh) = (blocks[&(one.a, k)], false));
            }
            return Scatter { uses, slots: blocks.len() as u64, once: blocks.into_keys().collect() };
        }
        let slots = place(&mut uses, panels);
        if slots > room {
            uses.iter_mut().flatten().for_each(|one| (one.slot, one.fresh) = (0, true));
        }
        Scatter { uses, slots: if slots > room { 1 } else { slots }, once: vec![] }
    }
}

/// Gives every block of A a slot from its first use to its last one; how many slots that takes.
fn place(uses: &mut [Vec<Use>], panels: &[(i64, u64)]) -> u64 {
    let mut last: HashMap<BlockOfA, usize> = HashMap::new();
    for (panel, (uses, &(_, k))) in uses.iter().zip(panels).enumerate() {
        last.extend(uses.iter().map(|one| ((one.a, k), panel)));
    }
    let (mut slots, mut free, mut held) = (0, Vec::new(), HashMap::new());
    for (panel, (uses, &(_, k))) in uses.iter_mut().zip(panels).enumerate() {
        for one in &mut *uses {
            one.fresh = !held.contains_key(&(one.a, k));
            one.slot = *held.entry((one.a, k)).or_insert_with(|| {
                free.pop().unwrap_or_else(|| {
                    slots += 1;
                    slots - 1
                })
            });
        }
        for one in uses {
            if last[&(one.a, k)] == panel {
                free.extend(held.remove(&(one.a, k)));
            }
        }
    }
    slots
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

    fn scattered(length: i64, room: u64) -> (Scatter, Vec<(i64, u64)>) {
        let panels = panels(&row(length));
        (Scatter::new(row(length), &panels, room), panels)
    }

    #[test]
    fn a_slot_holds_its_block_until_the_last_use() {
        let (scatter, panels) = scattered(20, 4);
        assert!(scatter.once.is_empty());
        assert!(scatter.slots <= 4, "{}", scatter.slots);
        let mut content = vec![None; scatter.slots as usize];
        for (uses, panel) in scatter.uses.iter().zip(&panels) {
            for one in uses {
                let block = Some((one.a, panel.1));
                if one.fresh {
                    content[one.slot as usize] = block;
                }
                assert_eq!(content[one.slot as usize], block);
            }
        }
        let packed = scatter.uses.iter().flatten().filter(|one| one.fresh).count();
        assert_eq!(packed, 20, "every block once");
    }

    #[test]
    fn where_all_fit_they_are_packed_once_for_all_panels() {
        let (scatter, _) = scattered(20, 20);
        assert_eq!((scatter.slots, scatter.once.len()), (20, 20));
        assert!(
            scatter.uses.iter().flatten().all(|one| !one.fresh && scatter.once[one.slot as usize].0 == one.a)
        );
    }

    #[test]
    fn where_none_fit_they_are_packed_for_each_use() {
        let (scatter, _) = scattered(20, 2);
        assert_eq!(scatter.slots, 1);
        assert!(scatter.uses.iter().flatten().all(|one| one.fresh && one.slot == 0));
        assert_eq!(scatter.uses.iter().flatten().count(), 58);
    }
}

//! Named axes: the vocabulary in which every stage speaks of shapes.
//!
//! An axis is an identity, not a length: two axes of extent 1024 stay apart. Tensors carry their axes in
//! storage order (row-major), the batch first where there is one. Broadcasting and contraction go by identity.

/// A named axis; its name and extent stand in the [`AxisTable`] that made it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Axis(pub u32);

/// The sample axis, first entry of every table.
pub const BATCH: Axis = Axis(0);

/// What is known of an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxisInfo {
    /// The name that the source gave it (`c`, `h`, `n`, …); not unique.
    pub name: String,
    /// Number of positions along it, at least 1.
    pub extent: usize,
}

/// All axes of one network. [`BATCH`] is always entry 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxisTable {
    entries: Vec<AxisInfo>,
    /// Second, third, … copies of axes, as (axis, number of the copy, the copy).
    copies: Vec<(Axis, usize, Axis)>,
}

impl AxisTable {
    /// A table that holds only the batch axis, of `batch` samples.
    pub fn new(batch: usize) -> Self {
        AxisTable { entries: vec![AxisInfo { name: "batch".into(), extent: batch }], copies: Vec::new() }
    }

    /// The `nth` further copy of an axis, of the same extent; 0 is the axis itself. Asking twice gives the same one.
    pub fn copy(&mut self, axis: Axis, nth: usize) -> Axis {
        if nth == 0 {
            return axis;
        }
        if let Some(known) = self.copies.iter().find(|copy| (copy.0, copy.1) == (axis, nth)) {
            return known.2;
        }
        let name = format!("{}{}", self.name(axis), "′".repeat(nth));
        let made = self.fresh(name, self.extent(axis));
        self.copies.push((axis, nth, made));
        made
    }

    /// Of which axis this is a copy, and the how manieth.
    pub fn copied(&self, axis: Axis) -> Option<(Axis, usize)> {
        self.copies.iter().find(|copy| copy.2 == axis).map(|copy| (copy.0, copy.1))
    }

    /// Another number of samples, for the batch alone: copies keep theirs.
    pub fn set_batch(&mut self, batch: usize) {
        self.entries[BATCH.0 as usize].extent = batch;
    }

    pub fn fresh(&mut self, name: impl Into<String>, extent: usize) -> Axis {
        self.entries.push(AxisInfo { name: name.into(), extent });
        Axis(self.entries.len() as u32 - 1)
    }

    pub fn name(&self, axis: Axis) -> &str {
        &self.entries[axis.0 as usize].name
    }

    pub fn extent(&self, axis: Axis) -> usize {
        self.entries[axis.0 as usize].extent
    }

    /// Number of entries of a tensor over `axes`. Sizes were limited when the network was elaborated; a product of many
    /// tensors that is only thought of may go beyond all numbers.
    pub fn size(&self, axes: &[Axis]) -> usize {
        axes.iter().fold(1, |size: usize, &axis| size.saturating_mul(self.extent(axis)))
    }

    /// Of a tensor with these axes, outermost first, the one along which entries are neighbours in memory.
    pub fn nearest(&self, axes: &[Axis]) -> Option<Axis> {
        axes.iter().copied().rfind(|&axis| self.extent(axis) > 1)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        false
    }
}

impl std::fmt::Display for Axis {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "a{}", self.0)
    }
}

impl std::fmt::Debug for Axis {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

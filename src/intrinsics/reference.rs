//! Tables of entries, for the hand-written references: plain indexing by axis, nothing shared with `sym`.

use std::borrow::Cow;

use ndarray::{ArrayD, IxDyn};

use super::Tensor;
use crate::axes::{Axis, AxisTable};

/// Positions along axes; an axis that is absent counts as position 0.
pub(super) type Place<'a> = &'a dyn Fn(Axis) -> usize;

/// The array over `axes` whose entries `f` gives.
pub(super) fn tabulate(table: &AxisTable, axes: &[Axis], mut f: impl FnMut(Place) -> f64) -> ArrayD<f64> {
    by_index(table, axes, |index| {
        f(&|axis| axes.iter().position(|own| *own == axis).map_or(0, |place| index[place]))
    })
}

/// The array over `axes` of which `f` gives an entry from those of the tensors at its place.
pub(super) fn zipped(
    table: &AxisTable,
    axes: &[Axis],
    tensors: &[&Tensor],
    mut f: impl FnMut(&[f64]) -> f64,
) -> ArrayD<f64> {
    let tensors: Vec<Strided> = tensors.iter().map(|tensor| Strided::of(tensor)).collect();
    let strides = |tensor: &Strided| axes.iter().map(|&axis| tensor.stride(axis)).collect();
    let strides: Vec<Vec<usize>> = tensors.iter().map(strides).collect();
    let mut entries = vec![0.0; tensors.len()];
    by_index(table, axes, |index| {
        for ((entry, tensor), strides) in entries.iter_mut().zip(&tensors).zip(&strides) {
            let at: usize = index.iter().zip(strides).map(|(position, stride)| position * stride).sum();
            *entry = tensor.entries[at];
        }
        f(&entries)
    })
}

/// The array over `axes` whose entries `f` gives, by positions along them.
fn by_index(table: &AxisTable, axes: &[Axis], mut f: impl FnMut(&[usize]) -> f64) -> ArrayD<f64> {
    let shape: Vec<usize> = axes.iter().map(|&axis| table.extent(axis)).collect();
    let mut index = vec![0; shape.len()];
    ArrayD::from_shape_simple_fn(IxDyn(&shape), || {
        let entry = f(&index);
        for (position, &extent) in index.iter_mut().zip(&shape).rev() {
            *position = (*position + 1) % extent;
            if *position > 0 {
                break;
            }
        }
        entry
    })
}

/// Calls `f` with every place along `over`, the other axes as in `place`.
pub(super) fn each(table: &AxisTable, over: &[Axis], place: Place, f: &mut dyn FnMut(Place)) {
    let Some((&axis, rest)) = over.split_first() else { return f(place) };
    for position in 0..table.extent(axis) {
        each(table, rest, &|asked| if asked == axis { position } else { place(asked) }, f);
    }
}

/// A tensor's entries where they lie.
pub(super) struct Strided<'a> {
    axes: &'a [Axis],
    strides: Vec<usize>,
    pub entries: Cow<'a, [f64]>,
}

impl<'a> Strided<'a> {
    pub fn of(tensor: &'a Tensor) -> Self {
        let entries = match tensor.values.as_slice() {
            Some(entries) => Cow::Borrowed(entries),
            None => Cow::Owned(tensor.values.iter().copied().collect()),
        };
        let mut strides = vec![1; tensor.axes.len()];
        for (place, extent) in tensor.values.shape().iter().enumerate().skip(1).rev() {
            strides[place - 1] = strides[place] * extent;
        }
        Strided { axes: &tensor.axes, strides, entries }
    }

    /// How far entries lie apart along an axis: 0 along one that the tensor lacks.
    pub fn stride(&self, axis: Axis) -> usize {
        self.axes.iter().position(|own| *own == axis).map_or(0, |place| self.strides[place])
    }

    /// How far entries at all places along `over` lie from the first.
    pub fn along(&self, table: &AxisTable, over: &[Axis]) -> Vec<usize> {
        let mut distances = Vec::new();
        each(table, over, &|_| 0, &mut |place| distances.push(self.at(place)));
        distances
    }

    /// The entry at `place`; axes that the tensor lacks do not matter.
    pub fn entry(&self, place: Place) -> f64 {
        self.entries[self.at(place)]
    }

    /// Where that entry lies.
    pub fn at(&self, place: Place) -> usize {
        self.axes.iter().zip(&self.strides).map(|(&axis, stride)| place(axis) * stride).sum()
    }
}

//! Tables of entries, for the hand-written references: plain indexing by axis, nothing shared with `sym`.

use ndarray::{ArrayD, IxDyn};

use super::Tensor;
use crate::axes::{Axis, AxisTable};

/// Positions along axes; an axis that is absent counts as position 0.
pub(super) type Place<'a> = &'a dyn Fn(Axis) -> usize;

/// The array over `axes` whose entries `f` gives.
pub(super) fn tabulate(table: &AxisTable, axes: &[Axis], mut f: impl FnMut(Place) -> f64) -> ArrayD<f64> {
    let shape: Vec<usize> = axes.iter().map(|&axis| table.extent(axis)).collect();
    ArrayD::from_shape_fn(IxDyn(&shape), |index| {
        f(&|axis| axes.iter().position(|own| *own == axis).map_or(0, |place| index[place]))
    })
}

/// The entry of a tensor; axes that the tensor lacks do not matter.
pub(super) fn entry(tensor: &Tensor, place: Place) -> f64 {
    let along = tensor.axes.iter().zip(tensor.values.shape());
    let flat = along.fold(0, |flat, (&axis, extent)| flat * extent + place(axis));
    match tensor.values.as_slice() {
        Some(entries) => entries[flat],
        None => tensor.values[IxDyn(&tensor.axes.iter().map(|&axis| place(axis)).collect::<Vec<usize>>())],
    }
}

/// Calls `f` with every place along `over`, the other axes as in `place`.
pub(super) fn each(table: &AxisTable, over: &[Axis], place: Place, f: &mut dyn FnMut(Place)) {
    let Some((&axis, rest)) = over.split_first() else { return f(place) };
    for position in 0..table.extent(axis) {
        each(table, rest, &|asked| if asked == axis { position } else { place(asked) }, f);
    }
}

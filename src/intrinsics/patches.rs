//! What intrinsics with sliding windows share: how windows lie on an axis, and the patches as an expression.

use super::{Attr, Attrs, ShapeError};
use crate::axes::{Axis, AxisTable, BATCH};
use crate::ir::Type;
use crate::sym::{Expr, Graph, Window};

/// How windows lie along one axis: `kernel` positions each, `stride` apart, the first one `pad` before the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Geometry {
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
}

impl Geometry {
    /// Number of windows that fit: ⌊(extent + 2·pad − kernel)/stride⌋ + 1.
    pub fn count(&self, extent: usize) -> Option<usize> {
        let room = extent.checked_add(self.pad.checked_mul(2)?)?.checked_sub(self.kernel)?;
        Some(room / self.stride + 1)
    }

    /// The position that a window's tap sees, if it lies inside.
    pub fn position(&self, extent: usize, window: usize, tap: usize) -> Option<usize> {
        (window * self.stride + tap).checked_sub(self.pad).filter(|&position| position < extent)
    }

    /// How windows along `axis`, numbered by `windows`, see it with their taps.
    pub fn window(&self, axis: Axis, windows: Axis, taps: Axis) -> Window {
        Window { axis, offset: -(self.pad as i64), by: vec![(windows, self.stride), (taps, 1)] }
    }
}

/// The attribute as a number that is at least `least`.
pub(super) fn whole(name: &str, attrs: &Attrs, key: &str, least: i64) -> Result<usize, ShapeError> {
    let value = match attrs.get(key) {
        Some(Attr::Int(value)) => *value,
        _ => least,
    };
    let fits = usize::try_from(value).ok().filter(|_| value >= least && value <= i64::from(i32::MAX));
    fits.ok_or_else(|| ShapeError {
        message: format!("`{key}` of `{name}` is {value}"),
        help: Some(format!("it must be a whole number from {least} on")),
    })
}

/// The last two axes of an image [.., h, w].
pub(super) fn plane(name: &str, table: &AxisTable, arg: &Type) -> Result<[Axis; 2], ShapeError> {
    let features: Vec<Axis> = arg.axes.iter().copied().filter(|axis| *axis != BATCH).collect();
    match features[..] {
        [.., h, w] => Ok([h, w]),
        _ => Err(ShapeError {
            message: format!(
                "`{name}` slides over images [.., h, w], this value has shape {}",
                super::elementwise::describe(table, &arg.axes)
            ),
            help: None,
        }),
    }
}

/// A fresh axis with one position per window along `axis`.
pub(super) fn windows_along(
    name: &str,
    table: &mut AxisTable,
    axis: Axis,
    geometry: Geometry,
) -> Result<Axis, ShapeError> {
    let (extent, Geometry { kernel, pad, .. }) = (table.extent(axis), geometry);
    if pad >= kernel && pad > 0 {
        return Err(ShapeError {
            message: format!("a padding of {pad} is as long as the window of {kernel}"),
            help: Some("some windows would see nothing but padding: pad by less than the kernel".into()),
        });
    }
    let Some(count) = geometry.count(extent) else {
        return Err(ShapeError {
            message: format!(
                "the window of `{name}` has {kernel} positions, the axis `{}` has {extent} with {pad} of \
                 padding on each side",
                table.name(axis)
            ),
            help: Some("a smaller kernel or more padding fits".into()),
        });
    };
    Ok(table.fresh(table.name(axis).to_string(), count))
}

/// All windows of an image: over the axes of `x`, its plane replaced by `windows` and `taps`; 0 in the padding.
pub(super) fn patches(
    graph: &mut Graph,
    x: Expr,
    plane: [Axis; 2],
    windows: [Axis; 2],
    taps: [Axis; 2],
    geometry: [Geometry; 2],
) -> Expr {
    let mut patches = graph.spread(x, &plane);
    for i in 0..2 {
        let window = geometry[i].window(plane[i], windows[i], taps[i]);
        patches = graph.unfold(patches, window);
    }
    patches
}

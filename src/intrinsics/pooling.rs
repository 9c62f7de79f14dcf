//! What pools share: windows that slide over each channel of an image [.., h, w], reduced to one number each.

use ndarray::ArrayD;

use super::elementwise::check_numbers;
use super::patches::{Geometry, plane, whole, windows_along};
use super::{
    Attr, AttrDefault, AttrKind, Attrs, Intrinsic, Problem, ShapeError, Signature, Tensor, reference,
};
use crate::axes::{Axis, AxisTable, BATCH};
use crate::ir::Type;
use crate::sym::{Expr, Graph};

/// Products of windows and their positions above this would take more time than anybody waits.
const MOST_TAPS: usize = 1 << 30;

/// What one window becomes.
pub(super) trait Pooling: Sync {
    /// The value of all windows of `x`, which lie over `windows` with `taps`.
    fn formula(&self, graph: &mut Graph, x: Expr, call: &Call) -> Expr;

    /// Of the entries of one window, row by row; `None` in the padding.
    fn of(&self, entries: &[Option<f64>]) -> f64;
}

/// A pool as an intrinsic: its name and its meaning.
pub struct Pool {
    pub(super) name: &'static str,
    pub(super) meaning: &'static dyn Pooling,
}

/// The axes of a pool.
pub(super) struct Call {
    pub plane: [Axis; 2],
    pub windows: [Axis; 2],
    pub taps: [Axis; 2],
    pub geometry: Geometry,
}

impl Pool {
    /// A stride of 0 is that of the kernel.
    fn geometry(&self, attrs: &Attrs) -> Result<Geometry, ShapeError> {
        let kernel = whole(self.name, attrs, "kernel", 1)?;
        let stride = match whole(self.name, attrs, "stride", 0)? {
            0 => kernel,
            stride => stride,
        };
        let pad = whole(self.name, attrs, "pad", 0)?;
        if pad > kernel / 2 {
            let message = format!("a padding of {pad} is more than half of the window of {kernel}");
            return Err(ShapeError { message, help: Some(format!("pad by at most {}", kernel / 2)) });
        }
        Ok(Geometry { kernel, stride, pad })
    }
}

impl Intrinsic for Pool {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> Signature {
        Signature {
            tensors: &["x"],
            attrs: &[
                ("kernel", AttrKind::Int, None),
                ("stride", AttrKind::Int, Some(AttrDefault::Int(0))),
                ("pad", AttrKind::Int, Some(AttrDefault::Int(0))),
            ],
        }
    }

    fn infer(&self, axes: &mut AxisTable, args: &[Type], attrs: &Attrs) -> Result<Type, ShapeError> {
        check_numbers(self.name, &args[0])?;
        let plane = plane(self.name, axes, &args[0])?;
        let geometry = self.geometry(attrs)?;
        let mut kept: Vec<Axis> = args[0].axes.iter().copied().filter(|axis| !plane.contains(axis)).collect();
        for axis in plane {
            kept.push(windows_along(self.name, axes, axis, geometry)?);
        }
        let taps = axes.size(&kept).saturating_mul(geometry.kernel).saturating_mul(geometry.kernel);
        if taps > MOST_TAPS {
            let message = format!("the windows of `{}` have {taps} entries in all", self.name);
            let help = format!("at most {MOST_TAPS} are possible: take a larger stride or a smaller kernel");
            return Err(ShapeError { message, help: Some(help) });
        }
        Ok(Type::float(kept))
    }

    fn express(&self, graph: &mut Graph, args: &[Expr], types: &[Type], attrs: &Attrs, out: &Type) -> Expr {
        // `infer` has accepted these types already.
        let (Ok(plane), Ok(geometry), &[.., h, w]) =
            (plane(self.name, &graph.axes, &types[0]), self.geometry(attrs), &out.axes[..])
        else {
            return args[0];
        };
        let taps = ["k", "l"].map(|name| graph.axes.fresh(name, geometry.kernel));
        let x = graph.spread(args[0], &types[0].axes);
        let value = self.meaning.formula(graph, x, &Call { plane, windows: [h, w], taps, geometry });
        graph.spread(value, &out.axes)
    }

    fn reference(&self, axes: &AxisTable, args: &[&Tensor], attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        let (Ok(geometry), [.., y_h, y_w]) = (self.geometry(attrs), &out.axes[..]) else {
            return ArrayD::zeros(vec![]);
        };
        let [.., h, w] = args[0].axes[..] else { return ArrayD::zeros(vec![]) };
        let image = reference::Strided::of(args[0]);
        let [of_rows, of_columns] = [h, w].map(|axis| image.stride(axis));
        reference::tabulate(axes, &out.axes, |place| {
            let corner = image.at(&|axis| if axis == h || axis == w { 0 } else { place(axis) });
            let mut entries = Vec::new();
            for (k, l) in (0..geometry.kernel).flat_map(|k| (0..geometry.kernel).map(move |l| (k, l))) {
                let row = geometry.position(axes.extent(h), place(*y_h), k);
                let column = geometry.position(axes.extent(w), place(*y_w), l);
                let pixel = |(row, column)| image.entries[corner + row * of_rows + column * of_columns];
                entries.push(row.zip(column).map(pixel));
            }
            self.meaning.of(&entries)
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let [c, h, w] = [Axis(1), Axis(2), Axis(3)];
        // Batch, channels, image; kernel, stride, pad.
        let cases = [
            ([3, 2, 4, 6], [2, 0, 0]),
            ([2, 3, 5, 5], [2, 2, 0]),
            ([2, 1, 5, 7], [3, 2, 1]),
            ([1, 5, 4, 5], [3, 1, 1]),
            ([5, 3, 3, 3], [1, 1, 0]),
            ([1, 2, 3, 4], [3, 1, 0]),
        ];
        let problem = |(extents, [kernel, stride, pad]): ([usize; 4], [i64; 3])| Problem {
            extents: extents.to_vec(),
            args: vec![Type::float(vec![BATCH, c, h, w])],
            attrs: Attrs::from_iter([
                ("kernel", Attr::Int(kernel)),
                ("stride", Attr::Int(stride)),
                ("pad", Attr::Int(pad)),
            ]),
            range: (-3.0, 3.0),
            points: vec![0.0, 1.0, 1.0],
        };
        cases.into_iter().map(problem).collect()
    }
}

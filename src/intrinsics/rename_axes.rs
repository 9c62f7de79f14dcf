//! The same entries under other axes, position by position: what aligns `shortcut(x)` with `phi(x)`.

use ndarray::ArrayD;

use super::reduction::axes_attr;
use super::{Attr, AttrKind, Attrs, Intrinsic, Problem, ShapeError, Signature, Tensor, reference};
use crate::axes::{Axis, AxisTable, BATCH};
use crate::ir::Type;
use crate::sym::{Expr, Graph};

pub(super) struct RenameAxes;

fn pairs(attrs: &Attrs) -> Vec<(Axis, Axis)> {
    let (from, to) = (axes_attr(attrs, "from"), axes_attr(attrs, "to"));
    from.iter().copied().zip(to.iter().copied()).filter(|pair| pair.0 != pair.1).collect()
}

fn renamed(pairs: &[(Axis, Axis)], axis: Axis) -> Axis {
    pairs.iter().find(|pair| pair.0 == axis).map_or(axis, |pair| pair.1)
}

impl Intrinsic for RenameAxes {
    fn name(&self) -> &'static str {
        "rename_axes"
    }

    fn signature(&self) -> Signature {
        Signature { tensors: &["x"], attrs: &[("from", AttrKind::Axes, None), ("to", AttrKind::Axes, None)] }
    }

    fn infer(&self, axes: &mut AxisTable, args: &[Type], attrs: &Attrs) -> Result<Type, ShapeError> {
        let refuse = |message: String| Err(ShapeError { message, help: None });
        if axes_attr(attrs, "from").len() != axes_attr(attrs, "to").len() {
            return refuse("`from` and `to` must name as many axes".into());
        }
        let pairs = pairs(attrs);
        if let Some((old, new)) = pairs.iter().find(|(old, new)| axes.extent(*old) != axes.extent(*new)) {
            let (was, is) = (axes.extent(*old), axes.extent(*new));
            return refuse(format!(
                "axis `{}` has extent {was}, axis `{}` {is}",
                axes.name(*old),
                axes.name(*new)
            ));
        }
        let result: Vec<Axis> = args[0].axes.iter().map(|&axis| renamed(&pairs, axis)).collect();
        if let Some(twice) = result.iter().enumerate().find(|(i, axis)| result[..*i].contains(axis)) {
            return refuse(format!("axis `{}` would occur twice", axes.name(*twice.1)));
        }
        Ok(Type { elem: args[0].elem, axes: result })
    }

    fn express(&self, graph: &mut Graph, args: &[Expr], _types: &[Type], attrs: &Attrs, _out: &Type) -> Expr {
        graph.rename(args[0], &pairs(attrs))
    }

    fn reference(&self, axes: &AxisTable, args: &[&Tensor], attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        let (arg, pairs) = (reference::Strided::of(args[0]), pairs(attrs));
        reference::tabulate(axes, &out.axes, |place| arg.entry(&|axis| place(renamed(&pairs, axis))))
    }

    fn problems(&self) -> Vec<Problem> {
        let [a, b, c] = [Axis(1), Axis(2), Axis(3)];
        let problem = |extents, axes: Vec<Axis>, from: Vec<Axis>, to: Vec<Axis>| Problem {
            extents,
            args: vec![Type::float(axes)],
            attrs: Attrs::from_iter([("from", Attr::Axes(from)), ("to", Attr::Axes(to))]),
            range: (-2.0, 2.0),
            points: vec![],
        };
        vec![
            problem(vec![5, 3, 3, 4], vec![BATCH, a, c], vec![a], vec![b]),
            problem(vec![2, 3, 3, 1], vec![a, b], vec![a, b], vec![b, a]),
            problem(vec![1, 1, 1, 1], vec![BATCH, a], vec![a], vec![b]),
        ]
    }
}

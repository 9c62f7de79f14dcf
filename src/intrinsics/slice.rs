//! The entries from `start` up to but without `stop` along one axis.

use ndarray::ArrayD;

use super::elementwise::check_numbers;
use super::patches::whole;
use super::reduction::axes_attr;
use super::{
    Attr, AttrDefault, AttrKind, Attrs, Intrinsic, Problem, ShapeError, Signature, Tensor, reference,
};
use crate::axes::{Axis, AxisTable, BATCH};
use crate::ir::Type;
use crate::sym::{Expr, Graph, Window};

pub(super) struct Slice;

impl Intrinsic for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn signature(&self) -> Signature {
        Signature {
            tensors: &["x"],
            attrs: &[
                ("start", AttrKind::Int, Some(AttrDefault::Int(0))),
                ("stop", AttrKind::Int, None),
                ("over", AttrKind::Axes, None),
            ],
        }
    }

    fn infer(&self, axes: &mut AxisTable, args: &[Type], attrs: &Attrs) -> Result<Type, ShapeError> {
        check_numbers(self.name(), &args[0])?;
        let &[axis] = axes_attr(attrs, "over") else {
            let message = format!("`{}` takes one axis in `over`", self.name());
            return Err(ShapeError {
                message,
                help: Some("several axes are sliced one after the other".into()),
            });
        };
        if axis == BATCH {
            let message = format!("`{}` does not take samples out of a batch", self.name());
            return Err(ShapeError { message, help: Some("name another axis in `over`".into()) });
        }
        let [start, stop] = [whole(self.name(), attrs, "start", 0)?, whole(self.name(), attrs, "stop", 1)?];
        let extent = axes.extent(axis);
        if start >= stop || stop > extent {
            let message = format!(
                "positions {start} up to {stop} do not lie on the axis `{}` of {extent}",
                axes.name(axis)
            );
            let help = "`start` is less than `stop`, and `stop` at most the number of positions";
            return Err(ShapeError { message, help: Some(help.into()) });
        }
        let shorter = axes.fresh(axes.name(axis).to_string(), stop - start);
        let renamed = args[0].axes.iter().map(|&own| if own == axis { shorter } else { own });
        Ok(Type::float(renamed.collect()))
    }

    fn express(&self, graph: &mut Graph, args: &[Expr], types: &[Type], attrs: &Attrs, out: &Type) -> Expr {
        let Ok(start) = whole(self.name(), attrs, "start", 0) else { return args[0] };
        let mut axes = types[0].axes.iter().zip(&out.axes);
        let Some((&axis, &shorter)) = axes.find(|pair| pair.0 != pair.1) else { return args[0] };
        let value = graph.spread(args[0], &types[0].axes);
        let value = graph.unfold(value, Window { axis, offset: start as i64, by: vec![(shorter, 1)] });
        graph.spread(value, &out.axes)
    }

    fn reference(&self, axes: &AxisTable, args: &[&Tensor], attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        let start = whole(self.name(), attrs, "start", 0).unwrap_or(0);
        reference::tabulate(axes, &out.axes, |place| {
            let position = |i: usize| {
                let (own, new) = (args[0].axes[i], out.axes[i]);
                if own == new { place(own) } else { place(new) + start }
            };
            let at: Vec<usize> = (0..out.axes.len()).map(position).collect();
            args[0].values[&at[..]]
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let [c, h] = [Axis(1), Axis(2)];
        let problem = |extents, start, stop, over: Axis| Problem {
            extents,
            args: vec![Type::float(vec![BATCH, c, h])],
            attrs: Attrs::from_iter([
                ("start", Attr::Int(start)),
                ("stop", Attr::Int(stop)),
                ("over", Attr::Axes(vec![over])),
            ]),
            range: (-2.0, 2.0),
            points: vec![],
        };
        vec![
            problem(vec![3, 2, 7], 2, 5, h),
            problem(vec![1, 5, 3], 0, 1, c),
            problem(vec![2, 1, 17], 0, 17, h),
        ]
    }
}

//! Zeros before and after the entries along axes.

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

pub(super) struct Pad;

/// The longest axis that padding may make; shapes beyond it are refused with the sizes of tensors anyway.
const LONGEST: usize = 1 << 24;

impl Intrinsic for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn signature(&self) -> Signature {
        Signature {
            tensors: &["x"],
            attrs: &[
                ("before", AttrKind::Int, Some(AttrDefault::Int(0))),
                ("after", AttrKind::Int, Some(AttrDefault::Int(0))),
                ("over", AttrKind::Axes, None),
            ],
        }
    }

    fn infer(&self, axes: &mut AxisTable, args: &[Type], attrs: &Attrs) -> Result<Type, ShapeError> {
        check_numbers(self.name(), &args[0])?;
        let [before, after] =
            [whole(self.name(), attrs, "before", 0)?, whole(self.name(), attrs, "after", 0)?];
        let over = axes_attr(attrs, "over");
        if over.contains(&BATCH) {
            let message = format!("`{}` does not change the number of samples", self.name());
            return Err(ShapeError { message, help: Some("name other axes in `over`".into()) });
        }
        let mut padded = args[0].axes.clone();
        for axis in padded.iter_mut().filter(|axis| over.contains(axis)) {
            let extent = axes.extent(*axis) + before + after;
            if extent > LONGEST {
                let message = format!("an axis of {extent} positions, at most {LONGEST} are possible");
                return Err(ShapeError { message, help: None });
            }
            *axis = axes.fresh(axes.name(*axis).to_string(), extent);
        }
        Ok(Type::float(padded))
    }

    fn express(&self, graph: &mut Graph, args: &[Expr], types: &[Type], attrs: &Attrs, out: &Type) -> Expr {
        let Ok(before) = whole(self.name(), attrs, "before", 0) else { return args[0] };
        let mut value = graph.spread(args[0], &types[0].axes);
        for (&axis, &longer) in types[0].axes.iter().zip(&out.axes).filter(|pair| pair.0 != pair.1) {
            let window = Window { axis, offset: -(before as i64), by: vec![(longer, 1)] };
            value = graph.unfold(value, window);
        }
        value
    }

    fn reference(&self, axes: &AxisTable, args: &[&Tensor], attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        let before = whole(self.name(), attrs, "before", 0).unwrap_or(0);
        reference::tabulate(axes, &out.axes, |place| {
            let position = |i: usize| {
                let (own, new) = (args[0].axes[i], out.axes[i]);
                if own == new { Some(place(own)) } else { place(new).checked_sub(before) }
            };
            let at: Option<Vec<usize>> = (0..out.axes.len()).map(position).collect();
            let inside =
                |at: &Vec<usize>| at.iter().zip(args[0].values.shape()).all(|(at, extent)| at < extent);
            at.filter(inside).map_or(0.0, |at| args[0].values[&at[..]])
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let [c, h] = [Axis(1), Axis(2)];
        let problem = |extents, before, after, over: &[Axis]| Problem {
            extents,
            args: vec![Type::float(vec![BATCH, c, h])],
            attrs: Attrs::from_iter([
                ("before", Attr::Int(before)),
                ("after", Attr::Int(after)),
                ("over", Attr::Axes(over.to_vec())),
            ]),
            range: (-2.0, 2.0),
            points: vec![],
        };
        vec![
            problem(vec![3, 2, 5], 1, 2, &[h]),
            problem(vec![1, 4, 1], 2, 0, &[c, h]),
            problem(vec![2, 3, 17], 0, 0, &[h]),
        ]
    }
}

//! Two values one behind the other along an axis. All other axes go by position and must have the same extents.

use ndarray::ArrayD;

use super::elementwise::{check_numbers, describe};
use super::reduction::axes_attr;
use super::{Attr, AttrKind, Attrs, Intrinsic, Problem, ShapeError, Signature, Tensor, reference};
use crate::axes::{Axis, AxisTable, BATCH};
use crate::ir::Type;
use crate::sym::{Expr, Graph, Window};

pub(super) struct Concat;

impl Intrinsic for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn signature(&self) -> Signature {
        Signature { tensors: &["a", "b"], attrs: &[("over", AttrKind::Axes, None)] }
    }

    fn infer(&self, axes: &mut AxisTable, args: &[Type], attrs: &Attrs) -> Result<Type, ShapeError> {
        args.iter().try_for_each(|arg| check_numbers(self.name(), arg))?;
        let &[axis] = axes_attr(attrs, "over") else {
            let message = format!("`{}` takes one axis in `over`", self.name());
            return Err(ShapeError { message, help: None });
        };
        let (a, b) = (&args[0].axes, &args[1].axes);
        let place = a.iter().position(|own| *own == axis).filter(|_| axis != BATCH);
        let fits = |i: usize| Some(i) == place || axes.extent(a[i]) == axes.extent(b[i]);
        let batches = a.contains(&BATCH) == b.contains(&BATCH);
        let Some(place) = place.filter(|_| a.len() == b.len() && batches && (0..a.len()).all(fits)) else {
            let message = format!(
                "{} and {} do not go one behind the other along `{}`",
                describe(axes, a),
                describe(axes, b),
                axes.name(axis)
            );
            let help = "both need the same number of axes, and the same sizes along all others";
            return Err(ShapeError { message, help: Some(help.into()) });
        };
        let extent = axes.extent(axis).saturating_add(axes.extent(b[place]));
        let mut result = a.clone();
        result[place] = axes.fresh(axes.name(axis).to_string(), extent);
        Ok(Type::float(result))
    }

    /// The sum of both, each padded with zeros where the other lies.
    fn express(&self, graph: &mut Graph, args: &[Expr], types: &[Type], _attrs: &Attrs, out: &Type) -> Expr {
        let Some(place) = (0..out.axes.len()).find(|&i| out.axes[i] != types[0].axes[i]) else {
            return args[0];
        };
        let longer = out.axes[place];
        let mut first = 0;
        let mut parts = Vec::new();
        for (&arg, ty) in args.iter().zip(types) {
            let value = graph.spread(arg, &ty.axes);
            let axis = ty.axes[place];
            let padded = graph.unfold(value, Window { axis, offset: -first, by: vec![(longer, 1)] });
            first += graph.axes.extent(axis) as i64;
            let pairs: Vec<(Axis, Axis)> = ty.axes.iter().copied().zip(out.axes.iter().copied()).collect();
            parts.push(graph.rename(padded, &pairs));
        }
        graph.add(&parts)
    }

    fn reference(&self, axes: &AxisTable, args: &[&Tensor], _attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        let place = (0..out.axes.len()).find(|&i| out.axes[i] != args[0].axes[i]).unwrap_or(0);
        let first = args[0].values.shape()[place];
        reference::tabulate(axes, &out.axes, |at| {
            let mut at: Vec<usize> = out.axes.iter().map(|&axis| at(axis)).collect();
            let side = usize::from(at[place] >= first);
            at[place] -= side * first;
            args[side].values[&at[..]]
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let [c, h, d, g] = [Axis(1), Axis(2), Axis(3), Axis(4)];
        let problem = |extents, a: Vec<Axis>, b: Vec<Axis>, over: Axis| Problem {
            extents,
            args: vec![Type::float(a), Type::float(b)],
            attrs: Attrs::from_iter([("over", Attr::Axes(vec![over]))]),
            range: (-2.0, 2.0),
            points: vec![],
        };
        vec![
            problem(vec![3, 2, 5, 4, 1], vec![BATCH, c, h], vec![BATCH, d, h], c),
            problem(vec![2, 3, 4, 3, 7], vec![BATCH, c, h], vec![BATCH, d, g], h),
            problem(vec![1, 1, 1, 1, 1], vec![BATCH, c], vec![BATCH, c], c),
        ]
    }
}

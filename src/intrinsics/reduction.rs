//! What all reductions over named axes share.

use ndarray::ArrayD;

use super::elementwise::check_numbers;
use super::{
    Attr, AttrDefault, AttrKind, Attrs, Intrinsic, Problem, ShapeError, Signature, Tensor, reference,
};
use crate::axes::{Axis, AxisTable, BATCH};
use crate::ir::Type;
use crate::sym::{Expr, Graph};

/// A reduction of one tensor over the axes of its attribute `over`.
pub(super) trait Reducing: Sync {
    fn formula(&self, graph: &mut Graph, arg: Expr, over: &[Axis]) -> Expr;

    /// Of all entries along the axes, written from the definition.
    fn of(&self, entries: &[f64]) -> f64;
}

/// A reduction as an intrinsic: its name and its meaning.
pub struct Reduction {
    pub(super) name: &'static str,
    pub(super) meaning: &'static dyn Reducing,
}

/// The axes that `attrs` names under `key`; none where it does not.
pub(super) fn axes_attr<'a>(attrs: &'a Attrs, key: &str) -> &'a [Axis] {
    match attrs.get(key) {
        Some(Attr::Axes(axes)) => axes,
        _ => &[],
    }
}

impl Intrinsic for Reduction {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> Signature {
        Signature { tensors: &["x"], attrs: &[("over", AttrKind::Axes, Some(AttrDefault::AllButBatch))] }
    }

    fn infer(&self, axes: &mut AxisTable, args: &[Type], attrs: &Attrs) -> Result<Type, ShapeError> {
        let arg = &args[0];
        check_numbers(self.name, arg)?;
        let over = axes_attr(attrs, "over");
        if let Some(&absent) = over.iter().find(|axis| !arg.axes.contains(axis)) {
            let shape = super::elementwise::describe(axes, &arg.axes);
            let message = format!("no axis `{}` to reduce in a value of shape {shape}", axes.name(absent));
            return Err(ShapeError { message, help: None });
        }
        if let Some((_, twice)) = over.iter().enumerate().find(|(i, axis)| over[..*i].contains(axis)) {
            let message = format!("axis `{}` is named twice", axes.name(*twice));
            return Err(ShapeError { message, help: None });
        }
        Ok(Type::float(arg.axes.iter().copied().filter(|axis| !over.contains(axis)).collect()))
    }

    fn express(&self, graph: &mut Graph, args: &[Expr], _types: &[Type], attrs: &Attrs, _out: &Type) -> Expr {
        self.meaning.formula(graph, args[0], axes_attr(attrs, "over"))
    }

    fn reference(&self, axes: &AxisTable, args: &[&Tensor], attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        let (arg, over) = (reference::Strided::of(args[0]), axes_attr(attrs, "over"));
        let reduced = arg.along(axes, over);
        reference::tabulate(axes, &out.axes, |place| {
            let start = arg.at(place);
            let entries: Vec<f64> = reduced.iter().map(|distance| arg.entries[start + distance]).collect();
            self.meaning.of(&entries)
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let [n, d] = [Axis(1), Axis(2)];
        let cases: [(Vec<usize>, &[Axis]); 4] = [
            (vec![5, 7, 3], &[n]),
            (vec![3, 1, 17], &[BATCH, d]),
            (vec![1, 9, 2], &[BATCH, n, d]),
            (vec![4, 1, 1], &[n]),
        ];
        let problem = |(extents, over): (Vec<usize>, &[Axis])| Problem {
            extents,
            args: vec![Type::float(vec![BATCH, n, d])],
            attrs: Attrs::from_iter([("over", Attr::Axes(over.to_vec()))]),
            range: (-4.0, 4.0),
            points: vec![],
        };
        cases.into_iter().map(problem).collect()
    }
}

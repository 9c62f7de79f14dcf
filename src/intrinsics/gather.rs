//! `x[label]`: the entry of `x` at the position that a class label names. The label's class is an axis of `x`, or has
//! the extent of its last axis, which it then picks from. Written as Σ_k 1{k = label}·x_k: its derivative scatters by
//! the same comparison, without a scatter.

use ndarray::ArrayD;

use super::elementwise::{describe, describe_elem};
use super::eq::Eq;
use super::select::Where;
use super::{Attrs, Intrinsic, Problem, ShapeError, Signature, Tensor, reference};
use crate::axes::{Axis, AxisTable, BATCH};
use crate::ir::{Elem, Type};
use crate::sym::{Expr, Graph};

pub(super) struct Gather;

/// The axis of `x` that the label picks from.
fn picked(axes: &AxisTable, x: &[Axis], class: Axis) -> Option<Axis> {
    if x.contains(&class) {
        return Some(class);
    }
    x.last().copied().filter(|&last| last != BATCH && axes.extent(last) == axes.extent(class))
}

fn class(label: &Type) -> Option<Axis> {
    match label.elem {
        Elem::Class(axis) => Some(axis),
        _ => None,
    }
}

impl Intrinsic for Gather {
    fn name(&self) -> &'static str {
        "[]"
    }

    fn operator(&self) -> Option<&'static str> {
        Some("[]")
    }

    fn signature(&self) -> Signature {
        Signature { tensors: &["x", "label"], attrs: &[] }
    }

    fn infer(&self, axes: &mut AxisTable, args: &[Type], _attrs: &Attrs) -> Result<Type, ShapeError> {
        let (x, label) = (&args[0], &args[1]);
        let Some(class) = class(label).filter(|_| x.elem == Elem::Float) else {
            let message = format!(
                "only numbers are indexed, by a class label; this index is {}",
                describe_elem(label.elem)
            );
            let help = "a target of the form `class[k]` is a class label";
            return Err(ShapeError { message, help: Some(help.into()) });
        };
        let Some(picked) = picked(axes, &x.axes, class) else {
            let (shape, k) = (describe(axes, &x.axes), axes.extent(class));
            let message = format!("a label of {k} classes does not pick from a value of shape {shape}");
            let help = format!("the last axis should have extent {k}");
            return Err(ShapeError { message, help: Some(help) });
        };
        let kept: Vec<Axis> = x.axes.iter().copied().filter(|axis| *axis != picked).collect();
        Ok(Type::float(crate::sym::graph::broadcast_axes(&[&kept, &label.axes])))
    }

    fn express(&self, graph: &mut Graph, args: &[Expr], types: &[Type], _attrs: &Attrs, _out: &Type) -> Expr {
        let picked = class(&types[1]).and_then(|class| picked(&graph.axes, &types[0].axes, class));
        // `infer` has found the axis for these types already.
        let Some(axis) = picked else { return args[0] };
        let position = graph.index(axis);
        let chosen = graph.apply(&Eq, &[position, args[1]]);
        let zero = graph.number(0.0);
        let entry = graph.apply(&Where, &[chosen, args[0], zero]);
        graph.sum(&[axis], entry)
    }

    fn reference(&self, axes: &AxisTable, args: &[&Tensor], _attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        let [x, label] = [0, 1].map(|i| reference::Strided::of(args[i]));
        reference::tabulate(axes, &out.axes, |place| {
            let at = label.entry(place) as usize;
            x.entry(&|axis| if out.axes.contains(&axis) { place(axis) } else { at })
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let [k, c] = [Axis(1), Axis(2)];
        let label = |class| Type { elem: Elem::Class(class), axes: vec![BATCH] };
        let problem = |extents, class| Problem {
            extents,
            args: vec![Type::float(vec![BATCH, k]), label(class)],
            attrs: Attrs::new(),
            range: (-2.0, 2.0),
            points: vec![],
        };
        vec![problem(vec![5, 10, 10], c), problem(vec![3, 7, 1], k), problem(vec![1, 1, 1], c)]
    }
}

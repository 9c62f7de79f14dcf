//! What all entrywise intrinsics share: kinds are checked, axes broadcast by identity.

use ndarray::ArrayD;

use super::{Attrs, Intrinsic, Problem, Scalar, ShapeError, Signature, Tensor, reference};
use crate::axes::{Axis, AxisTable, BATCH};
use crate::ir::{Elem, Type};
use crate::sym::graph::broadcast_axes;
use crate::sym::{Expr, Graph};

/// What an entrywise function takes or gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Number,
    Condition,
}

/// An entrywise intrinsic: from this, the whole [`Intrinsic`] follows.
pub(super) trait Elementwise: Sync {
    const NAME: &'static str;
    const OPERATOR: Option<&'static str> = None;
    const ARGS: &'static [&'static str];
    const TAKES: &'static [Kind];
    const GIVES: Kind = Kind::Number;
    /// Range from which the suite draws arguments, and points that it adds.
    const RANGE: (f64, f64) = (-3.0, 3.0);
    const POINTS: &'static [f64] = &[];
    /// See [`Intrinsic::is_held`].
    const IS_HELD: bool = false;

    fn function(&self) -> Option<&'static dyn Scalar> {
        None
    }

    /// The symbolic expression.
    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr;

    /// One entry, written from the definition.
    fn at(&self, args: &[f64]) -> f64;
}

impl<T: Elementwise> Intrinsic for T {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn operator(&self) -> Option<&'static str> {
        T::OPERATOR
    }

    fn signature(&self) -> Signature {
        Signature { tensors: T::ARGS, attrs: &[] }
    }

    fn infer(&self, axes: &mut AxisTable, args: &[Type], _attrs: &Attrs) -> Result<Type, ShapeError> {
        for (position, (arg, &kind)) in args.iter().zip(T::TAKES).enumerate() {
            check_kind(T::OPERATOR.unwrap_or(T::NAME), T::ARGS[position], arg, kind)?;
        }
        check_broadcast(axes, args)?;
        let shapes: Vec<&[Axis]> = args.iter().map(|arg| &arg.axes[..]).collect();
        let elem = if T::GIVES == Kind::Number { Elem::Float } else { Elem::Bool };
        Ok(Type { elem, axes: broadcast_axes(&shapes) })
    }

    fn express(
        &self,
        graph: &mut Graph,
        args: &[Expr],
        _types: &[Type],
        _attrs: &Attrs,
        _out: &Type,
    ) -> Expr {
        self.formula(graph, args)
    }

    fn reference(&self, axes: &AxisTable, args: &[&Tensor], _attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        reference::zipped(axes, &out.axes, args, |entries| self.at(entries))
    }

    fn problems(&self) -> Vec<Problem> {
        let [n, d] = [Axis(1), Axis(2)];
        let shapes: [&[&[Axis]]; 3] =
            [&[&[BATCH, n], &[n], &[BATCH]], &[&[n, d], &[n, d], &[n, d]], &[&[], &[], &[]]];
        let extents = [vec![5, 7, 1], vec![1, 3, 17], vec![4, 1, 1]];
        let problem = |(extents, shapes): (Vec<usize>, &[&[Axis]])| Problem {
            extents,
            args: T::TAKES.iter().zip(shapes).map(|(&kind, axes)| typed(kind, axes)).collect(),
            attrs: Attrs::new(),
            range: T::RANGE,
            points: T::POINTS.to_vec(),
        };
        extents.into_iter().zip(shapes).map(problem).collect()
    }

    fn scalar(&self) -> Option<&'static dyn Scalar> {
        self.function()
    }

    fn is_held(&self) -> bool {
        T::IS_HELD
    }
}

fn typed(kind: Kind, axes: &[Axis]) -> Type {
    let elem = if kind == Kind::Number { Elem::Float } else { Elem::Bool };
    Type { elem, axes: axes.to_vec() }
}

fn check_kind(name: &str, arg: &str, ty: &Type, kind: Kind) -> Result<(), ShapeError> {
    let (wants, help) = match (kind, ty.elem) {
        (Kind::Number, Elem::Float) | (Kind::Condition, Elem::Bool) => return Ok(()),
        (Kind::Number, _) => ("a number", "`where(condition, a, b)` makes a number of a condition"),
        (Kind::Condition, _) => ("a condition", "a comparison such as `t > 0` gives one"),
    };
    let has = describe_elem(ty.elem);
    Err(ShapeError {
        message: format!("`{name}` takes {wants} as `{arg}`, not {has}"),
        help: Some(help.into()),
    })
}

/// Refuses what is no tensor of numbers.
pub(super) fn check_numbers(name: &str, arg: &Type) -> Result<(), ShapeError> {
    if arg.elem == Elem::Float {
        return Ok(());
    }
    let message = format!("`{name}` takes numbers, not {}", describe_elem(arg.elem));
    Err(ShapeError { message, help: None })
}

pub(super) fn describe_elem(elem: Elem) -> &'static str {
    match elem {
        Elem::Float => "a number",
        Elem::Class(_) => "a class label",
        Elem::Bool => "a condition",
    }
}

/// Apart from the batch, the axes of one argument must contain the other's: anything else would be an outer product
/// that nobody meant.
fn check_broadcast(axes: &AxisTable, args: &[Type]) -> Result<(), ShapeError> {
    for (i, left) in args.iter().enumerate() {
        for right in &args[i + 1..] {
            let beyond =
                |a: &Type, b: &Type| a.axes.iter().any(|axis| *axis != BATCH && !b.axes.contains(axis));
            if beyond(left, right) && beyond(right, left) {
                let (left, right) = (describe(axes, &left.axes), describe(axes, &right.axes));
                let message = format!(
                    "shapes {left} and {right} do not broadcast: each has an axis that the other lacks"
                );
                return Err(ShapeError { message, help: None });
            }
        }
    }
    Ok(())
}

/// `[n: 10]`, as all messages show shapes: without the batch, and an axis without a name by its size alone.
pub(super) fn describe(table: &AxisTable, axes: &[Axis]) -> String {
    let part = |&axis: &Axis| {
        let (name, extent) = (table.name(axis), table.extent(axis));
        if name.parse::<usize>().is_ok() { extent.to_string() } else { format!("{name}: {extent}") }
    };
    let parts: Vec<String> = axes.iter().filter(|&&axis| axis != BATCH).map(part).collect();
    format!("[{}]", parts.join(", "))
}

//! All axes but the batch as one, row-major. A value with at most one such axis stays as it is.

use ndarray::ArrayD;

use super::elementwise::check_numbers;
use super::{Attrs, Intrinsic, Problem, ShapeError, Signature, Tensor, reference};
use crate::axes::{Axis, AxisTable, BATCH};
use crate::ir::Type;
use crate::sym::{Expr, Graph};

pub(super) struct Flatten;

fn features(ty: &Type) -> Vec<Axis> {
    ty.axes.iter().copied().filter(|axis| *axis != BATCH).collect()
}

impl Intrinsic for Flatten {
    fn name(&self) -> &'static str {
        "flatten"
    }

    fn signature(&self) -> Signature {
        Signature { tensors: &["x"], attrs: &[] }
    }

    fn infer(&self, axes: &mut AxisTable, args: &[Type], _attrs: &Attrs) -> Result<Type, ShapeError> {
        check_numbers(self.name(), &args[0])?;
        let features = features(&args[0]);
        if features.len() <= 1 {
            return Ok(args[0].clone());
        }
        let flat = axes.fresh("flat", axes.size(&features));
        let batch = args[0].axes.iter().copied().filter(|axis| *axis == BATCH);
        Ok(Type::float(batch.chain([flat]).collect()))
    }

    fn express(&self, graph: &mut Graph, args: &[Expr], types: &[Type], _attrs: &Attrs, out: &Type) -> Expr {
        graph.reshape(args[0], &features(&types[0]), &features(out))
    }

    fn reference(&self, axes: &AxisTable, args: &[&Tensor], _attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        let inner: Vec<Axis> = args[0].axes.iter().copied().filter(|axis| *axis != BATCH).collect();
        let flat = out.axes.iter().copied().find(|axis| *axis != BATCH);
        let arg = reference::Strided::of(args[0]);
        reference::tabulate(axes, &out.axes, |place| {
            let position = flat.map_or(0, place);
            let stride = |i: usize| axes.size(&inner[i + 1..]);
            let coordinate = |i: usize| position / stride(i) % axes.extent(inner[i]);
            arg.entry(&|axis| inner.iter().position(|own| *own == axis).map_or(place(axis), coordinate))
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let [c, h, w] = [Axis(1), Axis(2), Axis(3)];
        let cases = [
            (vec![5, 3, 4, 2], vec![BATCH, c, h, w]),
            (vec![1, 1, 7, 1], vec![BATCH, c, h]),
            (vec![3, 9, 1, 1], vec![BATCH, c]),
            (vec![1, 3, 2, 1], vec![c, h]),
        ];
        let problem = |(extents, axes)| Problem {
            extents,
            args: vec![Type::float(axes)],
            attrs: Attrs::new(),
            range: (-2.0, 2.0),
            points: vec![],
        };
        cases.into_iter().map(problem).collect()
    }
}

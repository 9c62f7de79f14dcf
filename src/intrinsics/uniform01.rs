//! Uniform numbers in (0, 1), fixed by the seed: for initializers.

use ndarray::ArrayD;

use super::reduction::axes_attr;
use super::{Attrs, Intrinsic, Problem, ShapeError, Signature, Tensor, draw, reference};
use crate::axes::AxisTable;
use crate::ir::Type;
use crate::sym::{Expr, Graph};

pub(super) struct Uniform01;

impl Intrinsic for Uniform01 {
    fn name(&self) -> &'static str {
        "uniform01"
    }

    fn signature(&self) -> Signature {
        draw::signature()
    }

    fn infer(&self, _axes: &mut AxisTable, _args: &[Type], attrs: &Attrs) -> Result<Type, ShapeError> {
        Ok(draw::result(attrs))
    }

    fn express(
        &self,
        graph: &mut Graph,
        _args: &[Expr],
        _types: &[Type],
        attrs: &Attrs,
        _out: &Type,
    ) -> Expr {
        draw::uniform(graph, attrs, 0, false)
    }

    fn reference(&self, axes: &AxisTable, _args: &[Tensor], attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        let over = axes_attr(attrs, "over");
        reference::tabulate(axes, &out.axes, |place| {
            let position = draw::position(axes, over, place);
            draw::reference(attrs, 0, position)
        })
    }

    fn problems(&self) -> Vec<Problem> {
        draw::problems()
    }
}

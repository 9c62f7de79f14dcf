//! Standard normal numbers by Box and Muller, √(−2 log u)·cos(2π v), fixed by the seed: for initializers.

use ndarray::ArrayD;

use super::cos::Cos;
use super::log::Log;
use super::reduction::axes_attr;
use super::{Attrs, Intrinsic, Problem, ShapeError, Signature, Tensor, draw, reference};
use crate::axes::AxisTable;
use crate::ir::Type;
use crate::sym::{Expr, Graph};

pub(super) struct Gaussian;

impl Intrinsic for Gaussian {
    fn name(&self) -> &'static str {
        "gaussian"
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
        let [u, v] = [0, 1].map(|substream| draw::uniform(graph, attrs, substream, false));
        let log = graph.apply(&Log, &[u]);
        let minus_two = graph.number(-2.0);
        let square = graph.mul(&[minus_two, log]);
        let radius = graph.sqrt(square);
        let turn = graph.number(std::f64::consts::TAU);
        let angle = graph.mul(&[turn, v]);
        let cos = graph.apply(&Cos, &[angle]);
        graph.mul(&[radius, cos])
    }

    fn reference(&self, axes: &AxisTable, _args: &[Tensor], attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        let over = axes_attr(attrs, "over");
        reference::tabulate(axes, &out.axes, |place| {
            let position = draw::position(axes, over, place);
            let [u, v] = [0, 1].map(|substream| draw::reference(attrs, substream, position));
            (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        })
    }

    fn problems(&self) -> Vec<Problem> {
        draw::problems()
    }
}

//! A matrix with the first axis as rows, made orthonormal: rows or columns, whichever are fewer, in order by
//! Gram–Schmidt, so that the triangular factor has a positive diagonal. For initializers.

use ndarray::{Array2, ArrayD, ArrayView1};

use super::{Attrs, Intrinsic, Problem, ShapeError, Signature, Tensor};
use crate::axes::{Axis, AxisTable};
use crate::ir::{Elem, Type};
use crate::sym::{Expr, Graph};

pub(super) struct Orthonormal;

impl Intrinsic for Orthonormal {
    fn name(&self) -> &'static str {
        "orthonormal"
    }

    fn signature(&self) -> Signature {
        Signature { tensors: &["x"], attrs: &[] }
    }

    fn infer(&self, _axes: &mut AxisTable, args: &[Type], _attrs: &Attrs) -> Result<Type, ShapeError> {
        if args[0].elem == Elem::Float && !args[0].axes.is_empty() {
            return Ok(args[0].clone());
        }
        let message = format!("`{}` takes a tensor of numbers with at least one axis", self.name());
        Err(ShapeError { message, help: None })
    }

    fn express(&self, graph: &mut Graph, args: &[Expr], _types: &[Type], _attrs: &Attrs, out: &Type) -> Expr {
        let full = graph.spread(args[0], &out.axes);
        graph.orthonormal(full)
    }

    fn reference(&self, _axes: &AxisTable, args: &[&Tensor], _attrs: &Attrs, _out: &Type) -> ArrayD<f64> {
        let values = &args[0].values;
        let rows = values.shape()[0];
        let flat: Vec<f64> = values.iter().copied().collect();
        let matrix =
            Array2::from_shape_fn((rows, flat.len() / rows), |(i, j)| flat[i * (flat.len() / rows) + j]);
        let wide = rows <= matrix.ncols();
        let basis = project(if wide { matrix } else { matrix.reversed_axes() });
        let result = if wide { basis } else { basis.reversed_axes() };
        let entries = result.iter().copied().collect();
        ArrayD::from_shape_vec(values.raw_dim(), entries).unwrap_or_else(|_| values.clone())
    }

    fn problems(&self) -> Vec<Problem> {
        let [n, d] = [Axis(1), Axis(2)];
        let problem = |extents| Problem {
            extents,
            args: vec![Type::float(vec![n, d])],
            attrs: Attrs::new(),
            range: (-1.0, 1.0),
            points: vec![],
        };
        vec![problem(vec![1, 3, 7]), problem(vec![1, 5, 2]), problem(vec![1, 1, 1]), problem(vec![1, 4, 4])]
    }
}

/// Classical Gram–Schmidt on the rows, done twice for accuracy.
fn project(matrix: Array2<f64>) -> Array2<f64> {
    let mut basis = matrix;
    for row in 0..basis.nrows() {
        for _ in 0..2 {
            let current = basis.row(row).to_owned();
            let onto = |earlier: ArrayView1<f64>| &earlier * earlier.dot(&current);
            let projections: Vec<_> = (0..row).map(|earlier| onto(basis.row(earlier))).collect();
            projections.iter().for_each(|projection| {
                let mut target = basis.row_mut(row);
                target -= projection;
            });
        }
        let norm = basis.row(row).dot(&basis.row(row)).sqrt();
        basis.row_mut(row).mapv_inplace(|entry| entry / norm);
    }
    basis
}

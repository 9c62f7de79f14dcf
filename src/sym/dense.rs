//! Linear maps as arrays of numbers: what a structured operator, or a product with a symbolic Jacobian, amounts to
//! at one point. The map is applied to the basis of its domain, a block of directions at a time, along an axis that
//! numbers them.

use ndarray::{Array2, s};

use super::evaluate::{Tensor, Values};
use super::graph::{Expr, Graph, Storage, Symbol, SymbolInfo, without};
use super::operator::Operator;
use crate::axes::Axis;

/// Entries of the largest block of directions, so that a wide domain does not need its square in memory.
const BLOCK_ENTRIES: usize = 1 << 21;

/// A linear map between two spaces, applied to directions that are the value of a symbol.
#[derive(Clone, Debug)]
pub struct LinearMap {
    /// Over the axis that numbers directions, then the domain.
    argument: Symbol,
    directions: Axis,
    domain: Vec<Axis>,
    codomain: Vec<Axis>,
    /// Over the directions and (some of) the codomain.
    result: Expr,
}

impl LinearMap {
    /// The map that takes δ (over `domain`) to `map(δ)` (over `codomain`), for up to `directions` of them at a time.
    pub fn new(
        graph: &mut Graph,
        domain: &[Axis],
        codomain: &[Axis],
        directions: usize,
        map: impl FnOnce(&mut Graph, Expr) -> Expr,
    ) -> LinearMap {
        let number = graph.axes.fresh("direction", directions.max(1));
        let axes = [&[number], domain].concat();
        let info = SymbolInfo { name: "direction".into(), label: "δ".into(), axes, storage: Storage::Float };
        let argument = graph.new_symbol(info);
        let direction = graph.symbol(argument);
        let result = map(graph, direction);
        let (domain, codomain) = (domain.to_vec(), codomain.to_vec());
        LinearMap { argument, directions: number, domain, codomain, result }
    }

    /// Images of `directions`, one row each (at most as many as the map was made for): rows × |codomain|.
    pub fn apply(&self, graph: &Graph, values: &mut Values, directions: &Array2<f64>) -> Array2<f64> {
        let table = &graph.axes;
        let (rows, width) = (directions.nrows(), table.size(&self.domain));
        let capacity = table.extent(self.directions);
        let mut padded = Array2::zeros((capacity, width));
        padded.slice_mut(s![..rows, ..]).assign(directions);
        let axes = [&[self.directions], &self.domain[..]].concat();
        values.set(graph, self.argument, Tensor::new(table, &axes, padded.into_raw_vec_and_offset().0));
        let image = values.of(graph, self.result);
        let axes = [&[self.directions], &self.codomain[..]].concat();
        let flat = image.along(table, &axes).into_raw_vec_and_offset().0;
        let all = Array2::from_shape_vec((capacity, table.size(&self.codomain)), flat)
            .expect("as many entries as the axes have");
        all.slice(s![..rows, ..]).to_owned()
    }

    /// As [`LinearMap::apply`], of any number of rows.
    pub fn apply_all(&self, graph: &Graph, values: &mut Values, directions: &Array2<f64>) -> Array2<f64> {
        let (count, step) = (directions.nrows(), graph.axes.extent(self.directions));
        let mut images = Array2::zeros((count, graph.axes.size(&self.codomain)));
        for first in (0..count).step_by(step) {
            let rows = s![first..count.min(first + step), ..];
            let image = self.apply(graph, values, &directions.slice(rows).to_owned());
            images.slice_mut(rows).assign(&image);
        }
        images
    }

    /// The whole matrix, |codomain| × |domain|, both in the storage order of their axes.
    pub fn matrix(&self, graph: &Graph, values: &mut Values) -> Array2<f64> {
        let (height, width) = (graph.axes.size(&self.codomain), graph.axes.size(&self.domain));
        let mut matrix = Array2::zeros((height, width));
        let step = graph.axes.extent(self.directions);
        for first in (0..width).step_by(step) {
            let count = step.min(width - first);
            let basis = Array2::from_shape_fn((count, width), |(i, j)| f64::from(u8::from(j == first + i)));
            let images = self.apply(graph, values, &basis);
            matrix.slice_mut(s![.., first..first + count]).assign(&images.t());
        }
        matrix
    }
}

/// A linear map as a matrix, |codomain| × |domain|, a block of directions that keeps memory within bounds at a time.
fn dense(
    graph: &mut Graph,
    values: &mut Values,
    (domain, codomain): (&[Axis], &[Axis]),
    map: impl FnOnce(&mut Graph, Expr) -> Expr,
) -> Array2<f64> {
    let (width, height) = (graph.axes.size(domain), graph.axes.size(codomain));
    let directions = (BLOCK_ENTRIES / width.max(height).max(1)).clamp(1, width.max(1));
    LinearMap::new(graph, domain, codomain, directions, map).matrix(graph, values)
}

/// An operator as a matrix, |codomain| × |domain|.
pub fn matrix(graph: &mut Graph, values: &mut Values, operator: &Operator) -> Array2<f64> {
    let spaces = (&operator.domain[..], &operator.codomain[..]);
    dense(graph, values, spaces, |graph, argument| operator.apply_each(graph, argument))
}

/// ∂output/∂wrt as a matrix, |output| × |wrt|, by Jacobian–vector products in forward order: an independent way to the
/// numbers of [`matrix`] of the Jacobian as an operator.
pub fn jacobian_matrix(graph: &mut Graph, values: &mut Values, output: Expr, wrt: Expr) -> Array2<f64> {
    let (domain, codomain) = (graph.axes_of(wrt).to_vec(), graph.axes_of(output).to_vec());
    dense(graph, values, (&domain, &codomain), |graph, tangent| graph.jvp(output, wrt, tangent))
}

/// The blocks of an operator that is the identity along `axis`, the first of its domain and codomain, one under the other:
/// |codomain| × (|domain|/extent). Every direction is the same along the axis, so that its image has a column of each block.
pub fn stacked(graph: &mut Graph, values: &mut Values, operator: &Operator, axis: Axis) -> Array2<f64> {
    let domain = without(&operator.domain, &[axis]);
    dense(graph, values, (&domain, &operator.codomain), |graph, argument| {
        let everywhere = graph.spread(argument, &[axis]);
        operator.apply_each(graph, everywhere)
    })
}

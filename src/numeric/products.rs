//! Products of a Hessian with vectors, without its matrix: H v = Jᵀ (Hess(l)) J v (+ Σᵢ gᵢ ∇²Fᵢ v), by a forward and a
//! reverse pass per vector.

use ndarray::{Array2, ArrayView2, Axis as Dim, concatenate, s};

use super::point::Point;
use crate::axes::Axis;
use crate::hessian::jacobian::{hessian, jacobian};
use crate::sym::Expr;
use crate::sym::dense::LinearMap;
use crate::sym::operator::Operator;

/// Entries of the largest block of vectors that is pushed through a map at a time.
const BLOCK_ENTRIES: usize = 1 << 20;

/// A symmetric matrix that is known by its products, over all of `wrt` one after the other.
pub struct Products {
    pub wrt: Vec<Expr>,
    sizes: Vec<usize>,
    capacity: usize,
    forward: Vec<LinearMap>,
    curvature: Option<LinearMap>,
    back: Vec<LinearMap>,
    /// By row, then by column; empty for Gauss–Newton.
    residual: Vec<Vec<LinearMap>>,
    groups: Groups,
}

impl Products {
    /// The local Hessian of a block with respect to `wrt` (its input, or its parameters).
    pub fn local(point: &mut Point, block: usize, wrt: &[Expr], exact: bool) -> Products {
        let (output, loss) = (point.blocks[block].output, point.blocks[block].loss);
        let mut products = Products::gauss_newton(point, output, loss, wrt);
        if exact {
            products.add_residual(point, block);
        }
        products
    }

    /// The Gauss–Newton block of the whole network, (∂z_B/∂W_b)ᵀ Hess(l) (∂z_B/∂W_b).
    pub fn global(point: &mut Point, wrt: &[Expr]) -> Products {
        let last = &point.blocks[point.blocks.len() - 1];
        let (output, loss) = (last.output, last.loss);
        Products::gauss_newton(point, output, loss, wrt)
    }

    fn gauss_newton(point: &mut Point, output: Expr, loss: Option<Expr>, wrt: &[Expr]) -> Products {
        let sizes: Vec<usize> = wrt.iter().map(|&expr| point.size(expr)).collect();
        let widest = point.size(output).max(sizes.iter().sum());
        let capacity = (BLOCK_ENTRIES / widest.max(1)).clamp(1, 64);
        let groups = Groups::of(point, output, loss, wrt);
        let graph = &mut point.graph;
        let to = graph.axes_of(output).to_vec();
        let (mut forward, mut back) = (Vec::new(), Vec::new());
        for &expr in wrt {
            let from = graph.axes_of(expr).to_vec();
            forward.push(LinearMap::new(graph, &from, &to, capacity, |graph, v| graph.jvp(output, expr, v)));
            back.push(LinearMap::new(graph, &to, &from, capacity, |graph, v| {
                graph.vjp(&[(output, v)], &[expr])[&expr]
            }));
        }
        let curvature = loss.map(|loss| {
            let one = graph.number(1.0);
            let gradient = graph.vjp(&[(loss, one)], &[output])[&output];
            LinearMap::new(graph, &to, &to, capacity, |graph, v| graph.jvp(gradient, output, v))
        });
        Products { wrt: wrt.to_vec(), sizes, capacity, forward, curvature, back, residual: vec![], groups }
    }

    fn add_residual(&mut self, point: &mut Point, block: usize) {
        let cotangent = point.cotangent(block);
        let block = point.blocks[block].clone();
        let graph = &mut point.graph;
        for &row in &self.wrt {
            let gradient = cotangent.pulled_back(graph, &block, row);
            let to = graph.axes_of(row).to_vec();
            let mut maps = Vec::new();
            for &column in &self.wrt {
                let from = graph.axes_of(column).to_vec();
                maps.push(LinearMap::new(graph, &from, &to, self.capacity, |graph, v| {
                    graph.jvp(gradient, column, v)
                }));
            }
            self.residual.push(maps);
        }
    }

    /// Rows and columns.
    pub fn dim(&self) -> usize {
        self.sizes.iter().sum()
    }

    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// H v for every row v of `vectors`.
    pub fn apply(&self, point: &mut Point, vectors: &Array2<f64>) -> Array2<f64> {
        let mut images = Array2::zeros(vectors.raw_dim());
        for first in (0..vectors.nrows()).step_by(self.capacity) {
            let rows = s![first..(first + self.capacity).min(vectors.nrows()), ..];
            let image = self.apply_block(point, vectors.slice(rows));
            images.slice_mut(rows).assign(&image);
        }
        images
    }

    fn apply_block(&self, point: &mut Point, vectors: ArrayView2<f64>) -> Array2<f64> {
        let parts = self.split(vectors);
        let (graph, values) = (&point.graph, &mut point.values);
        let pushed = self.forward.iter().zip(&parts).map(|(map, part)| map.apply(graph, values, part));
        let mut image = pushed.reduce(|sum, part| sum + part).unwrap_or_default();
        if let Some(curvature) = &self.curvature {
            image = curvature.apply(graph, values, &image);
        }
        let mut back: Vec<Array2<f64>> =
            self.back.iter().map(|map| map.apply(graph, values, &image)).collect();
        for (row, maps) in back.iter_mut().zip(&self.residual) {
            for (map, part) in maps.iter().zip(&parts) {
                *row += &map.apply(graph, values, part);
            }
        }
        let views: Vec<_> = back.iter().map(|part| part.view()).collect();
        concatenate(Dim(1), &views).expect("parts of one height")
    }

    fn split(&self, vectors: ArrayView2<f64>) -> Vec<Array2<f64>> {
        let mut left = 0;
        let part = |&size: &usize| {
            left += size;
            vectors.slice(s![.., left - size..left]).to_owned()
        };
        self.sizes.iter().map(part).collect()
    }

    /// The diagonal blocks that the matrix consists of, one per group.
    pub fn blocks(&self, point: &mut Point) -> Vec<Array2<f64>> {
        let Groups { members } = &self.groups;
        let size = members.first().map_or(0, Vec::len);
        let mut blocks = vec![Array2::zeros((size, size)); members.len()];
        // A vector with one entry in every group gives a column of every block at once (Curtis, Powell and Reid, "On the
        // estimation of sparse Jacobian matrices", 1974).
        for first in (0..size).step_by(self.capacity) {
            let columns: Vec<usize> = (first..size.min(first + self.capacity)).collect();
            let mut seeds = Array2::zeros((columns.len(), self.dim()));
            for group in members {
                columns.iter().enumerate().for_each(|(row, &column)| seeds[[row, group[column]]] = 1.0);
            }
            let images = self.apply(point, &seeds);
            for (block, group) in blocks.iter_mut().zip(members) {
                for (row, &column) in columns.iter().enumerate() {
                    group.iter().enumerate().for_each(|(k, &at)| block[[k, column]] = images[[row, at]]);
                }
            }
        }
        blocks
    }
}

/// Which entries of the argument share a diagonal block: along axes on which the Jacobian (and the loss's Hessian) is
/// the identity, different positions never meet. F then consists of maps of their own, so that the exact Hessian falls
/// apart in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Places of the members in the vector, of every group in the same order.
    pub members: Vec<Vec<usize>>,
}

impl Groups {
    fn of(point: &mut Point, output: Expr, loss: Option<Expr>, wrt: &[Expr]) -> Groups {
        let graph = &mut point.graph;
        let mut common: Vec<Axis> = graph.axes_of(output).to_vec();
        for &expr in wrt {
            let has = graph.axes_of(expr).to_vec();
            common.retain(|axis| has.contains(axis));
            if !common.is_empty() {
                retain_shared(&mut common, jacobian(graph, output, expr).ok());
            }
        }
        if let (Some(loss), false) = (loss, common.is_empty()) {
            retain_shared(&mut common, hessian(graph, loss, output).ok());
        }
        Groups::along(point, wrt, &common)
    }

    fn along(point: &Point, wrt: &[Expr], common: &[Axis]) -> Groups {
        let table = &point.graph.axes;
        let mut members = vec![Vec::new(); table.size(common)];
        let mut offset = 0;
        for &expr in wrt {
            let axes = point.graph.axes_of(expr);
            for flat in 0..table.size(axes) {
                let mut group = 0;
                for &axis in common {
                    group = group * table.extent(axis) + position(point, axes, axis, flat);
                }
                members[group].push(offset + flat);
            }
            offset += table.size(axes);
        }
        Groups { members }
    }

    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Rows of one diagonal block.
    pub fn size(&self) -> usize {
        self.members.first().map_or(0, Vec::len)
    }
}

/// Keeps the axes on which every term is the identity; without an operator none is known to be.
fn retain_shared(axes: &mut Vec<Axis>, operator: Option<Operator>) {
    let Some(operator) = operator else { return axes.clear() };
    axes.retain(|&axis| operator.is_identity_along(axis));
}

/// The position along `axis` of the entry at `flat` of a row-major tensor over `axes`.
fn position(point: &Point, axes: &[Axis], axis: Axis, flat: usize) -> usize {
    let table = &point.graph.axes;
    let after = axes.iter().skip_while(|&&other| other != axis).skip(1).copied().collect::<Vec<_>>();
    flat / table.size(&after) % table.extent(axis)
}

//! One block's derivatives as matrices, in the orderings that `inspect --dump` writes: spaces are flattened sample after
//! sample, row-major within a sample; the parameters of a block stand one after the other in declared order.

use ndarray::{Array2, Axis as Dim, concatenate, s};

use super::point::Point;
use crate::hessian::exact::Cotangent;
use crate::hessian::jacobian::{TooManyTerms, gradient, hessian, jacobian};
use crate::sym::operator::Operator;
use crate::sym::{Expr, Graph, dense};

impl Point {
    /// A block's parameters in declared order.
    pub fn parameters_of(&self, block: usize) -> Vec<Expr> {
        self.blocks[block].params.iter().map(|param| param.value).collect()
    }

    /// ∂F_b/∂wrt, N_b × |wrt|: the derived operator evaluated; where it has too many terms to be one formula,
    /// Jacobian–vector products.
    pub fn jacobian(&mut self, block: usize, wrt: Expr) -> Array2<f64> {
        let output = self.blocks[block].output;
        let derived = jacobian(&mut self.graph, output, wrt);
        self.evaluated(derived, |_| output, wrt)
    }

    /// A derivative by `wrt` as a matrix: its operator evaluated, or products with the Jacobian of what it is of.
    fn evaluated(
        &mut self,
        derived: Result<Operator, TooManyTerms>,
        of: impl FnOnce(&mut Graph) -> Expr,
        wrt: Expr,
    ) -> Array2<f64> {
        match derived {
            Ok(operator) => dense::matrix(&mut self.graph, &mut self.values, &operator),
            Err(_) => {
                let of = of(&mut self.graph);
                dense::jacobian_matrix(&mut self.graph, &mut self.values, of, wrt)
            }
        }
    }

    /// The Jacobians with respect to several arguments side by side, N_b × Σ|wrt|.
    pub fn jacobians(&mut self, block: usize, wrt: &[Expr]) -> Array2<f64> {
        let rows = self.size(self.blocks[block].output);
        let parts: Vec<Array2<f64>> = wrt.iter().map(|&expr| self.jacobian(block, expr)).collect();
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        if views.is_empty() { Array2::zeros((rows, 0)) } else { joined(Dim(1), &views) }
    }

    /// Hess(l) with respect to z_B, N_B × N_B; `None` for the other blocks, whose back-matching loss has curvature I.
    pub fn loss_hessian(&mut self, block: usize) -> Option<Array2<f64>> {
        let (loss, output) = (self.blocks[block].loss?, self.blocks[block].output);
        let derived = hessian(&mut self.graph, loss, output);
        Some(self.evaluated(derived, |graph| gradient(graph, loss, output), output))
    }

    /// JᵀJ, for the last block Jᵀ Hess(l) J.
    pub fn gauss_newton(&mut self, block: usize, jacobian: &Array2<f64>) -> Array2<f64> {
        match self.loss_hessian(block) {
            None => jacobian.t().dot(jacobian),
            Some(curvature) => jacobian.t().dot(&curvature.dot(jacobian)),
        }
    }

    /// Σᵢ gᵢ ∇²Fᵢ with respect to all of `wrt` together, g = ∂l/∂z_b; square, of Σ|wrt| rows.
    pub fn residual(&mut self, block: usize, wrt: &[Expr]) -> Array2<f64> {
        let sizes: Vec<usize> = wrt.iter().map(|&expr| self.size(expr)).collect();
        let total = sizes.iter().sum();
        let mut matrix = Array2::zeros((total, total));
        let cotangent = self.cotangent(block);
        let mut top = 0;
        for (&row, &height) in wrt.iter().zip(&sizes) {
            let mut left = 0;
            for (&column, &width) in wrt.iter().zip(&sizes) {
                let part = self.residual_part(block, &cotangent, row, column);
                matrix.slice_mut(s![top..top + height, left..left + width]).assign(&part);
                left += width;
            }
            top += height;
        }
        matrix
    }

    /// Whether Σᵢ gᵢ ∇²Fᵢ is zero for every g, so that the exact Hessian is the Gauss–Newton one.
    pub fn residual_vanishes(&mut self, block: usize, wrt: &[Expr]) -> bool {
        let cotangent = self.cotangent(block);
        let block = self.blocks[block].clone();
        let mut pairs = wrt.iter().flat_map(|&row| wrt.iter().map(move |&column| (row, column)));
        pairs.all(|(row, column)| {
            let part = cotangent.residual(&mut self.graph, &block, row, column);
            part.is_ok_and(|operator| operator.terms.is_empty())
        })
    }

    fn residual_part(&mut self, block: usize, g: &Cotangent, row: Expr, column: Expr) -> Array2<f64> {
        let block = self.blocks[block].clone();
        let derived = g.residual(&mut self.graph, &block, row, column);
        self.evaluated(derived, |graph| g.pulled_back(graph, &block, row), column)
    }

    /// g = ∂l/∂z_b as a constant with its value at this point; the same constant whenever it is asked for, so that
    /// what was made of it is found again.
    pub fn cotangent(&mut self, block: usize) -> Cotangent {
        let (index, block) = (block, self.blocks[block].clone());
        let cotangent = match self.cotangents[index] {
            Some(known) => known,
            None => Cotangent::new(&mut self.graph, &block),
        };
        self.cotangents[index] = Some(cotangent);
        let axes = self.graph.axes_of(block.output).to_vec();
        let entries = self.entries_along(block.gradient, &axes);
        self.set(cotangent.symbol, entries);
        cotangent
    }
}

fn joined(along: Dim, parts: &[ndarray::ArrayView2<f64>]) -> Array2<f64> {
    concatenate(along, parts).expect("parts of one height")
}

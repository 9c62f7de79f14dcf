//! One block's derivatives as matrices, in the orderings that `inspect --dump` writes: spaces are flattened sample after
//! sample, row-major within a sample; the parameters of a block stand one after the other in declared order.

use ndarray::{Array2, Axis as Dim, concatenate, s};

use super::point::Point;
use crate::hessian::exact::Cotangent;
use crate::hessian::jacobian::{hessian, jacobian};
use crate::sym::Expr;
use crate::sym::dense;

impl Point {
    /// z_{b−1}, or the parameters in declared order: what a block's derivatives are taken by.
    pub fn parameters_of(&self, block: usize) -> Vec<Expr> {
        self.blocks[block].params.iter().map(|param| param.value).collect()
    }

    /// ∂F_b/∂wrt, N_b × |wrt|: the derived operator evaluated; where it has too many terms to be one formula,
    /// Jacobian–vector products.
    pub fn jacobian(&mut self, block: usize, wrt: Expr) -> Array2<f64> {
        let output = self.blocks[block].output;
        match jacobian(&mut self.graph, output, wrt) {
            Ok(operator) => dense::matrix(&mut self.graph, &mut self.values, &operator),
            Err(_) => dense::jacobian_matrix(&mut self.graph, &mut self.values, output, wrt),
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
        Some(match hessian(&mut self.graph, loss, output) {
            Ok(operator) => dense::matrix(&mut self.graph, &mut self.values, &operator),
            Err(_) => {
                let one = self.graph.number(1.0);
                let gradient = self.graph.vjp(&[(loss, one)], &[output])[&output];
                dense::jacobian_matrix(&mut self.graph, &mut self.values, gradient, output)
            }
        })
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
        match g.residual(&mut self.graph, &block, row, column) {
            Ok(operator) => dense::matrix(&mut self.graph, &mut self.values, &operator),
            Err(_) => {
                let gradient = g.pulled_back(&mut self.graph, &block, row);
                dense::jacobian_matrix(&mut self.graph, &mut self.values, gradient, column)
            }
        }
    }

    /// g = ∂l/∂z_b as a constant with its value at this point.
    pub fn cotangent(&mut self, block: usize) -> Cotangent {
        let block = self.blocks[block].clone();
        let cotangent = Cotangent::new(&mut self.graph, &block);
        let axes = self.graph.axes_of(block.output).to_vec();
        let entries = self.entries_along(block.gradient, &axes);
        self.set(cotangent.symbol, entries);
        cotangent
    }
}

fn joined(along: Dim, parts: &[ndarray::ArrayView2<f64>]) -> Array2<f64> {
    concatenate(along, parts).expect("parts of one height")
}

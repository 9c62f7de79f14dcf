//! The part of the exact local Hessian that Gauss–Newton leaves out: the residual Σᵢ gᵢ ∇²Fᵢ, with g = ∂l/∂z_b.
//!
//! The gradient of the back-matching loss ½‖t − F‖² is −Jᵀ(t − F) = Jᵀg, so its Hessian is JᵀJ + Σᵢ gᵢ ∇²Fᵢ, and the
//! second part is the Jacobian of Jᵀg with g held constant; of the last block's loss l(F) likewise beside Jᵀ Hess(l) J.

use super::BlockExprs;
use super::jacobian::{TooManyTerms, jacobian};
use crate::sym::graph::{Storage, SymbolInfo};
use crate::sym::operator::Operator;
use crate::sym::{Expr, Graph, Symbol};

/// The gradient g = ∂l/∂z_b of one block as a constant: a symbol of its own, over the axes of z_b.
#[derive(Clone, Copy, Debug)]
pub struct Cotangent {
    pub symbol: Symbol,
    pub expr: Expr,
}

impl Cotangent {
    pub fn new(graph: &mut Graph, block: &BlockExprs) -> Cotangent {
        let axes = graph.axes_of(block.output).to_vec();
        let name = format!("cotangent.{}", block.name);
        let symbol = graph.new_symbol(SymbolInfo { name, label: "g".into(), axes, storage: Storage::Float });
        Cotangent { symbol, expr: graph.symbol(symbol) }
    }

    /// (∂F/∂row)ᵀ g, over the axes of `row`.
    pub fn pulled_back(&self, graph: &mut Graph, block: &BlockExprs, row: Expr) -> Expr {
        graph.vjp(&[(block.output, self.expr)], &[row])[&row]
    }

    /// Σᵢ gᵢ ∂²Fᵢ/∂row ∂column, from the space of `column` to that of `row`; each is the block's input or one of
    /// its parameters. Without terms where F is affine in one of them for any value of the other (or piecewise so).
    pub fn residual(
        &self,
        graph: &mut Graph,
        block: &BlockExprs,
        row: Expr,
        column: Expr,
    ) -> Result<Operator, TooManyTerms> {
        let gradient = self.pulled_back(graph, block, row);
        let mut operator = jacobian(graph, gradient, column)?;
        // The gradient's axes may come out in another order than those of what it is the gradient of.
        operator.order_codomain(graph.axes_of(row));
        Ok(operator)
    }
}

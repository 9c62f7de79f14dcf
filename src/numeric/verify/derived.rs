//! The derivation's side: formulas applied to directions.

use std::collections::HashMap;

use ndarray::Array2;

use super::reference::Argument;
use crate::axes::{Axis, BATCH};
use crate::hessian::exact::Cotangent;
use crate::hessian::factors::{Factors, factors};
use crate::hessian::jacobian::{TooManyTerms, gradient, hessian, jacobian};
use crate::hessian::{BlockExprs, Plan};
use crate::ir::ScaleMode;
use crate::numeric::point::Point;
use crate::sym::dense::LinearMap;
use crate::sym::graph::without;
use crate::sym::operator::Operator;
use crate::sym::{Expr, Graph};

/// Where the formulas under test come from. What is not said otherwise is the compiler's own derivation.
pub trait Derivation: Sync {
    /// The expressions of the training step.
    fn plan(&self) -> &Plan;

    /// ∂F_b/∂wrt.
    fn jacobian(&self, graph: &mut Graph, block: &BlockExprs, wrt: Expr) -> Result<Operator, TooManyTerms> {
        jacobian(graph, block.output, wrt)
    }

    /// Hess(l) with respect to z_B; asked for of the last block only.
    fn loss_hessian(&self, graph: &mut Graph, block: &BlockExprs) -> Result<Operator, TooManyTerms> {
        hessian(graph, block.loss.unwrap_or(block.output), block.output)
    }

    /// Σᵢ gᵢ ∂²Fᵢ/∂row ∂column.
    fn residual(
        &self,
        graph: &mut Graph,
        block: &BlockExprs,
        g: &Cotangent,
        (row, column): (Expr, Expr),
    ) -> Result<Operator, TooManyTerms> {
        g.residual(graph, block, row, column)
    }

    /// m_z and m_W of mode `trace`.
    fn factors(&self, graph: &mut Graph, block: &BlockExprs) -> Factors {
        factors(graph, block, ScaleMode::Trace)
    }
}

impl Derivation for Plan {
    fn plan(&self) -> &Plan {
        self
    }
}

/// The formulas of one block at a point.
pub struct Derived<'d> {
    pub point: &'d mut Point,
    derivation: &'d dyn Derivation,
    block: BlockExprs,
    cotangent: Cotangent,
    /// What was derived already; no operator where it has too many terms.
    jacobians: HashMap<Expr, Option<Operator>>,
    curvature: Option<Option<Operator>>,
    factors: Option<Factors>,
}

/// Directions at a time, so that a wide block does not need its square in memory.
const BLOCK_ENTRIES: usize = 1 << 20;
/// Entries of the largest Jacobian whose norm is computed entry after entry.
const LARGEST_TRACE: usize = 1 << 25;

impl<'d> Derived<'d> {
    pub fn new(point: &'d mut Point, derivation: &'d dyn Derivation, block: usize) -> Derived<'d> {
        let cotangent = point.cotangent(block);
        let block = point.blocks[block].clone();
        let jacobians = HashMap::new();
        Derived { point, derivation, block, cotangent, jacobians, curvature: None, factors: None }
    }

    pub fn block(&self) -> &BlockExprs {
        &self.block
    }

    pub fn is_last(&self) -> bool {
        self.block.loss.is_some()
    }

    pub fn expr(&self, argument: Argument) -> Expr {
        match argument {
            Argument::Input => self.block.input,
            Argument::Output => self.block.output,
            Argument::Param(place) => self.block.params[place].value,
        }
    }

    /// g = ∂l/∂z_b.
    pub fn cotangent(&mut self) -> Vec<f64> {
        let expr = self.cotangent.expr;
        self.point.entries(expr)
    }

    /// The gradient of the loss that training uses; `None` of the first block's input.
    pub fn gradient(&mut self, argument: Argument) -> Option<Vec<f64>> {
        let gradient = match argument {
            Argument::Input => self.block.input_gradient?,
            Argument::Output => self.block.gradient,
            Argument::Param(place) => self.block.params[place].gradient,
        };
        let axes = self.point.graph.axes_of(self.expr(argument)).to_vec();
        Some(self.point.entries_along(gradient, &axes))
    }

    /// ∂F/∂wrt applied to each row of `directions`.
    pub fn jacobian(&mut self, wrt: Argument, directions: &Array2<f64>) -> Array2<f64> {
        let map = self.jacobian_map(wrt, directions.nrows());
        self.applied(&map, directions)
    }

    fn jacobian_map(&mut self, wrt: Argument, rows: usize) -> LinearMap {
        let (expr, output) = (self.expr(wrt), self.block.output);
        let operator = self.operator(expr);
        self.map((expr, output), rows, |graph, tangent| match &operator {
            Some(operator) => operator.apply_each(graph, tangent),
            None => graph.jvp(output, expr, tangent),
        })
    }

    /// ∂F/∂wrt as an operator; none where it has too many terms.
    fn operator(&mut self, wrt: Expr) -> Option<Operator> {
        let (derivation, graph, block) = (self.derivation, &mut self.point.graph, &self.block);
        self.jacobians.entry(wrt).or_insert_with(|| derivation.jacobian(graph, block, wrt).ok()).clone()
    }

    /// Hess(l) on z_B.
    pub fn loss_hessian(&mut self, directions: &Array2<f64>) -> Array2<f64> {
        let map = self.loss_hessian_map(directions.nrows());
        self.applied(&map, directions)
    }

    fn loss_hessian_map(&mut self, rows: usize) -> LinearMap {
        let (output, curvature) = (self.block.output, self.curvature());
        let loss = self.block.loss.unwrap_or(output);
        self.map((output, output), rows, |graph, tangent| curve(graph, (loss, output), &curvature, tangent))
    }

    /// Hess(l) as an operator; none where it has too many terms.
    fn curvature(&mut self) -> Option<Operator> {
        if self.curvature.is_none() {
            let derived = self.derivation.loss_hessian(&mut self.point.graph, &self.block);
            self.curvature = Some(derived.ok());
        }
        self.curvature.clone().flatten()
    }

    /// J_rowᵀ J_column, of the last block J_rowᵀ Hess(l) J_column: the operators one after the other.
    pub fn gauss_newton(&mut self, row: Argument, column: Argument, directions: &Array2<f64>) -> Array2<f64> {
        let (row, column, output) = (self.expr(row), self.expr(column), self.block.output);
        let [left, right] = [row, column].map(|expr| self.operator(expr));
        let curvature = self.block.loss.map(|loss| (loss, self.curvature()));
        let map = self.map((column, row), directions.nrows(), |graph, tangent| {
            let moved = match &right {
                Some(operator) => operator.apply_each(graph, tangent),
                None => graph.jvp(output, column, tangent),
            };
            let curved = match &curvature {
                Some((loss, curvature)) => curve(graph, (*loss, output), curvature, moved),
                None => moved,
            };
            match &left {
                Some(operator) => operator.transpose().apply_each(graph, curved),
                // Axes of the tangent that number directions are carried along.
                None => graph.vjp(&[(output, curved)], &[row])[&row],
            }
        });
        self.applied(&map, directions)
    }

    /// Σᵢ gᵢ ∂²Fᵢ/∂row ∂column.
    pub fn residual(&mut self, row: Argument, column: Argument, directions: &Array2<f64>) -> Array2<f64> {
        let (row, column) = (self.expr(row), self.expr(column));
        let (block, cotangent) = (self.block.clone(), self.cotangent);
        let residual = self.derivation.residual(&mut self.point.graph, &block, &cotangent, (row, column));
        let map = self.map((column, row), directions.nrows(), |graph, tangent| match &residual {
            Ok(operator) => operator.apply_each(graph, tangent),
            Err(_) => {
                let gradient = cotangent.pulled_back(graph, &block, row);
                graph.jvp(gradient, column, tangent)
            }
        });
        self.applied(&map, directions)
    }

    /// m_z and m_W of mode `trace`; `None` where the derivation has no closed form and leaves the factor at 1.
    pub fn factor(&mut self, argument: Argument) -> Option<f64> {
        let expr = self.expr(argument);
        let (derivation, graph, block) = (self.derivation, &mut self.point.graph, &self.block);
        let factors = self.factors.get_or_insert_with(|| derivation.factors(graph, block));
        if factors.open.contains(&expr) {
            return None;
        }
        let factor = match argument {
            Argument::Input => factors.m_z,
            Argument::Param(place) => factors.m_w[place],
            Argument::Output => return None,
        };
        Some(self.point.number(factor))
    }

    /// tr Jᵀ J, of the last block tr Jᵀ Hess(l) J, column after column of J, or row after row where it has fewer of these. `None`
    /// where that is too much.
    pub fn dense_trace(&mut self, argument: Argument) -> Option<f64> {
        let (expr, output) = (self.expr(argument), self.block.output);
        let (size, rows) = (self.point.size(expr), self.point.size(output));
        if size.saturating_mul(rows) > LARGEST_TRACE {
            return None;
        }
        let jacobian = self.operator(expr)?;
        let by_rows = rows < size;
        let (operator, from, to) =
            if by_rows { (jacobian.transpose(), output, expr) } else { (jacobian, expr, output) };
        // Where no sample sees another, a direction moves all of them at once.
        let together: &[Axis] = if self.is_alone(&operator) { &[BATCH] } else { &[] };
        let own = without(self.point.graph.axes_of(from), together);
        let count = self.point.graph.axes.size(&own);
        let step = (BLOCK_ENTRIES / size.max(rows)).clamp(1, count);
        let map = self.map_over(&own, to, step, |graph, tangent| {
            let tangent = graph.spread(tangent, together);
            operator.apply_each(graph, tangent)
        });
        let curvature = self.block.loss.map(|loss| (loss, self.curvature()));
        let curved = curvature.map(|(loss, curvature)| {
            self.map_over(&own, to, step, |graph, tangent| {
                let mut image = graph.spread(tangent, together);
                if by_rows {
                    image = curve(graph, (loss, output), &curvature, image);
                }
                image = operator.apply_each(graph, image);
                if by_rows { image } else { curve(graph, (loss, output), &curvature, image) }
            })
        });
        let (graph, values) = (&self.point.graph, &mut self.point.values);
        let mut trace = 0.0;
        for first in (0..count).step_by(step) {
            let basis = Array2::from_shape_fn((step.min(count - first), count), |(row, entry)| {
                f64::from(u8::from(entry == first + row))
            });
            let images = map.apply_all(graph, values, &basis);
            trace += match &curved {
                Some(curved) => (images * curved.apply_all(graph, values, &basis)).sum(),
                None => images.iter().map(|entry| entry * entry).sum::<f64>(),
            };
        }
        self.point.values.forget();
        Some(trace)
    }

    /// Whether no sample sees another, neither by the operator nor by Hess(l) of the last block.
    fn is_alone(&mut self, operator: &Operator) -> bool {
        let alone = |operator: &Operator| operator.is_identity_along(BATCH);
        alone(operator) && (!self.is_last() || self.curvature().as_ref().is_some_and(alone))
    }

    /// A linear map between the spaces of two expressions, for up to `rows` directions at a time.
    fn map(
        &mut self,
        (from, to): (Expr, Expr),
        rows: usize,
        map: impl FnOnce(&mut Graph, Expr) -> Expr,
    ) -> LinearMap {
        let domain = self.point.graph.axes_of(from).to_vec();
        self.map_over(&domain, to, rows, map)
    }

    /// The same from the space over `domain`.
    fn map_over(
        &mut self,
        domain: &[Axis],
        to: Expr,
        rows: usize,
        map: impl FnOnce(&mut Graph, Expr) -> Expr,
    ) -> LinearMap {
        let graph = &mut self.point.graph;
        let codomain = graph.axes_of(to).to_vec();
        let widest = graph.axes.size(domain).max(graph.axes.size(&codomain));
        let rows = (BLOCK_ENTRIES / widest).clamp(1, rows.max(1));
        LinearMap::new(graph, domain, &codomain, rows, map)
    }

    fn applied(&mut self, map: &LinearMap, directions: &Array2<f64>) -> Array2<f64> {
        let images = map.apply_all(&self.point.graph, &mut self.point.values, directions);
        // What a map computed on its way is of no use to the next.
        self.point.values.forget();
        images
    }
}

/// Hess(l) applied to a tangent.
fn curve(
    graph: &mut Graph,
    (loss, output): (Expr, Expr),
    curvature: &Option<Operator>,
    tangent: Expr,
) -> Expr {
    match curvature {
        Some(operator) => operator.apply_each(graph, tangent),
        None => {
            let gradient = gradient(graph, loss, output);
            graph.jvp(gradient, output, tangent)
        }
    }
}

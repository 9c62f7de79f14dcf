//! The scale factors m_z and m_W of a block in the four modes: one trace network of the Gauss–Newton local Hessians,
//! exact or simplified under assumptions that are listed.

use super::facts::Step;
use super::jacobian::{TooManyTerms, hessian, jacobian, jacobian_of};
use super::local::display_names;
use super::moments::Moments;
use super::rules::{self, Rule};
use super::trace::{Pair, contract_closed, gauss_newton_trace, is_cheap, pairs};
use super::{BlockExprs, BlockParam};
use crate::axes::{Axis, BATCH};
use crate::ir::ScaleMode;
use crate::sym::formula::Formula;
use crate::sym::graph::{Expr, Graph, Node, Reduction, without};
use crate::sym::letters::pretty_name;
use crate::sym::operator::{Operator, Term, index_of};
use crate::sym::window::Windowed;

/// What a parameter must be declared `as` to be amended by default.
pub const WEIGHT_ROLE: &str = "weight";

/// The factors of one block, each a number of the batch or of the weights alone.
#[derive(Clone, Debug)]
pub struct Factors {
    /// m_z = tr H_z / N_{b−1}.
    pub m_z: Expr,
    /// m_W = tr H_W / (m p_W), in the order of the block's parameters.
    pub m_w: Vec<Expr>,
    /// m_z as derived, where numbers cancel in `m_z` itself.
    pub text_z: Option<Formula>,
    pub text_w: Vec<Option<Formula>>,
    /// Arguments whose factors have no closed form and are left at 1.
    pub open: Vec<Expr>,
    /// Under which the factors are these, in the order of their use.
    pub assumptions: Vec<String>,
    pub steps: Vec<Step>,
}

/// The factors of `block`. Those of the last block go through m·Hess(l).
pub fn factors(graph: &mut Graph, block: &BlockExprs, mode: ScaleMode) -> Factors {
    let mut derivation = Derivation {
        assumptions: vec![],
        steps: vec![],
        open: vec![],
        mode,
        text_z: None,
        text_w: vec![None; block.params.len()],
    };
    let (m_z, m_w) = match mode {
        ScaleMode::Paper => derivation.paper(graph, block),
        _ => derivation.by_trace(graph, block),
    };
    let Derivation { assumptions, steps, open, text_z, text_w, .. } = derivation;
    Factors { m_z, m_w, text_z, text_w, open, assumptions, steps }
}

struct Derivation {
    assumptions: Vec<String>,
    steps: Vec<Step>,
    open: Vec<Expr>,
    mode: ScaleMode,
    text_z: Option<Formula>,
    text_w: Vec<Option<Formula>>,
}

impl Derivation {
    fn assume(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.assumptions.contains(&text) {
            self.assumptions.push(text);
        }
    }

    fn step(&mut self, rule: &'static Rule, detail: impl Into<String>) {
        let step = Step { rule, detail: detail.into() };
        if !self.steps.contains(&step) {
            self.steps.push(step);
        }
    }

    fn by_trace(&mut self, graph: &mut Graph, block: &BlockExprs) -> (Expr, Vec<Expr>) {
        let m_z = self.factor_of_input(graph, block);
        let m_w = block.params.iter().map(|param| self.factor_of_param(graph, block, param)).collect();
        (m_z, m_w)
    }

    /// tr H_z / N_{b−1}.
    fn factor_of_input(&mut self, graph: &mut Graph, block: &BlockExprs) -> Expr {
        let entries = graph.axes.size(graph.axes_of(block.input));
        self.normalized(graph, block, block.input, entries)
    }

    /// tr H_W / (m p_W).
    fn factor_of_param(&mut self, graph: &mut Graph, block: &BlockExprs, param: &BlockParam) -> Expr {
        let entries = graph.axes.size(graph.axes_of(param.value)) * graph.axes.extent(BATCH);
        self.normalized(graph, block, param.value, entries)
    }

    fn normalized(&mut self, graph: &mut Graph, block: &BlockExprs, wrt: Expr, entries: usize) -> Expr {
        match self.trace(graph, block, wrt) {
            Ok(trace) => {
                let share = graph.number(1.0 / entries as f64);
                let terms = match graph.node(trace) {
                    Node::Add(terms) => terms.clone(),
                    _ => vec![trace],
                };
                let parts: Vec<Expr> = terms.into_iter().map(|term| graph.mul(&[share, term])).collect();
                graph.add(&parts)
            }
            Err(reason) => {
                self.open.push(wrt);
                self.assume(format!("no closed form, the factor is left at 1: {reason}"));
                graph.number(1.0)
            }
        }
    }

    fn trace(&mut self, graph: &mut Graph, block: &BlockExprs, wrt: Expr) -> Result<Expr, TooManyTerms> {
        let curvature = scaled_loss_hessian(graph, block)?;
        match curvature {
            Some(_) => self.step(&rules::TRACE_THROUGH, "of J and m·Hess(l)"),
            None => self.step(&rules::TRACE, "of J"),
        }
        if self.mode == ScaleMode::Trace {
            let operator = jacobian(graph, block.output, wrt)?;
            return Ok(gauss_newton_trace(graph, &operator, curvature.as_ref()));
        }
        let operator = self.leading_jacobian(graph, block, wrt)?;
        let mut kept = Vec::new();
        for pair in pairs(graph, &operator, curvature.as_ref()) {
            kept.extend(self.simplified(graph, pair));
        }
        let measured = kept.iter().map(|(_, value)| *value).collect();
        let parts =
            if self.mode == ScaleMode::Measured { measured } else { self.expected(graph, block, kept) };
        Ok(graph.add(&parts))
    }

    /// The Jacobian without the terms that mix samples through batch statistics, which weigh 1/M.
    fn leading_jacobian(
        &mut self,
        graph: &mut Graph,
        block: &BlockExprs,
        wrt: Expr,
    ) -> Result<Operator, TooManyTerms> {
        if graph.axes_of(wrt).contains(&BATCH) {
            let dropped = std::cell::Cell::new(false);
            let keep = |term: &Term| {
                let same = index_of(&term.domain, BATCH) == index_of(&term.codomain, BATCH);
                dropped.set(dropped.get() || (!same && index_of(&term.codomain, BATCH).is_some()));
                same || index_of(&term.codomain, BATCH).is_none()
            };
            let mut operator = jacobian_of(graph, block.output, wrt, &|_, _| false, &keep)?;
            operator.terms.retain(|term| index_of(&term.domain, BATCH) == index_of(&term.codomain, BATCH));
            if dropped.get() {
                self.step(&rules::LEADING, "paths through the batch statistics are dropped");
                self.assume("terms of relative size 1/M through the batch statistics are left out");
            }
            return Ok(operator);
        }
        let mut operator = jacobian(graph, block.output, wrt)?;
        let before = operator.terms.len();
        operator.terms.retain(|term| !self_product_is_expensive_over_samples(graph, term));
        if operator.terms.len() < before {
            self.step(&rules::LEADING, "terms whose square is a matrix product over the samples are dropped");
            self.assume("the covariance of the block's input with its standardized values is left out");
        }
        Ok(operator)
    }

    /// One summand under the mode's assumptions with its value on the batch; `None` when it is left out.
    fn simplified(&mut self, graph: &mut Graph, pair: Pair) -> Option<(Term, Expr)> {
        self.step(&rules::ELIMINATION, "in every closed product");
        let network = pair.network.clone().normalize(graph);
        let exact = network.contract(graph, &[]);
        if is_cheap(graph, exact, &network) {
            return Some((pair.network, exact));
        }
        let Some(decorrelated) = pair.decorrelated else {
            self.assume(
                "products of different branches of the block average out (independent weights, zero mean)",
            );
            return None;
        };
        self.step(&rules::DECORRELATION, "in products that would need a matrix product");
        self.assume("products of different rows of a weight average out (independent, zero mean)");
        let value = contract_closed(graph, decorrelated.clone());
        Some((decorrelated, value))
    }

    /// The expectations of all summands. Where one has none, all are measured: a difference of an expectation and a
    /// measured value need not be positive.
    fn expected(&mut self, graph: &mut Graph, block: &BlockExprs, kept: Vec<(Term, Expr)>) -> Vec<Expr> {
        let mut moments = Moments::new(block.input);
        let expected: Option<Vec<Expr>> =
            kept.iter().map(|(network, _)| moments.of_network(graph, network)).collect();
        let Some(expected) = expected else {
            self.assume("a factor without a closed expectation is measured on the batch");
            return kept.into_iter().map(|(_, value)| value).collect();
        };
        self.step(&rules::EXPECTATION, "in every closed product, under the assumptions of the mode");
        self.assume("the block's input is white: independent entries of mean 0 and variance 1");
        for text in moments.assumptions {
            self.assume(text);
        }
        expected
    }

    /// As printed by Zhang, Chen and Liu: m_z = ‖Wᵀ‖²₂,μ/‖W‖²₂,μ and m_W = 1/‖W‖²₂,μ.
    /// The factors of the block's weights as linear maps a = W z, whose statistics are held constant.
    fn paper(&mut self, graph: &mut Graph, block: &BlockExprs) -> (Expr, Vec<Expr>) {
        let weights: Vec<&BlockParam> =
            block.params.iter().filter(|param| param.role == WEIGHT_ROLE).collect();
        let sole = match weights[..] {
            [weight] => matrix_of(graph, block, weight.value).map(|matrix| (weight.name.clone(), matrix)),
            _ => None,
        };
        self.mode = ScaleMode::Analytic;
        let m_z = match sole {
            Some((name, matrix)) => {
                let name = Formula::from(pretty_name(&name));
                let norm = |of: Formula| Formula::RowNorm(Box::new(of));
                self.text_z = Some(Formula::Fraction(vec![norm(name.clone().transpose())], vec![norm(name)]));
                let factor = self.factor_of_input(graph, &matrix.alone(block));
                let taps = graph_size(graph, &matrix.taps);
                let factor = self.per_channel(graph, &matrix, factor, taps);
                self.over_variance(graph, &matrix, factor)
            }
            None => self.factor_of_input(graph, block),
        };
        let names = display_names(block);
        let mut m_w = Vec::new();
        for (i, param) in block.params.iter().enumerate() {
            let matrix = (param.role == WEIGHT_ROLE).then(|| matrix_of(graph, block, param.value)).flatten();
            m_w.push(match matrix {
                Some(matrix) => {
                    let norm = Formula::RowNorm(Box::new(names[i].clone().into()));
                    self.text_w[i] = Some(Formula::Fraction(vec![Formula::Number(1.0)], vec![norm]));
                    let factor = self.factor_of_param(graph, &matrix.alone(block), param);
                    let positions = 1.0 / graph_size(graph, &matrix.positions);
                    let factor = self.per_channel(graph, &matrix, factor, positions);
                    self.over_variance(graph, &matrix, factor)
                }
                None => self.factor_of_param(graph, block, param),
            });
        }
        self.mode = ScaleMode::Paper;
        (m_z, m_w)
    }

    /// Leaves out how often W is applied: an entry of z counts once, though it is in as many patches as they have
    /// entries, and the positions of a count as one.
    fn per_channel(&mut self, graph: &mut Graph, matrix: &Matrix, factor: Expr, times: f64) -> Expr {
        if matrix.taps.is_empty() && matrix.positions.is_empty() {
            return factor;
        }
        self.assume("spatial factors are left out: neither sizes of images nor strides and padding enter");
        self.step(&rules::ONE_POSITION, "the positions of an image count as one");
        let times = graph.number(times);
        graph.mul(&[times, factor])
    }

    /// A factor of a = W z made that of a/√Var: with Var constant, a trace of JᵀJ is divided by Var.
    fn over_variance(&mut self, graph: &mut Graph, matrix: &Matrix, factor: Expr) -> Expr {
        self.paper_assumptions();
        self.step(&rules::HELD, "the map is diag(1/√Var) W");
        self.step(&rules::WHITE, "Var_i = ‖w_i‖²");
        self.step(&rules::EQUAL_ROWS, "‖w_i‖² ≈ ‖W‖²₂,μ");
        let variance = matrix.mean_square_of_rows(graph);
        graph.div(factor, variance)
    }

    fn paper_assumptions(&mut self) {
        self.assume("the block's input is white: independent entries of mean 0 and variance 1");
        self.assume("pre-activations are standardized, their statistics held constant; ε = 0, γ = 1");
        self.assume("rows of W have equal norms: Var_i ≈ ‖W‖²₂,μ");
        self.assume("activations and the loss's curvature are left out");
    }
}

/// m·Hess(l) on the last block's output; `None` on others.
pub fn scaled_loss_hessian(graph: &mut Graph, block: &BlockExprs) -> Result<Option<Operator>, TooManyTerms> {
    let Some(loss) = block.loss else { return Ok(None) };
    let mut operator = hessian(graph, loss, block.output)?;
    for term in &mut operator.terms {
        term.coefficient *= graph.axes.extent(BATCH) as f64;
    }
    Ok(Some(operator))
}

/// Whether ‖term‖² needs a matrix product over the samples inside the term.
fn self_product_is_expensive_over_samples(graph: &mut Graph, term: &Term) -> bool {
    let over_samples = term.internal().iter().any(|var| term.axes[var.0] == BATCH);
    if !over_samples {
        return false;
    }
    let alone = Operator {
        domain: spaces(&term.domain),
        codomain: spaces(&term.codomain),
        terms: vec![term.clone()],
    };
    let Some(pair) = pairs(graph, &alone, None).pop() else { return false };
    let network = pair.network.normalize(graph);
    let value = contract_closed(graph, network.clone());
    !is_cheap(graph, value, &network)
}

fn spaces(indices: &[(Axis, crate::sym::operator::Var)]) -> Vec<Axis> {
    indices.iter().map(|index| index.0).collect()
}

/// A weight as a matrix: `rows` index what it gives, `columns` what it is contracted with.
pub struct Matrix {
    pub weight: Expr,
    /// What it is contracted with, and the result a = W z.
    pub input: Expr,
    pub output: Expr,
    pub rows: Vec<Axis>,
    pub columns: Vec<Axis>,
    /// The columns that number the entries of a patch at one position of the input.
    pub taps: Vec<Axis>,
    /// The axes of the output that number positions at which W is applied, the samples aside.
    pub positions: Vec<Axis>,
}

/// How the block contracts `weight`, where it does so once.
pub fn matrix_of(graph: &Graph, block: &BlockExprs, weight: Expr) -> Option<Matrix> {
    let is_weight = |expr: Expr| regrouped(graph, expr) == weight;
    let contractions = graph.between(&[block.output], &[weight]).into_iter().filter_map(|output| {
        let Node::Contract { left, right, over } = graph.node(output) else { return None };
        match (is_weight(*left), is_weight(*right)) {
            (true, false) => Some((*left, *right, output, over.clone())),
            (false, true) => Some((*right, *left, output, over.clone())),
            _ => None,
        }
    });
    let found: Vec<(Expr, Expr, Expr, Vec<Axis>)> = contractions.collect();
    let [(weight, input, output, columns)] = &found[..] else { return None };
    let rows: Vec<Axis> = without(graph.axes_of(*weight), columns);
    let taps = window_axes(graph, *input).into_iter().filter(|axis| columns.contains(axis)).collect();
    let positions = without(&without(graph.axes_of(*output), &rows), &[BATCH]);
    let (weight, input, output, columns) = (*weight, *input, *output, columns.clone());
    Some(Matrix { weight, input, output, rows, columns, taps, positions })
}

/// What an expression gives other axes to, entry for entry; it may leave out axes of one position, as a kernel of 1×1 has.
fn regrouped(graph: &Graph, mut expr: Expr) -> Expr {
    loop {
        expr = match graph.node(expr) {
            Node::Reshape { arg, .. } | Node::Rename(arg, _) => *arg,
            Node::Reduce(Reduction::Sum, over, arg) if graph.axes.size(over) == 1 => *arg,
            _ => return expr,
        }
    }
}

/// The axes that windows give to a value.
fn window_axes(graph: &Graph, mut expr: Expr) -> Vec<Axis> {
    let mut axes = Vec::new();
    while let Some(windowed) = Windowed::of(graph, graph.node(expr)).filter(Windowed::unfolds) {
        axes.extend(windowed.window.by.iter().map(|by| by.0));
        expr = windowed.arg;
    }
    axes
}

fn graph_size(graph: &Graph, axes: &[Axis]) -> f64 {
    graph.axes.size(axes) as f64
}

impl Matrix {
    /// ‖W‖²₂,μ: the mean over the rows of their squared norms.
    pub fn mean_square_of_rows(&self, graph: &mut Graph) -> Expr {
        mean_square(graph, self.weight, &self.rows, &self.columns)
    }

    /// The block that does nothing but a = W z.
    fn alone(&self, block: &BlockExprs) -> BlockExprs {
        BlockExprs { input: self.input, output: self.output, loss: None, ..block.clone() }
    }
}

fn mean_square(graph: &mut Graph, weight: Expr, mean: &[Axis], sum: &[Axis]) -> Expr {
    let square = graph.square(weight);
    let norms = graph.sum(sum, square);
    graph.mean(mean, norms)
}

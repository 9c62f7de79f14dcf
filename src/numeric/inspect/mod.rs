//! `inspect`: what the local Hessians of a network are at one point, in numbers.

pub mod dump;
pub mod global;
pub mod histogram;
pub mod html;
pub mod json;
pub mod marchenko;
pub mod skip;
pub mod text;
pub mod verdict;

use std::collections::HashMap;

use ndarray::Array2;

use self::global::Global;
use self::marchenko::MarchenkoPastur;
use self::skip::Skip;

use super::eigen;
use super::lanczos::Effort;
use super::point::Point;
use super::products::Products;
use super::spectrum::{LARGEST_BLOCK, NotFinite, Request, Spectrum, spectrum};
use crate::hessian::Form;
use crate::hessian::factors::{WEIGHT_ROLE, factors, matrix_of};
use crate::hessian::paper::{Kernel, PaperForm, paper_form};
use crate::ir::{Network, ScaleMode};
use crate::sym::Expr;
use crate::sym::graph::without;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Indices of blocks, in chain order.
    pub blocks: Vec<usize>,
    pub forms: Vec<Form>,
    /// Of the random vectors behind estimates.
    pub seed: u64,
    /// Rows of the largest matrix whose eigenvalues are all computed.
    pub largest_block: usize,
    pub effort: Effort,
}

impl Options {
    pub fn new(network: &Network) -> Options {
        Options {
            blocks: (0..network.blocks.len()).collect(),
            forms: Form::ALL.to_vec(),
            seed: 0,
            largest_block: LARGEST_BLOCK,
            effort: Effort::default(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Report {
    pub network: String,
    pub samples: usize,
    pub seed: u64,
    /// Blocks of the whole network, B.
    pub chain: usize,
    /// Where weights and samples came from, in words.
    pub weights: String,
    pub data: String,
    pub loss: f64,
    /// ‖J_z‖²_F/N_{b−1} of every block of the chain.
    pub gains: Vec<f64>,
    /// Those that were asked for.
    pub blocks: Vec<BlockReport>,
}

#[derive(Clone, Debug)]
pub struct BlockReport {
    /// From 0.
    pub index: usize,
    pub name: String,
    /// Features per sample, n_{b−1} and n_b.
    pub input_size: usize,
    pub output_size: usize,
    pub parameters: Vec<Parameter>,
    pub of_input: Hessians,
    pub of_weights: Hessians,
    pub factors: Vec<ModeFactors>,
    /// Where the block has one weight that is a matrix on its input.
    pub marchenko: Option<MarchenkoPastur>,
    /// Where the block has a shortcut.
    pub skip: Option<Skip>,
    /// Where the block has parameters.
    pub global: Option<Global>,
}

impl BlockReport {
    /// H_z and H_W under their names.
    pub fn hessians(&self) -> [(&'static str, &Hessians); 2] {
        [("H_z", &self.of_input), ("H_W", &self.of_weights)]
    }

    /// A parameter's path without the block's name.
    pub fn within<'a>(&self, parameter: &'a Parameter) -> &'a str {
        let rest = parameter.name.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('.'));
        rest.unwrap_or(&parameter.name)
    }
}

/// A parameter as part of vec(W_b).
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Path as in weight files.
    pub name: String,
    pub shape: Vec<usize>,
    /// Of its first entry in vec(W_b).
    pub offset: usize,
}

/// One matrix in its forms. The paper's is H̃ of one sample, or of all rows of the weight.
#[derive(Clone, Debug, Default)]
pub struct Hessians {
    pub forms: Vec<(Form, Spectrum)>,
    /// The residual Σᵢ gᵢ ∇²Fᵢ vanishes identically.
    pub exact_is_gauss_newton: bool,
}

impl Hessians {
    pub fn of(&self, form: Form) -> Option<&Spectrum> {
        self.forms.iter().find(|known| known.0 == form).map(|known| &known.1)
    }
}

/// Scale factors of one mode.
#[derive(Clone, Debug, PartialEq)]
pub struct ModeFactors {
    pub mode: ScaleMode,
    pub m_z: f64,
    /// In the order of the parameters.
    pub m_w: Vec<f64>,
    /// The product of m_z over the blocks above.
    pub m: f64,
    /// No part was left at 1 for want of a closed form.
    pub closed: bool,
}

/// Where a point came from, in words.
#[derive(Clone, Debug)]
pub struct Origin {
    pub weights: String,
    pub data: String,
}

/// Inspects the chosen blocks. Errors say where a number is not finite.
pub fn inspect(
    network: &Network,
    point: &mut Point,
    origin: Origin,
    options: &Options,
) -> Result<Report, String> {
    let loss = finite_loss(point)?;
    let mut factors = scale_factors(point);
    let gains = verdict::gains(point, &factors);
    let curvatures = global::curvatures(point);
    let mut blocks = Vec::new();
    for &index in &options.blocks {
        let factors = factors.remove(&index).unwrap_or_default();
        let work = Work { options, index, factors: &factors, above: curvatures[index].as_ref() };
        blocks.push(work.report(network, point)?);
        // Vectors pushed through one block are of no use to the next.
        point.values.forget();
    }
    let (samples, chain, seed) = (point.samples(), point.blocks.len(), options.seed);
    let Origin { weights, data } = origin;
    Ok(Report { network: network.name.clone(), samples, seed, chain, weights, data, loss, gains, blocks })
}

/// The loss, after all values and gradients turned out finite.
fn finite_loss(point: &mut Point) -> Result<f64, String> {
    for block in point.blocks.clone() {
        if point.entries(block.output).iter().any(|entry| !entry.is_finite()) {
            return Err(overflow(&format!("the output of block `{}`", block.name)));
        }
    }
    let last = point.blocks.len() - 1;
    let loss = point.blocks[last].loss.map_or(0.0, |loss| point.number(loss));
    if !loss.is_finite() {
        return Err(overflow("the loss"));
    }
    for block in point.blocks.clone() {
        if point.entries(block.gradient).iter().any(|entry| !entry.is_finite()) {
            return Err(overflow(&format!("the gradient at block `{}`", block.name)));
        }
    }
    Ok(loss)
}

fn overflow(what: &str) -> String {
    format!(
        "{what} is not finite at these weights and samples: the evaluation in f64 overflows or divides by zero"
    )
}

/// The factors of every block in every mode.
fn scale_factors(point: &mut Point) -> HashMap<usize, Vec<ModeFactors>> {
    let mut all: HashMap<usize, Vec<ModeFactors>> = HashMap::new();
    for mode in ScaleMode::ALL {
        let mut m = 1.0;
        for (index, block) in point.blocks.clone().iter().enumerate().rev() {
            let symbolic = factors(&mut point.graph, block, mode);
            let m_z = point.number(symbolic.m_z);
            let m_w = symbolic.m_w.iter().map(|&factor| point.number(factor)).collect();
            let closed = symbolic.open.is_empty();
            all.entry(index).or_default().push(ModeFactors { mode, m_z, m_w, m, closed });
            m *= m_z;
        }
    }
    all
}

fn parameters(network: &Network, block: usize) -> Vec<Parameter> {
    let mut offset = 0;
    let describe = |&id: &crate::ir::ParamId| {
        let param = network.param(id);
        let shape: Vec<usize> = param.axes.iter().map(|&axis| network.axes.extent(axis)).collect();
        offset += shape.iter().product::<usize>();
        Parameter { name: param.name.clone(), offset: offset - shape.iter().product::<usize>(), shape }
    };
    network.blocks[block].params.iter().map(describe).collect()
}

/// One block at work.
struct Work<'a> {
    options: &'a Options,
    index: usize,
    factors: &'a [ModeFactors],
    /// Ĥ_b, where it fits.
    above: Option<&'a Array2<f64>>,
}

impl Work<'_> {
    fn report(&self, network: &Network, point: &mut Point) -> Result<BlockReport, String> {
        let block = point.blocks[self.index].clone();
        let failed = |_: NotFinite| overflow(&format!("a Hessian of block `{}`", block.name));
        let (of_input, of_weights) = self.both(point).map_err(failed)?;
        Ok(BlockReport {
            index: self.index,
            name: block.name.clone(),
            input_size: point.size(block.input) / point.samples(),
            output_size: point.size(block.output) / point.samples(),
            parameters: parameters(network, self.index),
            of_input,
            of_weights,
            factors: self.factors.to_vec(),
            marchenko: marchenko(network, point, self.index),
            skip: skip::inspect(point, self.index),
            global: global::inspect(point, self.index, self.above, &self.setting()).map_err(failed)?,
        })
    }

    fn setting(&self) -> global::Setting<'_> {
        let Options { largest_block, effort, seed, .. } = *self.options;
        global::Setting { factors: self.factors, largest_block, effort, seed }
    }

    /// H_z and H_W.
    fn both(&self, point: &mut Point) -> Result<(Hessians, Hessians), NotFinite> {
        let block = point.blocks[self.index].clone();
        let paper = match self.options.forms.contains(&Form::Paper) {
            true => paper_form(&mut point.graph, &block),
            false => None,
        };
        let (trace_z, trace_w) = (self.trace_z(point), self.trace_w(point));
        let of_input = self.hessians(point, &[block.input], trace_z, paper.as_ref().map(|p| &p.of_input))?;
        let wrt = point.parameters_of(self.index);
        if wrt.is_empty() {
            return Ok((of_input, Hessians { forms: vec![], exact_is_gauss_newton: true }));
        }
        let of_weights = self.hessians(point, &wrt, trace_w, paper.as_ref().map(|p| &p.of_weight))?;
        Ok((of_input, of_weights))
    }

    fn exact_factors(&self) -> Option<&ModeFactors> {
        self.factors.iter().find(|factors| factors.mode == ScaleMode::Trace && factors.closed)
    }

    /// Factors of the last block go through m·Hess(l).
    fn samples_in_factor(&self, point: &Point) -> f64 {
        if point.blocks[self.index].loss.is_some() { point.samples() as f64 } else { 1.0 }
    }

    /// tr H_z by its closed form.
    fn trace_z(&self, point: &Point) -> Option<f64> {
        let entries = point.size(point.blocks[self.index].input) as f64;
        Some(self.exact_factors()?.m_z * entries / self.samples_in_factor(point))
    }

    /// tr H_W, of all parameters together.
    fn trace_w(&self, point: &Point) -> Option<f64> {
        let params = &point.blocks[self.index].params;
        let parts = params.iter().zip(&self.exact_factors()?.m_w);
        let traces = parts.map(|(param, m_w)| m_w * (point.size(param.value) * point.samples()) as f64);
        Some(traces.sum::<f64>() / self.samples_in_factor(point))
    }

    fn hessians(
        &self,
        point: &mut Point,
        wrt: &[Expr],
        trace: Option<f64>,
        paper: Option<&Kernel>,
    ) -> Result<Hessians, NotFinite> {
        let exact_is_gauss_newton = point.residual_vanishes(self.index, wrt);
        let mut forms = Vec::new();
        for &form in &self.options.forms {
            let spectrum = match form {
                Form::Paper => match paper {
                    Some(kernel) => kernel_spectrum(point, kernel)?,
                    None => continue,
                },
                Form::Exact if !exact_is_gauss_newton => self.spectrum(point, wrt, true, None)?,
                _ => match forms.iter().find(|(known, _)| *known == Form::GaussNewton) {
                    Some((_, known)) => Spectrum::clone(known),
                    None => self.spectrum(point, wrt, false, trace)?,
                },
            };
            forms.push((form, spectrum));
        }
        Ok(Hessians { forms, exact_is_gauss_newton })
    }

    fn spectrum(
        &self,
        point: &mut Point,
        wrt: &[Expr],
        exact: bool,
        trace: Option<f64>,
    ) -> Result<Spectrum, NotFinite> {
        let products = Products::local(point, self.index, wrt, exact);
        let dim = products.dim();
        let image = point.size(point.blocks[self.index].output);
        let request = Request {
            largest_block: self.options.largest_block,
            effort: self.options.effort,
            seed: self.options.seed,
            trace,
            rank_bound: if exact { dim } else { dim.min(image) },
        };
        spectrum(point, &products, request)
    }
}

/// WᵀW of the block's one weight against the law, where W acts on the block's whole input.
fn marchenko(network: &Network, point: &mut Point, index: usize) -> Option<MarchenkoPastur> {
    let block = point.blocks[index].clone();
    let weights: Vec<_> = block.params.iter().filter(|param| param.role == WEIGHT_ROLE).collect();
    let [weight] = weights[..] else { return None };
    let matrix = matrix_of(&point.graph, &block, weight.value)?;
    let [rows, columns] = [&matrix.rows, &matrix.columns].map(|axes| point.graph.axes.size(axes));
    // Axes of a single position (the taps of a 1 × 1 kernel on a 1 × 1 image) are neither rows nor columns.
    let mut axes = [&matrix.rows[..], &matrix.columns].concat();
    let others = without(point.graph.axes_of(weight.value), &axes);
    if columns * point.samples() != point.size(block.input) || point.graph.axes.size(&others) != 1 {
        return None;
    }
    axes.extend(others);
    let entries = point.entries_along(weight.value, &axes);
    let matrix = Array2::from_shape_vec((rows, columns), entries).expect("rows times columns");
    marchenko::compare(&network.param(weight.id).name, &matrix)
}

/// The eigenvalues of all matrices of a kernel.
fn kernel_spectrum(point: &mut Point, kernel: &Kernel) -> Result<Spectrum, NotFinite> {
    let matrices = kernel_matrices(point, kernel);
    if matrices.iter().flatten().any(|entry| !entry.is_finite()) {
        return Err(NotFinite);
    }
    let count = matrices.len();
    Ok(Spectrum::of_eigenvalues(matrices.iter().flat_map(eigen::eigenvalues).collect(), count))
}

fn kernel_matrices(point: &mut Point, kernel: &Kernel) -> Vec<Array2<f64>> {
    let size = point.graph.axes.size(&kernel.rows);
    let axes = [&kernel.shared[..], &kernel.rows, &kernel.columns].concat();
    let entries = point.entries_along(kernel.expr, &axes);
    let matrix =
        |part: &[f64]| Array2::from_shape_vec((size, size), part.to_vec()).expect("rows times columns");
    entries.chunks(size * size).map(matrix).collect()
}

/// The paper's form of one block with its values: H̃_z, and H̃_W per row.
pub fn paper_matrices(point: &mut Point, block: usize) -> Option<(Array2<f64>, Vec<Array2<f64>>)> {
    let block = point.blocks[block].clone();
    let PaperForm { of_input, of_weight } = paper_form(&mut point.graph, &block)?;
    Some((kernel_matrices(point, &of_input).remove(0), kernel_matrices(point, &of_weight)))
}

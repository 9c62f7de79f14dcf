//! `inspect`: what the local Hessians of a network are at one point, in numbers.

pub mod dump;
pub mod json;

use std::collections::HashMap;

use super::lanczos::Effort;
use super::point::Point;
use super::products::{Form, Products};
use super::spectrum::{LARGEST_BLOCK, NotFinite, Request, Spectrum, spectrum};
use crate::axes::{Axis, BATCH};
use crate::hessian::factors::factors;
use crate::hessian::paper::{Kernel, PaperForm, paper_form};
use crate::ir::{Network, ScaleMode};
use crate::sym::Expr;

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
    pub loss: f64,
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

/// Inspects the chosen blocks. Errors say where a number is not finite.
pub fn inspect(network: &Network, point: &mut Point, options: &Options) -> Result<Report, String> {
    let loss = finite_loss(point)?;
    let mut factors = scale_factors(point);
    let mut blocks = Vec::new();
    for &index in &options.blocks {
        let factors = factors.remove(&index).unwrap_or_default();
        blocks.push(inspect_block(network, point, options, index, factors)?);
        // Vectors pushed through one block are of no use to the next.
        point.values.forget();
    }
    let (samples, chain) = (point.samples(), point.blocks.len());
    Ok(Report { network: network.name.clone(), samples, seed: options.seed, chain, loss, blocks })
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
            let closed = symbolic.assumptions.iter().all(|text| !text.starts_with("no closed form"));
            all.entry(index).or_default().push(ModeFactors { mode, m_z, m_w, m, closed });
            m *= m_z;
        }
    }
    all
}

fn inspect_block(
    network: &Network,
    point: &mut Point,
    options: &Options,
    index: usize,
    factors: Vec<ModeFactors>,
) -> Result<BlockReport, String> {
    let block = point.blocks[index].clone();
    let paper = match options.forms.contains(&Form::Paper) {
        true => paper_form(&mut point.graph, &block),
        false => None,
    };
    let work = Work { options, index, factors: &factors };
    let failed = |_: NotFinite| overflow(&format!("a Hessian of block `{}`", block.name));
    let of_input =
        work.hessians(point, &[block.input], work.trace_z(point), paper.as_ref().map(|p| &p.of_input));
    let wrt = point.parameters_of(index);
    let of_weights = match wrt.is_empty() {
        true => Ok(Hessians { exact_is_gauss_newton: true, ..Hessians::default() }),
        false => work.hessians(point, &wrt, work.trace_w(point), paper.as_ref().map(|p| &p.of_weight)),
    };
    Ok(BlockReport {
        index,
        name: block.name.clone(),
        input_size: point.size(block.input) / point.samples(),
        output_size: point.size(block.output) / point.samples(),
        parameters: parameters(network, index),
        of_input: of_input.map_err(failed)?,
        of_weights: of_weights.map_err(failed)?,
        factors,
    })
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

/// The Hessians of one block.
struct Work<'a> {
    options: &'a Options,
    index: usize,
    factors: &'a [ModeFactors],
}

impl Work<'_> {
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
                Form::Exact if exact_is_gauss_newton && !forms.is_empty() => {
                    let (_, known): &(Form, Spectrum) = &forms[0];
                    known.clone()
                }
                Form::Exact if !exact_is_gauss_newton => self.spectrum(point, wrt, true, None)?,
                _ => self.spectrum(point, wrt, false, trace)?,
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

/// The eigenvalues of all matrices of a kernel.
fn kernel_spectrum(point: &mut Point, kernel: &Kernel) -> Result<Spectrum, NotFinite> {
    let matrices = kernel_matrices(point, kernel);
    if matrices.iter().flatten().any(|entry| !entry.is_finite()) {
        return Err(NotFinite);
    }
    let count = matrices.len();
    Ok(Spectrum::of_eigenvalues(matrices.iter().flat_map(super::eigen::eigenvalues).collect(), count))
}

fn kernel_matrices(point: &mut Point, kernel: &Kernel) -> Vec<ndarray::Array2<f64>> {
    let size = point.graph.axes.size(&kernel.rows);
    let axes = [&kernel.shared[..], &kernel.rows, &kernel.columns].concat();
    let entries = point.entries_along(kernel.expr, &axes);
    let matrix = |part: &[f64]| {
        ndarray::Array2::from_shape_vec((size, size), part.to_vec()).expect("rows times columns")
    };
    entries.chunks(size * size).map(matrix).collect()
}

/// The paper's form of one block with its values: H̃_z, and H̃_W per row.
pub fn paper_matrices(
    point: &mut Point,
    block: usize,
) -> Option<(ndarray::Array2<f64>, Vec<ndarray::Array2<f64>>)> {
    let block = point.blocks[block].clone();
    let PaperForm { of_input, of_weight } = paper_form(&mut point.graph, &block)?;
    Some((kernel_matrices(point, &of_input).remove(0), kernel_matrices(point, &of_weight)))
}

/// Extents without the batch.
fn feature_shape(point: &Point, expr: Expr) -> Vec<usize> {
    let axes = point.graph.axes_of(expr).iter().filter(|axis| **axis != BATCH);
    axes.map(|&axis: &Axis| point.graph.axes.extent(axis)).collect()
}

//! `explain`: the derivation of a network, block by block. [`explain`] derives; the formats draw what it found:
//! [`text`], [`latex`] and [`html`] the same page ([`page`]), [`json`] for programs.

pub mod html;
pub mod json;
pub mod latex;
pub mod page;
pub mod text;

use super::exact::Cotangent;
use std::collections::HashMap;

use super::alike;
use super::factors::{Factors, factors};
use super::facts::Step;
use super::jacobian::TooManyTerms;
use super::local::{self, Derived, PaperFormulas, exact};
use super::paper::{Held, held_jacobians, standardized};
use super::structure::{self, Note};
use super::{BlockExprs, Form, Plan};
use crate::axes::{Axis, BATCH};
use crate::ir::{Network, ScaleMode};
use crate::source::Sources;
use crate::sym::formula::{Formula, Letter, Name};
use crate::sym::graph::{Expr, Graph};
use crate::sym::operator::Operator;
use crate::sym::print::Printer;

/// What to show; empty lists mean everything.
#[derive(Clone, Debug)]
pub struct Options {
    pub blocks: Vec<String>,
    /// `z` or names of parameters.
    pub wrt: Vec<String>,
    pub form: Form,
    pub mode: ScaleMode,
    pub steps: bool,
    /// Also what the page does not show: the residuals in every form, the factors in every mode.
    pub complete: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            blocks: vec![],
            wrt: vec![],
            form: Form::default(),
            mode: ScaleMode::Measured,
            steps: false,
            complete: false,
        }
    }
}

impl Options {
    fn wants(&self, argument: &str) -> bool {
        self.wrt.is_empty() || self.wrt.iter().any(|wanted| wanted == argument)
    }
}

/// A network explained.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub network: String,
    /// Samples in a batch.
    pub batch: usize,
    /// Extents of z_0, …, z_B without the batch: `128`, `3×32×32`.
    pub sizes: Vec<String>,
    pub options: Options,
    /// The mode of the network's own optimizer, where it uses scale factors.
    pub trained_by: Option<ScaleMode>,
    /// In chain order; only those that were asked for.
    pub blocks: Vec<Section>,
    /// What the operators and values of the blocks are expressions of.
    pub graph: Graph,
}

/// One block of the chain.
#[derive(Clone, Debug)]
pub struct Section {
    pub name: String,
    /// From 1.
    pub position: usize,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub enum Content {
    /// All is as in an earlier block.
    As(String),
    Own(Box<BlockExplanation>),
}

/// What is derived for one block, under neutral names (z for its input), so that equal blocks give equal formulas.
#[derive(Clone, Debug)]
pub struct BlockExplanation {
    /// The block's text in the source, on one line.
    pub written: Option<String>,
    /// z_b as a function of W and z.
    pub map: Formula,
    pub tensors: Vec<Tensor>,
    /// Hess(l), of the last block.
    pub curvature: Option<(Operator, Formula)>,
    pub arguments: Vec<Argument>,
    /// Second derivatives by two parameters, in the exact form.
    pub crosses: Vec<(exact::Cross, local::Statement)>,
    pub form: Form,
    pub paper: Option<PaperFormulas>,
    /// The mode that was asked for, then the others where they are asked for too.
    pub modes: Vec<Mode>,
    pub notes: Vec<Note>,
    /// The symbol that holds ∂l/∂z_b in the residuals.
    pub cotangent: Option<Expr>,
    /// Names in the formulas and what they stand for.
    pub definitions: Vec<(Formula, Formula)>,
}

/// A tensor of the block with the letters of its axes, the batch left out.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: Formula,
    pub axes: Vec<(Letter, usize)>,
    pub expr: Expr,
}

/// The derivation with respect to z or one parameter.
#[derive(Clone, Debug)]
pub struct Argument {
    /// As declared.
    pub name: String,
    /// As formulas show it.
    pub symbol: Name,
    pub value: Expr,
    pub derived: Result<(Derived, local::Formulas), TooManyTerms>,
    pub exact: Option<Result<Exact, TooManyTerms>>,
    /// m_z or m_W, in the order of the block's modes.
    pub factors: Vec<(ScaleMode, Factor)>,
}

/// How the factors of one mode were derived.
#[derive(Clone, Debug, PartialEq)]
pub struct Mode {
    pub mode: ScaleMode,
    pub assumptions: Vec<String>,
    pub steps: Vec<Step>,
}

/// What the exact Hessian adds to Gauss–Newton.
#[derive(Clone, Debug)]
pub struct Exact {
    pub residual: exact::Residual,
    /// Σᵢ gᵢ ∇²Fᵢ, and the whole Hessian where both parts merge.
    pub formulas: Result<(Formula, Option<Formula>), exact::TooLong>,
}

/// m_z or m_W.
#[derive(Clone, Debug)]
pub struct Factor {
    pub value: Expr,
    /// As derived, where numbers cancel in the value.
    pub derived: Option<Formula>,
    pub formula: Formula,
}

/// Derives and explains `network`. Errors are words for the user: an unknown block or argument.
///
/// `sources` gives the blocks as they were written.
pub fn explain(
    network: &Network,
    plan: &Plan,
    sources: &Sources,
    options: &Options,
) -> Result<Explanation, String> {
    check_names(plan, options)?;
    let mut graph = plan.graph.clone();
    graph.current_tag = None;
    let mut blocks: Vec<Section> = Vec::new();
    let mut known: HashMap<(Option<String>, alike::Key), String> = HashMap::new();
    for (index, block) in plan.blocks.iter().enumerate() {
        if !options.blocks.is_empty() && !options.blocks.contains(&block.name) {
            continue;
        }
        let source = network.blocks.get(index).and_then(|block| written(sources, block.span));
        let key = (source.clone(), alike::key(&plan.graph, block));
        if let Some(first) = known.get(&key) {
            let content = Content::As(String::clone(first));
            blocks.push(Section { name: block.name.clone(), position: index + 1, content });
            continue;
        }
        let mut own = explain_block(&mut graph, block, options);
        own.written = source;
        let alike =
            |section: &&Section| matches!(&section.content, Content::Own(other) if other.reads_as(&own));
        let content = match blocks.iter().find(alike) {
            Some(section) => Content::As(section.name.clone()),
            None => Content::Own(Box::new(own)),
        };
        let first = match &content {
            Content::As(other) => other.clone(),
            Content::Own(_) => block.name.clone(),
        };
        known.insert(key, first);
        blocks.push(Section { name: block.name.clone(), position: index + 1, content });
    }
    let mut sizes: Vec<String> =
        plan.blocks.iter().map(|block| features(&plan.graph, plan.graph.axes_of(block.input))).collect();
    sizes.extend(plan.blocks.last().map(|block| features(&plan.graph, plan.graph.axes_of(block.output))));
    Ok(Explanation {
        network: network.name.clone(),
        batch: graph.axes.extent(BATCH),
        sizes,
        options: options.clone(),
        trained_by: network.training.as_ref().and_then(|training| training.scale).map(|scale| scale.mode),
        blocks,
        graph,
    })
}

/// The text between the braces of a block, on one line.
fn written(sources: &Sources, span: crate::source::Span) -> Option<String> {
    let text = sources.file(span.file).text.get(span.end as usize..)?;
    let body = text.get(text.find('{')? + 1..)?;
    let mut depth = 1;
    let end = body.find(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0
    })?;
    let lines = body[..end].lines().map(|line| line.split("//").next().unwrap_or(line));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    Some(words.join(" "))
}

fn check_names(plan: &Plan, options: &Options) -> Result<(), String> {
    for name in &options.blocks {
        if !plan.blocks.iter().any(|block| &block.name == name) {
            let known: Vec<&str> = plan.blocks.iter().map(|block| block.name.as_str()).collect();
            return Err(format!("there is no block `{name}`; the blocks are {}", known.join(", ")));
        }
    }
    for name in options.wrt.iter().filter(|name| *name != "z") {
        let has = |block: &BlockExprs| block.params.iter().any(|param| &param.name == name);
        if !plan.blocks.iter().any(has) {
            return Err(format!("no block has a parameter `{name}`; write `z` or a parameter's name"));
        }
    }
    Ok(())
}

/// Extents without the batch: `128`, `3×32×32`.
fn features(graph: &Graph, axes: &[Axis]) -> String {
    let extents: Vec<String> =
        axes.iter().filter(|axis| **axis != BATCH).map(|&axis| graph.axes.extent(axis).to_string()).collect();
    extents.join("×")
}

impl BlockExplanation {
    /// Whether two blocks have the same page.
    fn reads_as(&self, other: &BlockExplanation) -> bool {
        self.written == other.written && page::rows(self) == page::rows(other)
    }
}

/// What is derived of one block before anything is written: expressions and operators.
struct Derivation {
    jacobians: Vec<(Name, Result<Derived, TooManyTerms>)>,
    curvature: Option<Operator>,
    /// Of every argument, in the exact form.
    residuals: Residuals,
    crosses: Vec<exact::Cross>,
    cotangent: Option<Expr>,
    notes: Vec<Note>,
    /// In the paper's form, where it is shown and exists.
    held: Option<Held>,
    scales: Vec<(ScaleMode, Factors)>,
}

/// One block; where it stands in a source is added by the caller.
pub fn explain_block(graph: &mut Graph, block: &BlockExprs, options: &Options) -> BlockExplanation {
    let jacobians = local::jacobians(graph, block);
    let exact = options.complete || options.form == Form::Exact;
    let cotangent = exact.then(|| Cotangent::new(graph, block));
    let (residuals, crosses) = match &cotangent {
        Some(cotangent) => second_derivatives(graph, block, &jacobians, cotangent),
        None => (vec![None; jacobians.len()], vec![]),
    };
    let derived: Vec<Option<&Derived>> = jacobians.iter().map(|(_, derived)| derived.as_ref().ok()).collect();
    let notes = structure::notes(graph, block, &derived, standardized(graph, block).is_some());
    let held =
        (options.complete || options.form == Form::Paper).then(|| held_jacobians(graph, block)).flatten();
    let others = ScaleMode::ALL.into_iter().filter(|mode| options.complete && *mode != options.mode);
    let modes = [options.mode].into_iter().chain(others);
    let derivation = Derivation {
        curvature: local::loss_hessian(graph, block).and_then(Result::ok),
        scales: modes.map(|mode| (mode, factors(graph, block, mode))).collect(),
        jacobians,
        residuals,
        crosses,
        cotangent: cotangent.map(|cotangent| cotangent.expr),
        notes,
        held,
    };
    write(&*graph, block, derivation, options)
}

type Residuals = Vec<Option<Result<exact::Residual, TooManyTerms>>>;

/// Σᵢ gᵢ ∇²Fᵢ of every argument and of every two parameters.
fn second_derivatives(
    graph: &mut Graph,
    block: &BlockExprs,
    jacobians: &[(Name, Result<Derived, TooManyTerms>)],
    cotangent: &Cotangent,
) -> (Residuals, Vec<exact::Cross>) {
    let arguments = [block.input].into_iter().chain(block.params.iter().map(|param| param.value));
    let mut residuals = Vec::new();
    for (argument, (_, derived)) in arguments.zip(jacobians) {
        residuals.push(
            derived
                .as_ref()
                .ok()
                .map(|derived| exact::residual(graph, block, cotangent, argument, &derived.operator)),
        );
    }
    let letters = printer(graph, block).letters;
    let letter = |graph: &Graph, axis: Axis| letters.of(&graph.axes, axis);
    let crosses = exact::crosses(graph, block, cotangent, &letter).unwrap_or_default();
    (residuals, crosses)
}

fn write(graph: &Graph, block: &BlockExprs, derivation: Derivation, options: &Options) -> BlockExplanation {
    let Derivation { jacobians, curvature, residuals, crosses, cotangent, notes, held, scales } = derivation;
    let mut printer = printer(graph, block);
    let derived: Vec<&Derived> = jacobians.iter().filter_map(|(_, derived)| derived.as_ref().ok()).collect();
    let mut operators: Vec<&Operator> = derived.iter().map(|derived| &derived.operator).collect();
    operators.extend(&curvature);
    let shown = residuals.iter().flatten().flatten().map(|residual| &residual.operator);
    operators.extend(shown.filter(|operator| operator.terms.len() <= exact::MOST_TERMS));
    local::name_shared(graph, &mut printer, block, &operators);
    // In the order of the page, so that names are defined in the order of their first use.
    let map = printer.definition(block.output);
    let curvature = curvature.map(|operator| {
        let formula = local::loss_hessian_formula(graph, &mut printer, &operator);
        (operator, formula)
    });
    let mut definitions = Vec::new();
    let declared = ["z"].into_iter().chain(block.params.iter().map(|param| param.name.as_str()));
    let wanted: Vec<(usize, &str)> = declared.enumerate().filter(|(_, name)| options.wants(name)).collect();
    let mut results = Vec::new();
    for &(place, _) in &wanted {
        let result = jacobians[place].1.clone();
        results.push(result.map(|derived| {
            let formulas =
                local::formulas(graph, &mut printer, &derived, curvature.is_some(), &mut definitions);
            let exact = residuals[place].clone().map(|residual| {
                residual.map(|residual| {
                    let formulas =
                        exact::formulas(graph, &mut printer, &derived, &residual, &mut definitions);
                    Exact { residual, formulas }
                })
            });
            (derived, formulas, exact)
        }));
    }
    let arguments = wanted.iter().zip(results).map(|(&(place, name), derived)| Argument {
        name: name.to_string(),
        symbol: jacobians[place].0.clone(),
        value: if place == 0 { block.input } else { block.params[place - 1].value },
        exact: derived.as_ref().ok().and_then(|(_, _, exact)| exact.clone()),
        derived: derived.map(|(derived, formulas, _)| (derived, formulas)),
        factors: scales.iter().map(|(mode, scale)| (*mode, factor(&mut printer, scale, place))).collect(),
    });
    let arguments = arguments.collect();
    let crosses = crosses.into_iter().map(|cross| {
        let statement = exact::cross_statement(graph, &mut printer, &cross);
        (cross, statement)
    });
    let crosses = crosses.collect();
    let paper = held.map(|held| local::paper_formulas(graph, &mut printer, &held, &mut definitions));
    definitions.extend(printer.clauses());
    BlockExplanation {
        written: None,
        map,
        tensors: tensors(&printer, graph, block),
        curvature,
        arguments,
        crosses,
        form: options.form,
        paper,
        modes: scales
            .into_iter()
            .map(|(mode, scale)| Mode { mode, assumptions: scale.assumptions, steps: scale.steps })
            .collect(),
        notes,
        cotangent,
        definitions,
    }
}

/// Knows the letters of the block's axes and the names of its tensors.
fn printer<'g>(graph: &'g Graph, block: &BlockExprs) -> Printer<'g> {
    let mut printer = Printer::new(graph);
    printer.letters.give(graph.axes_of(block.output));
    printer.letters.give(graph.axes_of(block.input));
    for param in &block.params {
        printer.letters.give(graph.axes_of(param.value));
    }
    printer.name_leaf(block.input, Name::new("z"));
    for (name, param) in local::display_names(block).into_iter().zip(&block.params) {
        printer.name_leaf(param.value, name);
    }
    printer
}

/// m_z for place 0, then those of the parameters.
fn factor(printer: &mut Printer, scale: &Factors, place: usize) -> Factor {
    let (value, derived) = match place {
        0 => (scale.m_z, scale.text_z.clone()),
        _ => (scale.m_w[place - 1], scale.text_w[place - 1].clone()),
    };
    Factor { value, derived, formula: printer.formula(value) }
}

fn tensors(printer: &Printer, graph: &Graph, block: &BlockExprs) -> Vec<Tensor> {
    let mut all = vec![("z".into(), block.input), (Formula::from("z").below("b"), block.output)];
    let names = local::display_names(block).into_iter().map(Formula::from);
    all.extend(names.zip(block.params.iter().map(|param| param.value)));
    let tensor = |(name, expr): (Formula, Expr)| {
        let axes = graph.axes_of(expr).iter().filter(|axis| **axis != BATCH);
        let axes = axes.map(|&axis| (printer.letters.of(&graph.axes, axis), graph.axes.extent(axis)));
        Tensor { name, axes: axes.collect(), expr }
    };
    all.into_iter().map(tensor).collect()
}

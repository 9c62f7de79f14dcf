//! `explain`: the derivation of a network as text, block by block.

use super::factors::factors;
use super::facts::Step;
use super::local::{self, Derived, Formulas};
use super::{BlockExprs, Plan};
use crate::axes::{Axis, BATCH};
use crate::ir::{Block, Network, ScaleMode};
use crate::source::Sources;
use crate::sym::graph::Graph;
use crate::sym::operator::Operator;
use crate::sym::print::Printer;

/// Which form of the Hessians is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Form {
    #[default]
    GaussNewton,
    Paper,
}

/// What to show; empty lists mean everything.
#[derive(Clone, Debug)]
pub struct Options {
    pub blocks: Vec<String>,
    /// `z` or names of parameters.
    pub wrt: Vec<String>,
    pub form: Form,
    pub mode: ScaleMode,
    pub steps: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            blocks: vec![],
            wrt: vec![],
            form: Form::default(),
            mode: ScaleMode::Measured,
            steps: false,
        }
    }
}

/// The explanation of `network`. Errors are words for the user: an unknown block or argument.
///
/// `sources` gives the blocks as they were written.
pub fn text(network: &Network, plan: &Plan, sources: &Sources, options: &Options) -> Result<String, String> {
    check_names(plan, options)?;
    let mut page = header(network, plan);
    let mut shown: Vec<(String, String)> = Vec::new();
    let mut graph = plan.graph.clone();
    graph.current_tag = None;
    for (index, block) in plan.blocks.iter().enumerate() {
        if !options.blocks.is_empty() && !options.blocks.contains(&block.name) {
            continue;
        }
        let title = format!("block {}   (b = {} of {})", block.name, index + 1, plan.blocks.len());
        let mut body = String::new();
        if let Some(written) = written(sources, network.blocks.get(index)) {
            body += &format!("  {:<8} {written}\n", "written");
        }
        body += &block_text(&mut graph, block, options);
        page += &format!("\n{title}\n");
        match shown.iter().find(|known| known.1 == body) {
            Some((name, _)) => page += &format!("  as block {name}\n"),
            None => {
                page += &body;
                shown.push((block.name.clone(), body));
            }
        }
    }
    Ok(page)
}

/// The block's text in the source, on one line.
fn written(sources: &Sources, block: Option<&Block>) -> Option<String> {
    let span = block?.span;
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

fn header(network: &Network, plan: &Plan) -> String {
    let m = plan.graph.axes.extent(BATCH);
    let last = plan.blocks.len();
    let mut sizes: Vec<String> =
        plan.blocks.iter().map(|block| features(&plan.graph, block.input_axes(&plan.graph))).collect();
    sizes.extend(plan.blocks.last().map(|block| features(&plan.graph, plan.graph.axes_of(block.output))));
    format!(
        "network {}: {} blocks, {}, batch m = {m}\n\n\
         Blocks z_b = F_b(W_b, z_{{b−1}}), b = 1..B, B = {last}; l is the mean loss of the batch. The network minimizes\n\n\
         \u{20}   Q(W, z; γ) = l(F_B(W_B, z_{{B−1}})) + Σ_{{b<B}} (γ/2) ‖z_b − F_b(W_b, z_{{b−1}})‖²\n\n\
         With γ = 1 and the targets\n\n\
         \u{20}   z_b^{{k+½}} = z_b^k − ∂l/∂z_b\n\n\
         every block has a back-matching loss L_b = ½ ‖z_b^{{k+½}} − F_b(W_b, z_{{b−1}})‖², for the last block L_B = l(F_B).\n\
         Back-propagation is one gradient step on each of them: ∂L_b/∂W_b = ∂l/∂W_b and ∂L_b/∂z_{{b−1}} = ∂l/∂z_{{b−1}}.\n\
         Local Hessians are in Gauss–Newton form, H = JᵀJ (last block: Jᵀ Hess(l) J). Formulas are per sample j unless\n\
         they sum over j; Avg is the mean over the batch, repeated. m_z = tr H_z/N_{{b−1}}, m_W = tr H_W/(m·p_W)\n\
         (last block: with m·Hess(l)).\n",
        network.name,
        plan.blocks.len(),
        sizes.join(" → "),
    )
}

impl BlockExprs {
    fn input_axes<'g>(&self, graph: &'g Graph) -> &'g [Axis] {
        graph.axes_of(self.input)
    }
}

/// Extents without the batch: `128`, `3×32×32`.
fn features(graph: &Graph, axes: &[Axis]) -> String {
    let extents: Vec<String> =
        axes.iter().filter(|axis| **axis != BATCH).map(|&axis| graph.axes.extent(axis).to_string()).collect();
    extents.join("×")
}

/// One block under neutral names (z for its input), so that equal blocks give equal text.
pub fn block_text(graph: &mut Graph, block: &BlockExprs, options: &Options) -> String {
    let jacobians = local::jacobians(graph, block);
    let curvature = local::loss_hessian(graph, block).and_then(Result::ok);
    let scale = factors(graph, block, options.mode);
    let graph = &*graph;
    let mut printer = Printer::new(graph);
    printer.letters.give(graph.axes_of(block.output));
    printer.letters.give(graph.axes_of(block.input));
    for param in &block.params {
        printer.letters.give(graph.axes_of(param.value));
    }
    printer.name_leaf(block.input, "z");
    let names = local::display_names(block);
    for (name, param) in names.iter().zip(&block.params) {
        printer.name_leaf(param.value, name.as_str());
    }
    let derived: Vec<&Derived> = jacobians.iter().filter_map(|(_, derived)| derived.as_ref().ok()).collect();
    let mut operators: Vec<&Operator> = derived.iter().map(|derived| &derived.operator).collect();
    operators.extend(&curvature);
    local::name_shared(graph, &mut printer, block, &operators);

    let mut page = Page::default();
    page.line("F_b", format!("z_b = {}", output_formula(&mut printer, block)));
    page.line("sizes", sizes(&printer, graph, block, &names));
    page.line(
        "loss",
        if block.loss.is_some() { "L_b = l(F_b(W, z))" } else { "L_b = ½ ‖z_b^{k+½} − F_b(W, z)‖²" },
    );
    if let Some(operator) = &curvature {
        page.line("Hess(l)", local::loss_hessian_text(graph, &mut printer, operator));
    }
    let paper = (options.form == Form::Paper).then(|| local::paper_form(graph, block));
    let declared = ["z"].into_iter().chain(block.params.iter().map(|param| param.name.as_str()));
    for (name, (wrt, result)) in declared.zip(&jacobians) {
        if !options.wrt.is_empty() && !options.wrt.iter().any(|wanted| wanted == name) {
            continue;
        }
        match result {
            Ok(derived) => {
                let formulas = local::formulas(
                    graph,
                    &mut printer,
                    derived,
                    "z",
                    curvature.is_some(),
                    &mut page.definitions,
                );
                page.argument(derived, formulas, &paper, options.steps);
            }
            Err(reason) => page.line(&format!("J_{wrt}"), reason.to_string()),
        }
    }
    if options.form == Form::Paper && paper == Some(None) {
        page.line(
            "paper",
            "the paper gives no form for this block (a batch norm right behind its one weight has one)",
        );
    }
    page.factors(block, &scale, &mut printer, options);
    page.finish(printer.clauses())
}

/// The output, unfolded where it has a name itself.
fn output_formula(printer: &mut Printer, block: &BlockExprs) -> String {
    printer.definition(block.output)
}

/// Extents with the letters that index them: `W: 128×64 (i, k)`.
fn sizes(printer: &Printer, graph: &Graph, block: &BlockExprs, names: &[String]) -> String {
    let mut tensors = vec![("z".to_string(), block.input), ("z_b".to_string(), block.output)];
    tensors.extend(names.iter().cloned().zip(block.params.iter().map(|param| param.value)));
    let shown = tensors.into_iter().map(|(name, expr)| {
        let axes: Vec<Axis> = graph.axes_of(expr).iter().copied().filter(|axis| *axis != BATCH).collect();
        let letters: Vec<String> = axes.iter().map(|&axis| printer.letters.of(&graph.axes, axis)).collect();
        match axes.is_empty() {
            true => format!("{name}: 1"),
            false => format!("{name}: {} ({})", features(graph, &axes), letters.join(", ")),
        }
    });
    shown.collect::<Vec<String>>().join(",  ")
}

/// The formula as derived, then what it simplifies to.
fn shown(derived: &Option<String>, simplified: String) -> String {
    derived.as_ref().map_or(simplified.clone(), |text| format!("{text} = {simplified}"))
}

/// Lines of `label  text`, then where-clauses.
#[derive(Default)]
struct Page {
    lines: Vec<(String, String)>,
    definitions: Vec<(String, String)>,
}

impl Page {
    fn line(&mut self, label: &str, text: impl Into<String>) {
        self.lines.push((label.to_string(), text.into()));
    }

    fn argument(
        &mut self,
        derived: &Derived,
        formulas: Formulas,
        paper: &Option<Option<(String, String)>>,
        steps: bool,
    ) {
        let wrt = &derived.wrt;
        self.line(&format!("J_{wrt}"), format!("J_{wrt} δ{wrt} = {}", formulas.jacobian));
        if steps {
            self.steps(&derived.steps);
        }
        let hessian = match paper {
            Some(Some((of_z, of_w))) if derived.is_input || derived.lifts() => {
                let text = if derived.is_input { of_z } else { of_w };
                format!("{text}   (paper: statistics held constant)")
            }
            _ => formulas.hessian,
        };
        self.line(&format!("H_{wrt}"), hessian);
    }

    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            self.line("  by", format!("{}: {}", step.rule, step.detail));
        }
    }

    fn factors(
        &mut self,
        block: &BlockExprs,
        scale: &super::factors::Factors,
        printer: &mut Printer,
        options: &Options,
    ) {
        let wanted = |name: &str| options.wrt.is_empty() || options.wrt.iter().any(|wrt| wrt == name);
        if wanted("z") {
            self.line("m_z", shown(&scale.text_z, printer.formula(scale.m_z)));
        }
        let names = local::display_names(block);
        for (i, param) in block.params.iter().enumerate() {
            let (factor, text) = (scale.m_w[i], &scale.text_w[i]);
            if wanted(&param.name) {
                self.line(&format!("m_{}", names[i]), shown(text, printer.formula(factor)));
            }
        }
        if options.steps {
            self.steps(&scale.steps);
        }
        self.line("mode", options.mode.name());
        for assumption in &scale.assumptions {
            self.line("  if", assumption.clone());
        }
    }

    fn finish(self, clauses: Vec<(String, String)>) -> String {
        let mut text = String::new();
        for (label, line) in &self.lines {
            text += &format!("  {label:<8} {line}\n");
        }
        let mut word = "where";
        for (name, definition) in self.definitions.into_iter().chain(clauses) {
            text += &format!("  {word:<8} {name} = {definition}\n");
            word = "";
        }
        text
    }
}

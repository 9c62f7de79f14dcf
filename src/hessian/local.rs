//! Local Jacobians and Gauss–Newton Hessians of one block, written as one writes them on paper.

use super::BlockExprs;
use super::facts::{Step, power_of};
use super::jacobian::{TooManyTerms, hessian, jacobian_with_steps};
use super::paper::standardized;
use crate::axes::BATCH;
use crate::sym::graph::{Expr, Graph, Node, Reduction};
use crate::sym::letters::{numbered, pretty_name};
use crate::sym::notation::{Chain, Factored, Link, Notation, chain, factored, number};
use crate::sym::operator::Operator;
use crate::sym::print::Printer;

/// Sums up to this many characters stand in a product as they are.
const SHORT: usize = 28;

/// With respect to what a Jacobian or Hessian is taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    /// `z` or the parameter's name.
    pub wrt: String,
    /// Of z_{b−1} rather than of a parameter.
    pub is_input: bool,
    pub operator: Operator,
    pub steps: Vec<Step>,
}

impl Derived {
    /// Whether the argument is a matrix that meets data.
    pub fn lifts(&self) -> bool {
        let widest = |term: &crate::sym::operator::Term| term.domain.len();
        !self.is_input && self.operator.terms.iter().any(|term| widest(term) > 1)
    }
}

/// The parameters' names as formulas show them: Greek where they spell a letter, numbered where two are equal.
pub fn display_names(block: &BlockExprs) -> Vec<String> {
    let repeated = |name: &str| block.params.iter().filter(|param| param.name == name).count() > 1;
    let show = |(i, param): (usize, &super::BlockParam)| {
        let before = block.params[..i].iter().filter(|other| other.name == param.name).count();
        let name = pretty_name(&param.name);
        if repeated(&param.name) { numbered(&name, before + 1) } else { name }
    };
    block.params.iter().enumerate().map(show).collect()
}

/// The Jacobians of a block, z first, or why one has no closed form.
pub fn jacobians(graph: &mut Graph, block: &BlockExprs) -> Vec<(String, Result<Derived, TooManyTerms>)> {
    let mut arguments = vec![("z".to_string(), block.input, true)];
    arguments
        .extend(display_names(block).into_iter().zip(&block.params).map(|(name, p)| (name, p.value, false)));
    let derive = |(wrt, expr, is_input): (String, Expr, bool)| {
        let derived = jacobian_with_steps(graph, block.output, expr).map(|(operator, steps)| Derived {
            wrt: wrt.clone(),
            is_input,
            operator,
            steps,
        });
        (wrt, derived)
    };
    arguments.into_iter().map(derive).collect()
}

/// The Hessian of the loss on the last block's output, as it is printed: (scale, inside), both per sample.
pub fn loss_hessian(graph: &mut Graph, block: &BlockExprs) -> Option<Result<Operator, TooManyTerms>> {
    block.loss.map(|loss| hessian(graph, loss, block.output))
}

/// Formulas of one Jacobian and its Gauss–Newton Hessian.
#[derive(Clone, Debug, PartialEq)]
pub struct Formulas {
    /// How the Jacobian acts on δ.
    pub jacobian: String,
    pub hessian: String,
}

/// Names for what a block's formulas share: a for contractions with a parameter, s for roots, D for slopes.
pub fn name_shared(graph: &Graph, printer: &mut Printer, block: &BlockExprs, operators: &[&Operator]) {
    let mean = Node::Reduce(Reduction::Mean, vec![BATCH], block.input);
    if let Some(mean) = graph.known(&mean) {
        printer.name(mean, "z̄");
    }
    let parameters: Vec<Expr> = block.params.iter().map(|param| param.value).collect();
    let mut counts = [0; 4];
    let forward = graph.between(&[block.output], &[block.input]);
    for &expr in &forward {
        if let Node::Contract { left, right, .. } = graph.node(expr)
            && (parameters.contains(left) || parameters.contains(right))
            && expr != block.output
        {
            printer.name(expr, next_name("a", &mut counts[0]));
        }
    }
    for factor in operators.iter().flat_map(|operator| &operator.terms).flat_map(|term| &term.factors) {
        let (named, _) = power_of(graph, factor.expr);
        if graph.name_of(named).is_some() {
            printer.find_quotient(named);
        }
        if let Some(radicand) = radicand_of(graph, factor.expr) {
            if !printer.has_root(radicand) {
                printer.name_root(radicand, next_name("s", &mut counts[1]));
            }
        } else if factor.expr != block.input && is_slope(graph, factor.expr) && !printer.has_name(factor.expr)
        {
            let (letter, count) = if forward.contains(&factor.expr) { ("h", 3) } else { ("D", 2) };
            printer.name(factor.expr, next_name(letter, &mut counts[count]));
        }
    }
}

/// The letter itself, then with subscripts 2, 3, …
fn next_name(letter: &str, count: &mut usize) -> String {
    *count += 1;
    if *count == 1 { letter.to_string() } else { numbered(letter, *count) }
}

fn radicand_of(graph: &Graph, expr: Expr) -> Option<Expr> {
    match graph.node(expr) {
        Node::Pow(base, exponent) => (graph.as_number(*exponent)?.fract().abs() == 0.5).then_some(*base),
        _ => None,
    }
}

/// A derivative along a block: varies over samples and is neither data nor a value with a name of its own.
fn is_slope(graph: &Graph, expr: Expr) -> bool {
    let composed = matches!(graph.node(expr), Node::Apply(..) | Node::Add(_) | Node::Pow(..));
    composed && graph.axes_of(expr).contains(&BATCH) && graph.name_of(expr).is_none()
}

/// The formulas of one Jacobian, which may add to the block's definitions; `curvature` is Hess(l) for the last block, printed under the name `Hess(l)`.
pub fn formulas<'g>(
    graph: &'g Graph,
    printer: &mut Printer<'g>,
    derived: &Derived,
    input_name: &str,
    curvature: bool,
    definitions: &mut Vec<(String, String)>,
) -> Formulas {
    let parts = factored(graph, &derived.operator);
    let mut notation = Notation::new(graph, printer);
    let mut writer = Writer { notation: &mut notation, definitions, curvature };
    let jacobian = writer.jacobian(&parts, derived);
    let hessian =
        if derived.is_input { writer.hessian_z(&parts) } else { writer.hessian_w(&parts, input_name) };
    Formulas { jacobian, hessian }
}

struct Writer<'n, 'p, 'g> {
    notation: &'n mut Notation<'p, 'g>,
    definitions: &'n mut Vec<(String, String)>,
    curvature: bool,
}

/// What the links of a Jacobian amount to, the lifting of the parameter apart.
struct Shape {
    /// The data that a parameter's variation meets first.
    lifted: Option<Vec<Expr>>,
    /// Links after that, up to the common sum; then those after it.
    inner: Vec<Link>,
    middle: Vec<Chain>,
    outer: Vec<Link>,
}

fn shape_of(parts: &Factored) -> Shape {
    let mut inner = parts.right.clone();
    let mut middle = parts.middle.clone();
    let mut outer = parts.left.clone();
    if let [only] = &middle[..]
        && (only.coefficient - 1.0).abs() < 1e-12
    {
        inner.extend(only.links.clone());
        inner.append(&mut outer);
        middle.clear();
    }
    let mut lifted = None;
    if let Some(position) = inner.iter().position(|link| matches!(link, Link::Lift(_)))
        && let Link::Lift(data) = inner.remove(position)
    {
        lifted = Some(data);
    }
    inner.retain(|link| !matches!(link, Link::Spread(_)));
    Shape { lifted, inner, middle, outer }
}

impl Writer<'_, '_, '_> {
    fn jacobian(&mut self, parts: &Factored, derived: &Derived) -> String {
        let shape = shape_of(parts);
        let argument = match &shape.lifted {
            Some(data) => format!("δ{} {}", derived.wrt, self.notation.printer.factor_of(data)),
            None => format!("δ{}", derived.wrt),
        };
        if derived.operator.terms.is_empty() {
            return "0".into();
        }
        let outer = self.notation.links(&shape.outer);
        let inner = self.notation.links(&shape.inner);
        let middle = self.middle(&shape);
        spaced(&[scale(parts.scale), outer, middle, inner, argument])
    }

    /// The sum in the middle, under a name of its own when it is long; empty when there is none.
    fn middle(&mut self, shape: &Shape) -> String {
        if shape.middle.is_empty() {
            return String::new();
        }
        let identity =
            shape.middle.iter().position(|chain| chain.links.is_empty() && chain.coefficient == 1.0);
        let averages =
            shape.middle.iter().any(|chain| chain.links.iter().any(|l| matches!(l, Link::Average(_))));
        match identity {
            Some(position) if !averages => {
                let mut rest = shape.middle.clone();
                rest.remove(position);
                let branch = self.notation.chains(&rest);
                format!("(I + {})", self.define("∂φ", branch))
            }
            _ => {
                let text = self.notation.chains(&shape.middle);
                match averages {
                    true => self.define("P", text),
                    false if text.chars().count() <= SHORT => format!("({text})"),
                    false => self.define("K", text),
                }
            }
        }
    }

    /// Defines a name (a further one when it is taken by something else) and gives it.
    fn define(&mut self, name: &str, text: String) -> String {
        if let Some(known) = self.definitions.iter().find(|known| known.1 == text) {
            return known.0.clone();
        }
        let mut count = self.definitions.iter().filter(|known| known.0.starts_with(name)).count();
        let name = next_name(name, &mut count);
        self.definitions.push((name.clone(), text));
        name
    }

    /// Jᵀ (Hess) J of what comes after the lifting, and its text when that is the identity.
    fn gram(&mut self, shape: &Shape) -> Option<String> {
        let curvature = if self.curvature { "Hess(l)" } else { "" };
        let mut inner = shape.inner.clone();
        let mut outer = shape.outer.clone();
        let last = if shape.middle.is_empty() { &mut inner } else { &mut outer };
        let merged = if self.curvature { None } else { last.pop_if(|link| matches!(link, Link::Diag(_))) };
        let square = match &merged {
            Some(Link::Diag(exprs)) => self.notation.diagonal(exprs, 2.0),
            _ => curvature.to_string(),
        };
        let middle = self.middle(shape);
        let transposed = transposed(&middle, is_symmetric(&shape.middle));
        let pieces = [
            self.notation.adjoint(&inner),
            transposed,
            self.notation.adjoint(&outer),
            square,
            self.notation.links(&outer),
            middle,
            self.notation.links(&inner),
        ];
        let text = spaced(&pieces);
        (!text.is_empty()).then_some(text)
    }

    fn hessian_z(&mut self, parts: &Factored) -> String {
        let shape = shape_of(parts);
        let gram = self.gram(&shape).unwrap_or_else(|| "I".into());
        spaced(&[scale(parts.scale * parts.scale), gram])
    }

    fn hessian_w(&mut self, parts: &Factored, input_name: &str) -> String {
        if parts.middle.is_empty() {
            return "0".into();
        }
        let shape = shape_of(parts);
        let text =
            if couples_samples(&shape) { self.coupled(&shape, input_name) } else { self.separate(&shape) };
        spaced(&[scale(parts.scale * parts.scale), text])
    }

    /// H_W where every sample's output depends on that sample alone.
    fn separate(&mut self, shape: &Shape) -> String {
        let diagonal = shape.middle.is_empty()
            && !self.curvature
            && shape.inner.iter().chain(&shape.outer).all(|link| matches!(link, Link::Diag(_)));
        let gram = match diagonal {
            true => self.samples(|writer| writer.gram(shape)),
            false => self.gram(shape).map(|gram| with_sample(&gram)),
        };
        match (self.outer_product(shape), gram) {
            (Some(data), None) => format!("I ⊗ Σⱼ {data}"),
            (Some(data), Some(gram)) => format!("Σⱼ {gram} ⊗ {data}"),
            (None, None) => "m I".into(),
            (None, Some(gram)) => format!("Σⱼ {gram}"),
        }
    }

    /// H_W where a sample's output depends on the other samples.
    fn coupled(&mut self, shape: &Shape, input_name: &str) -> String {
        let gram = self.gram(shape).unwrap_or_default();
        let Some(data) = &shape.lifted else { return format!("Σⱼⱼ′ ({gram})ⱼⱼ′") };
        let links =
            shape.middle.iter().flat_map(|chain| &chain.links).chain(&shape.inner).chain(&shape.outer);
        let by_rows = !self.curvature && !links.into_iter().any(|link| matches!(link, Link::Matrix { .. }));
        let [data, sample] = [
            self.notation.printer.factor_of(data),
            self.samples(|writer| writer.notation.printer.factor_of(data)),
        ];
        let all = if data == input_name { "Z".to_string() } else { format!("Z({data})") };
        if by_rows {
            format!("⊕ᵢ {all}ᵀ ({gram})ᵢ {all}, a block per row i; {all} has the rows {sample}ᵀ")
        } else {
            format!("Σⱼⱼ′ ({gram})ⱼⱼ′ ⊗ {sample} {}ᵀ", sample.replace('ⱼ', "ⱼ′"))
        }
    }

    fn outer_product(&mut self, shape: &Shape) -> Option<String> {
        let data = shape.lifted.as_ref()?;
        let data = self.samples(|writer| writer.notation.printer.factor_of(data));
        Some(format!("{data} {data}ᵀ"))
    }

    /// What is written with samples indexed.
    fn samples<T>(&mut self, write: impl FnOnce(&mut Self) -> T) -> T {
        self.notation.printer.bind(&[BATCH]);
        let made = write(self);
        self.notation.printer.unbind(1);
        made
    }
}

/// A number in front of a product of operators; none for 1.
fn scale(value: f64) -> String {
    if value == 1.0 { String::new() } else { number(value) }
}

/// A matrix of one sample.
fn with_sample(gram: &str) -> String {
    if gram.contains(' ') { format!("({gram})ⱼ") } else { format!("{gram}ⱼ") }
}

fn transposed(middle: &str, symmetric: bool) -> String {
    if middle.is_empty() || symmetric { middle.to_string() } else { format!("{middle}ᵀ") }
}

/// Chains that read the same from both ends are symmetric operators.
fn is_symmetric(chains: &[Chain]) -> bool {
    chains.iter().all(|chain| {
        let diagonal =
            chain.links.iter().all(|l| matches!(l, Link::Diag(_) | Link::Average(_) | Link::Total(_)));
        let mut reversed = chain.links.clone();
        reversed.reverse();
        diagonal && reversed == chain.links
    })
}

fn couples_samples(shape: &Shape) -> bool {
    let links = shape.middle.iter().flat_map(|chain| &chain.links).chain(&shape.inner).chain(&shape.outer);
    links.into_iter().any(|link| match link {
        Link::Average(axes) | Link::Total(axes) | Link::Sum(axes) => axes.contains(&BATCH),
        _ => false,
    })
}

fn spaced(pieces: &[String]) -> String {
    let shown: Vec<&str> = pieces.iter().map(String::as_str).filter(|piece| !piece.is_empty()).collect();
    shown.join(" ")
}

/// Hess(l) per sample, its 1/m in front.
pub fn loss_hessian_text<'g>(graph: &'g Graph, printer: &mut Printer<'g>, operator: &Operator) -> String {
    let mut chains: Vec<Chain> = operator.terms.iter().map(|term| chain(graph, term)).collect();
    chains.sort_by_key(|chain| (chain.coefficient < 0.0, chain.links.len()));
    let scale = chains.first().map_or(1.0, |chain| chain.coefficient.abs());
    chains.iter_mut().for_each(|chain| chain.coefficient /= scale);
    let inside = Notation::new(graph, printer).chains(&chains);
    if chains.len() == 1 {
        format!("{} {inside}", number(scale))
    } else {
        format!("{} ({inside})", number(scale))
    }
}

/// The paper's form of a block whose normalization directly follows its one weight: statistics held constant, ε and
/// γ left out, activations ignored. (H_z, H_W of row i); `None` where the paper gives none.
pub fn paper_form(graph: &Graph, block: &BlockExprs) -> Option<(String, String)> {
    let weight = standardized(graph, block)?.weight;
    let name = block.params.iter().find(|param| param.value == weight)?.name.to_lowercase();
    Some((format!("Σᵢ {name}ᵢ {name}ᵢᵀ/Varᵢ"), "Σⱼ zⱼ zⱼᵀ/(m·Varᵢ) for each row i".to_string()))
}

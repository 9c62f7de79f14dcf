//! Local Jacobians and Gauss–Newton Hessians of one block, written as one writes them on paper.

pub mod exact;

use super::BlockExprs;
use super::facts::{Step, power_of};
use super::jacobian::{TooManyTerms, hessian, jacobian_with_steps};
use super::paper::Held;
use crate::axes::BATCH;
use crate::sym::formula::{Accent, Big, Formula, Letter, Name, text::text};
use crate::sym::graph::{Expr, Graph, Node, Reduction};
use crate::sym::letters::pretty_name;
use crate::sym::notation::{Chain, Factored, Link, Notation, chain, factored};
use crate::sym::operator::Operator;
use crate::sym::print::Printer;

/// Sums up to this many characters stand in a product as they are.
const SHORT: usize = 28;

/// With respect to what a Jacobian or Hessian is taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    /// `z` or the parameter's name.
    pub wrt: Name,
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
pub fn display_names(block: &BlockExprs) -> Vec<Name> {
    let repeated = |name: &str| block.params.iter().filter(|param| param.name == name).count() > 1;
    let show = |(i, param): (usize, &super::BlockParam)| {
        let before = block.params[..i].iter().filter(|other| other.name == param.name).count();
        let name = pretty_name(&param.name);
        if repeated(&param.name) { name.numbered(before + 1) } else { name }
    };
    block.params.iter().enumerate().map(show).collect()
}

/// The Jacobians of a block, z first, or why one has no closed form.
pub fn jacobians(graph: &mut Graph, block: &BlockExprs) -> Vec<(Name, Result<Derived, TooManyTerms>)> {
    let mut arguments = vec![(Name::new("z"), block.input, true)];
    arguments
        .extend(display_names(block).into_iter().zip(&block.params).map(|(name, p)| (name, p.value, false)));
    let derive = |(wrt, expr, is_input): (Name, Expr, bool)| {
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
    pub jacobian: Formula,
    pub hessian: Statement,
}

/// A formula with what words say of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub formula: Formula,
    pub remark: Vec<Span>,
}

/// A piece of a sentence.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    Words(String),
    Math(Formula),
}

impl From<Formula> for Statement {
    fn from(formula: Formula) -> Statement {
        Statement { formula, remark: vec![] }
    }
}

impl From<&str> for Span {
    fn from(words: &str) -> Span {
        Span::Words(words.to_string())
    }
}

impl From<Formula> for Span {
    fn from(formula: Formula) -> Span {
        Span::Math(formula)
    }
}

/// Names for what a block's formulas share: a for contractions with a parameter, s for roots, D for slopes.
pub fn name_shared(graph: &Graph, printer: &mut Printer, block: &BlockExprs, operators: &[&Operator]) {
    let mean = Node::Reduce(Reduction::Mean, vec![BATCH], block.input);
    if let Some(mean) = graph.known(&mean) {
        printer.name(mean, Name::accented("z", Accent::Bar));
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
fn next_name(letter: &str, count: &mut usize) -> Name {
    *count += 1;
    Name::nth(letter, *count)
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
    curvature: bool,
    definitions: &mut Vec<(Formula, Formula)>,
) -> Formulas {
    let parts = factored(graph, &derived.operator);
    let mut notation = Notation::new(graph, printer);
    let mut writer = Writer { notation: &mut notation, definitions, curvature, average: "P" };
    let jacobian = writer.jacobian(&parts, derived);
    let hessian = if derived.is_input { writer.hessian_z(&parts).into() } else { writer.hessian_w(&parts) };
    Formulas { jacobian, hessian }
}

struct Writer<'n, 'p, 'g> {
    notation: &'n mut Notation<'p, 'g>,
    definitions: &'n mut Vec<(Formula, Formula)>,
    curvature: bool,
    /// What a sum with averages in it is called.
    average: &'static str,
}

/// What the links of a Jacobian amount to, the lifting of the parameter apart.
#[derive(Clone)]
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
    fn jacobian(&mut self, parts: &Factored, derived: &Derived) -> Formula {
        let shape = shape_of(parts);
        if derived.operator.terms.is_empty() {
            return Formula::Number(0.0);
        }
        let mut factors: Vec<Formula> = scale(parts.scale).into_iter().collect();
        factors.extend(self.notation.links(&shape.outer));
        factors.extend(self.middle(&shape));
        factors.extend(self.notation.links(&shape.inner));
        factors.push(Formula::from(derived.wrt.clone()).varied());
        let data = shape.lifted.as_ref().map(|data| self.notation.product(data, 1.0));
        product(factors.into_iter().chain(data))
    }

    /// The sum in the middle, under a name of its own when it is long.
    fn middle(&mut self, shape: &Shape) -> Option<Formula> {
        if shape.middle.is_empty() {
            return None;
        }
        let identity =
            shape.middle.iter().position(|chain| chain.links.is_empty() && chain.coefficient == 1.0);
        let averages =
            shape.middle.iter().any(|chain| chain.links.iter().any(|l| matches!(l, Link::Average(_))));
        Some(match identity {
            Some(position) if !averages => {
                let mut rest = shape.middle.clone();
                rest.remove(position);
                let branch = self.notation.chains(&rest);
                Formula::Sum(vec![(false, "I".into()), (false, self.define("∂φ", branch))])
            }
            _ => {
                let sum = self.notation.chains(&shape.middle);
                match averages {
                    true => self.define(self.average, sum),
                    false if text(&sum).chars().count() <= SHORT => sum,
                    false => self.define("K", sum),
                }
            }
        })
    }

    /// Defines a name (a further one when it is taken by something else) and gives it.
    fn define(&mut self, name: &str, formula: Formula) -> Formula {
        if let Some(known) = self.definitions.iter().find(|known| known.1 == formula) {
            return known.0.clone();
        }
        let alike = |known: &&(Formula, Formula)| matches!(&known.0, Formula::Name(own) if own.base == name);
        let mut count = self.definitions.iter().filter(alike).count();
        let name = Formula::from(next_name(name, &mut count));
        self.definitions.push((name.clone(), formula));
        name
    }

    /// Jᵀ (Hess) J of what comes after the lifting; `None` when that is the identity.
    fn gram(&mut self, shape: &Shape) -> Option<Formula> {
        let mut inner = shape.inner.clone();
        let mut outer = shape.outer.clone();
        let last = if shape.middle.is_empty() { &mut inner } else { &mut outer };
        let merged = if self.curvature { None } else { last.pop_if(|link| matches!(link, Link::Diag(_))) };
        let square = match &merged {
            Some(Link::Diag(exprs)) => Some(self.notation.product(exprs, 2.0).diagonal()),
            _ => self.curvature.then(loss_curvature),
        };
        let middle = self.middle(shape);
        let symmetric = is_symmetric(&shape.middle);
        let turned = middle.clone().map(|middle| if symmetric { middle } else { middle.transpose() });
        let mut factors = self.notation.adjoint(&inner);
        factors.extend(turned);
        factors.extend(self.notation.adjoint(&outer));
        factors.extend(square);
        factors.extend(self.notation.links(&outer));
        factors.extend(middle);
        factors.extend(self.notation.links(&inner));
        Formula::matrix(factors)
    }

    fn hessian_z(&mut self, parts: &Factored) -> Formula {
        let shape = shape_of(parts);
        let gram = self.gram(&shape).unwrap_or_else(|| "I".into());
        scaled(parts.scale * parts.scale, gram)
    }

    fn hessian_w(&mut self, parts: &Factored) -> Statement {
        if parts.middle.is_empty() {
            return Formula::Number(0.0).into();
        }
        let shape = shape_of(parts);
        let statement: Statement =
            if couples_samples(&shape) { self.coupled(&shape) } else { self.separate(&shape).into() };
        Statement { formula: scaled(parts.scale * parts.scale, statement.formula), ..statement }
    }

    /// H_W where every sample's output depends on that sample alone.
    fn separate(&mut self, shape: &Shape) -> Formula {
        let diagonal = shape.middle.is_empty()
            && !self.curvature
            && shape.inner.iter().chain(&shape.outer).all(|link| matches!(link, Link::Diag(_)));
        let gram = match diagonal {
            true => self.samples(|writer| writer.gram(shape)),
            false => self.gram(shape).map(|gram| gram.indexed(sample())),
        };
        let sum = |inside: Formula| Formula::big(Big::Sum, sample(), inside);
        match (self.outer_product(shape), gram) {
            (Some(data), None) => Formula::from("I").kronecker(sum(data)),
            (Some(data), Some(gram)) => sum(gram.kronecker(data)),
            (None, None) => product(["m".into(), "I".into()]),
            (None, Some(gram)) => sum(gram),
        }
    }

    /// H_W where a sample's output depends on the other samples.
    fn coupled(&mut self, shape: &Shape) -> Statement {
        let gram = self.gram(shape).unwrap_or_else(|| "I".into());
        let pairs = || vec!["j".to_string(), "j′".to_string()];
        let of_pair = gram.clone().indexed(pairs());
        let Some(data) = &shape.lifted else { return Formula::big(Big::Sum, pairs(), of_pair).into() };
        let links =
            shape.middle.iter().flat_map(|chain| &chain.links).chain(&shape.inner).chain(&shape.outer);
        let by_rows = !self.curvature && !links.into_iter().any(|link| matches!(link, Link::Matrix { .. }));
        let plain = self.notation.product(data, 1.0);
        let one = self.samples(|writer| writer.notation.product(data, 1.0));
        if !by_rows {
            let outer = product([one.clone(), one.relettered("j", "j′").transpose()]);
            return Formula::big(Big::Sum, pairs(), of_pair.kronecker(outer)).into();
        }
        let all = if plain == "z".into() { "Z".into() } else { Formula::call("Z", vec![plain]) };
        let row = vec!["i".to_string()];
        let inside = product([all.clone().transpose(), gram.indexed(row.clone()), all.clone()]);
        let remark = vec![
            "a block per row ".into(),
            Formula::from("i").into(),
            "; ".into(),
            all.into(),
            " has the rows ".into(),
            one.transpose().into(),
        ];
        Statement { formula: Formula::big(Big::DirectSum, row, inside), remark }
    }

    fn outer_product(&mut self, shape: &Shape) -> Option<Formula> {
        let data = shape.lifted.as_ref()?;
        let data = self.samples(|writer| writer.notation.product(data, 1.0));
        Some(product([data.clone(), data.transpose()]))
    }

    /// What is written with samples indexed.
    fn samples<T>(&mut self, write: impl FnOnce(&mut Self) -> T) -> T {
        self.notation.printer.bind(&[BATCH]);
        let made = write(self);
        self.notation.printer.unbind(1);
        made
    }
}

/// Hess(l)
pub fn loss_curvature() -> Formula {
    Formula::call("Hess", vec!["l".into()])
}

/// The letter of the samples.
fn sample() -> Vec<Letter> {
    vec!["j".to_string()]
}

fn product(factors: impl IntoIterator<Item = Formula>) -> Formula {
    Formula::matrix(factors).unwrap_or_else(|| "I".into())
}

/// A number in front of a product of operators; none for 1.
fn scale(value: f64) -> Option<Formula> {
    (value != 1.0).then(|| Formula::number(value))
}

fn scaled(value: f64, formula: Formula) -> Formula {
    product(scale(value).into_iter().chain([formula]))
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

/// Hess(l) per sample, its 1/m in front.
pub fn loss_hessian_formula<'g>(graph: &'g Graph, printer: &mut Printer<'g>, operator: &Operator) -> Formula {
    let mut chains: Vec<Chain> = operator.terms.iter().map(|term| chain(graph, term)).collect();
    chains.sort_by_key(|chain| (chain.coefficient < 0.0, chain.links.len()));
    let scale = chains.first().map_or(1.0, |chain| chain.coefficient.abs());
    chains.iter_mut().for_each(|chain| chain.coefficient /= scale);
    let inside = Notation::new(graph, printer).chains(&chains);
    product([Formula::number(scale), inside])
}

/// The Hessians in the paper's form as formulas: statistics held constant, ε and γ left out, activations ignored.
#[derive(Clone, Debug, PartialEq)]
pub struct PaperFormulas {
    pub of_z: Statement,
    /// With the average, where the paper's definition has a sum.
    pub of_w: Statement,
}

/// What the held Jacobians give, written like the Gauss–Newton Hessians.
pub fn paper_formulas<'g>(
    graph: &'g Graph,
    printer: &mut Printer<'g>,
    held: &Held,
    definitions: &mut Vec<(Formula, Formula)>,
) -> PaperFormulas {
    let mut hessian = |operator: &Operator, is_input: bool| {
        let derived = Derived { wrt: Name::new("z"), is_input, operator: operator.clone(), steps: vec![] };
        formulas(graph, printer, &derived, false, definitions).hessian
    };
    let of_z = hessian(&held.by_input, true);
    let of_w = hessian(&held.by_weight, false);
    // M = m times the positions that the statistics average over.
    let positions = held.entries / graph.axes.extent(BATCH);
    let mut below = vec!["m".into()];
    below.extend((positions > 1).then(|| Formula::number(positions as f64)));
    let average = Formula::Fraction(vec![Formula::number(1.0)], below);
    PaperFormulas { of_z, of_w: Statement { formula: product([average, of_w.formula]), ..of_w } }
}

//! The exact local Hessian of one argument, H = Jᵀ J + Σᵢ gᵢ ∇²Fᵢ, as formulas: merged where both parts share their
//! outer factors, otherwise as a sum.

use super::{Derived, Shape, Span, Statement, Writer, couples_samples, product, sample, scaled, shape_of};
use crate::axes::BATCH;
use crate::hessian::BlockExprs;
use crate::hessian::exact::Cotangent;
use crate::hessian::jacobian::TooManyTerms;
use crate::sym::formula::text::text;
use crate::sym::formula::{Big, Formula, Letter};
use crate::sym::graph::{Expr, Graph, Node, Reduction};
use crate::sym::notation::{Link, Notation, chain, factored};
use crate::sym::operator::{Operator, Term, Var};
use crate::sym::print::Printer;

/// What the exact Hessian of one argument adds to Gauss–Newton.
#[derive(Clone, Debug, PartialEq)]
pub struct Residual {
    /// Σᵢ gᵢ ∇²Fᵢ; no terms where F is piecewise affine in the argument.
    pub operator: Operator,
    /// Jᵀ J plus the residual where the two have the same outer factors.
    pub merged: Option<Operator>,
    /// The terms with means of the block's data as sums over the data, as formulas show them.
    shown: Operator,
}

/// A mixed second derivative of two parameters that does not vanish.
#[derive(Clone, Debug, PartialEq)]
pub struct Cross {
    pub row: usize,
    pub column: usize,
    pub operator: Operator,
    entries: Vec<Entry>,
}

/// One term by its entries.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    value: Expr,
    /// Letters that must agree for the entry not to be zero.
    equal: Vec<(Letter, Letter)>,
}

/// The residual with respect to one argument.
pub fn residual(
    graph: &mut Graph,
    block: &BlockExprs,
    cotangent: &Cotangent,
    argument: Expr,
    jacobian: &Operator,
) -> Result<Residual, TooManyTerms> {
    let operator = cotangent.residual(graph, block, argument, argument)?;
    let merged = match block.loss {
        None if !operator.terms.is_empty() => merged(graph, jacobian, &operator),
        _ => None,
    };
    let shown = Operator {
        terms: operator.terms.iter().map(|term| opened(graph, term)).collect(),
        ..operator.clone()
    };
    Ok(Residual { operator, merged, shown })
}

/// Where the argument or the result meets the mean of data over the samples, it meets the data: z̄ is a sum over zⱼ/m.
fn opened(graph: &Graph, term: &Term) -> Term {
    let mut term = term.clone();
    for i in 0..term.factors.len() {
        let Node::Reduce(Reduction::Mean, over, data) = graph.node(term.factors[i].expr) else { continue };
        let outer = term.domain.iter().chain(&term.codomain);
        let meets = term.factors[i].at.iter().filter(|index| outer.clone().any(|other| other.1 == index.1));
        let one_sided =
            meets.clone().all(|index| !(term.domain.contains(index) && term.codomain.contains(index)));
        if over[..] != [BATCH] || !one_sided || meets.count() == 0 {
            continue;
        }
        term.axes.push(BATCH);
        let var = Var(term.axes.len() - 1);
        term.factors[i].at.push((BATCH, var));
        let order = graph.axes_of(*data);
        term.factors[i].at.sort_by_key(|index| order.iter().position(|axis| *axis == index.0));
        term.factors[i].expr = *data;
        term.coefficient /= graph.axes.extent(BATCH) as f64;
    }
    term
}

/// JᵀJ + R in fewer terms than the two have apart.
fn merged(graph: &mut Graph, jacobian: &Operator, residual: &Operator) -> Option<Operator> {
    let mut total = jacobian.transpose().compose(jacobian);
    total.simplify(graph);
    if total.terms.len() > 1 {
        return None;
    }
    total.terms.extend(residual.terms.iter().cloned());
    total.simplify(graph);
    while total.merge_diagonals(graph, false) > 0 {}
    (total.terms.len() == 1).then_some(total)
}

/// In a block of more pairs of parameters than this their mixed second derivatives are not derived.
pub const MOST_PAIRS: usize = 45;

/// Whether a block has few enough parameters for mixed second derivatives.
pub fn has_few_pairs(parameters: usize) -> bool {
    parameters * parameters.saturating_sub(1) / 2 <= MOST_PAIRS
}

/// Second derivatives by two different parameters of the block; none where there are too many pairs.
pub fn crosses(
    graph: &mut Graph,
    block: &BlockExprs,
    cotangent: &Cotangent,
    letter: &dyn Fn(&Graph, crate::axes::Axis) -> Letter,
) -> Result<Vec<Cross>, TooManyTerms> {
    let mut found = Vec::new();
    if !has_few_pairs(block.params.len()) {
        return Ok(found);
    }
    for (row, first) in block.params.iter().enumerate() {
        for (column, second) in block.params.iter().enumerate().skip(row + 1) {
            let operator = cotangent.residual(graph, block, first.value, second.value)?;
            if !operator.terms.is_empty() {
                let few = &operator.terms
                    [..if operator.terms.len() > MOST_ENTRIES { 0 } else { operator.terms.len() }];
                let entries = few.iter().map(|term| entry(graph, term, letter)).collect();
                found.push(Cross { row, column, operator, entries });
            }
        }
    }
    Ok(found)
}

fn entry(graph: &mut Graph, term: &Term, letter: &dyn Fn(&Graph, crate::axes::Axis) -> Letter) -> Entry {
    let outer: Vec<Var> = term.codomain.iter().chain(&term.domain).map(|index| index.1).collect();
    let mut open = outer.clone();
    open.sort();
    open.dedup();
    let value = term.contract(graph, &open);
    let shared = term.domain.iter().filter(|index| term.codomain.iter().any(|other| other.1 == index.1));
    let equal = shared.map(|index| {
        let own = letter(graph, index.0);
        (own.clone(), own + "′")
    });
    Entry { value, equal: equal.collect() }
}

/// The formula of Σᵢ gᵢ ∇²Fᵢ, and that of the whole Hessian where it merges.
pub fn formulas<'g>(
    graph: &'g Graph,
    printer: &mut Printer<'g>,
    derived: &Derived,
    residual: &Residual,
    definitions: &mut Vec<(Formula, Formula)>,
) -> Result<(Formula, Option<Formula>), TooLong> {
    let mut notation = Notation::new(graph, printer);
    let mut writer = Writer { notation: &mut notation, definitions, curvature: false, average: "T" };
    let whole = residual.merged.as_ref().map(|merged| writer.operator(graph, merged, derived)).transpose()?;
    Ok((writer.operator(graph, &residual.shown, derived)?, whole))
}

/// A mixed second derivative of more terms than this is not written out.
const MOST_ENTRIES: usize = 3;

/// Nor one of more characters.
const LONGEST_ENTRY: usize = 160;

/// Why a formula is not written.
#[derive(Clone, Debug, PartialEq)]
pub struct TooLong {
    terms: usize,
}

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "not 0, {} terms too long to read (as operators they are in --format json)", self.terms)
    }
}

/// A residual of more terms than this is not written out.
pub const MOST_TERMS: usize = 8;

impl Writer<'_, '_, '_> {
    /// A Hessian as a product of operators around what its terms do not share, or as a sum of such products.
    fn operator(
        &mut self,
        graph: &Graph,
        operator: &Operator,
        derived: &Derived,
    ) -> Result<Formula, TooLong> {
        let too_long = TooLong { terms: operator.terms.len() };
        if operator.terms.is_empty() {
            return Ok(Formula::Number(0.0));
        }
        if operator.terms.len() > MOST_TERMS {
            return Err(too_long);
        }
        let mut terms: Vec<(bool, Formula)> = Vec::new();
        for group in grouped(graph, operator) {
            let parts = factored(graph, &group);
            let negative = parts.scale < 0.0;
            let shape = shape_of(&parts);
            let formula = match derived.is_input {
                true => self.around(&shape),
                false => self.of_parameter(&shape).ok_or(too_long.clone())?,
            };
            terms.push((negative, scaled(parts.scale.abs(), formula)));
        }
        terms.sort_by_key(|term| term.0);
        Ok(match terms[..] {
            [(false, _)] => terms.remove(0).1,
            _ => Formula::Sum(terms),
        })
    }

    fn around(&mut self, shape: &Shape) -> Formula {
        let mut factors = self.notation.links(&shape.outer);
        factors.extend(self.middle(shape));
        factors.extend(self.notation.links(&shape.inner));
        product(factors)
    }

    /// Σⱼ (…)ⱼ ⊗ zⱼ zⱼᵀ where the parameter meets the same data on both sides, ⊕ᵢ Zᵀ (…)ᵢ Z where samples are mixed;
    /// `None` where it is neither.
    fn of_parameter(&mut self, shape: &Shape) -> Option<Formula> {
        let mut shape = shape.clone();
        let coupled = couples_samples(&shape);
        let last = if shape.middle.is_empty() { &mut shape.inner } else { &mut shape.outer };
        let lifted = shape.lifted.clone();
        match (last.pop()?, &lifted) {
            (Link::Matrix { tensor, transposed: true }, Some(data)) if data[..] == [tensor] => {
                if any_lift(&shape) {
                    return None;
                }
                if coupled {
                    let data = self.notation.product(data, 1.0);
                    let all = if data == "z".into() { "Z".into() } else { Formula::call("Z", vec![data]) };
                    let row = vec!["i".to_string()];
                    let middle = self.around(&shape).indexed(row.clone());
                    let inside = product([all.clone().transpose(), middle, all]);
                    return Some(Formula::big(Big::DirectSum, row, inside));
                }
                let outer = self.outer_product(&shape)?;
                Some(Formula::big(Big::Sum, sample(), self.samples_of(&shape).kronecker(outer)))
            }
            (Link::Sum(axes), None) if axes[..] == [BATCH] && !any_lift(&shape) => {
                Some(Formula::big(Big::Sum, sample(), self.samples_of(&shape)))
            }
            (link @ Link::Diag(_), None) if shape.middle.is_empty() && shape.inner.is_empty() => {
                shape.inner.push(link);
                Some(self.around(&shape))
            }
            _ => None,
        }
    }

    /// What happens within one sample.
    fn samples_of(&mut self, shape: &Shape) -> Formula {
        let diagonal = |link: &Link| matches!(link, Link::Diag(_));
        match shape.middle.is_empty() && shape.inner.iter().all(diagonal) {
            true => self.samples(|writer| writer.around(shape)),
            false => self.around(shape).indexed(sample()),
        }
    }
}

/// Whether data come in between, which a product of operators cannot show.
fn any_lift(shape: &Shape) -> bool {
    let links = shape.middle.iter().flat_map(|chain| &chain.links).chain(&shape.inner).chain(&shape.outer);
    links.into_iter().any(|link| matches!(link, Link::Lift(_)))
}

/// Terms that begin and end alike, one group each.
fn grouped(graph: &Graph, operator: &Operator) -> Vec<Operator> {
    let ends = |term: &Term| {
        let links = chain(graph, term).links;
        let keep = |link: Option<&Link>| {
            link.filter(|link| matches!(link, Link::Matrix { .. } | Link::Lift(_))).cloned()
        };
        (keep(links.first()), keep(links.last()))
    };
    let mut groups: Vec<(_, Operator)> = Vec::new();
    for term in &operator.terms {
        let ends = ends(term);
        match groups.iter_mut().find(|group| group.0 == ends) {
            Some(group) => group.1.terms.push(term.clone()),
            None => groups.push((ends, Operator { terms: vec![term.clone()], ..operator.clone() })),
        }
    }
    groups.into_iter().map(|group| group.1).collect()
}

/// The entries of a mixed second derivative.
pub fn cross_statement<'g>(graph: &'g Graph, printer: &mut Printer<'g>, cross: &Cross) -> Statement {
    let too_long = || {
        let reason = TooLong { terms: cross.operator.terms.len() };
        Statement { formula: Formula::from("…"), remark: vec![Span::Words(reason.to_string())] }
    };
    if cross.entries.is_empty() {
        return too_long();
    }
    let mut terms: Vec<Formula> = Vec::new();
    let mut equal: Vec<&(Letter, Letter)> = Vec::new();
    for entry in &cross.entries {
        let axes = graph.axes_of(entry.value).to_vec();
        terms.push(printer.indexing(&axes, |printer| printer.formula(entry.value)));
        equal.extend(&entry.equal);
    }
    let formula = Formula::total(terms);
    if text(&formula).chars().count() > LONGEST_ENTRY {
        return too_long();
    }
    equal.dedup();
    let mut remark: Vec<Span> = Vec::new();
    for (place, (own, other)) in equal.into_iter().enumerate() {
        remark.push(if place == 0 { "for ".into() } else { " and ".into() });
        remark.push(Formula::from(own.as_str()).equals(other.as_str().into()).into());
    }
    if !remark.is_empty() {
        remark.push(", else 0".into());
    }
    Statement { formula, remark }
}

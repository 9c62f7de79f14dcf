//! Operators as products of links, the way one writes a Jacobian: diag(f′) W, Id − Avg − diag(x̂) Avg diag(x̂).

use super::formula::{Formula, Letter};
use super::graph::{Expr, Graph, Node, Reduction};
use super::operator::{Factor, Operator, Term, Var};
use super::print::Printer;
use crate::axes::{Axis, BATCH};

/// One step of a chain.
#[derive(Clone, PartialEq, Debug)]
pub enum Link {
    /// Multiply entrywise by the product of the factors, sorted.
    Diag(Vec<Expr>),
    /// Contract with a tensor; transposed when its first axis is contracted.
    Matrix {
        tensor: Expr,
        transposed: bool,
    },
    /// Contract the argument's own matrix with data (a product), which brings in the batch: δW ↦ δW x.
    Lift(Vec<Expr>),
    /// Mean over the axes, repeated along them.
    Average(Vec<Axis>),
    /// Sum over the axes, repeated along them (11ᵀ).
    Total(Vec<Axis>),
    Sum(Vec<Axis>),
    Spread(Vec<Axis>),
}

/// coefficient · links, first applied first.
#[derive(Clone, PartialEq, Debug)]
pub struct Chain {
    pub coefficient: f64,
    pub links: Vec<Link>,
}

/// An operator as scale · left · (Σ middle) · right with everything common taken out; links first applied first.
#[derive(Clone, PartialEq, Debug)]
pub struct Factored {
    pub scale: f64,
    pub right: Vec<Link>,
    pub middle: Vec<Chain>,
    pub left: Vec<Link>,
}

/// The chain that a term stands for.
pub fn chain(graph: &Graph, term: &Term) -> Chain {
    let term = with_lifted_means(graph, term);
    let mut walk = Walk {
        term: &term,
        current: term.domain.iter().map(|index| index.1).collect(),
        remaining: term.factors.clone(),
        links: vec![],
    };
    walk.run();
    let mut chain = Chain { coefficient: term.coefficient, links: walk.links };
    chain.name_averages(graph);
    chain.matrix_last(graph);
    chain
}

/// Where the argument meets the mean of a tensor along an axis of the result, it meets the tensor, and the result is
/// averaged: δW x̄ is Avg (δW x), and the mean row of W times δz is Avg (W δz).
fn with_lifted_means(graph: &Graph, term: &Term) -> Term {
    let mut term = term.clone();
    let codomain = term.codomain.clone();
    let of_codomain = |axis: &Axis| codomain.iter().any(|index| index.0 == *axis);
    for i in 0..term.factors.len() {
        let Node::Reduce(Reduction::Mean, over, data) = graph.node(term.factors[i].expr) else { continue };
        let meets = term.factors[i].at.iter().any(|index| term.domain.contains(index));
        let kept =
            term.factors[i].at.iter().any(|index| codomain.contains(index) && term.domain.contains(index));
        if !over.iter().all(of_codomain) || !meets || kept {
            continue;
        }
        for &axis in over {
            term.axes.push(axis);
            let var = Var(term.axes.len() - 1);
            term.factors[i].at.push((axis, var));
            term.coefficient /= graph.axes.extent(axis) as f64;
        }
        let order = graph.axes_of(*data);
        term.factors[i].at.sort_by_key(|index| order.iter().position(|axis| *axis == index.0));
        term.factors[i].expr = *data;
    }
    term
}

struct Walk<'a> {
    term: &'a Term,
    current: Vec<Var>,
    remaining: Vec<Factor>,
    links: Vec<Link>,
}

impl Walk<'_> {
    fn run(&mut self) {
        loop {
            self.diagonal(false);
            if !(self.contract() || self.sum() || self.introduce()) {
                break;
            }
        }
        self.spread();
        self.diagonal(true);
    }

    fn target(&self, var: Var) -> bool {
        self.term.codomain.iter().any(|index| index.1 == var)
    }

    /// Multiplies by every factor over current variables; those over the codomain wait for the end.
    fn diagonal(&mut self, last: bool) {
        let (now, later): (Vec<Factor>, Vec<Factor>) = self.remaining.drain(..).partition(|factor| {
            let ready = factor.at.iter().all(|index| self.current.contains(&index.1));
            let final_one = factor.at.iter().all(|index| self.term.codomain.iter().any(|c| c.1 == index.1));
            ready && (last || !final_one)
        });
        self.remaining = later;
        self.push_diagonal(now.into_iter().map(|factor| factor.expr).collect());
    }

    fn push_diagonal(&mut self, mut exprs: Vec<Expr>) {
        exprs.sort();
        if !exprs.is_empty() {
            self.links.push(Link::Diag(exprs));
        }
    }

    /// Contracts a variable that the current value has with what else has it: one tensor, or data in several factors.
    fn contract(&mut self) -> bool {
        // Matrices before sums over samples: P W rather than an average inside a product.
        let candidates =
            self.current.iter().copied().filter(|&var| !self.target(var) && self.partners(var).is_some());
        let in_codomain = |axis: Axis| self.term.codomain.iter().any(|index| index.0 == axis);
        let order = |var: &Var| (self.term.axes[var.0] == BATCH, in_codomain(self.term.axes[var.0]));
        let Some(var) = candidates.min_by_key(order) else { return false };
        let Some(partners) = self.partners(var) else { return false };
        let at = partners[0].at.clone();
        self.remaining.retain(|factor| !partners.contains(factor));
        let has = |v: &Var| at.iter().any(|index| index.1 == *v);
        let gone = |v: &Var| has(v) && !self.target(*v) && !self.remaining.iter().any(|f| f.has(*v));
        let consumed: Vec<Var> = self.current.iter().copied().filter(gone).collect();
        let transposed = at.first().is_some_and(|index| consumed.contains(&index.1));
        let new = at.iter().map(|index| index.1).filter(|v| !consumed.contains(v));
        let fresh: Vec<Var> = new.filter(|v| !self.current.contains(v)).collect();
        let brings_batch = fresh.iter().any(|v| self.term.axes[v.0] == BATCH);
        self.current.retain(|v| !consumed.contains(v));
        self.current.extend(&fresh);
        let mut tensors: Vec<Expr> = partners.into_iter().map(|factor| factor.expr).collect();
        tensors.sort();
        self.links.push(match tensors[..] {
            [tensor] if !brings_batch => Link::Matrix { tensor, transposed },
            _ => Link::Lift(tensors),
        });
        true
    }

    /// The factors over a variable where it can be contracted: one, or several over the same variables with the batch
    /// among them, which are data multiplied entrywise.
    fn partners(&self, var: Var) -> Option<Vec<Factor>> {
        let found: Vec<Factor> = self.remaining.iter().filter(|factor| factor.has(var)).cloned().collect();
        let first = found.first()?;
        let new_batch = |index: &(Axis, Var)| index.0 == BATCH && !self.current.contains(&index.1);
        let data = first.at.iter().any(new_batch) && found.iter().all(|factor| factor.at == first.at);
        (found.len() == 1 || data).then_some(found)
    }

    fn sum(&mut self) -> bool {
        let lone = |var: &Var| !self.target(*var) && !self.remaining.iter().any(|factor| factor.has(*var));
        let gone: Vec<Var> = self.current.iter().copied().filter(lone).collect();
        if gone.is_empty() {
            return false;
        }
        self.current.retain(|var| !gone.contains(var));
        self.links.push(Link::Sum(gone.iter().map(|var| self.term.axes[var.0]).collect()));
        true
    }

    /// Repeats along the variables of a factor that nothing else brings in and something later consumes.
    fn introduce(&mut self) -> bool {
        let places = self.remaining.iter().flat_map(|factor| factor.at.iter().map(|index| index.1));
        let missing = places.filter(|var| !self.current.contains(var));
        // Samples first: what a parameter does in each sample is then a product of matrices.
        let Some(var) = missing.min_by_key(|var| self.term.axes[var.0] != BATCH) else { return false };
        self.current.push(var);
        self.links.push(Link::Spread(vec![self.term.axes[var.0]]));
        true
    }

    fn spread(&mut self) {
        let missing: Vec<Var> =
            self.term.codomain.iter().map(|i| i.1).filter(|var| !self.current.contains(var)).collect();
        if !missing.is_empty() {
            let axes = missing.iter().map(|var| self.term.axes[var.0]).collect();
            self.current.extend(&missing);
            self.links.push(Link::Spread(axes));
        }
    }
}

impl Chain {
    /// Sum then Spread over the same axes: an average where the coefficient has the share, else 11ᵀ.
    fn name_averages(&mut self, graph: &Graph) {
        let mut i = 0;
        while i + 1 < self.links.len() {
            if let (Link::Sum(a), Link::Spread(b)) = (&self.links[i], &self.links[i + 1])
                && same_axes(a, b)
            {
                let size = graph.axes.size(a) as f64;
                let share = (self.coefficient * size).abs();
                let is_average = (share - 1.0).abs() < 1e-9;
                let axes = a.clone();
                self.links[i] = if is_average { Link::Average(axes) } else { Link::Total(axes) };
                if is_average {
                    self.coefficient *= size;
                }
                self.links.remove(i + 1);
            }
            i += 1;
        }
    }

    /// What stands at the end and does not touch the axes of the matrix before it goes before the matrix: Wᵀ Avg rather
    /// than Avg Wᵀ, zᵀ diag(γ) rather than diag(γ) zᵀ, so that operators end alike that can.
    fn matrix_last(&mut self, graph: &Graph) {
        for i in (1..self.links.len()).rev() {
            let (before, after) = self.links.split_at(i);
            let (Some(Link::Matrix { tensor, .. }), Some(next)) = (before.last(), after.first()) else {
                break;
            };
            let known = graph.axes_of(*tensor);
            let apart = |axes: &[Axis]| !axes.iter().any(|axis| known.contains(axis));
            let commutes = match next {
                Link::Average(axes) | Link::Total(axes) => apart(axes),
                Link::Diag(exprs) => {
                    known.contains(&BATCH) && exprs.iter().all(|&expr| apart(graph.axes_of(expr)))
                }
                _ => false,
            };
            if !commutes {
                break;
            }
            self.links.swap(i - 1, i);
        }
        self.join_diagonals();
    }

    fn join_diagonals(&mut self) {
        let mut joined: Vec<Link> = Vec::new();
        for link in std::mem::take(&mut self.links) {
            match (joined.last_mut(), link) {
                (Some(Link::Diag(known)), Link::Diag(more)) => {
                    known.extend(more);
                    known.sort();
                }
                (_, link) => joined.push(link),
            }
        }
        self.links = joined;
    }

    /// The same for sums whose share a common factor had hidden.
    fn rename_totals(&mut self, graph: &Graph) {
        for link in &mut self.links {
            if let Link::Total(axes) = link {
                let size = graph.axes.size(axes) as f64;
                if ((self.coefficient * size).abs() - 1.0).abs() < 1e-9 {
                    self.coefficient *= size;
                    *link = Link::Average(axes.clone());
                    return;
                }
            }
        }
    }
}

fn same_axes(a: &[Axis], b: &[Axis]) -> bool {
    a.len() == b.len() && a.iter().all(|axis| b.contains(axis))
}

/// Takes out what all terms begin and end with.
pub fn factored(graph: &Graph, operator: &Operator) -> Factored {
    let mut middle: Vec<Chain> = operator.terms.iter().map(|term| chain(graph, term)).collect();
    agree_on_averages(graph, &mut middle);
    middle.sort_by_key(|chain| (chain.coefficient < 0.0, chain.links.len()));
    let scale = middle.first().map_or(1.0, |chain| chain.coefficient);
    middle.iter_mut().for_each(|chain| chain.coefficient /= scale);
    let mut result = Factored { scale, right: vec![], middle: vec![], left: vec![] };
    while let Some(link) = common(&middle, |links| links.first()) {
        middle.iter_mut().for_each(|chain| drop(chain.links.remove(0)));
        result.right.push(link);
    }
    loop {
        if let Some(link) = common(&middle, |links| links.last()) {
            middle.iter_mut().for_each(|chain| drop(chain.links.pop()));
            result.left.insert(0, link);
        } else if let Some(diag) = common_diagonal(&mut middle) {
            result.left.insert(0, Link::Diag(diag));
        } else {
            break;
        }
    }
    middle.iter_mut().for_each(|chain| chain.rename_totals(graph));
    result.middle = middle;
    result
}

/// Where some chains average, all do: |S| Avg rather than 11ᵀ.
fn agree_on_averages(graph: &Graph, chains: &mut [Chain]) {
    let averages = |link: &Link| matches!(link, Link::Average(_));
    if !chains.iter().any(|chain| chain.links.iter().any(averages)) {
        return;
    }
    for chain in chains {
        for link in &mut chain.links {
            if let Link::Total(axes) = link {
                chain.coefficient *= graph.axes.size(axes) as f64;
                *link = Link::Average(axes.clone());
            }
        }
    }
}

fn common(chains: &[Chain], pick: fn(&[Link]) -> Option<&Link>) -> Option<Link> {
    let first = pick(&chains.first()?.links)?.clone();
    chains.iter().all(|chain| pick(&chain.links) == Some(&first)).then_some(first)
}

/// Removes from every last diagonal the factors that all have.
fn common_diagonal(chains: &mut [Chain]) -> Option<Vec<Expr>> {
    let last = |chain: &Chain| match chain.links.last() {
        Some(Link::Diag(exprs)) => exprs.clone(),
        _ => vec![],
    };
    let mut shared = last(chains.first()?);
    for chain in chains.iter() {
        let own = last(chain);
        shared.retain(|expr| own.contains(expr));
    }
    if shared.is_empty() {
        return None;
    }
    for chain in chains.iter_mut() {
        let Some(Link::Diag(exprs)) = chain.links.last_mut() else { continue };
        exprs.retain(|expr| !shared.contains(expr));
        if exprs.is_empty() {
            chain.links.pop();
        }
    }
    Some(shared)
}

/// Prints links and chains with a printer's names.
pub struct Notation<'p, 'g> {
    pub printer: &'p mut Printer<'g>,
    graph: &'g Graph,
}

impl<'p, 'g> Notation<'p, 'g> {
    pub fn new(graph: &'g Graph, printer: &'p mut Printer<'g>) -> Self {
        Notation { printer, graph }
    }

    /// Last applied link first, as operators are written. Lifts are written by the caller on the argument.
    pub fn links(&mut self, links: &[Link]) -> Vec<Formula> {
        links.iter().rev().filter_map(|link| self.link(link)).collect()
    }

    /// The adjoint of a product of links.
    pub fn adjoint(&mut self, links: &[Link]) -> Vec<Formula> {
        links.iter().filter_map(|link| self.adjoint_link(link)).collect()
    }

    fn adjoint_link(&mut self, link: &Link) -> Option<Formula> {
        match link {
            Link::Matrix { tensor, transposed } => {
                self.link(&Link::Matrix { tensor: *tensor, transposed: !transposed })
            }
            Link::Sum(axes) => self.link(&Link::Spread(axes.clone())),
            Link::Spread(axes) => self.link(&Link::Sum(axes.clone())),
            other => self.link(other),
        }
    }

    fn link(&mut self, link: &Link) -> Option<Formula> {
        Some(match link {
            Link::Diag(exprs) => self.product(exprs, 1.0).diagonal(),
            Link::Matrix { tensor, transposed } => {
                let name = self.printer.formula(*tensor);
                if *transposed { name.transpose() } else { name }
            }
            Link::Lift(_) | Link::Spread(_) => return None,
            Link::Average(axes) => Formula::from("Avg").indexed(self.letters(axes)),
            Link::Total(axes) => Formula::Ones(self.letters(axes)),
            Link::Sum(axes) => Formula::Summation(self.letters(axes)),
        })
    }

    /// The product of factors, raised to a power.
    pub fn product(&mut self, exprs: &[Expr], power: f64) -> Formula {
        self.printer.product_of(exprs, power)
    }

    /// The letters of the axes; none for the batch alone.
    fn letters(&self, axes: &[Axis]) -> Vec<Letter> {
        if axes == [BATCH] {
            return vec![];
        }
        axes.iter().map(|&axis| self.printer.letters.of(&self.graph.axes, axis)).collect()
    }

    /// A sum of chains; rank-one terms as u vᵀ, the empty chain as Id.
    pub fn chains(&mut self, chains: &[Chain]) -> Formula {
        let mut terms: Vec<(bool, Formula)> =
            chains.iter().map(|chain| (chain.coefficient < 0.0, self.chain(chain))).collect();
        match terms[..] {
            [(false, _)] => terms.remove(0).1,
            _ => Formula::Sum(terms),
        }
    }

    /// Without its sign.
    fn chain(&mut self, chain: &Chain) -> Formula {
        let product = match &chain.links[..] {
            [] => vec!["Id".into()],
            [Link::Diag(right), Link::Total(_), Link::Diag(left)] => {
                vec![self.product(left, 1.0), self.product(right, 1.0).transpose()]
            }
            links => self.links(links),
        };
        let scale = chain.coefficient.abs();
        let number = ((scale - 1.0).abs() >= 1e-12).then(|| Formula::number(scale));
        Formula::matrix(number.into_iter().chain(product)).unwrap_or_else(|| "Id".into())
    }
}

//! Linear operators between spaces of tensors with named axes: Jacobians, kept as structure, never as arrays.
//!
//! An operator is a sum of [`Term`]s; a term is a product of tensors over index variables, of which some are the
//! domain's, some the codomain's, and the rest summed: y\[codomain\] = c · Σ ∏ factors · x\[domain\]. A variable that
//! the domain and the codomain share is the identity along its axis. In this form composition identifies variables,
//! transposition swaps domain and codomain, a trace identifies the two, and diagonal operators commute by themselves.

use std::collections::HashMap;

use super::contraction::sum_product;
use super::differentiate::{Local, Move, reshape_present};
use super::graph::{Expr, Graph, Node};
use super::window::Window;
use crate::axes::{Axis, AxisTable};

/// An index variable of one term.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Var(pub usize);

/// Which variable indexes which axis, in the order of the space.
pub type Indices = Vec<(Axis, Var)>;

/// A tensor and the variables that index it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Factor {
    pub expr: Expr,
    pub at: Indices,
}

impl Factor {
    pub fn has(&self, var: Var) -> bool {
        self.at.iter().any(|index| index.1 == var)
    }
}

/// coefficient · Σ ∏ factors, over all variables that are neither the domain's nor the codomain's.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    pub coefficient: f64,
    pub factors: Vec<Factor>,
    pub domain: Indices,
    pub codomain: Indices,
    /// Pairs of variable lists that number the same entries in row-major order.
    pub reshapes: Vec<(Vec<Var>, Vec<Var>)>,
    /// The axis that each variable ranges over.
    pub axes: Vec<Axis>,
    /// Axes summed over although nothing varies along them: each multiplies by its extent.
    pub counts: Vec<Axis>,
}

/// A sum of terms with one domain and one codomain.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    pub domain: Vec<Axis>,
    pub codomain: Vec<Axis>,
    pub terms: Vec<Term>,
}

/// What a simplification did: terms that vanished, were added to others, or lost a sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Simplified {
    pub vanished: usize,
    pub merged: usize,
    pub summed: usize,
}

/// Variable of an axis.
pub fn index_of(indices: &Indices, axis: Axis) -> Option<Var> {
    indices.iter().find(|index| index.0 == axis).map(|index| index.1)
}

impl Term {
    /// The identity on a space.
    pub fn identity(axes: &[Axis]) -> Term {
        let indices: Indices = axes.iter().enumerate().map(|(i, &axis)| (axis, Var(i))).collect();
        Term {
            coefficient: 1.0,
            factors: vec![],
            domain: indices.clone(),
            codomain: indices,
            reshapes: vec![],
            axes: axes.to_vec(),
            counts: vec![],
        }
    }

    fn variable(&mut self, axis: Axis) -> Var {
        self.axes.push(axis);
        Var(self.axes.len() - 1)
    }

    /// The Jacobian of one node with respect to one argument.
    pub fn local(graph: &Graph, result: Expr, local: &Local) -> Term {
        let mut term = Term::identity(graph.axes_of(local.arg));
        term.codomain.clear();
        for &axis in graph.axes_of(result) {
            let before = local.how.old_axis(axis);
            let shared = before.and_then(|old| index_of(&term.domain, old));
            let var = shared.unwrap_or_else(|| term.variable(axis));
            term.codomain.push((axis, var));
        }
        if let Move::Reshape { from, to } = &local.how {
            let pick = |axes: &[Axis], indices: &Indices| {
                axes.iter().filter_map(|&a| index_of(indices, a)).collect()
            };
            term.reshapes.push((pick(from, &term.domain), pick(to, &term.codomain)));
        }
        for &expr in &local.factors {
            let place = |&axis: &Axis| {
                let var = index_of(&term.codomain, axis).or(index_of(&term.domain, axis));
                (axis, var.expect("a local factor lies over its argument's or its result's axes"))
            };
            let at = graph.axes_of(expr).iter().map(place).collect();
            term.factors.push(Factor { expr, at });
        }
        term
    }

    pub fn transpose(&self) -> Term {
        let mut term = self.clone();
        std::mem::swap(&mut term.domain, &mut term.codomain);
        term
    }

    /// `self` after `inner`, whose codomain is `self`'s domain.
    pub fn compose(&self, inner: &Term) -> Term {
        self.compose_tracked(inner).0
    }

    /// As [`Term::compose`], and which variable of the result stands for which of `self`; those of `inner` stay.
    pub fn compose_tracked(&self, inner: &Term) -> (Term, HashMap<Var, Var>) {
        let mut result = inner.clone();
        let mut map: HashMap<Var, Var> = HashMap::new();
        for &(axis, var) in &self.domain {
            if let Some(known) = index_of(&inner.codomain, axis) {
                map.insert(var, known);
            }
        }
        for (i, &axis) in self.axes.iter().enumerate() {
            map.entry(Var(i)).or_insert_with(|| result.variable(axis));
        }
        let outer = self.renamed(&|var| map[&var]);
        result.coefficient *= self.coefficient;
        result.factors.extend(outer.factors);
        result.reshapes.extend(outer.reshapes);
        result.codomain = outer.codomain;
        result.counts.extend(&self.counts);
        let shared: Vec<Var> = inner.codomain.iter().map(|index| index.1).collect();
        result.count_lost(&shared);
        (result, map)
    }

    /// Of variables that nothing has any more, only the number of their positions is left.
    fn count_lost(&mut self, before: &[Var]) {
        let after = self.variables();
        let lost = before.iter().filter(|var| !after.contains(var));
        self.counts.extend(lost.map(|var| self.axes[var.0]));
    }

    /// Makes the variables of every pair one.
    pub fn identify_all(&mut self, table: &AxisTable, pairs: &[(Var, Var)]) {
        let mut pairs = pairs.to_vec();
        while let Some((a, b)) = pairs.pop() {
            self.identify(table, a, b);
            let (keep, gone) = (a.min(b), a.max(b));
            for pair in &mut pairs {
                let moved = |var: Var| if var == gone { keep } else { var };
                *pair = (moved(pair.0), moved(pair.1));
            }
        }
    }

    /// The same term with other variables; `axes` is left to the caller.
    fn renamed(&self, to: &dyn Fn(Var) -> Var) -> Term {
        let rename = |indices: &Indices| indices.iter().map(|&(axis, var)| (axis, to(var))).collect();
        let all = |vars: &Vec<Var>| vars.iter().map(|&var| to(var)).collect();
        Term {
            coefficient: self.coefficient,
            factors: self.factors.iter().map(|f| Factor { expr: f.expr, at: rename(&f.at) }).collect(),
            domain: rename(&self.domain),
            codomain: rename(&self.codomain),
            reshapes: self.reshapes.iter().map(|(a, b)| (all(a), all(b))).collect(),
            axes: self.axes.clone(),
            counts: self.counts.clone(),
        }
    }

    /// Makes two variables one.
    pub fn identify(&mut self, table: &AxisTable, a: Var, b: Var) {
        let (keep, gone) = (a.min(b), a.max(b));
        *self = self.renamed(&|var| if var == gone { keep } else { var });
        self.identify_equal_reshapes(table);
    }

    /// Lists of variables that are reshaped from (or to) the same list are the same where their extents are.
    fn identify_equal_reshapes(&mut self, table: &AxisTable) {
        let extents =
            |vars: &[Var]| vars.iter().map(|var| table.extent(self.axes[var.0])).collect::<Vec<_>>();
        for i in 0..self.reshapes.len() {
            for j in 0..i {
                let ((a, b), (c, d)) = (self.reshapes[i].clone(), self.reshapes[j].clone());
                let pairs = [(&a, &c, &b, &d), (&b, &d, &a, &c), (&a, &d, &b, &c), (&b, &c, &a, &d)];
                for (same, other, left, right) in pairs {
                    let differ = left.iter().zip(right).find(|(x, y)| x != y);
                    if let (true, Some((&x, &y))) = (same == other && extents(left) == extents(right), differ)
                    {
                        return self.identify(table, x, y);
                    }
                }
            }
        }
        // A reshape there and back says nothing more than the one there.
        let mut known: Vec<(Vec<Var>, Vec<Var>)> = Vec::new();
        for (from, to) in std::mem::take(&mut self.reshapes) {
            let same = |(a, b): &(Vec<Var>, Vec<Var>)| (a, b) == (&from, &to) || (b, a) == (&from, &to);
            if from != to && !known.iter().any(same) {
                known.push((from, to));
            }
        }
        self.reshapes = known;
    }

    /// The trace: every axis of the domain identified with itself in the codomain, leaving a number.
    pub fn closed(&self, table: &AxisTable) -> Term {
        let mut term = self.clone();
        while let Some((var, other)) = term.open_pair() {
            term.identify(table, var, other);
        }
        let before = term.variables();
        term.domain.clear();
        term.codomain.clear();
        term.count_lost(&before);
        term
    }

    /// Gives every index of a factor a variable of its own: W\[i, i\] becomes W\[i, j\] δ\[i, j\], because an expression
    /// has an axis once. `delta` makes δ over two axes of one extent.
    pub fn without_diagonals(
        mut self,
        graph: &mut Graph,
        delta: &dyn Fn(&mut Graph, Axis, Axis) -> Expr,
    ) -> Term {
        while let Some((factor, place)) = self.repeated_index(graph) {
            let (axis, var) = self.factors[factor].at[place];
            let other = self.variable(axis);
            self.factors[factor].at[place].1 = other;
            let copy = graph.axes.copy(axis, 1);
            self.factors
                .push(Factor { expr: delta(graph, axis, copy), at: vec![(axis, var), (copy, other)] });
        }
        self
    }

    /// A factor, and which of its indices has the variable of an earlier one.
    fn repeated_index(&self, graph: &Graph) -> Option<(usize, usize)> {
        let repeated = |factor: &Factor| {
            let real = |index: &(Axis, Var)| graph.axes_of(factor.expr).contains(&index.0);
            let earlier = |place: usize| factor.at[..place].iter().filter(|index| real(index));
            (1..factor.at.len()).find(|&place| {
                let index = &factor.at[place];
                real(index) && earlier(place).any(|other| other.1 == index.1)
            })
        };
        self.factors.iter().enumerate().find_map(|(number, factor)| Some((number, repeated(factor)?)))
    }

    fn open_pair(&self) -> Option<(Var, Var)> {
        let pairs =
            self.domain.iter().filter_map(|&(axis, var)| Some((var, index_of(&self.codomain, axis)?)));
        pairs.into_iter().find(|pair| pair.0 != pair.1)
    }

    /// Every variable that occurs, in ascending order.
    pub fn variables(&self) -> Vec<Var> {
        let reshaped = self.reshapes.iter().flat_map(|(a, b)| a.iter().chain(b).copied());
        let indexed = self.factors.iter().map(|f| &f.at).chain([&self.domain, &self.codomain]);
        let mut vars: Vec<Var> = indexed.flatten().map(|index| index.1).chain(reshaped).collect();
        vars.sort();
        vars.dedup();
        vars
    }

    /// Variables of neither the domain nor the codomain.
    pub fn internal(&self) -> Vec<Var> {
        let outer = |var: &Var| self.domain.iter().chain(&self.codomain).any(|index| index.1 == *var);
        self.variables().into_iter().filter(|var| !outer(var)).collect()
    }

    /// An axis per variable: the first of an axis has the axis itself, the others its copies.
    fn concrete_axes(&self, graph: &mut Graph, vars: &[Var]) -> HashMap<Var, Axis> {
        let mut used: HashMap<Axis, usize> = HashMap::new();
        let mut concrete = HashMap::new();
        for &var in vars {
            let nth = used.entry(self.axes[var.0]).or_insert(0);
            concrete.insert(var, graph.axes.copy(self.axes[var.0], *nth));
            *nth += 1;
        }
        concrete
    }

    /// The sum over all internal variables, as an expression over the concrete axes of `open` (in that order, one
    /// copy of an axis per variable). A closed term gives a number.
    pub fn contract(&self, graph: &mut Graph, open: &[Var]) -> Expr {
        self.contract_with(graph, open, None)
    }

    fn contract_with(&self, graph: &mut Graph, open: &[Var], argument: Option<Expr>) -> Expr {
        let mut order = open.to_vec();
        order.extend(self.variables().into_iter().filter(|var| !open.contains(var)));
        let concrete = self.concrete_axes(graph, &order);
        let mut factors: Vec<Expr> = self.factors.iter().map(|f| place(graph, f, &concrete)).collect();
        if let Some(expr) = argument {
            factors.push(place(graph, &Factor { expr, at: self.domain.clone() }, &concrete));
        }
        let bound = self.reshape_factors(graph, &mut factors, &concrete, open);
        let over: Vec<Axis> = order
            .iter()
            .filter(|var| !open.contains(var) && !bound.contains(var))
            .map(|var| concrete[var])
            .collect();
        let total = sum_product(graph, factors, &over);
        let scale = graph.number(self.coefficient * graph.axes.size(&self.counts) as f64);
        graph.mul(&[scale, total])
    }

    /// Moves every factor to one side of each reshape; the variables of the other side are bound by it.
    ///
    /// Reshapes may share variables (a group of channels, cut from those of the argument and from those of the result).
    /// Those between summed variables come first, and give up the side that no other reshape needs. A side that others share
    /// in part cannot go: where neither can, a window says which positions belong together.
    fn reshape_factors(
        &self,
        graph: &mut Graph,
        factors: &mut Vec<Expr>,
        concrete: &HashMap<Var, Axis>,
        open: &[Var],
    ) -> Vec<Var> {
        let opens = |side: &[Var]| shares(side, open);
        let mut reshapes = self.reshapes.clone();
        // Single positions need no place.
        reshapes.retain(|(from, to)| !from.is_empty() && !to.is_empty());
        reshapes.sort_by_key(|(from, to)| opens(from) || opens(to));
        reshapes.reverse();
        let axes = |vars: &[Var]| vars.iter().map(|var| concrete[var]).collect::<Vec<_>>();
        let mut bound = Vec::new();
        while let Some((from, to)) = reshapes.pop() {
            if from == to {
                continue;
            }
            let others = || reshapes.iter().flat_map(|(a, b)| [a, b]);
            let needed = |side: &[Var]| others().any(|list| shares(list, side));
            let replaceable =
                |side: &[Var]| !opens(side) && others().all(|list| replaced(list, side, &[]).is_some());
            let keeps_from = opens(&from) || (!opens(&to) && needed(&from) && !needed(&to));
            let [one, other] =
                if keeps_from { [(&to, &from), (&from, &to)] } else { [(&from, &to), (&to, &from)] };
            let sides = [axes(&from), axes(&to)];
            let over =
                |factor: Expr, side: &[Axis]| graph.axes_of(factor).iter().any(|axis| side.contains(axis));
            let over_both = factors.iter().any(|&factor| sides.iter().all(|side| over(factor, side)));
            let way = [one, other].into_iter().find(|(gone, _)| !over_both && replaceable(gone));
            let Some((gone, kept)) = way else {
                factors.push(together(graph, &sides[0], &sides[1]));
                continue;
            };
            for factor in factors.iter_mut() {
                *factor = reshape_present(graph, *factor, &axes(gone), &axes(kept));
            }
            for list in reshapes.iter_mut().flat_map(|(a, b)| [a, b]) {
                *list = replaced(list, gone, kept).expect("gone is replaceable");
            }
            bound.extend(gone);
        }
        bound
    }

    /// The term applied to a tensor over the domain.
    pub fn apply(&self, graph: &mut Graph, argument: Expr) -> Expr {
        let open: Vec<Var> = self.codomain.iter().map(|index| index.1).collect();
        let value = self.contract_with(graph, &open, Some(argument));
        let mut order = open.clone();
        order.extend(self.variables().into_iter().filter(|var| !open.contains(var)));
        let concrete = self.concrete_axes(graph, &order);
        let pairs: Vec<(Axis, Axis)> =
            self.codomain.iter().map(|(axis, var)| (concrete[var], *axis)).collect();
        let has: Vec<_> =
            pairs.into_iter().filter(|p| p.0 != p.1 && graph.axes_of(value).contains(&p.0)).collect();
        if has.is_empty() { value } else { graph.rename(value, &has) }
    }
}

fn shares(list: &[Var], vars: &[Var]) -> bool {
    list.iter().any(|var| vars.contains(var))
}

/// The list with `new` in the place of `old`, where that stands in it once, as one piece, or not at all.
fn replaced(list: &[Var], old: &[Var], new: &[Var]) -> Option<Vec<Var>> {
    let place = list.windows(old.len()).position(|piece| piece == old);
    let (before, new, after) = match place {
        Some(place) => (&list[..place], new, &list[place + old.len()..]),
        None => (list, &[][..], &[][..]),
    };
    (!shares(before, old) && !shares(after, old)).then(|| [before, new, after].concat())
}

/// 1 where the positions along two lists of axes have the same row-major number, else 0.
fn together(graph: &mut Graph, one: &[Axis], other: &[Axis]) -> Expr {
    match (one, other) {
        (&[axis], many) | (many, &[axis]) => {
            let step = |place: usize| (many[place], graph.axes.size(&many[place + 1..]));
            let by = (0..many.len()).map(step).collect();
            graph.window(Window { axis, offset: 0, by })
        }
        _ => {
            let number = graph.axes.fresh("n", graph.axes.size(one));
            let sides = [one, other].map(|side| together(graph, &[number], side));
            graph.contract(sides[0], sides[1], &[number])
        }
    }
}

/// The factor's tensor over the concrete axes of its variables; its product's factors are taken apart by the caller.
fn place(graph: &mut Graph, factor: &Factor, concrete: &HashMap<Var, Axis>) -> Expr {
    let pairs: Vec<(Axis, Axis)> = factor.at.iter().map(|(axis, var)| (*axis, concrete[var])).collect();
    let moved: Vec<_> = pairs
        .into_iter()
        .filter(|pair| pair.0 != pair.1 && graph.axes_of(factor.expr).contains(&pair.0))
        .collect();
    if moved.is_empty() { factor.expr } else { graph.rename(factor.expr, &moved) }
}

impl Operator {
    pub fn identity(axes: &[Axis]) -> Operator {
        Operator { domain: axes.to_vec(), codomain: axes.to_vec(), terms: vec![Term::identity(axes)] }
    }

    /// Lists the axes of the codomain in this order.
    pub fn order_codomain(&mut self, axes: &[Axis]) {
        let place = |axis: &Axis| axes.iter().position(|own| own == axis);
        self.codomain.sort_by_key(place);
        for term in &mut self.terms {
            term.codomain.sort_by_key(|index| place(&index.0));
        }
    }

    pub fn transpose(&self) -> Operator {
        Operator {
            domain: self.codomain.clone(),
            codomain: self.domain.clone(),
            terms: self.terms.iter().map(Term::transpose).collect(),
        }
    }

    /// `self` after `inner`.
    pub fn compose(&self, inner: &Operator) -> Operator {
        let terms = self.terms.iter().flat_map(|outer| inner.terms.iter().map(|term| outer.compose(term)));
        Operator { domain: inner.domain.clone(), codomain: self.codomain.clone(), terms: terms.collect() }
    }

    /// Whether every term is the identity along an axis, which the domain and the codomain have.
    pub fn is_identity_along(&self, axis: Axis) -> bool {
        self.terms.iter().all(|term| {
            let var = index_of(&term.domain, axis);
            var.is_some() && var == index_of(&term.codomain, axis)
        })
    }

    /// The operator applied to tensors over the domain, numbered along axes of the argument that the domain lacks; over
    /// those and (some of) the codomain.
    pub fn apply_each(&self, graph: &mut Graph, argument: Expr) -> Expr {
        let parts: Vec<Expr> = self.terms.iter().map(|term| term.apply(graph, argument)).collect();
        graph.add(&parts)
    }

    /// diag(u) A + diag(v) A = diag(u + v) A: terms that differ only in factors over the variables of one factor become
    /// one. Gives how many were saved.
    ///
    /// With `entrywise`, only what multiplies entries of the result or of a value on the way counts as a diagonal, not
    /// what the argument is contracted with: W − mean W stays two terms, the mean acting on the first.
    pub fn merge_diagonals(&mut self, graph: &mut Graph, entrywise: bool) -> usize {
        let before = self.terms.len();
        let mut merged: Vec<Term> = Vec::new();
        for term in std::mem::take(&mut self.terms) {
            let found = merged.iter().position(|other| {
                let at = other.diagonal_difference(&term);
                at.is_some_and(|at| !(entrywise && at.iter().any(|index| term.meets_only(index.1, &at))))
            });
            match found {
                Some(place) => merged[place] = merged[place].with_diagonals_added(graph, &term),
                None => merged.push(term),
            }
        }
        self.terms = merged;
        before - self.terms.len()
    }

    /// Brings every term to a normal form and adds equal ones; says what that did.
    pub fn simplify(&mut self, graph: &mut Graph) -> Simplified {
        let mut seen: Vec<Term> = Vec::new();
        let mut done = Simplified::default();
        for term in std::mem::take(&mut self.terms) {
            let internal = term.internal().len();
            let term = term.normalize(graph);
            done.vanished += usize::from(term.coefficient == 0.0);
            done.summed += usize::from(term.coefficient != 0.0 && term.internal().len() < internal);
            match seen.iter_mut().find(|other| other.same_but_coefficient(&term)) {
                Some(other) => {
                    other.coefficient += term.coefficient;
                    done.merged += 1;
                }
                None => seen.push(term),
            }
        }
        let largest = seen.iter().map(|term| term.coefficient.abs()).fold(0.0, f64::max);
        seen.retain(|term| term.coefficient.abs() > 1e-14 * largest);
        self.terms = seen;
        done
    }
}

impl Term {
    /// Where two terms differ only by diagonals: the variables of the diagonal.
    fn diagonal_difference(&self, other: &Term) -> Option<Indices> {
        let same_shape = self.axes == other.axes
            && self.reshapes == other.reshapes
            && (&self.domain, &self.codomain) == (&other.domain, &other.codomain);
        let own = self.factors.iter().filter(|factor| !other.factors.contains(factor));
        let theirs = other.factors.iter().filter(|factor| !self.factors.contains(factor));
        let differing: Vec<&Factor> = own.chain(theirs).collect();
        let widest = differing.iter().max_by_key(|factor| factor.at.len())?.at.clone();
        let covered = differing.iter().all(|factor| factor.at.iter().all(|index| widest.contains(index)));
        (same_shape && covered).then_some(widest)
    }

    /// Whether the argument's `var` is summed with factors over `at` and nothing else.
    fn meets_only(&self, var: Var, at: &Indices) -> bool {
        let has = |indices: &Indices| indices.iter().any(|index| index.1 == var);
        let beyond = |factor: &Factor| factor.has(var) && factor.at.iter().any(|index| !at.contains(index));
        has(&self.domain) && !has(&self.codomain) && !self.factors.iter().any(beyond)
    }

    fn with_diagonals_added(&self, graph: &mut Graph, other: &Term) -> Term {
        let at = self.diagonal_difference(other).unwrap_or_default();
        let mut result = self.clone();
        result.factors.retain(|factor| other.factors.contains(factor));
        let product = |graph: &mut Graph, from: &Term, without: &Term| {
            let mut parts = vec![graph.number(from.coefficient / self.coefficient)];
            parts.extend(from.factors.iter().filter(|f| !without.factors.contains(f)).map(|f| f.expr));
            graph.mul(&parts)
        };
        let (mine, theirs) = (product(graph, self, other), product(graph, other, self));
        let expr = graph.add(&[mine, theirs]);
        // The first term's coefficient stays outside, so that multiples of one sum show the same sum.
        result.coefficient = self.coefficient;
        result.factors.push(restrict(graph, expr, &at));
        result.factors.sort();
        result
    }

    fn same_but_coefficient(&self, other: &Term) -> bool {
        self.factors == other.factors
            && self.axes == other.axes
            && self.reshapes == other.reshapes
            && (&self.domain, &self.codomain) == (&other.domain, &other.codomain)
    }

    /// Takes products apart, sums what can be summed within one factor, orders factors and variables.
    pub fn normalize(mut self, graph: &mut Graph) -> Term {
        self.coefficient *= graph.axes.size(&self.counts) as f64;
        self.counts.clear();
        self.identify_equal_reshapes(&graph.axes);
        let mut open = self.variables();
        self.split(graph);
        loop {
            // What becomes one with another is not lost.
            self.count_lost(&open);
            self.identify_by_windows(graph);
            open = self.variables();
            let Some(var) = self.summable(graph) else { break };
            self.sum_out(graph, var);
            self.split(graph);
            open.retain(|&other| other != var);
        }
        self.merge(graph);
        self.count_lost(&open);
        self.coefficient *= graph.axes.size(&self.counts) as f64;
        self.counts.clear();
        self.renumber()
    }

    /// Products become their factors, numbers go into the coefficient.
    fn split(&mut self, graph: &Graph) {
        let mut work = std::mem::take(&mut self.factors);
        while let Some(factor) = work.pop() {
            match graph.visible(factor.expr) {
                Node::Number(number) => self.coefficient *= number.value(),
                Node::Mul(parts) if graph.name_of(factor.expr).is_none() => {
                    work.extend(parts.iter().map(|&part| restrict(graph, part, &factor.at)));
                }
                Node::Spread(arg, _) => work.push(restrict(graph, *arg, &factor.at)),
                _ => self.factors.push(factor),
            }
        }
    }

    /// Makes one of all variables of which windows say that they are the same.
    pub fn identify_by_windows(&mut self, graph: &Graph) {
        while let Some((one, other)) = self.determined(graph) {
            self.identify(&graph.axes, one, other);
        }
        // A window twice is that window.
        let mut known: Vec<Factor> = Vec::new();
        self.factors.retain(|factor| {
            let window = matches!(graph.visible(factor.expr), Node::Window(_));
            let again = window && known.contains(factor);
            known.extend((window && !again).then(|| factor.clone()));
            !again
        });
    }

    /// Two variables of which windows say that they are the same: of the positions that fit together in a window,
    /// all but one determine the last, S\[h, i, k\] S\[h, i, l\] = S\[h, i, k\] δ\[k, l\].
    fn determined(&self, graph: &Graph) -> Option<(Var, Var)> {
        let windows: Vec<&Factor> =
            self.factors.iter().filter(|f| matches!(graph.visible(f.expr), Node::Window(_))).collect();
        let pairs =
            windows.iter().enumerate().flat_map(|(i, one)| windows[..i].iter().map(move |two| (one, two)));
        pairs.filter(|(one, two)| one.expr == two.expr).find_map(|(one, two)| {
            let mut differing = one.at.iter().zip(&two.at).filter(|(a, b)| a.1 != b.1);
            let (a, b) = differing.next()?;
            differing.next().is_none().then_some((a.1, b.1))
        })
    }

    /// An internal variable whose factors together lie over the variables of one of them: its sum is no larger. Of
    /// several the one with the fewest factors.
    fn summable(&self, graph: &Graph) -> Option<Var> {
        let reshaped = |var: &Var| self.reshapes.iter().any(|(a, b)| a.contains(var) || b.contains(var));
        let touching = |var: Var| self.factors.iter().filter(move |f| f.has(var));
        let nested = |var: &Var| {
            let widest = touching(*var).max_by_key(|f| f.at.len());
            let consistent =
                widest.is_none_or(|w| touching(*var).all(|f| f.at.iter().all(|at| w.at.contains(at))));
            consistent && widest.is_some_and(|w| graph.axes_of(w.expr).len() == w.at.len())
        };
        let free = self.internal().into_iter().filter(|var| !reshaped(var)).filter(nested);
        free.min_by_key(|&var| touching(var).count())
    }

    fn sum_out(&mut self, graph: &mut Graph, var: Var) {
        let (touching, rest): (Vec<Factor>, Vec<Factor>) = self.factors.drain(..).partition(|f| f.has(var));
        self.factors = rest;
        let widest = touching.iter().map(|f| f.at.clone()).max_by_key(Vec::len).unwrap_or_default();
        let product: Vec<Expr> = touching.iter().map(|f| f.expr).collect();
        let product = graph.mul(&product);
        let axes: Vec<Axis> = widest.iter().filter(|index| index.1 == var).map(|index| index.0).collect();
        self.coefficient *= graph.axes.size(&axes) as f64;
        let expr = graph.mean(&axes, product);
        self.factors.push(restrict(graph, expr, &widest));
    }

    /// Multiplies factors over the same variables that are powers of the same base.
    fn merge(&mut self, graph: &mut Graph) {
        let mut merged: Vec<Factor> = Vec::new();
        for factor in std::mem::take(&mut self.factors) {
            let same = |other: &&mut Factor| {
                other.at == factor.at && base_of(graph, other.expr) == base_of(graph, factor.expr)
            };
            match merged.iter_mut().find(same) {
                Some(other) => other.expr = graph.mul(&[other.expr, factor.expr]),
                None => merged.push(factor),
            }
        }
        self.factors = merged;
        self.split(graph);
        self.factors.sort();
    }

    /// Variables in order of codomain, domain, then factors.
    fn renumber(self) -> Term {
        let mut order: Vec<Var> = self.codomain.iter().chain(&self.domain).map(|index| index.1).collect();
        order.extend(self.factors.iter().flat_map(|f| f.at.iter().map(|index| index.1)));
        order.extend(self.variables());
        let mut seen = Vec::new();
        order.retain(|var| {
            !seen.contains(var) && {
                seen.push(*var);
                true
            }
        });
        let position = |var: Var| Var(order.iter().position(|&other| other == var).unwrap_or(var.0));
        let mut term = self.renamed(&position);
        term.axes = order.iter().map(|var| self.axes[var.0]).collect();
        term.factors.sort();
        term
    }
}

fn base_of(graph: &Graph, expr: Expr) -> Expr {
    match graph.node(expr) {
        Node::Pow(base, _) => *base,
        _ => expr,
    }
}

fn restrict(graph: &Graph, expr: Expr, at: &Indices) -> Factor {
    let axes = graph.axes_of(expr);
    Factor { expr, at: at.iter().copied().filter(|index| axes.contains(&index.0)).collect() }
}

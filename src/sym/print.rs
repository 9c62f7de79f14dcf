//! Expressions as formulas, as one would write them by hand; shared parts are named in where-clauses.
//!
//! Vectors stand without indices; under a sum or mean the entries over its axes are indexed: Σᵢ γᵢ²·‖wᵢ‖².

use std::collections::HashMap;

use super::formula::{Formula, Letter, Name};
use super::graph::{Expectation, Expr, Graph, Node, Style};
use super::letters::{Letters, fraction, pretty_name};
use crate::axes::Axis;

mod reductions;

/// Bases with their exponents.
type Powers = Vec<(Expr, f64)>;

/// A named value·base^power.
#[derive(Clone, Copy, Debug)]
struct Quotient {
    named: Expr,
    value: Expr,
    base: Expr,
    power: f64,
}

/// Prints expressions of one graph, remembering which names it used.
pub struct Printer<'a> {
    graph: &'a Graph,
    pub letters: Letters,
    /// Names given here go before those of the graph.
    names: HashMap<Expr, Name>,
    /// Names of square roots, by what is under the root.
    roots: HashMap<Expr, Name>,
    used: Vec<Expr>,
    used_roots: Vec<Expr>,
    /// Named from outside: no clause.
    given: Vec<Expr>,
    /// Named quotients value·base^power, found again inside longer products.
    quotients: Vec<Quotient>,
    /// The quotient whose definition is being printed.
    defining: Option<Expr>,
    /// Axes of the sums around what is being printed: entries along them are indexed.
    bound: Vec<Axis>,
    /// Renamings around what is being printed, outermost first.
    renamed: Vec<Vec<(Axis, Axis)>>,
    /// Terms left out of sums: shifts that cancel.
    omitted: Vec<Expr>,
    expectations: usize,
}

impl<'a> Printer<'a> {
    pub fn new(graph: &'a Graph) -> Self {
        Printer {
            graph,
            letters: Letters::default(),
            names: HashMap::new(),
            roots: HashMap::new(),
            used: vec![],
            used_roots: vec![],
            given: vec![],
            quotients: vec![],
            defining: None,
            bound: vec![],
            renamed: vec![],
            omitted: vec![],
            expectations: 0,
        }
    }

    /// Shows `expr` under a name from now on.
    pub fn name(&mut self, expr: Expr, name: Name) {
        self.names.insert(expr, name);
    }

    /// Shows `expr` under a name that needs no definition.
    pub fn name_leaf(&mut self, expr: Expr, name: Name) {
        self.names.insert(expr, name);
        self.given.push(expr);
    }

    /// Whether formulas show `expr` by a name of its own.
    pub fn has_name(&self, expr: Expr) -> bool {
        self.name_of(expr).is_some() || self.graph.expectation(expr).is_some()
    }

    pub fn has_root(&self, radicand: Expr) -> bool {
        self.roots.contains_key(&radicand)
    }

    /// Shows √(radicand) under a name from now on.
    pub fn name_root(&mut self, radicand: Expr, name: Name) {
        self.roots.insert(radicand, name);
    }

    /// Finds the named product of a value and a negative power again in longer products.
    pub fn find_quotient(&mut self, named: Expr) {
        let Node::Mul(factors) = self.graph.node(named) else { return };
        let [a, b] = factors[..] else { return };
        if self.quotients.iter().any(|quotient| quotient.named == named) {
            return;
        }
        for (value, under) in [(a, b), (b, a)] {
            if let Node::Pow(base, exponent) = self.graph.node(under)
                && let Some(power) = self.graph.as_number(*exponent).filter(|power| *power < 0.0)
            {
                self.quotients.push(Quotient { named, value, base: *base, power });
            }
        }
    }

    /// The product of some factors raised to a power, negative powers below a fraction stroke.
    pub fn product_of(&mut self, factors: &[Expr], power: f64) -> Formula {
        let powers = self.split(factors).into_iter().map(|(base, own)| (base, self.raised(base, own, power)));
        let powers = powers.collect();
        self.quotient(1.0, powers)
    }

    /// An indicator is all its powers.
    fn raised(&self, base: Expr, own: f64, power: f64) -> f64 {
        let indicator = match self.graph.node(base) {
            Node::Apply(function, args) => function.0.is_indicator(self.graph, args),
            _ => false,
        };
        if indicator { 1.0 } else { own * power }
    }

    /// What `print` makes with samples indexed: zⱼ.
    pub fn indexing<T>(&mut self, axes: &[Axis], print: impl FnOnce(&mut Self) -> T) -> T {
        self.bind(axes);
        let made = print(self);
        self.unbind(axes.len());
        made
    }

    /// From now on entries along these axes are indexed, until as many are unbound.
    pub fn bind(&mut self, axes: &[Axis]) {
        self.bound.extend(axes);
    }

    pub fn unbind(&mut self, count: usize) {
        self.bound.truncate(self.bound.len().saturating_sub(count));
    }

    /// What the name of `expr` stands for.
    pub fn definition(&mut self, expr: Expr) -> Formula {
        if let Some(of) = self.graph.expectation(expr) {
            return self.expectation(of);
        }
        self.defining = Some(expr);
        let formula = self.structure(expr);
        self.defining = None;
        formula
    }

    /// The definitions of all names used since the last call, those of the names in them included.
    pub fn clauses(&mut self) -> Vec<(Formula, Formula)> {
        let mut clauses = Vec::new();
        let (mut next, mut next_root) = (0, 0);
        loop {
            if let Some(&radicand) = self.used_roots.get(next_root) {
                next_root += 1;
                clauses.push((self.roots[&radicand].clone().into(), self.formula(radicand).root()));
            } else if let Some(&expr) = self.used.get(next) {
                next += 1;
                if let Some(name) = self.name_of(expr) {
                    clauses.push((name.into(), self.definition(expr)));
                }
            } else {
                break;
            }
        }
        self.used.clear();
        self.used_roots.clear();
        clauses
    }

    fn name_of(&self, expr: Expr) -> Option<Name> {
        self.names.get(&expr).cloned().or_else(|| self.graph.name_of(expr).map(pretty_name))
    }

    /// The formula of an expression.
    pub fn formula(&mut self, expr: Expr) -> Formula {
        if self.graph.expectation(expr).is_some() && !self.names.contains_key(&expr) {
            self.expectations += 1;
            self.names.insert(expr, Name::nth("E", self.expectations));
        }
        let leaf = matches!(self.graph.node(expr), Node::Number(_) | Node::Symbol(_));
        match self.name_of(expr) {
            Some(name) if (self.names.contains_key(&expr) || !leaf) && self.defining != Some(expr) => {
                if !leaf && !self.given.contains(&expr) && !self.used.contains(&expr) {
                    self.used.push(expr);
                }
                self.indexed(name, expr)
            }
            _ => self.structure(expr),
        }
    }

    /// The axis that an axis of an inner expression stands for, through the renamings around it.
    fn outer_axis(&self, axis: Axis) -> Axis {
        let through = |axis: Axis, pairs: &Vec<(Axis, Axis)>| {
            pairs.iter().find(|pair| pair.0 == axis).map_or(axis, |pair| pair.1)
        };
        self.renamed.iter().rev().fold(axis, through)
    }

    /// A name with the letters of the bound axes below it.
    fn indexed(&self, name: Name, expr: Expr) -> Formula {
        let axes = self.graph.axes_of(expr).iter().map(|&axis| self.outer_axis(axis));
        let letters: Vec<Letter> =
            axes.filter(|axis| self.bound.contains(axis)).map(|axis| self.letter(axis)).collect();
        Formula::from(name).indexed(letters)
    }

    fn structure(&mut self, expr: Expr) -> Formula {
        match self.graph.node(expr).clone() {
            Node::Number(number) => self.quotient(number.value(), vec![]),
            Node::Symbol(symbol) => {
                let name = pretty_name(&self.graph.symbol_info(symbol).label);
                self.indexed(name, expr)
            }
            Node::Add(terms) => self.sum(&terms),
            Node::Mul(factors) => self.product(&factors),
            Node::Pow(..) => self.product(&[expr]),
            Node::Apply(function, args) => self.applied(function.0.style(), function.0.name(), &args),
            Node::Reduce(how, over, arg) => {
                let powers = self.split_product(arg);
                self.reduction(how, &over, powers)
            }
            Node::Contract { left, right, over } => self.contraction(left, right, &over),
            Node::Rename(arg, pairs) => {
                self.renamed.push(pairs);
                let formula = self.formula(arg);
                self.renamed.pop();
                formula
            }
            Node::Reshape { arg, .. } | Node::Spread(arg, _) => self.formula(arg),
            Node::Index(axis) => Formula::from(self.letter(axis).as_str()),
            Node::Window(_) => self.indexed(Name::new("S"), expr),
            Node::ArgMax(..) => self.indexed(Name::new("D"), expr),
            Node::Random { .. } => Formula::call("U", vec![Formula::Number(0.0), Formula::Number(1.0)]),
            Node::Orthonormal(arg) => Formula::call("orth", vec![self.formula(arg)]),
            Node::Exchange(_, arg) => Formula::call("ranks", vec![self.formula(arg)]),
        }
    }

    fn applied(&mut self, style: Style, name: &str, args: &[Expr]) -> Formula {
        match style {
            Style::Call => Formula::call(name, args.iter().map(|&arg| self.formula(arg)).collect()),
            Style::Infix(sign) => self.formula(args[0]).relates(sign, self.formula(args[1])),
            Style::Bars => Formula::Absolute(Box::new(self.formula(args[0]))),
            Style::Not => Formula::Not(Box::new(self.formula(args[0]))),
            Style::OnePlus(name) => {
                let sum = Formula::Sum(vec![(false, Formula::Number(1.0)), (false, self.formula(args[0]))]);
                Formula::call(name, vec![sum])
            }
            Style::Itself => self.formula(args[0]),
            Style::Choice => self.choice(args[0], args[1], args[2]),
        }
    }

    /// 1{c} and its multiples; otherwise both cases in words.
    fn choice(&mut self, condition: Expr, then: Expr, otherwise: Expr) -> Formula {
        let case = self.formula(condition);
        let hit = Formula::Indicator(Box::new(case.clone()));
        let miss = Formula::Sum(vec![(false, Formula::Number(1.0)), (true, hit.clone())]);
        let numbers = [then, otherwise].map(|expr| self.graph.as_number(expr));
        match numbers {
            [Some(1.0), Some(0.0)] => hit,
            [Some(0.0), Some(1.0)] => miss,
            [_, Some(0.0)] => Formula::Product(vec![self.formula(then), hit]),
            [Some(0.0), _] => Formula::Product(vec![self.formula(otherwise), miss]),
            _ => Formula::Choice(Box::new([case, self.formula(then), self.formula(otherwise)])),
        }
    }

    fn sum(&mut self, terms: &[Expr]) -> Formula {
        let kept: Vec<Expr> = terms.iter().copied().filter(|term| !self.omitted.contains(term)).collect();
        if let [one] = kept[..] {
            return self.formula(one);
        }
        let mut ordered: Vec<(bool, Formula)> = kept.iter().map(|&term| self.signed(term)).collect();
        // A positive term leads.
        ordered.sort_by_key(|term| term.0);
        Formula::Sum(ordered)
    }

    /// Sign and absolute value of a term.
    fn signed(&mut self, term: Expr) -> (bool, Formula) {
        let named = self.has_name(term);
        if let (false, Node::Mul(factors)) = (named, self.graph.node(term).clone())
            && let Some(value) = self.graph.as_number(factors[0]).filter(|value| *value < 0.0)
        {
            let powers = self.split(&factors[1..]);
            return (true, self.quotient(-value, powers));
        }
        match self.graph.as_number(term) {
            Some(value) if value < 0.0 => (true, self.quotient(-value, vec![])),
            _ => (false, self.formula(term)),
        }
    }

    fn product(&mut self, factors: &[Expr]) -> Formula {
        match self.graph.as_number(factors[0]) {
            Some(value) => {
                let powers = self.split(&factors[1..]);
                self.quotient(value, powers)
            }
            None => {
                let powers = self.split(factors);
                self.quotient(1.0, powers)
            }
        }
    }

    /// The factors of a product as bases with exponents.
    fn split(&self, factors: &[Expr]) -> Powers {
        factors.iter().map(|&factor| self.power(factor).unwrap_or((factor, 1.0))).collect()
    }

    /// The factors of an unnamed product, or the expression itself.
    fn split_product(&self, expr: Expr) -> Powers {
        match self.graph.node(expr) {
            Node::Mul(factors) if !self.has_name(expr) => self.split(factors),
            Node::Spread(arg, _) => self.split_product(*arg),
            _ => self.split(&[expr]),
        }
    }

    fn power(&self, expr: Expr) -> Option<(Expr, f64)> {
        if self.has_name(expr) && self.defining != Some(expr) {
            return None;
        }
        match self.graph.node(expr) {
            Node::Pow(base, exponent) => Some((*base, self.graph.as_number(*exponent)?)),
            _ => None,
        }
    }

    /// Named quotients put together.
    fn with_quotients(&self, mut powers: Powers) -> Powers {
        for quotient in self.quotients.iter().filter(|quotient| self.defining != Some(quotient.named)) {
            let of = |expr: Expr| powers.iter().position(|power| power.0 == expr);
            let (Some(i), Some(j)) = (of(quotient.value), of(quotient.base)) else { continue };
            let (times, under) = (powers[i].1, powers[j].1);
            if times > 0.0 && under <= quotient.power * times + 1e-12 {
                powers[i].0 = quotient.named;
                powers[j].1 -= quotient.power * times;
            }
        }
        powers.retain(|power| power.1.abs() > 1e-12);
        powers
    }

    /// value · ∏ base^power, negative powers below a fraction stroke.
    fn quotient(&mut self, value: f64, powers: Powers) -> Formula {
        self.quotient_with(value, powers, vec![])
    }

    /// The like with further formulas among the factors.
    fn quotient_with(&mut self, value: f64, powers: Powers, more: Vec<Formula>) -> Formula {
        let powers = self.with_quotients(powers);
        if let (Some(shares), true) = (self.shares(value, &powers), more.is_empty()) {
            return shares;
        }
        let fraction = self.pieces(value.abs(), powers, more).with_number();
        let formula = fraction.written();
        if value < 0.0 { formula.negative() } else { formula }
    }

    /// What stands above and below the fraction stroke; numbers of means among the factors go into the scale.
    fn pieces(&mut self, scale: f64, powers: Powers, more: Vec<Formula>) -> Fraction {
        let powers = self.with_quotients(powers);
        let mut fraction = Fraction { scale, above: vec![], below: vec![] };
        for (base, power, within) in self.inside_reductions(powers) {
            if let Some(number) = self.graph.as_number(base) {
                fraction.scale *= number.abs().powf(power);
                continue;
            }
            if power < 0.0 {
                let mut under = 1.0;
                let formula = self.powered_or_reduced(&mut under, base, -power, within);
                fraction.scale /= under;
                fraction.below.push(formula);
            } else {
                let formula = self.powered_or_reduced(&mut fraction.scale, base, power, within);
                fraction.above.push(formula);
            }
        }
        fraction.above.extend(more);
        fraction
    }

    /// f(a)/Σ f(a) for an exponential f: what is added to every a alike cancels and is not shown.
    fn shares(&mut self, value: f64, powers: &Powers) -> Option<Formula> {
        let [first, second] = powers[..] else { return None };
        let (above, under) = if first.1 == 1.0 { (first, second) } else { (second, first) };
        let Node::Reduce(_, over, arg) = self.graph.node(under.0) else { return None };
        let Node::Apply(function, args) = self.graph.node(above.0) else { return None };
        if (value, above.1, under.1) != (1.0, 1.0, -1.0) || *arg != above.0 || !function.0.is_exponential() {
            return None;
        }
        if let Node::Add(terms) = self.graph.node(args[0]) {
            let shift = |term: &&Expr| !self.graph.axes_of(**term).iter().any(|axis| over.contains(axis));
            self.omitted.extend(terms.iter().filter(shift).copied().collect::<Vec<Expr>>());
        }
        let shares = Formula::Fraction(vec![self.formula(above.0)], vec![self.formula(under.0)]);
        let argument = self.formula(args[0]);
        self.omitted.clear();
        Some(match self.defining {
            Some(_) => Formula::call("softmax", vec![argument]).equals(shares),
            None => shares,
        })
    }

    fn powered(&mut self, base: Expr, power: f64) -> Formula {
        if let Some(root) = self.roots.get(&base).cloned() {
            if !self.used_roots.contains(&base) {
                self.used_roots.push(base);
            }
            return self.indexed(root, base).raised(2.0 * power);
        }
        self.formula(base).raised(power)
    }

    /// E[f(y)], y ∼ N(mean, deviation²); several normal parts are of one standard normal u.
    fn expectation(&mut self, of: &Expectation) -> Formula {
        let letter = |place: usize| Name { primes: place, ..Name::new("y") };
        let laws: Vec<Formula> = match of.normal[..] {
            [(_, mean, deviation)] => {
                let squares =
                    self.split_product(deviation).into_iter().map(|(base, power)| (base, 2.0 * power));
                let variance = self.quotient(1.0, squares.collect());
                vec![is_normal(letter(0), self.formula(mean), variance)]
            }
            _ => {
                let part = |(place, &(_, mean, deviation)): (usize, &(Expr, Expr, Expr))| {
                    let moved = self.times(deviation, "u");
                    let whole = match self.graph.as_number(mean) == Some(0.0) {
                        true => moved,
                        false => Formula::Sum(vec![(false, self.formula(mean)), (false, moved)]),
                    };
                    Formula::from(letter(place)).equals(whole)
                };
                let standard = is_normal(Name::new("u"), Formula::Number(0.0), Formula::Number(1.0));
                of.normal.iter().enumerate().map(part).chain([standard]).collect()
            }
        };
        let names = self.names.clone();
        let given = self.given.len();
        // What varies is y itself: names of values made of it would hide that.
        self.names.retain(|expr, _| self.given.contains(expr));
        for (place, &(leaf, ..)) in of.normal.iter().enumerate() {
            self.names.insert(leaf, letter(place));
            self.given.push(leaf);
        }
        let inside = self.formula(of.inside);
        self.names = names;
        self.given.truncate(given);
        Formula::With(Box::new(Formula::Expectation(Box::new(inside))), laws)
    }

    /// A value times a letter.
    fn times(&mut self, value: Expr, letter: &str) -> Formula {
        match self.formula(value) {
            Formula::Number(1.0) => letter.into(),
            other => Formula::product(vec![other, letter.into()]),
        }
    }

    fn letter(&self, axis: Axis) -> Letter {
        self.letters.of(&self.graph.axes, axis)
    }
}

fn is_normal(name: Name, mean: Formula, variance: Formula) -> Formula {
    Formula::from(name).relates("∼", Formula::call("N", vec![mean, variance]))
}

/// A number times a product over a product.
struct Fraction {
    scale: f64,
    above: Vec<Formula>,
    below: Vec<Formula>,
}

impl Fraction {
    /// The number among the factors.
    fn with_number(mut self) -> Fraction {
        let (top, bottom) = fraction(self.scale);
        self.below.splice(0..0, bottom);
        self.above.splice(0..0, top);
        self.scale = 1.0;
        self
    }

    /// The factors, without the number.
    fn written(mut self) -> Formula {
        match (self.above.len(), self.below.is_empty()) {
            (0, true) => Formula::Number(1.0),
            (1, true) => self.above.remove(0),
            (_, true) => Formula::product(self.above),
            (0, false) => Formula::Fraction(vec![Formula::Number(1.0)], self.below),
            (_, false) => Formula::Fraction(self.above, self.below),
        }
    }
}

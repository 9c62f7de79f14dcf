//! Expressions as formulas in Unicode, as one would write them by hand; shared parts are named in where-clauses.
//!
//! Vectors stand without indices; under a sum or mean the entries over its axes are indexed: Σᵢ γᵢ²·‖wᵢ‖².

use std::collections::HashMap;

use super::graph::{Expectation, Expr, Graph, Node, Style};
use super::letters::{Letters, fraction, lowered, numbered, pretty_name, superscript};
use crate::axes::Axis;

mod reductions;

/// How tightly a piece of text binds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Level {
    Sum,
    Product,
    Power,
    Atom,
}

type Piece = (String, Level);

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
    names: HashMap<Expr, String>,
    /// Names of square roots, by what is under the root.
    roots: HashMap<Expr, String>,
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
    pub fn name(&mut self, expr: Expr, name: impl Into<String>) {
        self.names.insert(expr, name.into());
    }

    /// Shows `expr` under a name that needs no definition.
    pub fn name_leaf(&mut self, expr: Expr, name: impl Into<String>) {
        self.names.insert(expr, name.into());
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
    pub fn name_root(&mut self, radicand: Expr, name: impl Into<String>) {
        self.roots.insert(radicand, name.into());
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
    pub fn product_of(&mut self, factors: &[Expr], power: f64) -> String {
        self.powers_of(factors, power).0
    }

    /// The like, in parentheses unless it is one factor.
    pub fn factor_of(&mut self, factors: &[Expr]) -> String {
        let piece = self.powers_of(factors, 1.0);
        parenthesized(&piece, Level::Power)
    }

    fn powers_of(&mut self, factors: &[Expr], power: f64) -> Piece {
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

    /// The formula of an expression.
    pub fn formula(&mut self, expr: Expr) -> String {
        self.at_least(expr, Level::Sum)
    }

    /// The formula, in parentheses unless it binds as tightly as a factor of a product.
    pub fn factor(&mut self, expr: Expr) -> String {
        self.at_least(expr, Level::Power)
    }

    /// What the name of `expr` stands for.
    pub fn definition(&mut self, expr: Expr) -> String {
        if let Some(of) = self.graph.expectation(expr) {
            return self.expectation(of);
        }
        self.defining = Some(expr);
        let text = self.structure(expr).0;
        self.defining = None;
        text
    }

    /// The definitions of all names used since the last call, those of the names in them included.
    pub fn clauses(&mut self) -> Vec<(String, String)> {
        let mut clauses = Vec::new();
        let (mut next, mut next_root) = (0, 0);
        loop {
            if let Some(&radicand) = self.used_roots.get(next_root) {
                next_root += 1;
                clauses.push((self.roots[&radicand].clone(), format!("√({})", self.formula(radicand))));
            } else if let Some(&expr) = self.used.get(next) {
                next += 1;
                if let Some(name) = self.name_of(expr) {
                    clauses.push((name, self.definition(expr)));
                }
            } else {
                break;
            }
        }
        self.used.clear();
        self.used_roots.clear();
        clauses
    }

    fn name_of(&self, expr: Expr) -> Option<String> {
        self.names.get(&expr).cloned().or_else(|| self.graph.name_of(expr).map(pretty_name))
    }

    fn at_least(&mut self, expr: Expr, level: Level) -> String {
        let piece = self.piece(expr);
        parenthesized(&piece, level)
    }

    fn piece(&mut self, expr: Expr) -> Piece {
        if self.graph.expectation(expr).is_some() && !self.names.contains_key(&expr) {
            self.expectations += 1;
            let name = if self.expectations == 1 { "E".into() } else { numbered("E", self.expectations) };
            self.names.insert(expr, name);
        }
        let leaf = matches!(self.graph.node(expr), Node::Number(_) | Node::Symbol(_));
        match self.name_of(expr) {
            Some(name) if (self.names.contains_key(&expr) || !leaf) && self.defining != Some(expr) => {
                if !leaf && !self.given.contains(&expr) && !self.used.contains(&expr) {
                    self.used.push(expr);
                }
                (self.indexed(&name, expr), Level::Atom)
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
    fn indexed(&self, name: &str, expr: Expr) -> String {
        let axes: Vec<Axis> = self.graph.axes_of(expr).iter().map(|&axis| self.outer_axis(axis)).collect();
        self.with_letters(name, axes.into_iter().filter(|axis| self.bound.contains(axis)))
    }

    fn with_letters(&self, name: &str, axes: impl Iterator<Item = Axis>) -> String {
        let letters: Vec<String> = axes.map(|axis| self.letter(axis)).collect();
        let low = |c: char| ('₀'..='₉').contains(&c);
        match (letters.is_empty(), name.ends_with(low)) {
            (true, _) => name.to_string(),
            (false, true) => format!("({name}){}", lowered(&letters)),
            (false, false) => format!("{name}{}", lowered(&letters)),
        }
    }

    fn structure(&mut self, expr: Expr) -> Piece {
        match self.graph.node(expr).clone() {
            Node::Number(number) => self.quotient(number.value(), vec![]),
            Node::Symbol(symbol) => {
                let name = pretty_name(&self.graph.symbol_info(symbol).label);
                (self.indexed(&name, expr), Level::Atom)
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
                let piece = self.piece(arg);
                self.renamed.pop();
                piece
            }
            Node::Reshape { arg, .. } | Node::Spread(arg, _) => self.piece(arg),
            Node::Index(axis) => (self.letter(axis), Level::Atom),
            Node::Window(_) => (self.indexed("S", expr), Level::Atom),
            Node::ArgMax(..) => (self.indexed("D", expr), Level::Atom),
            Node::Random { .. } => ("U(0,1)".into(), Level::Atom),
            Node::Orthonormal(arg) => (format!("orthonormal({})", self.formula(arg)), Level::Atom),
        }
    }

    fn applied(&mut self, style: Style, name: &str, args: &[Expr]) -> Piece {
        match style {
            Style::Call => {
                let args: Vec<String> = args.iter().map(|&arg| self.formula(arg)).collect();
                (format!("{name}({})", args.join(", ")), Level::Atom)
            }
            Style::Infix(sign) => {
                (format!("{} {sign} {}", self.formula(args[0]), self.formula(args[1])), Level::Sum)
            }
            Style::Around(open, close) => (format!("{open}{}{close}", self.formula(args[0])), Level::Atom),
            Style::Itself => self.piece(args[0]),
            Style::Choice => self.choice(args[0], args[1], args[2]),
        }
    }

    /// 1{c} and its multiples; otherwise both cases in words.
    fn choice(&mut self, condition: Expr, then: Expr, otherwise: Expr) -> Piece {
        let case = self.formula(condition);
        let numbers = [then, otherwise].map(|expr| self.graph.as_number(expr));
        match numbers {
            [Some(1.0), Some(0.0)] => (format!("1{{{case}}}"), Level::Atom),
            [Some(0.0), Some(1.0)] => (format!("(1 − 1{{{case}}})"), Level::Atom),
            [_, Some(0.0)] => (format!("{}·1{{{case}}}", self.factor(then)), Level::Product),
            [Some(0.0), _] => (format!("{}·(1 − 1{{{case}}})", self.factor(otherwise)), Level::Product),
            _ => {
                let (then, otherwise) = (self.formula(then), self.formula(otherwise));
                (format!("({then} if {case}, else {otherwise})"), Level::Atom)
            }
        }
    }

    fn sum(&mut self, terms: &[Expr]) -> Piece {
        let kept: Vec<Expr> = terms.iter().copied().filter(|term| !self.omitted.contains(term)).collect();
        if let [one] = kept[..] {
            return self.piece(one);
        }
        let mut ordered: Vec<(bool, String)> = kept.iter().map(|&term| self.signed(term)).collect();
        // A positive term leads.
        ordered.sort_by_key(|term| term.0);
        let mut text = String::new();
        for (i, (negative, term)) in ordered.iter().enumerate() {
            text += match (i, negative) {
                (0, false) => "",
                (0, true) => "−",
                (_, false) => " + ",
                (_, true) => " − ",
            };
            text += term;
        }
        (text, Level::Sum)
    }

    /// Sign and absolute value of a term.
    fn signed(&mut self, term: Expr) -> (bool, String) {
        let named = self.has_name(term);
        if let (false, Node::Mul(factors)) = (named, self.graph.node(term).clone())
            && let Some(value) = self.graph.as_number(factors[0]).filter(|value| *value < 0.0)
        {
            let powers = self.split(&factors[1..]);
            return (true, self.quotient(-value, powers).0);
        }
        match self.graph.as_number(term) {
            Some(value) if value < 0.0 => (true, self.quotient(-value, vec![]).0),
            _ => (false, self.at_least(term, Level::Product)),
        }
    }

    fn product(&mut self, factors: &[Expr]) -> Piece {
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
    fn quotient(&mut self, value: f64, powers: Powers) -> Piece {
        self.quotient_with(value, powers, vec![])
    }

    /// The like with further pieces among the factors.
    fn quotient_with(&mut self, value: f64, powers: Powers, more: Vec<Piece>) -> Piece {
        let powers = self.with_quotients(powers);
        if let (Some(shares), true) = (self.shares(value, &powers), more.is_empty()) {
            return shares;
        }
        let fraction = self.pieces(value.abs(), powers, more).with_number();
        let (text, level) = fraction.written();
        if value < 0.0 {
            (format!("−{}", parenthesized(&(text, level), Level::Product)), Level::Sum)
        } else {
            (text, level)
        }
    }

    /// What stands above and below the fraction stroke; numbers of means among the factors go into the scale.
    fn pieces(&mut self, scale: f64, powers: Powers, more: Vec<Piece>) -> Fraction {
        let powers = self.with_quotients(powers);
        let mut fraction = Fraction { scale, above: vec![], below: vec![] };
        for (base, power, within) in self.inside_reductions(powers) {
            if let Some(number) = self.graph.as_number(base) {
                fraction.scale *= number.abs().powf(power);
                continue;
            }
            if power < 0.0 {
                let mut under = 1.0;
                let piece = self.powered_or_reduced(&mut under, base, -power, within);
                fraction.scale /= under;
                fraction.below.push(piece);
            } else {
                let piece = self.powered_or_reduced(&mut fraction.scale, base, power, within);
                fraction.above.push(piece);
            }
        }
        fraction.above.extend(more);
        fraction
    }

    /// f(a)/Σ f(a) for an exponential f: what is added to every a alike cancels and is not shown.
    fn shares(&mut self, value: f64, powers: &Powers) -> Option<Piece> {
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
        let text = format!("{}/{}", self.factor(above.0), self.at_least(under.0, Level::Product));
        let argument = self.formula(args[0]);
        self.omitted.clear();
        let named = self.defining.is_some();
        Some((if named { format!("softmax({argument}) = {text}") } else { text }, Level::Product))
    }

    fn powered(&mut self, base: Expr, power: f64) -> Piece {
        if let Some(root) = self.roots.get(&base).cloned() {
            if !self.used_roots.contains(&base) {
                self.used_roots.push(base);
            }
            let root = self.indexed(&root, base);
            return match power == 0.5 {
                true => (root, Level::Atom),
                false => (format!("{root}{}", superscript(2.0 * power)), Level::Power),
            };
        }
        let piece = self.piece(base);
        reductions::raised(piece, power)
    }

    /// E[f(y)], y ∼ N(mean, deviation²); several normal parts are of one standard normal u.
    fn expectation(&mut self, of: &Expectation) -> String {
        const LETTERS: [&str; 4] = ["y", "y′", "y″", "y‴"];
        let laws: Vec<String> = match of.normal[..] {
            [(_, mean, deviation)] => {
                let squares =
                    self.split_product(deviation).into_iter().map(|(base, power)| (base, 2.0 * power));
                let variance = self.quotient(1.0, squares.collect()).0;
                vec![format!("y ∼ N({}, {variance})", self.formula(mean))]
            }
            _ => {
                let part = |(place, &(_, mean, deviation)): (usize, &(Expr, Expr, Expr))| {
                    let moved = format!("{}·u", self.factor(deviation));
                    let whole = match self.graph.as_number(mean) == Some(0.0) {
                        true => moved,
                        false => format!("{} + {moved}", self.formula(mean)),
                    };
                    format!("{} = {whole}", LETTERS[place.min(3)])
                };
                let parts = of.normal.iter().enumerate().map(part);
                parts.chain(["u ∼ N(0, 1)".to_string()]).collect()
            }
        };
        let names = self.names.clone();
        let given = self.given.len();
        // What varies is y itself: names of values made of it would hide that.
        self.names.retain(|expr, _| self.given.contains(expr));
        for (place, &(leaf, ..)) in of.normal.iter().enumerate() {
            self.names.insert(leaf, LETTERS[place.min(3)].into());
            self.given.push(leaf);
        }
        let inside = self.formula(of.inside);
        self.names = names;
        self.given.truncate(given);
        format!("E[{inside}],  {}", laws.join(", "))
    }

    fn letter(&self, axis: Axis) -> String {
        self.letters.of(&self.graph.axes, axis)
    }
}

/// A number times a product over a product.
struct Fraction {
    scale: f64,
    above: Vec<Piece>,
    below: Vec<Piece>,
}

impl Fraction {
    /// The number among the factors.
    fn with_number(mut self) -> Fraction {
        let (top, bottom) = fraction(self.scale);
        self.below.splice(0..0, bottom.into_iter().map(|text| (text, Level::Atom)));
        self.above.splice(0..0, top.map(|text| (text, Level::Atom)));
        self.scale = 1.0;
        self
    }

    /// The factors, without the number.
    fn written(&self) -> Piece {
        let one = vec![("1".to_string(), Level::Atom)];
        let above = if self.above.is_empty() { &one } else { &self.above };
        match (&above[..], &self.below[..]) {
            ([only], []) => only.clone(),
            (_, []) => (join(above), Level::Product),
            (_, [under]) => {
                (format!("{}/{}", join(above), parenthesized(under, Level::Power)), Level::Product)
            }
            _ => (format!("{}/({})", join(above), join(&self.below)), Level::Product),
        }
    }
}

fn join(pieces: &[Piece]) -> String {
    let texts: Vec<String> = pieces.iter().map(|piece| parenthesized(piece, Level::Power)).collect();
    texts.join("·")
}

fn parenthesized(piece: &Piece, level: Level) -> String {
    if piece.1 < level { format!("({})", piece.0) } else { piece.0.clone() }
}

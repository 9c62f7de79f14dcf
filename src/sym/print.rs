//! Expressions as formulas in Unicode, as one would write them by hand; shared parts are named in where-clauses.

use std::collections::HashMap;

use super::graph::{Expr, Graph, Node, Reduction};
use crate::axes::{Axis, BATCH};

/// How tightly a piece of text binds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Level {
    Sum,
    Product,
    Power,
    Atom,
}

/// Names that start like this say themselves what they are.
pub const EXPECTATION: &str = "E[";

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
}

impl<'a> Printer<'a> {
    pub fn new(graph: &'a Graph) -> Self {
        Printer {
            graph,
            names: HashMap::new(),
            roots: HashMap::new(),
            used: vec![],
            used_roots: vec![],
            given: vec![],
            quotients: vec![],
            defining: None,
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

    pub fn has_name(&self, expr: Expr) -> bool {
        self.name_of(expr).is_some()
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
        for (value, under) in [(a, b), (b, a)] {
            if let Node::Pow(base, exponent) = self.graph.node(under)
                && let Some(power) = self.graph.as_number(*exponent).filter(|power| *power < 0.0)
            {
                self.quotients.push(Quotient { named, value, base: *base, power });
            }
        }
    }

    /// Bases with their powers, named quotients put together.
    fn powers(&self, factors: &[Expr]) -> Vec<(Expr, f64)> {
        let split = |&factor: &Expr| self.power(factor).unwrap_or((factor, 1.0));
        let mut powers: Vec<(Expr, f64)> = factors.iter().map(split).collect();
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

    /// The product of some factors, negative powers below a fraction stroke.
    pub fn product_of(&mut self, factors: &[Expr]) -> String {
        self.quotient(1.0, factors).0
    }

    /// The formula of an expression.
    pub fn formula(&mut self, expr: Expr) -> String {
        self.at_least(expr, Level::Sum)
    }

    /// The formula, in parentheses unless it binds as tightly as a factor of a product.
    pub fn factor(&mut self, expr: Expr) -> String {
        self.at_least(expr, Level::Power)
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
                    self.defining = Some(expr);
                    let text = self.structure(expr).0;
                    self.defining = None;
                    clauses.push((name, text));
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
        let (text, own) = self.piece(expr);
        if own < level { format!("({text})") } else { text }
    }

    fn piece(&mut self, expr: Expr) -> (String, Level) {
        let leaf = matches!(self.graph.node(expr), Node::Number(_) | Node::Symbol(_));
        match self.name_of(expr) {
            Some(name) if self.names.contains_key(&expr) || !leaf => {
                if !leaf
                    && !name.starts_with(EXPECTATION)
                    && !self.given.contains(&expr)
                    && !self.used.contains(&expr)
                {
                    self.used.push(expr);
                }
                (name, Level::Atom)
            }
            _ => self.structure(expr),
        }
    }

    fn structure(&mut self, expr: Expr) -> (String, Level) {
        match self.graph.node(expr).clone() {
            Node::Number(number) => number_text(number.value()),
            Node::Symbol(symbol) => (pretty_name(&self.graph.symbol_info(symbol).label), Level::Atom),
            Node::Add(terms) => (self.sum(&terms), Level::Sum),
            Node::Mul(factors) => self.product(&factors),
            Node::Pow(..) => self.product(&[expr]),
            Node::Apply(function, args) => {
                let args: Vec<String> = args.iter().map(|&arg| self.formula(arg)).collect();
                (format!("{}({})", function.0.name(), args.join(", ")), Level::Atom)
            }
            Node::Reduce(how, over, arg) => self.reduction(how, &over, arg),
            Node::Contract { left, right, over } => self.contraction(left, right, &over),
            Node::Rename(arg, _) | Node::Reshape { arg, .. } | Node::Spread(arg, _) => self.piece(arg),
            Node::Index(axis) => (self.letter(axis), Level::Atom),
            Node::Random { .. } => ("U(0,1)".into(), Level::Atom),
            Node::Orthonormal(arg) => (format!("orthonormal({})", self.formula(arg)), Level::Atom),
        }
    }

    fn sum(&mut self, terms: &[Expr]) -> String {
        let mut ordered: Vec<(bool, String)> = terms.iter().map(|&term| self.signed(term)).collect();
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
        text
    }

    /// Sign and absolute value of a term.
    fn signed(&mut self, term: Expr) -> (bool, String) {
        let named = self.name_of(term).is_some();
        if let (false, Node::Mul(factors)) = (named, self.graph.node(term).clone())
            && let Some(value) = self.graph.as_number(factors[0]).filter(|value| *value < 0.0)
        {
            return (true, self.quotient(-value, &factors[1..]).0);
        }
        match self.graph.as_number(term) {
            Some(value) if value < 0.0 => (true, number_text(-value).0),
            _ => (false, self.at_least(term, Level::Product)),
        }
    }

    fn product(&mut self, factors: &[Expr]) -> (String, Level) {
        match self.graph.as_number(factors[0]) {
            Some(value) => self.quotient(value, &factors[1..]),
            None => self.quotient(1.0, factors),
        }
    }

    /// value · ∏ factors, negative powers below a fraction stroke.
    fn quotient(&mut self, value: f64, factors: &[Expr]) -> (String, Level) {
        let (mut above, mut below) = (Vec::new(), Vec::new());
        let mut scale = value;
        if value.abs() < 1.0 && value != 0.0 && (1.0 / value).fract().abs() < 1e-9 && value.abs() != 0.5 {
            below.push((number_text((1.0 / value).abs()).0, Level::Atom));
            scale = value.signum();
        }
        for (base, power) in self.powers(factors) {
            match power {
                1.0 => above.push(self.piece(base)),
                power if power < 0.0 => below.push(self.powered(base, -power)),
                power => above.push(self.powered(base, power)),
            }
        }
        if scale != 1.0 && scale != -1.0 || above.is_empty() {
            above.insert(0, (number_text(scale.abs()).0, Level::Atom));
        }
        let sign = if scale < 0.0 { "−" } else { "" };
        let alone = above.len() == 1 && below.is_empty() && sign.is_empty();
        if alone {
            return above.remove(0);
        }
        let numerator = join(&above);
        let text = match below.len() {
            0 => numerator,
            1 => format!("{numerator}/{}", parenthesized(&below[0], Level::Power)),
            _ => format!("{numerator}/({})", join(&below)),
        };
        (format!("{sign}{text}"), Level::Product)
    }

    fn power(&self, expr: Expr) -> Option<(Expr, f64)> {
        if self.name_of(expr).is_some() {
            return None;
        }
        match self.graph.node(expr) {
            Node::Pow(base, exponent) => Some((*base, self.graph.as_number(*exponent)?)),
            _ => None,
        }
    }

    fn powered(&mut self, base: Expr, power: f64) -> (String, Level) {
        if let Some(root) = self.roots.get(&base).cloned() {
            if !self.used_roots.contains(&base) {
                self.used_roots.push(base);
            }
            let raised = if power == 0.5 { String::new() } else { superscript(2.0 * power) };
            return (format!("{root}{raised}"), Level::Power);
        }
        if power == 1.0 {
            return self.piece(base);
        }
        if power == 0.5 {
            return (format!("√({})", self.formula(base)), Level::Atom);
        }
        if power == 1.5 {
            return (format!("√({})³", self.formula(base)), Level::Power);
        }
        (format!("{}{}", self.at_least(base, Level::Atom), superscript(power)), Level::Power)
    }

    fn reduction(&mut self, how: Reduction, over: &[Axis], arg: Expr) -> (String, Level) {
        if let Some(norm) = self.norm(how, over, arg) {
            return (norm, Level::Power);
        }
        let letters = self.letters(over);
        match how {
            Reduction::Sum => (format!("Σ_{letters} {}", self.at_least(arg, Level::Product)), Level::Product),
            Reduction::Mean => (format!("mean_{letters}({})", self.formula(arg)), Level::Atom),
            Reduction::Max => (format!("max_{letters}({})", self.formula(arg)), Level::Atom),
        }
    }

    /// ‖W‖² in its forms: the sum of all squares, of one row, or its mean over rows (‖·‖²₂,μ) or columns.
    fn norm(&mut self, how: Reduction, over: &[Axis], arg: Expr) -> Option<String> {
        let (squared, inner) = match (how, self.graph.node(arg)) {
            (Reduction::Sum, Node::Pow(base, exponent)) if self.graph.as_number(*exponent) == Some(2.0) => {
                (*base, over)
            }
            (Reduction::Mean, Node::Reduce(Reduction::Sum, inner, square)) => {
                match self.graph.node(*square) {
                    Node::Pow(base, exponent) if self.graph.as_number(*exponent) == Some(2.0) => {
                        (*base, &inner[..])
                    }
                    _ => return None,
                }
            }
            _ => return None,
        };
        let axes = self.graph.axes_of(squared).to_vec();
        let all = axes.len() == over.len() + if how == Reduction::Mean { inner.len() } else { 0 };
        let name = self.at_least(squared, Level::Atom);
        match how {
            Reduction::Sum if all => Some(format!("‖{name}‖²")),
            Reduction::Mean if all && axes.first() == over.first() => Some(format!("‖{name}‖²₂,μ")),
            Reduction::Mean if all => Some(format!("‖{name}ᵀ‖²₂,μ")),
            _ => None,
        }
    }

    fn contraction(&mut self, left: Expr, right: Expr, over: &[Axis]) -> (String, Level) {
        let batch = |expr: Expr| self.graph.axes_of(expr).contains(&BATCH);
        if over == [BATCH] {
            let (a, b) = (self.factor(left), self.factor(right));
            return (format!("Σⱼ {a}ⱼ {b}ⱼᵀ"), Level::Product);
        }
        let (matrix, vector) = match (batch(left), batch(right)) {
            (false, true) => (left, right),
            (true, false) => (right, left),
            _ => return (self.index_sum(left, right, over), Level::Product),
        };
        let transposed = self.graph.axes_of(matrix).first().is_some_and(|first| over.contains(first));
        let name = self.at_least(matrix, Level::Atom);
        let mark = if transposed { "ᵀ" } else { "" };
        (format!("{name}{mark} {}", self.at_least(vector, Level::Power)), Level::Product)
    }

    fn index_sum(&mut self, left: Expr, right: Expr, over: &[Axis]) -> String {
        let (a, b) = (self.factor(left), self.factor(right));
        format!("Σ_{} {a}·{b}", self.letters(over))
    }

    fn letters(&self, over: &[Axis]) -> String {
        let letters: Vec<String> = over.iter().map(|&axis| self.letter(axis)).collect();
        if letters.len() == 1 { letters[0].clone() } else { format!("{{{}}}", letters.join(",")) }
    }

    /// j for the batch, otherwise the axis' own name.
    fn letter(&self, axis: Axis) -> String {
        if axis == BATCH { "j".into() } else { self.graph.axes.name(axis).to_string() }
    }
}

fn join(pieces: &[(String, Level)]) -> String {
    let texts: Vec<String> = pieces.iter().map(|piece| parenthesized(piece, Level::Power)).collect();
    texts.join("·")
}

fn parenthesized(piece: &(String, Level), level: Level) -> String {
    if piece.1 < level { format!("({})", piece.0) } else { piece.0.clone() }
}

/// Greek letters for the names that spell one.
pub fn pretty_name(name: &str) -> String {
    if name.starts_with(EXPECTATION) {
        return name.to_string();
    }
    const LETTERS: [(&str, &str); 12] = [
        ("alpha", "α"),
        ("beta", "β"),
        ("gamma", "γ"),
        ("delta", "δ"),
        ("eps", "ε"),
        ("epsilon", "ε"),
        ("eta", "η"),
        ("lambda", "λ"),
        ("mu", "μ"),
        ("sigma", "σ"),
        ("phi", "φ"),
        ("var", "v"),
    ];
    let short = name.rsplit('.').next().unwrap_or(name);
    let found = LETTERS.iter().find(|letter| letter.0 == short);
    found.map_or_else(|| short.to_string(), |letter| letter.1.to_string())
}

fn number_text(value: f64) -> (String, Level) {
    let level = if value < 0.0 { Level::Sum } else { Level::Atom };
    let plain = if value == 0.5 {
        "½".to_string()
    } else if value != 0.0 && (value.abs() < 1e-3 || value.abs() >= 1e7) {
        format!("{value:e}")
    } else {
        let text = format!("{value:.6}");
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    };
    (plain.replace('-', "−"), level)
}

/// A numeric exponent: ², ³, ^1.7.
pub fn superscript(power: f64) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    if power.fract() == 0.0 && power.abs() < 100.0 {
        let sign = if power < 0.0 { "⁻" } else { "" };
        let digits = format!("{}", power.abs() as u32);
        let raised: String =
            digits.chars().filter_map(|c| c.to_digit(10)).map(|d| DIGITS[d as usize]).collect();
        return format!("{sign}{raised}");
    }
    format!("^{power}")
}

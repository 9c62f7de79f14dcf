//! Formulas as trees: what stands where, not how it is drawn. [`text`], [`latex`] and [`mathml`] draw one tree each in
//! their way; parentheses follow from how tightly a node binds, so that a fraction needs none where it has a stroke.

pub mod latex;
pub mod mathml;
pub mod text;

/// How tightly a node binds, from loosest to tightest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    Sum,
    Product,
    Power,
    Atom,
}

/// A mark above a letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accent {
    Hat,
    Bar,
}

/// A name: letters, perhaps with an accent, and a number that tells it from others of the same letters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    pub base: String,
    pub accent: Option<Accent>,
    pub primes: usize,
    /// 0: none.
    pub number: usize,
}

/// A sum, mean, maximum or direct sum over an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Big {
    Sum,
    Mean,
    Max,
    DirectSum,
    Product,
}

/// The letter that indexes an axis, perhaps with primes: `i`, `k′`.
pub type Letter = String;

#[derive(Clone, PartialEq, Debug)]
pub enum Formula {
    Name(Name),
    /// Not negative.
    Number(f64),
    /// n·π
    Pi(u32),
    /// Entries of a value: aᵢⱼ.
    Indexed(Box<Formula>, Vec<Letter>),
    /// A name told by another formula below it: J_W.
    Of(Box<Formula>, Box<Formula>),
    /// A mark of iteration above: z^{k+½}.
    Iterate(Box<Formula>, Box<Formula>),
    /// Terms, those marked `true` subtracted.
    Sum(Vec<(bool, Formula)>),
    /// Entrywise factors.
    Product(Vec<Formula>),
    /// Factors above and below a stroke; nothing above is 1.
    Fraction(Vec<Formula>, Vec<Formula>),
    /// A product of matrices and vectors.
    Matrix(Vec<Formula>),
    Power(Box<Formula>, f64),
    Root(Box<Formula>),
    Transpose(Box<Formula>),
    Kronecker(Box<Formula>, Box<Formula>),
    Diagonal(Box<Formula>),
    Norm(Box<Formula>),
    /// ‖A‖²₂,μ: the mean of the squared norms of the rows.
    RowNorm(Box<Formula>),
    Absolute(Box<Formula>),
    /// A function of arguments.
    Call(Box<Formula>, Vec<Formula>),
    /// E[…]
    Expectation(Box<Formula>),
    Not(Box<Formula>),
    /// a = b, a > b, y ∼ N
    Relation(&'static str, Box<Formula>, Box<Formula>),
    /// 1 where the condition holds, else 0.
    Indicator(Box<Formula>),
    /// condition, then, else
    Choice(Box<[Formula; 3]>),
    Big(Big, Vec<Letter>, Box<Formula>),
    /// Sum over axes, repeated along them: 11ᵀ.
    Ones(Vec<Letter>),
    /// The operator that sums over axes.
    Summation(Vec<Letter>),
    /// A small change of an argument: δW.
    Variation(Box<Formula>),
    Gradient(Box<Formula>),
    /// ∂a/∂b
    Partial(Box<Formula>, Box<Formula>),
    List(Vec<Formula>),
    /// A formula and what else is said of its letters.
    With(Box<Formula>, Vec<Formula>),
}

impl Name {
    pub fn new(base: impl Into<String>) -> Name {
        Name { base: base.into(), accent: None, primes: 0, number: 0 }
    }

    pub fn accented(base: &str, accent: Accent) -> Name {
        Name { accent: Some(accent), ..Name::new(base) }
    }

    /// The name itself, or with a number below: a, a₂, a₃, …
    pub fn numbered(mut self, number: usize) -> Name {
        self.number = number;
        self
    }

    /// The `nth` of a letter: the letter itself, then with numbers from 2.
    pub fn nth(base: &str, nth: usize) -> Name {
        Name::new(base).numbered(if nth > 1 { nth } else { 0 })
    }
}

impl From<Name> for Formula {
    fn from(name: Name) -> Formula {
        Formula::Name(name)
    }
}

impl From<&str> for Formula {
    fn from(base: &str) -> Formula {
        Formula::Name(Name::new(base))
    }
}

impl Formula {
    pub fn accented(base: &str, accent: Accent) -> Formula {
        Formula::Name(Name::accented(base, accent))
    }

    pub fn number(value: f64) -> Formula {
        super::letters::number(value)
    }

    pub fn indexed(self, letters: Vec<Letter>) -> Formula {
        match (self, letters.is_empty()) {
            (formula, true) => formula,
            (Formula::Indexed(inner, mut known), false) => {
                known.extend(letters);
                Formula::Indexed(inner, known)
            }
            (formula, false) => Formula::Indexed(Box::new(formula), letters),
        }
    }

    pub fn below(self, index: impl Into<Formula>) -> Formula {
        Formula::Of(Box::new(self), Box::new(index.into()))
    }

    pub fn equals(self, other: Formula) -> Formula {
        self.relates("=", other)
    }

    pub fn relates(self, sign: &'static str, other: Formula) -> Formula {
        Formula::Relation(sign, Box::new(self), Box::new(other))
    }

    pub fn negative(self) -> Formula {
        Formula::Sum(vec![(true, self)])
    }

    pub fn powered(self, power: f64) -> Formula {
        Formula::Power(Box::new(self), power)
    }

    pub fn root(self) -> Formula {
        Formula::Root(Box::new(self))
    }

    pub fn transpose(self) -> Formula {
        Formula::Transpose(Box::new(self))
    }

    pub fn kronecker(self, other: Formula) -> Formula {
        Formula::Kronecker(Box::new(self), Box::new(other))
    }

    pub fn diagonal(self) -> Formula {
        Formula::Diagonal(Box::new(self))
    }

    /// ‖self‖²
    pub fn squared_norm(self) -> Formula {
        Formula::Norm(Box::new(self)).powered(2.0)
    }

    pub fn varied(self) -> Formula {
        Formula::Variation(Box::new(self))
    }

    pub fn big(big: Big, over: Vec<Letter>, inside: Formula) -> Formula {
        Formula::Big(big, over, Box::new(inside))
    }

    pub fn call(name: impl Into<Formula>, args: Vec<Formula>) -> Formula {
        Formula::Call(Box::new(name.into()), args)
    }

    /// Entrywise factors, products among them opened.
    pub fn product(factors: Vec<Formula>) -> Formula {
        let flat = |factor| match factor {
            Formula::Product(inner) => inner,
            other => vec![other],
        };
        let mut factors: Vec<Formula> = factors.into_iter().flat_map(flat).collect();
        if factors.len() == 1 { factors.remove(0) } else { Formula::Product(factors) }
    }

    /// A sum, signs of the terms taken out of them; a positive term leads.
    pub fn total(terms: Vec<Formula>) -> Formula {
        let signed = |term| match term {
            Formula::Sum(mut inner) if inner.len() == 1 => inner.remove(0),
            other => (false, other),
        };
        let mut terms: Vec<(bool, Formula)> = terms.into_iter().map(signed).collect();
        terms.sort_by_key(|term| term.0);
        match terms[..] {
            [(false, _)] => terms.remove(0).1,
            _ => Formula::Sum(terms),
        }
    }

    /// A product of operators, those of products flattened; the only factor itself; `None` for the empty product.
    pub fn matrix(factors: impl IntoIterator<Item = Formula>) -> Option<Formula> {
        let flat = |factor| match factor {
            Formula::Matrix(inner) => inner,
            other => vec![other],
        };
        let mut factors: Vec<Formula> = factors.into_iter().flat_map(flat).collect();
        // A sign goes in front of the whole.
        let signed =
            |factor: &Formula| matches!(factor, Formula::Sum(terms) if matches!(terms[..], [(true, _)]));
        if factors.len() > 1
            && signed(&factors[0])
            && let Formula::Sum(mut terms) = factors.remove(0)
            && let Some((_, first)) = terms.pop()
        {
            factors.insert(0, first);
            return Some(Formula::Matrix(factors).negative());
        }
        if factors.len() > 1 { Some(Formula::Matrix(factors)) } else { factors.pop() }
    }

    /// The value to a positive power: ‖w‖ rather than √(‖w‖²).
    pub fn raised(self, power: f64) -> Formula {
        match (self, power) {
            (formula, 1.0) => formula,
            (Formula::Power(norm, 2.0), _) if matches!(*norm, Formula::Norm(_)) => match 2.0 * power {
                1.0 => *norm,
                power => norm.powered(power),
            },
            (formula, 0.5) => formula.root(),
            (formula, 1.5) => formula.root().powered(3.0),
            (formula, _) => formula.powered(power),
        }
    }

    pub fn level(&self) -> Level {
        match self {
            Formula::Sum(_) | Formula::Relation(..) | Formula::With(..) => Level::Sum,
            Formula::Big(Big::Sum | Big::DirectSum | Big::Product, ..) => Level::Sum,
            Formula::Partial(..)
            | Formula::Kronecker(..)
            | Formula::Product(_)
            | Formula::Fraction(..)
            | Formula::Matrix(_) => Level::Product,
            Formula::Power(..) | Formula::Transpose(_) | Formula::Gradient(_) => Level::Power,
            _ => Level::Atom,
        }
    }

    /// Whether it takes in all that follows, so that at the end of a product or sum it needs no parentheses.
    pub fn is_open(&self) -> bool {
        matches!(self, Formula::Big(Big::Sum | Big::DirectSum | Big::Product, ..))
    }

    /// What the formula is made of, in reading order.
    pub fn parts(&self) -> Vec<&Formula> {
        match self {
            Formula::Name(_) | Formula::Number(_) | Formula::Pi(_) => vec![],
            Formula::Ones(_) | Formula::Summation(_) => vec![],
            Formula::Sum(terms) => terms.iter().map(|term| &term.1).collect(),
            Formula::Product(all) | Formula::Matrix(all) | Formula::List(all) => all.iter().collect(),
            Formula::Fraction(above, below) => above.iter().chain(below).collect(),
            Formula::Of(a, b) | Formula::Iterate(a, b) | Formula::Kronecker(a, b) => vec![a, b],
            Formula::Relation(_, a, b) | Formula::Partial(a, b) => vec![a, b],
            Formula::Call(a, rest) | Formula::With(a, rest) => std::iter::once(&**a).chain(rest).collect(),
            Formula::Choice(three) => three.iter().collect(),
            Formula::Indexed(a, _) | Formula::Power(a, _) | Formula::Big(_, _, a) => vec![a],
            Formula::Root(a) | Formula::Transpose(a) | Formula::Diagonal(a) | Formula::Norm(a) => vec![a],
            Formula::RowNorm(a) | Formula::Absolute(a) | Formula::Expectation(a) => vec![a],
            Formula::Not(a) | Formula::Indicator(a) | Formula::Variation(a) | Formula::Gradient(a) => vec![a],
        }
    }

    /// The same with one letter for another.
    pub fn relettered(&self, from: &str, to: &str) -> Formula {
        let each = |formula: &Formula| Box::new(formula.relettered(from, to));
        let letters = |all: &[Letter]| {
            all.iter().map(|own| if own == from { to.to_string() } else { own.clone() }).collect()
        };
        match self {
            Formula::Indexed(inner, own) => Formula::Indexed(each(inner), letters(own)),
            Formula::Transpose(inner) => Formula::Transpose(each(inner)),
            Formula::Power(inner, power) => Formula::Power(each(inner), *power),
            Formula::Product(all) => {
                Formula::Product(all.iter().map(|one| one.relettered(from, to)).collect())
            }
            Formula::Matrix(all) => Formula::Matrix(all.iter().map(|one| one.relettered(from, to)).collect()),
            Formula::Sum(terms) => {
                Formula::Sum(terms.iter().map(|term| (term.0, term.1.relettered(from, to))).collect())
            }
            Formula::Fraction(above, below) => {
                let all = |side: &[Formula]| side.iter().map(|one| one.relettered(from, to)).collect();
                Formula::Fraction(all(above), all(below))
            }
            Formula::Call(name, args) => {
                Formula::Call(each(name), args.iter().map(|arg| arg.relettered(from, to)).collect())
            }
            Formula::Indicator(inner) => Formula::Indicator(each(inner)),
            Formula::Relation(sign, a, b) => Formula::Relation(sign, each(a), each(b)),
            other => other.clone(),
        }
    }
}

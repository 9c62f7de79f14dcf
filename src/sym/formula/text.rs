//! Formulas in Unicode, on one line.

use super::{Accent, Big, Formula, Level, Name};
use crate::sym::letters::{decimal, digits_below, lowered, superscript};

/// The formula on one line.
pub fn text(formula: &Formula) -> String {
    match formula {
        Formula::Name(name) => named(name),
        Formula::Number(value) => decimal(*value),
        Formula::Pi(1) => "π".into(),
        Formula::Pi(times) => format!("{times}π"),
        Formula::Indexed(inner, letters) => format!("{}{}", indexable(inner), lowered(letters)),
        Formula::Of(name, index) => match **index {
            Formula::Name(_) => format!("{}_{}", text(name), text(index)),
            _ => format!("{}_{{{}}}", text(name), text(index).replace(' ', "")),
        },
        Formula::Iterate(inner, mark) => match **mark {
            Formula::Name(_) => format!("{}^{}", text(inner), text(mark)),
            _ => format!("{}^{{{}}}", text(inner), text(mark).replace(' ', "")),
        },
        Formula::Sum(terms) => sum(terms),
        Formula::Product(factors) => join(factors, "·"),
        Formula::Fraction(above, below) => fraction(above, below),
        Formula::Matrix(factors) => matrix(factors),
        Formula::Power(base, power) => format!("{}{}", at_least(base, Level::Atom), superscript(*power)),
        Formula::Root(inner) => root(inner),
        Formula::Transpose(inner) => format!("{}ᵀ", at_least(inner, Level::Atom)),
        Formula::Kronecker(a, b) => format!("{} ⊗ {}", at_least(a, Level::Product), last(b, Level::Product)),
        Formula::Diagonal(inner) => format!("diag({})", text(inner)),
        Formula::Norm(inner) => format!("‖{}‖", text(inner)),
        Formula::RowNorm(inner) => format!("‖{}‖²₂,μ", text(inner)),
        Formula::Absolute(inner) => format!("|{}|", text(inner)),
        Formula::Call(name, args) => format!("{}({})", text(name), list(args)),
        Formula::Expectation(inner) => format!("E[{}]", text(inner)),
        Formula::Not(inner) => format!("¬({})", text(inner)),
        Formula::Relation(sign, a, b) => format!("{} {sign} {}", text(a), text(b)),
        Formula::Indicator(condition) => format!("1{{{}}}", text(condition)),
        Formula::Choice(cases) => {
            let [case, then, otherwise] = cases.each_ref().map(text);
            format!("({then} if {case}, else {otherwise})")
        }
        Formula::Big(big, over, inside) => reduced(*big, &lowered(over), inside),
        Formula::Ones(over) => format!("11ᵀ{}", lowered(over)),
        Formula::Summation(over) => format!("Σ{}", lowered(over)),
        Formula::Variation(inner) => format!("δ{}", at_least(inner, Level::Atom)),
        Formula::Gradient(inner) => format!("∇²{}", at_least(inner, Level::Atom)),
        Formula::Partial(a, b) => format!("∂{}/∂{}", at_least(a, Level::Atom), at_least(b, Level::Atom)),
        Formula::List(all) => list(all),
        Formula::With(inner, more) => format!("{},  {}", text(inner), list(more)),
    }
}

fn named(name: &Name) -> String {
    let accent = match name.accent {
        Some(Accent::Hat) => "\u{302}",
        Some(Accent::Bar) => "\u{304}",
        None => "",
    };
    format!("{}{accent}{}{}", name.base, "′".repeat(name.primes), digits_below(name.number))
}

/// What an index can be hung on: a name that ends in a number needs parentheses.
fn indexable(inner: &Formula) -> String {
    match inner {
        Formula::Name(name) if name.number > 0 => format!("({})", named(name)),
        Formula::Of(..) => format!("({})", text(inner)),
        _ => at_least(inner, Level::Atom),
    }
}

fn sum(terms: &[(bool, Formula)]) -> String {
    let mut line = String::new();
    for (place, (negative, term)) in terms.iter().enumerate() {
        line += match (place, negative) {
            (0, false) => "",
            (0, true) => "−",
            (_, false) => " + ",
            (_, true) => " − ",
        };
        let end = place + 1 == terms.len();
        line += &if end { last(term, Level::Product) } else { at_least(term, Level::Product) };
    }
    line
}

fn fraction(above: &[Formula], below: &[Formula]) -> String {
    let above = match above {
        [only] => at_least(only, Level::Product),
        _ => join(above, "·"),
    };
    match below {
        [] => above,
        [under] => format!("{above}/{}", at_least(under, Level::Power)),
        _ => format!("{above}/({})", join(below, "·")),
    }
}

fn root(inner: &Formula) -> String {
    match inner {
        Formula::Number(_) | Formula::Pi(1) => format!("√{}", text(inner)),
        _ => format!("√({})", text(inner)),
    }
}

fn reduced(big: Big, letters: &str, inside: &Formula) -> String {
    let body = at_least(inside, Level::Product);
    match big {
        Big::Sum => format!("Σ{letters} {body}"),
        Big::DirectSum => format!("⊕{letters} {body}"),
        Big::Product => format!("∏{letters} {body}"),
        Big::Mean => format!("mean{letters}({})", text(inside)),
        Big::Max => format!("max{letters}({})", text(inside)),
    }
}

fn matrix(factors: &[Formula]) -> String {
    let Some((end, before)) = factors.split_last() else { return String::new() };
    let mut texts: Vec<String> = before.iter().map(|factor| at_least(factor, Level::Power)).collect();
    texts.push(last(end, Level::Power));
    texts.join(" ")
}

/// The like for what nothing follows.
fn last(formula: &Formula, level: Level) -> String {
    if formula.is_open() { text(formula) } else { at_least(formula, level) }
}

fn join(factors: &[Formula], sign: &str) -> String {
    let texts: Vec<String> = factors.iter().map(|factor| at_least(factor, Level::Power)).collect();
    texts.join(sign)
}

fn list(formulas: &[Formula]) -> String {
    formulas.iter().map(text).collect::<Vec<String>>().join(", ")
}

/// In parentheses unless it binds at least as tightly as `level`.
fn at_least(formula: &Formula, level: Level) -> String {
    match formula.level() < level {
        true => format!("({})", text(formula)),
        false => text(formula),
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&named(self))
    }
}

impl std::fmt::Display for Formula {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&text(self))
    }
}

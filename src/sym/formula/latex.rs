//! Formulas for LaTeX's mathematics mode, with nothing beyond amsmath and amssymb.

use super::text::text;
use super::{Accent, Big, Formula, Letter, Level, Name};
use crate::sym::letters::decimal;

/// The formula as LaTeX, without dollar signs.
pub fn latex(formula: &Formula) -> String {
    match formula {
        Formula::Name(name) => named(name),
        Formula::Number(value) => number(*value),
        Formula::Pi(1) => r"\pi".into(),
        Formula::Pi(times) => format!(r"{times}\pi"),
        Formula::Indexed(inner, index) => indexed(inner, index),
        Formula::Of(name, index) => format!("{}_{{{}}}", latex(name), latex(index)),
        Formula::Iterate(inner, mark) => iterate(inner, mark),
        Formula::Sum(terms) => sum(terms).concat(),
        Formula::Product(factors) => join(factors),
        Formula::Fraction(above, below) => fraction(above, below),
        Formula::Matrix(factors) => matrix(factors),
        Formula::Power(base, power) => powered(base, *power),
        Formula::Root(inner) => format!(r"\sqrt{{{}}}", latex(inner)),
        Formula::Transpose(inner) => format!(r"{}^{{\top}}", at_least(inner, Level::Atom)),
        Formula::Kronecker(a, b) => {
            format!(r"{} \otimes {}", at_least(a, Level::Product), last(b, Level::Product))
        }
        Formula::Diagonal(inner) => format!(r"\operatorname{{diag}}{}", parenthesized(inner)),
        Formula::Norm(inner) => norm(inner),
        Formula::RowNorm(inner) => format!(r"{}_{{2,\mu}}^{{2}}", norm(inner)),
        Formula::Absolute(inner) => format!(r"\lvert {} \rvert", latex(inner)),
        Formula::Call(name, args) => call(name, args),
        Formula::Expectation(inner) => format!(r"\mathbb{{E}}\bigl[{}\bigr]", latex(inner)),
        Formula::Not(inner) => format!(r"\neg {}", at_least(inner, Level::Atom)),
        Formula::Relation(sign, a, b) => format!("{} {} {}", latex(a), relation(sign), latex(b)),
        Formula::Indicator(condition) => format!(r"\mathbf{{1}}\{{{}\}}", latex(condition)),
        Formula::Choice(cases) => {
            let [case, then, otherwise] = cases.each_ref().map(latex);
            format!(
                r"\begin{{cases}} {then} & \text{{if }} {case} \\ {otherwise} & \text{{else}} \end{{cases}}"
            )
        }
        Formula::Big(big, over, inside) => reduced(*big, over, inside),
        Formula::Ones(over) => format!(r"\mathbf{{1}}\mathbf{{1}}^{{\top}}{}", below(over)),
        Formula::Summation(over) => format!(r"\Sigma{}", below(over)),
        Formula::Variation(inner) => format!(r"\delta {}", at_least(inner, Level::Atom)),
        Formula::Gradient(inner) => format!(r"\nabla^{{2}} {}", at_least(inner, Level::Atom)),
        Formula::Partial(a, b) => format!(
            r"\frac{{\partial {}}}{{\partial {}}}",
            at_least(a, Level::Atom),
            at_least(b, Level::Atom)
        ),
        Formula::List(all) => list(all),
        Formula::With(inner, more) => format!(r"{}, \quad {}", latex(inner), list(more)),
    }
}

/// The formula in lines of about `width` characters (of its text form), broken between the terms of its outermost sum.
pub fn lines(formula: &Formula, width: usize) -> Vec<String> {
    let mut lines: Vec<(String, usize)> = Vec::new();
    for (piece, length) in pieces(formula) {
        match lines.last_mut().filter(|line| line.1 + length <= width) {
            Some(line) => {
                line.0 += &piece;
                line.1 += length;
            }
            None => lines.push((piece, length)),
        }
    }
    lines.into_iter().map(|line| line.0).collect()
}

/// What a line may be broken into, with the length of its text form.
fn pieces(formula: &Formula) -> Vec<(String, usize)> {
    let length = |formula: &Formula| text(formula).chars().count();
    match formula {
        Formula::Sum(terms) if terms.len() > 1 => {
            let lengths = terms.iter().map(|term| 3 + length(&term.1));
            sum(terms).into_iter().zip(lengths).collect()
        }
        Formula::Relation(sign, a, b) => {
            let mut pieces = pieces(b);
            if let Some(first) = pieces.first_mut() {
                *first = (format!("{} {} {}", latex(a), relation(sign), first.0), first.1 + length(a) + 3);
            }
            pieces
        }
        Formula::With(inner, more) => {
            let mut pieces = pieces(inner);
            let laws = more.iter().map(|law| (format!(r",\;\; {}", latex(law)), 3 + length(law)));
            pieces.extend(laws);
            pieces
        }
        _ => vec![(latex(formula), length(formula))],
    }
}

/// Words for text mode: what LaTeX would take as a command is escaped, Unicode letters become mathematics.
pub fn words(text: &str) -> String {
    let mut result = String::new();
    for c in text.chars() {
        match c {
            '\\' => result += r"\textbackslash{}",
            '{' | '}' | '$' | '&' | '#' | '%' | '_' => result.extend(['\\', c]),
            '^' => result += r"\textasciicircum{}",
            '~' => result += r"\textasciitilde{}",
            '|' | '<' | '>' => result += &format!("${c}$"),
            c if c.is_ascii() => result.push(c),
            c => match plain(c) {
                Some(word) => result += word,
                None => result += &format!("${}$", symbol(c)),
            },
        }
    }
    result
}

/// What text mode has by itself.
fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        '–' => "--",
        '—' => "---",
        '’' => "'",
        '“' => "``",
        '”' => "''",
        '…' => r"\dots{}",
        _ => return None,
    })
}

fn named(name: &Name) -> String {
    let letters = name.base.chars().count();
    let ascii = name.base.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let base = match (letters > 1, ascii) {
        (true, true) => format!(r"\operatorname{{{}}}", name.base.replace('_', r"\_")),
        _ => name.base.chars().map(symbol).collect::<Vec<String>>().join(" "),
    };
    let accented = match name.accent {
        Some(Accent::Hat) => format!(r"\hat{{{base}}}"),
        Some(Accent::Bar) => format!(r"\bar{{{base}}}"),
        None => base,
    };
    let primes = "'".repeat(name.primes);
    match name.number {
        0 => format!("{accented}{primes}"),
        number => format!("{accented}{primes}_{{{number}}}"),
    }
}

/// A letter or sign as LaTeX writes it.
fn symbol(c: char) -> String {
    const SIGNS: [(char, &str); 51] = [
        ('α', r"\alpha"),
        ('β', r"\beta"),
        ('γ', r"\gamma"),
        ('δ', r"\delta"),
        ('ε', r"\varepsilon"),
        ('η', r"\eta"),
        ('λ', r"\lambda"),
        ('μ', r"\mu"),
        ('π', r"\pi"),
        ('ρ', r"\rho"),
        ('σ', r"\sigma"),
        ('φ', r"\varphi"),
        ('Σ', r"\Sigma"),
        ('∂', r"\partial"),
        ('∇', r"\nabla"),
        ('−', "-"),
        ('·', r"\cdot"),
        ('×', r"\times"),
        ('½', r"\tfrac{1}{2}"),
        ('≤', r"\le"),
        ('≥', r"\ge"),
        ('≠', r"\ne"),
        ('≈', r"\approx"),
        ('∼', r"\sim"),
        ('∘', r"\circ"),
        ('⊗', r"\otimes"),
        ('⊕', r"\oplus"),
        ('∨', r"\lor"),
        ('∧', r"\land"),
        ('→', r"\to"),
        ('√', r"\surd"),
        ('‖', r"\Vert"),
        ('ℓ', r"\ell"),
        ('∞', r"\infty"),
        ('∈', r"\in"),
        ('∏', r"\prod"),
        ('′', "'"),
        ('²', "^{2}"),
        ('³', "^{3}"),
        ('ᵀ', r"^{\top}"),
        ('₀', "_{0}"),
        ('₁', "_{1}"),
        ('₂', "_{2}"),
        ('₃', "_{3}"),
        ('ᵢ', "_{i}"),
        ('ⱼ', "_{j}"),
        ('ₖ', "_{k}"),
        ('ₕ', "_{h}"),
        ('§', r"\S"),
        ('\u{302}', r"\hat{}"),
        ('\u{304}', r"\bar{}"),
    ];
    match SIGNS.iter().find(|sign| sign.0 == c) {
        Some((_, command)) => (*command).to_string(),
        None if c.is_ascii() => c.to_string(),
        // A letter that LaTeX's fonts lack, by its number.
        None => format!(r"\text{{U+{:04X}}}", c as u32),
    }
}

fn number(value: f64) -> String {
    let digits = decimal(value).replace('−', "-");
    if digits == "½" {
        return r"\tfrac{1}{2}".into();
    }
    match digits.split_once('e') {
        Some(("1", power)) => format!("10^{{{power}}}"),
        Some((mantissa, power)) => format!(r"{mantissa} \cdot 10^{{{power}}}"),
        None => digits,
    }
}

fn letters(index: &[Letter]) -> String {
    let one = |letter: &Letter| letter.chars().map(symbol).collect::<Vec<String>>().join("");
    let short = index.iter().all(|letter| letter.trim_end_matches('′').chars().count() == 1);
    index.iter().map(one).collect::<Vec<String>>().join(if short { " " } else { "," })
}

fn below(over: &[Letter]) -> String {
    if over.is_empty() { String::new() } else { format!("_{{{}}}", letters(over)) }
}

fn indexed(inner: &Formula, index: &[Letter]) -> String {
    match inner {
        Formula::Name(name) if name.number > 0 => format!("({})_{{{}}}", named(name), letters(index)),
        Formula::Of(..) => format!("({})_{{{}}}", latex(inner), letters(index)),
        _ => format!("{}_{{{}}}", at_least(inner, Level::Atom), letters(index)),
    }
}

fn iterate(inner: &Formula, mark: &Formula) -> String {
    format!("{}^{{{}}}", latex(inner), latex(mark))
}

/// The terms with their signs.
fn sum(terms: &[(bool, Formula)]) -> Vec<String> {
    let one = |(place, (negative, term)): (usize, &(bool, Formula))| {
        let sign = match (place, negative) {
            (0, false) => "",
            (0, true) => "-",
            (_, false) => " + ",
            (_, true) => " - ",
        };
        let end = place + 1 == terms.len();
        let body = if end { last(term, Level::Product) } else { at_least(term, Level::Product) };
        format!("{sign}{body}")
    };
    terms.iter().enumerate().map(one).collect()
}

/// A fraction of whole numbers is small; a number under a big sum stands in front of it.
fn fraction(above: &[Formula], below: &[Formula]) -> String {
    let numeric = |side: &[Formula]| side.iter().all(|one| matches!(one, Formula::Number(_)));
    let under = side(below);
    match above {
        _ if below.is_empty() => join(above),
        [] if numeric(below) => format!(r"\tfrac{{1}}{{{under}}}"),
        [] => format!(r"\frac{{1}}{{{under}}}"),
        _ if numeric(above) && numeric(below) => format!(r"\tfrac{{{}}}{{{under}}}", side(above)),
        _ if numeric(below) && above.iter().any(is_tall) => {
            let (numbers, rest): (Vec<Formula>, Vec<Formula>) =
                above.iter().cloned().partition(|one| matches!(one, Formula::Number(_)));
            let top = if numbers.is_empty() { "1".into() } else { side(&numbers) };
            format!(r"\frac{{{top}}}{{{under}}} {}", side(&rest))
        }
        _ => format!(r"\frac{{{}}}{{{under}}}", side(above)),
    }
}

fn is_tall(formula: &Formula) -> bool {
    matches!(formula, Formula::Big(..))
}

/// One side of a stroke, which needs no parentheses.
fn side(factors: &[Formula]) -> String {
    match factors {
        [only] => latex(only),
        _ => join(factors),
    }
}

/// Factors that stand next to each other; a dot where two numbers would run together.
fn join(factors: &[Formula]) -> String {
    let mut line = String::new();
    for (place, factor) in factors.iter().enumerate() {
        let dot =
            matches!(factor, Formula::Number(_) | Formula::Pi(_) | Formula::Absolute(_) | Formula::Norm(_));
        line += match place {
            0 => "",
            _ if dot => r" \cdot ",
            _ => r" \, ",
        };
        let end = place + 1 == factors.len();
        line += &if end { last(factor, Level::Power) } else { at_least(factor, Level::Power) };
    }
    line
}

fn matrix(factors: &[Formula]) -> String {
    let one = |(place, factor): (usize, &Formula)| match factor {
        Formula::Fraction(..) => latex(factor),
        _ if place + 1 == factors.len() => last(factor, Level::Power),
        _ => at_least(factor, Level::Power),
    };
    let texts: Vec<String> = factors.iter().enumerate().map(one).collect();
    texts.join(r" \, ")
}

fn powered(base: &Formula, power: f64) -> String {
    let power = match power.fract() == 0.0 {
        true => format!("{power}"),
        false => number(power),
    };
    match base {
        Formula::Call(name, args) => format!("{}^{{{power}}}{}", latex(name), arguments(args)),
        _ => format!("{}^{{{power}}}", at_least(base, Level::Atom)),
    }
}

fn norm(inner: &Formula) -> String {
    format!(r"\lVert {} \rVert", latex(inner))
}

fn call(name: &Formula, args: &[Formula]) -> String {
    format!("{}{}", latex(name), arguments(args))
}

fn arguments(args: &[Formula]) -> String {
    match args {
        [one] => parenthesized(one),
        _ => format!("({})", list(args)),
    }
}

/// Parentheses as high as what they hold.
fn parenthesized(inner: &Formula) -> String {
    match has_stroke(inner) {
        true => format!(r"\left({}\right)", latex(inner)),
        false => format!("({})", latex(inner)),
    }
}

fn has_stroke(formula: &Formula) -> bool {
    let tall = match formula {
        Formula::Fraction(above, below) => {
            !above.iter().chain(below).all(|one| matches!(one, Formula::Number(_)))
        }
        Formula::Big(..) | Formula::Choice(_) => true,
        _ => false,
    };
    tall || formula.parts().into_iter().any(has_stroke)
}

fn relation(sign: &str) -> String {
    sign.chars().map(symbol).collect()
}

fn reduced(big: Big, over: &[Letter], inside: &Formula) -> String {
    let index = below(over);
    match big {
        Big::Sum => format!(r"\sum{index} {}", at_least(inside, Level::Product)),
        Big::DirectSum => format!(r"\bigoplus{index} {}", at_least(inside, Level::Product)),
        Big::Product => format!(r"\prod{index} {}", at_least(inside, Level::Product)),
        Big::Mean => format!(r"\operatorname*{{mean}}{index} {}", parenthesized(inside)),
        Big::Max => format!(r"\operatorname*{{max}}{index} {}", parenthesized(inside)),
    }
}

fn list(formulas: &[Formula]) -> String {
    formulas.iter().map(latex).collect::<Vec<String>>().join(r",\; ")
}

/// The like for what nothing follows.
fn last(formula: &Formula, level: Level) -> String {
    if formula.is_open() { latex(formula) } else { at_least(formula, level) }
}

fn at_least(formula: &Formula, level: Level) -> String {
    match formula.level() < level {
        true => parenthesized(formula),
        false => latex(formula),
    }
}

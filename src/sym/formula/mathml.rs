//! Formulas as presentation MathML (MathML Core), which browsers draw without help.

use super::{Accent, Big, Formula, Letter, Level, Name};
use crate::sym::letters::decimal;

const DOT: &str = "<mo>·</mo>";
const THIN: &str = r#"<mspace width="0.2em"></mspace>"#;

/// A `<math>` element; `block` for a formula on a line of its own.
pub fn math(formula: &Formula, block: bool) -> String {
    let display = if block { r#" display="block""# } else { "" };
    format!("<math{display}>{}</math>", mathml(formula))
}

/// `&`, `<`, `>` and `"` as HTML writes them.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// One element.
fn mathml(formula: &Formula) -> String {
    match formula {
        Formula::Name(name) => named(name),
        Formula::Number(value) => number(*value),
        Formula::Pi(1) => identifier("π"),
        Formula::Pi(times) => row(&[tag("mn", &times.to_string()), identifier("π")]),
        Formula::Indexed(inner, index) => sub(&indexable(inner), &letters(index)),
        Formula::Of(name, index) => sub(&mathml(name), &mathml(index)),
        Formula::Iterate(inner, mark) => iterate(inner, mark),
        Formula::Sum(terms) => sum(terms),
        Formula::Product(factors) => join(factors, DOT),
        Formula::Fraction(above, below) => fraction(above, below),
        Formula::Matrix(factors) => join(factors, THIN),
        Formula::Power(base, power) => sup(&at_least(base, Level::Atom), &tag("mn", &decimal(*power))),
        Formula::Root(inner) => format!("<msqrt>{}</msqrt>", mathml(inner)),
        Formula::Transpose(inner) => sup(&at_least(inner, Level::Atom), &identifier("⊤")),
        Formula::Kronecker(a, b) => {
            row(&[at_least(a, Level::Product), operator("⊗"), last(b, Level::Product)])
        }
        Formula::Diagonal(inner) => applied(identifier("diag"), std::slice::from_ref(&**inner)),
        Formula::Norm(inner) => between("‖", &mathml(inner), "‖"),
        Formula::RowNorm(inner) => format!(
            "<msubsup>{}{}{}</msubsup>",
            between("‖", &mathml(inner), "‖"),
            row(&[tag("mn", "2"), operator(","), identifier("μ")]),
            tag("mn", "2")
        ),
        Formula::Absolute(inner) => between("|", &mathml(inner), "|"),
        Formula::Call(name, args) => applied(mathml(name), args),
        Formula::Expectation(inner) => row(&[upright("𝔼"), between("[", &mathml(inner), "]")]),
        Formula::Not(inner) => row(&[operator("¬"), at_least(inner, Level::Atom)]),
        Formula::Relation(sign, a, b) => row(&[mathml(a), operator(sign), mathml(b)]),
        Formula::Indicator(condition) => row(&[upright("𝟏"), between("{", &mathml(condition), "}")]),
        Formula::Choice(cases) => choice(cases),
        Formula::Big(big, over, inside) => reduced(*big, over, inside),
        Formula::Ones(over) => row(&[upright("𝟏"), hang(&sup(&upright("𝟏"), &identifier("⊤")), over)]),
        Formula::Summation(over) => hang(&identifier("Σ"), over),
        Formula::Variation(inner) => row(&[identifier("δ"), at_least(inner, Level::Atom)]),
        Formula::Gradient(inner) => {
            row(&[sup(&operator("∇"), &tag("mn", "2")), at_least(inner, Level::Atom)])
        }
        Formula::Partial(a, b) => {
            let side = |part: &Formula| row(&[identifier("∂"), at_least(part, Level::Atom)]);
            format!("<mfrac>{}{}</mfrac>", side(a), side(b))
        }
        Formula::List(all) => row(&listed(all)),
        Formula::With(inner, more) => {
            let mut parts = vec![mathml(inner), operator(","), r#"<mspace width="1em"></mspace>"#.into()];
            parts.extend(listed(more));
            row(&parts)
        }
    }
}

fn tag(name: &str, content: &str) -> String {
    format!("<{name}>{}</{name}>", escaped(content))
}

fn identifier(name: &str) -> String {
    tag("mi", name)
}

fn upright(name: &str) -> String {
    format!(r#"<mi mathvariant="normal">{}</mi>"#, escaped(name))
}

fn operator(sign: &str) -> String {
    tag("mo", sign)
}

fn row(parts: &[String]) -> String {
    format!("<mrow>{}</mrow>", parts.concat())
}

fn sub(base: &str, index: &str) -> String {
    format!("<msub>{base}{index}</msub>")
}

fn sup(base: &str, power: &str) -> String {
    format!("<msup>{base}{power}</msup>")
}

fn between(open: &str, inside: &str, close: &str) -> String {
    let fence = |sign: &str, form: &str| {
        format!(r#"<mo fence="true" form="{form}" lspace="0" rspace="0">{}</mo>"#, escaped(sign))
    };
    row(&[fence(open, "prefix"), inside.into(), fence(close, "postfix")])
}

fn named(name: &Name) -> String {
    let base = identifier(&name.base);
    let over = |mark: &str| format!(r#"<mover accent="true">{base}<mo stretchy="false">{mark}</mo></mover>"#);
    let accented = match name.accent {
        Some(Accent::Hat) => over("^"),
        Some(Accent::Bar) => over("¯"),
        None => base,
    };
    let primed = match name.primes {
        0 => accented,
        primes => sup(&accented, &operator(&"′".repeat(primes))),
    };
    match name.number {
        0 => primed,
        number => sub(&primed, &tag("mn", &number.to_string())),
    }
}

fn number(value: f64) -> String {
    let digits = decimal(value);
    if digits == "½" {
        return format!("<mfrac>{}{}</mfrac>", tag("mn", "1"), tag("mn", "2"));
    }
    match digits.split_once('e') {
        Some(("1", power)) => sup(&tag("mn", "10"), &tag("mn", power)),
        Some((mantissa, power)) => {
            row(&[tag("mn", mantissa), operator("·"), sup(&tag("mn", "10"), &tag("mn", power))])
        }
        None => tag("mn", &digits),
    }
}

fn letters(index: &[Letter]) -> String {
    let short = index.iter().all(|letter| letter.trim_end_matches('′').chars().count() == 1);
    let mut parts = Vec::new();
    for (place, letter) in index.iter().enumerate() {
        if place > 0 && !short {
            parts.push(operator(","));
        }
        parts.push(identifier(letter));
    }
    row(&parts)
}

fn hang(base: &str, over: &[Letter]) -> String {
    if over.is_empty() { base.to_string() } else { sub(base, &letters(over)) }
}

fn indexable(inner: &Formula) -> String {
    match inner {
        Formula::Name(name) if name.number > 0 => between("(", &named(name), ")"),
        Formula::Of(..) => between("(", &mathml(inner), ")"),
        _ => at_least(inner, Level::Atom),
    }
}

fn iterate(inner: &Formula, mark: &Formula) -> String {
    match inner {
        Formula::Indexed(base, index) => {
            format!("<msubsup>{}{}{}</msubsup>", indexable(base), letters(index), mathml(mark))
        }
        _ => sup(&mathml(inner), &mathml(mark)),
    }
}

fn sum(terms: &[(bool, Formula)]) -> String {
    let mut parts = Vec::new();
    for (place, (negative, term)) in terms.iter().enumerate() {
        match (place, negative) {
            (0, false) => {}
            (0, true) => parts.push(r#"<mo form="prefix">−</mo>"#.into()),
            (_, false) => parts.push(operator("+")),
            (_, true) => parts.push(operator("−")),
        }
        let end = place + 1 == terms.len();
        parts.push(if end { last(term, Level::Product) } else { at_least(term, Level::Product) });
    }
    row(&parts)
}

fn fraction(above: &[Formula], below: &[Formula]) -> String {
    if below.is_empty() {
        return join(above, DOT);
    }
    let side = |factors: &[Formula]| match factors {
        [] => tag("mn", "1"),
        [only] => mathml(only),
        _ => join(factors, DOT),
    };
    // A number under a big sum stands in front of it.
    let numeric = |one: &Formula| matches!(one, Formula::Number(_));
    if below.iter().all(numeric) && above.iter().any(Formula::is_open) {
        let (numbers, rest): (Vec<Formula>, Vec<Formula>) = above.iter().cloned().partition(numeric);
        let front = format!("<mfrac>{}{}</mfrac>", side(&numbers), side(below));
        return row(&[front, THIN.into(), join(&rest, THIN)]);
    }
    format!("<mfrac>{}{}</mfrac>", side(above), side(below))
}

fn join(factors: &[Formula], sign: &str) -> String {
    let mut parts = Vec::new();
    for (place, factor) in factors.iter().enumerate() {
        if place > 0 {
            parts.push(sign.to_string());
        }
        let stroke = matches!(factor, Formula::Fraction(_, below) if !below.is_empty());
        parts.push(match stroke {
            true => mathml(factor),
            false if place + 1 == factors.len() => last(factor, Level::Power),
            false => at_least(factor, Level::Power),
        });
    }
    row(&parts)
}

fn applied(name: String, args: &[Formula]) -> String {
    row(&[name, operator("\u{2061}"), between("(", &listed(args).concat(), ")")])
}

fn listed(formulas: &[Formula]) -> Vec<String> {
    let mut parts = Vec::new();
    for (place, formula) in formulas.iter().enumerate() {
        if place > 0 {
            parts.push(r#"<mo separator="true">,</mo>"#.to_string());
        }
        parts.push(mathml(formula));
    }
    parts
}

fn choice(cases: &[Formula; 3]) -> String {
    let [case, then, otherwise] = cases.each_ref().map(mathml);
    let line =
        |value: String, condition: String| format!("<mtr><mtd>{value}</mtd><mtd>{condition}</mtd></mtr>");
    let text = |words: &str| format!("<mtext>{words}</mtext>");
    let rows = line(then, row(&[text("if\u{a0}"), case])) + &line(otherwise, text("else"));
    row(&[r#"<mo fence="true" form="prefix">{</mo>"#.into(), format!("<mtable>{rows}</mtable>")])
}

fn reduced(big: Big, over: &[Letter], inside: &Formula) -> String {
    let under = |head: String| match over.is_empty() {
        true => head,
        false => format!("<munder>{head}{}</munder>", letters(over)),
    };
    match big {
        Big::Sum => row(&[under(operator("∑")), at_least(inside, Level::Product)]),
        Big::DirectSum => row(&[under(operator("⨁")), at_least(inside, Level::Product)]),
        Big::Product => row(&[under(operator("∏")), at_least(inside, Level::Product)]),
        Big::Mean => row(&[hang("<mo>mean</mo>", over), between("(", &mathml(inside), ")")]),
        Big::Max => row(&[hang("<mo>max</mo>", over), between("(", &mathml(inside), ")")]),
    }
}

/// The like for what nothing follows.
fn last(formula: &Formula, level: Level) -> String {
    if formula.is_open() { mathml(formula) } else { at_least(formula, level) }
}

fn at_least(formula: &Formula, level: Level) -> String {
    match formula.level() < level {
        true => between("(", &mathml(formula), ")"),
        false => mathml(formula),
    }
}

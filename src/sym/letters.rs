//! Letters for axes, subscripts and superscripts, numbers: the smallest pieces of formulas.

use std::collections::HashMap;

use super::formula::{Accent, Formula, Name};
use crate::axes::{Axis, AxisTable, BATCH};

/// Letters with a subscript of their own in Unicode, in the order in which axes take them.
const SUBSCRIPTS: [(char, char); 14] = [
    ('i', 'ᵢ'),
    ('k', 'ₖ'),
    ('h', 'ₕ'),
    ('l', 'ₗ'),
    ('r', 'ᵣ'),
    ('s', 'ₛ'),
    ('t', 'ₜ'),
    ('u', 'ᵤ'),
    ('v', 'ᵥ'),
    ('p', 'ₚ'),
    ('n', 'ₙ'),
    ('m', 'ₘ'),
    ('j', 'ⱼ'),
    ('′', '′'),
];

/// How many of them are for axes other than the batch.
const FREE: usize = 10;

/// Which letter indexes which axis: j the samples, the others as they were given, else by the axis' own name.
#[derive(Clone, Debug, Default)]
pub struct Letters {
    given: HashMap<Axis, String>,
}

impl Letters {
    /// Gives every axis that has none the next free letter.
    pub fn give(&mut self, axes: &[Axis]) {
        for &axis in axes.iter().filter(|axis| **axis != BATCH) {
            let next = self.given.len();
            let (nth, round) = (next % FREE, next / FREE);
            let letter = || format!("{}{}", SUBSCRIPTS[nth].0, "′".repeat(2 * round));
            self.given.entry(axis).or_insert_with(letter);
        }
    }

    pub fn of(&self, axes: &AxisTable, axis: Axis) -> String {
        if axis == BATCH {
            return "j".into();
        }
        if let Some(letter) = self.given.get(&axis) {
            return letter.clone();
        }
        match axes.copied(axis) {
            Some((original, nth)) => format!("{}{}", self.of(axes, original), "′".repeat(nth)),
            None => axes.name(axis).to_string(),
        }
    }
}

/// Letters below the line where Unicode has them, otherwise `_{…}`.
pub fn lowered(letters: &[String]) -> String {
    let low = |c: char| SUBSCRIPTS.iter().find(|pair| pair.0 == c).map(|pair| pair.1);
    let all: Option<String> = letters.iter().flat_map(|letter| letter.chars()).map(low).collect();
    match all {
        Some(text) => text,
        None if letters.iter().map(|letter| letter.chars().count()).sum::<usize>() == 1 => {
            format!("_{}", letters[0])
        }
        None => format!("_{{{}}}", letters.join(",")),
    }
}

/// A number below the line; nothing for 0.
pub fn digits_below(number: usize) -> String {
    const DIGITS: [char; 10] = ['₀', '₁', '₂', '₃', '₄', '₅', '₆', '₇', '₈', '₉'];
    let digits = if number == 0 { String::new() } else { number.to_string() };
    digits.chars().filter_map(|c| c.to_digit(10)).map(|d| DIGITS[d as usize]).collect()
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

/// A number as one would write it: 1/64 rather than 0.015625.
pub fn number(value: f64) -> Formula {
    let (top, bottom) = fraction(value.abs());
    let formula = match bottom.is_empty() {
        true => top.unwrap_or(Formula::Number(1.0)),
        false => Formula::Fraction(vec![top.unwrap_or(Formula::Number(1.0))], bottom),
    };
    if value < 0.0 { formula.negative() } else { formula }
}

/// A nonnegative number as a fraction: above the stroke (nothing for 1), and below it.
pub fn fraction(value: f64) -> (Option<Formula>, Vec<Formula>) {
    let roots = [
        (std::f64::consts::SQRT_2, Formula::Number(2.0)),
        (std::f64::consts::PI.sqrt(), Formula::Pi(1)),
        (std::f64::consts::TAU.sqrt(), Formula::Pi(2)),
    ];
    let above = |value: f64| (value != 1.0).then_some(Formula::Number(value));
    let whole = value.round();
    let value = if (value - whole).abs() < 1e-12 * whole { whole } else { value };
    if value == 0.0 || value.fract() == 0.0 || decimal(value) == "½" {
        return (above(value), vec![]);
    }
    if is_inverse(value) {
        return (None, vec![Formula::Number((1.0 / value).round())]);
    }
    if decimal(value).chars().count() <= 4 {
        return (above(value), vec![]);
    }
    for (root, radicand) in roots {
        if let Some((top, bottom)) = small_ratio(value * root) {
            let below = (bottom != 1.0).then_some(Formula::Number(bottom));
            return (above(top), below.into_iter().chain([radicand.root()]).collect());
        }
        if let Some((top, bottom)) = small_ratio(value / root) {
            let times = (top != 1.0).then_some(Formula::Number(top));
            let below = (bottom != 1.0).then_some(Formula::Number(bottom));
            let above = Formula::product(times.into_iter().chain([radicand.root()]).collect());
            return (Some(above), below.into_iter().collect());
        }
    }
    match (2..MOST).find(|&top| is_whole(f64::from(top) / value)) {
        Some(top) => {
            let below = (f64::from(top) / value).round();
            (Some(Formula::Number(f64::from(top))), vec![Formula::Number(below)])
        }
        None => (above(value), vec![]),
    }
}

/// A ratio of two small whole numbers.
fn small_ratio(value: f64) -> Option<(f64, f64)> {
    let near = |product: f64| (product - product.round()).abs() < 1e-11 * product && product >= 0.5;
    let bottom = (1..=100).map(f64::from).find(|bottom| near(value * bottom))?;
    let top = (value * bottom).round();
    (top < 100.0).then_some((top, bottom))
}

/// The largest numerator that is looked for.
const MOST: u32 = 512;

fn is_whole(value: f64) -> bool {
    value < 1e9 && (value - value.round()).abs() < 1e-10 * value
}

fn is_inverse(value: f64) -> bool {
    let inverse = 1.0 / value;
    value < 1.0
        && inverse < 1e12
        && (inverse - inverse.round()).abs() < 1e-9 * inverse
        && !is_power_of_ten(value)
}

/// 1e−5 reads better than 1/100000.
fn is_power_of_ten(value: f64) -> bool {
    (value.log10() - value.log10().round()).abs() < 1e-12
}

/// A nonnegative number in digits.
pub fn decimal(value: f64) -> String {
    let plain = if (value - 0.5).abs() < 1e-12 {
        "½".to_string()
    } else if value != 0.0 && !(1e-3..1e12).contains(&value) {
        format!("{value:e}")
    } else {
        let text = format!("{value:.6}");
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    };
    plain.replace('-', "−")
}

/// A name of a program as formulas show it: Greek letters where it spells one, an accent where it says so
/// (`x_hat`, `z_bar`), without the path in front.
pub fn pretty_name(name: &str) -> Name {
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
    for (ending, accent) in [("_hat", Accent::Hat), ("_bar", Accent::Bar)] {
        if let Some(base) = short.strip_suffix(ending).filter(|base| base.chars().count() == 1) {
            return Name::accented(base, accent);
        }
    }
    let found = LETTERS.iter().find(|letter| letter.0 == short);
    Name::new(found.map_or(short, |letter| letter.1))
}

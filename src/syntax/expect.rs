//! A syntax error in words: what was expected, what was found, and what was probably meant.

use super::grammar::Rule;
use super::lex::{Kind, RESERVED, Token};
use super::{Place, words};
use crate::diag::Diagnostic;
use crate::source::Span;

/// What the grammar was given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    Item,
    /// One line of a body.
    Line,
}

impl Whole {
    fn end(self) -> &'static str {
        match self {
            Whole::Item => "the end of the item",
            Whole::Line => "the end of the line",
        }
    }
}

/// The diagnostic for an error at byte `at` of the file, among the tokens `lines` of one item or line.
pub fn diagnostic(place: Place, lines: &[Token], whole: Whole, at: usize, positives: &[Rule]) -> Diagnostic {
    let index = lines.iter().position(|token| token.end > at).unwrap_or(lines.len());
    let found = lines.get(index).copied();
    let after_newline = lines.get(index + 1).copied();
    let what = expected(positives, whole);
    let message = format!("expected {}, found {}", alternatives(&what), found_text(place, whole, found));
    let (span, label) = match found {
        Some(token) if token.kind == Kind::Newline => {
            (place.span(after_newline.unwrap_or(token)), "this begins a new line")
        }
        Some(token) => (place.span(token), "not expected here"),
        None => (end_of(place, lines), "it ends here"),
    };
    let error = Diagnostic::error("S007", span, message).at(label);
    match help(place, lines, index, positives) {
        Some(help) => error.help(help),
        None => error,
    }
}

fn end_of(place: Place, lines: &[Token]) -> Span {
    let end = lines.last().map_or(0, |token| token.end);
    Span::new(place.file, end, end)
}

fn found_text(place: Place, whole: Whole, found: Option<Token>) -> String {
    match found {
        None => whole.end().into(),
        Some(token) if token.kind == Kind::Newline => "the end of the line".into(),
        Some(token) if token.kind == Kind::Word && RESERVED.contains(&place.text(token)) => {
            format!("the keyword `{}`", place.text(token))
        }
        Some(token) => format!("`{}`", place.text(token).chars().take(40).collect::<String>()),
    }
}

fn alternatives(words: &[&str]) -> String {
    match words {
        [] => "something else".into(),
        [one] => (*one).into(),
        [init @ .., last] => format!("{} or {last}", init.join(", ")),
    }
}

/// How much an expectation tells: the more, the likelier it is what was forgotten.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Telling,
    Optional,
    Continuation,
}

/// The expectations worth saying: continuations of an expression only where nothing else could stand.
fn expected(positives: &[Rule], whole: Whole) -> Vec<&'static str> {
    let continues = positives.contains(&Rule::pow);
    let suffix = |rule: Rule| continues && matches!(rule, Rule::open_paren | Rule::open_bracket);
    let rules = positives.iter().filter(|&&rule| !suffix(rule));
    let mut all: Vec<_> = rules.filter_map(|&rule| describe(rule, whole)).collect();
    all.sort();
    all.dedup();
    let telling = all.first().map_or(Weight::Continuation, |&(weight, _)| weight.max(Weight::Optional));
    all.into_iter().filter(|&(weight, _)| weight <= telling).map(|(_, text)| text).collect()
}

fn describe(rule: Rule, whole: Whole) -> Option<(Weight, &'static str)> {
    describe_mark(rule)
        .or_else(|| describe_keyword(rule))
        .map(|text| (Weight::Telling, text))
        .or_else(|| describe_optional(rule, whole).map(|text| (Weight::Optional, text)))
        .or_else(|| describe_phrase(rule))
}

fn describe_mark(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::open_paren
        | Rule::config_params
        | Rule::tensor_params
        | Rule::input_names
        | Rule::network_input => "`(`",
        Rule::close_paren => "`)`",
        Rule::open_bracket | Rule::dims => "`[`",
        Rule::close_bracket => "`]`",
        Rule::open_brace | Rule::block_body => "`{`",
        Rule::close_brace => "`}`",
        Rule::colon => "`:`",
        Rule::tilde => "`~`",
        Rule::assign | Rule::network_alias => "`=`",
        _ => return None,
    })
}

fn describe_keyword(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::kw_else => "`else`",
        Rule::kw_in => "`in`",
        Rule::kw_running => "`running`",
        Rule::kw_from => "`from`",
        _ => return None,
    })
}

fn describe_optional(rule: Rule, whole: Whole) -> Option<&'static str> {
    Some(match rule {
        Rule::comma => "`,`",
        Rule::arrow => "`->`",
        Rule::kw_as => "`as`",
        Rule::kw_like => "`like`",
        Rule::newline => "a new line",
        Rule::EOI => whole.end(),
        _ => return None,
    })
}

fn describe_phrase(rule: Rule) -> Option<(Weight, &'static str)> {
    use Weight::{Continuation, Telling};
    Some(match rule {
        Rule::expr
        | Rule::operation
        | Rule::operand
        | Rule::paren
        | Rule::list
        | Rule::block
        | Rule::for_ => (Telling, "an expression"),
        Rule::boolean | Rule::number | Rule::minus | Rule::kw_not => (Telling, "an expression"),
        Rule::arg | Rule::rest => (Telling, "an expression"),
        Rule::name | Rule::path => (Telling, "a name"),
        Rule::string => (Telling, "a string"),
        Rule::config_param | Rule::tensor_param | Rule::typed_param => (Telling, "a parameter"),
        Rule::config_type | Rule::scalar_type => {
            (Telling, "a type (`int`, `float`, `bool`, `str`, `op` or a list such as `[int]`)")
        }
        Rule::tensor_type | Rule::target | Rule::element_type => {
            (Telling, "a tensor type (such as `f32[64]`, `[c, h, w]` or `class[10]`)")
        }
        Rule::network_definition => (Telling, "`(`"),
        Rule::body => (Telling, "a body (`= …` or `{ … }`)"),
        Rule::statement => (Telling, "a statement"),
        Rule::setting => (Telling, "a setting (`name = value`)"),
        rule if is_continuation(rule) => (Continuation, "an operator"),
        _ => return None,
    })
}

fn is_continuation(rule: Rule) -> bool {
    use Rule::*;
    let binary = matches!(rule, pipe | le | ge | eq | ne | lt | gt | add | sub | mul | div | matmul | pow);
    binary || matches!(rule, kw_and | kw_or | kw_if | call | index | field | dot)
}

/// What was probably meant.
fn help(place: Place, lines: &[Token], index: usize, positives: &[Rule]) -> Option<String> {
    let text = |index: usize| lines.get(index).map_or("", |&token| place.text(token));
    let is_word = |index: usize| lines.get(index).is_some_and(|token| token.kind == Kind::Word);
    let before = index.wrapping_sub(1);
    if let Some(help) = habit(text(before), text(index), text(index + 1), positives) {
        return Some(help.into());
    }
    if lines.get(index).is_some_and(|token| token.kind == Kind::Newline)
        && positives.contains(&Rule::close_brace)
    {
        return Some("the lines of a pipeline after the first begin with `|>`".into());
    }
    if is_word(index) {
        let before = if is_word(before) { text(before) } else { "" };
        return misspelt(before, text(index), positives);
    }
    let in_header = !lines[..index.min(lines.len())].iter().any(|&token| place.text(token) == "{");
    if text(index) == "->" && !in_header {
        return Some("`|>` leads from one op to the next".into());
    }
    if text(0) == "network" && text(index) == "->" && positives.contains(&Rule::open_paren) {
        return Some("the input needs a type: `network name(x: f32[64]) -> …`".into());
    }
    let two_lists = matches!(text(0), "optimizer" | "schedule") && positives.contains(&Rule::open_paren);
    if two_lists && matches!(text(index), "=" | "{") {
        let name = text(1);
        return Some(format!("the configuration comes first, even when there is none: `{name}()(…)`"));
    }
    None
}

/// Habits from other languages.
fn habit(before: &str, found: &str, next: &str, positives: &[Rule]) -> Option<&'static str> {
    let in_type = positives.contains(&Rule::scalar_type) || positives.contains(&Rule::config_type);
    match (before, found, next) {
        (_, ".", number) if number.starts_with(|first: char| first.is_ascii_digit()) => {
            Some("a number begins with a digit: `0.5`")
        }
        ("*", "*", _) => Some("a power is written `a ^ b`"),
        ("=", ">", _) | ("=", "<", _) | (_, "=", ">") => Some("comparisons are written `>=` and `<=`"),
        (_, "=", _) if positives.contains(&Rule::pow) => Some("equality is written `==`"),
        (_, "if", _) if !positives.contains(&Rule::kw_if) => {
            Some("a choice is written `a if condition else b`")
        }
        ("[", _, _) | (_, "f32" | "class", _) if in_type => {
            Some("the first list holds configuration; tensors go into the second: `name()(x: [n])`")
        }
        _ => None,
    }
}

/// Keywords inside an item, and the rules by which the grammar says that it expected them.
const INNER: [(&str, Rule); 9] = [
    ("as", Rule::kw_as),
    ("if", Rule::kw_if),
    ("else", Rule::kw_else),
    ("in", Rule::kw_in),
    ("running", Rule::kw_running),
    ("from", Rule::kw_from),
    ("like", Rule::kw_like),
    ("and", Rule::kw_and),
    ("or", Rule::kw_or),
];

/// A word that does not fit: it, or the word before, may be a keyword with a typing mistake.
fn misspelt(before: &str, found: &str, positives: &[Rule]) -> Option<String> {
    const OPENING: [&str; 7] = ["param", "batch", "let", "state", "require", "block", "for"];
    let possible = INNER.iter().filter(|(_, rule)| positives.contains(rule)).map(|&(word, _)| word);
    if let Some(word) = words::near(found, possible) {
        return Some(format!("did you mean `{word}` in place of `{found}`?"));
    }
    if let Some(word) = words::near(before, OPENING).filter(|&word| word != before) {
        return Some(format!("did you mean `{word}` in place of `{before}`?"));
    }
    let could_end = positives.contains(&Rule::EOI) || positives.contains(&Rule::newline);
    match positives.contains(&Rule::comma) {
        true => Some("is a `,` missing?".into()),
        false => (positives.contains(&Rule::assign) && !could_end).then(|| "is a `=` missing?".into()),
    }
}

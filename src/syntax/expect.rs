//! A syntax error in words: what was expected, what was found, and what was probably meant.

use super::grammar::Rule;
use super::lex::{Kind, RESERVED, Token};
use super::{Place, words};
use crate::diag::Diagnostic;
use crate::source::Span;

/// The diagnostic for an error at byte `at` of the file, among the tokens `lines` of one item or line.
pub fn diagnostic(place: Place, lines: &[Token], at: usize, positives: &[Rule]) -> Diagnostic {
    let index = lines.iter().position(|token| token.end > at).unwrap_or(lines.len());
    let found = lines.get(index).copied();
    let before = index.checked_sub(1).map(|index| lines[index]);
    let after_newline = lines.get(index + 1).copied();
    let expected = expected(positives);
    let what = expected.iter().map(|&(_, text)| text).collect::<Vec<_>>();
    let message = format!("expected {}, found {}", alternatives(&what), found_text(place, found));
    let (span, label) = match found {
        Some(token) if token.kind == Kind::Newline => {
            (place.span(after_newline.unwrap_or(token)), "this begins a new line")
        }
        Some(token) => (place.span(token), "not expected here"),
        None => (end_of(place, lines), "it ends here"),
    };
    let error = Diagnostic::error("S007", span, message).at(label);
    match help(place, before, found, after_newline, positives) {
        Some(help) => error.help(help),
        None => error,
    }
}

fn end_of(place: Place, lines: &[Token]) -> Span {
    let end = lines.last().map_or(0, |token| token.end);
    Span::new(place.file, end, end)
}

fn found_text(place: Place, found: Option<Token>) -> String {
    match found {
        None => "the end".into(),
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
fn expected(positives: &[Rule]) -> Vec<(Weight, &'static str)> {
    let mut all: Vec<_> = positives.iter().filter_map(|&rule| describe(rule)).collect();
    all.sort();
    all.dedup();
    let telling = all.first().map_or(Weight::Continuation, |&(weight, _)| weight.max(Weight::Optional));
    all.retain(|&(weight, _)| weight <= telling);
    all
}

fn describe(rule: Rule) -> Option<(Weight, &'static str)> {
    describe_mark(rule)
        .or_else(|| describe_keyword(rule))
        .map(|text| (Weight::Telling, text))
        .or_else(|| describe_optional(rule).map(|text| (Weight::Optional, text)))
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

fn describe_optional(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::comma => "`,`",
        Rule::arrow => "`->`",
        Rule::kw_as => "`as`",
        Rule::kw_like => "`like`",
        Rule::newline => "a new line",
        Rule::EOI => "the end of the item",
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
fn help(
    place: Place,
    before: Option<Token>,
    found: Option<Token>,
    next: Option<Token>,
    positives: &[Rule],
) -> Option<String> {
    let text = |token: Option<Token>| token.map_or("", |token| place.text(token));
    let kind = |token: Option<Token>| token.map(|token| token.kind);
    match (text(before), text(found), text(next)) {
        ("*", "*", _) => return Some("a power is written `a ^ b`".into()),
        (_, "=", _) if positives.contains(&Rule::pow) => return Some("equality is written `==`".into()),
        ("=", ">", _) => return Some("at least is written `>=`".into()),
        _ => {}
    }
    if kind(found) == Some(Kind::Newline) && positives.contains(&Rule::close_brace) {
        return Some("the lines of a pipeline after the first begin with `|>`".into());
    }
    if kind(before) == Some(Kind::Word) && kind(found) == Some(Kind::Word) {
        return misspelt(text(before), text(found), positives);
    }
    if positives.contains(&Rule::config_type) || positives.contains(&Rule::scalar_type) {
        return Some("the first list holds configuration; tensors such as `x: [n]` go into the second: `name()(x: [n])`".into());
    }
    None
}

/// Two words in a row: one of them may be a keyword with a typing mistake.
fn misspelt(before: &str, found: &str, positives: &[Rule]) -> Option<String> {
    const OPENING: [&str; 6] = ["param", "batch", "let", "state", "block", "for"];
    const INNER: [&str; 9] = ["as", "if", "else", "in", "running", "from", "like", "and", "or"];
    if let Some(word) = words::near(found, &INNER).filter(|&word| word != found) {
        return Some(format!("did you mean `{word}` in place of `{found}`?"));
    }
    if let Some(word) = words::near(before, &OPENING).filter(|&word| word != before) {
        return Some(format!("did you mean `{word}` in place of `{before}`?"));
    }
    positives.contains(&Rule::comma).then(|| "is a `,` missing?".into())
}

//! What is wrong with single tokens: stray characters, numbers, strings, and the keyword that opens an item.

use super::Place;
use super::lex::{ITEM_WORDS, Kind, Token};
use crate::diag::{Diagnostic, Diagnostics};

/// Reports tokens that are none of the language. Where it is clear what to do without one, parsing goes on: a
/// semicolon becomes a newline, `#` begins a comment. Returns the places of those that spoil their item.
pub fn check(place: Place, tokens: &mut [Token], diagnostics: &mut Diagnostics) -> Vec<usize> {
    let mut spoilt = Vec::new();
    let mut in_comment = false;
    for token in tokens {
        in_comment &= token.kind != Kind::Newline;
        if in_comment {
            token.kind = Kind::Comment;
        }
        match token.kind {
            Kind::Stray => {
                diagnostics.push(stray(place, *token));
                match place.text(*token).as_bytes()[0] {
                    b';' => token.kind = Kind::Newline,
                    b'#' => (in_comment, token.kind) = (true, Kind::Comment),
                    _ => spoilt.push(token.start),
                }
            }
            Kind::BadNumber => {
                diagnostics.push(bad_number(place, *token));
                spoilt.push(token.start);
            }
            Kind::OpenStr => {
                diagnostics.push(open_string(place, *token));
                spoilt.push(token.start);
            }
            _ => {}
        }
    }
    spoilt
}

fn stray(place: Place, token: Token) -> Diagnostic {
    let text = place.text(token);
    let shown: String = text.chars().take(16).collect();
    let message = format!("`{}` is nothing in this language", shown.escape_debug());
    let error = Diagnostic::error("S001", place.span(token), message).at("stray character");
    match stray_help(text) {
        Some(help) => error.help(help),
        None => error,
    }
}

fn stray_help(text: &str) -> Option<&'static str> {
    if text.starts_with('#') {
        return Some("comments begin with `//`");
    }
    Some(match text {
        ";" => "a line's end ends it; no semicolon is needed",
        "'" | "`" => "strings stand in double quotes: \"…\"",
        "&" | "&&" => "write `and`",
        "|" | "||" => "write `or`; a pipeline is written `|>`",
        "!" => "write `not`",
        "?" => "a choice is written `a if condition else b`",
        "%" => "there is no remainder operator",
        "×" | "·" | "⋅" => "write `*`, or `@` for a contraction",
        "−" | "–" | "—" => "this is a dash; the minus sign is `-`",
        "“" | "”" => "strings stand in plain double quotes: \"…\"",
        _ => return None,
    })
}

fn bad_number(place: Place, token: Token) -> Diagnostic {
    let text = place.text(token);
    let error = Diagnostic::error("S002", place.span(token), format!("`{text}` is not a number"));
    let error = error.at("malformed number");
    let digits = text.replace('_', "");
    if text.ends_with('.') && text[..text.len() - 1].bytes().all(|byte| byte.is_ascii_digit()) {
        error.help(format!("write `{text}0`"))
    } else if digits.parse::<f64>().is_ok() {
        error.help(format!("write `{digits}`"))
    } else {
        error.help("numbers are written `42`, `0.5` or `1e-5`; a name cannot begin with a digit")
    }
}

fn open_string(place: Place, token: Token) -> Diagnostic {
    Diagnostic::error("S004", place.span(token), "unterminated string")
        .at("begins here and has no closing quote on its line")
        .help("close it with `\"`")
}

/// An item begins with one of the item keywords.
pub fn check_keyword(place: Place, tokens: &[Token]) -> Result<(), Box<Diagnostic>> {
    let text = place.text(tokens[0]);
    if ITEM_WORDS.contains(&text) {
        return Ok(());
    }
    let shown: String = text.chars().take(40).collect();
    let message = format!("expected an item, found `{}`", shown.escape_debug());
    let error = Diagnostic::error("S008", place.span(tokens[0]), message).at("no item begins like this");
    let is_word = tokens[0].kind == Kind::Word;
    let near = near(text, ITEM_WORDS).filter(|_| is_word);
    Err(Box::new(match near {
        Some(word) => error.help(format!("did you mean `{word}`?")),
        None => error.help(format!("an item begins with one of `{}`", ITEM_WORDS.join("`, `"))),
    }))
}

/// The word among `known` that `text` probably is a misspelling of.
pub fn near(text: &str, known: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    let scored = known.into_iter().map(|word| (strsim::damerau_levenshtein(text, word), word));
    let allowed = |word: &str| if word.len() <= 3 { 1 } else { 2 };
    scored.filter(|&(distance, word)| distance <= allowed(word)).min().map(|(_, word)| word)
}

//! Brackets must match and nesting must be bounded before the grammar, which recurses, sees an item.
//! Works on tokens as `layout::lines` leaves them: every newline among them separates two lines of a body.

use super::lex::{Kind, Token};
use super::{MAX_NESTING, Place};
use crate::diag::Diagnostic;

/// The first mistake in the brackets of one item, or its too deep nesting.
pub fn check(place: Place, tokens: &[Token]) -> Result<(), Box<Diagnostic>> {
    matching(place, tokens)?;
    nesting(place, tokens)
}

fn matching(place: Place, tokens: &[Token]) -> Result<(), Box<Diagnostic>> {
    let mut open: Vec<Token> = Vec::new();
    for &token in tokens {
        match token.kind {
            Kind::Open => open.push(token),
            Kind::Close => match open.pop() {
                Some(opening) if closer(place.text(opening)) == place.text(token) => {}
                Some(opening) => return Err(mismatch(place, opening, token, &open)),
                None => return Err(unopened(place, token)),
            },
            _ => {}
        }
    }
    match (open.last(), tokens.last(), closed_further_left(place, tokens)) {
        (Some(_), _, Some((inner, closer))) => Err(forgotten(place, inner, closer)),
        (Some(&opening), Some(&last), None) => Err(unclosed(place, opening, last)),
        _ => Ok(()),
    }
}

/// The first bracket whose closer begins a line further to the left than the line that opens it. Where one bracket is
/// missing it is this one's: by the layout, its closer belongs to a bracket further out.
fn closed_further_left(place: Place, tokens: &[Token]) -> Option<(Token, Token)> {
    let mut open: Vec<(Token, usize)> = Vec::new();
    let mut indent = 0;
    let mut end = tokens.first()?.start;
    for &token in tokens.iter().filter(|token| token.kind != Kind::Newline) {
        let between = &place.source[end..token.start];
        let newline = between.rfind('\n');
        indent = newline.map_or(indent, |newline| between.len() - newline - 1);
        end = token.end;
        match token.kind {
            Kind::Open => open.push((token, indent)),
            Kind::Close => match open.pop() {
                Some((opening, of_its_line)) if newline.is_some() && indent < of_its_line => {
                    return Some((opening, token));
                }
                _ => {}
            },
            _ => {}
        }
    }
    None
}

fn closer(opening: &str) -> &'static str {
    match opening {
        "(" => ")",
        "[" => "]",
        _ => "}",
    }
}

fn unopened(place: Place, token: Token) -> Box<Diagnostic> {
    let text = place.text(token);
    let message = format!("`{text}` closes nothing");
    let found = Diagnostic::error("S006", place.span(token), message).at("no bracket is open here");
    Box::new(found.help(format!("remove the `{text}`")))
}

/// Which of the two is wrong cannot be known; when the closer fits a bracket further out, the inner one was forgotten.
fn mismatch(place: Place, opening: Token, found: Token, outer: &[Token]) -> Box<Diagnostic> {
    let (open, close) = (place.text(opening), place.text(found));
    let fits_outer = outer.iter().any(|&token| closer(place.text(token)) == close);
    if fits_outer {
        return forgotten(place, opening, found);
    }
    let message = format!("expected `{}`, found `{close}`", closer(open));
    let error = Diagnostic::error("S006", place.span(found), message).at("does not match");
    Box::new(error.label(place.span(opening), format!("`{open}` opened here")))
}

fn forgotten(place: Place, opening: Token, found: Token) -> Box<Diagnostic> {
    let (open, close) = (place.text(opening), place.text(found));
    let here = format!("expected `{}` before this `{close}`", closer(open));
    let message = format!("unclosed `{open}`");
    let error = Diagnostic::error("S005", place.span(opening), message).at("opened here");
    Box::new(error.label(place.span(found), here))
}

fn unclosed(place: Place, opening: Token, last: Token) -> Box<Diagnostic> {
    let open = place.text(opening);
    let error =
        Diagnostic::error("S005", place.span(opening), format!("unclosed `{open}`")).at("opened here");
    let missing = format!("expected `{}` by here, where the item ends", closer(open));
    Box::new(error.label(place.span(last), missing))
}

/// What a bracket level adds to the depth of the recursion, beside itself: runs of prefix operators, right
/// associative `^`, and `else` branches that hold the next `if`.
#[derive(Default)]
struct Level {
    prefixes: usize,
    powers: usize,
    conditions: usize,
}

impl Level {
    fn depth(&self) -> usize {
        1 + self.prefixes + self.powers + self.conditions
    }

    fn take(&mut self, kind: Kind, text: &str, operand_before: bool) {
        match (kind, text) {
            (Kind::Operator, "^") => self.powers += 1,
            (Kind::Word, "not") => self.prefixes += 1,
            (Kind::Operator, _) if !operand_before => self.prefixes += 1,
            (Kind::Word, "if") => self.conditions += 1,
            (Kind::Mark, ",") | (Kind::Newline, _) => *self = Level::default(),
            (Kind::Operator, _) | (Kind::Word, "and" | "or" | "else") => {
                self.prefixes = 0;
                self.powers = 0;
            }
            _ => {}
        }
    }
}

fn nesting(place: Place, tokens: &[Token]) -> Result<(), Box<Diagnostic>> {
    let mut outer: Vec<Level> = Vec::new();
    let mut level = Level::default();
    let mut outer_depth = 0;
    let mut operand_before = false;
    for &token in tokens {
        let text = place.text(token);
        match token.kind {
            Kind::Open => {
                outer_depth += level.depth();
                outer.push(std::mem::take(&mut level));
            }
            Kind::Close => {
                level = outer.pop().unwrap_or_default();
                outer_depth -= level.depth().min(outer_depth);
            }
            kind => level.take(kind, text, operand_before),
        }
        if outer_depth + level.depth() > MAX_NESTING {
            return Err(too_deep(place, token));
        }
        operand_before = ends_operand(token.kind, text);
    }
    Ok(())
}

fn ends_operand(kind: Kind, text: &str) -> bool {
    match kind {
        Kind::Word => !matches!(text, "if" | "else" | "and" | "or" | "not" | "in"),
        Kind::Number | Kind::BadNumber | Kind::Str | Kind::OpenStr | Kind::Close => true,
        _ => false,
    }
}

fn too_deep(place: Place, token: Token) -> Box<Diagnostic> {
    let message = format!("nested more than {MAX_NESTING} levels deep");
    let error = Diagnostic::error("S020", place.span(token), message).at("this is one level too many");
    Box::new(error.help("name inner parts in an `op`, a `fn` or a `let`"))
}

//! One item through the grammar: a tree, or all that can be found wrong with it.

use pest::Parser;
use pest::error::{Error, ErrorVariant, InputLocation};

use super::ast::{Item, ItemKind};
use super::build::Builder;
use super::expect::Whole;
use super::lex::{Kind, Token};
use super::{Place, expect, layout};
use crate::diag::Diagnostics;

#[derive(pest_derive::Parser)]
#[grammar = "../grammar/blk.pest"]
struct Grammar;

pub type Pair<'i> = pest::iterators::Pair<'i, Rule>;

/// Parses the tokens of one item, laid out and with matching brackets.
pub fn parse_item(place: Place, lines: &[Token], docs: Option<String>) -> Result<Item, Diagnostics> {
    let text = layout::text(place.source, lines[0].start, lines);
    let mut pairs = match Grammar::parse(Rule::item, &text) {
        Ok(pairs) => pairs,
        Err(error) => return Err(all_errors(place, lines, &text, &error)),
    };
    let mut builder = Builder::new(place.file, lines[0].start);
    let kind: Option<ItemKind> = pairs.next().map(|pair| builder.item(pair));
    let span = place.span(lines[0]).to(place.span(lines[lines.len() - 1]));
    match kind {
        Some(kind) if builder.diagnostics.is_empty() => Ok(Item { docs, span, kind }),
        _ => Err(builder.diagnostics),
    }
}

/// The grammar stops at its first error; the lines of the body from there on are then tried one by one.
fn all_errors(place: Place, lines: &[Token], text: &str, error: &Error<Rule>) -> Diagnostics {
    let start = lines[0].start;
    let at = start + offset(error);
    let mut found = vec![expect::diagnostic(place, lines, Whole::Item, at, positives(error))];
    let rule = if text.starts_with("train") { Rule::lone_settings } else { Rule::lone_statement };
    for line in body_lines(lines, place.source) {
        let (Some(first), Some(last)) = (line.first(), line.last()) else { continue };
        if first.start <= at {
            continue;
        }
        let line_text = &text[first.start - start..last.end - start];
        if let Err(error) = Grammar::parse(rule, line_text) {
            found.push(expect::diagnostic(
                place,
                line,
                Whole::Line,
                first.start + offset(&error),
                positives(&error),
            ));
        }
    }
    found
}

fn offset(error: &Error<Rule>) -> usize {
    match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    }
}

fn positives(error: &Error<Rule>) -> &[Rule] {
    match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives,
        ErrorVariant::CustomError { .. } => &[],
    }
}

/// The lines of the item's own `{ … }` where it is one of several lines.
fn body_lines<'t>(lines: &'t [Token], source: &str) -> Vec<&'t [Token]> {
    let mut depth = 0_usize;
    let is_body = |token: &Token, depth: usize| depth == 0 && token.text(source) == "{";
    let mut begin = None;
    let mut found = Vec::new();
    for (index, token) in lines.iter().enumerate() {
        match token.kind {
            Kind::Open => {
                if is_body(token, depth) {
                    begin = Some(index + 1);
                }
                depth += 1;
            }
            Kind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        let ends = begin.is_some() && (depth == 0 || (depth == 1 && token.kind == Kind::Newline));
        if let Some(first) = begin.filter(|_| ends) {
            found.push(&lines[first..index]);
            begin = (depth == 1).then_some(index + 1);
        }
    }
    found
}

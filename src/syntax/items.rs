//! Where the items of a file begin and end, by its tokens alone, so that a broken item leaves the others whole.

use std::ops::Range;

use super::layout;
use super::lex::{self, ITEM_WORDS, Kind, Token};

/// A stretch of tokens that is an item, or stands where one should.
#[derive(Clone, PartialEq, Debug)]
pub struct Chunk {
    /// Indices of its tokens, from the keyword to the last token that is no newline or comment.
    pub tokens: Range<usize>,
    /// The `///` lines directly above it, joined.
    pub docs: Option<String>,
}

/// Splits a file's tokens into chunks. A chunk begins with a word that is first on its line and no further to the right
/// than the item before: inside brackets that were left open it must be an item keyword with a name (or a string) after
/// it; outside, any word does that the line before does not wait for, so that a misspelt keyword is one too.
pub fn split(source: &str, tokens: &[Token]) -> Vec<Chunk> {
    let starts = starts(source, tokens);
    let ends = starts.iter().skip(1).copied().chain([tokens.len()]);
    let chunks = starts.iter().copied().zip(ends).map(|(start, end)| Chunk {
        tokens: start..trimmed_end(tokens, start, end),
        docs: docs_above(source, tokens, start),
    });
    chunks.collect()
}

fn starts(source: &str, tokens: &[Token]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut depth = 0_usize;
    let mut column_of_item = usize::MAX;
    for (index, token) in tokens.iter().enumerate() {
        let first_on_line = index == 0 || tokens[index - 1].kind == Kind::Newline;
        let column = if first_on_line { column(source, token.start) } else { usize::MAX };
        let fits = column <= column_of_item;
        let opens = first_on_line && fits && opens_item(source, tokens, index, depth);
        let leading = starts.is_empty() && !is_trivia(token.kind);
        if opens || leading {
            starts.push(index);
            depth = 0;
            column_of_item = column;
        }
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    starts
}

/// Whether the first token of a line, far enough to the left, opens an item.
fn opens_item(source: &str, tokens: &[Token], index: usize, depth: usize) -> bool {
    if !lex::is_name(tokens[index], source) {
        return false;
    }
    let keyword = ITEM_WORDS.contains(&tokens[index].text(source));
    let next = tokens.get(index + 1);
    let named = next.is_some_and(|next| next.kind == Kind::Str || lex::is_name(*next, source));
    let before = tokens[..index].iter().rfind(|token| !is_trivia(token.kind));
    let unfinished = before.is_some_and(|&before| layout::awaits_more(before, source));
    named && (keyword || depth == 0) || depth == 0 && !unfinished
}

fn is_trivia(kind: Kind) -> bool {
    matches!(kind, Kind::Newline | Kind::Doc | Kind::Comment)
}

fn column(source: &str, at: usize) -> usize {
    at - source[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

fn trimmed_end(tokens: &[Token], start: usize, end: usize) -> usize {
    let last = tokens[start..end].iter().rposition(|token| !is_trivia(token.kind));
    last.map_or(start, |last| start + last + 1)
}

/// The run of doc comments that ends on the line above token `start`.
fn docs_above(source: &str, tokens: &[Token], start: usize) -> Option<String> {
    let mut lines = Vec::new();
    let mut at = start;
    while at >= 2 && tokens[at - 1].kind == Kind::Newline && tokens[at - 2].kind == Kind::Doc {
        let line = tokens[at - 2].text(source).trim_start_matches('/');
        lines.push(line.strip_prefix(' ').unwrap_or(line).trim_end());
        at -= 2;
    }
    lines.reverse();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        let tokens = lex::tokens(source);
        let text = |chunk: Chunk| &source[tokens[chunk.tokens.start].start..tokens[chunk.tokens.end - 1].end];
        split(source, &tokens).into_iter().map(text).collect()
    }

    #[test]
    fn an_unclosed_bracket_ends_with_its_item() {
        assert_eq!(texts("fn a(t = t\n// c\nfn b(t) = t\n"), ["fn a(t = t", "fn b(t) = t"]);
    }

    #[test]
    fn settings_named_like_items_start_none() {
        let train = "train d {\n    optimizer = sgd\n    schedule = cosine\n}";
        assert_eq!(texts(train), [train]);
    }

    #[test]
    fn a_misspelt_keyword_starts_an_item() {
        assert_eq!(texts("fn a(t) = t\nnetwrok b(x) {}"), ["fn a(t) = t", "netwrok b(x) {}"]);
    }

    #[test]
    fn what_precedes_the_first_item_is_a_chunk() {
        assert_eq!(texts("\n42\nfn a(t) = t"), ["42", "fn a(t) = t"]);
    }

    #[test]
    fn docs_join_and_stop_at_a_blank_line() {
        let source = "/// far\n\n/// one\n/// two\nfn a(t) = t";
        let chunks = split(source, &lex::tokens(source));
        assert_eq!(chunks[0].docs.as_deref(), Some("one\ntwo"));
    }
}

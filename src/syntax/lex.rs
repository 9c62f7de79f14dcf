//! Tokens of `.blk`. They serve what a grammar of one item cannot: item boundaries for recovery, matching brackets,
//! limits on nesting, the layout of lines, and precise messages about characters and numbers.

use std::ops::Range;

use logos::Logos;

#[derive(Logos, Clone, Copy, PartialEq, Eq, Debug)]
#[logos(skip r"[ \t\r\x0C]+")]
pub enum Kind {
    #[token("\n")]
    Newline,
    #[regex(r"///[^\n]*", priority = 9, allow_greedy = true)]
    Doc,
    #[regex(r"//[^\n]*", priority = 8, allow_greedy = true)]
    Comment,
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*")]
    Word,
    #[regex(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", priority = 9)]
    Number,
    /// Starts like a number and goes on like none: `12abc`, `1.`, `0x10`, `1.2.3`.
    #[regex(r"[0-9][0-9A-Za-z_]*(\.[0-9A-Za-z_]*)*", priority = 3)]
    BadNumber,
    #[regex(r#""[^"\n]*""#)]
    Str,
    /// A string whose line ends before its closing quote.
    #[regex(r#""[^"\n]*"#)]
    OpenStr,
    #[token("(")]
    #[token("[")]
    #[token("{")]
    Open,
    #[token(")")]
    #[token("]")]
    #[token("}")]
    Close,
    /// An operator that stands between two operands, or before one.
    #[regex(r"\|>|<=|>=|==|!=|[-+*/@^<>]")]
    Operator,
    #[regex(r"->|\.\.|[.,:~=]")]
    Mark,
    /// Nothing of the language.
    Stray,
}

/// A token and its bytes in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    pub fn text(self, source: &str) -> &str {
        &source[self.range()]
    }
}

/// All tokens of a text in order; together with blanks they cover it. Neighbouring stray characters are one token.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    for (kind, range) in Kind::lexer(source).spanned() {
        let kind = kind.unwrap_or(Kind::Stray);
        match found.last_mut() {
            Some(last) if kind == Kind::Stray && last.kind == Kind::Stray && last.end == range.start => {
                last.end = range.end
            }
            _ => found.push(Token { kind, start: range.start, end: range.end }),
        }
    }
    found
}

/// Words that are never names; the grammar's `reserved` says the same.
pub const RESERVED: [&str; 10] = ["if", "else", "and", "or", "not", "for", "in", "block", "true", "false"];

/// Words that open an item.
pub const ITEM_WORDS: [&str; 9] =
    ["use", "network", "op", "fn", "loss", "optimizer", "schedule", "init", "train"];

/// Whether the token can be a name.
pub fn is_name(token: Token, source: &str) -> bool {
    token.kind == Kind::Word && !RESERVED.contains(&token.text(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<Kind> {
        tokens(source).into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn numbers_and_what_only_starts_like_them() {
        assert_eq!(kinds("12 5e-4 1e-05 0.5"), [Kind::Number; 4]);
        assert_eq!(kinds("12abc 1. 0x10 1.2.3 1e"), [Kind::BadNumber; 5]);
        assert_eq!(kinds("[c, ..]"), [Kind::Open, Kind::Word, Kind::Mark, Kind::Mark, Kind::Close]);
    }

    #[test]
    fn comments_and_docs() {
        assert_eq!(
            kinds("// a\n/// b\nx"),
            [Kind::Comment, Kind::Newline, Kind::Doc, Kind::Newline, Kind::Word]
        );
    }

    #[test]
    fn strays_next_to_each_other_are_one() {
        assert_eq!(kinds("a %% b é"), [Kind::Word, Kind::Stray, Kind::Word, Kind::Stray]);
    }

    #[test]
    fn strings_end_with_their_line() {
        assert_eq!(kinds("\"a b\" \"c\n"), [Kind::Str, Kind::OpenStr, Kind::Newline]);
    }
}

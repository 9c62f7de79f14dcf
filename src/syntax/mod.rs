//! Source text to syntax tree. The only user of pest.
//!
//! Tokens find the items (`items`), check brackets and nesting (`brackets`) and decide which newlines count
//! (`layout`); the grammar then parses each item by itself (`grammar`), so that a broken one hides no other. `build`
//! turns its pairs into the tree of `ast`.

pub mod ast;
mod brackets;
mod build;
mod expect;
mod expression;
mod grammar;
mod items;
mod layout;
pub mod lex;
mod statement;
mod words;

use crate::diag::{Diagnostic, Diagnostics};
use crate::source::{FileId, Sources, Span};
use ast::{File, Name};
use items::Chunk;
use lex::{Kind, Token};

/// Bytes of the largest file that is parsed.
pub const MAX_FILE: usize = 1 << 20;
/// Items in one file.
pub const MAX_ITEMS: usize = 4096;
/// Levels of brackets, prefix operators, powers and conditions inside one another.
pub const MAX_NESTING: usize = 128;
/// Height of an expression's tree, which a chain such as `a + b + c + …` raises by one per term. Passes over the
/// tree may recurse this deep.
pub const MAX_HEIGHT: usize = 1024;
/// Diagnostics of one file; what follows more than these is noise.
const MAX_DIAGNOSTICS: usize = 100;

/// A text under the parser's eyes.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: FileId,
    source: &'a str,
}

impl<'a> Place<'a> {
    fn text(self, token: Token) -> &'a str {
        token.text(self.source)
    }

    fn span(self, token: Token) -> Span {
        Span::new(self.file, token.start, token.end)
    }

    fn name(self, token: Token) -> Name {
        Name { text: self.text(token).into(), span: self.span(token) }
    }
}

/// Parses a file. Items that have mistakes are left out of the tree and reported (codes `S…`), their names kept in
/// [`File::broken`]; all others are there. Never panics, in time linear in the file's size.
pub fn parse(sources: &Sources, file: FileId) -> (File, Diagnostics) {
    let place = Place { file, source: &sources.file(file).text };
    if place.source.len() > MAX_FILE {
        return (File::default(), vec![too_large(place)]);
    }
    let mut tokens = lex::tokens(place.source);
    let mut parser = FileParser { place, tree: File::default(), diagnostics: Vec::new() };
    let lexical = words::check(place, &mut tokens, &mut parser.diagnostics);
    let chunks = items::split(place.source, &tokens);
    for chunk in chunks.iter().take(MAX_ITEMS) {
        parser.chunk(chunk, &tokens[chunk.tokens.clone()], &lexical);
    }
    if let Some(chunk) = chunks.get(MAX_ITEMS) {
        parser.diagnostics.push(too_many_items(place, tokens[chunk.tokens.start]));
    }
    parser.diagnostics.sort_by_key(|diagnostic| diagnostic.labels[0].span.start);
    parser.diagnostics.truncate(MAX_DIAGNOSTICS);
    (parser.tree, parser.diagnostics)
}

struct FileParser<'a> {
    place: Place<'a>,
    tree: File,
    diagnostics: Diagnostics,
}

impl FileParser<'_> {
    /// Parses one item. `spoilt` are the places of tokens that no grammar can read and that are reported already.
    fn chunk(&mut self, chunk: &Chunk, tokens: &[Token], spoilt: &[usize]) {
        let place = self.place;
        let (first, last) = (tokens[0], tokens[tokens.len() - 1]);
        let before = self.diagnostics.len();
        let is_spoilt = spoilt.iter().any(|&at| first.start <= at && at < last.end);
        let lines = layout::lines(place.source, tokens);
        if let Err(error) = words::check_keyword(place, tokens) {
            self.diagnostics.extend((!is_spoilt).then_some(*error));
        } else if let Err(error) = brackets::check(place, &lines) {
            self.diagnostics.push(*error);
        } else if !is_spoilt {
            match grammar::parse_item(place, &lines, chunk.docs.clone()) {
                Ok(item) => return self.tree.items.push(item),
                Err(errors) => self.diagnostics.extend(errors),
            }
        }
        debug_assert!(is_spoilt || self.diagnostics.len() > before, "an item is dropped only with a reason");
        let named = tokens.get(1).filter(|token| token.kind == Kind::Word);
        self.tree.broken.extend(named.map(|&token| place.name(token)));
    }
}

fn too_large(place: Place) -> Diagnostic {
    let message = format!("a file of {} bytes is too large (at most {MAX_FILE})", place.source.len());
    Diagnostic::error("S022", Span::new(place.file, 0, 0), message)
        .help("split it, and import the parts with `use`")
}

fn too_many_items(place: Place, token: Token) -> Diagnostic {
    let message = format!("more than {MAX_ITEMS} items in one file");
    Diagnostic::error("S023", place.span(token), message)
        .help("split the file, and import the parts with `use`")
}

#[cfg(test)]
mod tests;

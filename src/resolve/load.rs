//! Reading the program's files: the root, what it `use`s, and the standard library.

use std::collections::{HashMap, HashSet};

use crate::diag::{Diagnostic, Diagnostics};
use crate::source::{FileId, Loader, Sources, Span};
use crate::syntax::ast::{self, ItemKind, Use};
use crate::syntax::parse;

/// More files than this in one program is a mistake.
const MOST_FILES: usize = 256;

/// A parsed file and the files whose names it sees.
pub struct Module {
    pub file: FileId,
    pub ast: ast::File,
    pub uses: Vec<(FileId, Span)>,
    pub library: bool,
}

impl Module {
    fn has_network(&self) -> bool {
        self.ast.items.iter().any(|item| matches!(item.kind, ItemKind::Network(_)))
    }
}

/// All files of a program, the root first where it could be read.
#[derive(Default)]
pub struct Program {
    pub modules: Vec<Module>,
    /// Library files that every file sees: those that define no network. The others need a `use`.
    pub prelude: Vec<FileId>,
}

struct Reader<'a> {
    sources: &'a mut Sources,
    loader: &'a dyn Loader,
    program: Program,
    diagnostics: Diagnostics,
    known: HashMap<String, FileId>,
    /// Files being read, outermost first: to find cycles.
    open: Vec<String>,
    failed: HashSet<String>,
}

/// Reads `path` and everything that it uses. A root that cannot be read is told in the result.
pub fn load(
    sources: &mut Sources,
    path: &str,
    loader: &dyn Loader,
) -> Result<(Program, Diagnostics), String> {
    let text = loader.load(path)?;
    let mut reader = Reader {
        sources,
        loader,
        program: Program::default(),
        diagnostics: Vec::new(),
        known: HashMap::new(),
        open: Vec::new(),
        failed: HashSet::new(),
    };
    reader.read(path, &text, false);
    for (name, text) in crate::stdlib::FILES {
        let file = reader.read_library(name, text);
        let common = reader
            .program
            .modules
            .iter()
            .find(|module| module.file == file)
            .is_some_and(|m| !m.has_network());
        if common {
            reader.program.prelude.push(file);
        }
    }
    Ok((reader.program, reader.diagnostics))
}

impl Reader<'_> {
    fn read_library(&mut self, name: &str, text: &str) -> FileId {
        match self.known.get(name) {
            Some(&file) => file,
            None => self.read(name, text, true),
        }
    }

    fn read(&mut self, name: &str, text: &str, library: bool) -> FileId {
        let file = self.sources.add(name, text);
        self.known.insert(name.into(), file);
        self.open.push(name.into());
        let (ast, found) = parse(self.sources, file);
        self.diagnostics.extend(found);
        let position = self.program.modules.len();
        self.program.modules.push(Module { file, ast, uses: Vec::new(), library });
        let wanted: Vec<(Use, Span)> = uses(&self.program.modules[position].ast);
        for (item, span) in wanted {
            if let Some(used) = self.follow(name, &item, span) {
                self.program.modules[position].uses.push((used, span));
            }
        }
        self.open.pop();
        file
    }

    fn follow(&mut self, from: &str, item: &Use, span: Span) -> Option<FileId> {
        match item {
            Use::Path(path) => self.follow_path(path, span),
            Use::File { path, span } => self.follow_file(&beside(from, path), *span),
        }
    }

    fn follow_path(&mut self, path: &[ast::Name], span: Span) -> Option<FileId> {
        let words: Vec<&str> = path.iter().map(|name| name.text.as_str()).collect();
        let wanted = format!("{}.blk", words.join("/"));
        if let Some((name, text)) = crate::stdlib::FILES.iter().find(|(name, _)| *name == wanted) {
            return Some(self.read_library(name, text));
        }
        let known =
            crate::stdlib::FILES.iter().map(|(name, _)| name.trim_end_matches(".blk").replace('/', "."));
        let near = super::suggest::nearest(&words.join("."), known);
        let mut diagnostic =
            Diagnostic::error("N005", span, format!("there is no library `{}`", words.join(".")));
        diagnostic.help = Some(near.map_or_else(
            || "a file of your own is used by its path in quotes: use \"blocks.blk\"".into(),
            |near| format!("did you mean `{near}`?"),
        ));
        self.diagnostics.push(diagnostic);
        None
    }

    fn follow_file(&mut self, path: &str, span: Span) -> Option<FileId> {
        if self.open.iter().any(|open| open == path) {
            let chain: Vec<&str> =
                self.open.iter().map(String::as_str).skip_while(|open| *open != path).collect();
            let message = format!("files use each other in a circle: {} → {path}", chain.join(" → "));
            self.diagnostics.push(
                Diagnostic::error("N006", span, message)
                    .at("this closes the circle")
                    .help("move what both need into a third file"),
            );
            return None;
        }
        if let Some(&file) = self.known.get(path) {
            return Some(file);
        }
        if self.failed.contains(path) {
            return None;
        }
        if self.program.modules.len() >= MOST_FILES {
            self.failed.insert(path.into());
            let message = format!("a program of more than {MOST_FILES} files");
            self.diagnostics.push(Diagnostic::error("L005", span, message));
            return None;
        }
        match self.loader.load(path) {
            Ok(text) => Some(self.read(path, &text, false)),
            Err(why) => {
                self.failed.insert(path.into());
                self.diagnostics.push(
                    Diagnostic::error("N005", span, format!("cannot read `{path}`: {why}"))
                        .help("the path is relative to the file that uses it"),
                );
                None
            }
        }
    }
}

fn uses(file: &ast::File) -> Vec<(Use, Span)> {
    let pick = |item: &ast::Item| match &item.kind {
        ItemKind::Use(item_use) => Some((item_use.clone(), item.span)),
        _ => None,
    };
    file.items.iter().filter_map(pick).collect()
}

/// `path` as seen from the folder of `from`, without `.` and `..` where they can be resolved.
fn beside(from: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.into();
    }
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')).filter(|part| !part.is_empty() && *part != ".") {
        match (part, parts.last()) {
            ("..", Some(&last)) if last != ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let root = if folder.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn paths_are_relative_to_the_using_file() {
        assert_eq!(beside("a/b.blk", "c.blk"), "a/c.blk");
        assert_eq!(beside("a/b.blk", "../c.blk"), "c.blk");
        assert_eq!(beside("b.blk", "../c.blk"), "../c.blk");
        assert_eq!(beside("/x/b.blk", "./y/c.blk"), "/x/y/c.blk");
        assert_eq!(beside("b.blk", "/c.blk"), "/c.blk");
    }
}
